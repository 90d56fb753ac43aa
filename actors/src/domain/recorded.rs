//! What the log keeps: one record for each command that changed something.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    command::{CommandType, Fingerprint, Origin, Scope},
    event::Event,
    ids::{CommandId, NodeId, Seq, Timestamp},
};

/// A command that was accepted, with everything that it changed. Atomic: a record is in the log whole or not at all
/// (P5).
///
/// It takes a `seq` for each of its events and one more, its last, for the `command:executed` (`command:undo`,
/// `command:redo`) that closes it on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The command's id, unique within the session.
    pub command_id: CommandId,
    /// What kind of command it was; for an undo or redo, [`CommandType::Undo`] or [`CommandType::Redo`].
    pub command_type: CommandType,
    /// Tells a retry from another command under the same id.
    pub fingerprint: Fingerprint,
    /// What an undo or redo was of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Among whose commands an undo or redo took the next.
    #[serde(default, skip_serializing_if = "Scope::is_session")]
    pub scope: Scope,
    /// Who sent it.
    #[serde(default)]
    pub origin: Origin,
    /// When it was received.
    pub timestamp: Timestamp,
    /// The `seq` of its first event.
    pub first_seq: Seq,
    /// What it changed, in order; never empty.
    pub events: Vec<Event>,
    /// What its sender was told.
    pub outcome: Outcome,
}

/// The command that an undo took back, or a redo did again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its id.
    pub command_id: CommandId,
    /// Its kind.
    pub command_type: CommandType,
}

/// What the sender of a command is told beside its `seq`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The nodes it was about: the node of a command on one node, those that a batch created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_ids: Vec<NodeId>,
    /// Whether there is something to undo now.
    pub undo_available: bool,
    /// Whether there is something to redo now.
    pub redo_available: bool,
    /// Whether there are changes that no project file has.
    pub is_dirty: bool,
}

impl Recorded {
    /// The `seq` of its last event on the wire, the one that closes it.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.first_seq.plus(self.events.len() as u64)
    }

    /// How many `seq` it takes.
    #[must_use]
    pub const fn len_on_wire(&self) -> usize {
        self.events.len() + 1
    }

    /// The receipt for its sender.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt {
            command_id: self.command_id,
            command_type: self.command_type,
            first_seq: Some(self.first_seq),
            seq: self.seq(),
            outcome: Arc::new(self.outcome.clone()),
            duplicate: false,
        }
    }
}

/// The answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The command's id.
    pub command_id: CommandId,
    /// Its kind.
    pub command_type: CommandType,
    /// The `seq` of its first event; `None` if it changed nothing.
    pub first_seq: Option<Seq>,
    /// The `seq` of its last event; the session's current one if it changed nothing.
    pub seq: Seq,
    /// What it came to.
    pub outcome: Arc<Outcome>,
    /// Whether the command had been applied before (P4).
    pub duplicate: bool,
}
