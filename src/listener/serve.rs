//! Serves connections: HTTP/1.1 until a connection ends or becomes a websocket.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body as AxumBody, Bytes},
    extract::ConnectInfo,
    http::{HeaderValue, Request, Response, StatusCode, Version, header, uri::Authority},
    response::IntoResponse,
};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::TokioIo;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

use super::{
    Connection, Listener, Stream,
    body::{BodyProgress, BodyState, ReceivedBody},
    phase::Expiry,
};
use crate::wire::error::ApiError;

/// Bytes of an unwanted body that are read and discarded. Most clients read no answer before they have sent the whole
/// request, so an answer followed by a close in the middle of the request is lost. The limit is sixteen times the
/// default of `server.body_bytes_max`, which covers honest mistakes.
const DISCARDED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Maximum time for discarding the rest of a body.
const DISCARDING_MAX: Duration = Duration::from_secs(5);

/// Serves accepted connections until `closing`, then finishes the requests under way. Returns when all connections have
/// ended.
pub async fn serve(mut listener: Listener, router: Router, closing: CancellationToken) {
    let mut http = http1::Builder::new();
    // The phases of a connection have their own timeouts (`phase`). The timeout of the library does not distinguish
    // between a silence before a head and within a head.
    http.header_read_timeout(None)
        .max_header_size(listener.settings.head_bytes_max);
    let connections = TaskTracker::new();
    loop {
        let (stream, connection) = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        connections.spawn(serve_one(
            http.clone(),
            stream,
            connection,
            router.clone(),
            closing.clone(),
        ));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve_one(
    http: http1::Builder,
    stream: Stream,
    connection: Connection,
    router: Router,
    closing: CancellationToken,
) {
    let shared = Arc::clone(&connection.shared);
    let mut expiry = Expiry::new(&shared.phase_clock, shared.settings.timeouts);
    let service = Requests { router, connection };
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut is_closing = false;
    loop {
        tokio::select! {
            biased;
            ended = served.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection failed");
                }
                return;
            }
            () = closing.cancelled(), if !is_closing => {
                is_closing = true;
                served.as_mut().graceful_shutdown();
            }
            // Polled last: the connection has just been polled, so its phase is current.
            expired = &mut expiry => {
                tracing::debug!(%expired, "a connection exceeded a timeout");
                return shared.settings.expired(expired);
            }
        }
    }
}

/// Service for the requests of one connection.
struct Requests {
    router: Router,
    connection: Connection,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let connection = self.connection.clone();
        connection.shared.phase_clock.record_request();
        let host_check = check_host(&request);
        let expects_continue = request.headers().contains_key(header::EXPECT);
        request.extensions_mut().insert(ConnectInfo(connection.clone()));
        let (request, rest) = self.bounded(request);
        let mut router = self.router.clone();
        Box::pin(async move {
            let mut response = match host_check {
                Ok(()) => {
                    let Ok(response) = router.call(request).await;
                    response
                }
                Err(failure) => {
                    let metrics = &connection.shared.settings.metrics;
                    metrics.observe_request(request.method(), None, StatusCode::BAD_REQUEST);
                    drop(request);
                    (StatusCode::BAD_REQUEST, Json(failure.body())).into_response()
                }
            };
            if let Some(rest) = rest
                && !rest.drain(expects_continue).await
            {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            let ends = response.status() != StatusCode::SWITCHING_PROTOCOLS;
            Ok(response.map(|body| AnswerBody {
                body,
                connection: ends.then_some(connection),
            }))
        })
    }
}

impl Requests {
    /// Wraps the body of a request in its bounds, if the request has a body.
    fn bounded(&self, request: Request<Incoming>) -> (Request<AxumBody>, Option<UnreadBody>) {
        let (mut parts, body) = request.into_parts();
        if body.is_end_stream() {
            return (Request::from_parts(parts, AxumBody::empty()), None);
        }
        let (body, progress, unread) = ReceivedBody::new(body, &self.connection.shared.settings);
        parts.extensions.insert(Arc::clone(&progress));
        let request = Request::from_parts(parts, AxumBody::new(body));
        (request, Some(UnreadBody { progress, unread }))
    }
}

/// Checks that a request names exactly one valid host. Proxies and caches in front of the hub may route a request with
/// no host, or with two hosts, to another host.
fn check_host<B>(request: &Request<B>) -> Result<(), ApiError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let refused = |reason: &str| Err(ApiError::invalid_field("Host", reason));
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() < Version::HTTP_11 => Ok(()),
        (None, _) => refused("is missing"),
        (Some(_), Some(_)) => refused("is there more than once"),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (Some(_), None) => refused("is no host and port"),
    }
}

fn is_host(text: &[u8]) -> bool {
    Authority::try_from(text).is_ok_and(|host| {
        let port = host.as_str().strip_prefix(host.host()).unwrap_or_default();
        let port_is_valid = port.is_empty() || port == ":" || host.port_u16().is_some();
        // A comma is a sign of two headers that a proxy has joined.
        !host.host().is_empty() && !text.iter().any(|byte| b"@,".contains(byte)) && port_is_valid
    })
}

/// Unread rest of a body.
struct UnreadBody {
    progress: Arc<BodyProgress>,
    unread: oneshot::Receiver<Incoming>,
}

impl UnreadBody {
    /// Reads the rest off, so that the connection can carry the next request. False: the rest is too long, too slow, or
    /// was never sent because the client waits for `100 Continue`. The connection has to end then.
    async fn drain(mut self, expects_continue: bool) -> bool {
        let Ok(body) = self.unread.try_recv() else {
            return false;
        };
        if body.is_end_stream() {
            return true;
        }
        let is_awaiting_continue = expects_continue && self.progress.state() == BodyState::Unread;
        if is_awaiting_continue || body.size_hint().lower() > DISCARDED_BYTES_MAX {
            return false;
        }
        timeout(DISCARDING_MAX, discard(body)).await.unwrap_or(false)
    }
}

/// Reads a body to its end. False: the body failed or exceeds the limit.
async fn discard(mut body: Incoming) -> bool {
    let mut discarded = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else { return false };
        discarded += frame.data_ref().map_or(0, |data| data.len() as u64);
        if discarded > DISCARDED_BYTES_MAX {
            return false;
        }
    }
    true
}

/// Body of an answer. Dropping the body moves the connection to the idle phase.
struct AnswerBody {
    body: AxumBody,
    connection: Option<Connection>,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.shared.phase_clock.record_answer_end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_header_is_host_with_optional_port() {
        for host in [
            "hub",
            "hub.example",
            "hub.example:443",
            "hub.example:",
            "127.0.0.1:5000",
            "[::1]",
            "[::1]:5000",
            "HUB_1.example.",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":5000",
            "a b",
            "a,b",
            "user@hub",
            "hub:port",
            "hub:99999",
            "hub/path",
            "http://hub",
            "[::1",
            "hub\u{e9}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
