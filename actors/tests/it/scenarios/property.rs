//! `UpdateProperty` and `DeleteProperty` without a template

use serde_json::{Value as Json, json};
use talus_actors::domain::event::Event;

use super::{
    case::{check, event_lines, free_session, given, record},
    commands::{CommandExt, node, redo, root, set, undo, unset},
};

fn number(text: &str) -> Json {
    text.parse().expect("a number")
}

/// Events contain the previous value in the hub. A property that was not set has none, which differs from null.
#[test]
fn property_event_contains_previous_value() {
    check([
        given([root("a")])
            .when(set("a", "color", json!("red")))
            .then([r#"a.color: nothing -> "red""#]),
        given([root("a"), set("a", "color", json!("red"))])
            .when(set("a", "color", json!({"r": 255})))
            .then([r#"a.color: "red" -> {"r":255}"#]),
        given([root("a")])
            .when(set("a", "color", json!(null)))
            .then(["a.color: nothing -> null"]),
        given([root("a").with("color", json!(null))])
            .when(set("a", "color", json!(1)))
            .then(["a.color: null -> 1"]),
        given([root("a").with("color", json!(1))])
            .when(set("a", "color", json!(null)))
            .then(["a.color: 1 -> null"]),
    ]);
}

/// Setting an equal value changes nothing. Numbers with different spellings differ.
#[test]
fn property_with_equal_value_is_unchanged() {
    check([
        given([root("a").with("size", number("1.0"))])
            .when(set("a", "size", number("1.0")))
            .unchanged(),
        given([root("a").with("size", number("1.0"))])
            .when(set("a", "size", number("1")))
            .then(["a.size: 1.0 -> 1"]),
        given([root("a").with("size", json!(null))])
            .when(set("a", "size", json!(null)))
            .unchanged(),
        given([root("a").with("size", json!({"a": 1, "b": [2]}))])
            .when(set("a", "size", json!({"b": [2], "a": 1})))
            .unchanged(),
        given([root("a")]).when(set("a", "name", json!("a"))).unchanged(),
    ]);
}

/// Numbers keep all digits.
#[test]
fn property_numbers_keep_digits() {
    check([
        given([root("a")])
            .when(set("a", "n", number("123456789012345678901234567890.10")))
            .then(["a.n: nothing -> 123456789012345678901234567890.10"]),
        given([root("a").with("n", number("9007199254740993"))])
            .when(set("a", "n", number("-0")))
            .then(["a.n: 9007199254740993 -> -0"]),
    ]);
}

/// Setting the property `name` only renames the node.
#[test]
fn property_name_renames_node() {
    check([
        given([root("a")])
            .when(set("a", "name", json!("Bolt")))
            .then([r#"a.name: "a" -> "Bolt""#]),
        given([root("a")]).when(set("a", "name", json!(" "))).refused(
            "INVALID_VALUE",
            r#""name" must be a name with a character that is not white space, not " ""#,
        ),
        given([root("a")]).when(set("a", "name", json!("a\u{7f}"))).refused(
            "INVALID_VALUE",
            "\"name\" must be a name without control characters, not \"a\u{7f}\"",
        ),
        given([root("a")])
            .when(set("a", "name", json!(null)))
            .refused("INVALID_VALUE", r#""name" must be a string, not null"#),
    ]);
    let mut harness = free_session(&[root("a"), set("a", "name", json!("Bolt"))]);
    let content = |harness: &talus_actors::domain::testing::harness::Harness| {
        let node = harness
            .session()
            .document()
            .graph
            .node(node("a"))
            .expect("the node exists")
            .clone();
        (node.content.name.to_string(), node.content.properties.len())
    };
    assert_eq!(content(&harness), ("Bolt".to_owned(), 0));
    record(&mut harness, &undo());
    assert_eq!(
        content(&harness),
        ("a".to_owned(), 0),
        "undo of a rename restores the name"
    );
}

/// A deleted property is absent, not null.
#[test]
fn deleted_property_is_absent() {
    check([
        given([root("a").with("color", json!("red"))])
            .when(unset("a", "color"))
            .then([r#"a.color: "red" -> gone"#]),
        given([root("a").with("color", json!(null))])
            .when(unset("a", "color"))
            .then(["a.color: null -> gone"]),
        given([root("a").with("color", json!(1)), unset("a", "color")])
            .when(set("a", "color", json!(2)))
            .then(["a.color: nothing -> 2"]),
        given([root("a")])
            .when(unset("a", "color"))
            .refused("PROPERTY_NOT_FOUND", r#"node a has no property "color""#),
        given([root("a").with("color", json!(1)), unset("a", "color")])
            .when(unset("a", "color"))
            .refused("PROPERTY_NOT_FOUND", r#"node a has no property "color""#),
        given([root("a")]).when(unset("a", "name")).refused(
            "INVALID_VALUE",
            r#""name" must be a name: every node has one, not nothing"#,
        ),
    ]);
}

/// Properties of unknown nodes are refused.
#[test]
fn property_commands_refuse_unknown_nodes() {
    check([
        given([])
            .when(set("a", "x", json!(1)))
            .refused("NODE_NOT_FOUND", "node a does not exist"),
        given([])
            .when(unset("a", "x"))
            .refused("NODE_NOT_FOUND", "node a does not exist"),
    ]);
}

/// Undo deletes a new property, sets a deleted one, and restores a changed one.
#[test]
fn property_undo_restores_value() {
    let mut harness = free_session(&[root("a")]);
    let set_it = record(&mut harness, &set("a", "color", json!("red")));
    assert!(matches!(
        &set_it.events[..],
        [Event::PropertyChanged { before: None, .. }]
    ));
    assert_eq!(
        event_lines(&record(&mut harness, &undo()).events),
        [r#"a.color: "red" -> gone"#]
    );
    assert_eq!(
        event_lines(&record(&mut harness, &redo()).events),
        [r#"a.color: nothing -> "red""#]
    );
    record(&mut harness, &set("a", "color", json!("blue")));
    assert_eq!(
        event_lines(&record(&mut harness, &undo()).events),
        [r#"a.color: "blue" -> "red""#]
    );
    record(&mut harness, &unset("a", "color"));
    assert_eq!(
        event_lines(&record(&mut harness, &undo()).events),
        [r#"a.color: nothing -> "red""#]
    );
}
