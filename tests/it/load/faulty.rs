//! Server that breaks a promise at one command: the generator reports the kind of fault.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::RETRY_AFTER},
    routing::post,
};
use serde_json::{Value, json};
use socketioxide::{SocketIo, extract::SocketRef};
use talus_load::{options::Frames, order::Faults};

use super::load;

/// Index of the command with the fault, one of those that are sent while sockets listen.
const FAULTY: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Drops,
    Doubles,
    Reorders,
    DropsExecuting,
}

#[derive(Clone)]
struct Server {
    io: SocketIo,
    fault: Fault,
    frames: Frames,
    commands: Arc<AtomicU64>,
}

/// Answers every command with success, and emits three packets, two of them with a `seq`.
async fn execute(State(server): State<Server>, Json(body): Json<Value>) -> Json<Value> {
    let number = server.commands.fetch_add(1, Ordering::Relaxed);
    let (first, last) = (2 * number + 1, 2 * number + 2);
    let id = &body["command_id"];
    let mut packets = vec![
        ("command:executing", json!({ "command_id": id })),
        ("graph:property-changed", json!({ "command_id": id, "seq": first })),
        ("command:executed", json!({ "command_id": id, "seq": last })),
    ];
    if number == FAULTY {
        match server.fault {
            Fault::None => {}
            Fault::Drops => drop(packets.remove(1)),
            Fault::Doubles => packets.push(packets[2].clone()),
            Fault::Reorders => packets.swap(1, 2),
            Fault::DropsExecuting => drop(packets.remove(0)),
        }
    }
    let room = server.io.of("/graph").expect("the namespace exists");
    if server.frames == Frames::Batched {
        let entry = |(event, data): (&str, Value)| json!({"event": event, "data": data});
        let events: Vec<Value> = packets.into_iter().map(entry).collect();
        packets = vec![("session:events", json!({ "events": events }))];
    }
    for (event, data) in packets {
        room.clone().emit(event, &data).await.expect("sockets keep up");
    }
    Json(json!({"success": true, "seq": last, "node_id": format!("node {number}")}))
}

/// Starts a server with a fault on a free port, and returns its address.
async fn serve(fault: Fault, frames: Frames) -> String {
    let (layer, io) = SocketIo::new_layer();
    let commands = Arc::new(AtomicU64::new(0));
    let executed = Arc::clone(&commands);
    io.ns("/graph", async move |socket: SocketRef| {
        let seq = 2 * executed.load(Ordering::Relaxed);
        socket
            .emit("session:sync", &json!({ "seq": seq }))
            .expect("the queue of a new socket has space");
    });
    let session = async || Json(json!({"session_id": "the only one"}));
    let server = Server {
        io,
        fault,
        frames,
        commands,
    };
    let app = Router::new()
        .route("/api/v1/sessions", post(session))
        .route("/api/v1/commands/execute", post(execute))
        .with_state(server)
        .layer(layer);
    super::serve(app).await
}

/// Returns the faults that the generator reports with two sockets, each of which gets the fault. Asserts that single
/// and batched delivery report the same.
async fn faults_of(fault: Fault) -> Faults {
    let single = faults_with(fault, Frames::Single, "single").await;
    let batched = faults_with(fault, Frames::Batched, "batched").await;
    assert_eq!(single, batched);
    single
}

async fn faults_with(fault: Fault, frames: Frames, word: &str) -> Faults {
    let url = serve(fault, frames).await;
    let line = format!("--sockets 2 --closed 1 --nodes 2 --duration 0.5 --warmup 0 --drain 2 --frames {word}");
    let report = load(&url, &line).await;
    assert!(report.commands.accepted > FAULTY, "{}", report.to_text());
    assert_eq!(report.is_clean(), fault == Fault::None, "{}", report.to_text());
    report.faults
}

#[tokio::test(flavor = "multi_thread")]
async fn faultless_server_is_reported_clean() {
    assert_eq!(faults_of(Fault::None).await, Faults::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_event_is_reported() {
    let lost = Faults {
        lost: 2,
        ..Faults::default()
    };
    assert_eq!(faults_of(Fault::Drops).await, lost);
    assert_eq!(faults_of(Fault::DropsExecuting).await, lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn doubled_event_is_reported() {
    assert_eq!(
        faults_of(Fault::Doubles).await,
        Faults {
            doubled: 2,
            ..Faults::default()
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reordered_event_is_reported() {
    assert_eq!(
        faults_of(Fault::Reorders).await,
        Faults {
            reordered: 2,
            ..Faults::default()
        }
    );
}

/// An overloaded server is asked again after `Retry-After`, also before the load begins. The server of this test
/// refuses every second request.
#[tokio::test(flavor = "multi_thread")]
async fn overloaded_server_is_asked_again() {
    let asked = Arc::new(AtomicU64::new(0));
    let (sessions, commands) = (Arc::clone(&asked), Arc::clone(&asked));
    let taken = |asked: &AtomicU64, answer: Value| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(2) {
            return Err((StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "0")]));
        }
        Ok(Json(answer))
    };
    let session = async move || taken(&sessions, json!({"session_id": "the only one"}));
    let execute = async move || taken(&commands, json!({"success": true, "seq": 2, "node_id": "a node"}));
    let app = Router::new()
        .route("/api/v1/sessions", post(session))
        .route("/api/v1/commands/execute", post(execute));
    let url = super::serve(app).await;
    load(
        &url,
        "--sockets 0 --rate 1 --nodes 2 --duration 0.1 --warmup 0 --drain 0",
    )
    .await;
    assert!(
        asked.load(Ordering::Relaxed) >= 6,
        "a session and two nodes, each at the second attempt"
    );
}

/// A run without a server returns an error, and no report.
#[tokio::test]
async fn missing_server_is_an_error() {
    let options =
        <talus_load::options::Options as clap::Parser>::parse_from(["talus-load", "--url", "http://127.0.0.1:9"]);
    let report = talus_load::run(options, &indicatif::ProgressBar::hidden()).await;
    assert!(report.is_err());
}
