//! Undo and redo with scope `mine` over REST.

use serde_json::{Value, json};

use crate::{
    calls::{Whole, whole},
    support::TestHub,
};

/// Sends a request with a client id.
async fn post_as(hub: &TestHub, client_id: &str, path: &str, body: &Value) -> Whole {
    let request = hub.http().post(hub.api(path)).header("x-client-id", client_id);
    whole(request.json(body)).await
}

/// Sets a property of a node as a client.
async fn set(hub: &TestHub, session: &str, client_id: &str, node: &str, value: Value) -> Value {
    let data = json!({"node_id": node, "property_id": "p", "new_value": value});
    let command = json!({"session_id": session, "command_type": "UpdateProperty", "data": data});
    let answer = post_as(hub, client_id, "/commands/execute", &command).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn step(hub: &TestHub, session: &str, client_id: &str, word: &str, more: Value) -> Whole {
    let mut body = json!({"scope": "mine"});
    for (key, value) in more.as_object().expect("an object") {
        body[key] = value.clone();
    }
    post_as(hub, client_id, &format!("/sessions/{session}/{word}"), &body).await
}

async fn value_of(hub: &TestHub, session: &str, root: usize) -> Value {
    hub.graph(session).await["roots"][root]["properties"]["p"].clone()
}

/// U1, U7: each client undoes its own last command, and the undo is recorded as a command with graph events.
#[tokio::test]
async fn undo_mine_takes_the_clients_own_last_step() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let (a, b) = (
        hub.create_node(&session, None, "a").await,
        hub.create_node(&session, None, "b").await,
    );
    let first = set(&hub, &session, "alice", &a, json!(1)).await;
    let second = set(&hub, &session, "bob", &b, json!(2)).await;
    let undone = step(&hub, &session, "alice", "undo", json!({})).await;
    assert_eq!(undone.status, 200, "{}", undone.text);
    assert_eq!(value_of(&hub, &session, 0).await, Value::Null);
    assert_eq!(value_of(&hub, &session, 1).await, json!(2));
    let events = hub.events(&session, second["seq"].as_u64().expect("a seq")).await;
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["graph:property-deleted", "command:undo"]);
    let closing = &events[1].1;
    assert_eq!(closing["undone_command_id"], first["command_id"]);
    assert_eq!(closing["command_type"], "UpdateProperty");
    assert_eq!(closing["origin"], json!({"client_id": "alice"}));
    let nothing = step(&hub, &session, "alice", "undo", json!({})).await;
    assert_eq!(nothing.refused(), (409, "NOTHING_TO_UNDO".to_owned()));
    assert_eq!(step(&hub, &session, "alice", "redo", json!({})).await.status, 200);
    assert_eq!(value_of(&hub, &session, 0).await, json!(1));
    let nothing = step(&hub, &session, "bob", "redo", json!({})).await;
    assert_eq!(nothing.refused(), (409, "NOTHING_TO_REDO".to_owned()));
}

/// U2: an undo conflict names the author of the blocking change, and a forced undo overrides the change.
#[tokio::test]
async fn undo_conflict_names_the_blocking_client() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let a = hub.create_node(&session, None, "a").await;
    set(&hub, &session, "alice", &a, json!(1)).await;
    let theirs = set(&hub, &session, "bob", &a, json!(2)).await;
    let refused = step(&hub, &session, "alice", "undo", json!({"force": false})).await;
    assert_eq!(refused.status, 409);
    assert_eq!(
        refused.json(),
        json!({"error": {
            "code": "UNDO_CONFLICT", "message": format!("property \"p\" of node {a} has changed since"),
            "node_id": a, "property_id": "p",
            "blocked_by": {
                "client_id": "bob", "user": null, "command_id": theirs["command_id"], "seq": theirs["seq"],
            },
        }})
    );
    assert_eq!(value_of(&hub, &session, 0).await, json!(2));
    let forced = step(&hub, &session, "alice", "undo", json!({"force": true})).await;
    assert_eq!(forced.status, 200, "{}", forced.text);
    assert_eq!(value_of(&hub, &session, 0).await, Value::Null);
}

/// U2, U3: an undo conflict names the missing node, and force does not restore the node.
#[tokio::test]
async fn undo_conflict_names_the_missing_node() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let a = hub.create_node(&session, None, "a").await;
    set(&hub, &session, "alice", &a, json!(1)).await;
    let gone = hub.execute(&session, "DeleteNode", json!({"node_id": a})).await.ok();
    for force in [false, true] {
        let refused = step(&hub, &session, "alice", "undo", json!({"force": force}))
            .await
            .json();
        assert_eq!(refused["error"]["code"], "UNDO_CONFLICT");
        assert_eq!(refused["error"]["missing"], json!(a));
        let blocked_by = &refused["error"]["blocked_by"];
        assert_eq!(blocked_by["command_id"], gone["command_id"]);
        assert_eq!(blocked_by["client_id"], Value::Null);
    }
}

/// Scope `mine` requires a client id, and `force` must be a boolean.
#[tokio::test]
async fn undo_mine_requires_a_client_id() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    hub.create_node(&session, None, "a").await;
    for word in ["undo", "redo"] {
        let path = format!("/sessions/{session}/{word}");
        let refused = hub.post(&path, &json!({"scope": "mine"})).await;
        assert_eq!(refused.refused(), (400, "INVALID_REQUEST"));
        assert_eq!(refused.body["error"]["field"], "scope");
        let refused = hub.post(&path, &json!({"force": "yes"})).await;
        assert_eq!(refused.refused(), (400, "INVALID_REQUEST"));
        assert_eq!(refused.body["error"]["field"], "force");
    }
    // A refusal takes no `seq` and sends no event.
    assert_eq!(hub.get(&format!("/sessions/{session}/info")).await.ok()["seq"], 2);
}

/// P4: a duplicate of an undo is not another undo.
#[tokio::test]
async fn undo_duplicate_is_applied_once() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let a = hub.create_node(&session, None, "a").await;
    for value in 1..=2 {
        set(&hub, &session, "alice", &a, json!(value)).await;
    }
    let id = json!({"command_id": "aaaaaaaa-0000-4000-8000-000000000001"});
    let first = step(&hub, &session, "alice", "undo", id.clone()).await.json();
    let again = step(&hub, &session, "alice", "undo", id).await.json();
    assert_eq!((&again["duplicate"], &again["seq"]), (&json!(true), &first["seq"]));
    assert_eq!(value_of(&hub, &session, 0).await, json!(1));
}

/// U1, P3: done and undone steps of each client survive a restart.
#[tokio::test]
async fn undo_mine_survives_a_restart() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let (a, b) = (
        hub.create_node(&session, None, "a").await,
        hub.create_node(&session, None, "b").await,
    );
    for (client_id, node) in [("alice", &a), ("bob", &b)] {
        for value in 1..=2 {
            set(&hub, &session, client_id, node, json!(value)).await;
        }
    }
    assert_eq!(step(&hub, &session, "alice", "undo", json!({})).await.status, 200);
    let (dir, stopped) = hub.stop().await;
    stopped.expect("stops in time");
    let hub = TestHub::on(dir, |_| {}).await;
    assert_eq!(value_of(&hub, &session, 0).await, json!(1));
    assert_eq!(step(&hub, &session, "alice", "undo", json!({})).await.status, 200);
    assert_eq!(value_of(&hub, &session, 0).await, Value::Null);
    for expected in 1..=2 {
        assert_eq!(step(&hub, &session, "alice", "redo", json!({})).await.status, 200);
        assert_eq!(value_of(&hub, &session, 0).await, json!(expected));
    }
    assert_eq!(step(&hub, &session, "bob", "undo", json!({})).await.status, 200);
    assert_eq!(value_of(&hub, &session, 1).await, json!(1));
}
