//! Hosts and web origins, parsed and compared by the rules of the URL standard: letter case, default ports and the
//! notation of an IP address are ignored.
//!
//! `url::Host` parses the hosts. The rest is stricter than the kept parsers: `url::Url` repairs an origin (backslashes,
//! blanks, a missing `//`), and the types of `headers` accept user names and ignore a port beyond 16 bits.

use url::Host;

/// Host and optional port by which a request addresses the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    pub host: Host<String>,
    pub port: Option<u16>,
}

impl Authority {
    /// Parses a `Host` header or the authority of a request target. `None`: not `host[:port]`.
    pub fn parse(text: &str) -> Option<Self> {
        // User names, escapes and blanks are valid in a URL but not in an authority.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if !text.bytes().all(is_plain) {
            return None;
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (text, ""),
        };
        let port = match port {
            "" => None,
            port => Some(port.parse().ok()?),
        };
        let host = match host.parse() {
            // Most clients name an address in its usual notation, which needs no parser of URLs.
            Ok(address) => Host::Ipv4(address),
            Err(_) => Host::parse(host).ok()?,
        };
        Some(Self { host, port })
    }
}

/// Origin of web pages that are served over HTTP or HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WebOrigin {
    is_https: bool,
    pub host: Host<String>,
    port: u16,
}

impl WebOrigin {
    /// Parses an `Origin` header. `None`: `null`, another scheme, or not `scheme://host[:port]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let Authority { host, port } = Authority::parse(authority)?;
        let port = port.unwrap_or(default_port(is_https));
        Some(Self { is_https, host, port })
    }

    /// Returns true for an origin on this machine, at any port.
    pub fn is_localhost(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => *address == std::net::Ipv4Addr::LOCALHOST,
            Host::Ipv6(address) => *address == std::net::Ipv6Addr::LOCALHOST,
        }
    }

    /// Returns true if the page is served by the host that the request names. A request without a port was sent to the
    /// default port, unless a proxy has removed the port: with `port_may_be_lost` a missing port matches any port.
    pub fn is_of(&self, authority: &Authority, port_may_be_lost: bool) -> bool {
        let same_port = match authority.port {
            // A port serves one protocol, and the protocol of the default ports is known.
            Some(port) => port == self.port && port != default_port(!self.is_https),
            None => port_may_be_lost || self.port == default_port(self.is_https),
        };
        same_port && self.host == authority.host
    }

    /// Returns true for a page that was loaded over plain HTTP.
    pub const fn is_plain_http(&self) -> bool {
        !self.is_https
    }
}

const fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_of(origin: &str, host: &str, port_may_be_lost: bool) -> bool {
        let origin = WebOrigin::parse(origin).expect(origin);
        origin.is_of(&Authority::parse(host).expect(host), port_may_be_lost)
    }

    #[test]
    fn origin_equals_host_as_the_url_standard_says() {
        for (origin, host) in [
            ("https://hub.example", "hub.example"),
            ("https://hub.example", "hub.example:443"),
            ("http://hub.example", "hub.example:80"),
            ("http://hub.example:80", "Hub.Example"),
            ("HTTPS://HUB.example", "hub.EXAMPLE:443"),
            ("http://hub.example:5000", "hub.example:5000"),
            ("https://hub.example:8443", "hub.example:8443"),
            ("http://[::1]:5000", "[0:0:0:0:0:0:0:1]:5000"),
            ("http://127.0.0.1:5000", "127.0.0.1:5000"),
        ] {
            assert!(is_of(origin, host, false), "{origin} at {host}");
            assert!(is_of(origin, host, true), "{origin} at {host}");
        }
    }

    #[test]
    fn origin_differs_by_port_scheme_or_name() {
        for (origin, host) in [
            ("https://hub.example", "hub.example:80"),
            ("http://hub.example", "hub.example:443"),
            ("http://hub.example:443", "hub.example:443"),
            ("https://hub.example:8443", "hub.example:5000"),
            ("https://x.hub.example", "hub.example"),
            ("https://hub.example.evil.example", "hub.example"),
            ("https://hub.example.", "hub.example"),
            ("http://127.0.0.1:5000", "localhost:5000"),
        ] {
            assert!(!is_of(origin, host, false), "{origin} at {host}");
            assert!(!is_of(origin, host, true), "{origin} at {host}");
        }
        assert!(!is_of("https://hub.example:8443", "hub.example", false));
        assert!(
            is_of("https://hub.example:8443", "hub.example", true),
            "as nginx's $host"
        );
    }

    #[test]
    fn origin_parses_only_as_scheme_host_and_port() {
        for text in [
            "",
            "null",
            "hub.example",
            "ftp://localhost",
            "http://",
            "http://localhost:99999",
            "http://localhost:+80",
            "http://localhost:80@evil.example",
            "http://user@localhost",
            "http://localhost/",
            "http://localhost\\",
            "http://localhost?x",
            "http://localhost#x",
            "http:localhost",
            " http://localhost",
            "http://local%68ost",
            "http://localhost http://localhost",
            "http://::1",
        ] {
            assert_eq!(WebOrigin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn authority_parses_names_addresses_and_ports() {
        for text in [
            "hub.example",
            "hub.example:",
            "talus_hub-1:80",
            "[::1]",
            "127.0.0.1:0",
            "localhost.",
        ] {
            assert!(Authority::parse(text).is_some(), "{text}");
        }
        for text in [
            "", ":80", "a b", "a:b", "a:1:2", "user@a", "a/b", "a,b", "[::1", "a%2eb", "a:65536",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }
}
