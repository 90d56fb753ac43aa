//! Properties of idempotency (P4).

use proptest::prelude::*;
use talus_actors::domain::{
    command::{Author, Command, Context},
    ids::Seq,
    record::Receipt,
    rejection::Rejection,
    testing::{
        harness::{Accepted, Harness},
        plan::plan,
        sample::Setting,
    },
};

proptest! {
    /// P4: every accepted command that is sent again, at any later time, by any sender and after a restart, gets its
    /// first receipt and changes nothing.
    #[test]
    fn retry_returns_first_receipt_without_change(setting in Setting::any(), plan in plan(1..30)) {
        let mut harness = setting.harness();
        for choice in &plan {
            harness.run(choice);
        }
        harness.restart()?;
        let (document, log) = (harness.session().document().clone(), harness.log().to_vec());
        let first = log.iter().map(|recorded| recorded.receipt());
        let sent = harness.accepted().to_vec();
        prop_assert_eq!(sent.len(), log.len());
        for (sent, first) in sent.into_iter().zip(first) {
            // Sender and known `seq` of a retry may differ from the original.
            let context = Context {
                author: Author::default(),
                expected_seq: Some(Seq::ZERO),
                command_id: sent.context.command_id,
                ..harness.next_context()
            };
            let again = harness.submit_with(&sent.command, &context)?;
            prop_assert_eq!(again, Accepted::Receipt(Receipt { duplicate: true, ..first }));
        }
        prop_assert_eq!(harness.session().document(), &document);
        prop_assert_eq!(harness.log(), log);
        prop_assert!(&harness.replayed()? == harness.session());
    }

    /// P4: a used id answers a retry of its command and refuses every other command.
    #[test]
    fn used_id_refuses_other_commands(setting in Setting::any(), plan in plan(2..16)) {
        let mut harness = setting.harness();
        for choice in &plan {
            harness.run(choice);
        }
        let sent = harness.accepted().to_vec();
        for used in &sent {
            for other in &sent {
                let answer = harness.submit_with(&other.command, &used.context);
                if other.command == used.command {
                    let is_retry = matches!(answer, Ok(Accepted::Receipt(receipt)) if receipt.duplicate);
                    prop_assert!(is_retry);
                } else {
                    prop_assert_eq!(answer, Err(Rejection::CommandIdReused(used.context.command_id)));
                }
            }
        }
    }

    /// P4: a refused command and a command without changes leave their id unused.
    #[test]
    fn id_is_used_only_by_change(setting in Setting::any(), plan in plan(1..30)) {
        let mut harness = setting.harness();
        let mut free = Vec::new();
        for choice in &plan {
            let attempt = harness.run(choice);
            let is_own = harness.accepted().iter().all(|sent| sent.context.command_id != attempt.sent.context.command_id);
            if is_own {
                free.push(attempt.sent.context.command_id);
            }
        }
        for command_id in free {
            let context = Context { command_id, ..harness.next_context() };
            let rename = Command::SaveProject { file: "any".into(), through: Seq::ZERO };
            prop_assert!(matches!(harness.submit_with(&rename, &context), Ok(Accepted::Change(_))));
        }
    }

    /// Running a plan twice yields the same log, including the derived ids: decisions have no hidden inputs.
    #[test]
    fn decision_has_no_hidden_inputs(setting in Setting::any(), plan in plan(1..30)) {
        let run = || {
            let mut harness: Harness = setting.harness();
            let results: Vec<_> = plan.iter().map(|choice| harness.run(choice).result).collect();
            (results, harness)
        };
        let ((results, harness), (again, other)) = (run(), run());
        prop_assert_eq!(results, again);
        prop_assert!(harness.session() == other.session());
    }
}
