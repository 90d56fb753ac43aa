//! Lookup of commands that the log may hold (P4).
//!
//! The session remembers its latest commands; older commands are known only to the log. Most ids are nevertheless
//! certain to be new ([`super::dedup`]). The actor asks the log about the other ids as soon as the command arrives,
//! during the append before it, so that the answer is usually there in time. One query covers several ids. Commands
//! never overtake each other because of a lookup: a group ends before a command whose lookup is pending.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    SessionMessage,
    machine::{Output, Outputs, SessionMachine},
};
use crate::domain::{
    ids::{CommandId, Seq},
    record::CommandRecord,
};

/// Answer of the log to one query.
pub struct Found {
    /// Ids in the query.
    pub(super) commands: Vec<CommandId>,
    /// Records found in the log.
    pub(super) records: Vec<Arc<CommandRecord>>,
    /// Lower bound of the `seq` up to which the log was searched.
    pub(super) as_of: Seq,
}

/// Pending and answered lookups. Bounded by the commands that wait and the commands that were handled without waiting
/// for their answer.
#[derive(Default)]
pub(super) struct Lookups {
    to_ask: Vec<CommandId>,
    in_flight: bool,
    answers: BTreeMap<CommandId, (Option<Arc<CommandRecord>>, Seq)>,
}

impl Lookups {
    pub(super) fn found(&mut self, found: Found) {
        self.in_flight = false;
        for id in found.commands {
            self.answers.insert(id, (None, found.as_of));
        }
        for record in found.records {
            self.answers.insert(record.command_id, (Some(record), found.as_of));
        }
    }

    /// Drops the remaining answers once no message waits. They belong to commands that proved to be new while the query
    /// was running, and were handled without the answer.
    pub(super) fn clear(&mut self) {
        self.answers.clear();
    }

    /// Returns the record of a command that is about to be decided.
    pub(super) fn take(&mut self, command: CommandId) -> Option<Arc<CommandRecord>> {
        self.answers.remove(&command)?.0
    }
}

impl SessionMachine {
    /// Queues a lookup of a command that may be in the log.
    pub(super) fn look_up(&mut self, command: CommandId, outputs: &mut Outputs) {
        if self.is_resolved(command) || self.lookups.to_ask.contains(&command) {
            return;
        }
        self.lookups.to_ask.push(command);
        self.ask_log(outputs);
    }

    /// Returns true if the first waiting message can be handled now. Starts the lookup if the message needs one.
    pub(super) fn is_ready(&mut self, outputs: &mut Outputs) -> bool {
        let command = match self.waiting.front() {
            None => return false,
            Some(SessionMessage::Submit(submission)) => submission.context.command_id,
            Some(_) => return true,
        };
        // The room's next report wakes the session.
        if self.room_deliveries_waiting >= self.settings.room.deliveries_waiting_max {
            return false;
        }
        if self.is_resolved(command) {
            return true;
        }
        if !self.lookups.in_flight {
            self.look_up(command, outputs);
        }
        false
    }

    /// Returns true if the session can tell without further lookup whether the command was accepted before.
    fn is_resolved(&self, command: CommandId) -> bool {
        let session = &self.session;
        if session.window_is_complete() || session.recent(command).is_some() || self.dedup.is_new(command) {
            return true;
        }
        // A negative answer is valid as long as the session remembers all commands after `as_of`.
        self.lookups
            .answers
            .get(&command)
            .is_some_and(|(recorded, as_of)| recorded.is_some() || session.since(*as_of).is_some())
    }

    /// Sends the queued ids to the log as one query. At most one query is in flight.
    pub(super) fn ask_log(&mut self, outputs: &mut Outputs) {
        if self.lookups.in_flight || self.lookups.to_ask.is_empty() {
            return;
        }
        self.lookups.in_flight = true;
        outputs.push(Output::Find {
            commands: std::mem::take(&mut self.lookups.to_ask),
            as_of: self.durable_seq,
        });
    }
}
