//! Departures: of a client, of a connection, of a session, of the hub.

use serde_json::{Value, json};

use super::{
    connections,
    driver::{Connect, Driver, Observation, Transport},
    faulty_link::FaultyLink,
    metric, on_both_transports,
};
use crate::support::{TestHub, child::port_to_keep};

on_both_transports!(
    disconnected_client_is_announced,
    silent_client_is_dropped_after_the_ping_timeout,
    deleted_session_disconnects_its_sockets,
    stopping_hub_sends_drain_delays,
    connect_during_drain_is_retried,
);

/// A client that disconnects is announced at once, with the count after it, and is no longer counted.
async fn disconnected_client_is_announced(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let connect = Connect::to(&hub.url, &session, transport);
    let mut js = Driver::javascript();
    js.settle("ann", &connect.clone().named("ann")).await;
    js.settle("bob", &connect.named("bob")).await;
    js.event("ann", "session:connected").await;
    js.disconnect("bob").await;
    let left = js.expect("bob", "disconnected").await;
    assert_eq!(left, json!({"reason": "io client disconnect", "will_retry": false}));
    let missed = js.event("ann", "session:disconnected").await;
    assert_eq!(
        (&missed["client_id"], &missed["client_count"], &missed["reason"]),
        (&json!("bob"), &json!(1), &json!("client_disconnect"))
    );
    connections(&hub, 1).await;
}

/// A client whose network falls silent is dropped after the ping timeout.
async fn silent_client_is_dropped_after_the_ping_timeout(transport: Transport) {
    let hub =
        TestHub::with(|config| (config.realtime.ping_interval_ms, config.realtime.ping_timeout_ms) = (1_000, 2_000));
    let hub = hub.await;
    let session = hub.session().await;
    let link = FaultyLink::to(&hub.url).await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, transport).named("ann"))
        .await;
    js.settle("bob", &Connect::to(&link.url, &session, transport).named("bob"))
        .await;
    js.event("ann", "session:connected").await;
    link.stop();
    let missed = js.event("ann", "session:disconnected").await;
    assert_eq!(
        (&missed["client_id"], &missed["client_count"], &missed["reason"]),
        (&json!("bob"), &json!(1), &json!("ping_timeout"))
    );
    assert_eq!(
        js.expect("bob", "disconnected").await,
        json!({"reason": "ping timeout", "will_retry": true})
    );
    link.release();
    js.until("bob", "session:sync").await;
    assert_eq!(js.event("ann", "session:connected").await["client_id"], "bob");
}

/// A broken websocket is announced at once, without a wait for a ping.
#[tokio::test]
async fn broken_websocket_is_announced_at_once() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let link = FaultyLink::to(&hub.url).await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, Transport::Websocket))
        .await;
    js.settle(
        "bob",
        &Connect::to(&link.url, &session, Transport::Websocket).named("bob"),
    )
    .await;
    js.event("ann", "session:connected").await;
    link.cut();
    assert_eq!(
        js.event("ann", "session:disconnected").await["reason"],
        "transport_error"
    );
    assert_eq!(js.expect("bob", "disconnected").await["reason"], "transport close");
    link.release();
    js.until_that("bob", |observed| observed.kind == "connected").await;
    assert_eq!(js.event("bob", "session:sync").await["reason"], "resumed");
}

/// P9: asserts that a websocket whose client stops reading is closed, both for one that began as a websocket and for an
/// upgraded one.
async fn assert_closed_when_it_stops_reading(transport: Transport) {
    let hub = TestHub::with(|config| {
        (config.realtime.ping_interval_ms, config.realtime.ping_timeout_ms) = (500, 1_000);
        config.realtime.slow_consumer_retry_ms = 1;
        config.realtime.outgoing_packets_per_socket_max = 8;
        config.limits.in_flight_per_session_max = 8;
    });
    let hub = hub.await;
    let session = hub.session().await;
    let link = FaultyLink::to(&hub.url).await;
    let mut js = Driver::javascript();
    js.connect("ann", &Connect::to(&link.url, &session, transport)).await;
    let ready = if transport == Transport::Upgrading {
        "upgraded"
    } else {
        "connected"
    };
    js.until_that("ann", |observed| observed.kind == ready).await;
    connections(&hub, 1).await;
    link.stop();
    // More bytes than the queue and the buffers of the connection hold.
    let text = "x".repeat(60_000);
    for _ in 0..250 {
        let data = json!({"blueprint_type_id": "task", "properties": {"text": text}});
        hub.execute(&session, "CreateNode", data).await.ok();
    }
    connections(&hub, 0).await;
}

#[tokio::test]
async fn websocket_that_stops_reading_is_closed() {
    assert_closed_when_it_stops_reading(Transport::Websocket).await;
}

#[tokio::test]
async fn upgraded_websocket_that_stops_reading_is_closed() {
    assert_closed_when_it_stops_reading(Transport::Upgrading).await;
}

/// P2: a polling client whose polls were blocked longer than its queue lasts gets a sync when it polls again.
#[tokio::test]
async fn polling_client_is_resynced_when_it_polls() {
    assert_resynced_when_it_polls_again(50, |connect| connect).await;
}

/// Asserts that a polling client that missed events while its polls were blocked gets a sync of the current graph, and
/// live events after it.
pub(super) async fn assert_resynced_when_it_polls_again(nodes: u64, with: impl FnOnce(Connect) -> Connect) {
    let hub = TestHub::with(|config| {
        config.realtime.slow_consumer_retry_ms = 1;
        config.realtime.outgoing_packets_per_socket_max = 8;
        config.limits.in_flight_per_session_max = 8;
    });
    let hub = hub.await;
    let session = hub.session().await;
    let link = FaultyLink::to(&hub.url).await;
    let mut js = Driver::javascript();
    js.settle("ann", &with(Connect::to(&link.url, &session, Transport::Polling)))
        .await;
    link.stop();
    for _ in 0..nodes {
        hub.create_node(&session, None, "N").await;
    }
    metric(&hub, "hub_packets_dropped_total", |dropped| dropped >= 15).await;
    link.release();
    let observed = js.until("ann", "session:sync").await;
    let (_, sync) = observed.last().and_then(Observation::event).expect("an event");
    assert_eq!(
        (&sync["reason"], &sync["seq"]),
        (&json!("slow_consumer"), &json!(2 * nodes))
    );
    assert_eq!(js.replica("ann").await.graph, hub.graph(&session).await);
    // Live events follow the sync.
    hub.create_node(&session, None, "N").await;
    js.until_seq("ann", 2 * nodes + 2).await;
}

/// Each socket of a deleted session gets `session:disconnected` with its own client id, and is disconnected without a
/// retry.
async fn deleted_session_disconnects_its_sockets(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let connect = Connect::to(&hub.url, &session, transport);
    let mut js = Driver::javascript();
    js.settle("ann", &connect.clone().named("ann")).await;
    js.settle("bob", &connect.clone().named("bob")).await;
    js.event("ann", "session:connected").await;
    hub.delete(&format!("/sessions/{session}")).await.ok();
    for client in ["ann", "bob"] {
        let observed = js.event(client, "session:disconnected").await;
        assert_eq!(
            (&observed["session_id"], &observed["client_id"], &observed["reason"]),
            (&json!(session), &json!(client), &json!("session_deleted"))
        );
        let gone = js.expect(client, "disconnected").await;
        assert_eq!(gone, json!({"reason": "io server disconnect", "will_retry": false}));
    }
    connections(&hub, 0).await;
    js.connect("cid", &connect).await;
    assert_eq!(js.expect("cid", "connect_error").await["message"], "INVALID_SESSION");
}

/// Each client of a stopping hub gets `session:draining` with a delay of its own, then loses its transport, and will
/// retry.
async fn stopping_hub_sends_drain_delays(transport: Transport) {
    let hub = TestHub::start().await;
    let (one, other) = (hub.session().await, hub.session().await);
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &one, transport)).await;
    js.settle("bob", &Connect::to(&hub.url, &one, transport)).await;
    js.event("ann", "session:connected").await;
    js.settle("cid", &Connect::to(&hub.url, &other, transport)).await;
    hub.create_node(&one, None, "the last").await;
    let (_, stopped) = hub.stop().await;
    stopped.expect("the hub drains in time");
    js.until_seq("ann", 2).await;
    js.until_seq("bob", 2).await;
    let mut delays = Vec::new();
    for (client, session) in [("ann", &one), ("bob", &one), ("cid", &other)] {
        let draining = js.event(client, "session:draining").await;
        assert_eq!(
            (&draining["session_id"], &draining["project_id"]),
            (&json!(session), &Value::Null)
        );
        let delay = draining["reconnect_in_ms"].as_u64().expect("a number");
        assert!((500..=5_000).contains(&delay), "{delay}");
        delays.push(delay);
        let gone = js.expect(client, "disconnected").await;
        let reason = match transport {
            Transport::Polling => "transport error",
            Transport::Websocket | Transport::Upgrading => "transport close",
        };
        assert_eq!(gone, json!({"reason": reason, "will_retry": true}));
    }
    assert!(delays[0] != delays[1] && delays[1] != delays[2], "{delays:?}");
}

/// A client that connects during the drain is refused by the transport, so that it retries. A refusal by the namespace
/// would be final.
async fn connect_during_drain_is_retried(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let connect = Connect::to(&hub.url, &session, transport);
    let mut js = Driver::javascript();
    js.settle("ann", &connect).await;
    let stopping = tokio::spawn(hub.stop());
    js.event("ann", "session:draining").await;
    js.connect("bob", &connect).await;
    let refused = js.expect("bob", "connect_error").await;
    assert_eq!(refused["will_retry"], true, "{refused}");
    let (_, stopped) = stopping.await.expect("no panic");
    stopped.expect("the hub drains in time");
}

/// A client that was between its transport and its join when the drain began gets no final refusal.
#[tokio::test]
async fn half_joined_client_is_not_refused_by_a_drain() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, Transport::Websocket))
        .await;
    let http = hub.http().clone();
    let begin = format!("{}/socket.io/?EIO=4&transport=polling", hub.url);
    let opened = http
        .get(&begin)
        .send()
        .await
        .expect("served")
        .text()
        .await
        .expect("text");
    let opened: Value = serde_json::from_str(opened.trim_start_matches('0')).expect("the open packet is JSON");
    let poll = format!("{begin}&sid={}", opened["sid"].as_str().expect("an id"));
    let stopping = tokio::spawn(hub.stop());
    js.event("ann", "session:draining").await;
    let join = format!("40/graph,{}", json!({"session_id": session}));
    let _ = http.post(&poll).body(join).send().await;
    if let Ok(answer) = http.get(&poll).send().await {
        let observed = answer.text().await.unwrap_or_default();
        assert!(!observed.contains("44/graph"), "{observed}");
    }
    let (_, stopped) = stopping.await.expect("no panic");
    stopped.expect("the hub drains in time");
}

/// P2, P7: clients of a stopped hub reconnect by themselves when the hub is back, in both languages and on every
/// transport.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_reconnect_to_a_restarted_hub() {
    for transport in [Transport::Websocket, Transport::Polling, Transport::Upgrading] {
        let port = port_to_keep();
        let on_port = |config: &mut talus_hub::config::Config| config.server.port = port;
        let hub = TestHub::with(on_port).await;
        let session = hub.session().await;
        let connect = Connect::to(&hub.url, &session, transport);
        let (mut js, mut python) = (Driver::javascript(), Driver::python());
        js.connect("ann", &connect).await;
        js.until("ann", "session:sync").await;
        python.connect("bob", &connect).await;
        python.until("bob", "session:sync").await;
        connections(&hub, 2).await;
        let (dir, stopped) = hub.stop().await;
        stopped.expect("the hub drains in time");
        js.until_that("ann", |observed| observed.kind == "disconnected").await;
        python
            .until_that("bob", |observed| observed.kind == "disconnected")
            .await;
        let hub = TestHub::on(dir, on_port).await;
        js.until("ann", "session:sync").await;
        python.until("bob", "session:sync").await;
        connections(&hub, 2).await;
        hub.stop().await.1.expect("the hub drains in time");
    }
}

/// P2, P7: clients without a session reconnect by themselves when the hub is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_without_a_session_reconnect_to_a_restarted_hub() {
    for transport in [Transport::Websocket, Transport::Polling, Transport::Upgrading] {
        let port = port_to_keep();
        let on_port = |config: &mut talus_hub::config::Config| {
            config.server.port = port;
            config.realtime.late_join = true;
        };
        let hub = TestHub::with(on_port).await;
        let connect = Connect::to(&hub.url, "", transport).bare(json!({}));
        let (mut js, mut python) = (Driver::javascript(), Driver::python());
        for (driver, client) in [(&mut js, "ann"), (&mut python, "bob")] {
            driver.connect(client, &connect).await;
            driver.until_that(client, |observed| observed.kind == "connected").await;
        }
        let (dir, stopped) = hub.stop().await;
        stopped.expect("the hub drains in time");
        for (driver, client) in [(&mut js, "ann"), (&mut python, "bob")] {
            driver
                .until_that(client, |observed| observed.kind == "disconnected")
                .await;
        }
        let hub = TestHub::on(dir, on_port).await;
        for (driver, client) in [(&mut js, "ann"), (&mut python, "bob")] {
            driver.until_that(client, |observed| observed.kind == "connected").await;
        }
        hub.stop().await.1.expect("the hub drains in time");
    }
}
