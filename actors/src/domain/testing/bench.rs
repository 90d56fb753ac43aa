//! A session on a bench: commands go in, records come out and are kept, ids and times are counted.

use std::sync::Arc;

use uuid::Uuid;

use super::plan::Choice;
use crate::domain::{
    command::{Command, Context, Origin},
    decide::{Decision, again, decide},
    ids::{CommandId, Timestamp},
    recorded::Recorded,
    rejection::Rejection,
    session::{Genesis, ReplayError, Rules, Session},
};

/// When sessions of a bench begin; each command comes a second after the one before it.
pub const BEGINNING: Timestamp = Timestamp(1_764_000_000_000);

/// A session, its log, and what was sent to it.
#[derive(Debug)]
pub struct Bench {
    session: Session,
    log: Vec<Arc<Recorded>>,
    accepted: Vec<Sent>,
    commands: u32,
}

/// A command as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// What was wanted.
    pub command: Command,
    /// What came with it.
    pub context: Context,
}

/// A command that was sent, and what it came to.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What was sent.
    pub sent: Sent,
    /// What was decided; a change has been applied.
    pub result: Result<Decision, Rejection>,
}

impl Attempt {
    /// The record, if it changed something.
    #[must_use]
    pub fn recorded(&self) -> Option<&Arc<Recorded>> {
        match &self.result {
            Ok(Decision::Change(recorded)) => Some(recorded),
            Ok(Decision::Answer(_)) | Err(_) => None,
        }
    }
}

impl Bench {
    /// A session before its first command.
    #[must_use]
    pub fn new(genesis: Genesis, rules: Rules) -> Self {
        Self {
            session: Session::new(genesis, rules),
            log: Vec::new(),
            accepted: Vec::new(),
            commands: 0,
        }
    }

    /// Goes on with a log of before. Commands get ids that no other bench gives.
    ///
    /// # Errors
    /// If the log does not replay.
    pub fn resume(genesis: Genesis, rules: Rules, log: &[Arc<Recorded>]) -> Result<Self, ReplayError> {
        Ok(Self {
            session: Session::replay(genesis, rules, None, log.iter().cloned())?,
            log: log.to_vec(),
            accepted: Vec::new(),
            commands: 1 << 24,
        })
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &[Arc<Recorded>] {
        &self.log
    }

    /// The commands that were sent here and changed something, oldest first.
    #[must_use]
    pub fn accepted(&self) -> &[Sent] {
        &self.accepted
    }

    /// What the `number`-th command comes with: an id, a time and one of three origins that nothing else has a say in.
    #[must_use]
    pub fn context(number: u32) -> Context {
        let client = |name: &str| name.parse().ok();
        let origin = match number % 3 {
            0 => Origin::default(),
            1 => Origin {
                client_id: client("alice"),
                user: None,
            },
            _ => Origin {
                client_id: client("bob"),
                user: Some("Bob".into()),
            },
        };
        Context {
            command_id: CommandId::new(Uuid::from_u128(
                0xc033_a4d0_0000_4000_8000_0000_0000_0000 | u128::from(number),
            )),
            origin,
            now: Timestamp(BEGINNING.0 + 1_000 * i64::from(number)),
            expected_seq: None,
        }
    }

    /// What the next command would come with.
    #[must_use]
    pub fn next_context(&self) -> Context {
        Self::context(self.commands + 1)
    }

    /// Sends a command with an id and a time of its own.
    ///
    /// # Errors
    /// If it is refused.
    pub fn submit(&mut self, command: &Command) -> Result<Decision, Rejection> {
        let context = self.next_context();
        self.submit_with(command, &context)
    }

    /// Sends a command with whatever comes with it.
    ///
    /// # Errors
    /// If it is refused.
    ///
    /// # Panics
    /// If what was decided does not fit the session it was decided on, which is what tests are to find out.
    pub fn submit_with(&mut self, command: &Command, context: &Context) -> Result<Decision, Rejection> {
        self.commands += 1;
        let decision = match self.told_by_the_log(context.command_id) {
            Some(recorded) => Decision::Answer(again(&recorded, command)?),
            None => decide(&self.session, command, context)?,
        };
        if let Decision::Change(recorded) = &decision {
            self.session
                .apply(recorded)
                .expect("what was decided on a session fits it");
            self.log.push(Arc::clone(recorded));
            self.accepted.push(Sent {
                command: command.clone(),
                context: context.clone(),
            });
        }
        Ok(decision)
    }

    /// The record of a command that the session no longer remembers: whoever runs a session asks its log (P4).
    fn told_by_the_log(&self, command_id: CommandId) -> Option<Arc<Recorded>> {
        if self.session.remembers_everything() || self.session.recent(command_id).is_some() {
            return None;
        }
        self.log
            .iter()
            .find(|recorded| recorded.command_id == command_id)
            .cloned()
    }

    /// Makes a choice of a plan on the session as it is now, and sends the command.
    pub fn run(&mut self, choice: &Choice) -> Attempt {
        let sent = choice.resolve(self);
        let result = self.submit_with(&sent.command, &sent.context);
        Attempt { sent, result }
    }

    /// The session that the log tells of.
    ///
    /// # Errors
    /// If the log does not replay, which is what tests are to find out.
    pub fn replayed(&self) -> Result<Session, ReplayError> {
        let (genesis, rules) = (self.session.genesis().clone(), self.session.rules().clone());
        Session::replay(genesis, rules, None, self.log.iter().cloned())
    }

    /// Goes on with the session that the log tells of, as after a crash.
    ///
    /// # Errors
    /// As for [`Self::replayed`].
    pub fn restart(&mut self) -> Result<(), ReplayError> {
        self.session = self.replayed()?;
        Ok(())
    }
}
