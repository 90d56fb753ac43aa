//! Opening handshake of a websocket (RFC 6455, section 4.2), and the query of Engine.IO requests.
//!
//! The library gets a websocket after its handshake and cannot refuse it any more. Each request that the library would
//! refuse is therefore refused here.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header},
    response::Response,
};
use engineioxide::socket::Sid;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Version of the websocket protocol in RFC 6455.
const VERSION: &str = "13";

/// Length of a websocket key, in characters: 16 bytes as base64.
const KEY_CHARS: usize = 24;

/// Reason of a refused request, with the codes and texts of Engine.IO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownTransport,
    UnknownSession,
    BadRequest,
    UnsupportedProtocol,
}

impl Refusal {
    /// Returns the Engine.IO error, with the code as a text like the library. Clients treat the error as a lost
    /// transport, and reconnect.
    pub(super) fn response(self) -> Response {
        let (code, message) = match self {
            Self::UnknownTransport => (0, "Transport unknown"),
            Self::UnknownSession => (1, "Session ID unknown"),
            Self::BadRequest => (3, "Bad request"),
            Self::UnsupportedProtocol => (5, "Unsupported protocol version"),
        };
        let body = format!(r#"{{"code":"{code}","message":"{message}"}}"#);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

/// Kind of a client's request, by its method and query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// Websocket of a new session, or of an existing one that upgrades.
    Websocket(Option<Sid>),
    /// Open of a new polling session.
    Open,
    /// Poll for the packets of a session.
    Poll(Sid),
    /// Post with packets for a session.
    Post(Sid),
    /// Other request, which the library answers.
    Other,
}

/// Classifies a request by its query, as the library does.
///
/// # Errors
/// Returns the refusal with which the library would answer.
pub(super) fn classify(request: &Request) -> Result<RequestKind, Refusal> {
    let query = request.uri().query().ok_or(Refusal::UnknownTransport)?;
    let value = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    };
    if value("EIO") != Some("4") {
        return Err(Refusal::UnsupportedProtocol);
    }
    let sid: Option<Sid> = match value("sid") {
        Some(sid) => Some(sid.parse().map_err(|_| Refusal::UnknownSession)?),
        None => None,
    };
    match (value("transport"), request.method(), sid) {
        (Some("websocket"), &Method::GET, sid) => Ok(RequestKind::Websocket(sid)),
        (Some("polling"), &Method::GET, None) => Ok(RequestKind::Open),
        (Some("polling"), &Method::GET, Some(sid)) => Ok(RequestKind::Poll(sid)),
        (Some("polling"), &Method::POST, Some(sid)) => Ok(RequestKind::Post(sid)),
        (Some("websocket" | "polling"), ..) => Ok(RequestKind::Other),
        _ => Err(Refusal::UnknownTransport),
    }
}

/// Checks a websocket request and returns the response that accepts it.
///
/// # Errors
/// Returns a refusal if the request is no websocket handshake.
pub(super) fn accept(request: &Request) -> Result<Response, Refusal> {
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(Refusal::BadRequest)?;
    let is_websocket = request.version() == Version::HTTP_11
        && header_has_token(headers, &header::UPGRADE, "websocket")
        && header_has_token(headers, &header::CONNECTION, "upgrade")
        && headers
            .get(header::SEC_WEBSOCKET_VERSION)
            .is_some_and(|version| version == VERSION)
        && is_websocket_key(key);
    if !is_websocket {
        return Err(Refusal::BadRequest);
    }
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| Refusal::BadRequest)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// True if a header's list of tokens contains the token, in any case. The type of `headers` for `Upgrade` is one value
/// and not a list.
fn header_has_token(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(token))
}

fn is_websocket_key(key: &HeaderValue) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let key = key.as_bytes();
    key.len() == KEY_CHARS && key.ends_with(b"==") && key[..KEY_CHARS - 2].iter().all(is_base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, query: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri(format!("/socket.io/{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).expect("a request")
    }

    const GOOD: [(&str, &str); 4] = [
        ("Upgrade", "WebSocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    /// P9: the response is the example of RFC 6455, and accepts no extension, in particular no compression.
    #[test]
    fn accept_answers_the_example_of_the_standard() {
        let extensions = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
        let headers: Vec<_> = GOOD.into_iter().chain([extensions]).collect();
        let response = accept(&request("GET", "", &headers)).expect("a websocket");
        assert_eq!(response.status(), 101);
        assert_eq!(
            response.headers()["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(!response.headers().contains_key("sec-websocket-extensions"));
    }

    /// P9: an incomplete handshake is refused before the hub allocates state for it.
    #[test]
    fn accept_refuses_requests_that_are_no_handshakes() {
        for (index, wrong) in ["h2c", "close", "8", "short"].into_iter().enumerate() {
            let mut headers = GOOD.to_vec();
            headers[index].1 = wrong;
            let refused = accept(&request("GET", "", &headers)).expect_err(wrong);
            assert_eq!(
                (refused, refused.response().status().as_u16()),
                (Refusal::BadRequest, 400)
            );
            headers.remove(index);
            assert_eq!(
                accept(&request("GET", "", &headers)).expect_err("absent"),
                Refusal::BadRequest
            );
        }
    }

    /// P9: requests are classified as the library classifies them.
    #[test]
    fn classify_reads_query_as_the_library_does() {
        let sid: Sid = "AAAAAAAAAAAAAAHs".parse().expect("an id");
        for (method, query, expected) in [
            ("GET", "?EIO=4&transport=websocket", Ok(RequestKind::Websocket(None))),
            (
                "GET",
                "?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAHs",
                Ok(RequestKind::Websocket(Some(sid))),
            ),
            ("GET", "?EIO=4&transport=polling&t=abc", Ok(RequestKind::Open)),
            (
                "GET",
                "?transport=polling&EIO=4&sid=AAAAAAAAAAAAAAHs",
                Ok(RequestKind::Poll(sid)),
            ),
            (
                "POST",
                "?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAHs",
                Ok(RequestKind::Post(sid)),
            ),
            ("POST", "?EIO=4&transport=polling", Ok(RequestKind::Other)),
            ("GET", "?EIO=4&transport=polling&sid=", Err(Refusal::UnknownSession)),
            (
                "GET",
                "?EIO=4&transport=polling&sid=short",
                Err(Refusal::UnknownSession),
            ),
            ("GET", "?EIO=3&transport=polling", Err(Refusal::UnsupportedProtocol)),
            ("GET", "?transport=polling", Err(Refusal::UnsupportedProtocol)),
            ("GET", "?EIO=4&transport=carrier-pigeon", Err(Refusal::UnknownTransport)),
            ("GET", "?EIO=4", Err(Refusal::UnknownTransport)),
            ("GET", "", Err(Refusal::UnknownTransport)),
        ] {
            assert_eq!(classify(&request(method, query, &[])), expected, "{method} {query}");
        }
    }
}
