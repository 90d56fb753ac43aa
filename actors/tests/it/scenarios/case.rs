//! Test cases: given accepted commands, when a command arrives, then these events or this rejection follow.

use std::panic::Location;

use talus_actors::domain::{
    command::{Command, Context},
    event::Event,
    ids::Seq,
    invariants,
    record::{CommandRecord, Receipt},
    rejection::Rejection,
    session::Rules,
    testing::{
        harness::{Accepted, Harness},
        sample::{self, Setting},
    },
};

use super::{
    commands::{redo, undo},
    event_text::{abbreviate, event_line},
};
use crate::replica::Replica;

/// Begins a case with commands that have to be accepted.
#[track_caller]
pub fn given(commands: impl Into<Vec<Command>>) -> Given {
    Given {
        at: Location::caller(),
        commands: commands.into(),
    }
}

pub struct Given {
    at: &'static Location<'static>,
    commands: Vec<Command>,
}

pub struct When {
    given: Given,
    command: Command,
    expected_seq: Option<Seq>,
}

pub struct Case {
    when: When,
    then: Then,
}

enum Then {
    Events(Vec<String>),
    Unchanged,
    Accepted,
    Refused(&'static str, String),
}

impl Given {
    pub fn when(self, command: Command) -> When {
        When {
            given: self,
            command,
            expected_seq: None,
        }
    }
}

impl When {
    /// Sends the command with an `expected_seq`.
    pub fn expecting_seq(mut self, seq: u64) -> Self {
        self.expected_seq = Some(Seq(seq));
        self
    }

    /// Expects exactly these events.
    pub fn then<const N: usize>(self, events: [&str; N]) -> Case {
        assert!(N > 0, "an accepted command that does nothing is `unchanged`");
        let then = Then::Events(events.map(str::to_owned).to_vec());
        Case { when: self, then }
    }

    /// Expects that the command is accepted without changes.
    pub const fn unchanged(self) -> Case {
        Case {
            when: self,
            then: Then::Unchanged,
        }
    }

    /// Expects that the command is accepted. The events are checked elsewhere.
    pub const fn accepted(self) -> Case {
        Case {
            when: self,
            then: Then::Accepted,
        }
    }

    /// Expects a rejection with the code and the message.
    pub fn refused(self, code: &'static str, message: &str) -> Case {
        let then = Then::Refused(code, message.to_owned());
        Case { when: self, then }
    }
}

/// Checks cases in sessions without a template.
pub fn check<const N: usize>(cases: [Case; N]) {
    check_with(&Setting::Free.rules(), cases);
}

/// Checks cases in sessions with the sample template.
pub fn check_with_template<const N: usize>(cases: [Case; N]) {
    check_with(&Setting::Project.rules(), cases);
}

/// Checks cases and their common invariants: undo and redo are inverse, a replay and a replica agree, and a refusal
/// changes nothing.
pub fn check_with<const N: usize>(rules: &Rules, cases: [Case; N]) {
    for case in cases {
        check_one(rules, case);
    }
}

fn check_one(rules: &Rules, case: Case) {
    let When {
        given,
        command,
        expected_seq,
    } = case.when;
    let at = given.at;
    let mut harness = harness(rules, &given.commands);
    let context = Context {
        expected_seq,
        ..harness.next_context()
    };
    let before = harness.session().document().clone();
    let result = harness.submit_with(&command, &context);
    match (&result, case.then) {
        (Ok(Accepted::Change(recorded)), Then::Events(events)) => {
            let lines: Vec<_> = recorded.events.iter().map(event_line).collect();
            assert_eq!(lines, events, "{at}");
        }
        (Ok(Accepted::Change(_)), Then::Accepted) => {}
        (Ok(Accepted::Receipt(receipt)), Then::Unchanged) => check_unchanged(&harness, receipt, at),
        (Err(rejection), Then::Refused(code, message)) => {
            assert_eq!(
                (rejection.code(), abbreviate(&rejection.to_string())),
                (code, message),
                "{at}"
            );
        }
        (result, _) => unreachable!("{at}: {result:#?}"),
    }
    check_common_invariants(&harness, at);
    match result {
        Ok(Accepted::Change(recorded)) if recorded.command_type.is_undoable() => {
            let after = harness.session().document().clone();
            harness.submit(&undo()).expect("each step can be undone");
            assert_eq!(*harness.session().document(), before, "{at}: undone");
            harness.submit(&redo()).expect("each undone step can be redone");
            assert_eq!(*harness.session().document(), after, "{at}: done again");
            check_common_invariants(&harness, at);
        }
        Ok(Accepted::Change(_)) => {}
        Ok(Accepted::Receipt(_)) | Err(_) => assert_eq!(*harness.session().document(), before, "{at}: unchanged"),
    }
}

fn check_unchanged(harness: &Harness, receipt: &Receipt, at: &Location<'_>) {
    let (first_seq, seq, duplicate) = (receipt.first_seq, receipt.seq, receipt.duplicate);
    assert_eq!(
        (first_seq, seq, duplicate),
        (None, harness.session().seq(), false),
        "{at}"
    );
}

fn check_common_invariants(harness: &Harness, at: &Location<'_>) {
    let session = harness.session();
    let invariants = invariants::check(session);
    assert_eq!(invariants, Ok(()), "{at}");
    assert!(
        harness.replayed().as_ref() == Ok(session),
        "{at}: replaying leads to another session"
    );
    let mut replica = Replica::default();
    let events = harness.log().iter().flat_map(|recorded| &recorded.events);
    events.for_each(|event| replica.apply(event));
    let expected = Replica::of(&session.document().graph);
    assert_eq!(replica.tree(), expected.tree(), "{at}: a replica has another tree");
}

/// Returns a session after the commands, all of which have to be accepted.
pub fn harness(rules: &Rules, commands: &[Command]) -> Harness {
    let header = match rules.blueprint {
        Some(_) => sample::project_header(),
        None => sample::header(),
    };
    let mut harness = Harness::new(header, rules.clone());
    for command in commands {
        if let Err(rejection) = harness.submit(command) {
            unreachable!("{command:?} is given and refused: {rejection}");
        }
    }
    harness
}

/// Returns a session without a template after the commands.
pub fn free_session(commands: &[Command]) -> Harness {
    harness(&Setting::Free.rules(), commands)
}

/// Returns the record of a command that has to change the session.
pub fn record(harness: &mut Harness, command: &Command) -> std::sync::Arc<CommandRecord> {
    match harness.submit(command) {
        Ok(Accepted::Change(recorded)) => recorded,
        other => unreachable!("{command:?} became {other:?}"),
    }
}

/// Formats events, one per line.
pub fn event_lines(events: &[Event]) -> Vec<String> {
    events.iter().map(event_line).collect()
}

/// Returns the code of a rejection.
pub fn code(result: Result<Accepted, Rejection>) -> &'static str {
    result.map_or_else(|rejection| rejection.code(), |_| "accepted")
}
