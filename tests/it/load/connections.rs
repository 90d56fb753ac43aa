//! Many connections: a hub takes them all back with what they missed, and a server that does not is found out.
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
    report.expect("it runs")
}

/// What a hub does with fifty sockets that are all lost at once: the same ones are back, each with what it missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_takes_everybody_back_with_what_they_missed() {
    let hub = TestHub::start().await;
    let pid = std::process::id();
    let line = format!("--sessions {SESSIONS} --sockets 10 --duration 0.2 --reconnect --changes 3 --server-pid {pid}");
    let report = connections(&hub.url, &line).await;
    assert!(report.is_clean(), "{}", report.to_text());
    assert_eq!(report.opening.sockets, SOCKETS);
    assert_eq!(report.opening.took_us.count, SOCKETS);
    let memory = report.held.server.as_ref().expect("its process is known");
    assert!(memory.rss_before_kib > 0);
    let storm = report.storm.as_ref().expect("they were cut");
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
async fn whoever_is_not_cut_is_only_held() {
    let hub = TestHub::start().await;
    let report = connections(&hub.url, "--sessions 2 --sockets 3 --duration 0.1").await;
    assert!(report.is_clean() && report.storm.is_none(), "{}", report.to_text());
    assert_eq!(report.opening.sockets, 6);
    assert!(report.held.server.is_none(), "nobody said which process it is");
}

/// What a server does wrong when clients come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It leaves the second event out of what was missed.
    Drops,
    Doubles,
    Reorders,
    /// It leaves the last event out, and says that the session is not further than that.
    Forgets,
    /// It sends the whole graph.
    Replaces,
    /// It lets in nobody the first time.
    Hesitates,
    Refuses,
    /// It lets clients in and tells them nothing.
    IsDeaf,
    /// It forgets the room: whoever is back hears of nothing that happens then.
    Silent,
}

#[derive(Clone)]
struct Server {
    io: SocketIo,
    log: Log,
    fault: Fault,
}

/// All events, each at its `seq`, which counts from one.
type Log = Arc<Mutex<Vec<Value>>>;

/// A command of the contract, which is never looked at: two events.
async fn execute(State(server): State<Server>, Json(body): Json<Value>) -> Json<Value> {
    let (seq, news) = {
        let mut log = server.log.lock().expect("nobody panics");
        let from = log.len();
        for event in ["graph:property-changed", "command:executed"] {
            let seq = log.len() + 1;
            log.push(json!({"event": event, "data": {"command_id": body["command_id"], "seq": seq}}));
        }
        (log.len(), log[from..].to_vec())
    };
    let room = server.io.of("/graph").expect("it exists");
    for news in &news {
        if server.fault != Fault::Silent {
            let event = news["event"].as_str().expect("it has a name").to_owned();
            // Of those who were cut some may still be in the room: they need to hear of nothing.
            let _ = room.clone().emit(event, &news["data"]).await;
        }
    }
    Json(json!({"success": true, "seq": seq, "node_id": format!("node {seq}")}))
}

/// The sync for a client that comes with a position, or without.
fn sync(fault: Fault, log: &[Value], position: Option<usize>) -> Value {
    let mut sync = json!({"session_id": "the only one", "epoch": "0000abcd", "seq": log.len(), "reason": "first_join"});
    let Some(seq) = position.filter(|_| fault != Fault::Replaces) else {
        return sync;
    };
    let mut events = log[seq..].to_vec();
    match fault {
        Fault::Drops => drop(events.remove(1)),
        Fault::Doubles => events.push(events[0].clone()),
        Fault::Reorders => events.swap(0, 1),
        Fault::Forgets => {
            events.pop();
            sync["seq"] = json!(log.len() - 1);
        }
        Fault::None | Fault::Replaces | Fault::Hesitates | Fault::Refuses | Fault::IsDeaf | Fault::Silent => {}
    }
    sync["reason"] = json!("resumed");
    sync["events"] = events.into();
    sync
}

/// Serves on a free port, and tells where.
async fn serve(fault: Fault) -> String {
    let (layer, io) = SocketIo::new_layer();
    let log = Log::default();
    let kept = Arc::clone(&log);
    let connect = async move |socket: SocketRef, TryData(auth): TryData<Value>| {
        let position = auth.ok().and_then(|auth| auth["seq"].as_u64());
        let position = position.map(|seq| usize::try_from(seq).expect("it is small"));
        let sync = sync(fault, &kept.lock().expect("nobody panics"), position);
        if fault != Fault::IsDeaf || position.is_none() {
            socket.emit("session:sync", &sync).expect("it is new");
        }
    };
    let hesitated = Arc::new(AtomicBool::new(false));
    let admit = move |TryData(auth): TryData<Value>| {
        let is_back = auth.is_ok_and(|auth| !auth["seq"].is_null());
        let refused = match fault {
            Fault::Hesitates if is_back && !hesitated.swap(true, Ordering::Relaxed) => Err("OVERLOADED"),
            Fault::Refuses if is_back => Err("INVALID_SESSION"),
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

/// What three sockets make of it that missed two commands, four events.
async fn noticed(fault: Fault) -> Report {
    let url = serve(fault).await;
    let line = "--sessions 1 --sockets 3 --nodes 2 --duration 0 --reconnect --changes 2 --drain 2";
    let report = connections(&url, line).await;
    let is_clean = matches!(fault, Fault::None | Fault::Hesitates);
    assert_eq!(report.is_clean(), is_clean, "{fault:?}: {}", report.to_text());
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_fault_has_none() {
    let report = noticed(Fault::None).await;
    assert_eq!(report.faults, Faults::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_missed_events_is_noticed() {
    let none = Faults::default();
    for (fault, faults) in [
        (Fault::Drops, Faults { lost: 3, ..none }),
        (Fault::Forgets, Faults { lost: 3, ..none }),
        (Fault::Doubles, Faults { doubled: 3, ..none }),
        (Fault::Reorders, Faults { reordered: 3, ..none }),
    ] {
        let report = noticed(fault).await;
        assert_eq!(report.faults, faults, "{fault:?}");
        let storm = report.storm.expect("they were cut");
        assert_eq!((storm.resumed, storm.inexact), (0, 3), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gets_everything_anew_was_not_resumed() {
    let storm = noticed(Fault::Replaces).await.storm.expect("they were cut");
    assert_eq!((storm.resumed, storm.missing), (0, 0));
    assert_eq!(storm.replaced, [("first_join".to_owned(), 3)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_turned_away_tries_again_which_is_counted() {
    let storm = noticed(Fault::Hesitates).await.storm.expect("they were cut");
    assert_eq!(storm.resumed, 3);
    assert_eq!(storm.retries, [("OVERLOADED".to_owned(), 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_come_back_is_missed() {
    let refused = noticed(Fault::Refuses).await.storm.expect("they were cut");
    assert_eq!(refused.refused, [("INVALID_SESSION".to_owned(), 3)].into());
    let missing = noticed(Fault::IsDeaf).await.storm.expect("they were cut");
    assert_eq!((missing.resumed, missing.missing), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hears_of_nothing_any_more_is_not_back() {
    let storm = noticed(Fault::Silent).await.storm.expect("they were cut");
    assert_eq!((storm.resumed, storm.live), (3, 0));
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
    for line in ["--sessions 5000", "--sockets 0", "--at-a-time 0", "--rate 10"] {
        let parsed = Options::try_parse_from(format!("connections {line}").split_whitespace());
        assert!(parsed.is_err(), "{line}");
    }
}
