//! A websocket in a room that a test reads itself, or does not.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// What a packet of an event of the namespace begins with.
const EVENT: &str = "42/graph,";

/// See the [module](self).
pub struct WebSocket(WebSocketStream<TcpStream>);

impl WebSocket {
    /// Connects and joins a session's room. The system keeps little of what comes and is not read, if so wished.
    pub async fn join(url: &str, session_id: &str, receive_buffer_bytes: Option<u32>) -> Self {
        Self::join_as(url, &json!({ "session_id": session_id }), receive_buffer_bytes).await
    }

    /// The same with an auth payload.
    pub async fn join_as(url: &str, auth: &Value, receive_buffer_bytes: Option<u32>) -> Self {
        let mut joined = Self::open(url, receive_buffer_bytes).await;
        joined.send(format!("40/graph,{auth}")).await;
        while joined.event().await.0 != "session:sync" {}
        joined
    }

    /// Connects, and asks for nothing.
    pub async fn open(url: &str, receive_buffer_bytes: Option<u32>) -> Self {
        let address = url.strip_prefix("http://").expect("an http address");
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = receive_buffer_bytes {
            socket
                .set_recv_buffer_size(bytes)
                .expect("before it connects, it has this option");
        }
        let stream = socket.connect(address.parse().expect("an address")).await;
        let request = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (stream, _) = client_async(request, stream.expect("the hub accepts"))
            .await
            .expect("a websocket");
        Self(stream)
    }

    /// Sends a packet as it stands.
    pub async fn send(&mut self, packet: String) {
        self.0.send(Message::text(packet)).await.expect("the hub reads");
    }

    /// The same on a connection that may have ended.
    pub async fn try_send(&mut self, packet: String) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        self.0.send(Message::text(packet)).await
    }

    /// Sends an attachment of the packet before it.
    pub async fn send_binary(&mut self, bytes: Vec<u8>) {
        self.0.send(Message::binary(bytes)).await.expect("the hub reads");
    }

    /// The next packet, whatever it is; nothing if the connection has ended.
    pub async fn packet(&mut self) -> Option<String> {
        let message = self.0.next().await?.ok()?;
        message.into_text().ok().map(|text| text.to_string())
    }

    /// The next answer to something that was sent with this number.
    pub async fn answer(&mut self, number: u64) -> Value {
        let begin = format!("43/graph,{number}[");
        loop {
            let packet = self.packet().await.expect("it stays");
            if packet == "2" {
                self.send("3".to_owned()).await;
            }
            if packet.starts_with(&begin) {
                let answers: Vec<Value> = serde_json::from_str(&packet[begin.len() - 1..]).expect("a list");
                return answers.into_iter().next().expect("an answer");
            }
        }
    }

    /// Says that it closes, and goes without waiting for what comes of that.
    pub async fn close(mut self) {
        let _ = self.0.send(Message::Close(None)).await;
    }

    /// The next event: its name and its payload.
    pub async fn event(&mut self) -> (String, Value) {
        loop {
            let message = self.0.next().await.expect("it stays").expect("it works");
            let packet = message.to_text().expect("text");
            if let Some(event) = packet.strip_prefix(EVENT) {
                return serde_json::from_str(event).expect("a name and a payload");
            }
            if packet == "2" {
                self.send("3".to_owned()).await;
            }
        }
    }

    /// Reads what is left until the hub's end of it.
    pub async fn until_closed(mut self) {
        while let Some(Ok(_)) = self.0.next().await {}
    }
}
