//! Web origins, exactly as browsers send them in the `Origin` header.

use axum::http::Uri;

const EXAMPLE: &str = r#"must be scheme://host[:port] without a path, such as "https://tracker.example""#;

/// Checks that `text` is an origin byte by byte as a browser sends it, since origins are compared as bytes. `Err` names
/// the allowed form.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.contains('*') {
        return Err(format!(
            "{text:?} is refused: a wildcard would let any web page act in its visitors' name; each {EXAMPLE}"
        ));
    }
    let sent = as_sent(text).ok_or_else(|| format!("{text:?} is no origin: each {EXAMPLE}"))?;
    if sent == text {
        return Ok(());
    }
    Err(format!("{text:?} would never match: browsers send {sent:?}"))
}

/// Returns the origin that a browser sends for a page at `text`: lower case, without default port and path.
fn as_sent(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let host = uri.host().filter(|host| !host.is_empty())?;
    let without_user = uri.authority()?.as_str().rsplit('@').next()?;
    let port = match without_user.strip_prefix(host)?.strip_prefix(':') {
        None => None,
        // `Uri::port_u16` is not used: it returns `None` for a port beyond 16 bits.
        Some(port) => Some(port.parse::<u16>().ok()?),
    };
    let port = match (scheme.as_str(), port) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    let host = host.to_ascii_lowercase();
    Some(format!("{scheme}://{host}{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_accepts_browser_form() {
        for text in [
            "https://tracker.example",
            "http://tracker.example:8080",
            "http://192.0.2.7:3000",
            "https://[2001:db8::1]:8443",
            "tauri://localhost",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn origin_refuses_other_forms_with_browser_form() {
        for (text, sent) in [
            ("https://Tracker.example", "https://tracker.example"),
            ("https://tracker.example/", "https://tracker.example"),
            ("https://tracker.example/app?x=1", "https://tracker.example"),
            ("https://tracker.example:443", "https://tracker.example"),
            ("http://tracker.example:80", "http://tracker.example"),
            ("https://user@tracker.example", "https://tracker.example"),
        ] {
            let refusal = check(text).expect_err(text);
            assert!(refusal.ends_with(&format!("browsers send {sent:?}")), "{refusal}");
        }
    }

    #[test]
    fn origin_refuses_other_texts_with_the_format() {
        for text in [
            "",
            "tracker.example",
            "tracker.example:80",
            "null",
            "https://",
            "/app",
            "https://a b",
            "https://a:99999",
            "https://a:",
        ] {
            let refusal = check(text).expect_err(text);
            assert!(refusal.contains("scheme://host[:port]"), "{refusal}");
        }
    }

    #[test]
    fn origin_refuses_wildcards() {
        for text in ["*", "https://*", "https://*.tracker.example"] {
            let refusal = check(text).expect_err(text);
            assert!(refusal.contains("wildcard") && refusal.contains(text), "{refusal}");
        }
    }
}
