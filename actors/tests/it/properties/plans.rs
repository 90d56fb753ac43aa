//! Coverage of the random plans: the other properties prove only as much as the plans reach.

use std::collections::BTreeMap;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use talus_actors::domain::{
    command::CommandType,
    testing::{harness::Accepted, plan::plan, sample::Setting},
};

/// Results of a number of choices.
#[derive(Debug, Default)]
struct Tally {
    changed: BTreeMap<CommandType, u32>,
    unchanged: u32,
    duplicates: u32,
    refused: BTreeMap<&'static str, u32>,
}

fn tally(settings: &[Setting], plans: u32) -> Tally {
    let mut tally = Tally::default();
    let mut runner = TestRunner::deterministic();
    for (number, setting) in (0..plans).zip(settings.iter().cycle()) {
        let plan = plan(40).new_tree(&mut runner).expect("a plan").current();
        let mut harness = setting.harness();
        for choice in &plan {
            match harness.run(choice).result {
                Ok(Accepted::Change(recorded)) => *tally.changed.entry(recorded.command_type).or_default() += 1,
                Ok(Accepted::Receipt(receipt)) if receipt.duplicate => tally.duplicates += 1,
                Ok(Accepted::Receipt(_)) => tally.unchanged += 1,
                Err(rejection) => *tally.refused.entry(rejection.code()).or_default() += 1,
            }
        }
        assert!(
            harness.log().len() > 1,
            "plan {number} changes something {plan:#?} {:?}",
            harness.log()
        );
    }
    tally
}

/// Plans contain every accepted command type and every rejection of a session.
#[test]
fn plans_reach_all_commands_and_rejections() {
    let tally = tally(&Setting::ALL, 120);
    let mut kinds: Vec<_> = tally.changed.keys().copied().collect();
    kinds.push(CommandType::CreateProject); // The beginning of each project, before the plan.
    assert_eq!(kinds, CommandType::ALL, "{tally:#?}");
    let codes: Vec<_> = tally.refused.keys().copied().collect();
    assert_eq!(
        codes,
        [
            "ALREADY_LINKED",
            "CHILD_NOT_ALLOWED",
            "COMMAND_ID_REUSED",
            "CONFLICT",
            "CYCLE",
            "INDEX_OUT_OF_RANGE",
            "INVALID_REQUEST",
            "INVALID_VALUE",
            "LIMIT_EXCEEDED",
            "NODE_EXISTS",
            "NODE_NOT_FOUND",
            "NOTHING_TO_REDO",
            "NOTHING_TO_UNDO",
            "NOT_LINKED",
            "PROPERTY_NOT_FOUND",
            "UNKNOWN_NODE_TYPE",
            "UNKNOWN_PROPERTY",
        ],
        "{tally:#?}"
    );
    assert!(tally.duplicates > 0 && tally.unchanged > 0, "{tally:#?}");
}

/// More than half of the commands of a plan change the session under the default limits, and more than 5 % are refused.
#[test]
fn plans_mostly_change_the_session() {
    let tally = tally(&[Setting::Free, Setting::Project], 40);
    let changed: u32 = tally.changed.values().sum();
    let refused: u32 = tally.refused.values().sum();
    assert!(changed > 40 * 40 / 2, "{tally:#?}");
    assert!(refused > 40 * 40 / 20, "{tally:#?}");
}
