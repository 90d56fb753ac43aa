//! Joins: admission, the first packet, the news to the room (docs/PROTOCOL.md, section 4).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    connections,
    driver::{Connect, Driver, Observation, Transport},
    on_both_transports, sequenced,
};
use crate::support::TestHub;

on_both_transports!(
    first_packet_is_a_snapshot,
    join_under_load_misses_no_event,
    join_is_announced_to_the_room_with_the_count,
    query_may_name_the_session,
    join_without_a_session_is_refused,
    join_with_a_wrong_session_is_refused,
    client_id_is_chosen_or_generated,
    full_hub_refuses_joins_until_a_client_leaves,
    full_room_refuses_joins_until_a_client_leaves,
);

/// `session:sync` of a first join has every field that a client needs to begin, and no other.
async fn first_packet_is_a_snapshot(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let root = hub.create_node(&session, None, "Root").await;
    hub.create_node(&session, Some(&root), "Child").await;
    let read = hub.get(&format!("/sessions/{session}/graph")).await.ok();

    let mut js = Driver::javascript();
    let mut sync = js
        .join("ann", &Connect::to(&hub.url, &session, transport).named("ann"))
        .await;
    let timestamp = sync.as_object_mut().expect("an object").remove("timestamp");
    assert!(timestamp.is_some_and(|timestamp| timestamp.is_string()));
    let wanted = json!({
        "session_id": session, "project_id": null, "epoch": read["epoch"], "seq": 4, "reason": "first_join",
        "state_hash": read["state_hash"], "graph": read["graph"], "client_id": "ann", "client_count": 1,
        "undo_available": true, "redo_available": false, "reconnect": {"min_ms": 500, "max_ms": 5000},
        "limits": {
            "message_bytes_max": 1_048_576, "body_bytes_max": 1_048_576, "presence_state_bytes_max": 4_096,
            "batch_commands_max": 1_000,
        },
    });
    assert_eq!(sync, wanted);
}

/// P1, P2: a client that joins under load gets a snapshot, and then exactly the events after it.
async fn join_under_load_misses_no_event(transport: Transport) {
    let hub = Arc::new(TestHub::start().await);
    let session = hub.session().await;
    let load = tokio::spawn({
        let (hub, session) = (Arc::clone(&hub), session.clone());
        async move {
            for number in 0..150 {
                hub.create_node(&session, None, &format!("node {number}")).await;
            }
        }
    });
    let mut js = Driver::javascript();
    let mut joined_at = Vec::new();
    for client in ["ann", "bob", "cid", "dan"] {
        let sync = js.join(client, &Connect::to(&hub.url, &session, transport)).await;
        joined_at.push((client, sync["seq"].as_u64().expect("a seq")));
    }
    load.await.expect("no command fails");
    for (client, joined_at) in joined_at {
        // One more command gives an event after every snapshot.
        hub.create_node(&session, None, client).await;
        let last = hub.get(&format!("/sessions/{session}/info")).await.ok()["seq"]
            .as_u64()
            .expect("a seq");
        let observed = js.until_seq(client, last).await;
        let live: Vec<u64> = sequenced(&observed).into_iter().map(|(seq, ..)| seq).collect();
        assert_eq!(live, (joined_at + 1..=last).collect::<Vec<_>>());
        let replica = js.replica(client).await;
        assert_eq!(replica.applied, live, "events after the snapshot are applied once");
        assert_eq!(replica.graph, hub.graph(&session).await);
    }
}

/// `session:connected` goes to every subscriber of the room, to the joiner after its sync, with the count after the
/// join.
async fn join_is_announced_to_the_room_with_the_count(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut js = Driver::javascript();
    let names = ["ann", "bob", "cid"];
    for (already, name) in names.iter().enumerate() {
        let sync = js
            .join(name, &Connect::to(&hub.url, &session, transport).named(name))
            .await;
        assert_eq!(sync["client_count"], already + 1);
        for present in &names[..=already] {
            let connected = js.event(present, "session:connected").await;
            assert_eq!(
                (&connected["client_id"], &connected["client_count"]),
                (&json!(name), &json!(already + 1))
            );
        }
    }
    let info = hub.get(&format!("/sessions/{session}/info")).await.ok();
    assert_eq!(info["active_clients"], 3);
}

/// The query may hold each field that the auth payload lacks: session, client id, position.
async fn query_may_name_the_session(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    hub.create_node(&session, None, "Root").await;
    let mut js = Driver::javascript();
    let connect = Connect::to(&hub.url, "", transport).bare(Value::Null);
    let query = json!({"session_id": session, "client_id": "ann"});
    let sync = js.join("ann", &connect.clone().query(query)).await;
    assert_eq!(
        (&sync["reason"], &sync["client_id"]),
        (&json!("first_join"), &json!("ann"))
    );

    let query = json!({"session_id": session, "epoch": sync["epoch"], "seq": 1});
    let sync = js.join("bob", &connect.query(query)).await;
    assert_eq!(
        (&sync["reason"], sync["events"].as_array().map(Vec::len)),
        (&json!("resumed"), Some(1))
    );
}

/// A join without a session gets a `connect_error` with the message `MISSING_SESSION`, and the client does not retry.
async fn join_without_a_session_is_refused(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut js = Driver::javascript();
    for (client, auth) in [
        ("ann", Value::Null),
        ("bob", json!({})),
        ("cid", json!({"session_id": null})),
    ] {
        js.connect(client, &Connect::to(&hub.url, &session, transport).bare(auth))
            .await;
        let error = js.expect(client, "connect_error").await;
        assert_eq!(error, json!({"message": "MISSING_SESSION", "will_retry": false}));
    }
}

/// A join with a malformed, unknown or deleted session gets a `connect_error` with the message `INVALID_SESSION`.
async fn join_with_a_wrong_session_is_refused(transport: Transport) {
    let hub = TestHub::start().await;
    let gone = hub.session().await;
    hub.delete(&format!("/sessions/{gone}")).await.ok();
    let never = json!("00000000-0000-4000-8000-000000000000");
    let mut js = Driver::javascript();
    for (client, session) in [
        ("ann", json!("x")),
        ("bob", json!(7)),
        ("cid", never),
        ("dan", json!(gone)),
    ] {
        let auth = json!({"session_id": session});
        js.connect(client, &Connect::to(&hub.url, "", transport).bare(auth))
            .await;
        let error = js.expect(client, "connect_error").await;
        assert_eq!(
            error,
            json!({"message": "INVALID_SESSION", "will_retry": false}),
            "{session}"
        );
    }
}

/// A client's own id comes back in its sync, also after a reconnect. A client without an id gets a new one, and a
/// malformed id is refused.
async fn client_id_is_chosen_or_generated(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let connect = Connect::to(&hub.url, &session, transport);
    let mut js = Driver::javascript();
    let sync = js.settle("ann", &connect.clone().named("Ann_1-x")).await;
    assert_eq!(sync["client_id"], "Ann_1-x");
    js.disconnect("ann").await;
    js.expect("ann", "disconnected").await;
    js.reconnect("ann").await;
    js.expect("ann", "connected").await;
    assert_eq!(js.event("ann", "session:sync").await["client_id"], "Ann_1-x");

    let minted = js.join("bob", &connect).await["client_id"].clone();
    assert_eq!(minted.as_str().map(str::len), Some(36), "{minted}");
    assert_eq!(js.event("bob", "session:connected").await["client_id"], minted);

    for (client, id) in [
        ("cid", json!("no spaces")),
        ("dan", json!("")),
        ("eve", json!("x".repeat(65))),
    ] {
        js.connect(client, &connect.clone().auth(json!({"client_id": id})))
            .await;
        assert_eq!(js.expect(client, "connect_error").await["message"], "INVALID_REQUEST");
    }
}

/// P2: a refused join has its code for a Python client too, on both transports.
#[tokio::test]
async fn refused_python_client_gets_the_code() {
    let hub = TestHub::start().await;
    let mut python = Driver::python();
    for (client, transport, auth, message) in [
        ("ann", Transport::Websocket, json!({}), "MISSING_SESSION"),
        ("bob", Transport::Polling, json!({}), "MISSING_SESSION"),
        (
            "cid",
            Transport::Websocket,
            json!({"session_id": "x"}),
            "INVALID_SESSION",
        ),
        ("dan", Transport::Polling, json!({"session_id": "x"}), "INVALID_SESSION"),
    ] {
        python
            .connect(client, &Connect::to(&hub.url, "", transport).bare(auth))
            .await;
        assert_eq!(python.expect(client, "connect_error").await["message"], message);
    }
}

/// P9: the hub admits no client beyond `connections_max`, until a client leaves.
async fn full_hub_refuses_joins_until_a_client_leaves(transport: Transport) {
    let hub = TestHub::with(|config| config.realtime.connections_max = 2).await;
    let (one, other) = (hub.session().await, hub.session().await);
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &one, transport)).await;
    js.settle("bob", &Connect::to(&hub.url, &other, transport)).await;
    js.connect("cid", &Connect::to(&hub.url, &one, transport)).await;
    assert_eq!(js.expect("cid", "connect_error").await["message"], "OVERLOADED");
    js.disconnect("ann").await;
    connections(&hub, 1).await;
    js.join("dan", &Connect::to(&hub.url, &one, transport)).await;
}

/// P9: a room admits no client beyond `sockets_per_session_max`, until a client leaves. Other rooms admit clients
/// meanwhile (P7).
async fn full_room_refuses_joins_until_a_client_leaves(transport: Transport) {
    let hub = TestHub::with(|config| config.realtime.sockets_per_session_max = 1).await;
    let (one, other) = (hub.session().await, hub.session().await);
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &one, transport)).await;
    js.connect("bob", &Connect::to(&hub.url, &one, transport)).await;
    assert_eq!(js.expect("bob", "connect_error").await["message"], "OVERLOADED");
    js.join("cid", &Connect::to(&hub.url, &other, transport)).await;
    js.disconnect("ann").await;
    connections(&hub, 1).await;
    js.join("dan", &Connect::to(&hub.url, &one, transport)).await;
}

/// P2, P9: thirty clients join at once a session whose graph takes the whole of `sync_bytes_in_flight_max`. The clients
/// get the graph in turn, and miss no event meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_syncs_are_sent_in_turn() {
    let hub = TestHub::with(|config| config.realtime.sync_bytes_in_flight_max = 100_000).await;
    let session = hub.session().await;
    let text = "x".repeat(50_000);
    for _ in 0..3 {
        let data = json!({"blueprint_type_id": "task", "properties": {"text": text}});
        hub.execute(&session, "CreateNode", data).await.ok();
    }
    let mut js = Driver::javascript();
    let names: Vec<String> = (0..30).map(|number| format!("client-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let transport = if number % 5 == 0 {
            Transport::Polling
        } else {
            Transport::Websocket
        };
        js.connect(name, &Connect::to(&hub.url, &session, transport)).await;
    }
    for _ in 0..20 {
        hub.create_node(&session, None, "N").await;
    }
    for name in &names {
        let observed = js.until(name, "session:sync").await;
        let (_, sync) = observed.last().and_then(Observation::event).expect("an event");
        assert_eq!(sync["reason"], "first_join");
        assert_eq!(
            observed.iter().filter_map(Observation::event).count(),
            1,
            "the sync is the first event"
        );
        js.event(name, "presence:state").await;
        js.event(name, "session:connected").await;
    }
    hub.create_node(&session, None, "last").await;
    let graph = hub.graph(&session).await;
    for name in &names {
        js.until_seq(name, 48).await;
        assert_eq!(js.replica(name).await.graph, graph);
    }
}
