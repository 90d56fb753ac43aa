//! Each of the fifteen events, from the request that causes it to the client that gets it, on both transports: every
//! field of the envelope and of the payload (docs/PROTOCOL.md, section 2).

use serde_json::{Value, json};

use super::{
    driver::{Connect, Driver, Transport},
    on_both_transports,
};
use crate::support::TestHub;

on_both_transports!(
    node_created_event_has_every_field,
    node_deleted_events_have_children_first,
    node_linked_event_has_every_field,
    node_unlinked_event_has_every_field,
    property_changed_event_has_both_values,
    property_deleted_event_has_the_old_value,
    executing_and_executed_events_enclose_changes,
    command_failed_event_has_the_error,
    undo_event_follows_its_changes,
    redo_event_follows_its_changes,
    connected_event_has_the_count,
    disconnected_event_has_the_reason,
    project_saved_event_has_the_path,
    project_loaded_event_has_the_graph,
    template_properties_are_named_by_uuid_in_events,
);

/// Hub with one session, and a client in the session that listens.
struct Scene {
    hub: TestHub,
    session: String,
    epoch: Value,
    project: Value,
    js: Driver,
}

/// Name of the client that listens.
const EAR: &str = "ear";

impl Scene {
    /// Starts a session without a project, prepares it, and joins the client that listens.
    async fn after(transport: Transport, prepare: impl AsyncFnOnce(&TestHub, &str)) -> Self {
        let hub = TestHub::start().await;
        let session = hub.session().await;
        prepare(&hub, &session).await;
        Self::listening(hub, session, transport).await
    }

    async fn empty(transport: Transport) -> Self {
        Self::after(transport, async |_, _| {}).await
    }

    async fn listening(hub: TestHub, session: String, transport: Transport) -> Self {
        let mut js = Driver::javascript();
        let sync = js
            .settle(EAR, &Connect::to(&hub.url, &session, transport).named(EAR))
            .await;
        Self {
            epoch: sync["epoch"].clone(),
            project: sync["project_id"].clone(),
            hub,
            session,
            js,
        }
    }

    /// Executes a command as the client `bob`, under the id [`COMMAND`], and returns the answer.
    async fn execute(&self, command_type: &str, data: Value) -> Value {
        self.request(
            "/commands/execute",
            json!({"session_id": self.session, "command_type": command_type, "data": data, "command_id": COMMAND}),
        )
        .await
    }

    async fn request(&self, path: &str, body: Value) -> Value {
        let request = self
            .hub
            .http()
            .post(self.hub.api(path))
            .header("X-Client-Id", "bob")
            .json(&body);
        self.hub.send(request).await.body
    }

    /// Asserts that the next event is this one, with this payload and the envelope of an event of the room.
    async fn expect_room_event(&mut self, name: &str, payload: Value) {
        let envelope = json!({"session_id": self.session, "project_id": self.project});
        self.expect_event(name, envelope, payload).await;
    }

    /// Asserts that the next event is this one, with this payload and the envelope of an event of a command.
    async fn expect_command_event(&mut self, name: &str, payload: Value) {
        let envelope = json!({
            "session_id": self.session, "project_id": self.project, "command_id": COMMAND,
            "origin": {"client_id": "bob"},
        });
        self.expect_event(name, envelope, payload).await;
    }

    /// Asserts that the next event is this one, with this payload and the envelope of a sequenced event.
    async fn expect_sequenced_event(&mut self, name: &str, seq: u64, payload: Value) {
        let envelope = json!({
            "session_id": self.session, "project_id": self.project, "command_id": COMMAND,
            "origin": {"client_id": "bob"}, "epoch": self.epoch, "seq": seq,
        });
        self.expect_event(name, envelope, payload).await;
    }

    async fn expect_event(&mut self, name: &str, envelope: Value, payload: Value) {
        let mut observed = self.js.event(EAR, name).await;
        let observed = observed.as_object_mut().expect("an object");
        let timestamp = observed.remove("timestamp").expect("a time");
        assert!(is_timestamp(timestamp.as_str().expect("a text")), "{timestamp}");
        let (Value::Object(mut wanted), Value::Object(payload)) = (envelope, payload) else {
            unreachable!("both are objects");
        };
        wanted.extend(payload);
        assert_eq!(observed, &wanted, "{name}");
    }
}

const COMMAND: &str = "0c0ffee0-0000-4000-8000-000000000001";
const NODE: &str = "0de00000-0000-4000-8000-000000000001";
const CHILD: &str = "0de00000-0000-4000-8000-000000000002";

/// Returns true for a time as RFC 3339 in UTC, with milliseconds and a `Z`.
fn is_timestamp(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|char| if char.is_ascii_digit() { '0' } else { char })
        .collect();
    shape == "0000-00-00T00:00:00.000Z"
}

async fn root(hub: &TestHub, session: &str) {
    create(hub, session, NODE, Value::Null).await;
}

async fn root_and_child(hub: &TestHub, session: &str) {
    root(hub, session).await;
    create(hub, session, CHILD, json!(NODE)).await;
}

async fn two_roots(hub: &TestHub, session: &str) {
    root(hub, session).await;
    create(hub, session, CHILD, Value::Null).await;
}

async fn create(hub: &TestHub, session: &str, node_id: &str, parent_id: Value) {
    let data = json!({
        "blueprint_type_id": "task", "node_id": node_id, "name": "N", "parent_id": parent_id, "properties": {"done": false},
    });
    hub.execute(session, "CreateNode", data).await.ok();
}

/// `graph:node-created` has the node with its parent, index and properties.
async fn node_created_event_has_every_field(transport: Transport) {
    let mut scene = Scene::after(transport, root).await;
    let properties =
        json!({"text": "é \u{1F600}", "number": 1.5, "flag": true, "nothing": null, "list": [1, {"a": "b"}]});
    let data = json!({
        "blueprint_type_id": "task", "name": "New", "parent_id": NODE, "index": 0, "node_id": CHILD,
        "properties": properties,
    });
    scene.execute("CreateNode", data).await;
    scene
        .expect_command_event("command:executing", json!({"command_type": "CreateNode"}))
        .await;
    let created = json!({
        "node_id": CHILD, "name": "New", "blueprint_type_id": "task", "parent_id": NODE, "index": 0,
        "properties": properties,
    });
    scene.expect_sequenced_event("graph:node-created", 3, created).await;
}

/// `graph:node-deleted` comes for each node of a subtree, children before parents.
async fn node_deleted_events_have_children_first(transport: Transport) {
    let mut scene = Scene::after(transport, root_and_child).await;
    scene.execute("DeleteNode", json!({"node_id": NODE})).await;
    scene
        .expect_command_event("command:executing", json!({"command_type": "DeleteNode"}))
        .await;
    scene
        .expect_sequenced_event("graph:node-deleted", 5, json!({"node_id": CHILD, "parent_id": NODE}))
        .await;
    scene
        .expect_sequenced_event("graph:node-deleted", 6, json!({"node_id": NODE, "parent_id": null}))
        .await;
}

/// `graph:node-linked` has parent, child and index.
async fn node_linked_event_has_every_field(transport: Transport) {
    let mut scene = Scene::after(transport, two_roots).await;
    scene
        .execute("LinkNode", json!({"parent_id": NODE, "child_id": CHILD}))
        .await;
    scene
        .expect_command_event("command:executing", json!({"command_type": "LinkNode"}))
        .await;
    let linked = json!({"parent_id": NODE, "child_id": CHILD, "index": 0});
    scene.expect_sequenced_event("graph:node-linked", 5, linked).await;
}

/// `graph:node-unlinked` comes alone, and as the first half of a move.
async fn node_unlinked_event_has_every_field(transport: Transport) {
    let mut scene = Scene::after(transport, root_and_child).await;
    scene
        .execute("UnlinkNode", json!({"parent_id": NODE, "child_id": CHILD}))
        .await;
    scene
        .expect_command_event("command:executing", json!({"command_type": "UnlinkNode"}))
        .await;
    scene
        .expect_sequenced_event("graph:node-unlinked", 5, json!({"parent_id": NODE, "child_id": CHILD}))
        .await;
    scene.js.event(EAR, "command:executed").await;

    let session = scene.session.clone();
    scene
        .hub
        .execute(
            &session,
            "MoveNode",
            json!({"node_id": CHILD, "new_parent_id": null, "index": 0}),
        )
        .await
        .ok();
    let moved = scene.js.until(EAR, "command:executed").await;
    let observed: Vec<_> = moved.iter().filter_map(|observed| observed.event()).collect();
    assert_eq!(observed[1].0, "graph:node-unlinked");
    assert_eq!(
        observed[1].1["parent_id"],
        json!(null),
        "a root is unlinked from the roots"
    );
    assert_eq!(
        (observed[2].0, &observed[2].1["index"]),
        ("graph:node-linked", &json!(0))
    );
}

/// `graph:property-changed` has the old and the new value, for a property that was not set, for one that was set, and
/// for the name.
async fn property_changed_event_has_both_values(transport: Transport) {
    let mut scene = Scene::after(transport, root).await;
    for (seq, property, old_value, new_value) in [
        (3, "cost", json!(null), json!(12.5)),
        (5, "done", json!(false), json!([true, "x"])),
        (7, "name", json!("N"), json!("Renamed")),
    ] {
        let command = format!("0c0ffee0-0000-4000-8000-00000000000{seq}");
        let data = json!({"node_id": NODE, "property_id": property, "new_value": new_value});
        let body = json!({
            "session_id": scene.session, "command_type": "UpdateProperty", "data": data, "command_id": command,
        });
        scene.request("/commands/execute", body).await;
        scene.js.event(EAR, "command:executing").await;
        let envelope = json!({
            "session_id": scene.session, "project_id": null, "command_id": command, "origin": {"client_id": "bob"},
            "epoch": scene.epoch, "seq": seq,
        });
        let payload = json!({"node_id": NODE, "property_id": property, "old_value": old_value, "new_value": new_value});
        scene.expect_event("graph:property-changed", envelope, payload).await;
        scene.js.event(EAR, "command:executed").await;
    }
}

/// `graph:property-deleted` has the old value.
async fn property_deleted_event_has_the_old_value(transport: Transport) {
    let mut scene = Scene::after(transport, root).await;
    scene
        .execute("DeleteProperty", json!({"node_id": NODE, "property_id": "done"}))
        .await;
    scene
        .expect_command_event("command:executing", json!({"command_type": "DeleteProperty"}))
        .await;
    let deleted = json!({"node_id": NODE, "property_id": "done", "old_value": false});
    scene.expect_sequenced_event("graph:property-deleted", 3, deleted).await;
}

/// `command:executing` and `command:executed` enclose the changes. A command without changes has no `seq` of its own.
async fn executing_and_executed_events_enclose_changes(transport: Transport) {
    let mut scene = Scene::after(transport, root).await;
    let data = json!({"node_id": NODE, "property_id": "done", "new_value": false});
    let answer = scene.execute("UpdateProperty", data).await;
    assert_eq!(
        (&answer["success"], &answer["seq"], answer.get("first_seq")),
        (&json!(true), &json!(2), None)
    );
    scene
        .expect_command_event("command:executing", json!({"command_type": "UpdateProperty"}))
        .await;
    let executed = json!({
        "command_type": "UpdateProperty", "result": {"node_id": NODE}, "undo_available": true, "redo_available": false,
    });
    scene.expect_sequenced_event("command:executed", 2, executed).await;

    let data = json!({"commands": [
        {"command_type": "CreateNode", "data": {"blueprint_type_id": "task", "node_id": CHILD, "parent_id": NODE}},
        {"command_type": "DeleteNode", "data": {"node_id": CHILD}},
    ]});
    let answer = scene.execute("Batch", data).await;
    assert_eq!((&answer["first_seq"], &answer["seq"]), (&json!(3), &json!(5)));
    scene
        .expect_command_event("command:executing", json!({"command_type": "Batch"}))
        .await;
    scene.js.event(EAR, "graph:node-created").await;
    scene.js.event(EAR, "graph:node-deleted").await;
    let executed = json!({
        "command_type": "Batch", "result": {"node_ids": [CHILD]}, "undo_available": true, "redo_available": false,
    });
    scene.expect_sequenced_event("command:executed", 5, executed).await;
}

/// `command:failed` has the error of the answer. The next command takes the `seq` that the rejected one did not take
/// (P5).
async fn command_failed_event_has_the_error(transport: Transport) {
    let mut scene = Scene::after(transport, root).await;
    let answer = scene.execute("DeleteNode", json!({"node_id": CHILD})).await;
    assert_eq!(answer["error"]["code"], "NODE_NOT_FOUND");
    scene
        .expect_command_event("command:executing", json!({"command_type": "DeleteNode"}))
        .await;
    let failed = json!({"command_type": "DeleteNode", "error": answer["error"]});
    scene.expect_command_event("command:failed", failed).await;

    // A rejected command leaves no trace, so that its id is free.
    scene.execute("DeleteNode", json!({"node_id": NODE})).await;
    scene
        .expect_command_event("command:executing", json!({"command_type": "DeleteNode"}))
        .await;
    scene
        .expect_sequenced_event("graph:node-deleted", 3, json!({"node_id": NODE, "parent_id": null}))
        .await;
}

/// `command:undo` comes after the events of the undo (P6).
async fn undo_event_follows_its_changes(transport: Transport) {
    let mut scene = Scene::after(transport, root).await;
    let history = scene
        .hub
        .get(&format!("/sessions/{}/history", scene.session))
        .await
        .ok();
    let created_by = history["commands"][0]["command_id"].clone();
    let path = format!("/sessions/{}/undo", scene.session);
    let answer = scene.request(&path, json!({"command_id": COMMAND})).await;
    assert_eq!((&answer["command_id"], &answer["seq"]), (&json!(COMMAND), &json!(4)));
    scene
        .expect_command_event("command:executing", json!({"command_type": "Undo"}))
        .await;
    scene
        .expect_sequenced_event("graph:node-deleted", 3, json!({"node_id": NODE, "parent_id": null}))
        .await;
    let undone = json!({
        "command_type": "CreateNode", "undone_command_id": created_by, "undo_available": false, "redo_available": true,
    });
    scene.expect_sequenced_event("command:undo", 4, undone).await;
}

/// `command:redo` comes after the events of the redo (P6).
async fn redo_event_follows_its_changes(transport: Transport) {
    let mut scene = Scene::after(transport, async |hub, session| {
        root(hub, session).await;
        hub.post(&format!("/sessions/{session}/undo"), &json!({})).await.ok();
    })
    .await;
    let history = scene
        .hub
        .get(&format!("/sessions/{}/history", scene.session))
        .await
        .ok();
    let created_by = history["commands"][1]["command_id"].clone();
    let path = format!("/sessions/{}/redo", scene.session);
    scene.request(&path, json!({"command_id": COMMAND})).await;
    scene
        .expect_command_event("command:executing", json!({"command_type": "Redo"}))
        .await;
    let created = json!({
        "node_id": NODE, "name": "N", "blueprint_type_id": "task", "parent_id": null, "index": 0,
        "properties": {"done": false},
    });
    scene.expect_sequenced_event("graph:node-created", 5, created).await;
    let redone = json!({
        "command_type": "CreateNode", "redone_command_id": created_by, "undo_available": true, "redo_available": false,
    });
    scene.expect_sequenced_event("command:redo", 6, redone).await;
}

/// `session:connected` has the client id and the new count.
async fn connected_event_has_the_count(transport: Transport) {
    let mut scene = Scene::empty(transport).await;
    let guest = Connect::to(&scene.hub.url, &scene.session, transport).named("guest-1");
    scene.js.join("guest", &guest).await;
    scene
        .expect_room_event("session:connected", json!({"client_id": "guest-1", "client_count": 2}))
        .await;
}

/// `session:disconnected` has the client id, the new count and the reason.
async fn disconnected_event_has_the_reason(transport: Transport) {
    let mut scene = Scene::empty(transport).await;
    let guest = Connect::to(&scene.hub.url, &scene.session, transport).named("guest-1");
    scene.js.join("guest", &guest).await;
    scene.js.disconnect("guest").await;
    scene.js.event(EAR, "session:connected").await;
    let gone = json!({"client_id": "guest-1", "client_count": 1, "reason": "client_disconnect"});
    scene.expect_room_event("session:disconnected", gone).await;
}

/// `project:saved` has the path of the file.
async fn project_saved_event_has_the_path(transport: Transport) {
    let hub = TestHub::start().await;
    let made = json!({"template_id": "software_project", "project_name": "The Ship", "project_id": "ship"});
    let made = hub.post("/projects", &made).await.ok();
    let session = made["session_id"].as_str().expect("an id").to_owned();
    let mut scene = Scene::listening(hub, session, transport).await;
    let answer = scene
        .request(&format!("/sessions/{}/save", scene.session), json!({}))
        .await;
    assert_eq!(scene.project, "ship");
    let executing = scene.js.event(EAR, "command:executing").await;
    assert_eq!(executing["command_type"], "SaveProject");
    let seq = made["seq"].as_u64().expect("a seq") + 1;
    let envelope = json!({
        "session_id": scene.session, "project_id": "ship", "command_id": executing["command_id"],
        "origin": {"client_id": "bob"}, "epoch": scene.epoch, "seq": seq,
    });
    scene
        .expect_event("project:saved", envelope, json!({"path": answer["path"]}))
        .await;
    assert_eq!(scene.js.event(EAR, "command:executed").await["seq"], answer["seq"]);
}

/// `project:loaded` has the whole graph.
async fn project_loaded_event_has_the_graph(transport: Transport) {
    let mut scene = Scene::after(transport, root).await;
    let child = json!({
        "id": CHILD, "name": "C", "blueprint_type_id": "task", "parent_id": NODE, "properties": {}, "children": [],
    });
    let graph = json!({"roots": [{
        "id": NODE, "name": "Other", "blueprint_type_id": "task", "parent_id": null, "properties": {"a": 1},
        "children": [child],
    }]});
    let path = format!("/sessions/{}/load-graph", scene.session);
    scene
        .request(&path, json!({"graph": graph, "command_id": COMMAND}))
        .await;
    scene
        .expect_command_event("command:executing", json!({"command_type": "LoadGraph"}))
        .await;
    scene
        .expect_sequenced_event("project:loaded", 3, json!({"graph": graph}))
        .await;
    let executed = json!({"command_type": "LoadGraph", "result": {}, "undo_available": true, "redo_available": false});
    scene.expect_sequenced_event("command:executed", 4, executed).await;
}

/// Properties of a template are named by uuid in events, with the slug beside it.
async fn template_properties_are_named_by_uuid_in_events(transport: Transport) {
    let hub = TestHub::start().await;
    let made = hub
        .post(
            "/projects",
            &json!({"template_id": "software_project", "project_name": "P"}),
        )
        .await
        .ok();
    let session = made["session_id"].as_str().expect("an id").to_owned();
    let project = made["graph"]["roots"][0]["id"].clone();
    let schema = hub.get("/templates/software_project/schema").await.ok();
    let goal = schema["node_types"][0]["properties"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|it| it["key"] == "goal");
    let goal = goal.expect("the template has the property")["id"].clone();

    let mut scene = Scene::listening(hub, session, transport).await;
    let seq = made["seq"].as_u64().expect("a seq") + 1;
    let data = json!({"node_id": project, "property_id": "goal", "new_value": "land"});
    scene.execute("UpdateProperty", data).await;
    scene.js.event(EAR, "command:executing").await;
    let changed = json!({
        "node_id": project, "property_id": goal, "property_key": "goal", "old_value": null, "new_value": "land",
    });
    scene
        .expect_sequenced_event("graph:property-changed", seq, changed)
        .await;
}
