//! The neighbour: commands that start on schedule whether or not earlier ones have ended, a websocket that is read, and
//! newcomers.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use talus_load::{
    packet::{PONG, Packet},
    ticket::Ticket,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{interval, timeout},
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::{
    latency::{WebSocket, join},
    world::Process,
};

/// Interval of commands: 200 per second.
const PACE: Duration = Duration::from_millis(5);
/// Interval of newcomers, each with a connection of its own.
const NEWCOMER_PACE: Duration = Duration::from_millis(250);
/// Longest wait for an answer, and for the last events.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Seed of the neighbour's command ids, which distinguishes them from those of attackers.
const SEED: u64 = 7;

/// Measurements, by time since the start of the neighbour.
#[derive(Default)]
pub struct Record {
    /// Intended start of each command, and the delay until it was sent.
    pub sent: Vec<(Duration, Duration)>,
    /// Intended start of each command whose event arrived, and the delay until then.
    pub heard: Vec<(Duration, Duration)>,
    /// Start of each newcomer, with true if it was served within five seconds.
    pub newcomers: Vec<(Duration, bool)>,
}

/// Client on a thread of its own, until it is stopped.
pub struct Neighbour {
    began: Instant,
    stop: CancellationToken,
    ended: oneshot::Receiver<Record>,
}

/// Address, session and node of the neighbour's commands.
struct Target {
    url: String,
    session: String,
    node: String,
    http: reqwest::Client,
}

impl Neighbour {
    pub async fn start(hub: &Process, http: &reqwest::Client) -> Self {
        let session = hub.session(http).await;
        let task = json!({"blueprint_type_id": "task"});
        let made = hub.execute(http, &session, "CreateNode", task).await;
        let node = made["node_id"].as_str().expect("an id").to_owned();
        let (url, stop) = (hub.url.clone(), CancellationToken::new());
        let (tell_began, began) = oneshot::channel();
        let (tell_ended, ended) = oneshot::channel();
        let until = stop.clone();
        thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().expect("a runtime");
            let record = runtime.block_on(async {
                let http = reqwest::Client::builder().timeout(PATIENCE).build();
                let socket = join(&url, &session).await;
                let http = http.expect("a client");
                let began = Instant::now();
                tell_began.send(began).expect("the caller waits");
                live(
                    Target {
                        url,
                        session,
                        node,
                        http,
                    },
                    socket,
                    began,
                    until,
                )
                .await
            });
            // The receiver is gone if the run failed.
            let _ = tell_ended.send(record);
        });
        Self {
            began: began.await.expect("the neighbour has joined"),
            stop,
            ended,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub async fn stop(self) -> Record {
        self.stop.cancel();
        self.ended.await.expect("no panic")
    }
}

/// Starts a thread that keeps the schedule, because the runtime's timer has a resolution of one millisecond.
fn pace(began: Instant, stop: CancellationToken) -> mpsc::UnboundedReceiver<Ticket> {
    let (due, starts) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for index in 0_u32.. {
            let start = PACE * index;
            #[expect(clippy::disallowed_methods, reason = "a thread of its own waits for its start")]
            thread::sleep(start.saturating_sub(began.elapsed()));
            let ticket = Ticket {
                start,
                session: 0,
                index: index.into(),
            };
            if stop.is_cancelled() || due.send(ticket).is_err() {
                return;
            }
        }
    });
    starts
}

async fn live(target: Target, mut socket: WebSocket, began: Instant, stop: CancellationToken) -> Record {
    let mut record = Record::default();
    let (mut commands, mut newcomers) = (JoinSet::new(), JoinSet::new());
    let mut starts = pace(began, stop.clone());
    let mut arrivals = interval(NEWCOMER_PACE);
    let address = target.url.strip_prefix("http://").expect("plain HTTP");
    let address: SocketAddr = address.parse().expect("an address");
    let (mut is_open, mut accepted) = (true, 0);
    let patience = async {
        stop.cancelled().await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::pin!(patience);
    loop {
        let is_over = stop.is_cancelled() && commands.is_empty() && newcomers.is_empty();
        if is_over && (!is_open || record.heard.len() >= accepted) {
            return record;
        }
        tokio::select! {
            Some(ticket) = starts.recv() => {
                record.sent.push((ticket.start, began.elapsed().saturating_sub(ticket.start)));
                commands.spawn(command(&target, ticket));
            }
            Some(is_accepted) = commands.join_next() => accepted += usize::from(is_accepted.expect("no panic")),
            Some(newcomer) = newcomers.join_next() => record.newcomers.push(newcomer.expect("no panic")),
            message = socket.next(), if is_open => match message {
                Some(Ok(message)) => is_open = read(&mut socket, &message, began, &mut record).await,
                Some(Err(_)) | None => is_open = false,
            },
            _ = arrivals.tick(), if !stop.is_cancelled() => {
                let start = began.elapsed();
                newcomers.spawn(async move { (start, is_served(address).await) });
            }
            () = &mut patience => return record,
        }
    }
}

/// Sends a command. Returns true if it was accepted.
fn command(target: &Target, ticket: Ticket) -> impl Future<Output = bool> + use<> {
    let value = format!("{} is what this task is about, in a line of text", ticket.index);
    let data = json!({"node_id": target.node, "property_id": "description", "new_value": value});
    let body = json!({"session_id": target.session, "command_type": "UpdateProperty", "command_id": ticket.id(SEED),
                      "data": data});
    let request = target
        .http
        .post(format!("{}/api/v1/commands/execute", target.url))
        .json(&body);
    async move {
        let Ok(answer) = request.send().await else { return false };
        // Reads the whole body, because the connection is not reused otherwise.
        answer.status().is_success() && answer.bytes().await.is_ok()
    }
}

/// Handles a message. Returns false if the websocket has failed.
async fn read(socket: &mut WebSocket, message: &Message, began: Instant, record: &mut Record) -> bool {
    let Ok(text) = message.to_text() else { return true };
    match Packet::read(text) {
        Ok(Packet::Ping) => socket.send(Message::text(PONG)).await.is_ok(),
        Ok(Packet::Event(event)) if event.name == "command:executed" => {
            if let Some(ticket) = event.command_id.and_then(|id| Ticket::read(id, SEED)) {
                let took = began.elapsed().saturating_sub(ticket.start);
                record.heard.push((ticket.start, took));
            }
            true
        }
        Ok(_) | Err(_) => true,
    }
}

/// Returns true if a client with a new connection is answered within five seconds.
async fn is_served(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        Some(answer.starts_with(b"HTTP/1.1 200"))
    };
    timeout(Duration::from_secs(5), ask).await.ok().flatten() == Some(true)
}
