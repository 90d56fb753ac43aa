//! Retries of a command, and other commands under the same id (P4)

use serde_json::json;
use talus_actors::domain::{
    command::{Author, Command, Context},
    ids::{Seq, Timestamp},
    record::Receipt,
    testing::harness::{Accepted, Harness},
};

use super::{
    case::{code, free_session, record},
    commands::{
        CommandExt, batch, child, delete, link, move_node, nameless, redo, reorder, root, save, set, to_roots, undo,
        unlink, unset,
    },
};

fn again(harness: &mut Harness, command: &Command, context: &Context) -> Receipt {
    match harness.submit_with(command, context) {
        Ok(Accepted::Receipt(receipt)) => receipt,
        other => unreachable!("{other:?}"),
    }
}

/// P4: a retry gets the exact first receipt, marked as duplicate, whatever has happened since.
#[test]
fn retry_gets_first_receipt() {
    let mut harness = free_session(&[root("a")]);
    let context = harness.next_context();
    let first = record(&mut harness, &nameless());
    for command in [undo(), root("b"), delete("a"), save("demo.json", 3)] {
        record(&mut harness, &command);
    }
    let log = harness.log().len();
    let receipt = again(&mut harness, &nameless(), &context);
    let expected = Receipt {
        duplicate: true,
        ..first.receipt()
    };
    assert_eq!(receipt, expected);
    assert_eq!((receipt.first_seq, receipt.seq), (Some(Seq(3)), Seq(4)));
    assert_eq!(harness.log().len(), log);
    harness.restart().expect("its own log");
    assert_eq!(
        again(&mut harness, &nameless(), &context),
        expected,
        "also after a restart"
    );
}

/// P4: the sender, the time and the `expected_seq` of a retry may differ.
#[test]
fn retry_is_identified_by_content() {
    let mut harness = free_session(&[]);
    let context = harness.next_context();
    record(&mut harness, &root("a"));
    record(&mut harness, &set("a", "x", json!(1)));
    let later = Context {
        author: Author {
            client_id: None,
            user: Some("Mallory".into()),
        },
        now: Timestamp(context.now.0 + 86_400_000),
        expected_seq: Some(Seq::ZERO),
        ..context
    };
    assert!(again(&mut harness, &root("a"), &later).duplicate);
}

/// P4: a retried undo does not undo another step.
#[test]
fn retried_undo_undoes_no_further_step() {
    let mut harness = free_session(&[root("a"), root("b")]);
    let context = harness.next_context();
    record(&mut harness, &undo());
    assert!(again(&mut harness, &undo(), &context).duplicate);
    assert_eq!(harness.session().history().undo_depth(), 1);
    assert_eq!(code(harness.submit_with(&redo(), &context)), "COMMAND_ID_REUSED");
}

/// P4: any difference in content makes another command, which is refused under a used id.
#[test]
fn used_id_refuses_any_difference() {
    let pairs = [
        (root("a"), root("a").at(0)),
        (root("a"), root("a").of("u")),
        (root("a"), root("a").named("A")),
        (root("a"), root("a").with("x", json!(null))),
        (root("a").with("x", json!(1)), root("a").with("x", json!(1.0))),
        (root("a").with("x", json!(1)), root("a").with("y", json!(1))),
        (root("a"), child("a", "b")),
        (nameless(), nameless().named("New Node")),
        (root("a"), batch([root("a")])),
        (batch([root("a"), root("b")]), batch([root("b"), root("a")])),
        (delete("a"), delete("b")),
        (link("a", "b"), link("b", "a")),
        (link("a", "b"), unlink("a", "b")),
        (link("a", "b"), link("a", "b").at(0)),
        (move_node("a", "b"), link("a", "b")),
        (move_node("a", "b"), to_roots("a")),
        (reorder("a", 0), reorder("a", 1)),
        (set("a", "x", json!("1")), set("a", "x", json!(1))),
        (set("a", "x", json!(null)), unset("a", "x")),
        (set("a", "x", json!({"a": 1})), set("a", "x", json!([["a", 1]]))),
        (undo(), redo()),
        (save("a", 1), save("a", 2)),
        (save("a", 1), save("b", 1)),
    ];
    for (one, other) in pairs {
        assert_ne!(one.fingerprint(), other.fingerprint(), "{one:?} is not {other:?}");
        assert_eq!(one.fingerprint(), one.clone().fingerprint());
    }
    let mut harness = free_session(&[]);
    let context = harness.next_context();
    record(&mut harness, &root("a"));
    let rejection = harness.submit_with(&root("b"), &context).expect_err("another command");
    assert_eq!(rejection.code(), "COMMAND_ID_REUSED");
    assert_eq!(
        rejection.to_string(),
        format!("command id {} was used for another command", context.command_id)
    );
}

/// The order of an object's members and of a node's properties is not a difference.
#[test]
fn retry_ignores_member_order() {
    let parse = |text: &str| set("a", "x", text.parse().expect("JSON"));
    assert_eq!(
        parse(r#"{"a": 1, "b": 2}"#).fingerprint(),
        parse(r#"{"b": 2, "a": 1}"#).fingerprint()
    );
}

/// P4: the id of a refused command stays unused, and a retry is decided again.
#[test]
fn refused_command_is_decided_again() {
    let mut harness = free_session(&[]);
    let context = harness.next_context();
    let command = child("b", "a");
    assert_eq!(code(harness.submit_with(&command, &context)), "NODE_NOT_FOUND");
    record(&mut harness, &root("a"));
    assert!(matches!(
        harness.submit_with(&command, &context),
        Ok(Accepted::Change(_))
    ));
    assert!(again(&mut harness, &command, &context).duplicate);
}

/// A command without changes is not recorded, so a retry is decided again.
#[test]
fn unchanged_command_is_decided_again() {
    let mut harness = free_session(&[root("a"), set("a", "x", json!(1))]);
    let context = harness.next_context();
    let command = set("a", "x", json!(1));
    let receipt = again(&mut harness, &command, &context);
    assert_eq!((receipt.duplicate, receipt.first_seq), (false, None));
    record(&mut harness, &set("a", "x", json!(2)));
    assert!(matches!(
        harness.submit_with(&command, &context),
        Ok(Accepted::Change(_))
    ));
}
