//! The floor: an axum handler that parses a command, answers it and emits to a room of socketioxide. Nothing is decided,
//! nothing is checked, nothing is kept but a number for each session.
//!
//! What Talus Hub costs beyond this is what its promises cost. It listens to as much of the contract as the load
//! generator needs.
#![expect(
    clippy::disallowed_types,
    reason = "the handlers that its users would write share sessions by locks"
)]

use std::{
    collections::HashMap,
    io::Write as _,
    net::Ipv4Addr,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post, serve::ListenerExt as _};
use clap::Parser;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use socketioxide::{
    SocketIo,
    extract::{SocketRef, TryData},
};
use tokio::{net::TcpListener, sync::Mutex};
use uuid::Uuid;

/// Packets that may wait for a socket; the hub's own default.
const QUEUE_PACKETS_MAX: usize = 1_024;

/// When everything happens: what a clock costs is not the question.
const NOW: &str = "2026-01-01T00:00:00.000Z";

/// A server that does nothing but parse, answer and emit.
#[derive(Debug, Clone, Copy, Parser)]
#[command(version)]
struct Options {
    /// Where it listens, on the loopback device; 0: anywhere
    #[arg(long, default_value_t = 5056)]
    port: u16,
    /// Packets for each command: 3 as in the contract, or only the last of them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    packets: u8,
}

/// A session: its sequence. It is locked while a command is told, so that rooms see the order of the sequence.
type Session = Arc<Mutex<u64>>;

#[derive(Clone, Default)]
struct Sessions(Arc<RwLock<HashMap<Uuid, Session>>>);

#[derive(Clone)]
struct Bare {
    io: SocketIo,
    packets: u8,
    sessions: Sessions,
}

#[derive(Deserialize)]
struct Command {
    session_id: Uuid,
    command_type: String,
    #[serde(default)]
    command_id: Option<Uuid>,
    data: Box<RawValue>,
}

#[derive(Deserialize)]
struct Auth {
    session_id: Uuid,
}

#[derive(Serialize)]
struct Answer {
    success: bool,
    command_id: Uuid,
    #[serde(flatten)]
    place: Place,
    first_seq: u64,
    node_id: Uuid,
    undo_available: bool,
    redo_available: bool,
    is_dirty: bool,
}

/// An event, as long as the hub's.
#[derive(Clone, Copy, Serialize)]
struct Packet<'a> {
    session_id: Uuid,
    project_id: Option<Uuid>,
    timestamp: &'static str,
    command_id: Uuid,
    origin: Origin,
    #[serde(flatten)]
    place: Option<Place>,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Clone, Copy, Serialize)]
struct Place {
    epoch: &'static str,
    seq: u64,
}

impl Place {
    const fn at(seq: u64) -> Self {
        Self { epoch: EPOCH, seq }
    }
}

#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Command { command_type: &'a str },
    Change(Changed<'a>),
}

/// What the command said is what changed.
#[derive(Clone, Copy, Serialize)]
struct Changed<'a> {
    change: &'a RawValue,
}

#[derive(Clone, Copy, Serialize)]
struct Origin {}

/// The log that there is not.
const EPOCH: &str = "00000001";

const NAMESPACE: &str = "/graph";

async fn open(State(bare): State<Bare>) -> (StatusCode, Json<serde_json::Value>) {
    let id = bare.sessions.open();
    (StatusCode::CREATED, Json(json!({"session_id": id, "epoch": EPOCH})))
}

async fn execute(State(bare): State<Bare>, Json(command): Json<Command>) -> Result<Json<Answer>, StatusCode> {
    let session = bare.sessions.find(command.session_id).ok_or(StatusCode::NOT_FOUND)?;
    let command_id = command.command_id.unwrap_or_else(Uuid::new_v4);
    let begun = Packet {
        session_id: command.session_id,
        project_id: None,
        timestamp: NOW,
        command_id,
        origin: Origin {},
        place: None,
        body: Body::Command {
            command_type: &command.command_type,
        },
    };
    let mut last = session.lock().await;
    let first_seq = *last + 1;
    if bare.packets == 3 {
        bare.emit("command:executing", &begun).await;
    }
    if bare.packets > 1 {
        *last += 1;
        let changed = Packet {
            place: Some(Place::at(*last)),
            body: Body::Change(Changed { change: &command.data }),
            ..begun
        };
        bare.emit("graph:property-changed", &changed).await;
    }
    *last += 1;
    let executed = Packet {
        place: Some(Place::at(*last)),
        ..begun
    };
    bare.emit("command:executed", &executed).await;
    Ok(Json(Answer {
        success: true,
        command_id,
        place: Place::at(*last),
        first_seq,
        node_id: command_id,
        undo_available: true,
        redo_available: false,
        is_dirty: true,
    }))
}

async fn connect(socket: SocketRef, auth: TryData<Auth>, sessions: Sessions) {
    let session = auth
        .0
        .ok()
        .and_then(|Auth { session_id }| Some((session_id, sessions.find(session_id)?)));
    let Some((session_id, session)) = session else {
        // Nobody measures this.
        let _ = socket.disconnect();
        return;
    };
    // What it is told next is what comes next.
    let last = session.lock().await;
    socket.join(session_id.to_string());
    let sync = json!({"session_id": session_id, "epoch": EPOCH, "seq": *last, "reason": "first_join"});
    let _ = socket.emit("session:sync", &sync);
}

impl Sessions {
    fn open(&self) -> Uuid {
        let id = Uuid::new_v4();
        let mut sessions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(id, Session::default());
        id
    }

    fn find(&self, id: Uuid) -> Option<Session> {
        let sessions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&id).cloned()
    }
}

impl Bare {
    /// One room emit. It fails for sockets that are slow, and the load generator sees what they miss.
    async fn emit(&self, event: &'static str, packet: &Packet<'_>) {
        if let Some(graph) = self.io.of(NAMESPACE) {
            let _ = graph.to(packet.session_id.to_string()).emit(event, packet).await;
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Options { port, packets } = Options::parse();
    let (sockets, io) = SocketIo::builder().max_buffer_size(QUEUE_PACKETS_MAX).build_svc();
    let sessions = Sessions::default();
    let known = sessions.clone();
    io.ns(NAMESPACE, move |socket: SocketRef, auth: TryData<Auth>| {
        connect(socket, auth, known.clone())
    });
    let bare = Bare { io, packets, sessions };
    let routes = Router::new()
        .route("/api/v1/sessions", post(open))
        .route("/api/v1/commands/execute", post(execute))
        .with_state(bare)
        .route_service("/socket.io/", sockets);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    // Small packets that do not wait for each other.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, routes).await?;
    Ok(())
}
