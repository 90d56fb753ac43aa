//! Several people in one session, each of whom edits, undoes and redoes.
//!
//! ```
//! use proptest::prelude::*;
//! use talus_actors::domain::{invariants, testing::{sample::Setting, users::turns}};
//!
//! proptest!(ProptestConfig::with_cases(8), |(setting in Setting::any(), turns in turns(1..12))| {
//!     let mut bench = setting.bench();
//!     for turn in &turns {
//!         bench.take_turn(turn);
//!         invariants::check(bench.session())?;
//!     }
//! });
//! ```

use proptest::{collection, prelude::*, sample::select};

use super::{
    bench::{Attempt, Bench, Sent},
    plan::{Choice, choice},
};
use crate::domain::{
    command::{Command, Context, Origin, Scope},
    decide::Decision,
    rejection::Rejection,
};

/// Somebody who sends commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Known by a client.
    Alice,
    /// Known by another client.
    Bob,
    /// Known by name, on one client.
    Carol,
    /// The same by name, on another client.
    CarolElsewhere,
    /// Says nothing of himself, and has nothing of his own.
    Nobody,
}

impl User {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Alice, Self::Bob, Self::Carol, Self::CarolElsewhere, Self::Nobody];

    /// Any of them, nobody least often.
    pub fn any() -> impl Strategy<Value = Self> + Clone {
        let named = &Self::ALL[..4];
        prop_oneof![9 => select(named), 1 => Just(Self::Nobody)]
    }

    /// What the user's commands come with.
    #[must_use]
    pub fn origin(self) -> Origin {
        let (client, user) = match self {
            Self::Alice => ("alice", None),
            Self::Bob => ("bob", None),
            Self::Carol => ("carol-1", Some("Carol")),
            Self::CarolElsewhere => ("carol-2", Some("Carol")),
            Self::Nobody => return Origin::default(),
        };
        Origin {
            client_id: client.parse().ok(),
            user: user.map(Into::into),
        }
    }
}

/// What somebody does next.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Who.
    pub user: User,
    /// What.
    pub deed: Deed,
}

/// Something that a user does.
#[derive(Debug, Clone)]
pub enum Deed {
    /// A choice as in a plan of one.
    Choice(Choice),
    /// An undo.
    Undo {
        /// Whose commands.
        scope: Scope,
        /// Whether others are overridden.
        force: bool,
    },
    /// A redo.
    Redo {
        /// Whose commands.
        scope: Scope,
        /// Whether others are overridden.
        force: bool,
    },
}

/// Either scope, one's own more often.
pub fn scope() -> impl Strategy<Value = Scope> + Clone {
    prop_oneof![1 => Just(Scope::Session), 4 => Just(Scope::Mine)]
}

/// So many turns of several users.
pub fn turns(len: impl Into<collection::SizeRange>) -> impl Strategy<Value = Vec<Turn>> {
    collection::vec(turn(), len)
}

/// Any turn. About one in three undoes or redoes something.
pub fn turn() -> BoxedStrategy<Turn> {
    let force = || proptest::bool::weighted(0.3);
    let deed = prop_oneof![
        6 => choice().prop_map(Deed::Choice),
        2 => (scope(), force()).prop_map(|(scope, force)| Deed::Undo { scope, force }),
        2 => (scope(), force()).prop_map(|(scope, force)| Deed::Redo { scope, force }),
    ];
    (User::any(), deed).prop_map(|(user, deed)| Turn { user, deed }).boxed()
}

impl Turn {
    /// The command that it is on the bench's session, and what comes with it.
    #[must_use]
    pub fn resolve(&self, bench: &Bench) -> Sent {
        let of_user = |sent: Sent| Sent {
            context: Context {
                origin: self.user.origin(),
                ..sent.context
            },
            ..sent
        };
        match &self.deed {
            // A retry is what it was.
            Deed::Choice(choice @ Choice::Resend(_)) => choice.resolve(bench),
            Deed::Choice(choice) => of_user(choice.resolve(bench)),
            Deed::Undo { scope, force } => {
                let (scope, force) = (*scope, *force);
                of_user(next(bench, Command::Undo { scope, force }))
            }
            Deed::Redo { scope, force } => {
                let (scope, force) = (*scope, *force);
                of_user(next(bench, Command::Redo { scope, force }))
            }
        }
    }
}

fn next(bench: &Bench, command: Command) -> Sent {
    let context = bench.next_context();
    Sent { command, context }
}

impl Bench {
    /// Sends a command of a user's with an id and a time of its own.
    ///
    /// # Errors
    /// If it is refused.
    pub fn submit_as(&mut self, user: User, command: &Command) -> Result<Decision, Rejection> {
        let context = Context {
            origin: user.origin(),
            ..self.next_context()
        };
        self.submit_with(command, &context)
    }

    /// Takes a turn on the session as it is now.
    pub fn take_turn(&mut self, turn: &Turn) -> Attempt {
        let sent = turn.resolve(self);
        let result = self.submit_with(&sent.command, &sent.context);
        Attempt { sent, result }
    }
}
