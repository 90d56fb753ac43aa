//! Coming in: who is let in, what the first packet is, who hears of it (docs/PROTOCOL.md, section 4).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    connections,
    driver::{Connect, Driver, Told, Transport},
    on_both_transports, sequenced,
};
use crate::support::TestHub;

on_both_transports!(
    the_first_packet_is_a_snapshot,
    a_join_in_the_middle_of_changes_has_no_seam,
    everybody_hears_who_came_and_how_many_there_are,
    the_query_may_name_the_session,
    without_a_session_nobody_gets_in,
    with_a_wrong_session_nobody_gets_in,
    a_client_id_is_the_clients_own_or_minted,
    a_full_hub_lets_nobody_in_until_somebody_leaves,
    a_full_room_lets_nobody_in_until_somebody_leaves,
);

/// `session:sync` of a first join carries everything a client needs to begin, and nothing else.
async fn the_first_packet_is_a_snapshot(transport: Transport) {
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

/// P1, P2: while commands pour in, a client that joins gets a snapshot and then exactly what comes after it.
async fn a_join_in_the_middle_of_changes_has_no_seam(transport: Transport) {
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
        joined_at.push((client, sync["seq"].as_u64().expect("a place")));
    }
    load.await.expect("no command fails");
    for (client, joined_at) in joined_at {
        // One more command, so that something comes after every snapshot.
        hub.create_node(&session, None, client).await;
        let last = hub.get(&format!("/sessions/{session}/info")).await.ok()["seq"]
            .as_u64()
            .expect("a place");
        let told = js.until_seq(client, last).await;
        let live: Vec<u64> = sequenced(&told).into_iter().map(|(seq, ..)| seq).collect();
        assert_eq!(live, (joined_at + 1..=last).collect::<Vec<_>>());
        let replica = js.replica(client).await;
        assert_eq!(replica.applied, live, "what follows the snapshot is applied, once");
        assert_eq!(replica.graph, hub.graph(&session).await);
    }
}

/// `session:connected` goes to everybody in the room, to the joiner after its sync, with the count after the join.
async fn everybody_hears_who_came_and_how_many_there_are(transport: Transport) {
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

/// What the auth payload does not say, the query may: session, name, position.
async fn the_query_may_name_the_session(transport: Transport) {
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

/// `connect_error` with `MISSING_SESSION` as its message, after which the client does not try again by itself.
async fn without_a_session_nobody_gets_in(transport: Transport) {
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

/// `connect_error` with `INVALID_SESSION` as its message for a session that is none, that never was, or that is gone.
async fn with_a_wrong_session_nobody_gets_in(transport: Transport) {
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

/// A client's own id comes back in its sync, also after it left and came again; one that is none is refused.
async fn a_client_id_is_the_clients_own_or_minted(transport: Transport) {
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

/// P2: joining fails with a code for a Python client too, on both transports.
#[tokio::test]
async fn a_python_client_hears_why_it_is_not_let_in() {
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

/// P9: beyond the most connections nobody is let in, until one goes.
async fn a_full_hub_lets_nobody_in_until_somebody_leaves(transport: Transport) {
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

/// P9: the same for the most sockets in one room; other rooms are not concerned (P7).
async fn a_full_room_lets_nobody_in_until_somebody_leaves(transport: Transport) {
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

/// P2, P9: thirty clients that come at once to a session whose graph is as large as all that may be on its way get it in
/// turn, and nothing of what happens meanwhile is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_gets_a_large_graph_in_turn() {
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
        let told = js.until(name, "session:sync").await;
        let (_, sync) = told.last().and_then(Told::event).expect("an event");
        assert_eq!(sync["reason"], "first_join");
        assert_eq!(
            told.iter().filter_map(Told::event).count(),
            1,
            "it comes before everything else"
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
