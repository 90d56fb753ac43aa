//! Undo and redo.

use proptest::{prelude::*, sample::Index};
use talus_actors::domain::{
    command::{Command, CommandType, Scope},
    decide::Decision,
    event::Document,
    testing::{bench::Bench, plan::plan, sample::Setting},
};

const UNDO: Command = Command::undo(Scope::Session);
const REDO: Command = Command::redo(Scope::Session);

fn document(bench: &Bench) -> Document {
    bench.session().document().clone()
}

fn changes(bench: &mut Bench, command: &Command) -> bool {
    matches!(bench.submit(command), Ok(Decision::Change(_)))
}

proptest! {
    /// Undo leads back to the document before a command, redo to the one after it: places among siblings and roots,
    /// names, properties that were not set, and what a load replaced.
    #[test]
    fn undo_is_the_inverse_of_a_command_and_redo_of_undo(setting in Setting::any(), plan in plan(1..30)) {
        let mut bench = setting.bench();
        for choice in &plan {
            let before = document(&bench);
            let attempt = bench.run(choice);
            let is_step = attempt.recorded().is_some_and(|recorded| recorded.command_type.is_undoable());
            if !is_step {
                continue;
            }
            let after = document(&bench);
            let depth = bench.session().history().undo_depth();
            prop_assert!(changes(&mut bench, &UNDO));
            prop_assert_eq!(document(&bench), before);
            prop_assert!(changes(&mut bench, &REDO));
            prop_assert_eq!(document(&bench), after);
            prop_assert_eq!(bench.session().history().undo_depth(), depth);
        }
    }

    /// Undo and redo walk back and forth through the documents that were, whatever comes between, as far as the limits
    /// go; a new command forgets what was undone; and each names the command that it took back.
    #[test]
    fn undo_and_redo_walk_through_the_documents_that_were(setting in Setting::any(), plan in plan(1..50)) {
        let mut bench = setting.bench();
        // The model: whole documents, each with the command that led away from it.
        let (mut undo, mut redo) = (Vec::new(), Vec::new());
        for choice in &plan {
            let before = document(&bench);
            let attempt = bench.run(choice);
            if let Some(recorded) = attempt.recorded() {
                match recorded.command_type {
                    CommandType::Undo => {
                        let (expected, command_id) = undo.pop().expect("the model has it");
                        prop_assert_eq!(document(&bench), expected);
                        prop_assert_eq!(recorded.target.map(|target| target.command_id), Some(command_id));
                        redo.push((before, command_id));
                    }
                    CommandType::Redo => {
                        let (expected, command_id) = redo.pop().expect("the model has it");
                        prop_assert_eq!(document(&bench), expected);
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
            let history = bench.session().history();
            // The limits forget the oldest. How many they leave is another test's matter.
            prop_assert!(history.undo_depth() <= undo.len());
            undo.drain(..undo.len() - history.undo_depth());
            prop_assert_eq!(history.redo_depth(), redo.len());
        }
    }

    /// Undoing everything leads to the first document, redoing everything to the last.
    #[test]
    fn undoing_and_redoing_everything_leads_there_and_back(setting in Setting::roomy(), plan in plan(1..40)) {
        let mut bench = setting.bench();
        let first = document(&bench);
        for choice in &plan {
            bench.run(choice);
        }
        while changes(&mut bench, &REDO) {}
        let last = document(&bench);
        let depth = bench.session().history().undo_depth();
        for _ in 0..depth {
            prop_assert!(changes(&mut bench, &UNDO));
        }
        prop_assert_eq!(bench.submit(&UNDO).expect_err("nothing is left").code(), "NOTHING_TO_UNDO");
        prop_assert_eq!(document(&bench), first);
        for _ in 0..depth {
            prop_assert!(changes(&mut bench, &REDO));
        }
        prop_assert_eq!(bench.submit(&REDO).expect_err("nothing is left").code(), "NOTHING_TO_REDO");
        prop_assert_eq!(document(&bench), last);
    }

    /// A new command that changes something forgets what was undone; a refused one, a retry and one that changes
    /// nothing do not.
    #[test]
    fn only_a_new_change_forgets_what_was_undone(
        setting in Setting::roomy(), plan in plan(2..30), undone in 1..5_usize, next in plan(1), which in any::<Index>()
    ) {
        let mut bench = setting.bench();
        for choice in &plan {
            bench.run(choice);
        }
        for _ in 0..undone {
            let _ = bench.submit(&UNDO);
        }
        let redo_depth = bench.session().history().redo_depth();
        prop_assume!(redo_depth > 0);
        let choice = which.get(&next);
        let attempt = bench.run(choice);
        let expected = match attempt.recorded().map(|recorded| recorded.command_type) {
            None | Some(CommandType::SaveProject) => redo_depth,
            Some(CommandType::Undo) => redo_depth + 1,
            Some(CommandType::Redo) => redo_depth - 1,
            Some(_) => 0,
        };
        prop_assert_eq!(bench.session().history().redo_depth(), expected);
    }
}
