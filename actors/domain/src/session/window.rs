//! The replay window.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    ids::{CommandId, Seq},
    limits::Limits,
    record::CommandRecord,
};

/// Latest records, for clients that resume (P2) and for commands that are sent again (P4).
#[derive(Debug, Default, PartialEq)]
pub(super) struct Window {
    /// Records, oldest first, each with its weight in bytes.
    records: VecDeque<(Arc<CommandRecord>, usize)>,
    by_command: BTreeMap<CommandId, Arc<CommandRecord>>,
    events: usize,
    bytes: usize,
}

impl Window {
    /// Appends a record and evicts the oldest records until the window fits its limits of events and bytes. The newest
    /// record is never evicted. Returns the commands of the evicted records.
    pub(super) fn push(&mut self, recorded: &Arc<CommandRecord>, limits: &Limits) -> Vec<CommandId> {
        let mut evicted = Vec::new();
        let weight = recorded.weight_bytes();
        self.events += recorded.wire_events();
        self.bytes += weight;
        self.records.push_back((Arc::clone(recorded), weight));
        self.by_command.insert(recorded.command_id, Arc::clone(recorded));
        while self.exceeds(limits) && self.records.len() > 1 {
            if let Some((oldest, weight)) = self.records.pop_front() {
                self.events -= oldest.wire_events();
                self.bytes -= weight;
                self.by_command.remove(&oldest.command_id);
                evicted.push(oldest.command_id);
            }
        }
        evicted
    }

    const fn exceeds(&self, limits: &Limits) -> bool {
        self.events > limits.replay_window_events || self.bytes > limits.replay_window_bytes_max
    }

    /// Returns the sum of [`CommandRecord::weight_bytes`] over all records.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of events on the wire.
    pub(super) const fn events(&self) -> usize {
        self.events
    }

    /// Returns the record of a command.
    pub(super) fn of_command(&self, command_id: CommandId) -> Option<&Arc<CommandRecord>> {
        self.by_command.get(&command_id)
    }

    /// Returns the records with the events after `seq`, oldest first.
    pub(super) fn after(&self, seq: Seq) -> impl Iterator<Item = &Arc<CommandRecord>> {
        let skip = self.records.partition_point(|(record, _)| record.seq() <= seq);
        self.records.iter().skip(skip).map(|(record, _)| record)
    }

    pub(super) fn first_seq(&self) -> Option<Seq> {
        self.records.front().map(|(record, _)| record.first_seq)
    }
}
