//! Several users of one session who edit, undo and redo.
//!
//! ```
//! use proptest::prelude::*;
//! use talus_domain::{invariants, testing::{sample::Setting, users::turns}};
//!
//! proptest!(ProptestConfig::with_cases(8), |(setting in Setting::any(), turns in turns(1..12))| {
//!     let mut harness = setting.harness();
//!     for turn in &turns {
//!         harness.take_turn(turn);
//!         invariants::check(harness.session())?;
//!     }
//! });
//! ```

use proptest::{collection, prelude::*, sample::select};

use super::{
    harness::{Accepted, Attempt, Harness, Sent},
    plan::{Choice, choice},
};
use crate::{
    command::{Author, Command, Context, Scope},
    rejection::Rejection,
};

/// Sender of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// User known by a client id.
    Alice,
    /// User known by another client id.
    Bob,
    /// User known by name, on one client.
    Carol,
    /// The user `Carol` on another client.
    CarolOnSecondClient,
    /// Sender without client id and user, and therefore without own steps.
    Anonymous,
}

impl User {
    /// All users.
    pub const ALL: [Self; 5] = [
        Self::Alice,
        Self::Bob,
        Self::Carol,
        Self::CarolOnSecondClient,
        Self::Anonymous,
    ];

    /// Generates a user. The anonymous sender is the least frequent.
    pub fn any() -> impl Strategy<Value = Self> + Clone {
        let named = &Self::ALL[..4];
        prop_oneof![9 => select(named), 1 => Just(Self::Anonymous)]
    }

    /// Returns the author of the user's commands.
    #[must_use]
    pub fn author(self) -> Author {
        let (client, user) = match self {
            Self::Alice => ("alice", None),
            Self::Bob => ("bob", None),
            Self::Carol => ("carol-1", Some("Carol")),
            Self::CarolOnSecondClient => ("carol-2", Some("Carol")),
            Self::Anonymous => return Author::default(),
        };
        Author {
            client_id: client.parse().ok(),
            user: user.map(Into::into),
        }
    }
}

/// Next action of a user.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Acting user.
    pub user: User,
    /// Action of the user.
    pub action: UserAction,
}

/// Action of a user.
#[derive(Debug, Clone)]
pub enum UserAction {
    /// Choice of a plan.
    Choice(Choice),
    /// Undo of a step.
    Undo {
        /// Scope of the undo.
        scope: Scope,
        /// Overrides later changes of others.
        force: bool,
    },
    /// Redo of a step.
    Redo {
        /// Scope of the redo.
        scope: Scope,
        /// Overrides later changes of others.
        force: bool,
    },
}

/// Generates a scope, `mine` more often than `session`.
pub fn scope() -> impl Strategy<Value = Scope> + Clone {
    prop_oneof![1 => Just(Scope::Session), 4 => Just(Scope::Mine)]
}

/// Generates `len` actions of several users.
pub fn turns(len: impl Into<collection::SizeRange>) -> impl Strategy<Value = Vec<Turn>> {
    collection::vec(turn(), len)
}

/// Generates an action. At least two in five are an undo or redo.
pub fn turn() -> BoxedStrategy<Turn> {
    let force = || proptest::bool::weighted(0.3);
    let action = prop_oneof![
        6 => choice().prop_map(UserAction::Choice),
        2 => (scope(), force()).prop_map(|(scope, force)| UserAction::Undo { scope, force }),
        2 => (scope(), force()).prop_map(|(scope, force)| UserAction::Redo { scope, force }),
    ];
    (User::any(), action)
        .prop_map(|(user, action)| Turn { user, action })
        .boxed()
}

impl Turn {
    /// Returns the command and the context that the action stands for on the present session.
    #[must_use]
    pub fn resolve(&self, harness: &Harness) -> Sent {
        let of_user = |sent: Sent| Sent {
            context: Context {
                author: self.user.author(),
                ..sent.context
            },
            ..sent
        };
        match &self.action {
            // A retry keeps its original sender.
            UserAction::Choice(choice @ Choice::Resend(_)) => choice.resolve(harness),
            UserAction::Choice(choice) => of_user(choice.resolve(harness)),
            UserAction::Undo { scope, force } => {
                let (scope, force) = (*scope, *force);
                of_user(next(harness, Command::Undo { scope, force }))
            }
            UserAction::Redo { scope, force } => {
                let (scope, force) = (*scope, *force);
                of_user(next(harness, Command::Redo { scope, force }))
            }
        }
    }
}

fn next(harness: &Harness, command: Command) -> Sent {
    let context = harness.next_context();
    Sent { command, context }
}

impl Harness {
    /// Sends a user's command with the next id and time.
    ///
    /// # Errors
    /// Returns the rejection if the command is refused.
    pub fn submit_as(&mut self, user: User, command: &Command) -> Result<Accepted, Rejection> {
        let context = Context {
            author: user.author(),
            ..self.next_context()
        };
        self.submit_with(command, &context)
    }

    /// Resolves a user's action on the present session and sends the command.
    pub fn take_turn(&mut self, turn: &Turn) -> Attempt {
        let sent = turn.resolve(self);
        let result = self.submit_with(&sent.command, &sent.context);
        Attempt { sent, result }
    }
}
