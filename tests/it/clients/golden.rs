//! Conversations of a JavaScript client with the hub, word for word, in `tests/golden`. Each is the same over both
//! transports. The comparison keeps the wire from changing by accident. `UPDATE_GOLDEN=1 cargo test` writes the files
//! anew.

use std::{env, fmt::Write as _, fs, path::Path};

use serde_json::{Value, json};

use super::{
    driver::{Connect, Driver, Transport},
    names::Names,
    on_both_transports,
};
use crate::support::TestHub;

on_both_transports!(
    joining_and_creating,
    naming_and_setting,
    being_refused,
    a_batch,
    undoing_and_redoing,
    moving_and_ordering,
    coming_back,
    finding_oneself_wrong,
    being_two,
    acting_over_the_socket,
    taking_events_together,
    naming_no_session,
    losing_the_session,
    a_project,
    loading_another_graph,
    the_hub_going,
);

/// Conversation under record.
struct Conversation {
    name: &'static str,
    hub: TestHub,
    session: String,
    transport: Transport,
    js: Driver,
    names: Names,
    steps: Vec<Value>,
}

impl Conversation {
    async fn begin(name: &'static str, transport: Transport) -> Self {
        let hub = TestHub::start().await;
        let session = hub.session().await;
        Self::of(name, hub, session, transport)
    }

    fn of(name: &'static str, hub: TestHub, session: String, transport: Transport) -> Self {
        let mut names = Names::default();
        names.text("session_id", &session);
        Self {
            name,
            hub,
            session,
            transport,
            js: Driver::javascript(),
            names,
            steps: Vec::new(),
        }
    }

    /// Connects a client under its name.
    async fn connects(&mut self, client: &str) {
        let connect = Connect::to(&self.hub.url, &self.session, self.transport).named(client);
        self.js.connect(client, &connect.telling_what_it_sends()).await;
    }

    /// Connects a client with batched delivery, and records up to its own `session:connected`.
    async fn joins_batched(&mut self, client: &str) {
        let connect = Connect::to(&self.hub.url, &self.session, self.transport);
        let connect = connect.auth(json!({"client_id": client, "frames": "batched"}));
        self.js.connect(client, &connect.telling_what_it_sends()).await;
        self.hears(client, "session:connected").await;
    }

    /// Connects a client, and records up to its own `session:connected`.
    async fn joins(&mut self, client: &str) {
        self.connects(client).await;
        self.hears(client, "session:connected").await;
    }

    /// Records the observations of a client up to an event of a name.
    async fn hears(&mut self, client: &str, last: &str) {
        let happened = self.js.until(client, last).await;
        self.record(client, &happened);
    }

    /// Records the observations of a client up to one of another kind than an event.
    async fn sees(&mut self, client: &str, last: &str) {
        let happened = self.js.until_that(client, |observed| observed.kind == last).await;
        self.record(client, &happened);
    }

    fn record(&mut self, client: &str, happened: &[super::driver::Observation]) {
        for observed in happened {
            let what = match (observed.kind.as_str(), observed.event()) {
                ("event", Some((event, data))) => json!({"receives": event, "data": data}),
                ("sent", _) => json!({"sends": observed.fields["event"], "data": observed.fields["data"]}),
                ("connected", _) => json!({"is": "connected"}),
                // A polling client reports another reason.
                ("disconnected", _) if observed.fields["reason"] == "transport error" => {
                    let mut fields = observed.fields.clone();
                    fields["reason"] = json!("transport close");
                    json!({"is": "disconnected", "data": fields})
                }
                (got, _) => json!({"is": got, "data": observed.fields}),
            };
            let mut step = self.names.stable(&what);
            step["client"] = json!(client);
            self.steps.push(step);
        }
    }

    /// Sends an event from a client.
    async fn emits(&mut self, client: &str, event: &str, data: Value) {
        self.js.emit(client, event, data).await;
    }

    /// Sends an event from a client, and records the acknowledgement. Events that come meanwhile are recorded later,
    /// because acknowledgements and events come from different senders, in no fixed order.
    async fn asks(&mut self, client: &str, event: &str, data: Value) {
        let answer = self.js.ask(client, event, data.clone()).await;
        let mut step = self
            .names
            .stable(&json!({"asks": event, "data": data, "answer": answer}));
        step["client"] = json!(client);
        self.steps.push(step);
    }

    /// Sends a request, records it with its answer, and returns the answer.
    async fn post(&mut self, path: &str, body: Value) -> Value {
        let reply = self.hub.post(path, &body).await;
        let path = self.names.text("session_id", path);
        let step = self
            .names
            .stable(&json!({"body": body, "status": reply.status, "answer": reply.body}));
        let mut step = step;
        step["post"] = json!(path);
        self.steps.push(step);
        reply.body
    }

    async fn execute(&mut self, command_type: &str, data: Value) -> Value {
        let body = json!({"session_id": self.session, "command_type": command_type, "data": data});
        self.post("/commands/execute", body).await
    }

    async fn creates(&mut self, name: &str, parent_id: Value) -> Value {
        let data = json!({"blueprint_type_id": "task", "name": name, "parent_id": parent_id});
        self.execute("CreateNode", data).await["node_id"].clone()
    }

    async fn undoes(&mut self) {
        self.post(&format!("/sessions/{}/undo", self.session), json!({})).await;
    }

    /// Compares the record with the file.
    fn ends(&self) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(format!("{}.json", self.name));
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, self.text()).expect("tests/golden can be written");
            return;
        }
        let written = fs::read_to_string(&file).unwrap_or_default();
        let written: Vec<Value> = serde_json::from_str(&written).unwrap_or_default();
        assert!(
            written == self.steps,
            "{} differs from the record; UPDATE_GOLDEN=1 writes this one:\n{}",
            file.display(),
            self.text()
        );
    }

    /// Returns the record as JSON, one step a line.
    fn text(&self) -> String {
        let mut text = "[\n".to_owned();
        for (index, step) in self.steps.iter().enumerate() {
            let comma = if index + 1 < self.steps.len() { "," } else { "" };
            writeln!(text, "{step}{comma}").expect("a string takes everything");
        }
        text + "]\n"
    }
}

async fn joining_and_creating(transport: Transport) {
    let mut conversation = Conversation::begin("joining_and_creating", transport).await;
    let root = conversation.creates("Root", Value::Null).await;
    conversation.joins("ann").await;
    conversation.creates("Child", root).await;
    conversation.hears("ann", "command:executed").await;
    conversation.ends();
}

async fn naming_and_setting(transport: Transport) {
    let mut conversation = Conversation::begin("naming_and_setting", transport).await;
    let node = conversation.creates("Before", Value::Null).await;
    conversation.joins("ann").await;
    for (property, value) in [("name", json!("After")), ("cost", json!(12.5)), ("cost", json!(12.5))] {
        let data = json!({"node_id": node, "property_id": property, "new_value": value});
        conversation.execute("UpdateProperty", data).await;
        conversation.hears("ann", "command:executed").await;
    }
    conversation
        .execute("DeleteProperty", json!({"node_id": node, "property_id": "cost"}))
        .await;
    conversation.hears("ann", "command:executed").await;
    conversation.ends();
}

async fn being_refused(transport: Transport) {
    let mut conversation = Conversation::begin("being_refused", transport).await;
    let root = conversation.creates("Root", Value::Null).await;
    let child = conversation.creates("Child", root.clone()).await;
    conversation.joins("ann").await;
    for (command_type, data) in [
        ("MoveNode", json!({"node_id": root, "new_parent_id": child})),
        ("ReorderNode", json!({"node_id": child, "new_index": 5})),
        ("DeleteProperty", json!({"node_id": child, "property_id": "cost"})),
        ("DeleteNode", json!({"node_id": "0de00000-0000-4000-8000-000000000000"})),
    ] {
        conversation.execute(command_type, data).await;
        conversation.hears("ann", "command:failed").await;
    }
    conversation.ends();
}

async fn a_batch(transport: Transport) {
    let mut conversation = Conversation::begin("a_batch", transport).await;
    conversation.joins("ann").await;
    let root = "0de00000-0000-4000-8000-000000000001";
    let create = json!({"blueprint_type_id": "phase", "name": "Phase", "node_id": root});
    let below = json!({"blueprint_type_id": "task", "name": "Task", "parent_id": root});
    let rename = json!({"node_id": root, "property_id": "name", "new_value": "Phase 1"});
    let mut commands = vec![
        json!({"command_type": "CreateNode", "data": create}),
        json!({"command_type": "CreateNode", "data": below}),
        json!({"command_type": "UpdateProperty", "data": rename}),
    ];
    conversation.execute("Batch", json!({"commands": commands})).await;
    conversation.hears("ann", "command:executed").await;
    conversation.undoes().await;
    conversation.hears("ann", "command:undo").await;
    commands[2]["data"]["node_id"] = json!("0de00000-0000-4000-8000-000000000002");
    conversation.execute("Batch", json!({"commands": commands})).await;
    conversation.hears("ann", "command:failed").await;
    conversation.ends();
}

async fn undoing_and_redoing(transport: Transport) {
    let mut conversation = Conversation::begin("undoing_and_redoing", transport).await;
    let root = conversation.creates("Root", Value::Null).await;
    conversation.creates("Child", root.clone()).await;
    conversation.joins("ann").await;
    conversation.execute("DeleteNode", json!({"node_id": root})).await;
    conversation.hears("ann", "command:executed").await;
    conversation.undoes().await;
    conversation.hears("ann", "command:undo").await;
    conversation
        .post(&format!("/sessions/{}/redo", conversation.session), json!({}))
        .await;
    conversation.hears("ann", "command:redo").await;
    conversation
        .post(&format!("/sessions/{}/redo", conversation.session), json!({}))
        .await;
    conversation.hears("ann", "command:failed").await;
    conversation.ends();
}

async fn moving_and_ordering(transport: Transport) {
    let mut conversation = Conversation::begin("moving_and_ordering", transport).await;
    let one = conversation.creates("One", Value::Null).await;
    let two = conversation.creates("Two", Value::Null).await;
    conversation.joins("ann").await;
    for (command_type, data) in [
        ("ReorderNode", json!({"node_id": two, "new_index": 0})),
        ("LinkNode", json!({"parent_id": one, "child_id": two})),
        ("MoveNode", json!({"node_id": two, "new_parent_id": null, "index": 0})),
    ] {
        conversation.execute(command_type, data).await;
        conversation.hears("ann", "command:executed").await;
        conversation.undoes().await;
        conversation.hears("ann", "command:undo").await;
    }
    conversation.ends();
}

async fn coming_back(transport: Transport) {
    let mut conversation = Conversation::begin("coming_back", transport).await;
    conversation.creates("Before", Value::Null).await;
    conversation.joins("ann").await;
    conversation.js.disconnect("ann").await;
    conversation.sees("ann", "disconnected").await;
    let node = conversation.creates("Meanwhile", Value::Null).await;
    conversation.execute("DeleteNode", json!({"node_id": node})).await;
    conversation.js.reconnect("ann").await;
    conversation.hears("ann", "session:connected").await;
    conversation.creates("After", Value::Null).await;
    conversation.hears("ann", "command:executed").await;
    conversation.ends();
}

async fn finding_oneself_wrong(transport: Transport) {
    let mut conversation = Conversation::begin("finding_oneself_wrong", transport).await;
    conversation.creates("Root", Value::Null).await;
    conversation.joins("ann").await;
    conversation
        .emits("ann", "session:resync", json!({"reason": "divergence"}))
        .await;
    conversation.hears("ann", "session:sync").await;
    conversation
        .emits("ann", "session:resync", json!({"epoch": "00000000", "seq": 1}))
        .await;
    conversation.hears("ann", "session:sync").await;
    conversation.ends();
}

async fn being_two(transport: Transport) {
    let mut conversation = Conversation::begin("being_two", transport).await;
    conversation.joins("ann").await;
    conversation.joins("bob").await;
    conversation.hears("ann", "session:connected").await;
    conversation.creates("Root", Value::Null).await;
    conversation.hears("ann", "command:executed").await;
    conversation.hears("bob", "command:executed").await;
    conversation.js.disconnect("bob").await;
    conversation.sees("bob", "disconnected").await;
    conversation.hears("ann", "session:disconnected").await;
    conversation.ends();
}

async fn acting_over_the_socket(transport: Transport) {
    let mut conversation = Conversation::begin("acting_over_the_socket", transport).await;
    conversation.joins("ann").await;
    conversation.joins("bob").await;
    conversation.hears("ann", "session:connected").await;
    let create = json!({"command_type": "CreateNode", "data": {"blueprint_type_id": "task", "name": "Root"}});
    conversation.asks("ann", "command:execute", create).await;
    conversation.hears("ann", "command:executed").await;
    conversation.hears("bob", "command:executed").await;
    conversation.asks("bob", "command:undo", json!({"scope": "mine"})).await;
    conversation.hears("ann", "command:failed").await;
    conversation.asks("ann", "command:undo", json!({"scope": "mine"})).await;
    conversation.hears("ann", "command:undo").await;
    conversation.asks("ann", "command:redo", json!({"scope": "mine"})).await;
    conversation.hears("ann", "command:redo").await;
    conversation
        .asks("ann", "command:execute", json!({"command_type": "Explode"}))
        .await;
    conversation
        .asks("ann", "presence:update", json!({"state": {"selected": "Root"}}))
        .await;
    conversation.hears("ann", "presence:diff").await;
    conversation.ends();
}

async fn taking_events_together(transport: Transport) {
    let mut conversation = Conversation::begin("taking_events_together", transport).await;
    conversation.joins_batched("ann").await;
    let root = conversation.creates("Root", Value::Null).await;
    conversation.hears("ann", "session:events").await;
    let data = json!({"node_id": root, "property_id": "name", "new_value": "Top"});
    let commands = json!([
        {"command_type": "CreateNode", "data": {"blueprint_type_id": "task", "name": "Child", "parent_id": root}},
        {"command_type": "UpdateProperty", "data": data},
    ]);
    conversation.execute("Batch", json!({ "commands": commands })).await;
    conversation.hears("ann", "session:events").await;
    conversation
        .execute("ReorderNode", json!({"node_id": root, "new_index": 5}))
        .await;
    conversation.hears("ann", "session:events").await;
    conversation.undoes().await;
    conversation.hears("ann", "session:events").await;
    conversation.ends();
}

async fn naming_no_session(transport: Transport) {
    let mut conversation = Conversation::begin("naming_no_session", transport).await;
    for (client, auth) in [
        ("ann", json!({})),
        ("bob", json!({"session_id": "0de00000-0000-4000-8000-000000000000"})),
    ] {
        let connect = Connect::to(&conversation.hub.url, "", transport).bare(auth);
        conversation.js.connect(client, &connect.telling_what_it_sends()).await;
        conversation.sees(client, "connect_error").await;
    }
    conversation.ends();
}

async fn losing_the_session(transport: Transport) {
    let mut conversation = Conversation::begin("losing_the_session", transport).await;
    conversation.joins("ann").await;
    conversation
        .hub
        .delete(&format!("/sessions/{}", conversation.session))
        .await
        .ok();
    conversation.sees("ann", "disconnected").await;
    conversation.creates("Too late", Value::Null).await;
    conversation.ends();
}

async fn a_project(transport: Transport) {
    let hub = TestHub::start().await;
    let made = json!({"template_id": "software_project", "project_name": "Moon", "project_id": "moon"});
    let made = hub.post("/projects", &made).await.ok();
    let session = made["session_id"].as_str().expect("an id").to_owned();
    let root = made["graph"]["roots"][0]["id"].clone();
    let mut conversation = Conversation::of("a_project", hub, session, transport);
    conversation.joins("ann").await;
    let data = json!({"blueprint_type_id": "release", "name": "1.0", "parent_id": root});
    let release = conversation.execute("CreateNode", data).await["node_id"].clone();
    conversation.hears("ann", "command:executed").await;
    let data = json!({"node_id": release, "property_id": "due", "new_value": "2031-07-20"});
    conversation.execute("UpdateProperty", data).await;
    conversation.hears("ann", "command:executed").await;
    conversation
        .execute(
            "CreateNode",
            json!({"blueprint_type_id": "person", "parent_id": release}),
        )
        .await;
    conversation.hears("ann", "command:failed").await;
    conversation
        .post(&format!("/sessions/{}/save", conversation.session), json!({}))
        .await;
    conversation.hears("ann", "command:executed").await;
    conversation.ends();
}

async fn loading_another_graph(transport: Transport) {
    let mut conversation = Conversation::begin("loading_another_graph", transport).await;
    conversation.creates("Old", Value::Null).await;
    conversation.joins("ann").await;
    let graph = json!({"roots": [{
        "id": "0de00000-0000-4000-8000-000000000001", "name": "New", "blueprint_type_id": "task",
        "properties": {"note": "loaded"}, "children": [],
    }]});
    let path = format!("/sessions/{}/load-graph", conversation.session);
    conversation.post(&path, json!({"graph": graph})).await;
    conversation.hears("ann", "command:executed").await;
    conversation.undoes().await;
    conversation.hears("ann", "command:undo").await;
    conversation.ends();
}

async fn the_hub_going(transport: Transport) {
    let mut conversation = Conversation::begin("the_hub_going", transport).await;
    conversation.joins("ann").await;
    conversation.creates("The last", Value::Null).await;
    let hub = std::mem::replace(&mut conversation.hub, TestHub::start().await);
    let (_, stopped) = hub.stop().await;
    stopped.expect("the hub drains in time");
    conversation.sees("ann", "disconnected").await;
    conversation.ends();
}

/// Each file of the folder belongs to a conversation that compares it.
#[test]
fn golden_files_are_all_compared() {
    let conversations = include_str!("golden.rs");
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")).expect("the folder exists");
    let mut count = 0;
    for file in files {
        let name = file
            .expect("readable")
            .file_name()
            .to_string_lossy()
            .replace(".json", "");
        assert!(
            conversations.contains(&format!("(\"{name}\", ")),
            "{name} belongs to no conversation"
        );
        count += 1;
    }
    assert!(count > 10, "the conversations are there: {count}");
}
