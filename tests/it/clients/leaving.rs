//! Going: by itself, by accident, because the session is gone, because the hub goes.

use serde_json::{Value, json};

use super::{
    connections,
    driver::{Connect, Driver, Told, Transport},
    metric, on_both_transports,
    wire::Wire,
};
use crate::support::{TestHub, child::port_to_keep};

on_both_transports!(
    a_client_that_leaves_is_missed,
    a_client_that_falls_silent_is_missed,
    a_deleted_session_lets_its_sockets_go,
    a_hub_that_stops_sends_everybody_away_for_a_while,
    a_client_that_comes_while_the_hub_goes_tries_again,
);

/// Who leaves by itself is reported at once, with the count after it, and is no longer counted.
async fn a_client_that_leaves_is_missed(transport: Transport) {
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

/// A client whose network goes away without a word is given up after the ping timeout.
async fn a_client_that_falls_silent_is_missed(transport: Transport) {
    let hub =
        TestHub::with(|config| (config.realtime.ping_interval_ms, config.realtime.ping_timeout_ms) = (1_000, 2_000));
    let hub = hub.await;
    let session = hub.session().await;
    let wire = Wire::to(&hub.url).await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, transport).named("ann"))
        .await;
    js.settle("bob", &Connect::to(&wire.url, &session, transport).named("bob"))
        .await;
    js.event("ann", "session:connected").await;
    wire.stop();
    let missed = js.event("ann", "session:disconnected").await;
    assert_eq!(
        (&missed["client_id"], &missed["client_count"], &missed["reason"]),
        (&json!("bob"), &json!(1), &json!("ping_timeout"))
    );
    assert_eq!(
        js.expect("bob", "disconnected").await,
        json!({"reason": "ping timeout", "will_retry": true})
    );
    wire.release();
    js.until("bob", "session:sync").await;
    assert_eq!(js.event("ann", "session:connected").await["client_id"], "bob");
}

/// A websocket that breaks is missed at once, without waiting for a ping.
#[tokio::test]
async fn a_broken_websocket_is_missed() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let wire = Wire::to(&hub.url).await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, Transport::Websocket))
        .await;
    js.settle(
        "bob",
        &Connect::to(&wire.url, &session, Transport::Websocket).named("bob"),
    )
    .await;
    js.event("ann", "session:connected").await;
    wire.cut();
    assert_eq!(
        js.event("ann", "session:disconnected").await["reason"],
        "transport_error"
    );
    assert_eq!(js.expect("bob", "disconnected").await["reason"], "transport close");
    wire.release();
    js.until_that("bob", |told| told.got == "connected").await;
    assert_eq!(js.event("bob", "session:sync").await["reason"], "resumed");
}

/// P9: a websocket whose client takes nothing any more does not stay, whether it began as one or by polling.
async fn assert_let_go_when_it_stops_reading(transport: Transport) {
    let hub = TestHub::with(|config| {
        (config.realtime.ping_interval_ms, config.realtime.ping_timeout_ms) = (500, 1_000);
        config.realtime.slow_consumer_retry_ms = 1;
        config.realtime.outgoing_packets_per_socket_max = 8;
        config.limits.in_flight_per_session_max = 8;
    });
    let hub = hub.await;
    let session = hub.session().await;
    let wire = Wire::to(&hub.url).await;
    let mut js = Driver::javascript();
    js.connect("ann", &Connect::to(&wire.url, &session, transport)).await;
    let ready = if transport == Transport::Upgrading {
        "upgraded"
    } else {
        "connected"
    };
    js.until_that("ann", |told| told.got == ready).await;
    connections(&hub, 1).await;
    wire.stop();
    // More than the queue and the buffers of the connection hold.
    let text = "x".repeat(60_000);
    for _ in 0..250 {
        let data = json!({"blueprint_type_id": "task", "properties": {"text": text}});
        hub.execute(&session, "CreateNode", data).await.ok();
    }
    connections(&hub, 0).await;
}

#[tokio::test]
async fn a_websocket_that_stops_reading_is_let_go() {
    assert_let_go_when_it_stops_reading(Transport::Websocket).await;
}

#[tokio::test]
async fn an_upgraded_websocket_that_stops_reading_is_let_go() {
    assert_let_go_when_it_stops_reading(Transport::Upgrading).await;
}

/// P2: a client that polls and was away for longer than it was waited for gets a sync when it comes back.
#[tokio::test]
async fn a_client_that_polls_again_after_a_long_while_is_resynced() {
    assert_resynced_when_it_polls_again(50, |connect| connect).await;
}

/// A client that polls misses what happens while its polls do not get through, is brought to where the session is, and
/// goes on from there.
pub(super) async fn assert_resynced_when_it_polls_again(nodes: u64, with: impl FnOnce(Connect) -> Connect) {
    let hub = TestHub::with(|config| {
        config.realtime.slow_consumer_retry_ms = 1;
        config.realtime.outgoing_packets_per_socket_max = 8;
        config.limits.in_flight_per_session_max = 8;
    });
    let hub = hub.await;
    let session = hub.session().await;
    let wire = Wire::to(&hub.url).await;
    let mut js = Driver::javascript();
    js.settle("ann", &with(Connect::to(&wire.url, &session, Transport::Polling)))
        .await;
    wire.stop();
    for _ in 0..nodes {
        hub.create_node(&session, None, "N").await;
    }
    metric(&hub, "hub_packets_dropped_total", |dropped| dropped >= 15).await;
    wire.release();
    let told = js.until("ann", "session:sync").await;
    let (_, sync) = told.last().and_then(Told::event).expect("an event");
    assert_eq!(
        (&sync["reason"], &sync["seq"]),
        (&json!("slow_consumer"), &json!(2 * nodes))
    );
    assert_eq!(js.replica("ann").await.graph, hub.graph(&session).await);
    // And from there it goes on.
    hub.create_node(&session, None, "N").await;
    js.until_seq("ann", 2 * nodes + 2).await;
}

/// Each socket is told with its own name, then disconnected such that it does not come back.
async fn a_deleted_session_lets_its_sockets_go(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let connect = Connect::to(&hub.url, &session, transport);
    let mut js = Driver::javascript();
    js.settle("ann", &connect.clone().named("ann")).await;
    js.settle("bob", &connect.clone().named("bob")).await;
    js.event("ann", "session:connected").await;
    hub.delete(&format!("/sessions/{session}")).await.ok();
    for client in ["ann", "bob"] {
        let told = js.event(client, "session:disconnected").await;
        assert_eq!(
            (&told["session_id"], &told["client_id"], &told["reason"]),
            (&json!(session), &json!(client), &json!("session_deleted"))
        );
        let gone = js.expect(client, "disconnected").await;
        assert_eq!(gone, json!({"reason": "io server disconnect", "will_retry": false}));
    }
    connections(&hub, 0).await;
    js.connect("cid", &connect).await;
    assert_eq!(js.expect("cid", "connect_error").await["message"], "INVALID_SESSION");
}

/// `session:draining` with a delay of each client's own, then the transport closes; the client wants to come back.
async fn a_hub_that_stops_sends_everybody_away_for_a_while(transport: Transport) {
    let hub = TestHub::start().await;
    let (one, other) = (hub.session().await, hub.session().await);
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &one, transport)).await;
    js.settle("bob", &Connect::to(&hub.url, &one, transport)).await;
    js.event("ann", "session:connected").await;
    js.settle("cid", &Connect::to(&hub.url, &other, transport)).await;
    hub.create_node(&one, None, "the last").await;
    let (_, stopped) = hub.stop().await;
    stopped.expect("nobody holds it up");
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

/// Whoever knocks while the hub drains is refused such that it tries again: not by the namespace, which would be final.
async fn a_client_that_comes_while_the_hub_goes_tries_again(transport: Transport) {
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
    stopped.expect("nobody holds it up");
}

/// A client that was half in when the hub began to drain is not told that it may never come back.
#[tokio::test]
async fn a_client_that_is_half_in_when_the_hub_goes_is_not_refused() {
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
        let told = answer.text().await.unwrap_or_default();
        assert!(!told.contains("44/graph"), "{told}");
    }
    let (_, stopped) = stopping.await.expect("no panic");
    stopped.expect("nobody holds it up");
}

/// P2, P7: clients of a hub that stops come back by themselves when it is there again, whatever they are and however they
/// are transported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_hub_that_stops_are_back_when_it_is() {
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
        stopped.expect("nobody holds it up");
        js.until_that("ann", |told| told.got == "disconnected").await;
        python.until_that("bob", |told| told.got == "disconnected").await;
        let hub = TestHub::on(dir, on_port).await;
        js.until("ann", "session:sync").await;
        python.until("bob", "session:sync").await;
        connections(&hub, 2).await;
        hub.stop().await.1.expect("nobody holds it up");
    }
}

/// P2, P7: the same for clients that are connected and in no session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_without_a_session_are_back_when_the_hub_is() {
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
            driver.until_that(client, |told| told.got == "connected").await;
        }
        let (dir, stopped) = hub.stop().await;
        stopped.expect("nobody holds it up");
        for (driver, client) in [(&mut js, "ann"), (&mut python, "bob")] {
            driver.until_that(client, |told| told.got == "disconnected").await;
        }
        let hub = TestHub::on(dir, on_port).await;
        for (driver, client) in [(&mut js, "ann"), (&mut python, "bob")] {
            driver.until_that(client, |told| told.got == "connected").await;
        }
        hub.stop().await.1.expect("nobody holds it up");
    }
}
