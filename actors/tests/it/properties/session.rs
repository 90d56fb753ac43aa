//! What holds after every single command.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, sample::Index};
use talus_actors::domain::{
    command::{Command, CommandType},
    decide::{Decision, Proposal, propose},
    event::{Document, Event},
    history::Step,
    ids::{NodeId, Seq},
    invariants,
    recorded::{Receipt, Recorded},
    rejection::Rejection,
    session::Session,
    testing::{bench::Bench, plan::plan, sample::Setting},
};

/// Everything of a session that a command could change, as far as it can be looked at cheaply.
fn state(bench: &Bench) -> impl PartialEq + std::fmt::Debug + use<> {
    let session = bench.session();
    let history = session.history();
    (
        session.document().clone(),
        (
            session.seq(),
            session.is_dirty(),
            session.last_activity(),
            session.roots_changed(),
        ),
        (history.undo_depth(), history.next_undo().map(Step::target)),
        (history.redo_depth(), history.next_redo().map(Step::target)),
        bench.log().len(),
    )
}

proptest! {
    /// The graph stays a forest in dense order, places in the log stay dense, limits are held: GR-1 to LI-1 after every
    /// step.
    #[test]
    fn invariants_hold_after_every_command(setting in Setting::any(), plan in plan(1..50)) {
        let mut bench = setting.bench();
        invariants::check(bench.session())?;
        for choice in &plan {
            bench.run(choice);
            invariants::check(bench.session())?;
        }
    }

    /// P5: a refused command changes nothing, and is refused for the same reason if it is decided again.
    #[test]
    fn a_refusal_changes_nothing(setting in Setting::any(), plan in plan(1..40)) {
        let mut bench = setting.bench();
        for choice in &plan {
            let before = state(&bench);
            let attempt = bench.run(choice);
            if let Err(rejection) = attempt.result {
                prop_assert_eq!(state(&bench), before);
                let again = bench.submit_with(&attempt.sent.command, &attempt.sent.context);
                prop_assert_eq!(again, Err(rejection));
            }
        }
        prop_assert!(&bench.replayed()? == bench.session(), "no refusal has left a trace");
    }

    /// A command that changes nothing leaves no record, no step of undo and no time; its answer is where the session is.
    /// And a command that has a record changed something.
    #[test]
    fn what_changes_nothing_leaves_no_record(setting in Setting::any(), plan in plan(1..40)) {
        let mut bench = setting.bench();
        for choice in &plan {
            let (before, document) = (state(&bench), bench.session().document().clone());
            let attempt = bench.run(choice);
            match attempt.result {
                Ok(Decision::Answer(receipt)) => {
                    prop_assert_eq!(state(&bench), before);
                    if !receipt.duplicate {
                        prop_assert_eq!((receipt.first_seq, receipt.seq), (None, bench.session().seq()));
                    }
                }
                Ok(Decision::Change(recorded)) if is_plain(recorded.command_type) => {
                    prop_assert_ne!(bench.session().document(), &document);
                }
                Ok(Decision::Change(_)) | Err(_) => {}
            }
        }
    }

    /// What is there already is not done again: the same value, the same place, nothing at all.
    #[test]
    fn doing_what_is_so_already_changes_nothing(setting in Setting::any(), plan in plan(1..25)) {
        let mut bench = setting.bench();
        for choice in &plan {
            bench.run(choice);
        }
        let before = state(&bench);
        for command in what_is_so(bench.session().document()) {
            let decision = bench.submit(&command)?;
            prop_assert!(matches!(decision, Decision::Answer(_)), "{:?} changes something", command);
        }
        prop_assert_eq!(state(&bench), before);
    }

    /// P1: the events of all commands have the places 1, 2, 3 … without a gap; each command's are contiguous and end
    /// with the one that its receipt names.
    #[test]
    fn places_are_dense_and_commands_contiguous(setting in Setting::any(), plan in plan(1..40)) {
        let mut bench = setting.bench();
        let mut last = bench.session().seq();
        for choice in &plan {
            if let Some(recorded) = bench.run(choice).recorded() {
                let receipt = recorded.receipt();
                prop_assert_eq!(receipt.first_seq, Some(last.plus(1)));
                prop_assert_eq!(receipt.seq, last.plus(recorded.events.len() as u64 + 1));
                prop_assert!(!recorded.events.is_empty());
                last = receipt.seq;
            }
            prop_assert_eq!(bench.session().seq(), last);
        }
    }

    /// P2: from any place, the window gives exactly the records that hold the events after it, or says that it does not
    /// reach so far; never a part of them. What it must keep it keeps, up to its limit.
    #[test]
    fn the_window_has_no_hole(setting in Setting::any(), plan in plan(1..40)) {
        let mut bench = setting.bench();
        for choice in &plan {
            bench.run(choice);
        }
        let session = bench.session();
        let mut reached = false;
        for seq in (0..=session.seq().0 + 2).map(Seq) {
            let missed: Vec<&Arc<Recorded>> = bench.log().iter().filter(|recorded| recorded.seq() > seq).collect();
            match session.since(seq) {
                Some(records) => {
                    reached = true;
                    prop_assert!(seq <= session.seq());
                    prop_assert_eq!(records.collect::<Vec<_>>(), missed);
                }
                None if seq > session.seq() => {}
                None => {
                    let events: usize = missed.iter().map(|recorded| recorded.len_on_wire()).sum();
                    prop_assert!(!reached, "the window has a hole at {}", seq);
                    let bytes: usize = missed.iter().map(|recorded| recorded.weight_bytes()).sum();
                    let limits = &session.rules().limits;
                    prop_assert!(events > limits.replay_window_events || bytes > limits.replay_window_bytes_max);
                }
            }
        }
    }

    /// `expected_seq` looks at the right times: those at which the log says that a node or its children changed.
    #[test]
    fn changes_are_known_by_when_they_happened(setting in Setting::any(), plan in plan(1..40)) {
        let mut bench = setting.bench();
        for choice in &plan {
            bench.run(choice);
        }
        let (nodes, roots) = changes(bench.log());
        let session = bench.session();
        prop_assert_eq!(session.roots_changed(), roots);
        for (id, _) in session.document().graph.nodes() {
            prop_assert_eq!(session.changed(id), nodes.get(&id).copied().unwrap_or_default(), "{}", id);
        }
    }

    /// A session is dirty if something changed after the state that was last written to a file.
    #[test]
    fn dirty_means_changed_after_the_last_save(setting in Setting::any(), plan in plan(1..40), through in any::<Index>()) {
        let mut bench = setting.bench();
        for choice in &plan {
            bench.run(choice);
        }
        let through = Seq(through.index(usize::try_from(bench.session().seq().0).expect("small") + 1) as u64);
        bench.submit(&Command::SaveProject { file: "f".into(), through })?;
        let is_change = |event: &Event| !matches!(event, Event::ProjectSaved { .. });
        let events = bench.log().iter().flat_map(|recorded| recorded.events.iter().zip(recorded.first_seq.0..));
        let changed_after = events.filter(|(event, seq)| is_change(event) && *seq > through.0).count() > 0;
        prop_assert_eq!(bench.session().is_dirty(), changed_after);
    }
}

/// Whether a command of the kind has a record only if it leaves another document: a batch may take back what it did,
/// the graph that is loaded may be the same, and a save is about the file.
fn is_plain(kind: CommandType) -> bool {
    !matches!(
        kind,
        CommandType::Batch | CommandType::LoadGraph | CommandType::SaveProject | CommandType::Undo | CommandType::Redo
    )
}

/// Commands that say what is so already.
fn what_is_so(document: &Document) -> Vec<Command> {
    let graph = &document.graph;
    let mut commands = vec![Command::Batch { commands: Vec::new() }];
    for (node_id, node) in graph.nodes() {
        let position = i64::try_from(graph.position(node_id).expect("it is there")).expect("small");
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

/// When each node and the list of roots last changed, by what the events say.
fn changes(log: &[Arc<Recorded>]) -> (BTreeMap<NodeId, Seq>, Seq) {
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
                    // It comes from the roots, or goes to them.
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
    /// Carrying out a proposal is the same as applying the record of the decision, and makes the same record.
    #[test]
    fn what_is_proposed_and_carried_out_is_what_is_decided_and_applied(setting in Setting::any(), plan in plan(1..40)) {
        let mut bench = setting.bench();
        let mut other = Session::new(bench.session().genesis().clone(), bench.session().rules().clone());
        for recorded in bench.log() {
            other.apply(recorded).expect("it follows");
        }
        for choice in &plan {
            let sent = choice.resolve(&bench);
            let proposed = propose(&other, &sent.command, &sent.context);
            match (bench.submit_with(&sent.command, &sent.context), proposed) {
                (Ok(Decision::Change(recorded)), Ok(Proposal::Change(proposed))) => {
                    let (carried_out, _) = other.carry_out(proposed).expect("it was proposed on it");
                    prop_assert_eq!(carried_out, recorded);
                }
                // What the log alone remembers, this one was not told.
                (Ok(Decision::Answer(Receipt { duplicate: true, .. })) | Err(Rejection::CommandIdReused(_)), _) => {}
                (Ok(Decision::Answer(receipt)), Ok(Proposal::Answer(other))) => prop_assert_eq!(receipt, other),
                (Err(rejection), Err(other)) => prop_assert_eq!(rejection, other),
                (decided, proposed) => prop_assert!(false, "{decided:?} and {proposed:?}"),
            }
            prop_assert_eq!(bench.session(), &other);
        }
    }
}
