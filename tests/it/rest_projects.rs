//! Projects and templates over REST: create, list, show, delete.

use serde_json::{Value, json};

use crate::support::TestHub;

async fn create(hub: &TestHub, body: Value) -> crate::support::Reply {
    let mut project = json!({"template_id": "novel", "project_name": "Book"});
    project
        .as_object_mut()
        .expect("an object")
        .extend(body.as_object().expect("an object").clone());
    hub.post("/projects", &project).await
}

/// A project begins with its template's root, which has the project's name and the defaults and cannot be undone.
#[tokio::test]
async fn project_begins_with_the_root_of_its_template() {
    let hub = TestHub::start().await;
    let made = create(&hub, json!({"project_name": "My Fine Book"})).await;
    assert_eq!(
        (made.status, &made.body["project_id"], &made.body["seq"]),
        (201, &json!("my-fine-book"), &json!(2))
    );
    let schema = hub.get("/templates/novel/schema").await.ok();
    let book = &schema["node_types"][0];
    let words = book["properties"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|property| property["key"] == "words_planned");
    let root = &made.body["graph"]["roots"][0];
    let expected = json!({
        "id": root["id"], "name": "My Fine Book", "blueprint_type_id": book["id"], "parent_id": null,
        "properties": {(words.expect("ships")["id"].as_str().expect("an id")): 80_000}, "children": [],
    });
    assert_eq!(made.body["graph"], json!({"roots": [expected]}));

    let session = made.body["session_id"].as_str().expect("an id");
    let info = hub.get(&format!("/sessions/{session}/info")).await.ok();
    for (key, value) in [
        ("project_id", json!("my-fine-book")),
        ("project_name", json!("My Fine Book")),
        ("template_id", json!("novel")),
        ("has_project", json!(true)),
        ("node_count", json!(1)),
        ("epoch", made.body["epoch"].clone()),
        ("undo_available", json!(false)),
        ("is_dirty", json!(true)),
    ] {
        assert_eq!(info[key], value, "{key}");
    }
    assert_eq!(
        hub.post(&format!("/sessions/{session}/undo"), &json!({}))
            .await
            .refused(),
        (409, "NOTHING_TO_UNDO")
    );
    let events = hub.events(session, 0).await;
    assert_eq!(
        events[0].1["project_id"], "my-fine-book",
        "the envelope names the project"
    );
}

/// A project's id is the requested one, or else a slug of its name within the length limit.
#[tokio::test]
async fn project_id_is_derived_from_its_name() {
    let hub = TestHub::start().await;
    let long = format!("{} {}", "Ab".repeat(31), "tail");
    for (name, id) in [
        ("Book", "book"),
        ("  The  Second — Book! ", "the-second-book"),
        ("Äpfel & Öl", "apfel-ol"),
        ("2024/25", "2024-25"),
        ("../../etc/passwd", "etc-passwd"),
        ("東京", "dong-jing"),
        (long.as_str(), &format!("{}-t", "ab".repeat(31))),
    ] {
        let made = create(&hub, json!({"project_name": name})).await.ok();
        assert_eq!(made["project_id"], *id, "{name}");
        assert_eq!(made["graph"]["roots"][0]["name"], *name);
    }
    let chosen = create(&hub, json!({"project_id": "0_chosen-id"})).await.ok();
    assert_eq!(chosen["project_id"], "0_chosen-id");
}

/// An id that a session or a file has is refused, and nothing is created.
#[tokio::test]
async fn project_id_of_a_session_or_file_is_refused() {
    let hub = TestHub::start().await;
    let made = create(&hub, json!({})).await.ok();
    let taken = create(&hub, json!({"project_id": "book"})).await;
    assert_eq!(taken.refused(), (409, "PROJECT_EXISTS"));
    assert_eq!(taken.body["error"]["session_id"], made["session_id"]);
    let session = made["session_id"].as_str().expect("an id");
    hub.post(&format!("/sessions/{session}/save"), &json!({})).await.ok();
    hub.delete(&format!("/sessions/{session}")).await;
    let taken = create(&hub, json!({"project_name": "Another", "project_id": "book"})).await;
    assert_eq!(taken.refused(), (409, "PROJECT_EXISTS"));
    assert_eq!(taken.body["error"]["project_id"], "book");
    assert_eq!(hub.get("/sessions").await.ok()["total"], 0);
    assert_eq!(hub.delete("/projects/book").await.status, 204);
    create(&hub, json!({})).await.ok();
}

/// A used name gets the next id that no session and no file has, within the length limit.
#[tokio::test]
async fn project_with_a_used_name_gets_the_next_free_id() {
    let hub = TestHub::start().await;
    let id = async |name: &str| {
        let made = create(&hub, json!({"project_name": name})).await.ok();
        assert_eq!(made["graph"]["roots"][0]["name"], *name);
        made["project_id"].as_str().expect("an id").to_owned()
    };
    assert_eq!(id("Lighthouse").await, "lighthouse");
    assert_eq!(id("Lighthouse").await, "lighthouse-2");
    std::fs::write(hub.dir.path().join("projects/lighthouse-3.json"), "{}").expect("written");
    assert_eq!(id("Lighthouse").await, "lighthouse-4");
    assert_eq!(hub.delete("/projects/lighthouse-2").await.status, 204);
    assert_eq!(id("Lighthouse").await, "lighthouse-2");
    let long = "Ab".repeat(40);
    assert_eq!(id(&long).await, "ab".repeat(32));
    assert_eq!(id(&long).await, format!("{}-2", "ab".repeat(31)));
    let dashed = format!("{} {}", "a".repeat(61), "bcd");
    assert_eq!(id(&dashed).await, format!("{}-bc", "a".repeat(61)));
    assert_eq!(id(&dashed).await, format!("{}-2", "a".repeat(61)));
}

/// A project needs a valid template. A template that is saved while the hub runs is found.
#[tokio::test]
async fn project_needs_a_valid_template() {
    let templates = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| templates.path().join(name);
    std::fs::write(
        file("broken.yaml"),
        "name: Broken\nnode_types:\n- id: a\n  label: A\n- id: a\n  label: B\n",
    )
    .expect("written");
    std::fs::write(file("not-yaml.yaml"), "name: [\n").expect("written");
    let hub = TestHub::with(|config| config.templates.dir = templates.path().to_owned()).await;
    let missing = create(&hub, json!({"template_id": "later"})).await;
    assert_eq!(missing.refused(), (404, "TEMPLATE_NOT_FOUND"));
    for (id, fault) in [
        ("broken", "line 5: node_types[1].id: \"a\" is used twice"),
        ("not-yaml", "line "),
    ] {
        let invalid = create(&hub, json!({"template_id": id})).await;
        assert_eq!(invalid.refused(), (400, "TEMPLATE_INVALID"));
        assert_eq!(invalid.body["error"]["template_id"], id);
        let message = invalid.body["error"]["message"].as_str().expect("a message");
        assert!(message.starts_with(&format!("template {id}: {fault}")), "{message}");
        assert_eq!(
            hub.get(&format!("/templates/{id}/schema")).await.refused(),
            (400, "TEMPLATE_INVALID")
        );
    }
    assert_eq!(hub.get("/sessions").await.ok()["total"], 0);
    let later =
        "\u{feff}name: Later\nnode_types:\n- {id: leaf, label: Leaf}\n- {id: tree, label: Tree, features: [is_root]}\n";
    std::fs::write(file("later.yaml"), later).expect("written");
    let made = create(&hub, json!({"template_id": "later"})).await.ok();
    let schema = hub.get("/templates/later/schema").await.ok();
    assert_eq!(
        made["graph"]["roots"][0]["blueprint_type_id"], schema["node_types"][1]["id"],
        "the root type"
    );
}

/// The list has the projects with a session or a file, sorted by id, each once.
#[tokio::test]
async fn projects_are_listed_by_id_with_session_and_file() {
    let hub = TestHub::with(|config| config.rest.page_items_default = 2).await;
    let mut sessions = Vec::new();
    for id in ["c", "a", "b"] {
        let made = create(&hub, json!({"project_name": id.to_uppercase(), "project_id": id}))
            .await
            .ok();
        sessions.push(made["session_id"].as_str().expect("an id").to_owned());
    }
    for session in &sessions[..2] {
        hub.post(&format!("/sessions/{session}/save"), &json!({})).await.ok();
    }
    hub.delete(&format!("/sessions/{}", sessions[0])).await;
    std::fs::write(hub.dir.path().join("projects/Not A Slug.json"), "{}").expect("written");
    std::fs::write(hub.dir.path().join("projects/notes.txt"), "x").expect("written");
    let open = |id: &str, session: &str, is_saved: bool| json!({"project_id": id, "session_id": session, "project_name": id.to_uppercase(), "template_id": "novel", "is_saved": is_saved});
    let all = [
        open("a", &sessions[1], true),
        open("b", &sessions[2], false),
        json!({"project_id": "c", "session_id": null, "is_saved": true}),
    ];
    for (query, page) in [
        ("", &all[..2]),
        ("?offset=2", &all[2..]),
        ("?limit=3", &all[..]),
        ("?offset=9", &[]),
    ] {
        assert_eq!(
            hub.get(&format!("/projects{query}")).await.ok(),
            json!({"projects": page, "total": 3}),
            "{query}"
        );
    }
}

/// A project is shown from its session, or else from its file.
#[tokio::test]
async fn project_is_shown_from_its_session_or_file() {
    let hub = TestHub::start().await;
    let made = create(&hub, json!({})).await.ok();
    let session = made["session_id"].as_str().expect("an id");
    let show = async || hub.get("/projects/book").await.ok();
    let shown = show().await;
    let expected = json!({
        "project_id": "book", "project_name": "Book", "template_id": "novel", "session_id": session,
        "graph": made["graph"],
    });
    assert_eq!(shown, expected);
    hub.post(&format!("/sessions/{session}/save"), &json!({})).await.ok();
    let root = json!({"node_id": made["graph"]["roots"][0]["id"], "property_id": "name", "new_value": "Renamed"});
    hub.execute(session, "UpdateProperty", root).await.ok();
    assert_eq!(show().await["graph"]["roots"][0]["name"], "Renamed");
    hub.delete(&format!("/sessions/{session}")).await;
    let from_file = show().await;
    assert_eq!(from_file["session_id"], Value::Null);
    assert_eq!(from_file["graph"], made["graph"], "as it was saved");
    assert_eq!(from_file["project_name"], "Book");
    for missing in ["nothing", "x".repeat(64).as_str(), "x".repeat(65).as_str(), "Book"] {
        assert_eq!(
            hub.get(&format!("/projects/{missing}")).await.refused(),
            (404, "PROJECT_NOT_FOUND"),
            "{missing}"
        );
    }
}

/// Deleting a project deletes its session and its file, and no other project's.
#[tokio::test]
async fn deleted_project_has_neither_session_nor_file() {
    let hub = TestHub::start().await;
    let file = |id: &str| hub.dir.path().join(format!("projects/{id}.json"));
    let mut sessions = Vec::new();
    for id in ["open", "saved", "both", "other"] {
        let made = create(&hub, json!({"project_id": id})).await.ok();
        sessions.push(made["session_id"].as_str().expect("an id").to_owned());
    }
    for session in &sessions[1..] {
        hub.post(&format!("/sessions/{session}/save"), &json!({})).await.ok();
    }
    hub.delete(&format!("/sessions/{}", sessions[1])).await;
    for id in ["open", "saved", "both"] {
        assert_eq!(hub.delete(&format!("/projects/{id}")).await.status, 204, "{id}");
        assert!(!file(id).exists(), "{id}");
        assert_eq!(
            hub.delete(&format!("/projects/{id}")).await.refused(),
            (404, "PROJECT_NOT_FOUND"),
            "{id}"
        );
        assert_eq!(
            hub.post(&format!("/projects/{id}/open"), &json!({})).await.refused().1,
            "PROJECT_NOT_FOUND"
        );
    }
    for session in &sessions[..3] {
        assert_eq!(
            hub.get(&format!("/sessions/{session}/info")).await.refused(),
            (404, "INVALID_SESSION")
        );
    }
    assert!(file("other").exists());
    assert_eq!(hub.get("/projects").await.ok()["total"], 1);
}

/// Templates are listed by id. An invalid template is listed with its error and hides no other.
#[tokio::test]
async fn templates_are_listed_with_their_errors() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let own = format!("{}/config/templates/novel.yaml", crate::support::ROOT);
    std::fs::copy(own, dir.path().join("novel.yaml")).expect("copied");
    let uuid = "11111111-1111-4111-8111-111111111111";
    let full = format!(
        "name: Full\nuuid: {uuid}\nversion: \"2.1\"\ndescription: All of it\nnode_types: [{{id: t, label: T}}]\n"
    );
    std::fs::write(dir.path().join("a.full-1.yaml"), full).expect("written");
    std::fs::write(dir.path().join("broken.yaml"), "name: Broken\n").expect("written");
    std::fs::write(dir.path().join("not utf8.yaml"), "name: x\n").expect("written");
    std::fs::write(dir.path().join("readme.md"), "x").expect("written");
    let hub = TestHub::with(|config| config.templates.dir = dir.path().to_owned()).await;
    let list = hub.get("/templates").await.ok();
    let expected = json!([
        {"id": "a.full-1", "uuid": uuid, "name": "Full", "version": "2.1", "description": "All of it"},
        {"id": "broken", "error": "node_types: must have at least one type"},
        {"id": "novel", "uuid": null, "name": "Novel", "version": "1.0", "description": list["templates"][2]["description"]},
    ]);
    assert_eq!(list["templates"], expected);
}

/// A schema has the data for a front end's forms: uuids and keys, children by uuid, properties of features, options
/// with ids.
#[tokio::test]
async fn schema_has_types_properties_and_options() {
    let hub = TestHub::start().await;
    let schema = hub.get("/templates/software_project/schema").await.ok();
    assert_eq!(
        (&schema["id"], &schema["name"]),
        (&json!("software_project"), &json!("Software Project"))
    );
    let types = schema["node_types"].as_array().expect("a list");
    let keys: Vec<&str> = types
        .iter()
        .map(|node_type| node_type["key"].as_str().expect("a key"))
        .collect();
    assert_eq!(
        keys,
        ["project", "release", "milestone", "task", "bug", "team", "person"],
        "in the order of the file"
    );
    let of = |key: &str| &types[keys.iter().position(|other| *other == key).expect(key)];
    assert_eq!(
        of("project")["allowed_children"],
        json!([of("release")["id"], of("team")["id"]])
    );
    assert_eq!(
        (&of("task")["icon"], &of("task")["color"]),
        (&json!("check-square"), &json!("#10b981"))
    );
    assert_eq!(of("project")["features"], json!(["is_root"]));
    let property = |node_type: &str, key: &str| {
        let properties = of(node_type)["properties"].as_array().expect("a list").clone();
        properties
            .into_iter()
            .find(|property| property["key"] == key)
            .expect(key)
    };
    let severity = property("bug", "severity");
    assert_eq!(
        (&severity["type"], &severity["required"]),
        (&json!("select"), &json!(false))
    );
    let options = severity["options"].as_array().expect("a list");
    let normal = options
        .iter()
        .find(|option| option["name"] == "Normal")
        .expect("an option");
    assert_eq!(
        severity["default"], normal["id"],
        "the default is kept as the option's id"
    );
    let name = property("task", "name");
    assert_eq!(
        (&name["type"], &name["required"], &name["options"]),
        (&json!("text"), &json!(true), &Value::Null)
    );
    assert_eq!(
        property("task", "status")["options"][0]["indicator_id"],
        "empty",
        "from the feature scheduling"
    );
    assert_eq!(
        property("person", "hourly_rate_monday")["type"],
        "number",
        "from the slug person"
    );
    assert_eq!(
        hub.get("/templates/nothing/schema").await.refused(),
        (404, "TEMPLATE_NOT_FOUND")
    );
}

/// A project that is deleted during saves stays deleted: no save writes its file afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn project_deleted_during_saves_stays_deleted() {
    let hub = TestHub::start().await;
    for round in 0..20 {
        let project = json!({"template_id": "software_project", "project_name": "Gone", "project_id": "gone"});
        let made = hub.post("/projects", &project).await.ok();
        let session_id = made["session_id"].as_str().expect("an id").to_owned();
        let (save, nothing) = (format!("/sessions/{session_id}/save"), json!({}));
        let saves = async {
            for _ in 0..4 {
                hub.post(&save, &nothing).await;
            }
        };
        let (_, deleted) = tokio::join!(saves, hub.delete("/projects/gone"));
        assert_eq!(deleted.status, 204, "round {round}");
        let again = hub.get("/projects/gone").await;
        assert_eq!(again.refused(), (404, "PROJECT_NOT_FOUND"), "round {round}");
        assert!(!hub.dir.path().join("projects/gone.json").exists(), "round {round}");
    }
}
