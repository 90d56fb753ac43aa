//! Undo and redo of one's own over REST.

use serde_json::{Value, json};

use crate::{
    calls::{Whole, whole},
    support::TestHub,
};

/// Sends a request of a client that names itself.
async fn post_as(hub: &TestHub, client_id: &str, path: &str, body: &Value) -> Whole {
    let request = hub.http().post(hub.api(path)).header("x-client-id", client_id);
    whole(request.json(body)).await
}

/// A property of a node, set by somebody.
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

/// U1, U7: each takes back their own last command; what everybody hears is what an undo is told by.
#[tokio::test]
async fn each_undoes_their_own() {
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

/// U2: a conflict names who is in the way, and force goes over it.
#[tokio::test]
async fn a_conflict_names_who_is_in_the_way() {
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

/// U2, U3: what is gone is named, and force does not bring it back.
#[tokio::test]
async fn a_conflict_names_what_is_missing() {
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

/// Whoever wants their own has to say who they are; both fields are checked.
#[tokio::test]
async fn mine_needs_a_name() {
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
    // Nobody hears of it, and nothing has changed.
    assert_eq!(hub.get(&format!("/sessions/{session}/info")).await.ok()["seq"], 2);
}

/// P4: sent again, an undo is not another one.
#[tokio::test]
async fn an_undo_that_is_sent_again_is_done_once() {
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

/// U1, P3: what is one's own outlives the process: what was done, and what was undone.
#[tokio::test]
async fn ones_own_outlives_a_restart() {
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
