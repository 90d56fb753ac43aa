//! Sessions with a template: commands are checked against it.

use serde_json::{Value as Json, json};
use talus_actors::domain::{
    command::Command,
    ids::PropertyId,
    testing::sample::{DONE, TASK, blueprint},
};

use super::{
    case::{Case, check_with_template, given},
    commands::{CommandExt, child, delete, link, load, move_node, nameless, node, reorder, root, set, to_roots, unset},
};

/// Creates a project `a` with a task `b`.
fn project() -> Vec<Command> {
    vec![root("a").of("project"), child("b", "a").of("task")]
}

fn uuid_of(node_type: &str, property: &str) -> String {
    let blueprint = blueprint();
    let node_type = blueprint.node_type(node_type).expect("a type");
    node_type.property(property).expect("a property").id.to_string()
}

/// A type is accepted by slug or uuid, in either case, and emitted as uuid. A new node gets each property's default and
/// each select's first option.
#[test]
fn type_resolves_by_slug_or_uuid_with_defaults() {
    let expected = r#"created b at roots[0]: {task} "b" {{task.estimate}: 1, {task.done}: false, {task.priority}: "{task.priority=Low}"}"#;
    check_with_template([
        given([]).when(root("b").of("task")).then([expected]),
        given([]).when(root("b").of(TASK)).then([expected]),
        given([]).when(root("b").of(&TASK.to_uppercase())).then([expected]),
        given([])
            .when(root("b").of("part"))
            .then([r#"created b at roots[0]: {part} "b""#]),
        given([])
            .when(nameless().of("part"))
            .then([r#"created <1.0> at roots[0]: {part} "New Node""#]),
        given([])
            .when(root("b").of("t"))
            .refused("UNKNOWN_NODE_TYPE", r#"the template has no node type "t""#),
        given([])
            .when(root("b").of("Task"))
            .refused("UNKNOWN_NODE_TYPE", r#"the template has no node type "Task""#),
    ]);
}

/// Properties of features are accepted like the template's own.
#[test]
fn feature_properties_are_accepted() {
    check_with_template([
        given([]).when(root("b").of("phase")).then([
            r#"created b at roots[0]: {phase} "b" {{phase.allocations}: {}, {phase.actual_hours}: 0, {phase.estimated_hours}: 0, {phase.status}: "{phase.status=To Do}"}"#,
        ]),
        given([root("b").of("phase")])
            .when(set("b", "status", json!("In Progress")))
            .then([r#"b.{phase.status}/status: "{phase.status=To Do}" -> "{phase.status=In Progress}""#]),
        given([root("b").of("person")])
            .when(set("b", "capacity_monday", json!(8)))
            .unchanged(),
        given([root("b").of("person")])
            .when(set("b", "hourly_rate_monday", json!(8)))
            .then(["b.{person.hourly_rate_monday}/hourly_rate_monday: nothing -> 8"]),
        given([root("b").of("person"), set("b", "hourly_rate_monday", json!(8))])
            .when(set("b", "hourly_rate_monday", json!("")))
            .then(["b.{person.hourly_rate_monday}/hourly_rate_monday: 8 -> null"]),
    ]);
}

/// Initial properties replace the defaults. A property is accepted by slug or uuid, but not by both at once.
#[test]
fn property_resolves_by_slug_or_uuid() {
    check_with_template([
        given([])
            .when(root("b").of("task").with("done", json!(true)).with("estimate", json!("2.5")))
            .then([
                r#"created b at roots[0]: {task} "b" {{task.estimate}: "2.5", {task.done}: true, {task.priority}: "{task.priority=Low}"}"#,
            ]),
        given([]).when(root("b").of("task").with(DONE, json!(true))).then([
            r#"created b at roots[0]: {task} "b" {{task.estimate}: 1, {task.done}: true, {task.priority}: "{task.priority=Low}"}"#,
        ]),
        given([])
            .when(root("b").of("task").with(DONE, json!(true)).with("done", json!(true)))
            .refused(
                "INVALID_REQUEST",
                r#"properties: property "done" is given twice, by slug and by id"#,
            ),
        given([])
            .when(root("b").of("part").with("done", json!(true)))
            .refused("UNKNOWN_PROPERTY", r#"node type "part" has no property "done""#),
        given([])
            .when(root("b").of("task").with("done", json!(1)))
            .refused("INVALID_VALUE", r#""done" must be true or false, not 1"#),
        given([])
            .when(nameless().of("task").with(&uuid_of("task", "name"), json!("Bolt")))
            .then([
                r#"created <1.0> at roots[0]: {task} "Bolt" {{task.estimate}: 1, {task.done}: false, {task.priority}: "{task.priority=Low}"}"#,
            ]),
    ]);
}

/// Events name a property by uuid, together with its slug.
#[test]
fn property_event_contains_uuid_and_slug() {
    let expected = ["b.{task.done}/done: false -> true"];
    check_with_template([
        given(project()).when(set("b", "done", json!(true))).then(expected),
        given(project()).when(set("b", DONE, json!(true))).then(expected),
        given(project())
            .when(set("b", &DONE.to_uppercase(), json!(true)))
            .then(expected),
        given(project())
            .when(unset("b", DONE))
            .then(["b.{task.done}/done: false -> gone"]),
        given([project(), vec![unset("b", "done")]].concat())
            .when(unset("b", "done"))
            .refused("PROPERTY_NOT_FOUND", r#"node b has no property "done""#),
        given(project())
            .when(set("b", "color", json!("red")))
            .refused("UNKNOWN_PROPERTY", r#"node type "task" has no property "color""#),
        given(project())
            .when(set("b", "start", json!("2026-01-01")))
            .refused("UNKNOWN_PROPERTY", r#"node type "task" has no property "start""#),
        given(project())
            .when(unset("b", "color"))
            .refused("PROPERTY_NOT_FOUND", r#"node b has no property "color""#),
    ]);
}

/// The name is accepted by slug or uuid, also for a type without a name property.
#[test]
fn name_resolves_by_slug_or_uuid() {
    let expected = [r#"b.{task.name}/name: "b" -> "Bolt""#];
    check_with_template([
        given(project()).when(set("b", "name", json!("Bolt"))).then(expected),
        given(project())
            .when(set("b", &uuid_of("task", "name"), json!("Bolt")))
            .then(expected),
        given([root("b").of("part")])
            .when(set("b", "name", json!("Bolt")))
            .then([r#"b.name: "b" -> "Bolt""#]),
        given(project())
            .when(set("b", &uuid_of("task", "name"), json!("")))
            .refused(
                "INVALID_VALUE",
                r#""name" must be a name with a character that is not white space, not """#,
            ),
        given(project()).when(unset("b", &uuid_of("task", "name"))).refused(
            "INVALID_VALUE",
            r#""name" must be a name: every node has one, not nothing"#,
        ),
    ]);
}

/// A value that the property does not accept is refused with the accepted values. Null clears a property of any kind.
#[test]
fn invalid_value_is_refused() {
    let refused = |property: &str, value: Json, message: &str| -> Case {
        given(project())
            .when(set("b", property, value))
            .refused("INVALID_VALUE", message)
    };
    check_with_template([
        refused("notes", json!(1), r#""notes" must be a string, not 1"#),
        refused(
            "estimate",
            json!("many"),
            r#""estimate" must be a number or a string that is one, not "many""#,
        ),
        refused(
            "cost",
            json!(true),
            r#""cost" must be a number or a string that is one, not true"#,
        ),
        refused("done", json!("yes"), r#""done" must be true or false, not "yes""#),
        refused(
            "due",
            json!("2026-02-30"),
            r#""due" must be a date as YYYY-MM-DD, or an empty string, not "2026-02-30""#,
        ),
        refused(
            "priority",
            json!("Medium"),
            r#""priority" must be one of "Low", "High", not "Medium""#,
        ),
        refused(
            "owner",
            json!(node("x").to_string()),
            r#""owner" must be the id of an existing node, or a list of them, not "x""#,
        ),
        refused("details", json!([]), r#""details" must be an object, not []"#),
        refused(
            "details",
            json!(vec!["long"; 20]),
            r#""details" must be an object, not a list"#,
        ),
        given(project())
            .when(set("b", "done", json!(null)))
            .then(["b.{task.done}/done: false -> null"]),
        given(project())
            .when(set("b", "priority", json!(null)))
            .then([r#"b.{task.priority}/priority: "{task.priority=Low}" -> null"#]),
        given(project())
            .when(set("b", "mood", json!([1])))
            .then(["b.{task.mood}/mood: nothing -> [1]"]),
        given(project())
            .when(set("b", "due", json!("")))
            .then([r#"b.{task.due}/due: nothing -> """#]),
    ]);
}

/// An option is accepted by id or name and stored by its id.
#[test]
fn option_is_stored_by_id() {
    check_with_template([
        given(project())
            .when(set("b", "priority", json!("High")))
            .then([r#"b.{task.priority}/priority: "{task.priority=Low}" -> "high""#]),
        given(project())
            .when(set("b", "priority", json!("high")))
            .then([r#"b.{task.priority}/priority: "{task.priority=Low}" -> "high""#]),
        given(project()).when(set("b", "priority", json!("Low"))).unchanged(),
        given([project(), vec![set("b", "priority", json!("High"))]].concat())
            .when(set("b", "priority", json!("high")))
            .unchanged(),
    ]);
}

/// A node reference has to name an existing node. It stays after that node is deleted.
#[test]
fn node_reference_requires_existing_node() {
    let (a, c) = (node("a").to_string(), node("c").to_string());
    let pointing = || [project(), vec![root("c").of("part"), set("b", "owner", json!(c))]].concat();
    check_with_template([
        given(project()).when(set("b", "owner", json!(a))).then([r#"b.{task.owner}/owner: nothing -> "a""#]),
        given(project())
            .when(set("b", "owner", json!([a, node("b").to_string()])))
            .then([r#"b.{task.owner}/owner: nothing -> ["a","b"]"#]),
        given(project()).when(set("b", "owner", json!([a, c]))).refused(
            "INVALID_VALUE",
            r#""owner" must be the id of an existing node, or a list of them, not a list"#,
        ),
        given(project()).when(child("c", "a").of("task").with("owner", json!(a))).then([
            r#"created c at a[1]: {task} "c" {{task.owner}: "a", {task.estimate}: 1, {task.done}: false, {task.priority}: "{task.priority=Low}"}"#,
        ]),
        given(pointing()).when(delete("c")).then([r#"deleted c at roots[1]: {part} "c""#]),
        given([pointing(), vec![delete("c")]].concat())
            .when(set("b", "owner", json!(null)))
            .then([r#"b.{task.owner}/owner: "c" -> null"#]),
    ]);
}

/// A node is only accepted under a type that allows it, by any command: as a child or an asset, by slug or uuid.
#[test]
fn child_type_requires_allowing_parent() {
    let message = r#"a node of type "part" may not stand under one of type "project""#;
    check_with_template([
        given([root("a").of("project")])
            .when(child("b", "a").of("part"))
            .refused("CHILD_NOT_ALLOWED", message),
        given([root("a").of("project"), root("b").of("part")])
            .when(link("b", "a"))
            .refused("CHILD_NOT_ALLOWED", message),
        given([root("a").of("project"), root("b").of("part")])
            .when(move_node("b", "a"))
            .refused("CHILD_NOT_ALLOWED", message),
        given([root("a").of("task"), root("b").of("part")])
            .when(link("b", "a"))
            .then(["linked b to a[0], was roots[1]"]),
        given([root("a").of("task"), root("b").of("task")])
            .when(move_node("b", "a"))
            .then(["unlinked b from roots[1]", "linked b to a[0], was roots[1]"]),
        given([root("a").of("part")]).when(child("b", "a").of("part")).refused(
            "CHILD_NOT_ALLOWED",
            r#"a node of type "part" may not stand under one of type "part""#,
        ),
        given([root("a").of("project"), root("b").of("task")])
            .when(link("a", "b"))
            .refused(
                "CHILD_NOT_ALLOWED",
                r#"a node of type "project" may not stand under one of type "task""#,
            ),
        given([root("a").of("task"), child("b", "a").of("part")])
            .when(to_roots("b"))
            .then(["unlinked b from a[0]", "linked b to roots[1], was roots[1]"]),
    ]);
}

/// Loads a graph with types and properties that the template does not contain, as from a file of another template.
fn strange() -> Command {
    let made = super::case::free_session(&[
        root("a").of("project"),
        child("b", "a").of("starship").with("warp", json!(9)),
        child("c", "a").of(TASK).with("warp", json!(8)),
        child("d", "b").of("starship"),
    ]);
    let mut graph = made.session().document().graph.clone();
    // Marked as by the reader of files: the type of "c" is known, but does not have the property.
    let marked = graph.set_orphaned(node("c"), &PropertyId::new("warp"), true);
    marked.expect("the node exists");
    load(graph)
}

/// Unknown types and properties of a loaded graph stay. Their nodes can be moved within their parent, renamed and
/// deleted, but not extended.
#[test]
fn unknown_types_and_properties_are_kept() {
    check_with_template([
        given([strange()]).when(unset("b", "warp")).then(["b.warp: 9 -> gone"]),
        given([strange()]).when(unset("c", "warp")).then(["c.warp: 8 -> gone"]),
        given([strange()])
            .when(set("b", "name", json!("B")))
            .then([r#"b.name: "b" -> "B""#]),
        given([strange()])
            .when(set("b", "warp", json!(1)))
            .refused("UNKNOWN_PROPERTY", r#"node type "starship" has no property "warp""#),
        given([strange()])
            .when(set("c", "warp", json!(1)))
            .refused("UNKNOWN_PROPERTY", r#"node type "task" has no property "warp""#),
        given([strange()])
            .when(reorder("b", 1))
            .then(["unlinked b from a[0]", "linked b to a[1], was roots[1]"]),
        given([strange()]).when(move_node("d", "b").at(0)).unchanged(),
        given([strange()]).when(move_node("d", "a")).refused(
            "CHILD_NOT_ALLOWED",
            r#"a node of type "starship" may not stand under one of type "project""#,
        ),
        given([strange()]).when(child("e", "b").of("task")).refused(
            "CHILD_NOT_ALLOWED",
            r#"a node of type "task" may not stand under one of type "starship""#,
        ),
        given([strange()]).when(delete("b")).then([
            r#"deleted d at b[0]: starship "d""#,
            r#"deleted b at a[0]: starship "b" {warp: 9}"#,
        ]),
    ]);
}
