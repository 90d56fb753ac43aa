//! Replay of corrupt logs: returns the position and the reason, and never panics.

use std::sync::Arc;

use serde_json::json;
use talus_actors::domain::{
    command::CommandType,
    content::NodeContent,
    event::Event,
    graph::GraphError,
    ids::{NodeId, Seq, TypeId},
    properties::Properties,
    record::{CommandRecord, Target},
    session::{ReplayError, Session},
    testing::{harness::Harness, sample::Setting},
};

use super::{
    case::free_session,
    commands::{child, node, redo, root, set, undo},
};

/// Returns a log of five records with one event each, at 1, 3, 5, 7 and 9.
fn log() -> Vec<CommandRecord> {
    let harness = free_session(&[root("a"), child("b", "a"), set("b", "x", json!(1)), undo(), redo()]);
    harness
        .log()
        .iter()
        .map(|recorded| CommandRecord::clone(recorded))
        .collect()
}

fn replay(log: Vec<CommandRecord>) -> Result<Session, ReplayError> {
    let harness = Setting::Free.harness();
    let (header, rules) = (harness.session().header().clone(), harness.session().rules().clone());
    Session::replay(header, rules, None, log.into_iter().map(Arc::new))
}

fn replay_error(log: Vec<CommandRecord>) -> ReplayError {
    replay(log).expect_err("the log is not sound")
}

fn gap(after: u64, found: u64) -> ReplayError {
    ReplayError::Gap {
        after: Seq(after),
        found: Seq(found),
    }
}

#[test]
fn intact_log_replays() {
    assert_eq!(replay(log()).expect("sound").seq(), Seq(10));
    assert_eq!(replay(Vec::new()).expect("sound").seq(), Seq::ZERO);
}

/// A missing, duplicate or reordered record and a missing event are reported as a gap.
#[test]
fn gap_is_reported() {
    let without = |index: usize| {
        let mut log = log();
        log.remove(index);
        log
    };
    assert_eq!(replay_error(without(0)), gap(0, 3));
    assert_eq!(replay_error(without(2)), gap(4, 7));
    let mut doubled = log();
    doubled.insert(1, doubled[0].clone());
    assert_eq!(replay_error(doubled), gap(2, 1));
    let mut swapped = log();
    swapped.swap(1, 2);
    assert_eq!(replay_error(swapped), gap(2, 5));
    let mut short = log();
    short[1].events.clear();
    short[1]
        .events
        .extend(log()[1].events.iter().chain(&log()[2].events).cloned());
    // Without this line the hash would be reported first.
    short[1].outcome.state_hash = None;
    assert_eq!(replay_error(short), gap(5, 5));
    let mut late = log();
    late[0].first_seq = Seq(u64::MAX);
    assert_eq!(replay_error(late), gap(0, u64::MAX));
    assert_eq!(gap(4, 7).to_string(), "the record at 7 does not follow 4");
}

/// A record without events is reported.
#[test]
fn empty_record_is_reported() {
    let mut log = log();
    log[0].events.clear();
    log.truncate(1);
    assert_eq!(replay_error(log), ReplayError::Empty(Seq(1)));
}

fn content() -> NodeContent {
    NodeContent {
        name: "n".into(),
        type_id: TypeId::new("t"),
        properties: Properties::new(),
        metadata: None,
    }
}

/// An event that does not fit the state is reported with its `seq` and the reason, for each kind of event.
#[test]
fn invalid_event_is_reported() {
    let (a, b, x) = (node("a"), node("b"), node("x"));
    let property = match &log()[2].events[0] {
        Event::PropertyChanged { property, after, .. } => (property.clone(), after.clone()),
        other => unreachable!("{other:?}"),
    };
    let created = |node_id: NodeId, parent_id, index| Event::NodeCreated {
        node_id,
        parent_id,
        index,
        content: content(),
    };
    let deleted = |node_id| Event::NodeDeleted {
        node_id,
        parent_id: None,
        index: 0,
        content: content(),
    };
    let linked = |child_id, parent_id, index| Event::NodeLinked {
        parent_id,
        child_id,
        index,
        root_index: 0,
    };
    let unlinked = |child_id, parent_id| Event::NodeUnlinked {
        parent_id,
        child_id,
        index: 0,
    };
    let not_a_child = |parent, child| GraphError::NotAChild { parent, child };
    let out_of_range = |index, len| GraphError::IndexOutOfRange { index, len };
    for (event, error) in [
        (created(a, None, 0), GraphError::NodeExists(a)),
        (created(x, Some(node("y")), 0), GraphError::NoSuchNode(node("y"))),
        (created(x, None, 2), out_of_range(2, 1)),
        (created(x, Some(a), usize::MAX), out_of_range(usize::MAX, 1)),
        (deleted(x), GraphError::NoSuchNode(x)),
        (deleted(a), GraphError::HasChildren(a)),
        (linked(x, Some(a), 0), GraphError::NoSuchNode(x)),
        (linked(b, Some(a), 0), not_a_child(None, b)),
        (linked(a, Some(b), 0), GraphError::Cycle(a)),
        (linked(a, Some(a), 0), GraphError::Cycle(a)),
        (linked(a, Some(x), 0), GraphError::NoSuchNode(x)),
        (linked(a, None, 1), out_of_range(1, 0)),
        (unlinked(x, None), GraphError::NoSuchNode(x)),
        (unlinked(b, None), not_a_child(None, b)),
        (unlinked(b, Some(x)), not_a_child(Some(x), b)),
        (unlinked(a, Some(b)), not_a_child(Some(b), a)),
        (
            Event::PropertyChanged {
                node_id: x,
                property: property.0.clone(),
                before: None,
                after: property.1.clone(),
                orphaned: false,
            },
            GraphError::NoSuchNode(x),
        ),
        (
            Event::PropertyDeleted {
                node_id: x,
                property: property.0.clone(),
                before: property.1.clone(),
            },
            GraphError::NoSuchNode(x),
        ),
    ] {
        let mut log = log();
        log.truncate(3);
        log[2].events = vec![log[2].events[0].clone(), event.clone()];
        let expected = ReplayError::Graph { seq: Seq(6), error };
        assert_eq!(replay_error(log), expected, "{event:?}");
    }
    let seq = Seq(6);
    let expected = ReplayError::Graph {
        seq,
        error: GraphError::NoSuchNode(x),
    };
    assert_eq!(
        expected.to_string(),
        format!("the event at 6 does not fit: node {x} does not exist")
    );
}

/// An undo or redo of another step than the next one is reported.
#[test]
fn undo_of_wrong_step_is_reported() {
    let change = |index: usize, change: &dyn Fn(&mut CommandRecord)| {
        let mut log = log();
        change(&mut log[index]);
        log
    };
    let first = Target {
        command_id: log()[0].command_id,
        command_type: CommandType::CreateNode,
    };
    // The undo at 7 names the first command instead of the last, or no command, or another type.
    assert_eq!(
        replay_error(change(3, &|undo| undo.target = Some(first))),
        ReplayError::History(Seq(7))
    );
    assert_eq!(
        replay_error(change(3, &|undo| undo.target = None)),
        ReplayError::History(Seq(7))
    );
    let another_kind = |undo: &mut CommandRecord| {
        undo.target = undo.target.map(|target| Target {
            command_type: CommandType::Batch,
            ..target
        });
    };
    assert_eq!(replay_error(change(3, &another_kind)), ReplayError::History(Seq(7)));
    assert_eq!(
        replay_error(change(4, &|redo| redo.target = Some(first))),
        ReplayError::History(Seq(9))
    );
    assert_eq!(
        replay_error(change(4, &|redo| redo.target = None)),
        ReplayError::History(Seq(9))
    );
    // An undo or redo with an empty history.
    let nothing_to_undo = |record: &mut CommandRecord| {
        record.command_type = CommandType::Undo;
        record.target = Some(first);
    };
    assert_eq!(replay_error(change(0, &nothing_to_undo)), ReplayError::History(Seq(1)));
    let nothing_to_redo = |record: &mut CommandRecord| {
        record.command_type = CommandType::Redo;
        record.target = Some(first);
    };
    assert_eq!(replay_error(change(0, &nothing_to_redo)), ReplayError::History(Seq(1)));
    // After a new command no step can be redone.
    let forgotten = change(3, &|undo| undo.command_type = CommandType::UpdateProperty);
    assert_eq!(replay_error(forgotten), ReplayError::History(Seq(9)));
    assert_eq!(
        ReplayError::History(Seq(9)).to_string(),
        "the undo or redo at 9 is not of the step that was next"
    );
}

/// Replaying the same log twice yields equal sessions.
#[test]
fn replay_yields_equal_sessions() {
    let harness: Harness = free_session(&[root("a"), child("b", "a"), undo()]);
    assert!(harness.replayed().as_ref() == Ok(harness.session()));
    let other = free_session(&[root("a"), child("b", "a")]);
    assert!(other.session() != harness.session());
}
