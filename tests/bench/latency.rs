//! Time from a command over REST to its last event at the clients: the real binary, real websockets, 50 commands a
//! second.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::{net::TcpStream, sync::mpsc, time::interval};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config, tungstenite::Message};

use crate::{
    table::{Table, ms, percentile},
    world::Process,
};

const COMMANDS: usize = 500;
const WARM_UP: usize = 25;
const PACE: Duration = Duration::from_millis(20);
const EXECUTED: &str = "42/graph,[\"command:executed\"";

pub type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub async fn measure() -> Table {
    let mut table = Table::new(
        "latency: from just before the POST to command:executed (50 commands/s)",
        &[
            "sockets",
            "median p50 ms",
            "median p99 ms",
            "last p50 ms",
            "last p99 ms",
        ],
    );
    for sockets in [1, 10, 100] {
        let (mut middle, mut last) = with_sockets(sockets).await;
        table.row(&[
            sockets.to_string(),
            ms(percentile(&mut middle, 50)),
            ms(percentile(&mut middle, 99)),
            ms(percentile(&mut last, 50)),
            ms(percentile(&mut last, 99)),
        ]);
    }
    table
}

/// Returns for each command the time to the median socket, and to the last.
async fn with_sockets(sockets: usize) -> (Vec<Duration>, Vec<Duration>) {
    let dir = tempfile::tempdir().expect("a folder");
    let process = Process::start(dir.path()).await;
    let http = reqwest::Client::new();
    let session = process.session(&http).await;
    let made = process
        .execute(&http, &session, "CreateNode", json!({"blueprint_type_id": "task"}))
        .await;
    let node = made["node_id"].as_str().expect("an id");
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    for _ in 0..sockets {
        let socket = join(&process.url, &session).await;
        tokio::spawn(read(socket, arrived.clone()));
    }
    let (mut middle, mut last) = (Vec::new(), Vec::new());
    let mut pace = interval(PACE);
    for step in 0..WARM_UP + COMMANDS {
        pace.tick().await;
        let data = json!({"node_id": node, "property_id": "step", "new_value": step});
        let sent = Instant::now();
        process.execute(&http, &session, "UpdateProperty", data).await;
        let mut times = Vec::new();
        while times.len() < sockets {
            let at: Instant = arrivals.recv().await.expect("sockets stay");
            times.push(at.duration_since(sent));
        }
        if step >= WARM_UP {
            middle.push(percentile(&mut times, 50));
            last.push(percentile(&mut times, 100));
        }
    }
    (middle, last)
}

/// Connects, and reads up to the sync. Later packets are live.
pub async fn join(url: &str, session: &str) -> WebSocket {
    let url = format!("{}/socket.io/?EIO=4&transport=websocket", url.replacen("http", "ws", 1));
    let connected = connect_async_with_config(url, None, true).await;
    let (mut socket, _) = connected.expect("a websocket");
    let connect = format!("40/graph,{}", json!({"session_id": session}));
    let mut sent = false;
    loop {
        let message = socket.next().await.expect("it stays").expect("it works");
        let text = message.to_text().expect("text");
        assert!(!text.starts_with("44"), "{text}");
        if text.starts_with("42/graph,[\"session:sync\"") {
            return socket;
        }
        if text == "2" {
            socket.send(Message::text("3")).await.expect("it is sent");
        } else if !sent {
            socket.send(Message::text(connect.as_str())).await.expect("it is sent");
            sent = true;
        }
    }
}

async fn read(mut socket: WebSocket, arrived: mpsc::UnboundedSender<Instant>) {
    while let Some(Ok(message)) = socket.next().await {
        match message.to_text() {
            Ok(text) if text.starts_with(EXECUTED) => {
                if arrived.send(Instant::now()).is_err() {
                    return;
                }
            }
            Ok("2") => socket.send(Message::text("3")).await.expect("it is sent"),
            Ok(_) | Err(_) => {}
        }
    }
}
