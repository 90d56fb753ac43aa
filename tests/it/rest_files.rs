//! Save, open and load: contents of project files, and the files that the hub accepts.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::TestHub;

const ROOT_ID: &str = "11111111-1111-4111-8111-111111111111";
const CHILD_ID: &str = "22222222-2222-4222-8222-222222222222";

/// Returns the names of the files in the projects folder.
fn files(hub: &TestHub) -> Vec<String> {
    let entries = std::fs::read_dir(hub.dir.path().join("projects")).expect("readable");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

/// Returns the text of a project file.
fn text(hub: &TestHub, id: &str) -> String {
    std::fs::read_to_string(hub.dir.path().join(format!("projects/{id}.json"))).expect("the file")
}

fn parsed(hub: &TestHub, id: &str) -> Value {
    serde_json::from_str(&text(hub, id)).expect("JSON")
}

fn put(hub: &TestHub, id: &str, document: &Value) {
    std::fs::write(hub.dir.path().join(format!("projects/{id}.json")), document.to_string()).expect("written");
}

async fn save(hub: &TestHub, session: &str) -> Value {
    hub.post(&format!("/sessions/{session}/save"), &json!({})).await.ok()
}

async fn open(hub: &TestHub, id: &str) -> crate::support::Reply {
    hub.post(&format!("/projects/{id}/open"), &json!({})).await
}

/// Creates a project of the template `software_project` with a release.
async fn project(hub: &TestHub) -> (String, Value) {
    let made = hub
        .post(
            "/projects",
            &json!({"template_id": "software_project", "project_name": "Shop"}),
        )
        .await
        .ok();
    let session = made["session_id"].as_str().expect("an id").to_owned();
    let data = json!({"blueprint_type_id": "release", "parent_id": made["graph"]["roots"][0]["id"], "name": "1.0"});
    hub.execute(&session, "CreateNode", data).await.ok();
    (session, made)
}

/// A saved file has the shape that the predecessor's front end reads, and names its session and `seq`. No partial file
/// stays beside it.
#[tokio::test]
async fn saved_file_has_the_documented_shape() {
    let hub = TestHub::start().await;
    let (session, made) = project(&hub).await;
    let graph = hub.graph(&session).await;
    let saved = save(&hub, &session).await;
    assert_eq!(saved, json!({"success": true, "path": "shop.json", "seq": 6}));
    assert_eq!(files(&hub), ["shop.json"]);
    assert!(
        text(&hub, "shop").starts_with("{\n  \"format\": \"talus-hub/1\",\n  \"session_id\": "),
        "indented by two spaces"
    );
    let schema = hub.get("/templates/software_project/schema").await.ok();
    let name_id = |node_type: usize| {
        schema["node_types"][node_type]["properties"][0]["id"]
            .as_str()
            .expect("an id")
    };
    let (root, release) = (&graph["roots"][0], &graph["roots"][0]["children"][0]);
    let mut release_properties = release["properties"].clone();
    release_properties["name"] = json!("1.0");
    release_properties[name_id(1)] = json!("1.0");
    let expected = json!({
        "format": "talus-hub/1", "session_id": session, "epoch": made["epoch"], "seq": 4,
        "project_name": "Shop", "template_id": "software_project",
        "name_properties": {
            (root["blueprint_type_id"].as_str().expect("an id")): name_id(0),
            (release["blueprint_type_id"].as_str().expect("an id")): name_id(1),
        },
        "graph": {
            "id": "shop", "edges": [],
            "nodes": [
                {
                    "id": root["id"], "name": "Shop", "type": root["blueprint_type_id"],
                    "properties": {"name": "Shop", (name_id(0)): "Shop"}, "children": [release["id"]], "metadata": {},
                },
                {
                    "id": release["id"], "name": "1.0", "type": release["blueprint_type_id"],
                    "properties": release_properties, "children": [], "metadata": {},
                },
            ],
        },
    });
    assert_eq!(parsed(&hub, "shop"), expected);
}

/// A save sends the events of a command, makes the session clean, is no step of undo, and can be repeated.
#[tokio::test]
async fn save_makes_the_session_clean_until_the_next_command() {
    let hub = TestHub::start().await;
    let (session, _) = project(&hub).await;
    let dirty = async || hub.get(&format!("/sessions/{session}/dirty")).await.ok()["is_dirty"].clone();
    assert_eq!(dirty().await, true);
    save(&hub, &session).await;
    assert_eq!(dirty().await, false);
    let events = hub.events(&session, 4).await;
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["project:saved", "command:executed"]);
    assert_eq!(
        (&events[0].1["path"], &events[1].1["command_type"]),
        (&json!("shop.json"), &json!("SaveProject"))
    );
    assert_eq!(events[0].1["command_id"], events[1].1["command_id"]);

    let again = save(&hub, &session).await;
    assert_eq!((again["seq"].clone(), dirty().await), (json!(8), json!(false)));
    let undone = hub.post(&format!("/sessions/{session}/undo"), &json!({})).await.ok();
    assert_eq!(undone["is_dirty"], true);
    assert_eq!(
        hub.outline(&session).await,
        ["Shop"],
        "the release is undone, not the save"
    );
    assert_eq!(
        parsed(&hub, "shop")["graph"]["nodes"].as_array().map(Vec::len),
        Some(2),
        "the file stays as it was"
    );
    save(&hub, &session).await;
    assert_eq!(parsed(&hub, "shop")["graph"]["nodes"].as_array().map(Vec::len), Some(1));
}

/// A session without a project is saved under its own id.
#[tokio::test]
async fn save_without_a_project_uses_the_session_id() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    hub.create_node(&session, None, "node").await;
    assert_eq!(save(&hub, &session).await["path"], format!("{session}.json"));
    let file = parsed(&hub, &session);
    assert_eq!(
        (&file["template_id"], &file["graph"]["id"]),
        (&Value::Null, &json!(session))
    );
}

/// Concurrent saves and commands: each is answered, the file is always complete, and the last save has every command
/// acknowledged before that save.
#[tokio::test]
async fn concurrent_saves_never_leave_an_older_state() {
    let hub = TestHub::start().await;
    let (session, _) = project(&hub).await;
    let root = hub.graph(&session).await["roots"][0]["id"].clone();
    for round in 0..5 {
        let saves = join_all((0..8).map(|_| save(&hub, &session)));
        let commands = join_all((0..8).map(async |number| {
            let data = json!({"blueprint_type_id": "release", "parent_id": root, "name": format!("{round}.{number}")});
            hub.execute(&session, "CreateNode", data).await.ok()
        }));
        let (saved, done) = tokio::join!(saves, commands);
        let mut seqs: Vec<u64> = saved
            .iter()
            .map(|saved| saved["seq"].as_u64().expect("a seq"))
            .collect();
        seqs.sort_unstable();
        seqs.dedup();
        assert_eq!(seqs.len(), 8, "each save is a command of its own");
        let last_saved = seqs[7];
        let file = parsed(&hub, "shop");
        let names = file["graph"]["nodes"].as_array().expect("a list").iter();
        let names: Vec<&str> = names.map(|node| node["name"].as_str().expect("a name")).collect();
        for (number, answer) in done.iter().enumerate() {
            let before_the_file = answer["seq"].as_u64() <= file["seq"].as_u64();
            assert_eq!(
                names.contains(&format!("{round}.{number}").as_str()),
                before_the_file,
                "{round}.{number}"
            );
        }
        assert!(file["seq"].as_u64() < Some(last_saved));
        let history = hub.get(&format!("/sessions/{session}/history?limit=1000")).await.ok();
        let commands = history["commands"].as_array().expect("a list");
        let newest_save = commands
            .iter()
            .find(|command| command["command_type"] == "SaveProject")
            .expect("saved");
        assert_eq!(newest_save["seq"], last_saved, "the file is that of the last save");
        let other = |command: &&Value| command["command_type"] != "SaveProject";
        let newest = commands.iter().find(other).expect("a command");
        let dirty = hub.get(&format!("/sessions/{session}/dirty")).await.ok()["is_dirty"].clone();
        assert_eq!(
            dirty,
            newest["seq"].as_u64() > file["seq"].as_u64(),
            "dirty is what the file does not have"
        );
    }
    save(&hub, &session).await;
    assert_eq!(
        parsed(&hub, "shop")["graph"]["nodes"].as_array().map(Vec::len),
        Some(42)
    );
    assert_eq!(files(&hub), ["shop.json"]);
}

/// A saved project opens after the deletion of its session, with the same nodes and ids in a new session. An open
/// project is not opened twice.
#[tokio::test]
async fn saved_project_opens_after_its_session_was_deleted() {
    let hub = TestHub::start().await;
    let (session, made) = project(&hub).await;
    let graph = hub.graph(&session).await;
    save(&hub, &session).await;
    let already = open(&hub, "shop").await;
    assert_eq!((already.status, &already.body["already_open"]), (200, &json!(true)));
    assert_eq!(already.body["session_id"], json!(session));
    hub.delete(&format!("/sessions/{session}")).await;

    let opened = open(&hub, "shop").await;
    assert_eq!(opened.status, 201);
    let answer = opened.ok();
    assert_eq!(
        (&answer["project_id"], &answer["orphans"], &answer["seq"]),
        (&json!("shop"), &json!([]), &json!(2))
    );
    assert_eq!(
        (answer.get("already_open"), answer.get("template_missing")),
        (None, None)
    );
    assert_eq!(answer["graph"], graph);
    assert_ne!(answer["epoch"], made["epoch"], "new epoch");
    let session = answer["session_id"].as_str().expect("an id");
    let info = hub.get(&format!("/sessions/{session}/info")).await.ok();
    assert_eq!(
        (&info["project_name"], &info["template_id"]),
        (&json!("Shop"), &json!("software_project"))
    );
    let names: Vec<String> = hub.events(session, 0).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["project:loaded", "command:executed"]);
    let unknown = hub
        .execute(session, "CreateNode", json!({"blueprint_type_id": "spaceship"}))
        .await;
    assert_eq!(
        unknown.refused(),
        (400, "UNKNOWN_NODE_TYPE"),
        "the template's rules apply"
    );
    assert_eq!(open(&hub, "nothing").await.refused(), (404, "PROJECT_NOT_FOUND"));
}

/// Unknown top-level members of a file are written back digit by digit. Derived members are not, and the hub's own
/// members are replaced.
#[tokio::test]
async fn unknown_file_members_are_written_back() {
    let hub = TestHub::start().await;
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/new_shape.json")).expect("JSON");
    put(&hub, "shop", &fixture);
    let opened = open(&hub, "shop").await.ok();
    let session = opened["session_id"].as_str().expect("an id");
    let renamed = json!({"node_id": ROOT_ID, "property_id": "name", "new_value": "Renamed"});
    hub.execute(session, "UpdateProperty", renamed).await.ok();
    save(&hub, session).await;
    let file = parsed(&hub, "shop");
    for key in ["expanded_map", "blocking_relationships", "filter_sets"] {
        assert_eq!(file[key].to_string(), fixture[key].to_string(), "{key}");
    }
    assert_eq!(
        (&file["session_id"], &file["template_id"]),
        (&json!(session), &json!("software_project"))
    );
    let root = &file["graph"]["nodes"][0];
    assert_eq!((&root["id"], &root["name"]), (&json!(ROOT_ID), &json!("Renamed")));
    for derived in [
        "indicator_id",
        "indicator_set",
        "icon_id",
        "schema_shape",
        "allowed_children",
    ] {
        assert_eq!(root.get(derived), None, "{derived}");
    }
    hub.post(
        &format!("/sessions/{session}/load-graph"),
        &json!({"graph": {"roots": []}}),
    )
    .await
    .ok();
    save(&hub, session).await;
    let file = parsed(&hub, "shop");
    assert_eq!(file["graph"]["nodes"], json!([]));
    assert_eq!(
        file["expanded_map"], fixture["expanded_map"],
        "a load replaces only the graph"
    );
}

/// Types and properties that the template does not know are kept, marked and reported, also after another save and
/// open.
#[tokio::test]
async fn orphans_are_kept_marked_and_reported() {
    let hub = TestHub::start().await;
    put(
        &hub,
        "shop",
        &serde_json::from_str(include_str!("../fixtures/new_shape.json")).expect("JSON"),
    );
    let opened = open(&hub, "shop").await.ok();
    let renamed_id = opened["orphans"][0]["node_id"].clone();
    let expected = json!([
        {"node_id": renamed_id, "unknown_type": false, "properties": ["long_gone"]},
        {"node_id": "33333333-3333-4333-8333-333333333333", "unknown_type": true, "properties": []},
    ]);
    assert_eq!(opened["orphans"], expected);
    let children = &opened["graph"]["roots"][0]["children"];
    assert_eq!(
        children[0]["metadata"],
        json!({"note": "kept", "orphaned_properties": ["long_gone"]})
    );
    let stranger = &children[1]["children"][0];
    assert_eq!(
        (&stranger["blueprint_type_id"], &stranger["metadata"]),
        (&json!("spaceship"), &json!({"orphaned": true}))
    );
    assert_eq!(stranger["properties"], json!({"fuel": "full"}));
    let session = opened["session_id"].as_str().expect("an id");
    save(&hub, session).await;
    hub.delete(&format!("/sessions/{session}")).await;
    let again = open(&hub, "shop").await.ok();
    assert_eq!(
        (&again["orphans"], &again["graph"]),
        (&opened["orphans"], &opened["graph"])
    );
    let session = again["session_id"].as_str().expect("an id");
    let gone = json!({"node_id": renamed_id, "property_id": "long_gone"});
    hub.execute(session, "DeleteProperty", gone).await.ok();
    // The marks describe the current state for every replica, whether built from events, the graph, or the log.
    let metadata = async |hub: &TestHub| hub.graph(session).await["roots"][0]["children"][0]["metadata"].clone();
    let (marked, bare) = (
        json!({"note": "kept", "orphaned_properties": ["long_gone"]}),
        json!({"note": "kept"}),
    );
    assert_eq!(metadata(&hub).await, bare);
    let step =
        async |word: &str| hub.post(&format!("/sessions/{session}/{word}"), &json!({})).await.ok()["seq"].clone();
    let undone = step("undo").await;
    assert_eq!(metadata(&hub).await, marked);
    let events = hub.events(session, undone.as_u64().expect("a number") - 2).await;
    assert_eq!(
        (events[0].0.as_str(), &events[0].1["orphaned"]),
        ("graph:property-changed", &json!(true))
    );
    step("redo").await;
    assert_eq!(metadata(&hub).await, bare);
    let before = hub
        .get(&format!("/sessions/{session}/graph?at_seq={undone}"))
        .await
        .ok();
    assert_eq!(before["graph"]["roots"][0]["children"][0]["metadata"], marked);
    let (dir, stopped) = hub.stop().await;
    stopped.expect("in time");
    let hub = TestHub::on(dir, |_| {}).await;
    assert_eq!(metadata(&hub).await, bare);
}

/// A file whose template is missing opens without rules, reports that, and keeps the template's name.
#[tokio::test]
async fn project_with_missing_template_opens_without_rules() {
    let hub = TestHub::start().await;
    let nodes = json!([{"id": ROOT_ID, "type": "anything", "properties": {"name": "Root", "p": 1}, "children": []}]);
    put(
        &hub,
        "lost",
        &json!({"graph": {"nodes": nodes}, "template_id": "no_such_template"}),
    );
    let opened = open(&hub, "lost").await.ok();
    assert_eq!(
        (&opened["template_missing"], &opened["orphans"]),
        (&json!(true), &json!([]))
    );
    let session = opened["session_id"].as_str().expect("an id");
    let info = hub.get(&format!("/sessions/{session}/info")).await.ok();
    assert_eq!(
        (&info["template_id"], &info["template_missing"]),
        (&json!("no_such_template"), &json!(true))
    );
    hub.execute(
        session,
        "CreateNode",
        json!({"blueprint_type_id": "whatever", "parent_id": ROOT_ID}),
    )
    .await
    .ok();
    save(&hub, session).await;
    let file = parsed(&hub, "lost");
    assert_eq!(file["template_id"], "no_such_template");
    assert_eq!(file["graph"]["nodes"][0]["properties"], json!({"name": "Root", "p": 1}));
}

/// A file that is not a project is refused whole with the path of the fault, when shown and when opened. No session is
/// created, and the file is unchanged.
#[tokio::test]
async fn invalid_project_file_is_refused_whole() {
    let hub = TestHub::start().await;
    let node = |id: &str, children: Value| json!({"id": id, "type": "t", "name": "x", "children": children});
    let nodes = |nodes: Value| json!({"graph": {"nodes": nodes}}).to_string();
    for (content, path) in [
        (String::new(), ""),
        ("{".to_owned(), ""),
        ("\u{0}\u{0}".to_owned(), ""),
        ("[]".to_owned(), ""),
        ("{}".to_owned(), "roots"),
        (json!({"graph": []}).to_string(), "graph"),
        (
            nodes(json!([node(ROOT_ID, json!([CHILD_ID]))])),
            "graph.nodes[0].children[0]",
        ),
        (nodes(json!([node(ROOT_ID, json!([ROOT_ID]))])), "graph.nodes[0]"),
        (
            nodes(json!([node(ROOT_ID, json!([])), node(ROOT_ID, json!([]))])),
            "graph.nodes[1].id",
        ),
    ] {
        std::fs::write(hub.dir.path().join("projects/bad.json"), &content).expect("written");
        for refused in [open(&hub, "bad").await, hub.get("/projects/bad").await] {
            assert_eq!(refused.refused(), (400, "INVALID_GRAPH"), "{content:?}");
            assert_eq!(refused.body["error"]["path"], path, "{content:?}");
        }
        assert_eq!(text(&hub, "bad"), content);
    }
    assert_eq!(hub.get("/sessions").await.ok()["total"], 0);
    assert_eq!(hub.delete("/projects/bad").await.status, 204, "the file can be deleted");
}

/// A load replaces the graph in one step, and an undo restores the old graph with its ids and order.
#[tokio::test]
async fn load_replaces_the_graph_and_can_be_undone() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let old = hub.create_node(&session, None, "old").await;
    let before = hub.graph(&session).await;
    let graph = json!({"roots": [{
        "id": ROOT_ID, "name": "loaded", "blueprint_type_id": "t", "properties": {"n": 1},
        "children": [{"id": "not-a-uuid", "type": "t", "label": "child"}],
    }]});
    let body = json!({"graph": graph, "command_id": "aaaaaaaa-0000-4000-8000-000000000001"});
    let path = format!("/sessions/{session}/load-graph");
    let loaded = hub.post(&path, &body).await.ok();
    for (key, value) in [
        ("success", json!(true)),
        ("command_id", body["command_id"].clone()),
        ("first_seq", json!(3)),
        ("seq", json!(4)),
        ("orphans", json!([])),
        ("is_dirty", json!(true)),
    ] {
        assert_eq!(loaded[key], value, "{key}");
    }
    let after = hub.graph(&session).await;
    assert_eq!(hub.outline(&session).await, ["loaded", " child"]);
    // uuid5(NAMESPACE_DNS, "not-a-uuid"): every reader of the file derives the same id.
    assert_eq!(
        after["roots"][0]["children"][0]["id"],
        "10927d06-1f0c-5427-87ff-8a2b17b9ba0c"
    );
    let events = hub.events(&session, 2).await;
    assert_eq!(
        (events[0].0.as_str(), &events[0].1["graph"]),
        ("project:loaded", &after)
    );
    assert_eq!(events[1].1["command_type"], "LoadGraph");
    let gone = hub.execute(&session, "DeleteNode", json!({"node_id": old})).await;
    assert_eq!(gone.refused(), (404, "NODE_NOT_FOUND"));

    let step = async |word: &str| hub.post(&format!("/sessions/{session}/{word}"), &json!({})).await.ok();
    step("undo").await;
    assert_eq!(hub.graph(&session).await, before);
    let events = hub.events(&session, 4).await;
    assert_eq!(
        (events[0].0.as_str(), &events[0].1["graph"]),
        ("project:loaded", &before)
    );
    step("redo").await;
    assert_eq!(hub.graph(&session).await, after);
}

/// A session's graph can be loaded into another session unchanged, with the same ids and order.
#[tokio::test]
async fn graph_of_a_session_can_be_loaded() {
    let hub = TestHub::start().await;
    let (session, _) = project(&hub).await;
    let graph = hub.graph(&session).await;
    let other = hub.session().await;
    hub.post(&format!("/sessions/{other}/load-graph"), &json!({"graph": graph}))
        .await
        .ok();
    assert_eq!(hub.graph(&other).await, graph);
}

/// P5: a graph with a fault is refused whole, with the path of the fault.
#[tokio::test]
async fn invalid_graph_is_refused_with_the_path_of_the_fault() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    hub.create_node(&session, None, "old").await;
    let before = hub.graph(&session).await;
    let node = |id: &str| json!({"id": id, "type": "t", "name": "x"});
    let with = |id: &str, key: &str, value: Value| {
        let mut node = node(id);
        node[key] = value;
        node
    };
    for (graph, path) in [
        (json!(null), ""),
        (json!([]), ""),
        (json!("x"), ""),
        (json!({}), "roots"),
        (json!({"roots": 7}), "roots"),
        (json!({"nodes": "x"}), "nodes"),
        (json!({"roots": [7]}), "roots[0]"),
        (json!({"roots": [{"type": "t"}]}), "roots[0].id"),
        (json!({"roots": [{"id": ""}]}), "roots[0].id"),
        (json!({"roots": [node("a"), {"id": "b"}]}), "roots[1].type"),
        (json!({"roots": [with("a", "type", json!(""))]}), "roots[0].type"),
        (
            json!({"roots": [with("a", "properties", json!([]))]}),
            "roots[0].properties",
        ),
        (
            json!({"roots": [with("a", "properties", json!({"": 1}))]}),
            "roots[0].properties.",
        ),
        (
            json!({"roots": [with("a", "children", json!({}))]}),
            "roots[0].children",
        ),
        (
            json!({"roots": [node("a"), node("b"), with("c", "children", json!([node("d"), node("a")]))]}),
            "roots[2].children[1].id",
        ),
        (
            json!({"nodes": [node("a"), with("b", "parent_id", json!("nobody"))]}),
            "nodes[1].parent_id",
        ),
        (
            json!({"nodes": [with("a", "parent_id", json!("b")), with("b", "parent_id", json!("a"))]}),
            "nodes[0]",
        ),
        (
            json!({"nodes": [node("a")], "edges": [{"source": "a", "target": "a"}]}),
            "nodes[0]",
        ),
        (json!({"roots": [with("a", "name", json!({"x": 1}))]}), "roots[0].name"),
        (json!({"roots": [with("a", "name", json!(["x"]))]}), "roots[0].name"),
        (json!({"roots": [with("a", "name", json!(true))]}), "roots[0].name"),
        (json!({"roots": [with("a", "name", json!(null))]}), "roots[0].name"),
        (json!({"roots": [with("a", "name", json!(" "))]}), "roots[0].name"),
        (json!({"roots": [with("a", "name", json!("a\u{0}b"))]}), "roots[0].name"),
        (
            json!({"roots": [with("a", "metadata", json!("x"))]}),
            "roots[0].metadata",
        ),
        (json!({"roots": [], "nodes": [node("a")]}), "nodes"),
        (json!({"nodes": [node("a")], "edges": {}}), "edges"),
        (json!({"nodes": [node("a")], "edges": [{"source": "a"}]}), "edges[0]"),
    ] {
        let refused = hub
            .post(&format!("/sessions/{session}/load-graph"), &json!({"graph": graph}))
            .await;
        assert_eq!(refused.refused(), (400, "INVALID_GRAPH"), "{graph}: {}", refused.body);
        assert_eq!(refused.body["error"]["path"], path, "{graph}: {}", refused.body);
    }
    assert_eq!(hub.graph(&session).await, before);
    assert_eq!(hub.get(&format!("/sessions/{session}/info")).await.ok()["seq"], 2);
}

/// A loaded graph can set the session's template. Commands follow that template at once and after a restart, an undo
/// restores the old template, and the saved file names the new one.
#[tokio::test]
async fn load_sets_the_template_of_the_session() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let schema = hub.get("/templates/software_project/schema").await.ok();
    let type_of = |key: &str| {
        let types = schema["node_types"].as_array().expect("a list");
        types.iter().find(|known| known["key"] == key).expect(key)["id"].clone()
    };
    let load = format!("/sessions/{session}/load-graph");
    let graph = json!({"nodes": [{"id": ROOT_ID, "type": "project", "name": "Shop", "properties": {"odd": 1}}]});
    let loaded = hub
        .post(
            &load,
            &json!({"graph": graph, "template_id": "software_project", "blocking_relationships": []}),
        )
        .await
        .ok();
    assert_eq!(loaded["orphans"][0]["properties"], json!(["odd"]));
    assert_eq!(loaded.get("template_missing"), None);
    let info = async |hub: &TestHub| hub.get(&format!("/sessions/{session}/info")).await.ok();
    assert_eq!(info(&hub).await["template_id"], "software_project");
    let root = hub.graph(&session).await["roots"][0].clone();
    assert_eq!(root["blueprint_type_id"], type_of("project"));
    let create = |node_type: &str| json!({"blueprint_type_id": node_type, "parent_id": ROOT_ID});
    let refused = hub.execute(&session, "CreateNode", create("nonsense")).await;
    assert_eq!(refused.refused(), (400, "UNKNOWN_NODE_TYPE"));
    hub.execute(&session, "CreateNode", create("release")).await.ok();

    // A load without a template keeps the session's template.
    let kept = hub.post(&load, &json!({"graph": {"roots": [root]}})).await.ok();
    assert_eq!(kept["orphans"][0]["properties"], json!(["odd"]));
    save(&hub, &session).await;
    assert_eq!(parsed(&hub, &session)["template_id"], "software_project");

    let (dir, stopped) = hub.stop().await;
    stopped.expect("in time");
    let hub = TestHub::on(dir, |_| {}).await;
    assert_eq!(info(&hub).await["template_id"], "software_project");
    let refused = hub.execute(&session, "CreateNode", create("nonsense")).await;
    assert_eq!(refused.refused(), (400, "UNKNOWN_NODE_TYPE"), "also after a restart");
    let undo = async || hub.post(&format!("/sessions/{session}/undo"), &json!({})).await.ok();
    for _ in 0..3 {
        undo().await;
    }
    assert_eq!(
        info(&hub).await["template_id"],
        json!(null),
        "an undo restores no template"
    );
    hub.execute(&session, "CreateNode", json!({"blueprint_type_id": "nonsense"}))
        .await
        .ok();
}

/// A loaded graph may name a missing template, in the request or in the file. The name is kept, everything is allowed,
/// and the name replaces the session's template.
#[tokio::test]
async fn load_keeps_the_name_of_a_missing_template() {
    let hub = TestHub::start().await;
    let (session, _) = project(&hub).await;
    let load = format!("/sessions/{session}/load-graph");
    let file = json!({"graph": {"nodes": [{"id": ROOT_ID, "type": "t", "name": "x"}]}, "template_id": "lost.yaml"});
    let loaded = hub.post(&load, &json!({"graph": file})).await.ok();
    assert_eq!(loaded["template_missing"], true);
    let info = hub.get(&format!("/sessions/{session}/info")).await.ok();
    assert_eq!(
        (&info["template_id"], &info["template_missing"]),
        (&json!("lost"), &json!(true))
    );
    hub.execute(&session, "CreateNode", json!({"blueprint_type_id": "anything"}))
        .await
        .ok();
    for (template_id, code) in [(json!(7), "INVALID_REQUEST"), (json!("../x"), "INVALID_REQUEST")] {
        let refused = hub
            .post(&load, &json!({"graph": {"roots": []}, "template_id": template_id}))
            .await;
        assert_eq!(
            (refused.refused(), &refused.body["error"]["field"]),
            ((400, code), &json!("template_id"))
        );
    }
}

/// A node keeps a single name when its project is opened without the template, and a new name replaces the old one.
#[tokio::test]
async fn node_name_stays_single_without_the_template() {
    let templates = tempfile::tempdir().expect("a temporary folder");
    let template = templates.path().join("shelf.yaml");
    let text = "name: Shelf\nnode_types:\n- {id: t, label: T, properties: [{id: name, label: Title, type: text}]}\n";
    std::fs::write(&template, text).expect("written");
    let hub = TestHub::with(|config| config.templates.dir = templates.path().to_owned()).await;
    let body = json!({"template_id": "shelf", "project_name": "Old title"});
    let made = hub.post("/projects", &body).await.ok();
    let session = made["session_id"].as_str().expect("an id");
    save(&hub, session).await;
    hub.delete(&format!("/sessions/{session}")).await;
    std::fs::remove_file(&template).expect("removed");
    let opened = open(&hub, "old-title").await.ok();
    let root = &opened["graph"]["roots"][0];
    assert_eq!(
        (&opened["template_missing"], &root["properties"]),
        (&json!(true), &json!({}))
    );
    let session = opened["session_id"].as_str().expect("an id");
    let rename = json!({"node_id": root["id"], "property_id": "name", "new_value": "New title"});
    hub.execute(session, "UpdateProperty", rename).await.ok();
    save(&hub, session).await;
    let graph = parsed(&hub, "old-title")["graph"].to_string();
    assert!(graph.contains("New title") && !graph.contains("Old title"), "{graph}");
}
