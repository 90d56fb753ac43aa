//! What every request passes: who may ask from where, how long it may take, what is counted and told of it.
//!
//! It is one layer. A router clones and boxes each of its layers for each request, and the functions that can be one
//! (`from_fn`) clone and box what is below them once more: five such layers cost as much as reading the request.

use std::{
    any::Any,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use talus_actors::hub::{Hub, HubError};
use tower::{Layer, Service, ServiceBuilder};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, AllowOrigin, CorsLayer},
};
use tracing::Instrument;

use super::{ApiError, AppState};
use crate::{
    config::Cors,
    metrics::Metrics,
    wire::error::{Failure, internal},
};

/// How long a browser may remember what a preflight said.
const PREFLIGHT_SECONDS: u64 = 3_600;

/// Adds what every request passes. The outermost is CORS, so that a page can also read what went wrong.
///
/// Routes that answer once are given the time that they may take. A long poll or a stream waits for what happens next,
/// however long that takes.
pub fn with_layers(router: Router, state: &AppState, timeout: Option<Duration>) -> Router {
    let metrics = state.metrics.clone();
    let layers = ServiceBuilder::new()
        .layer(cors(&state.config.cors))
        .layer(Observe { metrics, timeout })
        .layer(CatchPanicLayer::custom(panicked));
    router.layer(layers)
}

/// Lets pages of other origins use the API, if they are let in.
fn cors(config: &Cors) -> CorsLayer {
    let origins = Arc::new(Origins::new(config));
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin: &HeaderValue, _: &Parts| {
            origins.allow(origin)
        }))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::ETAG, header::RETRY_AFTER])
        .max_age(Duration::from_secs(PREFLIGHT_SECONDS))
}

/// Origins that may use the hub from a browser.
#[derive(Debug, Clone)]
pub struct Origins {
    allow_localhost: bool,
    listed: Vec<HeaderValue>,
}

impl Origins {
    /// Those of the configuration.
    #[must_use]
    pub fn new(config: &Cors) -> Self {
        let listed = config
            .origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin).ok())
            .collect();
        Self {
            allow_localhost: config.allow_localhost,
            listed,
        }
    }

    /// Whether pages of this origin may.
    #[must_use]
    pub fn allow(&self, origin: &HeaderValue) -> bool {
        self.listed.contains(origin) || (self.allow_localhost && is_localhost(origin))
    }
}

/// Any port of this machine, over http or https.
fn is_localhost(origin: &HeaderValue) -> bool {
    let Some(rest) = origin
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("http://").or(text.strip_prefix("https://")))
    else {
        return false;
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    matches!(host, "localhost" | "127.0.0.1" | "[::1]") && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Refuses sockets to pages of foreign origins. CORS does not: a browser asks nobody before it opens a websocket. A
/// page that the hub itself serves, under whatever name, is not foreign.
pub async fn check_origin(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let foreign = headers.get(header::ORIGIN).filter(|origin| {
        let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let named = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .map(|(_, host)| host);
        !origins.allow(origin) && (own.is_none() || own != named)
    });
    if let Some(origin) = foreign {
        let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
        let message = format!("pages of {origin} may not connect; cors.origins says which may");
        return ApiError(Failure::new("ORIGIN_NOT_ALLOWED", message)).into_response();
    }
    next.run(request).await
}

/// Lets no new socket begin while the hub goes away. This is no refusal of the namespace, after which a client would
/// never come back, but of its transport. The sockets that are there may still fetch their last packets.
pub async fn check_draining(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let begins = !query.split('&').any(|pair| pair.starts_with("sid="));
    if begins && hub.is_draining() {
        return ApiError::from(HubError::Draining).into_response();
    }
    next.run(request).await
}

/// A span and a count for each request, and an end to those that take too long.
#[derive(Debug, Clone)]
struct Observe {
    metrics: Metrics,
    timeout: Option<Duration>,
}

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        let layer = self.clone();
        Observed { layer, inner }
    }
}

/// See [`Observe`].
#[derive(Debug, Clone)]
struct Observed<S> {
    layer: Observe,
    inner: S,
}

impl<S> Service<Request> for Observed<S>
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Observe { metrics, timeout } = self.layer.clone();
        let (method, route) = (
            request.method().clone(),
            request.extensions().get::<MatchedPath>().cloned(),
        );
        let name = route.as_ref().map_or("unmatched", MatchedPath::as_str);
        let span = tracing::info_span!("request", http.method = %method, http.route = name);
        let answered = self.inner.call(request);
        Box::pin(async move {
            let is_safe = method.is_safe();
            let Ok(response) = bounded(answered, timeout, is_safe).instrument(span).await;
            metrics.observe_request(&method, route.as_ref(), response.status());
            Ok(response)
        })
    }
}

/// Ends a request that takes too long. What it was about to change may happen all the same.
async fn bounded<R: IntoResponse>(
    answered: impl Future<Output = Result<R, Infallible>>,
    timeout: Option<Duration>,
    is_safe: bool,
) -> Result<Response, Infallible> {
    let answered = match timeout {
        Some(timeout) => tokio::time::timeout(timeout, answered).await,
        None => Ok(answered.await),
    };
    Ok(match answered {
        Ok(Ok(response)) => response.into_response(),
        Err(_) if is_safe => ApiError(Failure::new("OVERLOADED", "the answer took too long")).into_response(),
        Err(_) => {
            let message = "the answer took too long; send the command again with the same command_id";
            ApiError(Failure::new("OUTCOME_UNKNOWN", message)).into_response()
        }
    })
}

/// A bug. The client gets an id, the log says what it was.
#[expect(clippy::needless_pass_by_value, reason = "what the layer calls gives it away")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied());
    ApiError(internal(&format!(
        "a handler panicked: {}",
        text.unwrap_or("no message")
    )))
    .into_response()
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
    fn every_port_of_this_machine_is_let_in_if_localhost_is() {
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
    fn what_only_looks_like_this_machine_is_not() {
        for origin in [
            "http://localhost.evil.example",
            "http://evil.example",
            "http://localhost:80@evil.example",
            "null",
            "http://localhost:99999",
            "ftp://localhost",
            "http://127.0.0.1.evil.example:80",
        ] {
            assert!(!allowed(true, &[], origin), "{origin}");
        }
    }

    #[test]
    fn a_listed_origin_is_let_in_and_only_that() {
        let listed = ["https://tracker.example"];
        assert!(allowed(false, &listed, "https://tracker.example"));
        for origin in [
            "http://tracker.example",
            "https://tracker.example:444",
            "https://x.tracker.example",
        ] {
            assert!(!allowed(false, &listed, origin), "{origin}");
        }
    }
}
