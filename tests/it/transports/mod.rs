//! Engine.IO transports under raw connections and real clients: websockets that do not read, messages that are too
//! large or never end, upgrades that fail, connections that the hub closes.

mod bounded;
mod closed;
mod malformed;
mod polled;
mod raw;
mod upgraded;

use std::time::Duration;

use crate::support::TestHub;

/// Longest wait of a test for one thing: 60 s.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns the value of a metric, or zero while the metric is absent.
async fn metric(hub: &TestHub, name: &str) -> u64 {
    let answer = hub.http().get(format!("{}/metrics", hub.url)).send().await;
    let text = answer.expect("served").text().await.expect("text");
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_default()
}

/// Waits until `wanted` accepts the value of a metric.
async fn until_metric(hub: &TestHub, name: &str, wanted: impl Fn(u64) -> bool) {
    let reached = async { while !wanted(metric(hub, name).await) {} };
    tokio::time::timeout(DEADLINE, reached).await.expect(name);
}

/// Returns the name of the metric of connections that the hub cut for a reason.
fn cut_metric(reason: &str) -> String {
    format!("hub_sockets_cut_total{{reason=\"{reason}\"}}")
}

/// Awaits a future within the deadline. `what` is the message of the failure.
async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, wanted).await.expect(what)
}
