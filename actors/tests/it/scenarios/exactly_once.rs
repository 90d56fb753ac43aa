//! Retries of a command, and other commands under the same id (P4)

use serde_json::json;
use talus_actors::domain::{
    command::{Command, Context, Origin},
    ids::{Seq, Timestamp},
    record::Receipt,
    testing::bench::{Accepted, Bench},
};

use super::{
    case::{code, free_session, record},
    commands::{
        CommandExt, batch, child, delete, link, move_node, nameless, redo, reorder, root, save, set, to_roots, undo,
        unlink, unset,
    },
};

fn again(bench: &mut Bench, command: &Command, context: &Context) -> Receipt {
    match bench.submit_with(command, context) {
        Ok(Accepted::Receipt(receipt)) => receipt,
        other => unreachable!("{other:?}"),
    }
}

/// P4: a retry gets the exact first receipt, marked as duplicate, whatever has happened since.
#[test]
fn retry_gets_first_receipt() {
    let mut bench = free_session(&[root("a")]);
    let context = bench.next_context();
    let first = record(&mut bench, &nameless());
    for command in [undo(), root("b"), delete("a"), save("demo.json", 3)] {
        record(&mut bench, &command);
    }
    let log = bench.log().len();
    let receipt = again(&mut bench, &nameless(), &context);
    let expected = Receipt {
        duplicate: true,
        ..first.receipt()
    };
    assert_eq!(receipt, expected);
    assert_eq!((receipt.first_seq, receipt.seq), (Some(Seq(3)), Seq(4)));
    assert_eq!(bench.log().len(), log);
    bench.restart().expect("its own log");
    assert_eq!(
        again(&mut bench, &nameless(), &context),
        expected,
        "also after a restart"
    );
}

/// P4: the sender, the time and the `expected_seq` of a retry may differ.
#[test]
fn retry_is_identified_by_content() {
    let mut bench = free_session(&[]);
    let context = bench.next_context();
    record(&mut bench, &root("a"));
    record(&mut bench, &set("a", "x", json!(1)));
    let later = Context {
        origin: Origin {
            client_id: None,
            user: Some("Mallory".into()),
        },
        now: Timestamp(context.now.0 + 86_400_000),
        expected_seq: Some(Seq::ZERO),
        ..context
    };
    assert!(again(&mut bench, &root("a"), &later).duplicate);
}

/// P4: a retried undo does not undo another step.
#[test]
fn retried_undo_undoes_no_further_step() {
    let mut bench = free_session(&[root("a"), root("b")]);
    let context = bench.next_context();
    record(&mut bench, &undo());
    assert!(again(&mut bench, &undo(), &context).duplicate);
    assert_eq!(bench.session().history().undo_depth(), 1);
    assert_eq!(code(bench.submit_with(&redo(), &context)), "COMMAND_ID_REUSED");
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
    let mut bench = free_session(&[]);
    let context = bench.next_context();
    record(&mut bench, &root("a"));
    let rejection = bench.submit_with(&root("b"), &context).expect_err("another command");
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
    let mut bench = free_session(&[]);
    let context = bench.next_context();
    let command = child("b", "a");
    assert_eq!(code(bench.submit_with(&command, &context)), "NODE_NOT_FOUND");
    record(&mut bench, &root("a"));
    assert!(matches!(bench.submit_with(&command, &context), Ok(Accepted::Change(_))));
    assert!(again(&mut bench, &command, &context).duplicate);
}

/// A command without changes is not recorded, so a retry is decided again.
#[test]
fn unchanged_command_is_decided_again() {
    let mut bench = free_session(&[root("a"), set("a", "x", json!(1))]);
    let context = bench.next_context();
    let command = set("a", "x", json!(1));
    let receipt = again(&mut bench, &command, &context);
    assert_eq!((receipt.duplicate, receipt.first_seq), (false, None));
    record(&mut bench, &set("a", "x", json!(2)));
    assert!(matches!(bench.submit_with(&command, &context), Ok(Accepted::Change(_))));
}
