//! Transports of Engine.IO as raw connections and real clients see them: websockets that do not read, messages that are
//! too large or never end, upgrades that fail, and connections that the hub closes.

mod bounded;
mod closed;
mod malformed;
mod polled;
mod raw;
mod upgraded;

use std::time::Duration;

use crate::support::TestHub;

/// Longest wait for anything that a test waits for.
const DEADLINE: Duration = Duration::from_secs(60);

/// Value of a metric; zero before it has one.
async fn metric(hub: &TestHub, name: &str) -> u64 {
    let answer = hub.http().get(format!("{}/metrics", hub.url)).send().await;
    let text = answer.expect("served").text().await.expect("text");
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_default()
}

/// Waits until a metric is as wanted.
async fn until_metric(hub: &TestHub, name: &str, wanted: impl Fn(u64) -> bool) {
    let reached = async { while !wanted(metric(hub, name).await) {} };
    tokio::time::timeout(DEADLINE, reached).await.expect(name);
}

/// Metric of connections that the hub ended for a reason.
fn cut(reason: &str) -> String {
    format!("hub_sockets_cut_total{{reason=\"{reason}\"}}")
}

/// Awaits something within the deadline.
async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, wanted).await.expect(what)
}
