//! Clients that stop reading while their room has many events. The hub is a process of its own, so that its memory can
//! be measured alone.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use super::{
    driver::{Connect, DEADLINE, Driver, Transport},
    metric_of,
};
use crate::support::{
    child::ChildHub,
    websocket::WebSocket,
    writer::{get, session},
};

/// Length of a property's value in bytes. The event of a change has the old and the new value.
const VALUE_BYTES: usize = 32 * 1024;

/// Largest number of packets that wait for a socket: the configured 128, and those that the hub adds.
const QUEUED_PACKETS_MAX: usize = 128 + IN_FLIGHT_MAX + 64;
const IN_FLIGHT_MAX: usize = 16;

/// Largest number of bytes that wait for a socket, with every packet as large as the largest.
const QUEUED_BYTES_MAX: usize = QUEUED_PACKETS_MAX * 2 * (VALUE_BYTES + 512);

/// Commands before the client stalls. They fill everything that the hub keeps of a session: SQLite's cache of 32 MiB,
/// the replay window and the history.
const WARM_UP: usize = 600;

/// Commands beside the stalled client. Their events are many times the bytes that may wait for it.
const FLOOD: usize = 1_000;
const _: () = assert!(FLOOD * 2 * VALUE_BYTES > 4 * QUEUED_BYTES_MAX);

/// Receive buffer of an unread connection in bytes, at most.
const RECEIVE_BUFFER_BYTES: Option<u32> = Some(4_096);

/// Sender of commands with large events, several at a time.
struct Flood {
    url: String,
    session_id: String,
    node_id: String,
}

impl Flood {
    async fn new(url: &str) -> Self {
        let (session_id, _) = session(url).await;
        let mut flood = Self {
            url: url.to_owned(),
            session_id,
            node_id: String::new(),
        };
        let made = flood.execute("CreateNode", json!({"blueprint_type_id": "task"})).await;
        flood.node_id = made["node_id"].as_str().expect("an id").to_owned();
        flood
    }

    async fn execute(&self, command_type: &str, data: Value) -> Value {
        let command = json!({"session_id": self.session_id, "command_type": command_type, "data": data});
        let request = reqwest::Client::new().post(format!("{}/api/v1/commands/execute", self.url));
        let answer = request.json(&command).send().await.expect("the hub answers");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["success"], true, "{answer}");
        answer
    }

    /// Changes the property, and returns the `seq` after the change.
    async fn change(&self, number: usize) -> u64 {
        let value = format!("{number:0VALUE_BYTES$}");
        let data = json!({"node_id": self.node_id, "property_id": "text", "new_value": value});
        self.execute("UpdateProperty", data).await["seq"]
            .as_u64()
            .expect("a seq")
    }

    /// Changes the property `count` times. The reader must get every event, in order, and never falls so far behind
    /// that its queue is full.
    async fn pour(self: &Arc<Self>, count: usize, reader: &mut WebSocket) {
        let read = get(&self.url, &format!("/sessions/{}/graph", self.session_id)).await;
        let before = read["seq"].as_u64().expect("a seq");
        let (left, ahead) = (
            Arc::new(AtomicUsize::new(count)),
            Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        );
        let mut sending = JoinSet::new();
        for _ in 0..IN_FLIGHT_MAX / 2 {
            let (flood, left, ahead) = (Arc::clone(self), Arc::clone(&left), Arc::clone(&ahead));
            sending.spawn(async move {
                let take = |left: usize| left.checked_sub(1);
                while let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
                    ahead.acquire().await.expect("the semaphore is never closed").forget();
                    flood.change(number).await;
                }
            });
        }
        let mut expected = before + 1;
        while expected <= before + 2 * count as u64 {
            let (event, data) = timeout(DEADLINE, reader.event()).await.expect("an event in time");
            if event.starts_with("session:") {
                assert_ne!(event, "session:sync", "the reading client does not lag");
            } else if let Some(seq) = data["seq"].as_u64() {
                assert_eq!(seq, expected, "{event}");
                expected += 1;
                ahead.add_permits(usize::from(event == "command:executed"));
            }
        }
        sending.join_all().await;
    }
}

/// Returns the peak memory of a process in bytes.
fn peak_bytes(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kibibytes.expect("a size").parse::<usize>().expect("a number") * 1024
}

/// P7, P9: a websocket stops reading, while its room gets events of many times its queue. The hub's memory grows by at
/// most the bytes of that queue, the client beside it gets every event in order and in time, and the stalled one is
/// closed long before a ping could find it, as the metrics show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_client_costs_at_most_its_queue() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let settings = [
        ("TALUS_HUB_REALTIME__OUTGOING_PACKETS_PER_SOCKET_MAX", "128"),
        ("TALUS_HUB_LIMITS__IN_FLIGHT_PER_SESSION_MAX", "16"),
        ("TALUS_HUB_REALTIME__SLOW_CONSUMER_RETRY_MS", "5"),
        ("TALUS_HUB_LIMITS__REPLAY_WINDOW_EVENTS", "64"),
        ("TALUS_HUB_LIMITS__UNDO_BYTES_MAX", "1048576"),
    ];
    let hub = ChildHub::start(data.path(), &settings).await;
    let flood = Arc::new(Flood::new(&hub.url).await);
    let mut healthy = WebSocket::join(&hub.url, &flood.session_id, None).await;
    flood.pour(WARM_UP, &mut healthy).await;
    let before = peak_bytes(hub.pid());

    let stalled = WebSocket::join(&hub.url, &flood.session_id, RECEIVE_BUFFER_BYTES).await;
    flood.pour(FLOOD, &mut healthy).await;
    let grown = peak_bytes(hub.pid()) - before;
    assert!(
        grown <= QUEUED_BYTES_MAX,
        "{grown} bytes for a queue of {QUEUED_BYTES_MAX}"
    );
    // The pings would take 45 s to find the stalled client.
    metric_of(&hub.url, "hub_connections", |count| count == 1).await;
    metric_of(&hub.url, "hub_slow_consumers_total", |count| count == 1).await;
    metric_of(&hub.url, "hub_packets_dropped_total", |count| count > 1).await;
    let closed = timeout(DEADLINE, stalled.until_closed()).await;
    closed.expect("the connection is cut");
    assert_eq!(hub.terminate().await, Some(0));
}

/// ROOM-8, ROOM-9: a signal comes while a client has stopped reading and its queue is full. The hub ends with status 0,
/// which means that the drain took no longer than its grace. The client beside the stalled one gets `session:draining`,
/// loses its transport, and will retry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_client_does_not_delay_a_shutdown() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let settings = [
        ("TALUS_HUB_REALTIME__OUTGOING_PACKETS_PER_SOCKET_MAX", "64"),
        ("TALUS_HUB_LIMITS__IN_FLIGHT_PER_SESSION_MAX", "16"),
        // The stalled client is not closed before the signal.
        ("TALUS_HUB_REALTIME__SLOW_CONSUMER_RETRY_MS", "600000"),
    ];
    let hub = ChildHub::start(data.path(), &settings).await;
    let flood = Flood::new(&hub.url).await;
    let mut js = Driver::javascript();
    let connect = Connect::to(&hub.url, &flood.session_id, Transport::Websocket);
    js.connect("ann", &connect).await;
    let _stalled = WebSocket::join(&hub.url, &flood.session_id, RECEIVE_BUFFER_BYTES).await;
    let mut dropped = 0;
    for number in 0.. {
        let seq = flood.change(number).await;
        js.until_seq("ann", seq).await;
        metric_of(&hub.url, "hub_packets_dropped_total", |count| {
            dropped = count;
            true
        })
        .await;
        if dropped > 0 {
            break;
        }
    }
    assert_eq!(
        hub.terminate().await,
        Some(0),
        "status 7 would mean a drain beyond the grace"
    );
    js.until("ann", "session:draining").await;
    let gone = js.expect("ann", "disconnected").await;
    assert_eq!(gone, json!({"reason": "transport close", "will_retry": true}));
}
