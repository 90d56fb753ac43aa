//! Convergence, the sum of the promises about order and replicas: every client ends with the graph of the hub, by
//! events that each client saw once and in the same order.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    driver::{Connect, Driver, Observation, Transport},
    faulty_link::FaultyLink,
    hub_that_pings_often,
    load::{names_of_each, one_of_each, storm},
    on_both_transports, rounded, sequenced,
};
use crate::support::TestHub;

on_both_transports!(dropped_client_resumes_each_time, sessions_get_no_events_of_each_other);

/// Returns the `seq` of a session, and its graph at that `seq`.
async fn state(hub: &TestHub, session: &str) -> (u64, Value) {
    let read = hub.get(&format!("/sessions/{session}/graph")).await.ok();
    (read["seq"].as_u64().expect("a seq"), rounded(&read["graph"]))
}

/// Returns the numbers after `joined_at` up to `seq`.
fn places(joined_at: &Value, seq: u64) -> Vec<u64> {
    (joined_at.as_u64().expect("a seq") + 1..=seq).collect()
}

/// Asserts that the events of one command are contiguous: executing, its changes, its end.
fn assert_commands_are_contiguous(observed: &[Observation]) {
    let mut open: Option<&Value> = None;
    for (event, data) in observed
        .iter()
        .filter_map(Observation::event)
        .filter(|(_, data)| data.get("command_id").is_some())
    {
        let command = &data["command_id"];
        assert_eq!(open.is_none(), event == "command:executing", "{event} {data}");
        assert_eq!(open.unwrap_or(command), command, "{event} {data}");
        let ends = ["command:executed", "command:failed", "command:undo", "command:redo"].contains(&event);
        open = (!ends).then_some(command);
    }
    assert_eq!(open, None);
}

/// P1, P6: 500 random commands of every type come from five senders at once. Clients of two languages, on both
/// transports, connected from the start or late, with single or batched delivery, get the same events in the same
/// order, each once, and end with the graph of the hub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_end_with_the_graph_of_the_hub() {
    let hub = Arc::new(TestHub::start().await);
    let session = hub.session().await;
    let over = |transport| Connect::to(&hub.url, &session, transport);
    let (mut js, mut python) = (Driver::javascript(), Driver::python());
    let start = js.join("web", &over(Transport::Websocket)).await["seq"].clone();
    js.join("poll", &over(Transport::Polling)).await;
    js.join("batched", &over(Transport::Polling).batched()).await;
    python.join("web", &over(Transport::Websocket)).await;
    python.join("poll", &over(Transport::Polling)).await;
    python.join("batched", &over(Transport::Websocket).batched()).await;
    one_of_each(&hub, &session).await;
    let mut accepted = storm(&hub, &session, 7, 5, 50).await;
    let second_half = tokio::spawn({
        let (hub, session) = (Arc::clone(&hub), session.clone());
        async move { storm(&hub, &session, 1_007, 5, 50).await }
    });
    js.connect("late", &over(Transport::Upgrading)).await;
    let observed = js.until("late", "session:sync").await;
    let late = observed.last().and_then(Observation::event).expect("an event").1["seq"].clone();
    accepted += second_half.await.expect("no panic");
    assert!(accepted > 250, "most commands are allowed: {accepted}");
    let (seq, graph) = state(&hub, &session).await;

    let reference = js.until_seq("web", seq).await;
    assert_commands_are_contiguous(&reference);
    let names: BTreeSet<&str> = sequenced(&reference).into_iter().map(|(_, event, _)| event).collect();
    assert_eq!(names, names_of_each());
    let observed = [
        (js.until_seq("poll", seq).await, js.replica("poll").await, &start),
        (js.until_seq("batched", seq).await, js.replica("batched").await, &start),
        (
            python.until_seq("batched", seq).await,
            python.replica("batched").await,
            &start,
        ),
        (python.until_seq("web", seq).await, python.replica("web").await, &start),
        (
            python.until_seq("poll", seq).await,
            python.replica("poll").await,
            &start,
        ),
        (js.until_seq("late", seq).await, js.replica("late").await, &late),
        (reference.clone(), js.replica("web").await, &start),
    ];
    for (observed, replica, joined_at) in &observed {
        let places = places(joined_at, seq);
        let (mine, all) = (sequenced(observed), sequenced(&reference));
        assert_eq!(mine.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), places);
        assert_eq!(replica.applied, places);
        for (mine, reference) in mine.iter().zip(&all[all.len() - mine.len()..]) {
            assert_eq!((mine.1, rounded(mine.2)), (reference.1, rounded(reference.2)));
        }
        assert_eq!(rounded(&replica.graph), graph);
    }
}

/// P2: a client whose connection breaks repeatedly under load reconnects by itself, gets exactly the missed events, and
/// ends with the graph of the hub.
async fn dropped_client_resumes_each_time(transport: Transport) {
    let hub = Arc::new(hub_that_pings_often().await);
    assert_resumes_after_each_drop(&hub, Driver::javascript(), transport).await;
}

/// P2: a Python client whose connection breaks repeatedly resumes each time.
#[tokio::test]
async fn dropped_python_client_resumes_each_time() {
    let hub = Arc::new(hub_that_pings_often().await);
    assert_resumes_after_each_drop(&hub, Driver::python(), Transport::Websocket).await;
    assert_resumes_after_each_drop(&hub, Driver::python(), Transport::Polling).await;
}

/// P2: a client that upgrades after each reconnect resumes each time.
#[tokio::test]
async fn dropped_upgrading_client_resumes_each_time() {
    let hub = Arc::new(hub_that_pings_often().await);
    assert_resumes_after_each_drop(&hub, Driver::javascript(), Transport::Upgrading).await;
}

async fn assert_resumes_after_each_drop(hub: &Arc<TestHub>, mut driver: Driver, transport: Transport) {
    let session = hub.session().await;
    let link = FaultyLink::to(&hub.url).await;
    driver
        .connect("ann", &Connect::to(&link.url, &session, transport))
        .await;
    driver.until("ann", "session:sync").await;
    let enough = CancellationToken::new();
    let load = tokio::spawn({
        let (hub, session, enough) = (Arc::clone(hub), session.clone(), enough.clone());
        async move {
            for seed in 0.. {
                if enough.is_cancelled() {
                    break;
                }
                storm(&hub, &session, seed, 2, 5).await;
            }
        }
    });
    for _ in 0..6 {
        // An event has come by the connection before it breaks.
        driver.until("ann", "command:executed").await;
        link.cut();
        driver
            .until_that("ann", |observed| observed.kind == "disconnected")
            .await;
        link.release();
        let observed = driver.until("ann", "session:sync").await;
        let (_, sync) = observed.last().and_then(Observation::event).expect("an event");
        assert_eq!(sync["reason"], "resumed");
    }
    enough.cancel();
    load.await.expect("no panic");
    // One more command gives the client an event to wait for.
    hub.create_node(&session, None, "last").await;
    let (seq, graph) = state(hub, &session).await;
    driver.until_seq("ann", seq).await;
    let replica = driver.replica("ann").await;
    assert_eq!(
        replica.applied,
        places(&json!(0), seq),
        "each event was applied once, in order"
    );
    assert_eq!(rounded(&replica.graph), graph);
}

/// P1, P2: a client upgrades from polling to a websocket under load, and misses no event.
#[tokio::test]
async fn upgrade_under_load_loses_no_event() {
    let hub = Arc::new(TestHub::start().await);
    let session = hub.session().await;
    let link = FaultyLink::to(&hub.url).await;
    link.hold_websockets();
    let mut js = Driver::javascript();
    js.connect("ann", &Connect::to(&link.url, &session, Transport::Upgrading))
        .await;
    assert_eq!(js.expect("ann", "connected").await["transport"], "polling");
    let enough = CancellationToken::new();
    let load = tokio::spawn({
        let (hub, session, enough) = (Arc::clone(&hub), session.clone(), enough.clone());
        async move {
            while !enough.is_cancelled() {
                hub.create_node(&session, None, "N").await;
            }
        }
    });
    let mut observed = js.until_seq("ann", 20).await;
    assert!(
        observed.iter().all(|observed| observed.kind == "event"),
        "the client polls: {observed:?}"
    );
    link.release();
    observed.extend(js.until_that("ann", |observed| observed.kind == "upgraded").await);
    let upgraded_at = observed.last().expect("the last").fields["seq"]
        .as_u64()
        .expect("a seq");
    observed.extend(js.until_seq("ann", upgraded_at + 40).await);
    enough.cancel();
    load.await.expect("no panic");
    hub.create_node(&session, None, "last").await;
    let (seq, graph) = state(&hub, &session).await;
    observed.extend(js.until_seq("ann", seq).await);
    assert!(observed.iter().all(|observed| observed.kind != "disconnected"));
    let seen: Vec<u64> = sequenced(&observed).into_iter().map(|(seq, ..)| seq).collect();
    assert_eq!(seen, places(&json!(0), seq));
    let replica = js.replica("ann").await;
    assert_eq!((replica.applied, rounded(&replica.graph)), (seen, graph));
}

/// P7: two sessions are under load at the same time, and every packet that a client gets is of its own session.
async fn sessions_get_no_events_of_each_other(transport: Transport) {
    let hub = Arc::new(TestHub::start().await);
    let sessions = [hub.session().await, hub.session().await];
    let mut js = Driver::javascript();
    let clients = [
        ("ann", &sessions[0]),
        ("bob", &sessions[1]),
        ("cid", &sessions[0]),
        ("dan", &sessions[1]),
    ];
    let mut observed = Vec::new();
    for (client, session) in clients {
        js.connect(client, &Connect::to(&hub.url, session, transport)).await;
        observed.push(js.until(client, "session:connected").await);
    }
    tokio::join!(storm(&hub, &sessions[0], 3, 2, 40), storm(&hub, &sessions[1], 5, 2, 40));
    for ((client, session), observed) in clients.into_iter().zip(&mut observed) {
        hub.create_node(session, None, "last").await;
        let (seq, graph) = state(&hub, session).await;
        observed.extend(js.until_seq(client, seq).await);
        for (event, data) in observed.iter().filter_map(Observation::event) {
            assert_eq!(data["session_id"], **session, "{client} got {event}");
        }
        let seen: Vec<u64> = sequenced(observed).into_iter().map(|(seq, ..)| seq).collect();
        assert_eq!(seen, places(&json!(0), seq));
        assert_eq!(rounded(&js.replica(client).await.graph), graph);
    }
}
