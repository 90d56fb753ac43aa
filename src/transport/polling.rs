//! Polling sessions: opens, polls and posts.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use engineioxide::socket::Sid;
use futures_util::{FutureExt, StreamExt};
use serde::Deserialize;
use tokio::{task::unconstrained, time::timeout};

use super::{
    handshake::Refusal,
    packets,
    service::{PATH, Shared},
    session::Transport,
};
use crate::{
    metrics::DisconnectCause,
    wire::{ErrorCode, error::ApiError},
};

/// Engine.IO packet without content.
pub(super) const NOOP: &str = "6";

/// Engine.IO packet by which a client closes its session.
const CLOSE: &str = "1";

/// Separates packets in the answer to a poll.
const SEPARATOR: &[u8] = b"\x1e";

/// Upper bound of the library's answer to an open, in bytes. The answer has some 150.
const OPEN_BYTES_MAX: usize = 4096;

/// Engine.IO packet that opens a session.
#[derive(Deserialize)]
struct Open {
    sid: String,
}

impl Shared {
    /// Opens a polling session.
    pub(super) async fn open(self: &Arc<Self>, mut request: Request) -> Response {
        let transport = Transport::polling(self);
        request.extensions_mut().insert(Arc::clone(&transport));
        let (parts, body) = self.call(request).await.into_parts();
        let Ok(body) = axum::body::to_bytes(body, OPEN_BYTES_MAX).await else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        if let Some(sid) = read_open_packet(&body) {
            self.sessions.add(sid, &transport);
        }
        Response::from_parts(parts, Body::from(body))
    }

    /// Answers a poll: with packets of the library as soon as there are any, or without packets when an upgrade has to
    /// end the poll. A poll that is dropped while it waits has taken no packet.
    pub(super) async fn poll(&self, sid: Sid, request: Request) -> Response {
        let Some(transport) = self.sessions.get(sid) else {
            return Refusal::UnknownSession.response();
        };
        let Some(polling) = transport.open_polling() else {
            return Refusal::UnknownSession.response();
        };
        let _poll = polling.begin_poll();
        if polling.is_handing_over() {
            return packets_response(NOOP);
        }
        tokio::select! {
            biased;
            () = polling.closed().cancelled() => Refusal::UnknownSession.response(),
            response = self.call(request) => without_close(response).await,
            () = polling.poll_is_interrupted() => packets_response(NOOP),
        }
    }

    /// Passes the packets of a post to the library when the whole body has arrived.
    pub(super) async fn post(&self, sid: Sid, request: Request) -> Response {
        let transport = self.sessions.get(sid);
        if transport.is_none_or(|transport| transport.open_polling().is_none()) {
            return Refusal::UnknownSession.response();
        }
        let (parts, body) = request.into_parts();
        let timeout_ms = self.settings.message_timeout.as_millis();
        let read = match timeout(self.settings.message_timeout, self.read_body(body)).await {
            Ok(read) => read,
            Err(_) => {
                let message = format!("the body did not arrive within {timeout_ms} ms");
                Err((
                    Some(DisconnectCause::MessageTimeout),
                    ApiError::new(ErrorCode::Overloaded, message),
                ))
            }
        };
        match read {
            Ok(body) => {
                let body = Body::from(packets::answerable_body(body, self.settings.auth_bytes_max));
                self.call(Request::from_parts(parts, body)).await
            }
            Err((cut, failure)) => {
                if let Some(cut) = cut {
                    self.settings.metrics.observe_disconnect(cut);
                }
                refusal(&failure)
            }
        }
    }

    /// Reads a body within `realtime.message_bytes_max`. The connection counts the bytes against the budget for
    /// received bytes.
    async fn read_body(&self, body: Body) -> Result<Vec<u8>, (Option<DisconnectCause>, ApiError)> {
        let max = self.settings.message_bytes_max;
        let (mut read, mut chunks) = (Vec::new(), body.into_data_stream());
        while let Some(chunk) = chunks.next().await {
            let Ok(chunk) = chunk else {
                let failure = ApiError::new(ErrorCode::InvalidRequest, "the body ended too early");
                return Err((None, failure));
            };
            if chunk.len() > max - read.len() {
                let message = format!("a post has at most {max} bytes (realtime.message_bytes_max)");
                let failure = ApiError::new(ErrorCode::PayloadTooLarge, message).with("max", max);
                return Err((Some(DisconnectCause::MessageTooLarge), failure));
            }
            read.extend_from_slice(&chunk);
        }
        Ok(read)
    }

    /// Ends a session in the library as if its client had closed it.
    pub(super) async fn close_polling(&self, sid: Sid) {
        if let Some(request) = internal("POST", sid, CLOSE) {
            self.call(request).await;
        }
    }

    /// Takes the packets that wait for a session. `None` if there are none now.
    pub(super) async fn take_waiting(&self, sid: Sid) -> Option<Bytes> {
        let request = internal("GET", sid, "")?;
        let response = unconstrained(self.call(request)).now_or_never()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.ok()?;
        (!body.is_empty()).then_some(body)
    }
}

/// Removes the close packet from the answer to a poll. Some clients take a close packet as an order to stay away. No
/// client takes the error of an unknown session so.
async fn without_close(response: Response) -> Response {
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // The library's answers are complete in memory, so reading one does not wait.
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let Some(rest) = body.strip_suffix(CLOSE.as_bytes()) else {
        return Response::from_parts(parts, Body::from(body));
    };
    match rest.strip_suffix(SEPARATOR) {
        // The next poll finds no session.
        Some(before) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(body.slice_ref(before)))
        }
        None if rest.is_empty() => Refusal::UnknownSession.response(),
        None => Response::from_parts(parts, Body::from(body)),
    }
}

/// Builds a request of the hub itself to the library.
fn internal(method: &str, sid: Sid, body: &'static str) -> Option<Request> {
    let uri = format!("{PATH}?EIO=4&transport=polling&sid={sid}");
    Request::builder().method(method).uri(uri).body(Body::from(body)).ok()
}

fn read_open_packet(body: &[u8]) -> Option<Sid> {
    let open: Open = serde_json::from_slice(body.strip_prefix(b"0")?).ok()?;
    open.sid.parse().ok()
}

fn packets_response(packets: &'static str) -> Response {
    let mut response = Response::new(Body::from(packets));
    let text = HeaderValue::from_static("text/plain; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

fn refusal(failure: &ApiError) -> Response {
    let status = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, axum::Json(failure.body())).into_response()
}
