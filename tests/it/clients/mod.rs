//! Hub under real clients: JavaScript's `socket.io-client` and Python's `python-socketio`, over websocket and long
//! polling. The clients run in processes of their own, whose programs are in `tests/clients`.

mod batched;
mod commanding;
mod converging;
pub mod driver;
mod dropping;
mod edges;
mod events;
mod examples;
mod faulty_link;
mod ghosts;
mod golden;
mod hashing;
mod install;
mod joining;
mod killing;
mod late_joining;
mod leaving;
mod load;
mod locks;
mod names;
mod packets;
mod presence;
mod resuming;
mod stalled;
mod web;

use serde_json::Value;

use self::driver::Observation;
pub use self::load::Random;
use crate::support::TestHub;

/// Makes two tests of each function with a parameter for the transport.
macro_rules! on_both_transports {
    ($($test:ident),+ $(,)?) => {
        mod websocket {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::clients::driver::Transport::Websocket).await;
            })+
        }
        mod polling {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::clients::driver::Transport::Polling).await;
            })+
        }
    };
}
use on_both_transports;

/// Returns `seq`, name and payload of the sequenced events. Events within a `session:sync` are left out, and the end of
/// a command without changes, which carries the `seq` of the event before.
fn sequenced(observed: &[Observation]) -> Vec<(u64, &str, &Value)> {
    let mut found = Vec::new();
    let mut before = "";
    for (event, data) in observed.iter().filter_map(Observation::event) {
        let unchanged = event == "command:executed" && before == "command:executing";
        if let Some(seq) = data["seq"]
            .as_u64()
            .filter(|_| !event.starts_with("session:") && !unchanged)
        {
            found.push((seq, event, data));
        }
        before = event;
    }
    found
}

/// Returns the `seq` of each event that a client got, live or within a `session:sync`, in the order of arrival.
fn received(observed: &[Observation]) -> Vec<u64> {
    let (mut places, mut from) = (Vec::new(), 0);
    for (index, told_sync) in observed.iter().enumerate() {
        let Some(("session:sync", sync)) = told_sync.event() else {
            continue;
        };
        places.extend(sequenced(&observed[from..index]).into_iter().map(|(seq, ..)| seq));
        let missed = sync["events"].as_array().into_iter().flatten();
        places.extend(missed.filter_map(|event| event["data"]["seq"].as_u64()));
        from = index + 1;
    }
    places.extend(sequenced(&observed[from..]).into_iter().map(|(seq, ..)| seq));
    places
}

/// Returns a value with every number as a float, as JavaScript has it.
fn rounded(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64()),
        Value::Array(items) => items.iter().map(rounded).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), rounded(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// Starts a hub with a ping every second. A JavaScript client whose connection breaks during an upgrade stays paused,
/// and notices only a missing ping.
async fn hub_that_pings_often() -> TestHub {
    TestHub::with(|config| (config.realtime.ping_interval_ms, config.realtime.ping_timeout_ms) = (1_000, 1_000)).await
}

/// Waits until the hub counts this many sockets in rooms.
async fn connections(hub: &TestHub, wanted: u64) {
    metric(hub, "hub_connections", |count| count == wanted).await;
}

/// Waits until `wanted` accepts the value of a metric.
async fn metric(hub: &TestHub, name: &str, wanted: impl Fn(u64) -> bool) {
    metric_of(&hub.url, name, wanted).await;
}

/// Waits for a metric of a hub that may be another process.
async fn metric_of(hub_url: &str, name: &str, mut wanted: impl FnMut(u64) -> bool) {
    let http = reqwest::Client::new();
    let reached = async {
        loop {
            let answer = http.get(format!("{hub_url}/metrics")).send().await.expect("served");
            let text = answer.text().await.expect("text");
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            if wanted(value.expect(name)) {
                return;
            }
        }
    };
    tokio::time::timeout(driver::DEADLINE, reached).await.expect(name);
}
