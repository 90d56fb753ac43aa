//! Refusals that wait for room in a socket's queue: of a client that asks for more than may be under way, and faster
//! than it takes what it is told.
//!
//! They all say the same, so that each costs the number that the client gave it (P9). A client for which more of them
//! wait than may is let go: its transport is closed such that it comes back. It is answered, or its connection ends, and it
//! never waits for nothing.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use serde_json::Value;
use socketioxide::socket::Socket;
use tokio::sync::mpsc;

use super::{ack::has_taken, peer};

/// See the [module](self).
pub(super) struct Refusals {
    max: usize,
    /// Numbers of answers that wait; made when first needed, which it is for hardly any socket.
    waiting: ArcSwapOption<mpsc::Sender<i64>>,
    is_cut: AtomicBool,
}

impl Refusals {
    /// Room for so many.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            waiting: ArcSwapOption::empty(),
            is_cut: AtomicBool::new(false),
        }
    }

    /// Refuses, at once or as soon as the socket has room.
    pub(super) fn refuse(&self, socket: &Arc<Socket>, id: i64, body: Value, wait: Duration) {
        if has_taken(socket, id, &body) {
            return;
        }
        let waiting = self
            .waiting
            .load_full()
            .unwrap_or_else(|| self.begin(socket, body, wait));
        if let Err(mpsc::error::TrySendError::Full(_)) = waiting.try_send(id)
            && !self.is_cut.swap(true, Ordering::Relaxed)
        {
            tracing::debug!(max = self.max, "a socket takes none of its refusals and is let go");
            peer::abort(socket);
        }
    }

    fn begin(&self, socket: &Arc<Socket>, body: Value, wait: Duration) -> Arc<mpsc::Sender<i64>> {
        let (sender, waiting) = mpsc::channel(self.max);
        let sender = Arc::new(sender);
        let none: Option<Arc<mpsc::Sender<i64>>> = None;
        let before = self.waiting.compare_and_swap(&none, Some(Arc::clone(&sender)));
        if let Some(other) = &*before {
            return Arc::clone(other);
        }
        tokio::spawn(hand_out(waiting, Arc::downgrade(socket), body, wait));
        sender
    }
}

/// Hands out refusals for as long as the socket is there.
async fn hand_out(mut waiting: mpsc::Receiver<i64>, socket: Weak<Socket>, body: Value, wait: Duration) {
    while let Some(id) = waiting.recv().await {
        loop {
            let Some(socket) = socket.upgrade() else { return };
            if has_taken(&socket, id, &body) {
                break;
            }
            drop(socket);
            tokio::time::sleep(wait).await;
        }
    }
}
