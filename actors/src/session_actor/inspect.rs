//! Inspection of a session actor by operators, answered without waiting for the log.

use serde::Serialize;

use super::machine::{Moment, SessionMachine};
use crate::domain::{graph::Graph, ids::Seq};

/// Internal state of a session actor at one moment, serialized for operators without conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// `seq` of the last event that was decided.
    pub seq: Seq,
    /// `seq` up to which all events are durable.
    pub durable_seq: Seq,
    /// `seq` of the latest snapshot.
    pub snapshot_seq: Seq,
    /// Messages in the waiting queue.
    pub waiting: usize,
    /// True while an append is in flight.
    pub append_in_flight: bool,
    /// Undelivered (command, socket) pairs of the room.
    pub room_deliveries_waiting: usize,
    /// Replies and publications that wait for the append.
    pub outbox: usize,
    /// Reads that wait for a `seq`, and followers.
    pub readers: usize,
    /// Sockets in the room.
    pub sockets: usize,
    /// Nodes of the graph.
    pub nodes: usize,
    /// Commands that can be undone.
    pub undo_depth: usize,
    /// Memory of the command filter in bytes.
    pub command_filter_bytes: usize,
    /// Estimated memory of the session in bytes. The estimate visits no node.
    pub memory_bytes: usize,
}

/// Estimated memory of a node in bytes without its texts: id, parent, and shares of a map and of a sibling list.
const NODE_BYTES: usize = 400;

impl SessionMachine {
    pub(super) fn inspect(&self, moment: Moment) -> Inspection {
        let session = &self.session;
        let graph: &Graph = &session.document().graph;
        let command_filter_bytes = self.dedup.bytes();
        let memory_bytes =
            graph.len() * NODE_BYTES + session.window_bytes() + session.history().weight_bytes() + command_filter_bytes;
        Inspection {
            seq: session.seq(),
            durable_seq: self.durable_seq,
            snapshot_seq: self.snapshot_seq,
            waiting: self.waiting.len(),
            append_in_flight: self.append_in_flight,
            room_deliveries_waiting: self.room_deliveries_waiting,
            outbox: self.outbox.len(),
            readers: self.readers.len() + moment.followers,
            sockets: self.members.len(),
            nodes: graph.len(),
            undo_depth: session.history().undo_depth(),
            command_filter_bytes,
            memory_bytes,
        }
    }
}
