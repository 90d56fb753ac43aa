//! Origins that may connect a socket, and a hub without sockets.

use serde_json::{Value, json};

use super::{
    driver::{Connect, Driver, Transport},
    names::Names,
    on_both_transports,
};
use crate::support::TestHub;

on_both_transports!(
    foreign_origins_get_no_socket,
    localhost_origins_get_a_socket_unless_forbidden,
    disabled_realtime_serves_no_sockets,
);

/// Error message of a client whose transport is refused for any reason.
const fn no_connection(transport: Transport) -> &'static str {
    match transport {
        Transport::Websocket => "websocket error",
        Transport::Polling | Transport::Upgrading => "xhr poll error",
    }
}

/// A page of another origin gets no socket, on either transport, unless its origin is configured. A browser lets every
/// page open a websocket to any address.
async fn foreign_origins_get_no_socket(transport: Transport) {
    let hub = TestHub::with(|config| config.cors.origins = vec!["https://tracker.example".to_owned()]).await;
    let session = hub.session().await;
    let connect = Connect::to(&hub.url, &session, transport);
    let mut js = Driver::javascript();
    for (client, origin) in [
        ("ann", "https://evil.example"),
        ("bob", "http://tracker.example"),
        ("cid", "https://tracker.example:444"),
        ("dan", "null"),
    ] {
        js.connect(client, &connect.clone().at_origin(origin)).await;
        assert_eq!(
            js.expect(client, "connect_error").await["message"],
            no_connection(transport),
            "{origin}"
        );
    }
    js.join("eve", &connect.clone().at_origin("https://tracker.example"))
        .await;
    // A page of the hub's own address is of the same origin.
    js.join("fay", &connect.at_origin(&hub.url)).await;

    let name = if transport == Transport::Websocket {
        "websocket"
    } else {
        "polling"
    };
    let address = format!("{}/socket.io/?EIO=4&transport={name}", hub.url);
    let refused = hub
        .send(hub.http().get(address).header("Origin", "https://evil.example"))
        .await;
    assert_eq!(refused.refused(), (403, "ORIGIN_NOT_ALLOWED"));
}

/// Pages of every port of this machine may connect by default, over http and https, and `cors.allow_localhost = false`
/// forbids them.
async fn localhost_origins_get_a_socket_unless_forbidden(transport: Transport) {
    let local = ["http://localhost:5173", "https://127.0.0.1:8443", "http://[::1]:3000"];
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut js = Driver::javascript();
    for origin in local {
        js.join(origin, &Connect::to(&hub.url, &session, transport).at_origin(origin))
            .await;
    }
    let closed = TestHub::with(|config| config.cors.allow_localhost = false).await;
    let session = closed.session().await;
    let connect = Connect::to(&closed.url, &session, transport);
    let mut js = Driver::javascript();
    for origin in local {
        js.connect(origin, &connect.clone().at_origin(origin)).await;
        assert_eq!(
            js.expect(origin, "connect_error").await["message"],
            no_connection(transport),
            "{origin}"
        );
    }
    // A client that is no page sends no origin, and is admitted.
    js.join("ann", &connect).await;
}

/// P10: with `realtime.enabled = false` the path of sockets answers `NOT_FOUND`, and clients get an error.
async fn disabled_realtime_serves_no_sockets(transport: Transport) {
    let hub = TestHub::with(|config| config.realtime.enabled = false).await;
    let session = hub.session().await;
    let mut js = Driver::javascript();
    js.connect("ann", &Connect::to(&hub.url, &session, transport)).await;
    assert_eq!(
        js.expect("ann", "connect_error").await["message"],
        no_connection(transport)
    );
    for path in [
        "/socket.io/",
        "/socket.io/?EIO=4&transport=polling",
        "/socket.io/?EIO=4&transport=websocket",
    ] {
        let answer = hub.send(hub.http().get(format!("{}{path}", hub.url))).await;
        assert_eq!(answer.refused(), (404, "NOT_FOUND"), "{path}");
    }
}

/// P10: every answer of the REST API is the same with and without sockets.
#[tokio::test]
async fn rest_answers_the_same_without_realtime() {
    let with = TestHub::start().await;
    let without = TestHub::with(|config| config.realtime.enabled = false).await;
    let answers = rest_answers(&with).await;
    assert!(answers.len() > 15);
    assert_eq!(answers, rest_answers(&without).await);
}

/// Runs a fixed sequence of requests through the API, and returns status and body of each answer.
async fn rest_answers(hub: &TestHub) -> Vec<Value> {
    let made = json!({"template_id": "software_project", "project_name": "Moon", "project_id": "moon"});
    let made = hub.post("/projects", &made).await;
    let session = made.body["session_id"].as_str().expect("an id").to_owned();
    let root = made.body["graph"]["roots"][0]["id"].clone();
    let release = json!({"blueprint_type_id": "release", "name": "1.0", "parent_id": root});
    let mut answers = vec![made, hub.execute(&session, "CreateNode", release.clone()).await];
    let node = answers[1].body["node_id"].clone();
    for (command_type, data) in [
        (
            "UpdateProperty",
            json!({"node_id": node, "property_id": "due", "new_value": "2031-07-20"}),
        ),
        (
            "UpdateProperty",
            json!({"node_id": node, "property_id": "due", "new_value": 7}),
        ),
        (
            "Batch",
            json!({"commands": [{"command_type": "CreateNode", "data": release}]}),
        ),
        ("MoveNode", json!({"node_id": node, "new_parent_id": node})),
        ("Explode", json!({})),
        ("DeleteNode", json!({"node_id": node})),
    ] {
        answers.push(hub.execute(&session, command_type, data).await);
    }
    for request in ["undo", "undo", "redo", "save"] {
        answers.push(hub.post(&format!("/sessions/{session}/{request}"), &json!({})).await);
    }
    let graph = answers[0].body["graph"].clone();
    answers.push(
        hub.post(&format!("/sessions/{session}/load-graph"), &json!({"graph": graph}))
            .await,
    );
    for read in [
        "graph",
        "graph?min_seq=3",
        "events?after=2&limit=100",
        "history",
        "info",
        "dirty",
    ] {
        answers.push(hub.get(&format!("/sessions/{session}/{read}")).await);
    }
    answers.push(hub.get("/sessions").await);
    answers.push(hub.get("/projects/moon").await);
    answers.push(hub.delete(&format!("/sessions/{session}")).await);
    answers.push(hub.get(&format!("/sessions/{session}/info")).await);
    let mut names = Names::default();
    answers
        .iter()
        .map(|reply| names.stable(&json!({"status": reply.status, "body": reply.body})))
        .collect()
}
