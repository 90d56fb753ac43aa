//! Refusals that wait for room in a socket's queue: answers for a client that exceeds the limit of requests in flight
//! and reads slower than it asks.
//!
//! All refusals have the same body, so each costs only the client's acknowledgement number (P9). The transport of a
//! client with too many waiting refusals is closed, such that the client reconnects. Each request is therefore
//! answered, or its connection ends.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use serde_json::Value;
use socketioxide::{
    SendError, SocketError, adapter::Adapter, extract::AckSender, handler::FromMessageParts as _, socket::Socket,
};
use tokio::sync::mpsc;

use super::peer;

/// Queue of refusals of one socket.
pub(super) struct Refusals {
    max: usize,
    /// Acknowledgement numbers of the waiting refusals. Created on first use, because hardly any socket needs the
    /// queue.
    waiting: ArcSwapOption<mpsc::Sender<i64>>,
    is_aborted: AtomicBool,
}

impl Refusals {
    /// Creates a queue for at most `max` refusals.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            waiting: ArcSwapOption::empty(),
            is_aborted: AtomicBool::new(false),
        }
    }

    /// Sends a refusal at once, or as soon as the socket's queue has room.
    pub(super) fn refuse(&self, socket: &Arc<Socket>, id: i64, body: Value, wait: Duration) {
        if try_send_ack(socket, id, &body) {
            return;
        }
        let waiting = self
            .waiting
            .load_full()
            .unwrap_or_else(|| self.start(socket, body, wait));
        if let Err(mpsc::error::TrySendError::Full(_)) = waiting.try_send(id)
            && !self.is_aborted.swap(true, Ordering::Relaxed)
        {
            tracing::debug!(max = self.max, "refusal queue full, closing the transport");
            peer::abort(socket);
        }
    }

    fn start(&self, socket: &Arc<Socket>, body: Value, wait: Duration) -> Arc<mpsc::Sender<i64>> {
        let (sender, waiting) = mpsc::channel(self.max);
        let sender = Arc::new(sender);
        let none: Option<Arc<mpsc::Sender<i64>>> = None;
        let before = self.waiting.compare_and_swap(&none, Some(Arc::clone(&sender)));
        if let Some(other) = &*before {
            return Arc::clone(other);
        }
        tokio::spawn(send_waiting(waiting, Arc::downgrade(socket), body, wait));
        sender
    }
}

/// Sends the waiting refusals until the socket is dropped.
async fn send_waiting(mut waiting: mpsc::Receiver<i64>, socket: Weak<Socket>, body: Value, wait: Duration) {
    while let Some(id) = waiting.recv().await {
        loop {
            let Some(socket) = socket.upgrade() else { return };
            if try_send_ack(&socket, id, &body) {
                break;
            }
            drop(socket);
            tokio::time::sleep(wait).await;
        }
    }
}

/// Queues an acknowledgement for the socket. False: the queue is full.
pub(super) fn try_send_ack<A: Adapter>(socket: &Arc<Socket<A>>, id: i64, body: &Value) -> bool {
    // The library's own sender is consumed by one attempt, so each attempt makes a new one.
    let mut unused = socketioxide_core::Value::Bytes(Default::default());
    let Ok(sender) = AckSender::from_message_parts(socket, &mut unused, &Some(id));
    !matches!(
        sender.send(body),
        Err(SendError::Socket(SocketError::InternalChannelFull))
    )
}
