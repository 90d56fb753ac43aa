//! A step: a command that can be taken back, or done again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::intent::{self, Intent};
use crate::domain::{
    command::Author,
    event::{Document, Event, document_bytes},
    ids::{CommandId, Seq},
    recorded::{Recorded, Target},
};

/// A command that can be taken back, or that was and can be done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    recorded: Arc<Recorded>,
    /// What was there before a command that replaced the whole document: its event does not say. Few steps have one, and
    /// no other makes room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<Box<Document>>,
    /// The undo that took it back, if one did. A step that was undone before this was kept has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undone: Option<Box<Undone>>,
}

/// The undo of a step, with what it replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Undone {
    recorded: Arc<Recorded>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<Box<Document>>,
}

fn weight_bytes(recorded: &Recorded, replaced: Option<&Document>) -> usize {
    recorded.events.iter().map(Event::weight_bytes).sum::<usize>() + replaced.map_or(0, document_bytes)
}

impl Step {
    pub(super) fn new(recorded: &Arc<Recorded>, before: Option<&Document>) -> Self {
        Self {
            recorded: Arc::clone(recorded),
            replaced: before.cloned().map(Box::new),
            undone: None,
        }
    }

    /// Takes a record over that is equal to its own.
    pub(super) fn share(&mut self, recorded: &Arc<Recorded>) {
        if self.recorded == *recorded {
            self.recorded = Arc::clone(recorded);
        }
    }

    /// The same, taken back.
    pub(super) fn undone(self, undo: &Arc<Recorded>, before: Option<&Document>) -> Self {
        let undone = Undone {
            recorded: Arc::clone(undo),
            replaced: before.cloned().map(Box::new),
        };
        Self {
            undone: Some(Box::new(undone)),
            ..self
        }
    }

    /// The same, done again: it is what it was before it was taken back.
    pub(super) fn redone(self) -> Self {
        Self { undone: None, ..self }
    }

    /// About how many bytes of memory it holds. Linear in its events, which a step is looked at for when it comes and
    /// when it goes.
    pub(super) fn weight_bytes(&self) -> usize {
        let undone = self.undone.as_deref();
        weight_bytes(&self.recorded, self.replaced.as_deref())
            + undone.map_or(0, |undo| weight_bytes(&undo.recorded, undo.replaced.as_deref()))
    }

    /// Which command it is.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            command_id: self.recorded.command_id,
            command_type: self.recorded.command_type,
        }
    }

    /// Whose step it is, if the command said so.
    #[must_use]
    pub fn author(&self) -> Option<Author> {
        self.recorded.origin.author()
    }

    /// The record of the command.
    #[must_use]
    pub fn recorded(&self) -> &Arc<Recorded> {
        &self.recorded
    }

    /// The record of the undo that took it back.
    #[must_use]
    pub fn undone_by(&self) -> Option<&Arc<Recorded>> {
        self.undone.as_ref().map(|undo| &undo.recorded)
    }

    pub(super) fn is(&self, command_id: CommandId) -> bool {
        self.recorded.command_id == command_id
    }

    /// Its place in the log, which is its place among the steps.
    pub(super) fn first_seq(&self) -> Seq {
        self.recorded.first_seq
    }

    /// What takes it back.
    pub(in crate::domain) fn undoing(&self) -> Vec<Intent<'_>> {
        intent::inverse(&self.recorded.events, self.replaced.as_deref())
    }

    /// What does it again: the undo is taken back, so that the document is the one before the undo, whatever that did.
    pub(in crate::domain) fn redoing(&self) -> Vec<Intent<'_>> {
        let original = &self.recorded.events;
        match &self.undone {
            Some(undo) => {
                let undoing = intent::inverse(&undo.recorded.events, undo.replaced.as_deref());
                intent::shaped_like(original, undoing)
            }
            None => intent::forward(original),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session keeps a thousand of them: what few of them have is kept elsewhere.
    #[test]
    fn a_step_is_three_pointers() {
        assert_eq!(size_of::<Step>(), 3 * size_of::<usize>());
    }
}
