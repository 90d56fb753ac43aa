//! What an operator sees of a session from inside, at once, whatever the session waits for.

use serde::Serialize;

use super::SessionState;
use crate::domain::{graph::Graph, ids::Seq};

/// A session's actor at a moment. Operators get it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The `seq` of the last event that was decided.
    pub seq: Seq,
    /// The `seq` up to which everything is durable.
    pub durable_seq: Seq,
    /// The `seq` of the latest snapshot.
    pub snapshot_seq: Seq,
    /// Messages that wait for their turn.
    pub waiting: usize,
    /// Whether an append is under way.
    pub append_in_flight: bool,
    /// Deliveries, each of a command to a socket, that the room has yet to make.
    pub room_deliveries_waiting: usize,
    /// Answers and publications that wait for the append.
    pub outbox: usize,
    /// Readers that wait for a `seq`, and those that follow.
    pub readers: usize,
    /// Sockets in the room.
    pub sockets: usize,
    /// Nodes of the graph.
    pub nodes: usize,
    /// Commands that can be undone.
    pub undo_depth: usize,
    /// Bytes of the filter that tells new commands from those of long ago.
    pub command_filter_bytes: usize,
    /// About how many bytes of memory it holds; an estimate, made without looking at the parts.
    pub memory_bytes: usize,
}

/// What a node holds beside its texts, about: its id and parent, a map's share, the sibling list's share.
const NODE_BYTES: usize = 400;

impl SessionState {
    pub(super) fn inspect(&self) -> Inspection {
        let session = &self.session;
        let graph: &Graph = &session.document().graph;
        let command_filter_bytes = self.forgotten.bytes();
        let memory_bytes =
            graph.len() * NODE_BYTES + session.window_bytes() + session.history().weight_bytes() + command_filter_bytes;
        Inspection {
            seq: session.seq(),
            durable_seq: self.durable_seq,
            snapshot_seq: self.snapshot_seq,
            waiting: self.waiting.len(),
            append_in_flight: self.append_in_flight,
            room_deliveries_waiting: self.backlog.deliveries(),
            outbox: self.outbox.len(),
            readers: self.readers.len() + self.progress.receiver_count(),
            sockets: self.members.len(),
            nodes: graph.len(),
            undo_depth: session.history().undo_depth(),
            command_filter_bytes,
            memory_bytes,
        }
    }
}
