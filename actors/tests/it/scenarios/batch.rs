//! `Batch`: atomic, and one step of undo (P5)

use serde_json::json;
use talus_actors::domain::{command::Command, graph::Graph, testing::sample};

use super::{
    case::{check, code, event_lines, free_session, given, record},
    commands::{
        CommandExt, batch, child, delete, link, load, move_node, nameless, node, redo, reorder, root, save, set, undo,
        unlink, unset,
    },
};

/// P5: later commands of a batch see the effects of earlier commands and can reference new nodes.
#[test]
fn batch_commands_see_earlier_effects() {
    check([
        given([])
            .when(batch([
                root("a"),
                child("b", "a"),
                set("b", "color", json!("red")),
                child("c", "b"),
            ]))
            .then([
                r#"created a at roots[0]: t "a""#,
                r#"created b at a[0]: t "b""#,
                r#"b.color: nothing -> "red""#,
                r#"created c at b[0]: t "c""#,
            ]),
        given([root("a"), child("b", "a")])
            .when(batch([delete("b"), root("b"), link("a", "b")]))
            .then([
                r#"deleted b at a[0]: t "b""#,
                r#"created b at roots[1]: t "b""#,
                "linked a to b[0], was roots[0]",
            ]),
        given([root("a"), child("b", "a")])
            .when(batch([unlink("b", "a"), link("a", "b")]))
            .then(["unlinked b from a[0]", "linked a to b[0], was roots[0]"]),
    ]);
}

/// New nodes without an id get a derived id each, the same for a retry.
#[test]
fn batch_derives_distinct_node_ids() {
    check([given([]).when(batch([nameless(), root("b"), nameless()])).then([
        r#"created <1.0> at roots[0]: t "New Node""#,
        r#"created b at roots[1]: t "b""#,
        r#"created <1.1> at roots[2]: t "New Node""#,
    ])]);
    let mut harness = free_session(&[]);
    let command_id = harness.next_context().command_id;
    let recorded = record(&mut harness, &batch([nameless(), root("b"), nameless(), delete("b")]));
    let named = [command_id.node(0), node("b"), command_id.node(1)];
    assert_eq!(
        recorded.outcome.node_ids, named,
        "the outcome has the ids of all created nodes"
    );
}

/// P5: the first refused command refuses the batch, and the rejection names its index.
#[test]
fn batch_is_refused_at_first_refusal() {
    check([
        given([root("a")])
            .when(batch([child("b", "a"), delete("x"), delete("y")]))
            .refused("NODE_NOT_FOUND", "command 1 of the batch: node x does not exist"),
        given([root("a")])
            .when(batch([root("a")]))
            .refused("NODE_EXISTS", "command 0 of the batch: node a exists already"),
        given([root("a"), child("b", "a")])
            .when(batch([delete("a"), set("b", "x", json!(1))]))
            .refused("NODE_NOT_FOUND", "command 1 of the batch: node b does not exist"),
        given([root("a"), root("b")])
            .when(batch([move_node("b", "a"), move_node("a", "b")]))
            .refused("CYCLE", "command 1 of the batch: node a cannot go below itself, to b"),
        given([root("a")])
            .when(batch([set("a", "x", json!(1)), unset("a", "x"), unset("a", "x")]))
            .refused(
                "PROPERTY_NOT_FOUND",
                r#"command 2 of the batch: node a has no property "x""#,
            ),
    ]);
}

/// Commands other than commands on the graph are refused in a batch, because they are not undone event by event.
#[test]
fn batch_accepts_only_graph_commands() {
    let refused = |message: &'static str, command: Command| {
        let message = format!("command 1 of the batch: commands: {message}");
        given([root("a")])
            .when(batch([child("b", "a"), command]))
            .refused("INVALID_REQUEST", &message)
    };
    check([
        refused("a batch is not part of a batch", batch([])),
        refused("undo and redo are not part of a batch", undo()),
        refused("undo and redo are not part of a batch", redo()),
        refused("a load is not part of a batch", load(Graph::default())),
        refused("a save is not part of a batch", save("demo.json", 0)),
        refused(
            "the beginning of a project is not part of a batch",
            sample::begin_project(),
        ),
    ]);
    let mut harness = free_session(&[root("a")]);
    let rejection = harness.submit(&batch([undo()])).expect_err("no part of a batch");
    assert!(rejection.is_malformed(), "subscribers are not notified");
    let rejection = harness.submit(&batch([delete("x")])).expect_err("not there");
    assert!(!rejection.is_malformed(), "subscribers are notified");
}

/// An empty batch and a batch without changes leave the session unchanged.
#[test]
fn batch_without_changes_is_not_recorded() {
    check([
        given([]).when(batch([])).unchanged(),
        given([root("a").with("x", json!(1))])
            .when(batch([set("a", "x", json!(1)), reorder("a", 0)]))
            .unchanged(),
        given([root("a")])
            .when(batch([set("a", "x", json!(1)), unset("a", "x")]))
            .then(["a.x: nothing -> 1", "a.x: 1 -> gone"]),
    ]);
}

/// P5: undo reverses the whole batch, last command first, and redo repeats it.
#[test]
fn batch_undoes_as_one_step() {
    let mut harness = free_session(&[root("a"), child("b", "a"), root("c")]);
    let done = record(
        &mut harness,
        &batch([
            child("d", "b"),
            move_node("b", "c"),
            set("b", "name", json!("B")),
            delete("a"),
        ]),
    );
    assert_eq!(harness.session().history().undo_depth(), 4);
    let undone = record(&mut harness, &undo());
    assert_eq!(
        event_lines(&undone.events),
        [
            r#"created a at roots[0]: t "a""#,
            r#"b.name: "B" -> "b""#,
            "unlinked b from c[0]",
            "linked b to a[0], was roots[2]",
            r#"deleted d at b[0]: t "d""#,
        ]
    );
    assert_eq!(undone.target.map(|target| target.command_id), Some(done.command_id));
    assert_eq!(record(&mut harness, &redo()).events, done.events);
}

/// An unlink and a link within one batch are undone as a move.
#[test]
fn batch_of_unlink_and_link_is_undone() {
    let mut harness = free_session(&[root("a"), child("b", "a"), child("c", "a"), root("d")]);
    record(&mut harness, &batch([unlink("b", "a"), link("b", "d")]));
    let undone = record(&mut harness, &undo());
    assert_eq!(
        event_lines(&undone.events),
        ["unlinked b from d[0]", "linked b to a[0], was roots[2]"]
    );
    assert_eq!(code(harness.submit(&batch([unlink("b", "d")]))), "NOT_LINKED");
}
