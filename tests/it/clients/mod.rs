//! The hub as real clients see it: JavaScript's `socket.io-client` and Python's `python-socketio`, over websocket and
//! long polling. The clients live in processes of their own, which `tests/clients` has.

mod batched;
mod commanding;
mod converging;
pub mod driver;
mod dropping;
mod edges;
mod events;
mod examples;
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
mod wire;

use serde_json::Value;

use self::driver::Told;
pub use self::load::Random;
use crate::support::TestHub;

/// Makes two tests of each function that takes a transport.
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

/// The events that have a place among what happened: place, name and payload. Those within a `session:sync` are not
/// among them, nor is the end of a command that changed nothing, which carries the place of the one before.
fn sequenced(told: &[Told]) -> Vec<(u64, &str, &Value)> {
    let mut found = Vec::new();
    let mut before = "";
    for (event, data) in told.iter().filter_map(Told::event) {
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

/// The places of all events that a client was sent, live or within a `session:sync`, as they came.
fn received(told: &[Told]) -> Vec<u64> {
    let (mut places, mut from) = (Vec::new(), 0);
    for (index, told_sync) in told.iter().enumerate() {
        let Some(("session:sync", sync)) = told_sync.event() else {
            continue;
        };
        places.extend(sequenced(&told[from..index]).into_iter().map(|(seq, ..)| seq));
        let missed = sync["events"].as_array().into_iter().flatten();
        places.extend(missed.filter_map(|event| event["data"]["seq"].as_u64()));
        from = index + 1;
    }
    places.extend(sequenced(&told[from..]).into_iter().map(|(seq, ..)| seq));
    places
}

/// A value as JavaScript would have it: every number is a float.
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

/// A hub that pings often. A JavaScript client whose connection breaks in the middle of an upgrade stays paused, and
/// notices by nothing but a ping that does not come.
async fn hub_that_pings_often() -> TestHub {
    TestHub::with(|config| (config.realtime.ping_interval_ms, config.realtime.ping_timeout_ms) = (1_000, 1_000)).await
}

/// Waits until the hub counts as many sockets in rooms.
async fn connections(hub: &TestHub, wanted: u64) {
    metric(hub, "hub_connections", |count| count == wanted).await;
}

/// Waits until a metric is as wanted.
async fn metric(hub: &TestHub, name: &str, wanted: impl Fn(u64) -> bool) {
    metric_of(&hub.url, name, wanted).await;
}

/// The same for a hub that need not be in this process.
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
