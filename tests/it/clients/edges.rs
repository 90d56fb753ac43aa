//! Who may connect from where, and a hub without sockets.

use serde_json::{Value, json};

use super::{
    driver::{Connect, Driver, Transport},
    names::Names,
    on_both_transports,
};
use crate::support::TestHub;

on_both_transports!(
    pages_of_foreign_origins_get_no_socket,
    pages_of_this_machine_get_one_unless_that_is_switched_off,
    a_hub_without_realtime_has_no_sockets,
);

/// What a client of this transport says when it gets no connection, whatever the reason.
const fn no_connection(transport: Transport) -> &'static str {
    match transport {
        Transport::Websocket => "websocket error",
        Transport::Polling | Transport::Upgrading => "xhr poll error",
    }
}

/// A browser lets every page open a websocket anywhere; the hub does not. Those that are configured may.
async fn pages_of_foreign_origins_get_no_socket(transport: Transport) {
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
    // A page that the hub's own address serves is at home.
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

/// Every port of this machine may connect by default, http or https; `cors.allow_localhost` ends that.
async fn pages_of_this_machine_get_one_unless_that_is_switched_off(transport: Transport) {
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
    // What is no page sends no origin, and is not concerned.
    js.join("ann", &connect).await;
}

/// P10: with `realtime.enabled = false` there is nothing at the path of sockets, and clients hear so.
async fn a_hub_without_realtime_has_no_sockets(transport: Transport) {
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

/// P10: without sockets every answer of the REST API is the same as with them.
#[tokio::test]
async fn rest_is_the_same_without_realtime() {
    let with = TestHub::start().await;
    let without = TestHub::with(|config| config.realtime.enabled = false).await;
    let told = rest_story(&with).await;
    assert!(told.len() > 15);
    assert_eq!(told, rest_story(&without).await);
}

/// A walk through the API: status and body of each answer.
async fn rest_story(hub: &TestHub) -> Vec<Value> {
    let made = json!({"template_id": "software_project", "project_name": "Moon", "project_id": "moon"});
    let made = hub.post("/projects", &made).await;
    let session = made.body["session_id"].as_str().expect("an id").to_owned();
    let root = made.body["graph"]["roots"][0]["id"].clone();
    let release = json!({"blueprint_type_id": "release", "name": "1.0", "parent_id": root});
    let mut told = vec![made, hub.execute(&session, "CreateNode", release.clone()).await];
    let node = told[1].body["node_id"].clone();
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
        told.push(hub.execute(&session, command_type, data).await);
    }
    for request in ["undo", "undo", "redo", "save"] {
        told.push(hub.post(&format!("/sessions/{session}/{request}"), &json!({})).await);
    }
    let graph = told[0].body["graph"].clone();
    told.push(
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
        told.push(hub.get(&format!("/sessions/{session}/{read}")).await);
    }
    told.push(hub.get("/sessions").await);
    told.push(hub.get("/projects/moon").await);
    told.push(hub.delete(&format!("/sessions/{session}")).await);
    told.push(hub.get(&format!("/sessions/{session}/info")).await);
    let mut names = Names::default();
    told.iter()
        .map(|reply| names.stable(&json!({"status": reply.status, "body": reply.body})))
        .collect()
}
