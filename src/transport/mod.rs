//! Transports of Engine.IO sessions, between the HTTP server and the Socket.IO library.
//!
//! The library would read and write websockets itself, and so decide how much it buffers for a peer that does not read,
//! how a failed upgrade affects a polling session, and which packets end a connection. The hub needs other answers (P7,
//! P9), so it gives the library a stream of its own:
//!
//! * `handshake` checks a websocket request and answers it. The library gets the connection afterwards, as a stream.
//! * `link` is a websocket as whole messages, bounded in size, time and shared memory. Unwritten data is a queue of
//!   whole frames (`outgoing`). A peer that takes none of the queue is disconnected.
//! * `stream` is a link as the byte stream that the library reads and writes: back-pressure stops the reading from a
//!   peer that does not read.
//! * `probe` upgrades a polling session. The library sees the websocket only when its upgrade is complete.
//! * `session` knows the present transport of each session, so that the hub can close any of them.
//! * `polling` passes polls and posts on to the library.
//! * `packets` replaces event packets with malformed JSON by packets that can be answered, and shortens connect packets
//!   that are too long.

mod closing;
mod frames;
mod handshake;
mod link;
mod outgoing;
mod packets;
mod polling;
mod probe;
mod request_head;
mod service;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{config::Realtime, metrics::Metrics, permits::Permits};

pub use self::{
    frames::{Kind, Message, MessageReader, Violation},
    packets::{MALFORMED_EVENT, OVERSIZED_AUTH, answerable_body},
    service::{PATH, Service},
    session::Transport,
};

/// Limits of transports, and the metrics of transports that exceed them.
#[derive(Debug, Clone)]
struct Settings {
    /// Maximal size of a client's message in bytes.
    message_bytes_max: usize,
    /// Maximal size of the payload of a connect packet in bytes.
    auth_bytes_max: usize,
    /// Time from the first byte of a message to its last.
    message_timeout: Duration,
    /// Bytes of unwritten data at which the hub stops reading from the peer.
    unwritten_bytes_max: usize,
    /// Time in which a peer has to take some of the unwritten data.
    write_stall: Duration,
    /// Time from a websocket request of a polling session to the end of its upgrade.
    upgrade_timeout: Duration,
    /// Cancelled when websockets are to be closed.
    closing: CancellationToken,
    /// Bytes of unfinished messages, over all connections.
    receiving: Permits,
    metrics: Metrics,
}

impl Settings {
    fn new(realtime: &Realtime, receiving: &Permits, metrics: &Metrics) -> Self {
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
