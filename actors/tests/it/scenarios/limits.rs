//! Limits (P9): a value at a limit is accepted. A value beyond it is refused with the limit's name and its allowed
//! value.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use talus_actors::domain::{limits::Limits, rejection::Rejection, session::Rules, testing::sample};

use super::{
    case::{Case, check_with, given, harness},
    commands::{CommandExt, batch, child, delete, link, move_node, root, set, undo},
};

fn small() -> Limits {
    Limits {
        name_chars_max: 4,
        value_bytes_max: 200,
        properties_per_node_max: 2,
        depth_max: 3,
        nodes_max: 4,
        batch_commands_max: 2,
        ..Limits::default()
    }
}

fn rules(limits: Limits) -> Rules {
    Rules {
        blueprint: None,
        limits: Arc::new(limits),
    }
}

fn check<const N: usize>(cases: [Case; N]) {
    check_with(&rules(small()), cases);
}

fn exceeded(found: usize, limit: &str, max: usize) -> String {
    format!("{found} is more than {limit} allows, which is {max}")
}

/// Names are counted in characters, not bytes.
#[test]
fn name_limit_counts_characters() {
    let too_long = exceeded(5, "name_chars_max", 4);
    check([
        given([])
            .when(root("a").named("äöü日"))
            .then([r#"created a at roots[0]: t "äöü日""#]),
        given([])
            .when(root("a").named("abcde"))
            .refused("LIMIT_EXCEEDED", &too_long),
        given([])
            .when(root("a").with("name", json!("abcde")))
            .refused("LIMIT_EXCEEDED", &too_long),
        given([root("a")])
            .when(set("a", "name", json!("abcd")))
            .then([r#"a.name: "a" -> "abcd""#]),
        given([root("a")])
            .when(set("a", "name", json!("abcde")))
            .refused("LIMIT_EXCEEDED", &too_long),
    ]);
}

/// Values are counted in bytes of JSON and in levels.
#[test]
fn value_limits_count_bytes_and_levels() {
    let nested = |levels: usize| -> Json {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
            .parse()
            .expect("lists")
    };
    let too_large = exceeded(201, "value_bytes_max", 200);
    let too_deep = exceeded(65, "value_depth_max", 64);
    check([
        given([root("a")])
            .when(set("a", "x", json!("x".repeat(198))))
            .accepted(),
        given([root("a")])
            .when(set("a", "x", json!("x".repeat(199))))
            .refused("LIMIT_EXCEEDED", &too_large),
        given([])
            .when(root("a").with("x", json!("x".repeat(199))))
            .refused("LIMIT_EXCEEDED", &too_large),
        given([root("a")]).when(set("a", "x", nested(64))).accepted(),
        given([root("a")])
            .when(set("a", "x", nested(65)))
            .refused("LIMIT_EXCEEDED", &too_deep),
    ]);
}

/// Properties of a node: overwriting one does not increase the count, and the name does not count.
#[test]
fn property_limit_counts_properties() {
    let two = || [root("a").with("x", json!(1)).with("y", json!(2))];
    let too_many = exceeded(3, "properties_per_node_max", 2);
    check([
        given(two()).when(set("a", "x", json!(3))).then(["a.x: 1 -> 3"]),
        given(two())
            .when(set("a", "name", json!("b")))
            .then([r#"a.name: "a" -> "b""#]),
        given(two())
            .when(set("a", "z", json!(3)))
            .refused("LIMIT_EXCEEDED", &too_many),
        given([])
            .when(root("a").with("x", json!(1)).with("y", json!(2)).with("z", json!(3)))
            .refused("LIMIT_EXCEEDED", &too_many),
        given([])
            .when(
                root("a")
                    .with("x", json!(1))
                    .with("y", json!(2))
                    .with("name", json!("b")),
            )
            .accepted(),
    ]);
}

/// A template's defaults count as properties of a node.
#[test]
fn property_limit_counts_defaults() {
    let rules = Rules {
        blueprint: Some(sample::blueprint()),
        ..rules(small())
    };
    check_with(
        &rules,
        [given([])
            .when(root("a").of("task"))
            .refused("LIMIT_EXCEEDED", &exceeded(3, "properties_per_node_max", 2))],
    );
}

/// The depth limit applies to moved subtrees, by any command. A subtree that stays at its depth can be moved.
#[test]
fn depth_limit_counts_levels() {
    let line = || [root("a"), child("b", "a"), child("c", "b")];
    let pair = || [root("a"), child("b", "a"), root("c"), child("d", "c")];
    let too_deep = exceeded(4, "depth_max", 3);
    check([
        given(line()).when(child("d", "c")).refused("LIMIT_EXCEEDED", &too_deep),
        given(line()).when(child("d", "b")).accepted(),
        given(pair()).when(link("c", "b")).refused("LIMIT_EXCEEDED", &too_deep),
        given(pair())
            .when(move_node("c", "b"))
            .refused("LIMIT_EXCEEDED", &too_deep),
        given(pair()).when(link("c", "a")).accepted(),
        given(pair()).when(move_node("d", "b")).accepted(),
        given([&line()[..], &[child("d", "b")]].concat())
            .when(move_node("c", "b").at(1))
            .then(["unlinked c from b[0]", "linked c to b[1], was roots[1]"]),
    ]);
}

/// Nodes of a session: deleting a node makes room for another.
#[test]
fn node_limit_counts_nodes() {
    let four = || [root("a"), root("b"), root("c"), root("d")];
    let too_many = exceeded(5, "nodes_per_session_max", 4);
    check([
        given(four()).when(root("e")).refused("LIMIT_EXCEEDED", &too_many),
        given(four()).when(child("e", "a")).refused("LIMIT_EXCEEDED", &too_many),
        given([&four()[..], &[delete("d")]].concat()).when(root("e")).accepted(),
        given([&four()[..], &[delete("d")]].concat())
            .when(batch([root("e"), root("f")]))
            .refused("LIMIT_EXCEEDED", &format!("command 1 of the batch: {too_many}")),
        given(four()).when(batch([delete("a"), root("e")])).accepted(),
    ]);
}

/// Number of commands in a batch.
#[test]
fn batch_limit_counts_commands() {
    check([
        given([]).when(batch([root("a"), root("b")])).accepted(),
        given([])
            .when(batch([root("a"), root("b"), root("c")]))
            .refused("LIMIT_EXCEEDED", &exceeded(3, "batch_commands_max", 2)),
    ]);
}

/// A rejection contains the limit, its allowed value and the actual value, for programs.
#[test]
fn rejection_names_limit() {
    let mut harness = harness(&rules(small()), &[]);
    match harness.submit(&root("a").named("abcde")) {
        Err(Rejection::LimitExceeded(exceeded)) => {
            assert_eq!((exceeded.limit, exceeded.max, exceeded.found), ("name_chars_max", 4, 5));
        }
        other => unreachable!("{other:?}"),
    }
}

/// Undo can restore a state that reaches the limits.
#[test]
fn undo_restores_state_at_limits() {
    let four = [root("a"), child("b", "a"), child("c", "b"), root("d")];
    check([given([&four[..], &[delete("a")]].concat()).when(undo()).accepted()]);
}

/// The default limits are the limits of the protocol.
#[test]
fn default_limits_match_protocol() {
    let limits = Limits::default();
    assert_eq!((limits.name_chars_max, limits.value_bytes_max), (512, 64 * 1024));
    assert_eq!(
        (limits.properties_per_node_max, limits.depth_max, limits.nodes_max),
        (256, 256, 100_000)
    );
    assert_eq!(
        (
            limits.batch_commands_max,
            limits.undo_depth_max,
            limits.replay_window_events
        ),
        (1_000, 1_000, 10_000)
    );
    assert_eq!(limits.replay_window_bytes_max, 16 << 20);
}
