//! Access of web pages: the host names by which the hub may be addressed, and the permissions of web origins.
//!
//! A browser treats a page whose name is rebound to the hub's address as same-origin with the hub, so only the host
//! name distinguishes such a page. A page of another origin may send a request without a preflight and do harm without
//! reading the answer. So the origin is checked on the server, and not only reported to the browser.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderValue, Method, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::future::Either;
use tower::{Layer, Service};
use url::Host;

use super::{
    ErrorResponse,
    web_origin::{Authority, WebOrigin},
};
use crate::{
    config::{Config, Cors},
    metrics::Metrics,
    wire::{ErrorCode, error::ApiError},
};

/// Ports that a browser omits from `Host`. At any other port, a `Host` without a port was written by a proxy.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// Access rules of one part of the hub. Cloning copies one pointer.
#[derive(Debug, Clone)]
pub struct Access(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    hosts: Hosts,
    origins: Origins,
    /// Checks the origin of safe requests too: those that start a connection, or that return data hidden from pages.
    tests_reads: bool,
    port_may_be_lost: bool,
}

impl Access {
    /// Creates the rules of the REST API and of the pages at a port. A page of any origin may send safe requests: CORS
    /// determines its access to the answers.
    #[must_use]
    pub fn to_api(config: &Config, port: u16) -> Self {
        Self(Arc::new(Rules {
            hosts: Hosts::new(config),
            origins: Origins::new(&config.cors),
            tests_reads: false,
            port_may_be_lost: !DEFAULT_PORTS.contains(&port),
        }))
    }

    /// Creates the rules of the sockets at a port. CORS does not protect sockets: a browser sends no preflight before
    /// it opens a websocket.
    #[must_use]
    pub fn to_sockets(config: &Config, port: u16) -> Self {
        Self(Arc::new(Rules {
            hosts: Hosts::new(config),
            origins: Origins::new(&config.cors),
            tests_reads: true,
            port_may_be_lost: !DEFAULT_PORTS.contains(&port),
        }))
    }

    /// Creates the rules of the operators' listener. `[cors]` applies to pages for clients and not to this listener.
    #[must_use]
    pub fn to_operations(config: &Config) -> Self {
        Self(Arc::new(Rules {
            hosts: Hosts::new(config),
            origins: Origins::default(),
            tests_reads: true,
            port_may_be_lost: false,
        }))
    }

    /// Returns true if a page of this origin may read answers.
    pub(super) fn allows_origin(&self, origin: &HeaderValue) -> bool {
        self.0.origins.allow(origin)
    }

    /// # Errors
    /// Returns the refused host or origin, with the key that would allow it.
    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let own = self.0.hosts.check(request.uri(), request.headers())?;
        if self.0.tests_reads || !request.method().is_safe() {
            self.0.check_origin(request, own.as_ref())?;
        }
        Ok(())
    }
}

impl Rules {
    fn check_origin(&self, request: &Request, own: Option<&Authority>) -> Result<(), ApiError> {
        let headers = request.headers();
        let from_elsewhere = contains(headers, "sec-fetch-site", &["cross-site", "same-site"]);
        let mut origins = headers.get_all(header::ORIGIN).iter().peekable();
        if origins.peek().is_none() && from_elsewhere && !is_navigation(request.method(), headers) {
            return Err(refused_origin("another site"));
        }
        let over_tls = contains(headers, "x-forwarded-proto", &["https"]);
        let is_own = |origin: &WebOrigin| {
            let downgraded = over_tls && origin.is_plain_http();
            !downgraded && own.is_some_and(|own| origin.is_of(own, self.port_may_be_lost))
        };
        for origin in origins {
            let parsed = origin.to_str().ok().and_then(WebOrigin::parse);
            // `Sec-Fetch-Site` overrides the comparison of names: the browser knows the port and the scheme.
            let is_own = !from_elsewhere && parsed.as_ref().is_some_and(is_own);
            if !is_own && !self.origins.allow(origin) {
                return Err(refused_origin(&String::from_utf8_lossy(origin.as_bytes())));
            }
        }
        Ok(())
    }
}

fn refused_origin(origin: &str) -> ApiError {
    let message = format!("pages of {origin} may not do this; cors.origins lists those that may use the clients' API");
    ApiError::new(ErrorCode::OriginNotAllowed, message)
}

fn contains(headers: &HeaderMap, name: &str, words: &[&str]) -> bool {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| words.iter().any(|word| value.trim().eq_ignore_ascii_case(word)))
}

/// Returns true for a followed link: its answer is shown to a person and to no page.
fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    method.is_safe()
        && contains(headers, "sec-fetch-mode", &["navigate"])
        && contains(headers, "sec-fetch-dest", &["document"])
}

/// Host names by which the hub may be addressed. IP addresses are always allowed, since they cannot be rebound.
#[derive(Debug, Clone, Default)]
struct Hosts(Vec<String>);

impl Hosts {
    fn new(config: &Config) -> Self {
        let ops = config.ops.listen.rsplit_once(':').map(|(host, _)| host);
        let listened = [Some(config.server.host.as_str()), ops].into_iter().flatten();
        let listed = config.server.hosts.iter().map(String::as_str);
        let parsed = listed.chain(listened).filter_map(|name| Host::parse(name).ok());
        let origins = config.cors.origins.iter().filter_map(|origin| WebOrigin::parse(origin));
        let names = parsed.chain(origins.map(|origin| origin.host));
        let names = names.filter_map(|host| match host {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        });
        Self(names.collect())
    }

    /// Checks every host that a request names, in its target and in its header. Returns the host that takes precedence.
    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, ApiError> {
        let target = uri.authority().map(|authority| authority.as_str().as_bytes());
        let named = headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
        let mut counts = None;
        for text in target.into_iter().chain(named) {
            let parsed = std::str::from_utf8(text).ok().and_then(Authority::parse);
            let allowed = parsed.filter(|authority| self.allow(&authority.host));
            let Some(authority) = allowed else {
                let name = String::from_utf8_lossy(text);
                let message = format!("{name:?} is no name of this hub; server.hosts lists its names");
                return Err(ApiError::new(ErrorCode::HostNotAllowed, message));
            };
            counts.get_or_insert(authority);
        }
        Ok(counts)
    }

    fn allow(&self, host: &Host<String>) -> bool {
        match host {
            Host::Ipv4(_) | Host::Ipv6(_) => true,
            Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                // No third party can register a name below localhost, and browsers resolve such names locally.
                name == "localhost" || name.ends_with(".localhost") || self.0.iter().any(|own| own == name)
            }
        }
    }
}

/// Origins, in addition to the hub's own, that may use the hub from a browser.
#[derive(Debug, Clone, Default)]
struct Origins {
    allow_localhost: bool,
    listed: Vec<WebOrigin>,
    /// Listed origins of other schemes, such as the schemes of desktop applications.
    verbatim: Vec<String>,
}

impl Origins {
    fn new(config: &Cors) -> Self {
        let is_other = |origin: &&String| WebOrigin::parse(origin).is_none();
        Self {
            allow_localhost: config.allow_localhost,
            listed: config
                .origins
                .iter()
                .filter_map(|origin| WebOrigin::parse(origin))
                .collect(),
            verbatim: config.origins.iter().filter(is_other).cloned().collect(),
        }
    }

    fn allow(&self, origin: &HeaderValue) -> bool {
        let Ok(text) = origin.to_str() else { return false };
        match WebOrigin::parse(text) {
            Some(origin) => self.listed.contains(&origin) || (self.allow_localhost && origin.is_localhost()),
            None => self.verbatim.iter().any(|listed| listed == text),
        }
    }
}

/// Layer that refuses and counts requests that [`Access`] does not allow.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub access: Access,
    pub metrics: Metrics,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        let guard = self.clone();
        Guarded { guard, inner }
    }
}

/// Service of [`Guard`].
#[derive(Debug, Clone)]
pub(super) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Err(failure) = self.guard.access.check(&request) else {
            return Either::Right(self.inner.call(request));
        };
        tracing::debug!(
            code = failure.code.as_str(),
            "a request was refused because of its host or origin"
        );
        let mut response = ErrorResponse(failure).into_response();
        // The answer depends on the origin, as CORS requires it to be stated.
        response
            .headers_mut()
            .append(header::VARY, HeaderValue::from_static("origin"));
        let route = request.extensions().get::<MatchedPath>();
        let metrics = &self.guard.metrics;
        metrics.observe_request(request.method(), route, response.status());
        Either::Left(ready(Ok(response)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(allow_localhost: bool, listed: &[&str], origin: &str) -> bool {
        let origins = listed.iter().map(ToString::to_string).collect();
        Origins::new(&Cors {
            allow_localhost,
            origins,
        })
        .allow(&HeaderValue::from_str(origin).expect(origin))
    }

    #[test]
    fn origins_allow_localhost_at_every_port() {
        for origin in [
            "http://localhost",
            "http://localhost:5173",
            "https://127.0.0.1:8443",
            "http://[::1]",
            "http://[::1]:3000",
        ] {
            assert!(allowed(true, &[], origin), "{origin}");
            assert!(!allowed(false, &[], origin), "{origin}");
        }
    }

    #[test]
    fn origins_refuse_localhost_lookalikes() {
        for origin in [
            "http://localhost.evil.example",
            "http://evil.example",
            "http://localhost:80@evil.example",
            "null",
            "http://localhost:99999",
            "ftp://localhost",
            "http://127.0.0.1.evil.example:80",
            "http://localhost.",
        ] {
            assert!(!allowed(true, &[], origin), "{origin}");
        }
    }

    #[test]
    fn origins_allow_only_listed() {
        let listed = ["https://tracker.example", "tauri://localhost"];
        for origin in [
            "https://tracker.example",
            "https://Tracker.example:443",
            "tauri://localhost",
        ] {
            assert!(allowed(false, &listed, origin), "{origin}");
        }
        for origin in [
            "http://tracker.example",
            "https://tracker.example:444",
            "https://x.tracker.example",
            "tauri://other",
        ] {
            assert!(!allowed(false, &listed, origin), "{origin}");
        }
    }

    #[test]
    fn hosts_allow_addresses_localhost_and_listed() {
        let mut config = Config::default();
        config.server.host = "Hub.internal".to_owned();
        config.server.hosts = vec!["hub.example".to_owned()];
        config.cors.origins = vec!["https://tracker.example:8443".to_owned()];
        config.ops.listen = "ops.internal:5001".to_owned();
        let hosts = Hosts::new(&config);
        let allow = |host: &str| hosts.allow(&Authority::parse(host).expect(host).host);
        for host in [
            "127.0.0.1:9",
            "[::1]",
            "192.0.2.7",
            "[2001:db8::1]:5000",
            "LOCALHOST:1",
            "live.localhost",
            "hub.internal",
            "ops.internal:5001",
            "HUB.example:8443",
            "hub.example.",
            "tracker.example",
        ] {
            assert!(allow(host), "{host}");
        }
        for host in [
            "a.example",
            "localhost.a.example",
            "notlocalhost",
            "127.0.0.1.a.example",
            "x.hub.example",
            "hub.example.a.example",
            "example",
        ] {
            assert!(!allow(host), "{host}");
        }
    }
}
