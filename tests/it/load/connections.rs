//! Many connections at once: a hub resumes them all with the missed events, and the generator reports a server that
//! does not.
#![expect(clippy::disallowed_types, reason = "the handlers of a peer share by a lock")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, Router, extract::State, routing::post};
use clap::Parser as _;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use socketioxide::{
    SocketIo,
    extract::{SocketRef, TryData},
    handler::ConnectHandler as _,
};
use talus_load::{
    connections::{self, Options, report::Report},
    order::Faults,
};

use crate::support::TestHub;

const SESSIONS: u64 = 5;
const SOCKETS: u64 = 50;

async fn connections(url: &str, line: &str) -> Report {
    let line = format!("connections --url {url} {line}");
    let options = Options::try_parse_from(line.split_whitespace()).expect(&line);
    let report = connections::run(options, &ProgressBar::hidden()).await;
    report.expect("a report")
}

/// A hub whose fifty sockets are all lost at once resumes each of them with the missed events.
#[tokio::test(flavor = "multi_thread")]
async fn hub_resumes_all_lost_sockets() {
    let hub = TestHub::start().await;
    let pid = std::process::id();
    let line = format!("--sessions {SESSIONS} --sockets 10 --duration 0.2 --reconnect --changes 3 --server-pid {pid}");
    let report = connections(&hub.url, &line).await;
    assert!(report.is_clean(), "{}", report.to_text());
    assert_eq!(report.opening.sockets, SOCKETS);
    assert_eq!(report.opening.took_us.count, SOCKETS);
    let memory = report.held.server.as_ref().expect("its process is known");
    assert!(memory.rss_before_kib > 0);
    let storm = report.storm.as_ref().expect("a report of the storm");
    assert_eq!((storm.changes, storm.failed), (SESSIONS * 3, 0));
    assert_eq!((storm.resumed, storm.live, storm.missing), (SOCKETS, SOCKETS, 0));
    assert_eq!(storm.took_us.count, SOCKETS);
    assert!(storm.rss_peak_kib.is_some_and(|peak| peak > 0));
    let text = report.to_text();
    assert!(text.contains("50 sockets in 5 sessions"), "{text}");
    assert!(text.contains("50 resumed with exactly what they missed"), "{text}");
    assert!(text.contains("50 heard of what happened next"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_without_a_storm_are_only_held() {
    let hub = TestHub::start().await;
    let report = connections(&hub.url, "--sessions 2 --sockets 3 --duration 0.1").await;
    assert!(report.is_clean() && report.storm.is_none(), "{}", report.to_text());
    assert_eq!(report.opening.sockets, 6);
    assert!(report.held.server.is_none(), "the process of the server is unknown");
}

/// Faults of the test's server when clients reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Leaves the second missed event out.
    Drops,
    Doubles,
    Reorders,
    /// Leaves the last missed event out, and sends the `seq` before it.
    Truncates,
    /// Sends the whole graph.
    SendsGraph,
    /// RefusesAlways the first client that reconnects.
    RefusesOnce,
    RefusesAlways,
    /// Admits clients, and sends them no sync.
    SendsNoSync,
    /// Sends no live events to clients that have reconnected.
    SendsNoEvents,
}

#[derive(Clone)]
struct Server {
    io: SocketIo,
    log: Log,
    fault: Fault,
}

/// All events. The first has `seq` 1.
type Log = Arc<Mutex<Vec<Value>>>;

/// Answers every command with success, and emits two events.
async fn execute(State(server): State<Server>, Json(body): Json<Value>) -> Json<Value> {
    let (seq, news) = {
        let mut log = server.log.lock().expect("no handler panics");
        let from = log.len();
        for event in ["graph:property-changed", "command:executed"] {
            let seq = log.len() + 1;
            log.push(json!({"event": event, "data": {"command_id": body["command_id"], "seq": seq}}));
        }
        (log.len(), log[from..].to_vec())
    };
    let room = server.io.of("/graph").expect("the namespace exists");
    for news in &news {
        if server.fault != Fault::SendsNoEvents {
            let event = news["event"].as_str().expect("a name").to_owned();
            // Sockets whose connection was cut may still be in the room, and need no event.
            let _ = room.clone().emit(event, &news["data"]).await;
        }
    }
    Json(json!({"success": true, "seq": seq, "node_id": format!("node {seq}")}))
}

/// Returns the sync for a client with or without a position.
fn sync(fault: Fault, log: &[Value], position: Option<usize>) -> Value {
    let mut sync = json!({"session_id": "the only one", "epoch": "0000abcd", "seq": log.len(), "reason": "first_join"});
    let Some(seq) = position.filter(|_| fault != Fault::SendsGraph) else {
        return sync;
    };
    let mut events = log[seq..].to_vec();
    match fault {
        Fault::Drops => drop(events.remove(1)),
        Fault::Doubles => events.push(events[0].clone()),
        Fault::Reorders => events.swap(0, 1),
        Fault::Truncates => {
            events.pop();
            sync["seq"] = json!(log.len() - 1);
        }
        Fault::None
        | Fault::SendsGraph
        | Fault::RefusesOnce
        | Fault::RefusesAlways
        | Fault::SendsNoSync
        | Fault::SendsNoEvents => {}
    }
    sync["reason"] = json!("resumed");
    sync["events"] = events.into();
    sync
}

/// Starts a server with a fault on a free port, and returns its address.
async fn serve(fault: Fault) -> String {
    let (layer, io) = SocketIo::new_layer();
    let log = Log::default();
    let kept = Arc::clone(&log);
    let connect = async move |socket: SocketRef, TryData(auth): TryData<Value>| {
        let position = auth.ok().and_then(|auth| auth["seq"].as_u64());
        let position = position.map(|seq| usize::try_from(seq).expect("a small number"));
        let sync = sync(fault, &kept.lock().expect("no handler panics"), position);
        if fault != Fault::SendsNoSync || position.is_none() {
            socket
                .emit("session:sync", &sync)
                .expect("the queue of a new socket has space");
        }
    };
    let has_refused = Arc::new(AtomicBool::new(false));
    let admit = move |TryData(auth): TryData<Value>| {
        let is_back = auth.is_ok_and(|auth| !auth["seq"].is_null());
        let refused = match fault {
            Fault::RefusesOnce if is_back && !has_refused.swap(true, Ordering::Relaxed) => Err("OVERLOADED"),
            Fault::RefusesAlways if is_back => Err("INVALID_SESSION"),
            _ => Ok(()),
        };
        async move { refused }
    };
    io.ns("/graph", connect.with(admit));
    let session = async || Json(json!({"session_id": "the only one"}));
    let server = Server { io, log, fault };
    let app = Router::new()
        .route("/api/v1/sessions", post(session))
        .route("/api/v1/commands/execute", post(execute))
        .with_state(server)
        .layer(layer);
    super::serve(app).await
}

/// Returns the report of a run with three sockets that miss two commands of two events each.
async fn report_of(fault: Fault) -> Report {
    let url = serve(fault).await;
    let line = "--sessions 1 --sockets 3 --nodes 2 --duration 0 --reconnect --changes 2 --drain 2";
    let report = connections(&url, line).await;
    let is_clean = matches!(fault, Fault::None | Fault::RefusesOnce);
    assert_eq!(report.is_clean(), is_clean, "{fault:?}: {}", report.to_text());
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn faultless_server_is_reported_clean() {
    let report = report_of(Fault::None).await;
    assert_eq!(report.faults, Faults::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_missed_events_are_reported() {
    let none = Faults::default();
    for (fault, faults) in [
        (Fault::Drops, Faults { lost: 3, ..none }),
        (Fault::Truncates, Faults { lost: 3, ..none }),
        (Fault::Doubles, Faults { doubled: 3, ..none }),
        (Fault::Reorders, Faults { reordered: 3, ..none }),
    ] {
        let report = report_of(fault).await;
        assert_eq!(report.faults, faults, "{fault:?}");
        let storm = report.storm.expect("a report of the storm");
        assert_eq!((storm.resumed, storm.inexact), (0, 3), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn graph_instead_of_events_is_no_resume() {
    let storm = report_of(Fault::SendsGraph).await.storm.expect("a report of the storm");
    assert_eq!((storm.resumed, storm.missing), (0, 0));
    assert_eq!(storm.replaced, [("first_join".to_owned(), 3)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_reconnects_are_retried_and_counted() {
    let storm = report_of(Fault::RefusesOnce)
        .await
        .storm
        .expect("a report of the storm");
    assert_eq!(storm.resumed, 3);
    assert_eq!(storm.retries, [("OVERLOADED".to_owned(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_without_a_sync_are_reported_missing() {
    let refused = report_of(Fault::RefusesAlways)
        .await
        .storm
        .expect("a report of the storm");
    assert_eq!(refused.refused, [("INVALID_SESSION".to_owned(), 3)].into());
    let missing = report_of(Fault::SendsNoSync)
        .await
        .storm
        .expect("a report of the storm");
    assert_eq!((missing.resumed, missing.missing), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_without_live_events_are_not_live() {
    let storm = report_of(Fault::SendsNoEvents)
        .await
        .storm
        .expect("a report of the storm");
    assert_eq!((storm.resumed, storm.live), (3, 0));
}

#[test]
fn malformed_command_line_is_refused() {
    for line in ["--sessions 5000", "--sockets 0", "--at-a-time 0", "--rate 10"] {
        let parsed = Options::try_parse_from(format!("connections {line}").split_whitespace());
        assert!(parsed.is_err(), "{line}");
    }
}
