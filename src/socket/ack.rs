//! Acknowledgements, none of which gets lost because the socket's queue is full of events at that moment: a client that was
//! promised an answer waits for it.
//!
//! Whoever asks needs a place among the answers that may wait for the socket, and is answered as soon as there is room.
//! Without one nothing is done and the client is [refused](super::refusals), which waits in turn.

use std::{convert::Infallible, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Value, json};
use socketioxide::{
    SendError, SocketError,
    adapter::{Adapter, LocalAdapter},
    extract::AckSender,
    handler::FromMessageParts,
    socket::Socket,
};
use talus_actors::admission::Permit;

use super::memberships::Memberships;
use crate::wire::error::ApiError;

/// How often a full queue is tried again, each time after twice the wait of the one before, at most 32 times the first.
/// With the first wait of 50 ms it is an hour; a socket that takes nothing for so long has long been closed.
const ATTEMPTS_MAX: u32 = 2_000;

/// An answer that a client may have asked for.
pub(super) struct Ack {
    socket: Arc<Socket>,
    id: Option<i64>,
}

/// An answer that has its place.
pub(super) struct Placed {
    ack: Ack,
    wait: Duration,
    _permit: Option<Permit>,
}

impl FromMessageParts<LocalAdapter> for Ack {
    type Error = Infallible;

    fn from_message_parts(
        socket: &Arc<Socket>,
        _: &mut socketioxide_core::Value,
        id: &Option<i64>,
    ) -> Result<Self, Infallible> {
        Ok(Self {
            socket: Arc::clone(socket),
            id: *id,
        })
    }
}

impl Ack {
    /// A place among the answers that wait for the socket. Without one the client is refused, if it wants an answer.
    pub(super) fn place(self, of: &Memberships) -> Option<Placed> {
        let permit = of.answers.try_enter();
        if permit.is_none() {
            if let Some(id) = self.id {
                let body = refusal(&too_many(of.answers.max()));
                of.refusals.refuse(&self.socket, id, body, of.retry);
            }
            return None;
        }
        Some(Placed {
            ack: self,
            wait: of.retry,
            _permit: permit,
        })
    }

    /// The same for something that needs no place if no answer to it is wanted.
    pub(super) fn place_if_wanted(self, of: &Memberships) -> Option<Placed> {
        if self.id.is_some() {
            return self.place(of);
        }
        Some(Placed {
            ack: self,
            wait: of.retry,
            _permit: None,
        })
    }
}

impl Placed {
    /// Answers, if an answer was asked for, and waits until the socket has room for it.
    pub(super) async fn answer(self, answer: Result<impl Serialize, ApiError>) {
        let Some(id) = self.ack.id else { return };
        let body = answer.map_or_else(|failure| refusal(&failure), |answer| json!(answer));
        for attempt in 0..ATTEMPTS_MAX {
            if has_taken(&self.ack.socket, id, &body) {
                return;
            }
            tokio::time::sleep(self.wait * (1 << attempt.min(5))).await;
        }
    }
}

/// Hands the socket an answer. False: its queue is full.
pub(super) fn has_taken<A: Adapter>(socket: &Arc<Socket<A>>, id: i64, body: &Value) -> bool {
    // The library's own sender answers once, whether that works or not.
    let mut unused = socketioxide_core::Value::Bytes(Default::default());
    let Ok(sender) = AckSender::from_message_parts(socket, &mut unused, &Some(id));
    !matches!(
        sender.send(body),
        Err(SendError::Socket(SocketError::InternalChannelFull))
    )
}

fn too_many(max: usize) -> ApiError {
    let message = format!("{max} answers wait for this socket, as many as may");
    ApiError::new("OVERLOADED", message)
        .with("limit", "in_flight_per_session_max")
        .with("max", max)
}

fn refusal(failure: &ApiError) -> Value {
    let mut body = failure.body();
    body["success"] = json!(false);
    body
}
