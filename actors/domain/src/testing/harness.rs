//! Session under test with its log: commands go in, records come out, and ids and times are counted.

use std::sync::Arc;

use uuid::Uuid;

use super::plan::Choice;
use crate::{
    command::{Author, Command, Context},
    decide::{Decision, decide, duplicate_receipt},
    ids::{CommandId, Timestamp},
    record::{CommandRecord, Receipt},
    rejection::Rejection,
    session::{ReplayError, Rules, Session, SessionHeader},
};

/// Time at which sessions under test begin. Each command arrives one second after the preceding one.
pub const BEGINNING: Timestamp = Timestamp(1_764_000_000_000);

/// Session with its log and the accepted commands.
#[derive(Debug)]
pub struct Harness {
    session: Session,
    log: Vec<Arc<CommandRecord>>,
    accepted: Vec<Sent>,
    commands: u32,
}

/// Command as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Requested change.
    pub command: Command,
    /// Id, sender and time of the command.
    pub context: Context,
}

/// Command that was sent, with its result.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Command as it was sent.
    pub sent: Sent,
    /// Acceptance or rejection.
    pub result: Result<Accepted, Rejection>,
}

/// Result of an accepted command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// The command changed the session. Contains the committed record.
    Change(Arc<CommandRecord>),
    /// As [`Decision::Receipt`].
    Receipt(Receipt),
}

impl Attempt {
    /// Returns the record if the command changed the session.
    #[must_use]
    pub fn recorded(&self) -> Option<&Arc<CommandRecord>> {
        match &self.result {
            Ok(Accepted::Change(recorded)) => Some(recorded),
            Ok(Accepted::Receipt(_)) | Err(_) => None,
        }
    }
}

impl Harness {
    /// Creates a session before its first command.
    #[must_use]
    pub fn new(header: SessionHeader, rules: Rules) -> Self {
        Self {
            session: Session::new(header, rules),
            log: Vec::new(),
            accepted: Vec::new(),
            commands: 0,
        }
    }

    /// Creates a session from an earlier log. Its commands get ids that differ from all ids of other sessions under
    /// test.
    ///
    /// # Errors
    /// Fails if the log does not replay.
    pub fn resume(header: SessionHeader, rules: Rules, log: &[Arc<CommandRecord>]) -> Result<Self, ReplayError> {
        Ok(Self {
            session: Session::replay(header, rules, None, log.iter().cloned())?,
            log: log.to_vec(),
            accepted: Vec::new(),
            commands: 1 << 24,
        })
    }

    /// Returns the session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Returns the records of the session, oldest first.
    #[must_use]
    pub fn log(&self) -> &[Arc<CommandRecord>] {
        &self.log
    }

    /// Returns the commands that were sent here and changed the session, oldest first.
    #[must_use]
    pub fn accepted(&self) -> &[Sent] {
        &self.accepted
    }

    /// Returns the context of the `number`-th command: an id, a time and one of three authors, all derived from the
    /// number.
    #[must_use]
    pub fn context(number: u32) -> Context {
        let client = |name: &str| name.parse().ok();
        let author = match number % 3 {
            0 => Author::default(),
            1 => Author {
                client_id: client("alice"),
                user: None,
            },
            _ => Author {
                client_id: client("bob"),
                user: Some("Bob".into()),
            },
        };
        Context {
            command_id: CommandId::new(Uuid::from_u128(
                0xc033_a4d0_0000_4000_8000_0000_0000_0000 | u128::from(number),
            )),
            author,
            now: Timestamp(BEGINNING.0 + 1_000 * i64::from(number)),
            expected_seq: None,
        }
    }

    /// Returns the context of the next command.
    #[must_use]
    pub fn next_context(&self) -> Context {
        Self::context(self.commands + 1)
    }

    /// Sends a command with the next context.
    ///
    /// # Errors
    /// Returns the rejection if the command is refused.
    pub fn submit(&mut self, command: &Command) -> Result<Accepted, Rejection> {
        let context = self.next_context();
        self.submit_with(command, &context)
    }

    /// Sends a command with the given context.
    ///
    /// # Errors
    /// Returns the rejection if the command is refused.
    ///
    /// # Panics
    /// Panics if the decided events do not fit the session, which is a defect that tests look for.
    pub fn submit_with(&mut self, command: &Command, context: &Context) -> Result<Accepted, Rejection> {
        self.commands += 1;
        let decision = match self.find_logged(context.command_id) {
            Some(recorded) => Decision::Receipt(duplicate_receipt(&recorded, command)?),
            None => decide(&self.session, command, context)?,
        };
        let decided = match decision {
            Decision::Change(decided) => decided,
            Decision::Receipt(receipt) => return Ok(Accepted::Receipt(receipt)),
        };
        let committed = self.session.commit(decided);
        let (recorded, _) = committed.expect("what was decided on a session fits it");
        self.log.push(Arc::clone(&recorded));
        self.accepted.push(Sent {
            command: command.clone(),
            context: context.clone(),
        });
        Ok(Accepted::Change(recorded))
    }

    /// Returns the record of a command that the replay window no longer contains. A session actor asks its log as well
    /// (P4).
    fn find_logged(&self, command_id: CommandId) -> Option<Arc<CommandRecord>> {
        if self.session.window_is_complete() || self.session.recent(command_id).is_some() {
            return None;
        }
        self.log
            .iter()
            .find(|recorded| recorded.command_id == command_id)
            .cloned()
    }

    /// Resolves a choice of a plan on the present session and sends the command.
    pub fn run(&mut self, choice: &Choice) -> Attempt {
        let sent = choice.resolve(self);
        let result = self.submit_with(&sent.command, &sent.context);
        Attempt { sent, result }
    }

    /// Replays the log.
    ///
    /// # Errors
    /// Fails if the log does not replay, which is a defect that tests look for.
    pub fn replayed(&self) -> Result<Session, ReplayError> {
        let (header, rules) = (self.session.header().clone(), self.session.rules().clone());
        Session::replay(header, rules, None, self.log.iter().cloned())
    }

    /// Replaces the session by its replayed log, as after a crash.
    ///
    /// # Errors
    /// As [`Self::replayed`].
    pub fn restart(&mut self) -> Result<(), ReplayError> {
        self.session = self.replayed()?;
        Ok(())
    }
}
