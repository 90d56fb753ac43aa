//! `X-Request-Id`: the id of a request, shared by its client, proxies and the log.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// Header of the request and of its answer.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length in characters of a client's id that is accepted.
const CHARS_MAX: usize = 128;

/// Returns the id from the request if it is safe to log, or else a new id.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(&REQUEST_ID).iter();
    match (given.next(), given.next()) {
        (Some(id), None) if is_sane(id.as_bytes()) => id.clone(),
        _ => new(),
    }
}

/// Returns true for letters, digits and the punctuation of ids. Spaces, quotes and control characters could break a log
/// or a terminal.
fn is_sane(id: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=CHARS_MAX).contains(&id.len()) && id.iter().all(is_part)
}

fn new() -> HeaderValue {
    let id = uuid::Uuid::new_v4().to_string();
    // A UUID is always a valid header value.
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An id that is safe to log is accepted, and every other request gets a new id.
    #[test]
    fn request_ids_are_accepted_or_generated() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(REQUEST_ID, HeaderValue::from_str(value).expect(value));
            }
            request_id(&headers)
        };
        let long = "x".repeat(128);
        for given in [
            "a",
            "req-1.2:3/4+5=@_",
            "00000000-0000-4000-8000-000000000001",
            long.as_str(),
        ] {
            assert_eq!(of(&[given]), given);
        }
        let too_long = "x".repeat(129);
        for given in [
            &[""][..],
            &["a b"],
            &["a\"b"],
            &["<script>"],
            &[too_long.as_str()],
            &["a", "b"],
            &[],
        ] {
            let minted = of(given);
            assert!(
                minted.to_str().expect("text").parse::<uuid::Uuid>().is_ok(),
                "{given:?}"
            );
        }
    }
}
