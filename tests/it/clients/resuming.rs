//! Resumes and resyncs: exactly the missed events, or the graph with a reason (P2; docs/PROTOCOL.md, sections 4 and 9).

use serde_json::{Value, json};

use super::{
    driver::{Connect, Driver, Transport},
    on_both_transports,
};
use crate::support::TestHub;

on_both_transports!(
    resumed_client_gets_missed_events_in_one_packet,
    resumed_client_without_missed_events_gets_none,
    position_of_zero_gets_all_events,
    position_of_another_epoch_gets_a_snapshot,
    position_ahead_of_the_log_gets_a_snapshot,
    position_beyond_the_replay_window_gets_a_snapshot,
    resync_with_a_position_gets_events,
    resync_without_a_position_gets_a_snapshot,
    diverged_client_gets_a_snapshot,
);

/// Creates a session with three nodes, at `seq` 6, and returns it with its epoch.
async fn three_nodes(hub: &TestHub) -> (String, Value) {
    let session = hub.session().await;
    for name in ["one", "two", "three"] {
        hub.create_node(&session, None, name).await;
    }
    let epoch = hub.get(&format!("/sessions/{session}/info")).await.ok()["epoch"].take();
    (session, epoch)
}

/// Joins a client with a position, and returns its sync.
async fn sync_at(hub: &TestHub, session: &str, transport: Transport, position: Value) -> Value {
    let mut js = Driver::javascript();
    js.join("ann", &Connect::to(&hub.url, session, transport).auth(position))
        .await
}

/// Returns the events that the hub lists after a `seq`, which a sync must contain.
async fn events_after(hub: &TestHub, session: &str, seq: u64) -> Value {
    hub.get(&format!("/sessions/{session}/events?after={seq}")).await.ok()["events"].take()
}

fn assert_snapshot(sync: &Value, reason: &str, graph: &Value) {
    assert_eq!(sync["reason"], reason, "{sync}");
    assert_eq!((sync.get("events"), sync.get("graph")), (None, Some(graph)));
}

/// A ten-line client that missed three commands gets them all with one `session:sync`.
async fn resumed_client_gets_missed_events_in_one_packet(transport: Transport) {
    let hub = TestHub::start().await;
    let (session, epoch) = three_nodes(&hub).await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, transport)).await;
    js.disconnect("ann").await;
    assert_eq!(js.expect("ann", "disconnected").await["reason"], "io client disconnect");
    let node = hub.create_node(&session, None, "four").await;
    hub.execute(&session, "DeleteNode", json!({"node_id": node})).await.ok();
    hub.post(&format!("/sessions/{session}/undo"), &json!({})).await.ok();

    js.reconnect("ann").await;
    js.expect("ann", "connected").await;
    let sync = js.event("ann", "session:sync").await;
    assert_eq!(
        (&sync["reason"], &sync["epoch"], &sync["seq"]),
        (&json!("resumed"), &epoch, &json!(12))
    );
    assert_eq!(sync.get("graph"), None);
    assert_eq!(sync["events"], events_after(&hub, &session, 6).await);
    let replica = js.replica("ann").await;
    assert_eq!(replica.applied, [7, 8, 9, 10, 11, 12]);
    assert_eq!(replica.graph, hub.graph(&session).await);
}

/// A client at the current position gets an empty list, and no graph.
async fn resumed_client_without_missed_events_gets_none(transport: Transport) {
    let hub = TestHub::start().await;
    let (session, epoch) = three_nodes(&hub).await;
    let sync = sync_at(&hub, &session, transport, json!({"epoch": epoch, "seq": 6})).await;
    assert_eq!(
        (&sync["reason"], &sync["events"], sync.get("graph")),
        (&json!("resumed"), &json!([]), None)
    );
}

/// A position of zero, and one within a command, is answered with all events after it.
async fn position_of_zero_gets_all_events(transport: Transport) {
    let hub = TestHub::start().await;
    let (session, epoch) = three_nodes(&hub).await;
    for seq in [0, 3] {
        let sync = sync_at(&hub, &session, transport, json!({"epoch": epoch, "seq": seq})).await;
        assert_eq!(sync["reason"], "resumed");
        assert_eq!(sync["events"], events_after(&hub, &session, seq).await);
        assert_eq!(sync["events"][0]["data"]["seq"], seq + 1);
    }
}

/// A position with another epoch, or with a malformed one, gets the graph.
async fn position_of_another_epoch_gets_a_snapshot(transport: Transport) {
    let hub = TestHub::start().await;
    let (session, epoch) = three_nodes(&hub).await;
    let other = if epoch == "0badcafe" { "0badcaff" } else { "0badcafe" };
    for epoch in [other, "nonsense"] {
        let sync = sync_at(&hub, &session, transport, json!({"epoch": epoch, "seq": 3})).await;
        assert_snapshot(&sync, "epoch_changed", &hub.graph(&session).await);
    }
}

/// A position beyond the `seq` of the session gets the graph.
async fn position_ahead_of_the_log_gets_a_snapshot(transport: Transport) {
    let hub = TestHub::start().await;
    let (session, epoch) = three_nodes(&hub).await;
    let sync = sync_at(&hub, &session, transport, json!({"epoch": epoch, "seq": 7})).await;
    assert_snapshot(&sync, "ahead_of_log", &hub.graph(&session).await);
    assert_eq!(sync["seq"], 6);
}

/// P9: a position at the edge of the replay window gets events, and one beyond it the graph.
async fn position_beyond_the_replay_window_gets_a_snapshot(transport: Transport) {
    let hub = TestHub::with(|config| config.limits.replay_window_events = 4).await;
    let (session, epoch) = three_nodes(&hub).await;
    let sync = sync_at(&hub, &session, transport, json!({"epoch": epoch, "seq": 2})).await;
    assert_eq!(
        (&sync["reason"], sync["events"].as_array().map(Vec::len)),
        (&json!("resumed"), Some(4))
    );
    let sync = sync_at(&hub, &session, transport, json!({"epoch": epoch, "seq": 1})).await;
    assert_snapshot(&sync, "window_exceeded", &hub.graph(&session).await);
}

/// `session:resync` with a position is answered as a join with that position, with the same client and count.
async fn resync_with_a_position_gets_events(transport: Transport) {
    let hub = TestHub::start().await;
    let (session, epoch) = three_nodes(&hub).await;
    let mut js = Driver::javascript();
    let first = js
        .settle("ann", &Connect::to(&hub.url, &session, transport).named("ann"))
        .await;
    js.emit("ann", "session:resync", json!({"epoch": epoch, "seq": 4}))
        .await;
    let sync = js.event("ann", "session:sync").await;
    assert_eq!((&sync["reason"], &sync["seq"]), (&json!("resumed"), &json!(6)));
    assert_eq!(sync["events"], events_after(&hub, &session, 4).await);
    for field in [
        "client_id",
        "client_count",
        "undo_available",
        "redo_available",
        "reconnect",
    ] {
        assert_eq!(sync[field], first[field], "{field}");
    }
    js.emit("ann", "session:resync", json!({"epoch": "0badcafe", "seq": 4}))
        .await;
    assert_snapshot(
        &js.event("ann", "session:sync").await,
        "epoch_changed",
        &hub.graph(&session).await,
    );
    js.emit("ann", "session:resync", json!({"epoch": epoch, "seq": 99}))
        .await;
    assert_snapshot(
        &js.event("ann", "session:sync").await,
        "ahead_of_log",
        &hub.graph(&session).await,
    );
}

/// A position without its epoch or without its `seq` is no position.
async fn resync_without_a_position_gets_a_snapshot(transport: Transport) {
    let hub = TestHub::start().await;
    let (session, epoch) = three_nodes(&hub).await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, transport)).await;
    for request in [
        json!({}),
        json!({"epoch": epoch}),
        json!({"seq": 4}),
        json!({"epoch": "nonsense", "seq": null}),
    ] {
        js.emit("ann", "session:resync", request).await;
        assert_snapshot(
            &js.event("ann", "session:sync").await,
            "requested",
            &hub.graph(&session).await,
        );
    }
}

/// P6: a client that reports a divergence gets the graph, with any position.
async fn diverged_client_gets_a_snapshot(transport: Transport) {
    let hub = TestHub::start().await;
    let (session, epoch) = three_nodes(&hub).await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, transport)).await;
    for request in [
        json!({"reason": "divergence"}),
        json!({"reason": "divergence", "epoch": epoch, "seq": 6}),
        json!({"reason": "divergence", "epoch": "0badcafe", "seq": 99}),
    ] {
        js.emit("ann", "session:resync", request).await;
        assert_snapshot(
            &js.event("ann", "session:sync").await,
            "divergence",
            &hub.graph(&session).await,
        );
    }
    // The next event is live, because a resync concerns one socket only.
    hub.create_node(&session, None, "four").await;
    assert_eq!(js.event("ann", "command:executing").await["command_type"], "CreateNode");
}
