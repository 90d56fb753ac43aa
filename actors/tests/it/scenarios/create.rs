//! `CreateNode`

use serde_json::json;

use super::{
    case::{check, free_session, given, record},
    commands::{CommandExt, child, nameless, node, root, to_roots},
};

/// A new root is appended to the roots, or inserted at the given index.
#[test]
fn create_inserts_root_at_index() {
    check([
        given([]).when(root("a")).then([r#"created a at roots[0]: t "a""#]),
        given([root("a")])
            .when(root("b"))
            .then([r#"created b at roots[1]: t "b""#]),
        given([root("a")])
            .when(root("b").at(0))
            .then([r#"created b at roots[0]: t "b""#]),
        given([root("a"), root("b")])
            .when(root("c").at(1))
            .then([r#"created c at roots[1]: t "c""#]),
        given([root("a"), root("b")])
            .when(root("c").at(2))
            .then([r#"created c at roots[2]: t "c""#]),
    ]);
}

/// A new child is appended to its parent's children, or inserted at the given index, with a single event and without a
/// link.
#[test]
fn create_inserts_child_at_index() {
    check([
        given([root("a")])
            .when(child("b", "a"))
            .then([r#"created b at a[0]: t "b""#]),
        given([root("a"), child("b", "a")])
            .when(child("c", "a"))
            .then([r#"created c at a[1]: t "c""#]),
        given([root("a"), child("b", "a")])
            .when(child("c", "a").at(0))
            .then([r#"created c at a[0]: t "c""#]),
        given([root("a"), child("b", "a")])
            .when(child("c", "b").at(0))
            .then([r#"created c at b[0]: t "c""#]),
    ]);
}

/// The field `name` takes precedence over a property `name`, and the default is `New Node`. The name is not a property.
#[test]
fn create_name_takes_precedence_over_property() {
    check([
        given([])
            .when(nameless())
            .then([r#"created <1.0> at roots[0]: t "New Node""#]),
        given([])
            .when(nameless().named("Bolt"))
            .then([r#"created <1.0> at roots[0]: t "Bolt""#]),
        given([])
            .when(nameless().with("name", json!("Bolt")))
            .then([r#"created <1.0> at roots[0]: t "Bolt""#]),
        given([])
            .when(nameless().named("Bolt").with("name", json!("Nut")))
            .then([r#"created <1.0> at roots[0]: t "Bolt""#]),
        given([])
            .when(nameless().named("  Größe 日本 "))
            .then([r#"created <1.0> at roots[0]: t "  Größe 日本 ""#]),
    ]);
}

/// A name needs a visible character and must not contain control characters. The field and the property are both
/// checked.
#[test]
fn create_refuses_invalid_names() {
    check([
        given([]).when(root("a").named("")).refused(
            "INVALID_VALUE",
            r#""name" must be a name with a character that is not white space, not """#,
        ),
        given([]).when(root("a").named(" \u{2003}")).refused(
            "INVALID_VALUE",
            "\"name\" must be a name with a character that is not white space, not \" \u{2003}\"",
        ),
        given([]).when(root("a").named("a\nb")).refused(
            "INVALID_VALUE",
            r#""name" must be a name without control characters, not "a\nb""#,
        ),
        given([])
            .when(root("a").with("name", json!(7)))
            .refused("INVALID_VALUE", r#""name" must be a string, not 7"#),
        given([])
            .when(nameless().with("name", json!(null)))
            .refused("INVALID_VALUE", r#""name" must be a string, not null"#),
    ]);
}

/// Without a template every type and property is allowed, under any name. Null is a value.
#[test]
fn create_without_template_allows_all_names() {
    check([
        given([])
            .when(root("a").of("Größe ∞"))
            .then([r#"created a at roots[0]: Größe ∞ "a""#]),
        given([])
            .when(root("a").with("b", json!([1, {"c": null}])).with("a", json!(null)))
            .then([r#"created a at roots[0]: t "a" {a: null, b: [1,{"c":null}]}"#]),
    ]);
}

/// An unknown parent, a taken id and an invalid index are refused.
#[test]
fn create_refuses_invalid_references() {
    check([
        given([])
            .when(child("b", "a"))
            .refused("NODE_NOT_FOUND", "node a does not exist"),
        given([root("a")])
            .when(root("a"))
            .refused("NODE_EXISTS", "node a exists already"),
        given([root("a")])
            .when(child("a", "a"))
            .refused("NODE_EXISTS", "node a exists already"),
        given([root("a")])
            .when(root("b").at(2))
            .refused("INDEX_OUT_OF_RANGE", "index 2 is not between 0 and 1"),
        given([root("a")])
            .when(child("b", "a").at(1))
            .refused("INDEX_OUT_OF_RANGE", "index 1 is not between 0 and 0"),
        given([])
            .when(root("b").at(-1))
            .refused("INDEX_OUT_OF_RANGE", "index -1 is not between 0 and 0"),
        given([]).when(root("b").at(i64::MIN)).refused(
            "INDEX_OUT_OF_RANGE",
            "index -9223372036854775808 is not between 0 and 0",
        ),
        given([])
            .when(root("b").at(i64::MAX))
            .refused("INDEX_OUT_OF_RANGE", "index 9223372036854775807 is not between 0 and 0"),
    ]);
}

/// The receipt names the created node, with a given or a derived id.
#[test]
fn create_receipt_names_node() {
    let mut harness = free_session(&[]);
    let context = harness.next_context();
    let minted = record(&mut harness, &nameless());
    assert_eq!(minted.outcome.node_ids, [context.command_id.node(0)]);
    let chosen = record(&mut harness, &root("b"));
    assert_eq!(chosen.outcome.node_ids, [node("b")]);
    assert_eq!(
        (chosen.receipt().first_seq.map(|seq| seq.0), chosen.receipt().seq.0),
        (Some(3), 4)
    );
}

/// Indices are correct among 1,000 siblings.
#[test]
fn create_places_nodes_among_thousand_siblings() {
    let mut commands = vec![root("a")];
    commands.extend((0..1_000).map(|number| {
        let mut create = child("b", "a").named(&format!("{number}"));
        if let talus_actors::domain::command::Command::CreateNode(create) = &mut create {
            create.node_id = None;
        }
        create
    }));
    check([
        given(commands.clone())
            .when(child("b", "a").at(500))
            .then([r#"created b at a[500]: t "b""#]),
        given([commands, vec![child("b", "a").at(617)]].concat())
            .when(to_roots("b"))
            .then(["unlinked b from a[617]", "linked b to roots[1], was roots[1]"]),
    ]);
}
