//! Properties of replay: a log rebuilds its session.

use std::sync::Arc;

use proptest::{prelude::*, sample::Index};
use talus_actors::domain::{
    event::Event,
    invariants,
    limits::Limits,
    record::CommandRecord,
    session::{ReplayError, Session, Snapshot, document_at},
    testing::{
        harness::Harness,
        plan::{Choice, plan},
        sample::Setting,
        stored,
    },
};

fn run(setting: Setting, plan: &[Choice]) -> Harness {
    let mut harness = setting.harness();
    for choice in plan {
        harness.run(choice);
    }
    harness
}

fn replay(harness: &Harness, log: impl IntoIterator<Item = Arc<CommandRecord>>) -> Result<Session, ReplayError> {
    let session = harness.session();
    Session::replay(session.header().clone(), session.rules().clone(), None, log)
}

/// Damage to a log, as by a faulty disk, copy or migration.
#[derive(Debug, Clone)]
enum Damage {
    LoseRecord(Index),
    DuplicateRecord(Index),
    SwapRecords(Index),
    LoseEvent(Index, Index),
    ReplaceEvent(Index, Index, Event),
    Retarget(Index, CommandRecord),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Damage::LoseRecord),
        at().prop_map(Damage::DuplicateRecord),
        at().prop_map(Damage::SwapRecords),
        (at(), at()).prop_map(|(record, event)| Damage::LoseEvent(record, event)),
        (at(), at(), stored::event()).prop_map(|(record, event, other)| Damage::ReplaceEvent(record, event, other)),
        (at(), stored::recorded()).prop_map(|(record, other)| Damage::Retarget(record, other)),
    ]
}

impl Damage {
    /// Damages a log of at least two records. Returns true if the `seq` of the records are no longer contiguous.
    fn apply(&self, log: &mut Vec<Arc<CommandRecord>>) -> bool {
        let len = log.len();
        match self {
            // The last record stays, because a log without its last record is shorter but not damaged.
            Self::LoseRecord(at) => drop(log.remove(at.index(len - 1))),
            Self::DuplicateRecord(at) => log.insert(at.index(len), Arc::clone(at.get(log))),
            Self::SwapRecords(at) => log.swap(at.index(len - 1), at.index(len - 1) + 1),
            Self::LoseEvent(at, event) => {
                let record = Arc::make_mut(&mut log[at.index(len - 1)]);
                record.events.remove(event.index(record.events.len()));
            }
            Self::ReplaceEvent(at, event, other) => {
                let record = Arc::make_mut(at.get_mut(log));
                *event.get_mut(&mut record.events) = other.clone();
                return false;
            }
            Self::Retarget(at, other) => {
                let record = Arc::make_mut(at.get_mut(log));
                (record.command_type, record.target) = (other.command_type, other.target);
                return false;
            }
        }
        true
    }
}

proptest! {
    /// P8: replaying a serialized log rebuilds the session that wrote it: document, `seq`, undo and redo, unsaved
    /// changes, last changes of nodes, receipts and replay window.
    #[test]
    fn replay_rebuilds_session(setting in Setting::any(), plan in plan(1..40)) {
        let harness = run(setting, &plan);
        let mut log = Vec::new();
        for recorded in harness.log() {
            let text = serde_json::to_vec(recorded).expect("a record is JSON");
            let read: CommandRecord = serde_json::from_slice(&text).expect("written JSON is read");
            log.push(Arc::new(read));
        }
        let replayed = replay(&harness, log)?;
        prop_assert_eq!(replayed.document(), harness.session().document());
        prop_assert!(&replayed == harness.session(), "{:#?}\nis not\n{:#?}", replayed, harness.session());
    }

    /// P8: a restart between any two commands changes neither later records nor receipts.
    #[test]
    fn restart_between_commands_changes_nothing(
        setting in Setting::any(), plan in plan(2..40), at in any::<Index>()
    ) {
        let straight = run(setting, &plan);
        let mut restarted = setting.harness();
        let (before, after) = plan.split_at(at.index(plan.len()));
        for choice in before {
            restarted.run(choice);
        }
        restarted.restart()?;
        for choice in after {
            restarted.run(choice);
        }
        prop_assert_eq!(restarted.log(), straight.log());
        prop_assert!(restarted.session() == straight.session());
    }

    /// P8: replay from a serialized snapshot of any time, with records from any earlier position on, rebuilds the
    /// session that wrote the log. Only the replay window depends on the first record.
    #[test]
    fn replay_from_snapshot_rebuilds_session(
        setting in Setting::any(), plan in plan(2..40), at in any::<Index>(), from in any::<Index>()
    ) {
        let mut harness = setting.harness();
        let (before, after) = plan.split_at(at.index(plan.len()));
        for choice in before {
            harness.run(choice);
        }
        let text = serde_json::to_vec(&harness.session().snapshot()).expect("a snapshot is JSON");
        let snapshot: Snapshot = serde_json::from_slice(&text).expect("written JSON is read");
        prop_assert_eq!(&snapshot, &harness.session().snapshot());
        let covered = harness.log().len();
        for choice in after {
            harness.run(choice);
        }
        let session = harness.session();
        let from = from.index(covered + 1);
        let log = harness.log()[from..].iter().cloned();
        let replayed = Session::replay(session.header().clone(), session.rules().clone(), Some(snapshot), log)?;
        prop_assert_eq!(replayed.snapshot(), session.snapshot());
        if from == 0 {
            prop_assert!(&replayed == session);
        }
    }

    /// The document at any time can be rebuilt from an earlier snapshot, or from the first record.
    #[test]
    fn document_at_any_time_is_rebuilt(setting in Setting::any(), plan in plan(1..30), at in any::<Index>()) {
        let mut harness = setting.harness();
        let (mut snapshots, mut documents) = (Vec::new(), vec![(harness.session().seq(), harness.session().document().clone())]);
        for choice in &plan {
            snapshots.push(harness.session().snapshot());
            harness.run(choice);
            documents.push((harness.session().seq(), harness.session().document().clone()));
        }
        let (seq, document) = at.get(&documents);
        let snapshot = snapshots.iter().rfind(|snapshot| snapshot.seq <= *seq);
        prop_assert_eq!(&document_at(snapshot, harness.log(), *seq)?, document);
        prop_assert_eq!(&document_at(None, harness.log(), *seq)?, document);
    }

    /// A prefix of a log rebuilds the session at an earlier time.
    #[test]
    fn log_prefix_rebuilds_earlier_session(setting in Setting::any(), plan in plan(1..30), at in any::<Index>()) {
        let mut harness = setting.harness();
        let mut documents = vec![(harness.session().seq(), harness.session().document().clone())];
        for choice in &plan {
            harness.run(choice);
            documents.push((harness.session().seq(), harness.session().document().clone()));
        }
        let (seq, document) = at.get(&documents);
        let earlier = replay(&harness, harness.log().iter().take_while(|recorded| recorded.seq() <= *seq).cloned())?;
        prop_assert_eq!(earlier.document(), document);
        prop_assert_eq!(earlier.seq(), *seq);
    }

    /// A log can be replayed under other limits of undo: the document is the same, the remaining undo and redo steps
    /// fit it, and the session accepts further commands.
    #[test]
    fn log_replays_under_other_undo_limits(
        setting in Setting::any(), plan in plan(1..40), undo_depth_max in 1..6_usize, undo_bytes_max in 1..4_000_usize,
        next in plan(1..6)
    ) {
        let before = run(setting, &plan);
        let mut rules = setting.rules();
        rules.limits = Arc::new(Limits { undo_depth_max, undo_bytes_max, ..Limits::clone(&rules.limits) });
        let mut harness = Harness::resume(before.session().header().clone(), rules, before.log())?;
        prop_assert_eq!(harness.session().document(), before.session().document());
        prop_assert_eq!(harness.session().seq(), before.session().seq());
        invariants::check_history(harness.session())?;
        for choice in &next {
            harness.run(choice);
            invariants::check_history(harness.session())?;
        }
        prop_assert!(&harness.replayed()? == harness.session());
    }

    /// P12: a damaged log causes an error and never a panic. A gap is always detected, and so is a different graph.
    #[test]
    fn damaged_log_is_refused_without_panic(
        setting in Setting::any(), plan in plan(5..30), damage in damage()
    ) {
        let harness = run(setting, &plan);
        prop_assume!(harness.log().len() > 1);
        let mut log = harness.log().to_vec();
        let has_gap = damage.apply(&mut log);
        let replayed = replay(&harness, log);
        if has_gap {
            prop_assert!(replayed.is_err());
        } else if let Ok(session) = replayed {
            prop_assert_eq!(&session.document().graph, &harness.session().document().graph);
        }
    }

    /// Random records with contiguous `seq` cause an error or a change, never a panic.
    #[test]
    fn random_log_does_not_panic(log in stored::log(8)) {
        let harness = Setting::Free.harness();
        let _ = replay(&harness, log);
    }
}
