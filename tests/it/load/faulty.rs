//! Against a server that breaks a promise at one command: the generator says which.

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

/// The command at which it happens: one of those that are sent when sockets listen.
const FAULTY: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Drops,
    Doubles,
    Reorders,
    DropsTheBeginning,
}

#[derive(Clone)]
struct Server {
    io: SocketIo,
    fault: Fault,
    frames: Frames,
    commands: Arc<AtomicU64>,
}

/// A command of the contract, which is never looked at: two places, three packets.
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
            Fault::DropsTheBeginning => drop(packets.remove(0)),
        }
    }
    let room = server.io.of("/graph").expect("it exists");
    if server.frames == Frames::Batched {
        let told = |(event, data): (&str, Value)| json!({"event": event, "data": data});
        let events: Vec<Value> = packets.into_iter().map(told).collect();
        packets = vec![("session:events", json!({ "events": events }))];
    }
    for (event, data) in packets {
        room.clone().emit(event, &data).await.expect("sockets keep up");
    }
    Json(json!({"success": true, "seq": last, "node_id": format!("node {number}")}))
}

/// Serves on a free port, and tells where.
async fn serve(fault: Fault, frames: Frames) -> String {
    let (layer, io) = SocketIo::new_layer();
    let commands = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&commands);
    io.ns("/graph", async move |socket: SocketRef| {
        let seq = 2 * told.load(Ordering::Relaxed);
        socket.emit("session:sync", &json!({ "seq": seq })).expect("it is new");
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

/// What two sockets make of it: what happens, happens to both; and it makes no difference whether the events of a command
/// come together.
async fn noticed(fault: Fault) -> Faults {
    let single = noticed_in(fault, Frames::Single, "single").await;
    let batched = noticed_in(fault, Frames::Batched, "batched").await;
    assert_eq!(single, batched);
    single
}

async fn noticed_in(fault: Fault, frames: Frames, word: &str) -> Faults {
    let url = serve(fault, frames).await;
    let line = format!("--sockets 2 --closed 1 --nodes 2 --duration 0.5 --warmup 0 --drain 2 --frames {word}");
    let report = load(&url, &line).await;
    assert!(report.commands.accepted > FAULTY, "{}", report.to_text());
    assert_eq!(report.is_clean(), fault == Fault::None, "{}", report.to_text());
    report.faults
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_fault_has_none() {
    assert_eq!(noticed(Fault::None).await, Faults::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_event_is_noticed() {
    let lost = Faults {
        lost: 2,
        ..Faults::default()
    };
    assert_eq!(noticed(Fault::Drops).await, lost);
    assert_eq!(noticed(Fault::DropsTheBeginning).await, lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_event_is_noticed() {
    assert_eq!(
        noticed(Fault::Doubles).await,
        Faults {
            doubled: 2,
            ..Faults::default()
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_out_of_its_place_is_noticed() {
    assert_eq!(
        noticed(Fault::Reorders).await,
        Faults {
            reordered: 2,
            ..Faults::default()
        }
    );
}

/// A server that has too much to do before the load begins is asked again when it said; every second request is one too
/// many for this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_is_asked_again() {
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

/// A server that is not there is no report.
#[tokio::test]
async fn without_a_server_there_is_no_report() {
    let options =
        <talus_load::options::Options as clap::Parser>::parse_from(["talus-load", "--url", "http://127.0.0.1:9"]);
    let report = talus_load::run(options, &indicatif::ProgressBar::hidden()).await;
    assert!(report.is_err());
}
