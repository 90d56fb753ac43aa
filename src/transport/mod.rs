//! Transports of Engine.IO sessions, between the HTTP server and the Socket.IO library.
//!
//! The library reads and writes websockets by itself, and so decides what it keeps for a peer that does not read, what
//! becomes of a polling session whose upgrade fails, and which packets end a connection. The hub needs other answers
//! (P7, P9), so the stream is its own:
//!
//! * `handshake` checks a websocket request and answers it. The library gets the connection afterwards, as a stream.
//! * `link` is a websocket as messages: whole, bounded in size, time and shared memory. What waits to be written is a
//!   queue of whole frames (`outgoing`); a peer that takes none of it is cut.
//! * `stream` is a link as the byte stream that the library reads and writes. It stops reading from a peer that does
//!   not read.
//! * `probe` upgrades a polling session. The library sees the websocket when its upgrade is complete, and not before.
//! * `session` knows how a session is transported at present, so that the hub can close any of them.
//! * `polling` passes polls and posts on to the library.
//! * `packets` finds event packets whose JSON is malformed, and replaces them by one that can be answered; and connect
//!   packets that are too long, and shortens them.

mod closing;
mod frames;
mod handshake;
mod head;
mod link;
mod outgoing;
mod packets;
mod polling;
mod probe;
mod service;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{budget::ByteBudget, config::Realtime, metrics::Metrics};

pub use self::{
    frames::{Kind, Message, MessageReader, Violation},
    packets::{MALFORMED_EVENT, OVERSIZED_AUTH, answerable_body},
    service::{PATH, Service},
    session::Transport,
};

/// Bounds of transports, and the counters of those that exceed them.
#[derive(Debug, Clone)]
struct Settings {
    /// Bytes of one message of a client.
    message_bytes_max: usize,
    /// Bytes of the payload of a connect packet.
    auth_bytes_max: usize,
    /// Time from the first byte of a message to its last.
    message_timeout: Duration,
    /// Bytes that wait to be written to a peer before nothing more is read from it.
    unwritten_bytes_max: usize,
    /// Time in which a peer has to take something of what waits for it.
    write_stall: Duration,
    /// Time from a websocket request of a polling session to the end of its upgrade.
    upgrade_timeout: Duration,
    /// Cancelled when websockets are to be closed.
    closing: CancellationToken,
    /// Bytes of unfinished messages, over all connections.
    receiving: ByteBudget,
    metrics: Metrics,
}

impl Settings {
    fn new(realtime: &Realtime, receiving: &ByteBudget, metrics: &Metrics) -> Self {
        Self {
            message_bytes_max: realtime.message_bytes_max,
            auth_bytes_max: realtime.auth_bytes_max,
            message_timeout: realtime.message_timeout(),
            unwritten_bytes_max: realtime.unwritten_bytes_max,
            write_stall: realtime.write_stall(),
            upgrade_timeout: realtime.upgrade_timeout(),
            closing: CancellationToken::new(),
            receiving: receiving.clone(),
            metrics: metrics.clone(),
        }
    }
}
