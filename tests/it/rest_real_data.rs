//! Real projects and templates of the predecessor, which are not part of this package. Without the files, the tests
//! pass without effect.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::support::{ROOT, TestHub};

fn data() -> Option<PathBuf> {
    let dir = Path::new(ROOT).join("../shared/data");
    dir.is_dir().then_some(dir)
}

/// Returns the ids of each node's children, in order, by node id.
fn by_id(nodes: impl Iterator<Item = Value>, children: impl Fn(&Value) -> Vec<Value>) -> BTreeMap<String, Vec<Value>> {
    nodes
        .map(|node| (node["id"].as_str().expect("an id").to_owned(), children(&node)))
        .collect()
}

/// Returns every node of a nested graph.
fn flat(graph: &Value) -> Vec<Value> {
    let mut ahead = graph["roots"].as_array().expect("a list").clone();
    let mut nodes = Vec::new();
    while let Some(node) = ahead.pop() {
        ahead.extend(node["children"].as_array().expect("a list").iter().cloned());
        nodes.push(node);
    }
    nodes
}

/// Every project opens with every node in its place, and is edited, saved and opened again. No data of the
/// predecessor's file is lost.
#[tokio::test]
async fn predecessor_projects_are_opened_edited_and_saved_without_loss() {
    let Some(data) = data() else { return };
    let hub = TestHub::with(|config| config.templates.dir = data.join("templates")).await;
    for entry in fs::read_dir(data.join("projects")).expect("readable") {
        let path = entry.expect("an entry").path();
        let id = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a name")
            .to_owned();
        let file = hub.dir.path().join(format!("projects/{id}.json"));
        fs::copy(&path, &file).expect("copied");
        let document: Value = serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON");
        let listed = |node: &Value| node["children"].as_array().expect("a list").clone();
        let nested = |node: &Value| listed(node).iter().map(|child| child["id"].clone()).collect();
        let places = by_id(
            document["graph"]["nodes"].as_array().expect("a list").iter().cloned(),
            listed,
        );

        let opened = hub.post(&format!("/projects/{id}/open"), &json!({})).await.ok();
        let template = document["template_id"].as_str().expect("a template");
        let known = data.join(format!("templates/{template}.yaml")).exists();
        assert_eq!(opened.get("template_missing").is_none(), known, "{id}");
        assert_eq!(by_id(flat(&opened["graph"]).into_iter(), nested), places, "{id}");
        let session = opened["session_id"].as_str().expect("an id");
        let root = &opened["graph"]["roots"][0];
        let rename = json!({"node_id": root["id"], "property_id": "name", "new_value": "Renamed by a test"});
        hub.execute(session, "UpdateProperty", rename).await.ok();
        hub.post(&format!("/sessions/{session}/save"), &json!({})).await.ok();
        let saved: Value = serde_json::from_slice(&fs::read(&file).expect("saved")).expect("JSON");
        for (key, value) in document.as_object().expect("an object") {
            if key != "graph" {
                assert_eq!(&saved[key], value, "{id}: {key}");
            }
        }
        let nodes: Vec<Value> = saved["graph"]["nodes"].as_array().expect("a list").clone();
        assert_eq!(by_id(nodes.iter().cloned(), listed), places, "{id}");
        for before in document["graph"]["nodes"].as_array().expect("a list") {
            let after = nodes.iter().find(|node| node["id"] == before["id"]).expect("kept");
            for (key, value) in before["properties"].as_object().expect("an object") {
                let renamed = before["id"] == root["id"] && *value == root["name"];
                assert!(
                    renamed || after["properties"][key] == *value,
                    "{id}: {key} of {}",
                    before["id"]
                );
            }
        }
        let edited = hub.graph(session).await;
        hub.delete(&format!("/sessions/{session}")).await;
        let again = hub.post(&format!("/projects/{id}/open"), &json!({})).await.ok();
        assert_eq!(
            (&again["graph"], &again["orphans"]),
            (&edited, &opened["orphans"]),
            "{id}"
        );
    }
}

/// Every template makes a project, except one that is invalid on purpose, which is reported and hides no other.
#[tokio::test]
async fn predecessor_templates_make_projects() {
    let Some(data) = data() else { return };
    let hub = TestHub::with(|config| config.templates.dir = data.join("templates")).await;
    let list = hub.get("/templates").await.ok();
    let templates = list["templates"].as_array().expect("a list");
    assert_eq!(
        templates.len(),
        fs::read_dir(data.join("templates")).expect("readable").count()
    );
    for template in templates {
        let id = template["id"].as_str().expect("an id");
        let body = json!({"template_id": id, "project_name": "New", "project_id": id.to_lowercase()});
        let made = hub.post("/projects", &body).await;
        if id == "broken_template" {
            assert_eq!(made.refused(), (400, "TEMPLATE_INVALID"));
            assert!(template["error"].is_string());
            continue;
        }
        let made = made.ok();
        let schema = hub.get(&format!("/templates/{id}/schema")).await.ok();
        let types = schema["node_types"].as_array().expect("a list");
        let root = &made["graph"]["roots"][0];
        let root_type = types
            .iter()
            .find(|known| known["id"] == root["blueprint_type_id"])
            .expect("a type of the schema");
        // One child of every type that the root allows.
        for child in root_type["allowed_children"].as_array().expect("a list") {
            if types.iter().any(|known| known["id"] == *child) {
                let data = json!({"blueprint_type_id": child, "parent_id": root["id"]});
                hub.execute(made["session_id"].as_str().expect("an id"), "CreateNode", data)
                    .await
                    .ok();
            }
        }
    }
}
