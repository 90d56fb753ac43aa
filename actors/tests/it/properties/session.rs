//! Properties of a session after every single command.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, sample::Index};
use talus_actors::domain::{
    command::{Command, CommandType},
    document::Document,
    event::Event,
    history::Step,
    ids::{NodeId, Seq},
    invariants,
    record::CommandRecord,
    session::Session,
    testing::{
        harness::{Accepted, Harness},
        plan::plan,
        sample::Setting,
    },
};

/// Returns the parts of a session that a command could change and that are cheap to compare.
fn state(harness: &Harness) -> impl PartialEq + std::fmt::Debug + use<> {
    let session = harness.session();
    let history = session.history();
    (
        session.document().clone(),
        (
            session.seq(),
            session.is_dirty(),
            session.last_activity(),
            session.last_change_of_roots(),
        ),
        (history.undo_depth(), history.next_undo().map(Step::target)),
        (history.redo_depth(), history.next_redo().map(Step::target)),
        harness.log().len(),
    )
}

proptest! {
    /// All invariants, GR-1 to LI-1, hold after every command.
    #[test]
    fn invariants_hold_after_every_command(setting in Setting::any(), plan in plan(1..50)) {
        let mut harness = setting.harness();
        invariants::check(harness.session())?;
        for choice in &plan {
            harness.run(choice);
            invariants::check(harness.session())?;
        }
    }

    /// P5: a refused command changes nothing, and deciding it again yields the same rejection.
    #[test]
    fn refusal_changes_nothing(setting in Setting::any(), plan in plan(1..40)) {
        let mut harness = setting.harness();
        for choice in &plan {
            let before = state(&harness);
            let attempt = harness.run(choice);
            if let Err(rejection) = attempt.result {
                prop_assert_eq!(state(&harness), before);
                let again = harness.submit_with(&attempt.sent.command, &attempt.sent.context);
                prop_assert_eq!(again, Err(rejection));
            }
        }
        prop_assert!(&harness.replayed()? == harness.session(), "no refusal has left a trace");
    }

    /// A command without changes leaves no record and no step of undo, and its receipt states the present `seq`. A
    /// command with a record changed the document.
    #[test]
    fn command_without_changes_leaves_no_record(setting in Setting::any(), plan in plan(1..40)) {
        let mut harness = setting.harness();
        for choice in &plan {
            let (before, document) = (state(&harness), harness.session().document().clone());
            let attempt = harness.run(choice);
            match attempt.result {
                Ok(Accepted::Receipt(receipt)) => {
                    prop_assert_eq!(state(&harness), before);
                    if !receipt.duplicate {
                        prop_assert_eq!((receipt.first_seq, receipt.seq), (None, harness.session().seq()));
                    }
                }
                Ok(Accepted::Change(recorded)) if is_plain(recorded.command_type) => {
                    prop_assert_ne!(harness.session().document(), &document);
                }
                Ok(Accepted::Change(_)) | Err(_) => {}
            }
        }
    }

    /// Commands with the present values and places change nothing.
    #[test]
    fn restating_commands_change_nothing(setting in Setting::any(), plan in plan(1..25)) {
        let mut harness = setting.harness();
        for choice in &plan {
            harness.run(choice);
        }
        let before = state(&harness);
        for command in restating_commands(harness.session().document()) {
            let decision = harness.submit(&command)?;
            prop_assert!(matches!(decision, Accepted::Receipt(_)), "{:?} changes something", command);
        }
        prop_assert_eq!(state(&harness), before);
    }

    /// P1: the `seq` of all events are 1, 2, 3 … without a gap. The events of a command are contiguous, and its receipt
    /// names the last one.
    #[test]
    fn seq_is_dense_and_commands_contiguous(setting in Setting::any(), plan in plan(1..40)) {
        let mut harness = setting.harness();
        let mut last = harness.session().seq();
        for choice in &plan {
            if let Some(recorded) = harness.run(choice).recorded() {
                let receipt = recorded.receipt();
                prop_assert_eq!(receipt.first_seq, Some(last.plus(1)));
                prop_assert_eq!(receipt.seq, last.plus(recorded.events.len() as u64 + 1));
                prop_assert!(!recorded.events.is_empty());
                last = receipt.seq;
            }
            prop_assert_eq!(harness.session().seq(), last);
        }
    }

    /// P2: from any `seq`, the replay window returns exactly the records with later events, or nothing if it does not
    /// reach back. The window keeps as many records as its limits require.
    #[test]
    fn window_has_no_gap(setting in Setting::any(), plan in plan(1..40)) {
        let mut harness = setting.harness();
        for choice in &plan {
            harness.run(choice);
        }
        let session = harness.session();
        let mut reached = false;
        for seq in (0..=session.seq().0 + 2).map(Seq) {
            let missed: Vec<&Arc<CommandRecord>> = harness.log().iter().filter(|recorded| recorded.seq() > seq).collect();
            match session.since(seq) {
                Some(records) => {
                    reached = true;
                    prop_assert!(seq <= session.seq());
                    prop_assert_eq!(records.collect::<Vec<_>>(), missed);
                }
                None if seq > session.seq() => {}
                None => {
                    let events: usize = missed.iter().map(|recorded| recorded.wire_events()).sum();
                    prop_assert!(!reached, "the window has a hole at {}", seq);
                    let bytes: usize = missed.iter().map(|recorded| recorded.weight_bytes()).sum();
                    let limits = &session.rules().limits;
                    prop_assert!(events > limits.replay_window_events || bytes > limits.replay_window_bytes_max);
                }
            }
        }
    }

    /// The `seq` that `expected_seq` is compared with equals the last change of a node or its children in the log.
    #[test]
    fn last_changes_match_log(setting in Setting::any(), plan in plan(1..40)) {
        let mut harness = setting.harness();
        for choice in &plan {
            harness.run(choice);
        }
        let (nodes, roots) = changes(harness.log());
        let session = harness.session();
        prop_assert_eq!(session.last_change_of_roots(), roots);
        for (id, _) in session.document().graph.nodes() {
            prop_assert_eq!(session.changed(id), nodes.get(&id).copied().unwrap_or_default(), "{}", id);
        }
    }

    /// A session is dirty exactly if an event after the last saved state changed the document.
    #[test]
    fn dirty_flag_matches_changes_after_save(setting in Setting::any(), plan in plan(1..40), through in any::<Index>()) {
        let mut harness = setting.harness();
        for choice in &plan {
            harness.run(choice);
        }
        let through = Seq(through.index(usize::try_from(harness.session().seq().0).expect("small") + 1) as u64);
        harness.submit(&Command::SaveProject { file: "f".into(), through })?;
        let is_change = |event: &Event| !matches!(event, Event::ProjectSaved { .. });
        let events = harness.log().iter().flat_map(|recorded| recorded.events.iter().zip(recorded.first_seq.0..));
        let changed_after = events.filter(|(event, seq)| is_change(event) && *seq > through.0).count() > 0;
        prop_assert_eq!(harness.session().is_dirty(), changed_after);
    }
}

/// Returns true if a command of the type has a record only if it changes the document. A batch may revert its own
/// changes, a loaded graph may equal the present one, and a save only concerns the file.
fn is_plain(kind: CommandType) -> bool {
    !matches!(
        kind,
        CommandType::Batch | CommandType::LoadGraph | CommandType::SaveProject | CommandType::Undo | CommandType::Redo
    )
}

/// Returns commands that restate the present values and places.
fn restating_commands(document: &Document) -> Vec<Command> {
    let graph = &document.graph;
    let mut commands = vec![Command::Batch { commands: Vec::new() }];
    for (node_id, node) in graph.nodes() {
        let position = i64::try_from(graph.position(node_id).expect("the node exists")).expect("small");
        commands.push(Command::ReorderNode {
            node_id,
            new_index: position,
        });
        commands.push(Command::MoveNode {
            node_id,
            new_parent_id: node.parent(),
            index: Some(position),
        });
        commands.push(Command::UpdateProperty {
            node_id,
            property: "name".into(),
            new_value: talus_actors::domain::value::Value::Text(node.content.name.clone()),
        });
    }
    let all = Command::Batch {
        commands: commands.iter().skip(1).take(4).cloned().collect(),
    };
    commands.push(all);
    commands
}

/// Returns the last change of each node and of the list of roots, computed from the events.
fn changes(log: &[Arc<CommandRecord>]) -> (BTreeMap<NodeId, Seq>, Seq) {
    let (mut nodes, mut roots) = (BTreeMap::new(), Seq::ZERO);
    for recorded in log {
        for (event, seq) in recorded.events.iter().zip(recorded.first_seq.0..) {
            let seq = Seq(seq);
            let (node, parent) = match event {
                Event::NodeCreated { node_id, parent_id, .. } | Event::NodeDeleted { node_id, parent_id, .. } => {
                    (*node_id, Some(*parent_id))
                }
                Event::NodeLinked {
                    child_id, parent_id, ..
                }
                | Event::NodeUnlinked {
                    child_id, parent_id, ..
                } => {
                    // The node leaves or joins the roots.
                    roots = seq;
                    (*child_id, Some(*parent_id))
                }
                Event::PropertyChanged { node_id, .. } | Event::PropertyDeleted { node_id, .. } => (*node_id, None),
                Event::ProjectSaved { .. } => continue,
                Event::ProjectLoaded { document, .. } => {
                    nodes = document.graph.nodes().map(|(id, _)| (id, seq)).collect();
                    roots = seq;
                    continue;
                }
            };
            nodes.insert(node, seq);
            match parent {
                Some(Some(parent)) => drop(nodes.insert(parent, seq)),
                Some(None) => roots = seq,
                None => {}
            }
        }
    }
    (nodes, roots)
}

proptest! {
    /// Committing a decision and replaying its record yield the same session.
    #[test]
    fn commit_equals_replay(setting in Setting::any(), plan in plan(1..40)) {
        let mut harness = setting.harness();
        let mut other = Session::new(harness.session().header().clone(), harness.session().rules().clone());
        for recorded in harness.log() {
            other.replay_record(recorded).expect("it follows");
        }
        for choice in &plan {
            if let Some(recorded) = harness.run(choice).recorded() {
                other.replay_record(recorded).expect("it follows");
            }
            prop_assert_eq!(harness.session(), &other);
        }
    }
}
