//! Web origins, exactly as browsers send them in the `Origin` header.

use url::Url;

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
    // `Url::origin` is not used: it has no text for the schemes of desktop applications.
    let url = Url::parse(text).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?.to_ascii_lowercase();
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("{}://{host}{port}", url.scheme()))
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
            ("https://tracker.example:", "https://tracker.example"),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
            ("tauri://Localhost/", "tauri://localhost"),
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
