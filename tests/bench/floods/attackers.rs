//! Attackers: each opens a connection, misbehaves on it, and connects again after a disconnection.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use talus_load::{options::Frames, packet};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Handle,
    time::{sleep, timeout},
};
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::world::Process;

/// Delay before an attacker that was refused or disconnected connects again.
const AGAIN: Duration = Duration::from_secs(1);
/// Time after which a connection that was not closed counts as admitted.
const LET_IN: Duration = Duration::from_millis(500);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Receive buffer in bytes of a client that does not read.
const RECEIVE_BYTES: u32 = 4_096;
/// Declared bytes of a body whose last byte is not sent.
const BODY_BYTES: usize = 262_144;
const GRAPH_NODES: usize = 100_000;
/// Commands at the start of an unread stream, each with a text of [`TEXT_BYTES`].
const STREAMED: usize = 64;
const TEXT_BYTES: usize = 60_000;
/// Quick connects at a time.
const AT_ONCE: u64 = 16;

/// Kind of flood; see the [module](self).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    Nothing,
    Idle,
    HalfHeads,
    UnfinishedBodies,
    Pings,
    Streams,
    Graphs,
    QuickConnects,
}

/// Addresses that attackers connect to, and the bytes that they send first.
pub struct Requests {
    address: SocketAddr,
    local: SocketAddr,
    first: Vec<u8>,
}

/// Numbers of open, completed and failed connections.
#[derive(Clone, Default)]
pub struct Counts {
    open: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

/// Guard of a connection that counts as open.
struct Open(Arc<AtomicU64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counts {
    fn open(&self) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(&self.open))
    }

    fn finish(&self, is_done: bool) {
        let count = if is_done { &self.done } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub fn is_done(&self, flood: Flood) -> bool {
        flood != Flood::QuickConnects
            || self.done.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed) >= flood.attackers()
    }

    /// Returns the number of open connections, or of completed quick connects, and the number attempted.
    pub fn seen(&self, flood: Flood) -> String {
        let count = if flood == Flood::QuickConnects {
            &self.done
        } else {
            &self.open
        };
        format!("{} of {}", count.load(Ordering::Relaxed), flood.attackers())
    }
}

impl Flood {
    pub const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Idle,
        Self::HalfHeads,
        Self::UnfinishedBodies,
        Self::Pings,
        Self::Streams,
        Self::Graphs,
        Self::QuickConnects,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Idle => "idle connections",
            Self::HalfHeads => "half heads",
            Self::UnfinishedBodies => "unfinished bodies",
            Self::Pings => "unread pings",
            Self::Streams => "unread streams",
            Self::Graphs => "unread graphs",
            Self::QuickConnects => "quick connects",
        }
    }

    /// Returns the number of connections, which are simultaneous except for quick connects.
    const fn attackers(self) -> u64 {
        match self {
            Self::Nothing => 0,
            // Exceeds the limit of connections of an address and the hub's limit of open files.
            Self::Idle | Self::HalfHeads => 2_500,
            // Twice the limit of unfinished bytes.
            Self::UnfinishedBodies => 1_000,
            Self::Pings => 50,
            Self::Streams => 200,
            Self::Graphs => 100,
            Self::QuickConnects => 33_000,
        }
    }

    /// Creates the session under attack, if there is one, and returns the requests.
    pub async fn prepare(self, hub: &Process, http: &reqwest::Client, data: &Path) -> Requests {
        let local: SocketAddr = hub.url["http://".len()..].parse().expect("an address");
        let address = SocketAddr::new(own_address().unwrap_or(local.ip()), local.port());
        let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n");
        let first = match self {
            Self::Nothing | Self::Idle => String::new(),
            Self::HalfHeads => format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nx-half: "),
            Self::UnfinishedBodies => {
                let head = "content-type: application/json\r\ncontent-length";
                let path = "/api/v1/commands/execute";
                format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n{head}: {BODY_BYTES}\r\n\r\n{{")
                    + &" ".repeat(BODY_BYTES - 2)
            }
            Self::Pings => get(
                "/socket.io/?EIO=4&transport=websocket",
                "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
            Self::Streams => {
                let session = hub.session(http).await;
                for _ in 0..STREAMED {
                    let properties = json!({"text": "x".repeat(TEXT_BYTES)});
                    let node = json!({"blueprint_type_id": "task", "properties": properties});
                    hub.execute(http, &session, "CreateNode", node).await;
                }
                get(
                    &format!("/api/v1/sessions/{session}/events"),
                    "accept: text/event-stream\r\n",
                )
            }
            Self::Graphs => {
                write_project(data);
                let opened = hub.post(http, "/projects/large/open", &json!({})).await;
                let session = opened["session_id"].as_str().expect("an id");
                get(&format!("/api/v1/sessions/{session}/graph"), "")
            }
            Self::QuickConnects => packet::join(&hub.session(http).await, Frames::Single),
        };
        Requests {
            address,
            local,
            first: first.into_bytes(),
        }
    }

    pub fn start(self, handle: &Handle, requests: &Requests, counts: &Counts) {
        let first: Arc<[u8]> = requests.first.as_slice().into();
        let (address, local) = (requests.address, requests.local);
        let attackers = if self == Self::QuickConnects {
            AT_ONCE
        } else {
            self.attackers()
        };
        for number in 0..attackers {
            let (first, counts) = (Arc::clone(&first), counts.clone());
            match self {
                Self::Nothing => {}
                Self::QuickConnects => {
                    let times = self.attackers() / AT_ONCE + u64::from(number < self.attackers() % AT_ONCE);
                    handle.spawn(async move {
                        let join = String::from_utf8_lossy(&first);
                        for time in 0..times {
                            let passed = timeout(PATIENCE, pass(local, number, &join, time % 2 == 0));
                            counts.finish(passed.await.is_ok_and(|it| it.is_some()));
                        }
                    });
                }
                _ => drop(handle.spawn(self.attack(address, first, counts))),
            }
        }
    }

    async fn attack(self, address: SocketAddr, first: Arc<[u8]>, counts: Counts) {
        loop {
            // The attack is repeated, however it ended.
            let _ = match self {
                Self::Pings => ping(address, &first, &counts).await,
                Self::Streams | Self::Graphs => leave_unread(address, &first, &counts).await,
                _ => hold(address, &first, &counts).await,
            };
            sleep(AGAIN).await;
        }
    }
}

/// Returns an address of this machine other than loopback, if it has one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: `connect` only selects the local address.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// Writes a project of [`GRAPH_NODES`] nodes.
fn write_project(data: &Path) {
    let nodes = (0..GRAPH_NODES).map(|number| {
        json!({"id": format!("00000000-0000-4000-8000-{number:012}"), "blueprint_type_id": "task",
               "name": format!("node {number}"), "properties": {"status": "open"}, "children": []})
    });
    let document = json!({"graph": {"roots": nodes.collect::<Vec<_>>()}});
    let folder = data.join("projects");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("large.json"), document.to_string()).expect("a file");
}

/// Sends the start of a request, and holds the connection until the hub ends it.
async fn hold(address: SocketAddr, first: &[u8], counts: &Counts) -> Option<()> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(first).await.ok()?;
    let mut answer = [0; 1_024];
    if timeout(LET_IN, stream.read(&mut answer)).await.is_err() {
        let _open = counts.open();
        return stream.read(&mut answer).await.ok().map(drop);
    }
    Some(())
}

/// Connects with a receive buffer of [`RECEIVE_BYTES`].
async fn connect_narrow(address: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_recv_buffer_size(RECEIVE_BYTES).ok()?;
    socket.connect(address).await.ok()
}

/// Sends pings as long as the hub accepts them, and reads no answer.
async fn ping(address: SocketAddr, first: &[u8], counts: &Counts) -> Option<()> {
    let mut stream = connect_narrow(address).await?;
    stream.write_all(first).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let _open = head.starts_with(b"HTTP/1.1 101").then(|| counts.open())?;
    // 125 bytes, with a mask of zeros.
    let frame = [&[0x89, 0x80 | 125, 0, 0, 0, 0], [b'p'; 125].as_slice()].concat();
    let frames = frame.repeat(500);
    loop {
        stream.write_all(&frames).await.ok()?;
    }
}

/// Sends a request, reads the status, and leaves the rest of the response unread.
async fn leave_unread(address: SocketAddr, first: &[u8], counts: &Counts) -> Option<()> {
    let mut stream = connect_narrow(address).await?;
    stream.write_all(first).await.ok()?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.ok()?;
    let _open = (&status == b"HTTP/1.1 200").then(|| counts.open())?;
    std::future::pending().await
}

/// Connects over a websocket, joins, and disconnects once the join is answered, with or without a close frame.
async fn pass(address: SocketAddr, number: u64, join: &str, sends_close: bool) -> Option<()> {
    let socket = TcpSocket::new_v4().ok()?;
    // One local address for each task, because the ports of one address would not suffice.
    let from = IpAddr::from([127, 0, 1, 1 + u8::try_from(number).ok()?]);
    socket.bind(SocketAddr::new(from, 0)).ok()?;
    let stream = socket.connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (mut websocket, _) = client_async(url, stream).await.ok()?;
    websocket.send(Message::text(join)).await.ok()?;
    loop {
        let message = websocket.next().await?.ok()?;
        let text = message.to_text().ok()?;
        if text.starts_with("44") {
            return None;
        }
        if text.starts_with("40") {
            break;
        }
    }
    if sends_close {
        websocket.close(None).await.ok()?;
    }
    Some(())
}
