//! Was this command accepted before? (P4)
//!
//! The session remembers its latest commands; of older ones only the log knows. Most ids are certain to be new all the
//! same ([`super::forgotten`]). The log is asked about the others as soon as the command arrives, while the append before
//! it is still under way: by the time it is its turn the answer is there. Several ids are asked about together. A command
//! never overtakes another for it: the group ends before one whose answer is still missing.

use std::{collections::BTreeMap, sync::Arc};

use ractor::ActorRef;

use super::{SessionMessage, SessionState};
use crate::domain::{
    ids::{CommandId, Seq},
    recorded::Recorded,
};

/// What the log knows of some commands.
pub struct Found {
    /// Those that it was asked about.
    commands: Vec<CommandId>,
    /// Those of them that it has.
    records: Vec<Arc<Recorded>>,
    /// The `seq` up to which it was asked, at least.
    as_of: Seq,
}

/// What the log was asked, and what it said. Bounded by the commands that wait, and those that did not wait for it.
#[derive(Default)]
pub(super) struct Lookups {
    to_ask: Vec<CommandId>,
    in_flight: bool,
    known: BTreeMap<CommandId, (Option<Arc<Recorded>>, Seq)>,
}

impl Lookups {
    pub(super) fn found(&mut self, found: Found) {
        self.in_flight = false;
        for id in found.commands {
            self.known.insert(id, (None, found.as_of));
        }
        for record in found.records {
            self.known.insert(record.command_id, (Some(record), found.as_of));
        }
    }

    /// Nothing waits. A command that turned out to be new while the log was asked about it did not wait for the answer:
    /// nobody takes that.
    pub(super) fn nothing_waits(&mut self) {
        self.known.clear();
    }

    /// What the log said of a command that is about to be decided.
    pub(super) fn take(&mut self, command: CommandId) -> Option<Arc<Recorded>> {
        self.known.remove(&command)?.0
    }
}

impl SessionState {
    /// Asks the log about a command if only the log knows.
    pub(super) fn look_up(&mut self, myself: &ActorRef<SessionMessage>, command: CommandId) {
        if self.is_known(command) || self.lookups.to_ask.contains(&command) {
            return;
        }
        self.lookups.to_ask.push(command);
        self.ask_log(myself);
    }

    /// Whether something waits whose turn it can be.
    pub(super) fn is_ready(&mut self, myself: &ActorRef<SessionMessage>) -> bool {
        let command = match self.waiting.front() {
            None => return false,
            Some(SessionMessage::Submit(submission)) => submission.context.command_id,
            Some(_) => return true,
        };
        if self.backlog.is_full() {
            return false;
        }
        if self.is_known(command) {
            return true;
        }
        if !self.lookups.in_flight {
            self.look_up(myself, command);
        }
        false
    }

    /// Whether it is certain here and now whether a command was accepted before.
    fn is_known(&self, command: CommandId) -> bool {
        let session = &self.session;
        if session.remembers_everything() || session.recent(command).is_some() || self.forgotten.has_not(command) {
            return true;
        }
        // An answer is good for as long as the session remembers everything that came after it.
        self.lookups
            .known
            .get(&command)
            .is_some_and(|(recorded, as_of)| recorded.is_some() || session.since(*as_of).is_some())
    }

    /// Asks about everything that is to be asked, one question at a time.
    pub(super) fn ask_log(&mut self, myself: &ActorRef<SessionMessage>) {
        if self.lookups.in_flight || self.lookups.to_ask.is_empty() {
            return;
        }
        self.lookups.in_flight = true;
        let commands = std::mem::take(&mut self.lookups.to_ask);
        let as_of = self.durable_seq;
        let session_id = self.session.genesis().session_id;
        let asked = self.resources.log.find(session_id, commands.clone());
        let myself = myself.clone();
        tokio::spawn(async move {
            let found = asked.await.map(|records| Found {
                commands,
                records,
                as_of,
            });
            // An actor that is gone has failed; its successor asks again.
            let _ = myself.cast(SessionMessage::Found(found));
        });
    }
}
