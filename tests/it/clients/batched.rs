//! Batched delivery (`auth.frames`) beside single delivery: the same events in the same order, in fewer packets
//! (docs/PROTOCOL.md, section 4).

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    connections,
    driver::{Connect, DEADLINE, Driver, Observation, Transport},
    leaving::assert_resynced_when_it_polls_again,
    on_both_transports, rounded,
};
use crate::support::{TestHub, websocket::WebSocket};

on_both_transports!(
    batched_delivery_has_the_events_of_single_delivery,
    batched_client_resumes_with_missed_events,
    batched_delivery_holds_for_late_joins,
    unknown_delivery_mode_is_refused,
);

/// Number of commands that are sent at once.
const COMMANDS: usize = 40;

/// Returns a command that creates a node.
fn create(name: &str) -> Value {
    json!({"command_type": "CreateNode", "data": {"blueprint_type_id": "task", "name": name, "properties": {"cost": 1.5}}})
}

/// Returns names and payloads of the events of single delivery, and of those that the driver took out of batched
/// packets.
fn events(observed: &[Observation]) -> Vec<(&str, Value)> {
    let events = observed.iter().filter_map(Observation::event);
    events
        .filter(|(event, _)| *event != "session:events")
        .map(|(event, data)| (event, rounded(data)))
        .collect()
}

/// Returns the events of batched packets, packet by packet.
fn packets(observed: &[Observation]) -> Vec<Vec<(&str, Value)>> {
    let packets = observed.iter().filter_map(Observation::event);
    packets
        .filter(|(event, _)| *event == "session:events")
        .map(|(_, data)| {
            let events = data["events"].as_array().expect("a list").iter();
            events
                .map(|observed| (observed["event"].as_str().expect("a name"), rounded(&observed["data"])))
                .collect()
        })
        .collect()
}

/// P1: a group of commands is appended together, some of them rejected or without effect, while a client joins and a
/// client changes its presence. Clients of both languages get the same events with the same payloads in the same order,
/// with single and with batched delivery. Batched delivery takes fewer packets, and each packet holds whole commands.
async fn batched_delivery_has_the_events_of_single_delivery(transport: Transport) {
    let hub = TestHub::with(|config| config.ops.fault_injection = true).await;
    let session = hub.session().await;
    let over = || Connect::to(&hub.url, &session, transport);
    let (mut js, mut python) = (Driver::javascript(), Driver::python());
    js.join("single", &over()).await;
    js.join("batched", &over().batched()).await;
    python.join("batched", &over().batched()).await;
    hub.create_node(&session, None, "first").await;
    for client in ["single", "batched"] {
        js.until_seq(client, 2).await;
    }
    python.until_seq("batched", 2).await;

    // Commands gather behind the first append, which is delayed.
    hub.operate(
        &format!("/sessions/{session}/fault"),
        &json!({"kind": "append_delay_ms", "ms": 300}),
    )
    .await
    .ok();
    let mut commands: Vec<Value> = (0..COMMANDS)
        .map(|number| json!([create(&format!("N{number}"))]))
        .collect();
    let nothing = "0de00000-0000-4000-8000-000000000000";
    commands[COMMANDS / 2] = json!([{"command_type": "DeleteNode", "data": {"node_id": nothing}}]);
    commands[COMMANDS / 2 + 1] = json!([{"command_type": "Batch", "data": {"commands": []}}]);
    let answers = js.ask_all("single", "command:execute", &commands).await;
    let refused = answers.iter().filter(|answer| answer["success"] == false).count();
    assert_eq!(refused, 1);
    js.settle("late", &over()).await;
    let said = js.ask("single", "presence:update", json!({"state": {"at": 1}})).await;
    assert_eq!(said["success"], true);
    // A packet for one subscriber is on its way to all of them.
    js.until("late", "presence:state").await;
    hub.create_node(&session, None, "last").await;
    let end = 2 + 2 * (COMMANDS as u64 - 2) + 2;
    let single = js.until_seq("single", end).await;
    assert_eq!(packets(&single), [] as [Vec<(&str, Value)>; 0]);
    let reference = events(&single);
    for name in ["command:failed", "session:connected", "presence:state"] {
        assert!(reference.iter().any(|(event, _)| *event == name), "{name} was received");
    }
    for (client, observed) in [
        ("javascript", js.until_seq("batched", end).await),
        ("python", python.until_seq("batched", end).await),
    ] {
        assert_eq!(events(&observed), reference, "{client}");
        let packets = packets(&observed);
        assert!(packets.len() < COMMANDS, "{client}: {} packets", packets.len());
        for packet in &packets {
            let (first, last) = (packet[0].0, packet[packet.len() - 1].0);
            assert_eq!(first, "command:executing", "{client}");
            assert!(
                ["command:executed", "command:failed"].contains(&last),
                "{client}: {last}"
            );
        }
        let of_commands = reference.iter().filter(|(_, data)| data.get("command_id").is_some());
        assert!(packets.iter().flatten().eq(of_commands), "{client}");
    }
}

/// P2: a client that left resumes by its position, gets exactly the missed events in one `session:sync`, and has
/// batched delivery again.
async fn batched_client_resumes_with_missed_events(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, transport).batched())
        .await;
    hub.create_node(&session, None, "one").await;
    js.until_seq("ann", 2).await;
    js.disconnect("ann").await;
    js.until_that("ann", |observed| observed.kind == "disconnected").await;
    for name in ["two", "three"] {
        hub.create_node(&session, None, name).await;
    }
    js.reconnect("ann").await;
    js.expect("ann", "connected").await;
    let sync = js.event("ann", "session:sync").await;
    assert_eq!((&sync["reason"], &sync["seq"]), (&json!("resumed"), &json!(6)));
    let missed = hub.get(&format!("/sessions/{session}/events?after=2")).await.ok();
    assert_eq!(sync["events"], missed["events"]);
    js.until("ann", "session:connected").await;
    hub.create_node(&session, None, "four").await;
    let observed = js.until_seq("ann", 8).await;
    assert_eq!(observed[0].event().map(|(event, _)| event), Some("session:events"));
    let replica = js.replica("ann").await;
    assert_eq!(replica.applied, (1..=8).collect::<Vec<_>>());
    assert_eq!(replica.graph, hub.graph(&session).await);
}

/// The delivery mode of a connection holds for every session that the connection joins, also if it connects without
/// one.
async fn batched_delivery_holds_for_late_joins(transport: Transport) {
    let hub = TestHub::with(|config| config.realtime.late_join = true).await;
    let sessions = [hub.session().await, hub.session().await];
    let mut js = Driver::javascript();
    let connect = Connect::to(&hub.url, "", transport).bare(json!({})).batched();
    js.connect("ann", &connect).await;
    js.expect("ann", "connected").await;
    for session in &sessions {
        let joined = js.ask("ann", "join_session", json!({ "session_id": session })).await;
        assert_eq!(joined["success"], true);
        js.until("ann", "session:connected").await;
        hub.create_node(session, None, "N").await;
        let packet = js.event("ann", "session:events").await;
        assert_eq!(packet["session_id"], **session);
        let epoch = hub.get(&format!("/sessions/{session}/info")).await.ok()["epoch"].take();
        assert_eq!(packet["epoch"], epoch);
        js.until_seq("ann", 2).await;
    }
}

/// An unknown delivery mode is refused before the join, in the auth payload and in the query. The default mode may be
/// named.
async fn unknown_delivery_mode_is_refused(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let connect = || Connect::to(&hub.url, &session, transport);
    let mut js = Driver::javascript();
    for (client, how) in [
        ("ann", connect().auth(json!({"frames": "both"}))),
        ("bob", connect().auth(json!({"frames": true}))),
        ("cid", connect().query(json!({"frames": "Batched"}))),
    ] {
        js.connect(client, &how).await;
        let refused = js.expect(client, "connect_error").await;
        assert_eq!(refused, json!({"message": "INVALID_REQUEST", "will_retry": false}));
    }
    js.settle("dan", &connect().auth(json!({"frames": "single"}))).await;
    js.settle("eve", &connect().query(json!({"frames": "batched"}))).await;
    js.event("dan", "session:connected").await;
    hub.create_node(&session, None, "N").await;
    js.event("dan", "command:executing").await;
    js.event("eve", "session:events").await;
    connections(&hub, 2).await;
}

/// A group whose events are many times the packets of a queue makes no reading client a slow consumer, in either
/// delivery mode.
#[tokio::test]
async fn large_group_makes_no_reading_client_slow() {
    let hub = TestHub::with(|config| {
        config.ops.fault_injection = true;
        config.realtime.outgoing_packets_per_socket_max = 8;
        config.realtime.events_packet_bytes_max = 16_384;
        config.limits.in_flight_per_session_max = 128;
    });
    let hub = hub.await;
    let session = hub.session().await;
    let over = Connect::to(&hub.url, &session, Transport::Websocket);
    let mut js = Driver::javascript();
    js.join("single", &over).await;
    js.join("batched", &over.clone().batched()).await;
    hub.operate(
        &format!("/sessions/{session}/fault"),
        &json!({"kind": "append_delay_ms", "ms": 300}),
    )
    .await
    .ok();
    let commands: Vec<Value> = (0..10).map(|_| create("N")).collect();
    let batch = json!([{"command_type": "Batch", "data": {"commands": commands}}]);
    let answers = js.ask_all("batched", "command:execute", &vec![batch; 100]).await;
    assert!(answers.iter().all(|answer| answer["success"] == true), "{answers:?}");
    for client in ["single", "batched"] {
        js.until_seq(client, 1_100).await;
        let applied = js.replica(client).await.applied;
        assert_eq!(applied, (1..=1_100).collect::<Vec<_>>(), "{client}");
    }
    assert_eq!(hub.metric("hub_slow_consumers_total").await, "0");
}

/// P2, P9: a websocket with batched delivery that stops reading misses packets once its queue is full. When the client
/// reads again, it gets a sync, and then events without a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_batched_websocket_is_resynced_when_it_reads() {
    let hub = TestHub::with(|config| {
        config.realtime.slow_consumer_retry_ms = 5;
        config.realtime.outgoing_packets_per_socket_max = 8;
        config.limits.in_flight_per_session_max = 8;
    });
    let hub = hub.await;
    let session = hub.session().await;
    let auth = json!({"session_id": session, "frames": "batched"});
    let mut slow = WebSocket::join_as(&hub.url, &auth, Some(4_096)).await;
    let text = "x".repeat(60_000);
    let mut end = 0;
    while hub.metric("hub_slow_consumers_total").await == "0" {
        let data = json!({"blueprint_type_id": "task", "properties": {"text": text}});
        let answer = hub.execute(&session, "CreateNode", data).await.ok();
        end = answer["seq"].as_u64().expect("a seq");
    }
    let mut at = 0;
    let sync = loop {
        let (event, data) = timeout(DEADLINE, slow.event())
            .await
            .expect("the connection is still open");
        match event.as_str() {
            "session:events" => at = follow(&data, at),
            "session:sync" => break data,
            _ => {}
        }
    };
    assert_eq!(sync["reason"], "slow_consumer");
    let synced = sync["seq"].as_u64().expect("a seq");
    assert!(at < synced, "events were missed: {at}, {synced}");
    assert!(synced <= end, "{synced}: the sync is not ahead of the log");
    hub.create_node(&session, None, "after").await;
    // A sync shows the moment in which it was made. Later events follow as events, or are missed and come with one more
    // sync. No event is lost in between, and none comes twice.
    at = synced;
    while at < end + 2 {
        let (event, data) = timeout(DEADLINE, slow.event()).await.expect("an event in time");
        match event.as_str() {
            "session:events" => at = follow(&data, at),
            "session:sync" => {
                assert_eq!(data["reason"], "slow_consumer");
                let seq = data["seq"].as_u64().expect("a seq");
                assert!(at < seq, "{seq}: events were missed after {at}");
                at = seq;
            }
            _ => {}
        }
    }
    assert_eq!(at, end + 2);
}

/// Asserts that the events of a packet follow on `at` without a gap, and returns the last `seq`.
fn follow(packet: &Value, mut at: u64) -> u64 {
    for event in packet["events"].as_array().expect("a list") {
        if let Some(seq) = event["data"]["seq"].as_u64() {
            assert_eq!(seq, at + 1, "{}", event["event"]);
            at = seq;
        }
    }
    at
}

/// P2: a polling client with batched delivery whose polls were blocked gets a sync when it polls again.
#[tokio::test]
async fn batched_polling_client_is_resynced_when_it_polls() {
    // A packet holds the events of a whole group, so that filling the queue takes more commands.
    assert_resynced_when_it_polls_again(100, Connect::batched).await;
}
