//! Bookkeeping of unsaved changes.

use serde::{Deserialize, Serialize};

use crate::{event::Event, ids::Seq};

/// `seq` of the last change and of the last state that a project file contains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SaveState {
    last_change: Seq,
    saved_through: Seq,
}

impl SaveState {
    pub(super) const fn record_event(&mut self, event: &Event, seq: Seq) {
        match event {
            Event::ProjectSaved { through, .. } => self.saved_through = *through,
            Event::ProjectLoaded { from_file: true, .. } => {
                self.last_change = seq;
                self.saved_through = seq;
            }
            Event::NodeCreated { .. }
            | Event::NodeDeleted { .. }
            | Event::NodeLinked { .. }
            | Event::NodeUnlinked { .. }
            | Event::PropertyChanged { .. }
            | Event::PropertyDeleted { .. }
            | Event::ProjectLoaded { .. } => self.last_change = seq,
        }
    }

    /// Returns the `seq` of the last change of the document, of any kind.
    pub(super) const fn last_change(&self) -> Seq {
        self.last_change
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.last_change > self.saved_through
    }
}
