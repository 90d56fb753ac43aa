//! Sessions over REST: create, list, inspect, delete, passivate.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    calls::{Poller, until},
    support::TestHub,
};

/// A new session is empty, clean, at `seq` 0 and without a project. Its epoch has eight lowercase hexadecimal digits.
#[tokio::test]
async fn new_session_is_empty() {
    let hub = TestHub::start().await;
    let made = hub.post("/sessions", &json!({})).await;
    assert_eq!(made.status, 201);
    let (id, epoch) = (
        made.body["session_id"].as_str().expect("an id"),
        made.body["epoch"].as_str().expect("an epoch"),
    );
    assert!(
        epoch.len() == 8 && epoch.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "{epoch}"
    );
    assert_eq!(id.len(), 36);
    assert_eq!(id.as_bytes()[14], b'4', "a UUID of version 4: {id}");
    let mut info = hub.get(&format!("/sessions/{id}/info")).await.ok();
    let created = info["created_at"].take();
    assert_eq!(info["last_activity"].take(), created);
    let time = created.as_str().expect("a time");
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    let expected = json!({
        "session_id": id, "project_id": null, "project_name": null, "created_at": null, "last_activity": null,
        "active_clients": 0, "has_project": false, "node_count": 0, "seq": 0, "epoch": epoch,
        "undo_available": false, "redo_available": false, "is_dirty": false, "template_id": null,
        "clients": [],
    });
    assert_eq!(info, expected);
    let graph = hub.get(&format!("/sessions/{id}/graph")).await.ok();
    assert_eq!(
        graph,
        json!({
            "session_id": id, "epoch": epoch, "seq": 0, "state_hash": "0000000000000000", "graph": {"roots": []},
        })
    );
    let events = hub.get(&format!("/sessions/{id}/events")).await.ok();
    assert_eq!(
        events,
        json!({"epoch": epoch, "events": [], "next_after": 0, "more": false})
    );
}

/// The session's info follows its commands: `seq`, nodes, dirty state, undo, last activity.
#[tokio::test]
async fn session_info_follows_its_commands() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let info = async || hub.get(&format!("/sessions/{session}/info")).await.ok();
    let dirty = async || hub.get(&format!("/sessions/{session}/dirty")).await.ok();
    assert_eq!(dirty().await, json!({"session_id": session, "is_dirty": false}));
    let root = hub.create_node(&session, None, "root").await;
    hub.create_node(&session, Some(&root), "child").await;
    let after = info().await;
    for (key, value) in [
        ("seq", json!(4)),
        ("node_count", json!(2)),
        ("is_dirty", json!(true)),
        ("undo_available", json!(true)),
    ] {
        assert_eq!(after[key], value, "{key}");
    }
    assert!(after["last_activity"].as_str() >= after["created_at"].as_str());
    assert_eq!(dirty().await["is_dirty"], true);
    hub.execute(&session, "DeleteNode", json!({"node_id": root})).await.ok();
    assert_eq!(info().await["node_count"], 0);
    assert_eq!(
        dirty().await["is_dirty"],
        true,
        "an emptied graph differs from the saved state"
    );
    hub.post(&format!("/sessions/{session}/undo"), &json!({})).await.ok();
    assert_eq!(info().await["redo_available"], true);
}

/// The list is in the order of creation, its pages meet, and its total counts all sessions. The entries equal those of
/// `info`.
#[tokio::test]
async fn sessions_are_listed_page_by_page() {
    let hub = TestHub::with(|config| config.rest.page_items_default = 3).await;
    assert_eq!(hub.get("/sessions").await.ok(), json!({"sessions": [], "total": 0}));
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(hub.session().await);
    }
    hub.create_node(&ids[2], None, "node").await;
    let page = async |query: &str| {
        let list = hub.get(&format!("/sessions{query}")).await.ok();
        assert_eq!(list["total"], 7, "{query}");
        let sessions = list["sessions"].as_array().expect("a list").clone();
        sessions
            .iter()
            .map(|session| session["session_id"].as_str().expect("an id").to_owned())
            .collect::<Vec<_>>()
    };
    for (query, range) in [
        ("", 0..3),
        ("?offset=3", 3..6),
        ("?offset=6", 6..7),
        ("?offset=7", 7..7),
        ("?limit=7", 0..7),
        ("?limit=1&offset=4", 4..5),
        ("?limit=1000", 0..7),
        ("?offset=18446744073709551615", 7..7),
    ] {
        assert_eq!(page(query).await, ids[range], "{query}");
    }
    let listed = hub.get("/sessions?limit=1&offset=2").await.ok()["sessions"][0].clone();
    let info = hub.get(&format!("/sessions/{}/info", ids[2])).await.ok();
    for (key, value) in listed.as_object().expect("an object") {
        assert_eq!(value, &info[key], "{key}");
    }
    assert_eq!((&listed["seq"], &listed["node_count"]), (&json!(2), &json!(1)));
}

/// P7: a deleted session is gone for every request, and other sessions stay.
#[tokio::test]
async fn deleted_session_is_invalid_everywhere() {
    let hub = TestHub::start().await;
    let (session, other) = (hub.session().await, hub.session().await);
    hub.create_node(&session, None, "node").await;
    let path = format!("/sessions/{session}");
    assert_eq!(
        hub.delete(&path).await,
        crate::support::Reply {
            status: 204,
            body: Value::Null
        }
    );
    assert_eq!(hub.delete(&path).await.refused(), (404, "INVALID_SESSION"));
    for word in ["info", "graph", "events", "history", "dirty"] {
        assert_eq!(
            hub.get(&format!("{path}/{word}")).await.refused(),
            (404, "INVALID_SESSION"),
            "{word}"
        );
    }
    let command = hub
        .execute(&session, "CreateNode", json!({"blueprint_type_id": "t"}))
        .await;
    assert_eq!(command.refused(), (404, "INVALID_SESSION"));
    let list = hub.get("/sessions").await.ok();
    assert_eq!(
        (&list["total"], &list["sessions"][0]["session_id"]),
        (&json!(1), &json!(other))
    );
}

/// A cleanup deletes sessions without sockets that were inactive for the given time, and returns the numbers of deleted
/// and remaining sessions.
#[tokio::test]
async fn cleanup_deletes_unused_sessions() {
    let hub = TestHub::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(hub.session().await);
    }
    let socket = Poller::join(&hub.url, &ids[3]).await;
    let cleanup = async |hours: f64| {
        hub.post("/sessions/cleanup", &json!({"max_inactive_hours": hours}))
            .await
            .ok()
    };
    assert_eq!(cleanup(1.0).await, json!({"sessions_removed": 0, "active_sessions": 5}));
    assert_eq!(
        cleanup(876_000.0).await,
        json!({"sessions_removed": 0, "active_sessions": 5})
    );
    assert_eq!(cleanup(0.0).await, json!({"sessions_removed": 4, "active_sessions": 1}));
    let list = hub.get("/sessions").await.ok();
    assert_eq!(
        (&list["total"], &list["sessions"][0]["session_id"]),
        (&json!(1), &json!(ids[3]))
    );
    assert_eq!(list["sessions"][0]["active_clients"], 1);
    socket.close().await;
    let clients = async || hub.get("/sessions").await.ok()["sessions"][0]["active_clients"] == json!(0);
    until("the socket has left", clients).await;
    assert_eq!(cleanup(0.0).await, json!({"sessions_removed": 1, "active_sessions": 0}));
}

/// A cleanup covers more sessions than one of its pages, and keeps those in use.
#[tokio::test]
async fn cleanup_covers_many_sessions() {
    let hub = TestHub::start().await;
    let kept: BTreeSet<usize> = [0, 255, 256, 299].into();
    let mut sockets = Vec::new();
    for number in 0..300 {
        let session = hub.session().await;
        if kept.contains(&number) {
            sockets.push(Poller::join(&hub.url, &session).await);
        }
    }
    let cleaned = hub
        .post("/sessions/cleanup", &json!({"max_inactive_hours": 0}))
        .await
        .ok();
    assert_eq!(cleaned, json!({"sessions_removed": 296, "active_sessions": 4}));
}

/// An idle session is passivated, and the next request finds the same state, undo included.
#[tokio::test]
async fn passivated_session_keeps_its_state() {
    let hub = TestHub::with(|config| config.sessions.idle_timeout_ms = 20).await;
    let session = hub.session().await;
    let root = hub.create_node(&session, None, "root").await;
    hub.create_node(&session, Some(&root), "child").await;
    let before = hub.get(&format!("/sessions/{session}/info")).await.ok();
    let graph = hub.graph(&session).await;
    until("the session is passivated", async || {
        hub.metric("hub_sessions").await == "0"
    })
    .await;
    let listed = hub.get("/sessions").await.ok()["sessions"][0].clone();
    assert_eq!(
        (&listed["seq"], &listed["node_count"]),
        (&json!(4), &json!(2)),
        "listed without loading the session"
    );
    assert_eq!(hub.metric("hub_sessions").await, "0");
    assert_eq!(hub.get(&format!("/sessions/{session}/info")).await.ok(), before);
    assert_eq!(hub.graph(&session).await, graph);
    hub.post(&format!("/sessions/{session}/undo"), &json!({})).await.ok();
    assert_eq!(hub.outline(&session).await, ["root"]);
}

/// P10: without realtime, the REST API works the same, and the path of the sockets is unknown.
#[tokio::test]
async fn rest_works_without_realtime() {
    let hub = TestHub::with(|config| config.realtime.enabled = false).await;
    let made = hub
        .post("/projects", &json!({"template_id": "novel", "project_name": "Book"}))
        .await
        .ok();
    let session = made["session_id"].as_str().expect("an id");
    let root = made["graph"]["roots"][0]["id"].as_str().expect("an id");
    let part = json!({"blueprint_type_id": "part", "parent_id": root, "name": "One"});
    hub.execute(session, "CreateNode", part).await.ok();
    hub.post(&format!("/sessions/{session}/undo"), &json!({})).await.ok();
    hub.post(&format!("/sessions/{session}/redo"), &json!({})).await.ok();
    hub.post(&format!("/sessions/{session}/save"), &json!({})).await.ok();
    hub.post(
        &format!("/sessions/{session}/load-graph"),
        &json!({"graph": {"roots": []}}),
    )
    .await
    .ok();
    let names: Vec<String> = hub.events(session, 2).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "graph:node-created",
            "command:executed",
            "graph:node-deleted",
            "command:undo",
            "graph:node-created",
            "command:redo",
            "project:saved",
            "command:executed",
            "project:loaded",
            "command:executed"
        ]
    );
    assert_eq!(hub.delete(&format!("/sessions/{session}")).await.status, 204);
    let socket = hub
        .send(
            hub.http()
                .get(format!("{}/socket.io/?EIO=4&transport=polling", hub.url)),
        )
        .await;
    assert_eq!(socket.refused(), (404, "NOT_FOUND"));
}
