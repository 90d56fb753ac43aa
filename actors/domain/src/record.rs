//! Records of the log, one per command with changes.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    command::{Author, CommandType, Fingerprint, Scope},
    event::Event,
    ids::{CommandId, NodeId, Seq, Timestamp},
    state_hash::StateHash,
};

/// Accepted command with all events that it caused. A record is in the log whole or not at all (P5).
///
/// A record takes one `seq` for each event, and one more for the closing event on the wire: `command:executed`,
/// `command:undo` or `command:redo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// Id of the command, unique within the session.
    pub command_id: CommandId,
    /// Type of the command. For an undo or redo, [`CommandType::Undo`] or [`CommandType::Redo`].
    pub command_type: CommandType,
    /// Hash of the command, to tell a retry from another command under the same id.
    pub fingerprint: Fingerprint,
    /// Command that an undo or redo acted on. `None` for other commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Scope of an undo or redo.
    #[serde(default, skip_serializing_if = "Scope::is_session")]
    pub scope: Scope,
    /// Author of the command.
    #[serde(rename = "origin", default)]
    pub author: Author,
    /// Time at which the hub received the command.
    pub timestamp: Timestamp,
    /// `seq` of the first event.
    pub first_seq: Seq,
    /// Events in order, never empty.
    #[serde(deserialize_with = "exact_capacity")]
    pub events: Vec<Event>,
    /// Outcome that the receipt reports.
    pub outcome: Outcome,
}

/// Command that an undo or redo acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Id of the command.
    pub command_id: CommandId,
    /// Type of the command.
    pub command_type: CommandType,
}

/// Outcome of a command, part of its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Nodes that the command was about: the node of a command on one node, or the nodes that a batch created.
    #[serde(default, deserialize_with = "exact_capacity", skip_serializing_if = "Vec::is_empty")]
    pub node_ids: Vec<NodeId>,
    /// True if the session can undo a step after the command.
    pub undo_available: bool,
    /// True if the session can redo a step after the command.
    pub redo_available: bool,
    /// True if there are changes that no project file contains.
    pub is_dirty: bool,
    /// Hash of the graph after the command (P6). `None` in records of older hubs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_hash: Option<StateHash>,
}

/// Deserializes a list without spare capacity. A growing list begins with a capacity of four. Most of these lists hold
/// a single item, and a session keeps thousands of lists.
fn exact_capacity<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let mut list = Vec::deserialize(deserializer)?;
    list.shrink_to_fit();
    Ok(list)
}

impl CommandRecord {
    /// Returns true if the record replaces the whole document.
    #[must_use]
    pub fn loads(&self) -> bool {
        let mut events = self.events.iter();
        events.any(|event| matches!(event, Event::ProjectLoaded { .. }))
    }

    /// Returns the `seq` of the closing event on the wire.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.first_seq.plus(self.events.len() as u64)
    }

    /// Returns the number of `seq` that the record takes: its events and the closing event.
    #[must_use]
    pub const fn wire_events(&self) -> usize {
        self.events.len() + 1
    }

    /// Returns the estimated size of the record with its events, in bytes of memory, for limits in bytes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.events.iter().map(Event::weight_bytes).sum::<usize>()
    }

    /// Returns the receipt for the sender.
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

/// Answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Id of the command.
    pub command_id: CommandId,
    /// Type of the command.
    pub command_type: CommandType,
    /// `seq` of the first event. `None` if the command changed nothing.
    pub first_seq: Option<Seq>,
    /// `seq` of the closing event, or the present `seq` of the session if the command changed nothing.
    pub seq: Seq,
    /// Outcome of the command.
    pub outcome: Arc<Outcome>,
    /// True if the command had been applied before (P4).
    pub duplicate: bool,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{event::PropertyRef, ids::PropertyId, value::Value};

    /// Deserialized records stay in memory for a long time, so they must not hold spare capacity.
    #[test]
    fn record_deserializes_without_spare_capacity() {
        let id = Uuid::from_u128(1);
        let event = Event::PropertyDeleted {
            node_id: NodeId::new(id),
            property: PropertyRef {
                id: PropertyId::new("points"),
                key: None,
            },
            before: Value::Bool(true),
        };
        let recorded = CommandRecord {
            command_id: CommandId::new(id),
            command_type: CommandType::DeleteProperty,
            fingerprint: Fingerprint(1),
            target: None,
            scope: Scope::Session,
            author: Author::default(),
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
        let read: CommandRecord = serde_json::from_str(&text).expect("the same");
        assert_eq!(read, recorded);
        assert_eq!((read.events.capacity(), read.outcome.node_ids.capacity()), (1, 1));
    }
}
