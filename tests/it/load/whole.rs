//! Load on a hub: every event arrives, and the counts add up.

use serde_json::Value;

use super::{json, load};
use crate::support::TestHub;

const SESSIONS: u64 = 2;
const SOCKETS: u64 = 3;
const PACKETS: u64 = 3;

/// Commands in two seconds, 20 a second, and those that began in the warm-up of half a second.
const MEASURED: u64 = 40;
const SENT: u64 = 50;

fn number(report: &Value, path: &str) -> u64 {
    let value = report.pointer(path).and_then(Value::as_u64);
    value.unwrap_or_else(|| unreachable!("{path} is a number in {report:#}"))
}

fn assert_complete(report: &Value) {
    for fault in ["lost", "doubled", "reordered", "strayed"] {
        assert_eq!(number(report, &format!("/faults/{fault}")), 0, "{fault}");
    }
    let accepted = number(report, "/commands/accepted");
    assert_eq!(number(report, "/commands/sent"), accepted);
    assert_eq!(number(report, "/commands/unanswered"), 0);
    assert_eq!(number(report, "/deliveries/packets_per_command"), PACKETS);
    assert_eq!(number(report, "/deliveries/expected"), accepted * PACKETS * SOCKETS);
    assert_eq!(number(report, "/deliveries/received"), accepted * PACKETS * SOCKETS);
    let measured = number(report, "/throughput/commands");
    assert_eq!(number(report, "/throughput/deliveries"), measured * PACKETS * SOCKETS);
    assert_eq!(number(report, "/latency/event_us/count"), measured * SOCKETS);
    assert_eq!(number(report, "/latency/answer_us/count"), measured);
    // An answer comes after its sending, so that the same holds for each percentile.
    for part in ["p50", "p90", "p99", "p999", "max"] {
        let (answer, sending) = (
            format!("/latency/answer_us/{part}"),
            format!("/latency/sending_us/{part}"),
        );
        assert!(number(report, &answer) >= number(report, &sending), "{part}");
        assert!(number(report, &format!("/latency/event_us/{part}")) > 0, "{part}");
    }
    for process in ["server", "generator"] {
        assert!(number(report, &format!("/{process}/rss_kib")) > 0);
        for field in ["cpu_seconds", "cpu_us_per_command", "cpu_us_per_delivery"] {
            assert!(report[process][field].is_f64(), "{process} {field}");
        }
    }
}

async fn open_loop(transport: &str) {
    let hub = TestHub::start().await;
    let line = format!(
        "--sessions {SESSIONS} --sockets {SOCKETS} --rate 20 --duration 2 --warmup 0.5 --transport {transport} \
         --server-pid {}",
        std::process::id()
    );
    let report = load(&hub.url, &line).await;
    assert!(report.is_clean(), "{}", report.to_text());
    let report = json(&report);
    assert_complete(&report);
    assert_eq!(number(&report, "/commands/sent"), SENT);
    assert_eq!(number(&report, "/throughput/commands"), MEASURED);
    assert_eq!(report["options"]["transport"], transport);
    assert_eq!(report["options"]["warmup"], 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_loop_over_websockets_is_complete() {
    open_loop("websocket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_loop_over_polling_is_complete() {
    open_loop("polling").await;
}

/// The counts of a closed loop add up, for any number of commands.
#[tokio::test(flavor = "multi_thread")]
async fn closed_loop_adds_up() {
    closed_loop("websocket", "single").await;
}

/// The counts of batched delivery are of events, and add up to the same with any number of packets.
#[tokio::test(flavor = "multi_thread")]
async fn batched_events_add_up() {
    closed_loop("websocket", "batched").await;
    closed_loop("polling", "batched").await;
}

async fn closed_loop(transport: &str, frames: &str) {
    let hub = TestHub::start().await;
    let pid = std::process::id();
    let line = format!(
        "--sessions {SESSIONS} --sockets {SOCKETS} --closed 2 --duration 0.5 --warmup 0.1 --server-pid {pid} \
         --transport {transport} --frames {frames}"
    );
    let report = load(&hub.url, &line).await;
    assert!(report.is_clean(), "{}", report.to_text());
    assert!(report.commands.accepted >= SESSIONS * 2, "each sender sends");
    let report = json(&report);
    assert_complete(&report);
    assert_eq!(report["options"]["frames"], frames);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_report_has_the_same_counts() {
    let hub = TestHub::start().await;
    let report = load(&hub.url, "--rate 20 --duration 0.5 --warmup 0").await;
    let text = report.to_text();
    assert!(text.contains("10 sent, 10 accepted, 0 refused, 0 unanswered"), "{text}");
    assert!(text.contains("30 of 30"), "{text}");
    assert!(text.contains("0 lost, 0 doubled, 0 reordered, 0 strayed"), "{text}");
    assert!(!text.contains("server"), "the process of the server is unknown: {text}");
}
