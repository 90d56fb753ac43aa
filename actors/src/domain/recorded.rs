//! What the log keeps: one record for each command that changed something.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    command::{CommandType, Fingerprint, Origin, Scope},
    event::Event,
    ids::{CommandId, NodeId, Seq, Timestamp},
    state_hash::StateHash,
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
    #[serde(deserialize_with = "exact")]
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
    #[serde(default, deserialize_with = "exact", skip_serializing_if = "Vec::is_empty")]
    pub node_ids: Vec<NodeId>,
    /// Whether there is something to undo now.
    pub undo_available: bool,
    /// Whether there is something to redo now.
    pub redo_available: bool,
    /// Whether there are changes that no project file has.
    pub is_dirty: bool,
    /// The hash of the graph after it (P6). Records from before there was one have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_hash: Option<StateHash>,
}

/// Reads a list into no more room than it needs. A list that grows begins with room for four, most of these are of one,
/// and a session keeps thousands of them.
fn exact<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let mut list = Vec::deserialize(deserializer)?;
    list.shrink_to_fit();
    Ok(list)
}

impl Recorded {
    /// Whether it replaces the whole document.
    #[must_use]
    pub fn loads(&self) -> bool {
        let mut events = self.events.iter();
        events.any(|event| matches!(event, Event::ProjectLoaded { .. }))
    }

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

    /// About how many bytes of memory it holds: those of its events. What a limit in bytes is held against.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.events.iter().map(Event::weight_bytes).sum::<usize>()
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{event::PropertyRef, ids::PropertyId, value::Value};

    /// A record that was read is a record that is kept: it has no room to grow.
    #[test]
    fn a_record_that_is_read_takes_no_more_room_than_it_needs() {
        let id = Uuid::from_u128(1);
        let event = Event::PropertyDeleted {
            node_id: NodeId::new(id),
            property: PropertyRef {
                id: PropertyId::new("points"),
                key: None,
            },
            before: Value::Bool(true),
        };
        let recorded = Recorded {
            command_id: CommandId::new(id),
            command_type: CommandType::DeleteProperty,
            fingerprint: Fingerprint(1),
            target: None,
            scope: Scope::Session,
            origin: Origin::default(),
            timestamp: Timestamp(0),
            first_seq: Seq(1),
            events: vec![event],
            outcome: Outcome {
                node_ids: vec![NodeId::new(id)],
                undo_available: true,
                redo_available: false,
                is_dirty: true,
                state_hash: None,
            },
        };
        let text = serde_json::to_string(&recorded).expect("JSON");
        let read: Recorded = serde_json::from_str(&text).expect("the same");
        assert_eq!(read, recorded);
        assert_eq!((read.events.capacity(), read.outcome.node_ids.capacity()), (1, 1));
    }
}
