//! Large reads and readers that take nothing: held bytes are bounded, and other clients are served.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{TestHub, events::EventStream};

/// Receive buffer of a client, small so that a large answer stays with the hub: 4 KiB.
const RECEIVE_BYTES: usize = 4 * 1024;

/// Longest wait for an event that must happen: 60 s.
const DEADLINE: Duration = Duration::from_secs(60);

/// Client that sends a request and reads only as much as the test asks for.
struct Unread(TcpStream);

impl Unread {
    async fn get(hub: &TestHub, path: &str, headers: &str) -> Self {
        let address: SocketAddr = hub.url.trim_start_matches("http://").parse().expect("an address");
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        socket.set_recv_buffer_size(RECEIVE_BYTES).expect("a size");
        socket.connect(&SockAddr::from(address)).expect("the hub listens");
        socket.set_nonblocking(true).expect("a socket");
        let mut stream = TcpStream::from_std(socket.into()).expect("a socket");
        let request = format!("GET /api/v1{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("the hub reads");
        Self(stream)
    }

    /// Reads the status line: the answer has begun.
    async fn status(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await.expect("an answer"));
        }
        String::from_utf8(line).expect("text")
    }

    /// Reads the rest of the answer.
    async fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.expect("the answer is complete");
        rest
    }
}

/// Returns the value of a gauge.
async fn gauge(hub: &TestHub, name: &str) -> usize {
    let page = hub
        .http()
        .get(format!("{}/metrics", hub.url))
        .send()
        .await
        .expect("an answer");
    let text = page.text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.expect(name).parse().expect("a number")
}

/// Waits until a gauge has a value.
async fn until(hub: &TestHub, name: &str, value: usize) {
    let reached = async {
        while gauge(hub, name).await != value {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, reached).await.expect(name);
}

/// Writes a project file with `nodes` nodes, each with a text of `bytes` bytes, and returns the file's length.
fn file(hub: &TestHub, name: &str, nodes: usize, bytes: usize) -> usize {
    let nodes = (0..nodes).map(|number| {
        json!({"id": format!("00000000-0000-4000-8000-{number:012}"), "blueprint_type_id": "task", "name": format!("node {number}"),
               "properties": {"text": "x".repeat(bytes)}, "children": []})
    });
    let document = json!({"graph": {"roots": nodes.collect::<Vec<_>>()}}).to_string();
    let folder = hub.dir.path().join("projects");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(format!("{name}.json")), &document).expect("a file");
    document.len()
}

async fn open(hub: &TestHub, name: &str) -> String {
    let opened = hub.post(&format!("/projects/{name}/open"), &json!({})).await.ok();
    opened["session_id"].as_str().expect("an id").to_owned()
}

const PIECE: usize = 64 * 1024;
const BYTES: &str = "hub_reading_bytes";
const DOCUMENTS: &str = "hub_reading_documents";

/// P9: an unread answer holds a piece and not the whole graph. When read, the answer is complete, and no bytes are
/// held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_graphs_hold_one_piece_each() {
    const READERS: usize = 12;
    let hub = TestHub::start().await;
    let bytes = file(&hub, "large", 200, 60_000);
    let session_id = open(&hub, "large").await;
    let path = format!("/sessions/{session_id}/graph");
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = Unread::get(&hub, &path, "").await;
        assert!(reader.status().await.contains("200"));
        readers.push(reader);
        // Each reader holds at most one value beyond a piece.
        assert!(gauge(&hub, BYTES).await <= readers.len() * 2 * PIECE);
    }
    hub.create_node(&session_id, None, "meanwhile").await;
    for reader in readers {
        let rest = reader.rest().await;
        assert!(rest.len() > bytes - 100_000, "{} of {bytes}", rest.len());
    }
    until(&hub, BYTES, 0).await;
    let graph = hub.graph(&session_id).await;
    assert_eq!(graph["roots"].as_array().map(Vec::len), Some(201));
    assert_eq!(
        graph["roots"][199]["properties"]["text"].as_str().map(str::len),
        Some(60_000)
    );
}

/// P9: the bytes that all answers hold stay within a budget. A read beyond the budget is refused with the limit;
/// commands and small reads are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_beyond_the_budget_name_the_limit() {
    let hub = TestHub::with(|config| {
        config.rest.reading_bytes_max = PIECE;
        config.rest.reading_wait_ms = 1;
    })
    .await;
    file(&hub, "large", 200, 60_000);
    let session_id = hub.session().await;
    hub.create_node(&session_id, None, "small").await;
    let large = open(&hub, "large").await;
    let mut unread = Unread::get(&hub, &format!("/sessions/{large}/graph"), "").await;
    assert!(unread.status().await.contains("200"));
    for path in ["graph", "events", "history"] {
        // Until the connection's buffers are full, the large answer progresses and leaves room between its pieces.
        let refused = async {
            loop {
                let reply = hub.get(&format!("/sessions/{session_id}/{path}")).await;
                if reply.status >= 400 {
                    break reply;
                }
            }
        };
        let refused = tokio::time::timeout(DEADLINE, refused).await.expect(path);
        assert_eq!(refused.refused(), (503, "OVERLOADED"), "{path}");
        assert_eq!(refused.body["error"]["limit"], "reading_bytes_max", "{path}");
    }
    assert!(gauge(&hub, BYTES).await <= PIECE);
    hub.create_node(&session_id, None, "a command").await;
    hub.get(&format!("/sessions/{session_id}/dirty")).await.ok();
    drop(unread);
    until(&hub, BYTES, 0).await;
    hub.get(&format!("/sessions/{session_id}/graph")).await.ok();
}

/// P9: many unread streams from the beginning hold a bounded number of bytes, and commands to other sessions succeed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_streams_are_bounded_and_delay_no_session() {
    const STREAMS: usize = 50;
    // One page for each stream, and 20 pages more.
    const MAX: usize = (STREAMS + 20) * PIECE;
    let hub = TestHub::with(|config| config.rest.reading_bytes_max = MAX).await;
    let (busy, neighbour) = (hub.session().await, hub.session().await);
    for number in 0..64 {
        let data = json!({"blueprint_type_id": "task", "name": format!("{number}"), "properties": {"text": "x".repeat(60_000)}});
        hub.execute(&busy, "CreateNode", data).await.ok();
    }
    let path = format!("/sessions/{busy}/events");
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        let mut stream = Unread::get(&hub, &path, "accept: text/event-stream\r\n").await;
        assert!(stream.status().await.contains("200"));
        streams.push(stream);
        if number % 10 == 0 {
            assert!(gauge(&hub, BYTES).await <= MAX);
            hub.create_node(&neighbour, None, &format!("{number}")).await;
        }
    }
    // A stream that is read progresses beside unread ones.
    let request = hub.http().get(hub.api(&path));
    let mut read = EventStream::open(request).await;
    assert_eq!(read.take(4).await.len(), 4);
    drop(streams);
    drop(read);
    until(&hub, BYTES, 0).await;
}

/// P9: concurrent documents of single readers are limited. The session's own graph needs no permit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_single_readers_are_limited() {
    let hub = TestHub::with(|config| {
        config.rest.documents_max = 1;
        config.rest.reading_wait_ms = 1;
    })
    .await;
    file(&hub, "large", 200, 60_000);
    let session_id = open(&hub, "large").await;
    hub.create_node(&session_id, None, "later").await;
    let mut unread = Unread::get(&hub, &format!("/sessions/{session_id}/graph?at_seq=2"), "").await;
    assert!(unread.status().await.contains("200"));
    assert_eq!(gauge(&hub, DOCUMENTS).await, 1);
    for path in [
        format!("/sessions/{session_id}/graph?at_seq=1"),
        "/projects/none".to_owned(),
    ] {
        let reply = hub.get(&path).await;
        assert_eq!(reply.refused(), (503, "OVERLOADED"), "{path}");
        assert_eq!(reply.body["error"]["limit"], "documents_max", "{path}");
    }
    let reply = hub.post(&format!("/sessions/{session_id}/save"), &json!({})).await;
    assert_eq!(reply.body["error"]["limit"], "documents_max");
    hub.get(&format!("/sessions/{session_id}/graph?at_seq=4")).await.ok();
    drop(unread);
    until(&hub, DOCUMENTS, 0).await;
    hub.post(&format!("/sessions/{session_id}/save"), &json!({})).await.ok();
}

/// P2, P9: pages of large events are short, and together complete.
#[tokio::test]
async fn pages_of_large_events_are_short_and_complete() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    for number in 0..40 {
        let data = json!({"blueprint_type_id": "task", "name": format!("{number}"), "properties": {"text": "x".repeat(60_000)}});
        hub.execute(&session_id, "CreateNode", data).await.ok();
    }
    let (mut after, mut pages, mut seqs) = (0, 0, Vec::new());
    loop {
        let page = hub
            .get(&format!("/sessions/{session_id}/events?after={after}&limit=1000"))
            .await
            .ok();
        let events = page["events"].as_array().expect("a list");
        seqs.extend(events.iter().map(|event| event["data"]["seq"].as_u64().expect("a seq")));
        after = page["next_after"].as_u64().expect("a seq");
        pages += 1;
        if page["more"] == json!(false) {
            break;
        }
    }
    assert_eq!(seqs, (1..=80).collect::<Vec<u64>>());
    assert!(pages > 1, "{pages}");
    let (mut before, mut commands) = (String::new(), Vec::<Value>::new());
    loop {
        let page = hub
            .get(&format!("/sessions/{session_id}/history?limit=1000{before}"))
            .await
            .ok();
        commands.extend(page["commands"].as_array().expect("a list").iter().cloned());
        if page["more"] == json!(false) {
            break;
        }
        let oldest = commands.last().expect("a command")["first_seq"]
            .as_u64()
            .expect("a seq");
        before = format!("&before={oldest}");
    }
    assert_eq!(commands.len(), 40);
}
