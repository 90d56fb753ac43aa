//! Clients that take the events of commands together (`auth.frames`), beside clients that take them one by one: the same
//! events in the same order, in fewer packets (docs/PROTOCOL.md, section 4).

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    connections,
    driver::{Connect, DEADLINE, Driver, Told, Transport},
    leaving::assert_resynced_when_it_polls_again,
    on_both_transports, rounded,
};
use crate::support::{TestHub, websocket::WebSocket};

on_both_transports!(
    who_takes_events_together_is_told_what_the_others_are,
    who_comes_back_gets_what_it_missed_and_goes_on_as_before,
    who_joins_late_takes_events_together_too,
    there_is_no_third_way_to_take_events,
);

/// Commands that are sent at once.
const COMMANDS: usize = 40;

/// A command that adds a node.
fn create(name: &str) -> Value {
    json!({"command_type": "CreateNode", "data": {"blueprint_type_id": "task", "name": name, "properties": {"cost": 1.5}}})
}

/// Names and payloads of the events that a client was told, as they came or as they were within a packet of several.
fn events(told: &[Told]) -> Vec<(&str, Value)> {
    let events = told.iter().filter_map(Told::event);
    events
        .filter(|(event, _)| *event != "session:events")
        .map(|(event, data)| (event, rounded(data)))
        .collect()
}

/// The events within packets of several, packet by packet.
fn packets(told: &[Told]) -> Vec<Vec<(&str, Value)>> {
    let packets = told.iter().filter_map(Told::event);
    packets
        .filter(|(event, _)| *event == "session:events")
        .map(|(_, data)| {
            let events = data["events"].as_array().expect("a list").iter();
            events
                .map(|told| (told["event"].as_str().expect("a name"), rounded(&told["data"])))
                .collect()
        })
        .collect()
}

/// P1: commands that go to the log together, some of them refused or without effect, while somebody comes and somebody
/// says where he is. Clients of two languages get the same events with the same payloads in the same order, whether one by
/// one or together; together they are fewer packets, each of whole commands.
async fn who_takes_events_together_is_told_what_the_others_are(transport: Transport) {
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

    // While the first append takes its time, the commands behind it gather.
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
    // Once it is told to one it is on its way to all.
    js.until("late", "presence:state").await;
    hub.create_node(&session, None, "last").await;
    let end = 2 + 2 * (COMMANDS as u64 - 2) + 2;
    let single = js.until_seq("single", end).await;
    assert_eq!(packets(&single), [] as [Vec<(&str, Value)>; 0]);
    let reference = events(&single);
    for name in ["command:failed", "session:connected", "presence:state"] {
        assert!(reference.iter().any(|(event, _)| *event == name), "{name} was told");
    }
    for (client, told) in [
        ("javascript", js.until_seq("batched", end).await),
        ("python", python.until_seq("batched", end).await),
    ] {
        assert_eq!(events(&told), reference, "{client}");
        let packets = packets(&told);
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

/// P2: a client that leaves in between comes back by its position, with exactly what it missed in one `session:sync`, and
/// then takes events together again.
async fn who_comes_back_gets_what_it_missed_and_goes_on_as_before(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, transport).batched())
        .await;
    hub.create_node(&session, None, "one").await;
    js.until_seq("ann", 2).await;
    js.disconnect("ann").await;
    js.until_that("ann", |told| told.got == "disconnected").await;
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
    let told = js.until_seq("ann", 8).await;
    assert_eq!(told[0].event().map(|(event, _)| event), Some("session:events"));
    let replica = js.replica("ann").await;
    assert_eq!(replica.applied, (1..=8).collect::<Vec<_>>());
    assert_eq!(replica.graph, hub.graph(&session).await);
}

/// How a connection takes events holds for every session that it comes to, also if it names none at first.
async fn who_joins_late_takes_events_together_too(transport: Transport) {
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

/// A way to take events that is none is refused before the client is let in, wherever it is named; the usual one may be
/// named too.
async fn there_is_no_third_way_to_take_events(transport: Transport) {
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

/// Commands that go to the log together and come to many times the packets that a queue has room for: nobody who reads
/// falls behind because of that, however he takes them.
#[tokio::test]
async fn a_large_group_leaves_nobody_behind_who_reads() {
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

/// P2, P9: a websocket that takes events together and stops reading misses packets once its queue is full, and gets
/// nothing but a sync, as soon as it reads again; then it goes on without a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_that_reads_again_is_resynced() {
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
        end = answer["seq"].as_u64().expect("a place");
    }
    let mut at = 0;
    let sync = loop {
        let (event, data) = timeout(DEADLINE, slow.event()).await.expect("it is not given up yet");
        match event.as_str() {
            "session:events" => at = follow(&data, at),
            "session:sync" => break data,
            _ => {}
        }
    };
    assert_eq!(sync["reason"], "slow_consumer");
    let synced = sync["seq"].as_u64().expect("a place");
    assert!(at < synced, "it has missed something: {at}, {synced}");
    assert!(synced <= end, "{synced}: what it is told has happened");
    hub.create_node(&session, None, "after").await;
    // A sync is of the moment in which it was made. What came after it follows as events, or is missed in turn: then as
    // one more sync. Nothing is left out in between, and nothing is told twice.
    at = synced;
    while at < end + 2 {
        let (event, data) = timeout(DEADLINE, slow.event()).await.expect("an event in time");
        match event.as_str() {
            "session:events" => at = follow(&data, at),
            "session:sync" => {
                assert_eq!(data["reason"], "slow_consumer");
                let seq = data["seq"].as_u64().expect("a place");
                assert!(at < seq, "{seq}: it has missed something after {at}");
                at = seq;
            }
            _ => {}
        }
    }
    assert_eq!(at, end + 2);
}

/// The place after the events of a packet, each of which has to be the next one.
fn follow(packet: &Value, mut at: u64) -> u64 {
    for told in packet["events"].as_array().expect("a list") {
        if let Some(seq) = told["data"]["seq"].as_u64() {
            assert_eq!(seq, at + 1, "{}", told["event"]);
            at = seq;
        }
    }
    at
}

/// P2: the same for a client that polls, and was away for longer than it was waited for.
#[tokio::test]
async fn a_client_that_polls_again_is_resynced() {
    // A packet holds what a group told: it takes more of them to fill the queue.
    assert_resynced_when_it_polls_again(100, Connect::batched).await;
}
