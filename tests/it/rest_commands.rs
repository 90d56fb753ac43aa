//! Commands over REST: answers, changes, events and refusals of every command type.

use serde_json::{Value, json};

use crate::support::TestHub;

/// Returns names and payloads of the events after a `seq`, without the members that every event has.
async fn bare_events(hub: &TestHub, session: &str, after: u64) -> Vec<(String, Value)> {
    let bare = |(name, mut data): (String, Value)| {
        let members = data.as_object_mut().expect("an object");
        for common in [
            "session_id",
            "project_id",
            "timestamp",
            "command_id",
            "origin",
            "epoch",
            "seq",
        ] {
            members.remove(common).expect(common);
        }
        (name, data)
    };
    hub.events(session, after).await.into_iter().map(bare).collect()
}

/// Returns the closing event of a command on one node.
fn executed(command_type: &str, node_id: &str) -> (String, Value) {
    let data = json!({
        "command_type": command_type, "result": {"node_id": node_id}, "undo_available": true, "redo_available": false,
    });
    ("command:executed".to_owned(), data)
}

fn event(name: &str, data: Value) -> (String, Value) {
    (name.to_owned(), data)
}

/// Creates a session without a template: a root with the children a, b and c, and a second root.
async fn forest(hub: &TestHub) -> (String, [String; 5]) {
    let session = hub.session().await;
    let root = hub.create_node(&session, None, "root").await;
    let [a, b, c] = [
        hub.create_node(&session, Some(&root), "a").await,
        hub.create_node(&session, Some(&root), "b").await,
        hub.create_node(&session, Some(&root), "c").await,
    ];
    let beside = hub.create_node(&session, None, "beside").await;
    (session, [root, a, b, c, beside])
}

async fn seq(hub: &TestHub, session: &str) -> u64 {
    hub.get(&format!("/sessions/{session}/info")).await.ok()["seq"]
        .as_u64()
        .expect("a seq")
}

/// P1: the answer to a command has the documented members, and its `seq` follows the preceding one.
#[tokio::test]
async fn accepted_command_has_the_documented_answer() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let epoch = hub.get(&format!("/sessions/{session}/info")).await.ok()["epoch"].clone();
    let id = "aaaaaaaa-0000-4000-8000-000000000001";
    let data = json!({"blueprint_type_id": "task", "name": "First", "node_id": "BBBBBBBB-0000-4000-8000-000000000001"});
    let answer = hub
        .execute_with(&session, "CreateNode", data, json!({"command_id": id.to_uppercase()}))
        .await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    let read = hub.get(&format!("/sessions/{session}/graph")).await.ok();
    let expected = json!({
        "success": true, "command_id": id, "epoch": epoch, "first_seq": 1, "seq": 2,
        "node_id": "bbbbbbbb-0000-4000-8000-000000000001",
        "undo_available": true, "redo_available": false, "is_dirty": true, "state_hash": read["state_hash"],
    });
    assert_eq!(answer.json(), expected);
    let generated = hub
        .execute(&session, "CreateNode", json!({"blueprint_type_id": "task"}))
        .await
        .ok();
    assert_eq!((&generated["first_seq"], &generated["seq"]), (&json!(3), &json!(4)));
    let generated_id = generated["command_id"].as_str().expect("an id");
    assert!(
        generated_id.len() == 36 && generated_id != id && generated_id == generated_id.to_lowercase(),
        "{generated_id}"
    );
}

/// `CreateNode` places a node at the end or at an index, as root or child, with a default name.
#[tokio::test]
async fn create_node_places_by_parent_and_index() {
    let hub = TestHub::start().await;
    let (session, [root, ..]) = forest(&hub).await;
    let after = seq(&hub, &session).await;
    let create = |data: Value| hub.execute(&session, "CreateNode", data);
    let unnamed = create(json!({"blueprint_type_id": "any type", "parent_id": null}))
        .await
        .ok();
    create(json!({"blueprint_type_id": "t", "name": "second", "parent_id": root, "index": 1}))
        .await
        .ok();
    create(json!({"blueprint_type_id": "t", "properties": {"name": "first root", "n": 1}, "index": 0}))
        .await
        .ok();
    create(json!({"blueprint_type_id": "t", "name": "last", "parent_id": root, "index": 4}))
        .await
        .ok();
    let outline = [
        "first root",
        "root",
        " a",
        " second",
        " b",
        " c",
        " last",
        "beside",
        "New Node",
    ];
    assert_eq!(hub.outline(&session).await, outline);
    let first = bare_events(&hub, &session, after).await.swap_remove(0);
    let data = json!({
        "node_id": unnamed["node_id"], "name": "New Node", "blueprint_type_id": "any type", "parent_id": null,
        "index": 2, "properties": {},
    });
    assert_eq!(first, event("graph:node-created", data));
    let graph = hub.graph(&session).await;
    assert_eq!(
        graph["roots"][0]["properties"],
        json!({"n": 1}),
        "the name is not a property"
    );
    let taken = create(json!({"blueprint_type_id": "t", "node_id": root})).await;
    assert_eq!(taken.refused(), (409, "NODE_EXISTS"));
    assert_eq!(taken.body["error"]["node_id"], json!(root));
}

/// `DeleteNode` deletes the subtree with one event for each node, children before parents, and one undo restores the
/// subtree in place.
#[tokio::test]
async fn delete_node_removes_the_subtree_and_undo_restores_it() {
    let hub = TestHub::start().await;
    let (session, [root, a, b, c, _]) = forest(&hub).await;
    let below = hub.create_node(&session, Some(&b), "below").await;
    let before = hub.graph(&session).await;
    let after = seq(&hub, &session).await;
    hub.execute(&session, "DeleteNode", json!({"node_id": root})).await.ok();
    assert_eq!(hub.outline(&session).await, ["beside"]);
    let deleted =
        |id: &str, parent: Option<&str>| event("graph:node-deleted", json!({"node_id": id, "parent_id": parent}));
    let expected = [
        deleted(&c, Some(&root)),
        deleted(&below, Some(&b)),
        deleted(&b, Some(&root)),
        deleted(&a, Some(&root)),
        deleted(&root, None),
        executed("DeleteNode", &root),
    ];
    assert_eq!(bare_events(&hub, &session, after).await, expected);
    hub.post(&format!("/sessions/{session}/undo"), &json!({})).await.ok();
    assert_eq!(hub.graph(&session).await, before);
    hub.execute(&session, "DeleteNode", json!({"node_id": b})).await.ok();
    let again = hub.execute(&session, "DeleteNode", json!({"node_id": below})).await;
    assert_eq!(again.refused(), (404, "NODE_NOT_FOUND"));
}

/// `LinkNode` links a root to a parent, and `UnlinkNode` makes a child the last root.
#[tokio::test]
async fn link_and_unlink_move_between_roots_and_children() {
    let hub = TestHub::start().await;
    let (session, [root, a, _, _, beside]) = forest(&hub).await;
    let after = seq(&hub, &session).await;
    let linked = hub
        .execute(
            &session,
            "LinkNode",
            json!({"parent_id": root, "child_id": beside, "index": 1}),
        )
        .await
        .ok();
    assert_eq!(linked["node_id"], json!(beside));
    assert_eq!(hub.outline(&session).await, ["root", " a", " beside", " b", " c"]);
    hub.execute(&session, "UnlinkNode", json!({"parent_id": root, "child_id": a}))
        .await
        .ok();
    assert_eq!(hub.outline(&session).await, ["root", " beside", " b", " c", "a"]);
    let expected = [
        event(
            "graph:node-linked",
            json!({"parent_id": root, "child_id": beside, "index": 1}),
        ),
        executed("LinkNode", &beside),
        event("graph:node-unlinked", json!({"parent_id": root, "child_id": a})),
        executed("UnlinkNode", &a),
    ];
    assert_eq!(bare_events(&hub, &session, after).await, expected);
}

/// `MoveNode` and `ReorderNode` send an unlinked and a linked event, also for roots. P1: a command without effect takes
/// no `seq`.
#[tokio::test]
async fn move_and_reorder_send_unlinked_and_linked_events() {
    let hub = TestHub::start().await;
    let (session, [root, a, b, c, beside]) = forest(&hub).await;
    let after = seq(&hub, &session).await;
    let pair = |from: Option<&str>, to: Option<&str>, child: &str, index: usize| {
        [
            event("graph:node-unlinked", json!({"parent_id": from, "child_id": child})),
            event(
                "graph:node-linked",
                json!({"parent_id": to, "child_id": child, "index": index}),
            ),
        ]
    };
    hub.execute(&session, "MoveNode", json!({"node_id": c, "new_parent_id": a}))
        .await
        .ok();
    hub.execute(
        &session,
        "MoveNode",
        json!({"node_id": b, "new_parent_id": null, "index": 0}),
    )
    .await
    .ok();
    hub.execute(&session, "ReorderNode", json!({"node_id": beside, "new_index": 0}))
        .await
        .ok();
    assert_eq!(hub.outline(&session).await, ["beside", "b", "root", " a", "  c"]);
    let mut expected = pair(Some(&root), Some(&a), &c, 0).to_vec();
    expected.push(executed("MoveNode", &c));
    expected.extend(pair(Some(&root), None, &b, 0));
    expected.push(executed("MoveNode", &b));
    expected.extend(pair(None, None, &beside, 0));
    expected.push(executed("ReorderNode", &beside));
    assert_eq!(bare_events(&hub, &session, after).await, expected);

    let at = seq(&hub, &session).await;
    for (command_type, data) in [
        ("ReorderNode", json!({"node_id": beside, "new_index": 0})),
        ("MoveNode", json!({"node_id": c, "new_parent_id": a})),
        ("MoveNode", json!({"node_id": root, "new_parent_id": null})),
        (
            "UpdateProperty",
            json!({"node_id": a, "property_id": "name", "new_value": "a"}),
        ),
        ("Batch", json!({"commands": []})),
    ] {
        let answer = hub.execute(&session, command_type, data).await.ok();
        assert_eq!(
            (&answer["seq"], answer.get("first_seq")),
            (&json!(at), None),
            "{command_type}"
        );
    }
    assert_eq!(hub.events(&session, at).await, []);
}

/// `UpdateProperty` sets and `DeleteProperty` removes a property. The property `name` is the node's name. The hub
/// determines `old_value` and ignores a client's claim.
#[tokio::test]
async fn properties_are_updated_and_deleted() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let node = hub.create_node(&session, None, "before").await;
    let after = seq(&hub, &session).await;
    let update = |rest: Value| {
        let mut data = json!({"node_id": node});
        data.as_object_mut()
            .expect("an object")
            .extend(rest.as_object().expect("an object").clone());
        hub.execute(&session, "UpdateProperty", data)
    };
    update(json!({"property_id": "p", "new_value": {"a": [1, null]}, "old_value": "a lie"}))
        .await
        .ok();
    update(json!({"property_id": "p", "value": false})).await.ok();
    update(json!({"property_id": "p", "new_value": null, "value": 5}))
        .await
        .ok();
    update(json!({"property_id": "name", "new_value": "after"})).await.ok();
    hub.execute(&session, "DeleteProperty", json!({"node_id": node, "property_id": "p"}))
        .await
        .ok();
    let changed = |property: &str, old: Value, new: Value| {
        let data = json!({"node_id": node, "property_id": property, "old_value": old, "new_value": new});
        event("graph:property-changed", data)
    };
    let expected = [
        changed("p", json!(null), json!({"a": [1, null]})),
        executed("UpdateProperty", &node),
        changed("p", json!({"a": [1, null]}), json!(false)),
        executed("UpdateProperty", &node),
        changed("p", json!(false), json!(null)),
        executed("UpdateProperty", &node),
        changed("name", json!("before"), json!("after")),
        executed("UpdateProperty", &node),
        event(
            "graph:property-deleted",
            json!({"node_id": node, "property_id": "p", "old_value": null}),
        ),
        executed("DeleteProperty", &node),
    ];
    assert_eq!(bare_events(&hub, &session, after).await, expected);
    let graph = hub.graph(&session).await;
    assert_eq!(
        (&graph["roots"][0]["name"], &graph["roots"][0]["properties"]),
        (&json!("after"), &json!({}))
    );
}

/// P5: a refused command has its code and details, and changes nothing.
#[tokio::test]
async fn refused_command_has_details_and_changes_nothing() {
    const UNKNOWN_ID: &str = "00000000-0000-4000-8000-000000000000";
    let hub = TestHub::start().await;
    let (session, [root, a, b, _, beside]) = forest(&hub).await;
    let below = hub.create_node(&session, Some(&a), "below").await;
    let info = format!("/sessions/{session}/info");
    let (graph, before) = (hub.graph(&session).await, hub.get(&info).await.ok());
    for (command_type, data, status, code, details) in [
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "parent_id": UNKNOWN_ID}),
            404,
            "NODE_NOT_FOUND",
            json!({"node_id": UNKNOWN_ID}),
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "node_id": a}),
            409,
            "NODE_EXISTS",
            json!({"node_id": a}),
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "name": " "}),
            400,
            "INVALID_VALUE",
            json!({"property_id": "name"}),
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "name": "a\u{7}"}),
            400,
            "INVALID_VALUE",
            json!({"property_id": "name"}),
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "properties": {"name": 7}}),
            400,
            "INVALID_VALUE",
            json!({"property_id": "name", "expected": "a string"}),
        ),
        (
            "DeleteNode",
            json!({"node_id": UNKNOWN_ID}),
            404,
            "NODE_NOT_FOUND",
            json!({"node_id": UNKNOWN_ID}),
        ),
        (
            "LinkNode",
            json!({"parent_id": UNKNOWN_ID, "child_id": beside}),
            404,
            "NODE_NOT_FOUND",
            json!({"node_id": UNKNOWN_ID}),
        ),
        (
            "LinkNode",
            json!({"parent_id": root, "child_id": UNKNOWN_ID}),
            404,
            "NODE_NOT_FOUND",
            json!({"node_id": UNKNOWN_ID}),
        ),
        (
            "LinkNode",
            json!({"parent_id": beside, "child_id": a}),
            409,
            "ALREADY_LINKED",
            json!({"child_id": a, "parent_id": root}),
        ),
        (
            "LinkNode",
            json!({"parent_id": below, "child_id": root}),
            400,
            "CYCLE",
            json!({"node_id": root, "parent_id": below}),
        ),
        (
            "LinkNode",
            json!({"parent_id": root, "child_id": root}),
            400,
            "CYCLE",
            json!({"node_id": root, "parent_id": root}),
        ),
        (
            "LinkNode",
            json!({"parent_id": beside, "child_id": root, "index": 1}),
            400,
            "INDEX_OUT_OF_RANGE",
            json!({"index": 1, "max": 0}),
        ),
        (
            "UnlinkNode",
            json!({"parent_id": beside, "child_id": a}),
            409,
            "NOT_LINKED",
            json!({"child_id": a, "parent_id": beside}),
        ),
        (
            "UnlinkNode",
            json!({"parent_id": root, "child_id": beside}),
            409,
            "NOT_LINKED",
            json!({"child_id": beside, "parent_id": root}),
        ),
        (
            "UnlinkNode",
            json!({"parent_id": UNKNOWN_ID, "child_id": a}),
            404,
            "NODE_NOT_FOUND",
            json!({"node_id": UNKNOWN_ID}),
        ),
        (
            "MoveNode",
            json!({"node_id": a, "new_parent_id": below}),
            400,
            "CYCLE",
            json!({"node_id": a, "parent_id": below}),
        ),
        (
            "MoveNode",
            json!({"node_id": a, "new_parent_id": a}),
            400,
            "CYCLE",
            json!({"node_id": a, "parent_id": a}),
        ),
        (
            "MoveNode",
            json!({"node_id": a, "new_parent_id": UNKNOWN_ID}),
            404,
            "NODE_NOT_FOUND",
            json!({"node_id": UNKNOWN_ID}),
        ),
        (
            "MoveNode",
            json!({"node_id": UNKNOWN_ID, "new_parent_id": null}),
            404,
            "NODE_NOT_FOUND",
            json!({"node_id": UNKNOWN_ID}),
        ),
        (
            "MoveNode",
            json!({"node_id": a, "new_parent_id": null, "index": 3}),
            400,
            "INDEX_OUT_OF_RANGE",
            json!({"index": 3, "max": 2}),
        ),
        (
            "ReorderNode",
            json!({"node_id": b, "new_index": 3}),
            400,
            "INDEX_OUT_OF_RANGE",
            json!({"index": 3, "max": 2}),
        ),
        (
            "ReorderNode",
            json!({"node_id": UNKNOWN_ID, "new_index": 0}),
            404,
            "NODE_NOT_FOUND",
            json!({"node_id": UNKNOWN_ID}),
        ),
        (
            "UpdateProperty",
            json!({"node_id": UNKNOWN_ID, "property_id": "p", "new_value": 1}),
            404,
            "NODE_NOT_FOUND",
            json!({"node_id": UNKNOWN_ID}),
        ),
        (
            "UpdateProperty",
            json!({"node_id": a, "property_id": "name", "new_value": null}),
            400,
            "INVALID_VALUE",
            json!({"property_id": "name"}),
        ),
        (
            "UpdateProperty",
            json!({"node_id": a, "property_id": "name", "new_value": ""}),
            400,
            "INVALID_VALUE",
            json!({"property_id": "name"}),
        ),
        (
            "DeleteProperty",
            json!({"node_id": a, "property_id": "p"}),
            404,
            "PROPERTY_NOT_FOUND",
            json!({"node_id": a, "property_id": "p"}),
        ),
        (
            "DeleteProperty",
            json!({"node_id": a, "property_id": "name"}),
            400,
            "INVALID_VALUE",
            json!({"property_id": "name"}),
        ),
        (
            "DeleteProperty",
            json!({"node_id": UNKNOWN_ID, "property_id": "p"}),
            404,
            "NODE_NOT_FOUND",
            json!({"node_id": UNKNOWN_ID}),
        ),
    ] {
        let refused = hub.execute(&session, command_type, data.clone()).await;
        assert_eq!(
            refused.refused(),
            (status, code),
            "{command_type} {data}: {}",
            refused.body
        );
        for (name, value) in details.as_object().expect("an object") {
            assert_eq!(
                &refused.body["error"][name], value,
                "{command_type} {data}: {}",
                refused.body
            );
        }
    }
    assert_eq!(hub.graph(&session).await, graph);
    let mut now = hub.get(&info).await.ok();
    now["last_activity"] = before["last_activity"].clone();
    assert_eq!(now, before, "the session is unchanged, undo stack included");
}

/// The answer has the graph if the request asks for the graph, or else if the configuration says so.
#[tokio::test]
async fn graph_is_in_the_answer_on_request() {
    for by_default in [false, true] {
        let hub = TestHub::with(|config| config.rest.return_graph = by_default).await;
        let session = hub.session().await;
        let command = json!({"session_id": session, "command_type": "CreateNode", "data": {"blueprint_type_id": "t"}});
        for (query, wanted) in [("", by_default), ("?graph=true", true), ("?graph=false", false)] {
            let answer = hub.post(&format!("/commands/execute{query}"), &command).await.ok();
            let graph = hub.graph(&session).await;
            assert_eq!(answer.get("graph"), wanted.then_some(&graph), "{by_default} {query}");
            for word in ["undo", "redo"] {
                let answer = hub
                    .post(&format!("/sessions/{session}/{word}{query}"), &json!({}))
                    .await
                    .ok();
                assert_eq!(answer.get("graph").is_some(), wanted, "{by_default} {word}{query}");
            }
        }
    }
}

/// With a template, commands take slugs or uuids, and events have uuids: types, properties with their key, options of a
/// select. A new node has the template's defaults.
#[tokio::test]
async fn template_commands_take_slugs_and_events_have_uuids() {
    let hub = TestHub::start().await;
    let made = hub
        .post(
            "/projects",
            &json!({"template_id": "software_project", "project_name": "Shop"}),
        )
        .await
        .ok();
    let session = made["session_id"].as_str().expect("an id");
    let root = &made["graph"]["roots"][0]["id"];
    let schema = hub.get("/templates/software_project/schema").await.ok();
    let find = |list: &Value, key: &str| {
        let found = list.as_array().expect("a list").iter().find(|item| item["key"] == key);
        found.expect(key).clone()
    };
    let release = find(&schema["node_types"], "release");
    let (state, due) = (
        find(&release["properties"], "state"),
        find(&release["properties"], "due"),
    );
    let name = find(&release["properties"], "name");
    let create = json!({"blueprint_type_id": "release", "parent_id": root, "name": "1.0"});
    let created = hub.execute(session, "CreateNode", create).await.ok();
    let node = &hub.graph(session).await["roots"][0]["children"][0];
    assert_eq!(node["blueprint_type_id"], release["id"]);
    let first_option = &state["options"][0]["id"];
    assert_eq!(
        node["properties"],
        json!({(state["id"].as_str().expect("an id")): first_option}),
        "the defaults"
    );

    let after = seq(&hub, session).await;
    for (property, value) in [("state", json!("Released")), ("name", json!("1.1"))] {
        let data = json!({"node_id": created["node_id"], "property_id": property, "new_value": value});
        hub.execute(session, "UpdateProperty", data).await.ok();
    }
    let by_id = json!({"node_id": created["node_id"], "property_id": due["id"], "new_value": "2026-05-01"});
    hub.execute(session, "UpdateProperty", by_id).await.ok();
    let events = bare_events(&hub, session, after).await;
    let changed = |property: &Value, old: &Value, new: Value| {
        let data = json!({
            "node_id": created["node_id"], "property_id": property["id"], "property_key": property["key"],
            "old_value": old, "new_value": new,
        });
        event("graph:property-changed", data)
    };
    assert_eq!(
        events[0],
        changed(&state, first_option, state["options"][2]["id"].clone()),
        "an option by its name"
    );
    assert_eq!(
        events[2],
        changed(&name, &json!("1.0"), json!("1.1")),
        "the name has a uuid too"
    );
    assert_eq!(events[4], changed(&due, &Value::Null, json!("2026-05-01")));
}

/// With a template, unknown types, properties and values are refused with the allowed ones.
#[tokio::test]
async fn template_refuses_unknown_types_properties_and_values() {
    let hub = TestHub::start().await;
    let made = hub
        .post(
            "/projects",
            &json!({"template_id": "software_project", "project_name": "Shop"}),
        )
        .await
        .ok();
    let session = made["session_id"].as_str().expect("an id");
    let root = &made["graph"]["roots"][0]["id"];
    let create = async |parent: &Value, node_type: &str| {
        let data = json!({"blueprint_type_id": node_type, "parent_id": parent, "name": node_type});
        hub.execute(session, "CreateNode", data).await.ok()["node_id"].clone()
    };
    let release = create(root, "release").await;
    let (task, bug) = (create(&release, "task").await, create(&release, "bug").await);
    let before = hub.graph(session).await;
    let set = |node: &Value, property: &str, value: Value| json!({"node_id": node, "property_id": property, "new_value": value});
    for (command_type, data, code, detail) in [
        (
            "CreateNode",
            json!({"blueprint_type_id": "spaceship", "parent_id": root}),
            "UNKNOWN_NODE_TYPE",
            json!({"blueprint_type_id": "spaceship"}),
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "task", "parent_id": root}),
            "CHILD_NOT_ALLOWED",
            json!({"parent_type": "project", "child_type": "task"}),
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "task", "properties": {"warp": 9}}),
            "UNKNOWN_PROPERTY",
            json!({"property_id": "warp"}),
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "task", "properties": {"points": "many"}}),
            "INVALID_VALUE",
            json!({"property_id": "points"}),
        ),
        (
            "MoveNode",
            json!({"node_id": release, "new_parent_id": task}),
            "CYCLE",
            json!({}),
        ),
        (
            "MoveNode",
            json!({"node_id": task, "new_parent_id": bug}),
            "CHILD_NOT_ALLOWED",
            json!({"parent_type": "bug", "child_type": "task"}),
        ),
        (
            "UpdateProperty",
            set(&task, "warp", json!(9)),
            "UNKNOWN_PROPERTY",
            json!({"property_id": "warp"}),
        ),
        (
            "UpdateProperty",
            set(&task, "points", json!(true)),
            "INVALID_VALUE",
            json!({"property_id": "points", "expected": "a number or a string that is one"}),
        ),
        (
            "UpdateProperty",
            set(&task, "start_date", json!("2026-02-30")),
            "INVALID_VALUE",
            json!({"property_id": "start_date"}),
        ),
        (
            "UpdateProperty",
            set(&task, "status", json!("Nope")),
            "INVALID_VALUE",
            json!({"expected": "one of \"To Do\", \"In Progress\", \"Done\""}),
        ),
        (
            "UpdateProperty",
            set(&task, "blocked_by", json!("00000000-0000-4000-8000-000000000000")),
            "INVALID_VALUE",
            json!({"property_id": "blocked_by"}),
        ),
        (
            "UpdateProperty",
            set(&task, "notes", json!(1)),
            "INVALID_VALUE",
            json!({"expected": "a string"}),
        ),
        (
            "UpdateProperty",
            set(&bug, "regression", json!("true")),
            "INVALID_VALUE",
            json!({"expected": "true or false"}),
        ),
    ] {
        let refused = hub.execute(session, command_type, data.clone()).await;
        assert_eq!(refused.refused(), (400, code), "{data}: {}", refused.body);
        for (name, value) in detail.as_object().expect("an object") {
            assert_eq!(&refused.body["error"][name], value, "{data}");
        }
    }
    assert_eq!(hub.graph(session).await, before, "P5");
    for (node, property, value) in [
        (&task, "points", json!("12.50")),
        (&task, "points", json!(null)),
        (&task, "blocked_by", json!([bug])),
        (&task, "start_date", json!("")),
        (&task, "allocations", json!({"x": 1})),
        (&bug, "regression", json!(true)),
    ] {
        hub.execute(session, "UpdateProperty", set(node, property, value))
            .await
            .ok();
    }
}
