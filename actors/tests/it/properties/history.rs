//! Properties of undo and redo by a single user.

use proptest::{prelude::*, sample::Index};
use talus_actors::domain::{
    command::{Command, CommandType, Scope},
    document::Document,
    testing::{
        harness::{Accepted, Harness},
        plan::plan,
        sample::Setting,
    },
};

const UNDO: Command = Command::undo(Scope::Session);
const REDO: Command = Command::redo(Scope::Session);

fn document(harness: &Harness) -> Document {
    harness.session().document().clone()
}

fn changes(harness: &mut Harness, command: &Command) -> bool {
    matches!(harness.submit(command), Ok(Accepted::Change(_)))
}

proptest! {
    /// Undo restores the document before a command, and redo the document after it. Covers places among siblings and
    /// roots, names, properties that were not set, and replaced documents.
    #[test]
    fn undo_inverts_command_and_redo_inverts_undo(setting in Setting::any(), plan in plan(1..30)) {
        let mut harness = setting.harness();
        for choice in &plan {
            let before = document(&harness);
            let attempt = harness.run(choice);
            let is_step = attempt.recorded().is_some_and(|recorded| recorded.command_type.is_undoable());
            if !is_step {
                continue;
            }
            let after = document(&harness);
            let depth = harness.session().history().undo_depth();
            prop_assert!(changes(&mut harness, &UNDO));
            prop_assert_eq!(document(&harness), before);
            prop_assert!(changes(&mut harness, &REDO));
            prop_assert_eq!(document(&harness), after);
            prop_assert_eq!(harness.session().history().undo_depth(), depth);
        }
    }

    /// Undo and redo walk back and forth through earlier documents as far as the limits allow. A new command drops the
    /// undone steps. Each undo and redo names the command of its step.
    #[test]
    fn undo_and_redo_walk_through_past_documents(setting in Setting::any(), plan in plan(1..50)) {
        let mut harness = setting.harness();
        // Reference model: whole documents, each with the next command.
        let (mut undo, mut redo) = (Vec::new(), Vec::new());
        for choice in &plan {
            let before = document(&harness);
            let attempt = harness.run(choice);
            if let Some(recorded) = attempt.recorded() {
                match recorded.command_type {
                    CommandType::Undo => {
                        let (expected, command_id) = undo.pop().expect("the model has it");
                        prop_assert_eq!(document(&harness), expected);
                        prop_assert_eq!(recorded.target.map(|target| target.command_id), Some(command_id));
                        redo.push((before, command_id));
                    }
                    CommandType::Redo => {
                        let (expected, command_id) = redo.pop().expect("the model has it");
                        prop_assert_eq!(document(&harness), expected);
                        prop_assert_eq!(recorded.target.map(|target| target.command_id), Some(command_id));
                        undo.push((before, command_id));
                    }
                    kind if kind.is_undoable() => {
                        undo.push((before, recorded.command_id));
                        redo.clear();
                    }
                    _ => {}
                }
            }
            let history = harness.session().history();
            // The limits evict the oldest steps. Other tests check how many steps remain.
            prop_assert!(history.undo_depth() <= undo.len());
            undo.drain(..undo.len() - history.undo_depth());
            prop_assert_eq!(history.redo_depth(), redo.len());
        }
    }

    /// Undoing all steps restores the first document, and redoing all steps the last.
    #[test]
    fn undo_all_and_redo_all_restore_documents(setting in Setting::roomy(), plan in plan(1..40)) {
        let mut harness = setting.harness();
        let first = document(&harness);
        for choice in &plan {
            harness.run(choice);
        }
        while changes(&mut harness, &REDO) {}
        let last = document(&harness);
        let depth = harness.session().history().undo_depth();
        for _ in 0..depth {
            prop_assert!(changes(&mut harness, &UNDO));
        }
        prop_assert_eq!(harness.submit(&UNDO).expect_err("nothing is left").code(), "NOTHING_TO_UNDO");
        prop_assert_eq!(document(&harness), first);
        for _ in 0..depth {
            prop_assert!(changes(&mut harness, &REDO));
        }
        prop_assert_eq!(harness.submit(&REDO).expect_err("nothing is left").code(), "NOTHING_TO_REDO");
        prop_assert_eq!(document(&harness), last);
    }

    /// A new command with changes drops the undone steps. A refused command, a retry and a command without changes keep
    /// them.
    #[test]
    fn undone_steps_are_dropped_only_by_change(
        setting in Setting::roomy(), plan in plan(2..30), undone in 1..5_usize, next in plan(1), which in any::<Index>()
    ) {
        let mut harness = setting.harness();
        for choice in &plan {
            harness.run(choice);
        }
        for _ in 0..undone {
            let _ = harness.submit(&UNDO);
        }
        let redo_depth = harness.session().history().redo_depth();
        prop_assume!(redo_depth > 0);
        let choice = which.get(&next);
        let attempt = harness.run(choice);
        let expected = match attempt.recorded().map(|recorded| recorded.command_type) {
            None | Some(CommandType::SaveProject) => redo_depth,
            Some(CommandType::Undo) => redo_depth + 1,
            Some(CommandType::Redo) => redo_depth - 1,
            Some(_) => 0,
        };
        prop_assert_eq!(harness.session().history().redo_depth(), expected);
    }
}
