//! Step of the history: a command that can be undone or redone.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::inverse::{self, InverseChange};
use crate::{
    command::AuthorKey,
    document::Document,
    event::Event,
    ids::{CommandId, Seq},
    record::{CommandRecord, Target},
};

/// Command that can be undone, or that was undone and can be redone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    recorded: Arc<CommandRecord>,
    /// Document before a command that replaced the whole document, because the event does not contain it. Boxed,
    /// because few steps have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<Box<Document>>,
    /// Undo that reversed the step, if the step is undone. `None` for a step that an older hub undid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undone: Option<Box<UndoRecord>>,
}

/// Record of an undo, with the document that the undo replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UndoRecord {
    recorded: Arc<CommandRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<Box<Document>>,
}

fn weight_bytes(recorded: &CommandRecord, replaced: Option<&Document>) -> usize {
    recorded.events.iter().map(Event::weight_bytes).sum::<usize>() + replaced.map_or(0, Document::weight_bytes)
}

impl Step {
    pub(super) fn new(recorded: &Arc<CommandRecord>, before: Option<&Document>) -> Self {
        Self {
            recorded: Arc::clone(recorded),
            replaced: before.cloned().map(Box::new),
            undone: None,
        }
    }

    /// Replaces the step's record by the given one if both are equal, so that memory holds the record once.
    pub(super) fn intern(&mut self, recorded: &Arc<CommandRecord>) {
        if self.recorded == *recorded {
            self.recorded = Arc::clone(recorded);
        }
    }

    /// Marks the step as undone.
    pub(super) fn undone(self, undo: &Arc<CommandRecord>, before: Option<&Document>) -> Self {
        let undone = UndoRecord {
            recorded: Arc::clone(undo),
            replaced: before.cloned().map(Box::new),
        };
        Self {
            undone: Some(Box::new(undone)),
            ..self
        }
    }

    /// Marks the step as done again, in the state before its undo.
    pub(super) fn redone(self) -> Self {
        Self { undone: None, ..self }
    }

    /// Returns the estimated size of the step, in bytes of memory. Takes time linear in the step's events, once at
    /// insertion and once at removal.
    pub(super) fn weight_bytes(&self) -> usize {
        let undone = self.undone.as_deref();
        weight_bytes(&self.recorded, self.replaced.as_deref())
            + undone.map_or(0, |undo| weight_bytes(&undo.recorded, undo.replaced.as_deref()))
    }

    /// Returns the id and type of the step's command.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            command_id: self.recorded.command_id,
            command_type: self.recorded.command_type,
        }
    }

    /// Returns the key of the author of the step's command, if it named one.
    #[must_use]
    pub fn author_key(&self) -> Option<AuthorKey> {
        self.recorded.author.key()
    }

    /// Returns the record of the step's command.
    #[must_use]
    pub fn recorded(&self) -> &Arc<CommandRecord> {
        &self.recorded
    }

    /// Returns the record of the undo that reversed the step.
    #[must_use]
    pub fn undone_by(&self) -> Option<&Arc<CommandRecord>> {
        self.undone.as_ref().map(|undo| &undo.recorded)
    }

    pub(super) fn is_of_command(&self, command_id: CommandId) -> bool {
        self.recorded.command_id == command_id
    }

    /// Returns the first `seq` of the step's record, which orders the steps.
    pub(super) fn first_seq(&self) -> Seq {
        self.recorded.first_seq
    }

    /// Returns the changes that undo the step.
    pub(crate) fn undo_changes(&self) -> Vec<InverseChange<'_>> {
        inverse::inverse_changes(&self.recorded.events, self.replaced.as_deref())
    }

    /// Returns the changes that redo the step. A redo reverses the undo, so it restores the document before the undo,
    /// including all effects of a forced undo.
    pub(crate) fn redo_changes(&self) -> Vec<InverseChange<'_>> {
        let original = &self.recorded.events;
        match &self.undone {
            Some(undo) => {
                let undo_changes = inverse::inverse_changes(&undo.recorded.events, undo.replaced.as_deref());
                inverse::with_original_shapes(original, undo_changes)
            }
            None => inverse::forward_changes(original),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session keeps up to 1,000 steps in memory, so rarely used parts are boxed.
    #[test]
    fn step_has_size_of_three_pointers() {
        assert_eq!(size_of::<Step>(), 3 * size_of::<usize>());
    }
}
