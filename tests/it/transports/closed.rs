//! Transports that the hub closes: clients reconnect by themselves, and the hub keeps nothing of the closed ones.

use serde_json::json;

use super::{metric, polled::Polled, soon, until_metric};
use crate::{
    clients::driver::{Connect, Driver, Transport},
    support::TestHub,
};

/// P2, P7: a quarantined session closes the transport of each of its sockets, of every kind. Clients reconnect by
/// themselves after the release, and get events again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quarantine_closes_every_kind_of_transport() {
    for transport in [Transport::Websocket, Transport::Polling, Transport::Upgrading] {
        let hub = TestHub::start().await;
        let session = hub.session().await;
        hub.create_node(&session, None, "a").await;
        let connect = Connect::to(&hub.url, &session, transport);
        let mut js = Driver::javascript();
        js.connect("ann", &connect).await;
        let happened = js.until("ann", "session:sync").await;
        if transport == Transport::Upgrading && happened.iter().all(|observed| observed.kind != "upgraded") {
            js.until_that("ann", |observed| observed.kind == "upgraded").await;
        }
        let mut python = Driver::python();
        python.connect("bob", &connect).await;
        python.until("bob", "session:sync").await;
        until_metric(&hub, "hub_connections", |count| count == 2).await;
        hub.operate(&format!("/sessions/{session}/quarantine"), &json!({}))
            .await
            .ok();
        hub.operate(&format!("/sessions/{session}/release"), &json!({}))
            .await
            .ok();
        for (driver, client) in [(&mut js, "ann"), (&mut python, "bob")] {
            driver.until(client, "session:draining").await;
            let gone = driver
                .until_that(client, |observed| observed.kind == "disconnected")
                .await;
            let gone = &gone.last().expect("the client is disconnected").fields;
            assert_ne!(gone["reason"], "io server disconnect", "{transport:?}");
            // The client reconnects by itself after the release. A reconnect before the release is refused, and the
            // test repeats it.
            loop {
                let observed = driver.next(client).await;
                match observed.event() {
                    Some(("session:sync", _)) => break,
                    _ if observed.kind == "connect_error" => driver.reconnect(client).await,
                    _ => {}
                }
            }
        }
        let data = json!({"blueprint_type_id": "task", "name": "b"});
        let seq = hub.execute(&session, "CreateNode", data).await.ok()["seq"]
            .as_u64()
            .expect("a seq");
        js.until_seq("ann", seq).await;
        python.until_seq("bob", seq).await;
        until_metric(&hub, "hub_connections", |count| count == 2).await;
        let room = hub.ops(&format!("/sessions/{session}")).await.ok();
        assert_eq!(room["sockets"], 2, "{transport:?}: {room}");
    }
}

/// P9: a closed polling session releases its connection permit, answers a waiting poll, and is unknown afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_polling_session_releases_its_connection_permit() {
    let hub = TestHub::with(|config| config.realtime.connections_max = 1).await;
    let session = hub.session().await;
    let mut polled = Polled::join(&hub, &session).await;
    until_metric(&hub, "hub_connections", |count| count == 1).await;
    hub.operate(&format!("/sessions/{session}/quarantine"), &json!({}))
        .await
        .ok();
    let closed = async {
        loop {
            let (status, packets) = polled.poll().await;
            if status != 200 {
                return packets;
            }
        }
    };
    let refused = soon("the transport is closed", closed).await;
    assert!(refused.contains("Session ID unknown"), "{refused}");
    assert_eq!(polled.post("3").await.0, 400);
    assert_eq!(polled.try_websocket().await.err(), Some(400));
    hub.operate(&format!("/sessions/{session}/release"), &json!({}))
        .await
        .ok();
    let again = async {
        loop {
            let mut polled = Polled::open(&hub).await;
            polled
                .post(format!("40/graph,{}", json!({ "session_id": session })))
                .await;
            if polled.packet().await.starts_with("40/graph") {
                return polled;
            }
        }
    };
    // With `connections_max` at 1, the new session takes the only permit.
    let mut polled = soon("a connection permit", again).await;
    hub.create_node(&session, None, "a").await;
    soon("an event", polled.executed()).await;
}

/// P7, P9: a deleted session closes the transport of a socket whose queue is full, because the disconnect packet does
/// not fit. Its client reconnects, and is refused then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_session_closes_the_transport_of_a_full_socket() {
    let hub = TestHub::with(|config| {
        // No heartbeat closes the transport first.
        config.realtime.ping_interval_ms = 600_000;
        config.realtime.outgoing_packets_per_socket_max = 1;
        config.limits.in_flight_per_session_max = 1;
    })
    .await;
    let session = hub.session().await;
    let mut polled = Polled::join(&hub, &session).await;
    until_metric(&hub, "hub_connections", |count| count == 1).await;
    while metric(&hub, "hub_slow_consumers_total").await == 0 {
        hub.create_node(&session, None, "a").await;
    }
    hub.delete(&format!("/sessions/{session}")).await.ok();
    let closed = async {
        loop {
            let (status, packets) = polled.poll().await;
            if status != 200 || packets.split('\u{1e}').any(|packet| packet == "41/graph,") {
                return;
            }
        }
    };
    soon("the transport is closed", closed).await;
}
