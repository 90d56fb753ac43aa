//! The replay window.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::domain::{
    ids::{CommandId, Seq},
    recorded::Recorded,
};

/// The latest records, for clients that come back (P2) and for commands that are sent again (P4).
#[derive(Debug, Default, PartialEq)]
pub(super) struct Window {
    records: VecDeque<Arc<Recorded>>,
    by_command: BTreeMap<CommandId, Arc<Recorded>>,
    events: usize,
}

impl Window {
    /// Keeps the latest whole records that hold at most `events_max` events; the latest one always. The answer is the
    /// commands that are not among them any more.
    pub(super) fn push(&mut self, recorded: &Arc<Recorded>, events_max: usize) -> Vec<CommandId> {
        let mut forgotten = Vec::new();
        self.events += recorded.len_on_wire();
        self.records.push_back(Arc::clone(recorded));
        self.by_command.insert(recorded.command_id, Arc::clone(recorded));
        while self.events > events_max && self.records.len() > 1 {
            if let Some(oldest) = self.records.pop_front() {
                self.events -= oldest.len_on_wire();
                self.by_command.remove(&oldest.command_id);
                forgotten.push(oldest.command_id);
            }
        }
        forgotten
    }

    /// How many events there are.
    pub(super) const fn events(&self) -> usize {
        self.events
    }

    /// The record of a command.
    pub(super) fn of_command(&self, command_id: CommandId) -> Option<&Arc<Recorded>> {
        self.by_command.get(&command_id)
    }

    /// The records that hold what came after `seq`, oldest first.
    pub(super) fn after(&self, seq: Seq) -> impl Iterator<Item = &Arc<Recorded>> {
        let skip = self.records.partition_point(|record| record.seq() <= seq);
        self.records.iter().skip(skip)
    }

    pub(super) fn first_seq(&self) -> Option<Seq> {
        self.records.front().map(|record| record.first_seq)
    }
}
