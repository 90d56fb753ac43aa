//! Tests that import every format, refuse every fault, and import an exported file unchanged.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use talus_actors::domain::{
    blueprint::Blueprint,
    document::Extras,
    graph::Graph,
    ids::{Epoch, NodeId, Seq, SessionId},
    limits::Limits,
};

use super::*;
use crate::templates::TemplateStore;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
const OWN_TEMPLATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/templates");
const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");

fn template(dir: &str, id: &str) -> Option<Arc<Blueprint>> {
    TemplateStore::new(dir.into()).load(&id.parse().ok()?).ok()
}

fn fixture(name: &str) -> Json {
    let bytes = std::fs::read(format!("{FIXTURES}/{name}")).expect("a fixture");
    parse_document(&bytes, 100).expect("JSON")
}

fn named_template(document: &Json) -> Option<String> {
    let named = template_in_force(document).expect("names it as it should");
    named.map(|id| id.to_string())
}

fn read(document: Json, blueprint: Option<&Blueprint>) -> Imported {
    import(document, vocabulary(blueprint), &Limits::default(), Strictness::File).expect("is a graph")
}

fn written(imported: &Imported, blueprint: Option<&Blueprint>) -> Json {
    let extras: Extras = Arc::new(imported.extras.clone());
    let bytes = project_file(&ProjectDocument {
        session_id: SessionId::new(uuid::Uuid::nil()),
        epoch: Epoch::new(7),
        seq: Seq(9),
        project_id: &"p".parse().expect("a slug"),
        project_name: Some("P"),
        template_id: None,
        extras: &extras,
        graph: &imported.graph,
        vocabulary: vocabulary(blueprint),
    });
    parse_document(&bytes, 100).expect("JSON")
}

/// Returns the tree as indented names.
fn outline(graph: &Graph) -> Vec<String> {
    let line = |(id, node): (NodeId, &talus_actors::domain::graph::Node)| {
        format!("{}{}", " ".repeat(graph.depth(id) - 1), node.content.name)
    };
    graph.walk(None).nodes().map(line).collect()
}

#[test]
fn import_reads_newer_format_and_reports_orphans() {
    let blueprint = template(OWN_TEMPLATES, "software_project").expect("ships");
    let imported = read(fixture("new_shape.json"), Some(&blueprint));
    assert_eq!(outline(&imported.graph), ["Shop", " First", " Second", "  Unknown"]);
    assert_eq!(imported.project_name.as_deref(), Some("Shop"));
    assert_eq!(
        imported.extras.keys().map(|key| &**key).collect::<Vec<_>>(),
        ["blocking_relationships", "expanded_map", "filter_sets"]
    );
    let first = NodeId::new(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, b"task-a"));
    let first_node = imported.graph.node(first).expect("a name became an id");
    let task = blueprint.node_type("task").expect("ships");
    assert_eq!(first_node.content.type_id, task.id);
    let points = &task.property("points").expect("ships").id;
    let points = first_node.content.properties.get(points).expect("kept");
    assert_eq!(serde_json::to_string(points).expect("JSON"), "3");
    assert_eq!(
        serde_json::to_value(&first_node.content.metadata).expect("JSON"),
        json!({"note": "kept", "orphaned_properties": ["long_gone"]})
    );
    let second: NodeId = "22222222-2222-4222-8222-222222222222".parse().expect("a uuid");
    let blocked_by = &task.property("blocked_by").expect("ships").id;
    let properties = &imported.graph.node(second).expect("kept").content.properties;
    let reference = properties.get(blocked_by).expect("kept");
    assert_eq!(
        reference.as_text(),
        Some(first.to_string().as_str()),
        "a reference follows the id"
    );
    let told: Vec<_> = imported
        .orphans
        .iter()
        .map(|orphan| (orphan.unknown_type, orphan.properties.len()))
        .collect();
    assert_eq!(told, [(false, 1), (true, 0)]);
}

#[test]
fn import_reads_older_format_with_its_template() {
    let document = fixture("old_shape.json");
    assert_eq!(named_template(&document).as_deref(), Some("vehicle_restoration"));
    let blueprint = template(OWN_TEMPLATES, "vehicle_restoration").expect("ships");
    let imported = read(document, Some(&blueprint));
    // One child is named only by its parent, the other child names only its parent.
    assert_eq!(outline(&imported.graph), ["Bronco", " Engine", " Brakes"]);
    assert!(imported.extras.is_empty() && imported.orphans.is_empty());
}

#[test]
fn import_reads_own_format_and_alternative_field_names() {
    let a = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
    let b = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb";
    let node = |id: &str, name: &str| json!({"id": id, "type": "t", "name": name});
    let two = |edges: Json| json!({"nodes": [node(a, "A"), node(b, "B")], "edges": edges});
    for document in [
        json!({"roots": [{"id": a, "blueprint_type_id": "t", "name": "A", "children": [{"id": b, "type": "t", "label": "B"}]}]}),
        json!({"graph": {"roots": [{"id": a, "type": "t", "name": "A", "children": [{"id": b, "type": "t", "name": "B", "parent_id": a}]}]}}),
        two(json!([{"source": a, "target": b}])),
        two(json!([{"parent_id": a, "child_id": b}])),
        two(json!([{"parent": a, "child": b}])),
        json!({"nodes": [{"id": a, "type": "t", "name": "A", "childIds": [b]}, node(b, "B")]}),
        json!({"nodes": [node(a, "A"), {"id": b, "type": "t", "name": "B", "parentId": a}]}),
        json!({"nodes": {a: {"type": "t", "name": "A", "children": [b]}, b: {"type": "t", "properties": {"name": "B"}, "parent_id": a}}}),
    ] {
        assert_eq!(outline(&read(document.clone(), None).graph), ["A", " B"], "{document}");
    }
}

#[test]
fn import_refuses_faulty_graphs_with_the_path() {
    let (a, b, c) = (
        "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
        "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb",
        "c",
    );
    let node = |id: &str, children: &[&str]| json!({"id": id, "type": "t", "name": "x", "children": children});
    let nodes = |nodes: &[Json]| json!({ "nodes": nodes });
    for (document, path) in [
        (json!([]), ""),
        (json!({}), "roots"),
        (json!({"graph": {}}), "graph"),
        (json!({"graph": []}), "graph"),
        (json!({"nodes": 7}), "nodes"),
        (json!({"roots": {}}), "roots"),
        (json!({"graph": {"nodes": [7]}}), "graph.nodes[0]"),
        (nodes(&[json!({"type": "t"})]), "nodes[0].id"),
        (nodes(&[json!({"id": 7, "type": "t"})]), "nodes[0].id"),
        (nodes(&[json!({"id": a})]), "nodes[0].type"),
        (nodes(&[json!({"id": a, "type": 7})]), "nodes[0].type"),
        (
            nodes(&[json!({"id": a, "type": "t", "properties": []})]),
            "nodes[0].properties",
        ),
        (
            nodes(&[json!({"id": a, "type": "t", "children": {}})]),
            "nodes[0].children",
        ),
        (nodes(&[node(a, &[]), node(a, &[])]), "nodes[1].id"),
        (nodes(&[node(a, &[b])]), "nodes[0].children[0]"),
        (nodes(&[node(a, &[c, c]), node(c, &[])]), "nodes[0].children[1]"),
        (
            nodes(&[node(a, &[c]), node(b, &[c]), node(c, &[])]),
            "nodes[1].children[0]",
        ),
        (nodes(&[node(a, &[b]), node(b, &[a])]), "nodes[0]"),
        (nodes(&[node(c, &[]), node(a, &[a])]), "nodes[1]"),
        (
            json!({"nodes": {"x": {"type": "t", "parent_id": "y"}}}),
            "nodes[\"x\"].parent_id",
        ),
        (json!({"nodes": [node(a, &[])], "edges": [{}]}), "edges[0]"),
        (
            json!({"nodes": [node(a, &[])], "edges": [{"source": a, "target": b}]}),
            "edges[0]",
        ),
        (
            json!({"roots": [{"id": a, "type": "t", "children": [{"type": "t"}]}]}),
            "roots[0].children[0].id",
        ),
    ] {
        match import(document.clone(), vocabulary(None), &Limits::default(), Strictness::File) {
            Err(ImportError::Invalid { path: found, .. }) => assert_eq!(found, path, "{document}"),
            other => unreachable!("{document}: {other:?}"),
        }
    }
}

#[test]
fn import_refuses_large_graphs_with_the_limit() {
    let limits = Limits {
        nodes_max: 3,
        depth_max: 2,
        name_chars_max: 3,
        value_bytes_max: 10,
        properties_per_node_max: 1,
        ..Limits::default()
    };
    let node = |id: &str, rest: Json| {
        let mut node = json!({"id": id, "type": "t", "name": "x"});
        node.as_object_mut()
            .expect("an object")
            .extend(rest.as_object().expect("an object").clone());
        node
    };
    for (document, limit, path) in [
        (
            json!({"nodes": (["a", "b", "c", "d"].map(|id| node(id, json!({}))))}),
            "nodes_per_session_max",
            "nodes[3]",
        ),
        (
            json!({"nodes": [node("a", json!({"children": ["b"]})), node("b", json!({"children": ["c"]})), node("c", json!({}))]}),
            "depth_max",
            "nodes[2]",
        ),
        (
            json!({"roots": [node("a", json!({"children": [node("b", json!({"children": [node("c", json!({}))]}))]}))]}),
            "depth_max",
            "roots[0].children[0].children[0]",
        ),
        (
            json!({"nodes": [node("a", json!({"name": "long"}))]}),
            "name_chars_max",
            "nodes[0].name",
        ),
        (
            json!({"nodes": [node("a", json!({"properties": {"p": "0123456789"}}))]}),
            "value_bytes_max",
            "nodes[0].properties.p",
        ),
        (
            json!({"nodes": [node("a", json!({"properties": {"p": 1, "q": 2}}))]}),
            "properties_per_node_max",
            "nodes[0].properties",
        ),
    ] {
        match import(document.clone(), vocabulary(None), &limits, Strictness::File) {
            Err(ImportError::Limit { path: found, exceeded }) => {
                assert_eq!((exceeded.limit, found.as_str()), (limit, path));
            }
            other => unreachable!("{document}: {other:?}"),
        }
    }
}

#[test]
fn import_gives_nameless_nodes_a_name() {
    for (node, name) in [
        (json!({"id": "a", "type": "t"}), "New Node"),
        (json!({"id": "a", "type": "t", "name": "  "}), "New Node"),
        (json!({"id": "a", "type": "t", "name": null}), "New Node"),
        (json!({"id": "a", "type": "t", "name": 7}), "7"),
        (json!({"id": "a", "type": "t", "name": "a\tb"}), "a b"),
        (json!({"id": "a", "type": "t", "name": null, "label": "L"}), "L"),
        (json!({"id": "a", "type": "t", "properties": {"name": 1.5}}), "1.5"),
        (
            json!({"id": "a", "type": "t", "name": null, "properties": {"name": "P"}}),
            "P",
        ),
    ] {
        assert_eq!(outline(&read(json!({ "nodes": [node] }), None).graph), [name]);
    }
}

#[test]
fn export_then_import_is_lossless() {
    for (name, template_id) in [
        ("new_shape.json", "software_project"),
        ("old_shape.json", "vehicle_restoration"),
    ] {
        let blueprint = template(OWN_TEMPLATES, template_id);
        for blueprint in [blueprint.as_deref(), None] {
            let once = read(fixture(name), blueprint);
            let file = written(&once, blueprint);
            assert_eq!(file["format"], "talus-hub/1");
            assert_eq!((&file["seq"], &file["epoch"]), (&json!(9), &json!("00000007")));
            let again = read(file, blueprint);
            assert_eq!(again.graph, once.graph, "{name}");
            assert_eq!((again.extras, again.orphans), (once.extras, once.orphans), "{name}");
        }
    }
}

#[test]
fn export_keeps_numbers_digit_by_digit() {
    let file = written(&read(fixture("new_shape.json"), None), None);
    assert_eq!(
        file["filter_sets"][0]["rules"].to_string(),
        "[1.50,12345678901234567890123]"
    );
}

#[test]
fn predecessor_files_import_and_export_losslessly() {
    let dir = std::path::Path::new(REAL).join("projects");
    if !dir.is_dir() {
        return;
    }
    for entry in std::fs::read_dir(dir).expect("readable") {
        let path = entry.expect("an entry").path();
        let document = parse_document(&std::fs::read(&path).expect("readable"), 100).expect("JSON");
        let blueprint = named_template(&document).and_then(|id| template(&format!("{REAL}/templates"), &id));
        let nodes = document["graph"]["nodes"].as_array().expect("a list").clone();
        let extras = document.as_object().expect("an object").len() - 2;
        let once = read(document, blueprint.as_deref());
        assert_eq!(once.graph.len(), nodes.len(), "{path:?}: every node is kept");
        assert_eq!(once.extras.len(), extras, "{path:?}: what is not ours is kept");
        for node in &nodes {
            let id: NodeId = node["id"].as_str().expect("an id").parse().expect("a uuid");
            let found = once.graph.node(id).expect("ids are kept");
            let children: Vec<String> = found.children().iter().map(|child| child.to_string()).collect();
            assert_eq!(
                json!(children),
                node["children"],
                "{path:?}: children are kept in their order"
            );
        }
        let again = read(written(&once, blueprint.as_deref()), blueprint.as_deref());
        assert_eq!((again.graph, again.extras), (once.graph, once.extras), "{path:?}");
    }
}

#[test]
fn import_of_100_000_nodes_is_linear() {
    let chain = (0..255).rev().fold(
        json!([]),
        |children, number| json!([{"id": format!("deep-{number}"), "type": "t", "name": "x", "children": children}]),
    );
    let mut roots = chain.as_array().expect("a list").clone();
    roots.extend((0..99_000).map(|number| json!({"id": format!("wide-{number}"), "type": "t", "name": "x"})));
    let imported = read(json!({ "roots": roots }), None);
    assert_eq!(imported.graph.len(), 99_255);
    assert_eq!(imported.graph.roots().len(), 99_001);
}

/// P5: a field of a wrong type is not repaired silently: the graph is refused with the path, in a file and in a
/// request.
#[test]
fn import_refuses_wrong_types_with_the_path() {
    let node = |key: &str, value: Json| {
        let mut node = json!({"id": "a", "type": "t", "name": "x"});
        node[key] = value;
        json!({ "nodes": [node] })
    };
    for (document, path) in [
        (node("name", json!({"a": 1})), "nodes[0].name"),
        (node("name", json!(["x"])), "nodes[0].name"),
        (node("name", json!(true)), "nodes[0].name"),
        (
            json!({"roots": [{"id": "a", "type": "t", "label": []}]}),
            "roots[0].label",
        ),
        (node("properties", json!({"name": {}})), "nodes[0].properties.name"),
        (node("metadata", json!(7)), "nodes[0].metadata"),
        (
            node("metadata", json!({"orphaned_properties": 7})),
            "nodes[0].metadata.orphaned_properties",
        ),
        (node("childIds", json!(7)), "nodes[0].childIds"),
        (node("parentId", json!(7)), "nodes[0].parentId"),
        (node("parent_id", json!([])), "nodes[0].parent_id"),
        (
            json!({"nodes": [{"id": "a", "blueprintType": []}]}),
            "nodes[0].blueprintType",
        ),
        (json!({"nodes": [], "roots": []}), "nodes"),
        (json!({"nodes": [], "project_name": 7}), "project_name"),
        (json!({"nodes": [], "project_name": ""}), "project_name"),
        (json!({"nodes": [], "name_properties": []}), "name_properties"),
        (json!({"nodes": [], "name_properties": {"t": 7}}), "name_properties.t"),
    ] {
        for strictness in [Strictness::File, Strictness::Request] {
            match import(document.clone(), vocabulary(None), &Limits::default(), strictness) {
                Err(ImportError::Invalid { path: found, .. }) => assert_eq!(found, path, "{document}"),
                other => unreachable!("{document}: {other:?}"),
            }
        }
    }
    for (document, path) in [
        (json!({"template_id": 7}), "template_id"),
        (json!({"template_id": "../secret"}), "template_id"),
        (json!({"graph": {"template_id": []}}), "graph.template_id"),
        (json!({"templates": "x"}), "templates"),
        (json!({"templates": [{}]}), "templates[0]"),
    ] {
        match template_in_force(&document) {
            Err(ImportError::Invalid { path: found, .. }) => assert_eq!(found, path, "{document}"),
            other => unreachable!("{document}: {other:?}"),
        }
    }
    for document in [
        json!({}),
        json!({"template_id": null}),
        json!({"template_id": ""}),
        json!({"templates": []}),
    ] {
        assert_eq!(named_template(&document), None, "{document}");
    }
    assert_eq!(
        named_template(&json!({"template_id": null, "templates": ["a.yml"]})).as_deref(),
        Some("a")
    );
}

/// Names in a request obey the rules of commands. An absent name gets the default, as in a command.
#[test]
fn request_names_obey_command_rules() {
    let import = |node: Json| {
        let document = json!({ "nodes": [node] });
        import(document, vocabulary(None), &Limits::default(), Strictness::Request)
    };
    for name in [json!(null), json!(""), json!(" "), json!("a\nb")] {
        let refused = import(json!({"id": "a", "type": "t", "name": name})).expect_err("no name");
        assert!(refused.to_string().starts_with("nodes[0].name: "), "{name}: {refused}");
    }
    for (node, name) in [
        (json!({"id": "a", "type": "t"}), "New Node"),
        (json!({"id": "a", "type": "t", "name": 7}), "7"),
        (json!({"id": "a", "type": "t", "name": null, "label": "L"}), "L"),
    ] {
        assert_eq!(outline(&import(node).expect("a graph").graph), [name]);
    }
}

/// P8: the predecessor moves properties that its template does not know into `metadata`, with their values. The import
/// restores the values.
#[test]
fn import_restores_orphaned_values() {
    let blueprint = template(OWN_TEMPLATES, "software_project").expect("ships");
    let task = blueprint.node_type("task").expect("ships");
    let points = task.property("points").expect("ships").id.to_string();
    let orphaned = json!({"old_cost": "3500", "points": 3, "notes": "Ann", "name": "Old"});
    let document = json!({"nodes": [{
        "id": "a", "type": "task", "name": "x", "properties": {points.as_str(): 5},
        "metadata": {"note": 1, "orphaned": false, "orphaned_properties": orphaned},
    }]});
    let imported = read(document, Some(&blueprint));
    let (_, node) = imported.graph.nodes().next().expect("a node");
    let of = |word: &str| {
        let id = task
            .property(word)
            .map_or_else(|| word.to_owned(), |known| known.id.to_string());
        let mut own = node.content.properties.iter();
        own.find(|(own, _)| own.as_str() == id)
            .map(|(_, value)| serde_json::to_string(value).expect("JSON"))
    };
    assert_eq!(of("old_cost").as_deref(), Some("\"3500\""));
    assert_eq!(
        of("points").as_deref(),
        Some("5"),
        "the node's current value takes precedence"
    );
    assert_eq!(of("notes").as_deref(), Some("\"Ann\""), "the template knows it again");
    assert_eq!(
        serde_json::to_value(&node.content.metadata).expect("JSON"),
        json!({"note": 1, "orphaned_properties": ["old_cost"]})
    );
}

/// The name is not a property, also if the template is missing: a file of the hub names the property, and the UUID of
/// the name property follows from the slug of a type.
#[test]
fn name_is_separate_without_template() {
    let blueprint = template(OWN_TEMPLATES, "software_project").expect("ships");
    let once = read(fixture("new_shape.json"), Some(&blueprint));
    let file = written(&once, Some(&blueprint));
    let task = blueprint.node_type("task").expect("ships");
    let name_id = task.name_property().expect("a name").id.as_str();
    assert_eq!(file["name_properties"][task.id.as_str()], name_id);
    let lost = read(file, None);
    for (_, node) in lost.graph.nodes() {
        let names = node.content.properties.keys().filter(|id| id.as_str() == name_id);
        assert_eq!(names.count(), 0);
    }
    assert!(!lost.extras.contains_key("name_properties"));
    assert_eq!(written(&lost, None).get("name_properties"), None, "no property to name");
    // Older files of the predecessor.
    let derived = "fa022033-b113-6c72-9d43-23ffbb36331a";
    let old = json!({"nodes": {"a": {"type": "root", "properties": {derived: "Old title", "p": 1}}}});
    let read = read(old, None);
    assert_eq!(outline(&read.graph), ["Old title"]);
    assert_eq!(read.graph.nodes().next().expect("a node").1.content.properties.len(), 1);
}
