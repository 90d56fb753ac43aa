//! Acknowledgements, which must not get lost because the socket's queue is full of events at that moment: a client that was
//! promised an answer waits for it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Value, json};
use socketioxide::{
    SendError, SocketError, adapter::Adapter, extract::AckSender, handler::FromMessageParts, socket::Socket,
};
use talus_actors::admission::Permit;

use crate::wire::error::Failure;

/// How often a full queue is tried again, each time after twice the wait of the one before, at most 32 times the first.
/// With the first wait of 50 ms it is an hour; a socket that takes nothing for so long has long been closed.
const ATTEMPTS_MAX: u32 = 2_000;

/// An answer that a client may have asked for.
pub(super) struct Ack<A: Adapter> {
    socket: Arc<Socket<A>>,
    id: Option<i64>,
}

impl<A: Adapter> FromMessageParts<A> for Ack<A> {
    type Error = Infallible;

    fn from_message_parts(
        socket: &Arc<Socket<A>>,
        _: &mut socketioxide_core::Value,
        id: &Option<i64>,
    ) -> Result<Self, Infallible> {
        Ok(Self {
            socket: Arc::clone(socket),
            id: *id,
        })
    }
}

impl<A: Adapter> Ack<A> {
    /// Answers, if an answer was asked for. With a permit, which stands for its place among the answers that may wait, it
    /// waits until the socket has room; without one it is tried once.
    pub(super) async fn answer(self, answer: Result<impl Serialize, Failure>, wait: Duration, permit: Option<Permit>) {
        if self.id.is_none() {
            return;
        }
        let body = answer.map_or_else(|failure| refusal(&failure), |answer| json!(answer));
        for attempt in 0..ATTEMPTS_MAX {
            let full = matches!(
                self.sender().send(&body),
                Err(SendError::Socket(SocketError::InternalChannelFull))
            );
            if !full || permit.is_none() {
                return;
            }
            tokio::time::sleep(wait * (1 << attempt.min(5))).await;
        }
    }

    /// The library's own sender answers once, whether that works or not.
    fn sender(&self) -> AckSender<A> {
        let mut unused = socketioxide_core::Value::Bytes(Default::default());
        let Ok(sender) = AckSender::from_message_parts(&self.socket, &mut unused, &self.id);
        sender
    }
}

fn refusal(failure: &Failure) -> Value {
    let mut body = failure.body();
    body["success"] = json!(false);
    body
}
