//! Websocket, frame by frame.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, protocol::CloseFrame},
};

/// Websocket of a test. See the [module](self).
pub struct RawSocket(pub WebSocketStream<TcpStream>);

impl RawSocket {
    /// Opens a websocket with a new session.
    pub async fn open(hub_url: &str) -> Self {
        Self::with_query(hub_url, "").await.expect("a websocket")
    }

    /// Opens a websocket for a polling session. A refusal is returned as its status.
    pub async fn upgrade(hub_url: &str, sid: &str) -> Result<Self, u16> {
        Self::with_query(hub_url, &format!("&sid={sid}")).await
    }

    async fn with_query(hub_url: &str, query: &str) -> Result<Self, u16> {
        let address = hub_url.strip_prefix("http://").expect("an http address");
        let stream = TcpStream::connect(address).await.expect("the hub accepts");
        stream.set_nodelay(true).expect("a socket has this option");
        let request = format!("ws://{address}/socket.io/?EIO=4&transport=websocket{query}");
        match client_async(request, stream).await {
            Ok((stream, _)) => Ok(Self(stream)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => unreachable!("{error}"),
        }
    }

    /// Opens a websocket, and joins the room of a session.
    pub async fn join(hub_url: &str, session_id: &str) -> Self {
        let mut joined = Self::open(hub_url).await;
        let auth = json!({ "session_id": session_id });
        joined.send(&format!("40/graph,{auth}")).await;
        while joined.event().await.0 != "session:sync" {}
        joined
    }

    /// Sends a packet.
    pub async fn send(&mut self, packet: &str) {
        self.0.send(Message::text(packet)).await.expect("the hub reads");
    }

    /// Returns the next packet. Pings of Engine.IO are answered and left out.
    pub async fn packet(&mut self) -> String {
        loop {
            let message = self
                .0
                .next()
                .await
                .expect("the websocket stays open")
                .expect("no error");
            match message {
                Message::Text(packet) if packet.as_str() == "2" => self.send("3").await,
                Message::Text(packet) => return packet.to_string(),
                Message::Pong(_) => {}
                other => unreachable!("{other:?}"),
            }
        }
    }

    /// Returns name and payload of the next event.
    pub async fn event(&mut self) -> (String, Value) {
        loop {
            if let Some(event) = self.packet().await.strip_prefix("42/graph,") {
                return serde_json::from_str(event).expect("a name and a payload");
            }
        }
    }

    /// Waits for the next `command:executed`, and returns its `seq`.
    pub async fn executed(&mut self) -> u64 {
        loop {
            let (event, data) = self.event().await;
            if event == "command:executed" {
                return data["seq"].as_u64().expect("a seq");
            }
        }
    }

    /// Waits for the acknowledgement with this number, and returns its answer.
    pub async fn ack(&mut self, number: u64) -> Value {
        let prefix = format!("43/graph,{number}");
        loop {
            if let Some(answer) = self.packet().await.strip_prefix(&prefix) {
                let mut answer: Vec<Value> = serde_json::from_str(answer).expect("a list");
                return answer.remove(0);
            }
        }
    }

    /// Waits for an acknowledgement as [`Self::ack`] does, and returns `None` if the hub closes the websocket instead.
    pub async fn try_ack(&mut self, number: u64) -> Option<Value> {
        let prefix = format!("43/graph,{number}");
        while let Some(Ok(message)) = self.0.next().await {
            if let Message::Text(packet) = message
                && let Some(answer) = packet.strip_prefix(&prefix)
            {
                let mut answer: Vec<Value> = serde_json::from_str(answer).expect("a list");
                return Some(answer.remove(0));
            }
        }
        None
    }

    /// Skips all messages up to the close frame, and returns its code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        while let Some(message) = self.0.next().await {
            match message {
                Ok(Message::Close(Some(CloseFrame { code, reason }))) => return (code.into(), reason.to_string()),
                Ok(Message::Close(None)) => return (1005, String::new()),
                Ok(_) => {}
                Err(error) => return (1006, error.to_string()),
            }
        }
        (1006, String::new())
    }
}

/// Opens a websocket with a new session, and returns its connection, on which the test writes frames by hand. The
/// receive buffer is small.
pub async fn stream(hub_url: &str) -> TcpStream {
    let address = hub_url.strip_prefix("http://").expect("an http address");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(4_096)
        .expect("an unconnected socket has this option");
    let stream = socket.connect(address.parse().expect("an address")).await;
    let mut stream = stream.expect("the hub accepts");
    let request = format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("the hub reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the hub answers"));
    }
    let head = String::from_utf8(head).expect("a head");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(!head.contains("permessage-deflate"), "{head}");
    stream
}

/// Returns a frame with a mask of zeros.
pub fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first_byte, payload.len());
    frame.extend_from_slice(payload);
    frame
}

/// Returns the header of a frame with a mask of zeros.
pub fn header(first_byte: u8, length: usize) -> Vec<u8> {
    let mut header = vec![first_byte];
    match u16::try_from(length) {
        Ok(length @ 0..126) => header.push(0x80 | length.to_be_bytes()[1]),
        Ok(length) => {
            header.push(0x80 | 126);
            header.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            header.push(0x80 | 127);
            header.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    header.extend_from_slice(&[0; 4]);
    header
}
