//! Processing that every request passes: access checks, timeout, metrics, tracing.
//!
//! All of it is one layer. A router clones and boxes each of its layers for each request, and a layer made by `from_fn`
//! clones and boxes the inner service once more: five such layers cost as much as reading the request.

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
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, AllowOrigin, CorsLayer},
};
use tracing::Instrument;

use super::{
    AppState, Compression, ErrorResponse,
    access::{Access, Guard},
    compression::Accepted,
    request_id::{REQUEST_ID, request_id},
};
use crate::{
    listener::{BodyProgress, BodyState},
    metrics::Metrics,
    wire::{
        ErrorCode,
        error::{ApiError, internal},
    },
};

/// Time in seconds for which a browser may cache a preflight answer.
const PREFLIGHT_SECONDS: u64 = 3_600;

/// Adds the processing that every request passes. The outermost layer refuses requests by access rules. CORS comes
/// next, so that a page can read error answers too.
///
/// Routes with a single answer get the timeout, and their large answers are compressed. A long poll or a stream has no
/// timeout, since it waits for the next event.
pub fn with_layers(router: Router, state: &AppState, access: Access, timeout: Option<Duration>) -> Router {
    let metrics = state.metrics.clone();
    let layers = ServiceBuilder::new()
        .layer(Guard {
            access: access.clone(),
            metrics: metrics.clone(),
        })
        .layer(cors(access))
        .layer(Observe {
            metrics,
            timeout,
            compression: timeout.map(|_| state.compression.clone()),
        })
        .layer(CatchPanicLayer::custom(panicked));
    router.layer(layers)
}

/// Allows pages of allowed origins to read answers.
fn cors(access: Access) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin: &HeaderValue, _: &Parts| {
            access.allows_origin(origin)
        }))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER, REQUEST_ID])
        .max_age(Duration::from_secs(PREFLIGHT_SECONDS))
}

/// Refuses new sockets while the hub drains. The refusal concerns the transport and not the namespace: a client does
/// not reconnect after a refused namespace. Existing sockets may still fetch their last packets.
pub async fn check_draining(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let begins = !query.split('&').any(|pair| pair.starts_with("sid="));
    if begins && hub.is_draining() {
        return ErrorResponse::from(HubError::Draining).into_response();
    }
    next.run(request).await
}

/// Layer that adds a span, a metric and a timeout to each request.
#[derive(Clone)]
struct Observe {
    metrics: Metrics,
    timeout: Option<Duration>,
    compression: Option<Compression>,
}

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        let layer = self.clone();
        Observed { layer, inner }
    }
}

/// Service of [`Observe`].
#[derive(Clone)]
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
        let Observe {
            metrics,
            timeout,
            compression,
        } = self.layer.clone();
        let accepted = Accepted::of(&request);
        let (method, route) = (
            request.method().clone(),
            request.extensions().get::<MatchedPath>().cloned(),
        );
        let name = route.as_ref().map_or("unmatched", MatchedPath::as_str);
        let id = request_id(request.headers());
        let text = id.to_str().unwrap_or_default();
        let span = tracing::info_span!("request", http.method = %method, http.route = name, request_id = text);
        let progress = request.extensions().get::<Arc<BodyProgress>>().cloned();
        let answered = self.inner.call(request);
        Box::pin(async move {
            let bound = Bound {
                timeout,
                is_safe: method.is_safe(),
                progress: progress.as_deref(),
            };
            let Ok(response) = bound.answer(answered).instrument(span).await;
            let mut response = progress
                .and_then(|progress| body_failure(&progress))
                .unwrap_or(response);
            metrics.observe_request(&method, route.as_ref(), response.status());
            response.headers_mut().insert(REQUEST_ID, id);
            match compression {
                Some(compression) => Ok(compression.answer(&accepted, response).await),
                None => Ok(response),
            }
        })
    }
}

/// Timeout of an answer, counted from the last byte of its request.
struct Bound<'a> {
    timeout: Option<Duration>,
    is_safe: bool,
    progress: Option<&'a BodyProgress>,
}

impl Bound<'_> {
    /// Ends a request that takes too long. Its changes may still take effect.
    async fn answer<R: IntoResponse>(
        &self,
        answered: impl Future<Output = Result<R, Infallible>>,
    ) -> Result<Response, Infallible> {
        let answered = match self.timeout {
            Some(timeout) => tokio::select! {
                answered = answered => Some(answered),
                () = self.exceeded(timeout) => None,
            },
            None => Some(answered.await),
        };
        Ok(match answered {
            Some(Ok(response)) => response.into_response(),
            None if self.is_safe => {
                ErrorResponse(ApiError::new(ErrorCode::Overloaded, "the answer took too long")).into_response()
            }
            None => {
                let message = "the answer took too long; send the command again with the same command_id";
                ErrorResponse(ApiError::new(ErrorCode::OutcomeUnknown, message)).into_response()
            }
        })
    }

    /// Waits for the timeout. A body that is being received has its own timeouts, and the work begins after the body is
    /// complete.
    async fn exceeded(&self, timeout: Duration) {
        let mut deadline = Instant::now() + timeout;
        loop {
            tokio::time::sleep_until(deadline).await;
            let Some(progress) = self.progress else { return };
            let due = match progress.state() {
                BodyState::Receiving => Instant::now() + timeout,
                _ => progress.ended_at() + timeout,
            };
            if due <= deadline {
                return;
            }
            deadline = due;
        }
    }
}

/// Returns the answer to a request whose body failed, which replaces the answer of the body's reader.
fn body_failure(progress: &BodyProgress) -> Option<Response> {
    let failure = match progress.state() {
        BodyState::TimedOut => ApiError::new(
            ErrorCode::RequestTimeout,
            "the body did not come in time; nothing was done",
        ),
        BodyState::OverBudget => {
            ApiError::new(ErrorCode::Overloaded, "too much is being received; send it again later")
                .with("limit", "receiving_bytes_max")
                .with("max", progress.budget())
        }
        BodyState::Unread | BodyState::Receiving | BodyState::Ended => return None,
    };
    Some(ErrorResponse(failure).into_response())
}

/// Builds the answer for a panic. The client gets an incident id; the log has the panic.
#[expect(clippy::needless_pass_by_value, reason = "what the layer calls gives it away")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied());
    ErrorResponse(internal(&format!(
        "a handler panicked: {}",
        text.unwrap_or("no message")
    )))
    .into_response()
}
