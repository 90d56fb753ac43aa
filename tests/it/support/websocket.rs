//! Websocket in a room, read by the test or deliberately left unread.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// Prefix of an event packet of the namespace.
const EVENT: &str = "42/graph,";

/// Client connection of a test; see the [module](self).
pub struct WebSocket(WebSocketStream<TcpStream>);

impl WebSocket {
    /// Connects and joins the room of a session. `receive_buffer_bytes` limits how much unread data the system buffers.
    pub async fn join(url: &str, session_id: &str, receive_buffer_bytes: Option<u32>) -> Self {
        Self::join_as(url, &json!({ "session_id": session_id }), receive_buffer_bytes).await
    }

    /// Connects and joins with an auth payload.
    pub async fn join_as(url: &str, auth: &Value, receive_buffer_bytes: Option<u32>) -> Self {
        let mut joined = Self::open(url, receive_buffer_bytes).await;
        joined.send(format!("40/graph,{auth}")).await;
        while joined.event().await.0 != "session:sync" {}
        joined
    }

    /// Connects without joining.
    pub async fn open(url: &str, receive_buffer_bytes: Option<u32>) -> Self {
        let address = url.strip_prefix("http://").expect("an http address");
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = receive_buffer_bytes {
            socket
                .set_recv_buffer_size(bytes)
                .expect("an unconnected socket takes the option");
        }
        let stream = socket.connect(address.parse().expect("an address")).await;
        let request = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (stream, _) = client_async(request, stream.expect("the hub accepts"))
            .await
            .expect("a websocket");
        Self(stream)
    }

    /// Sends a text packet unchanged.
    pub async fn send(&mut self, packet: String) {
        self.0.send(Message::text(packet)).await.expect("the hub reads");
    }

    /// Sends a packet on a connection that may have ended.
    pub async fn try_send(&mut self, packet: String) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        self.0.send(Message::text(packet)).await
    }

    /// Sends an attachment of the preceding packet.
    pub async fn send_binary(&mut self, bytes: Vec<u8>) {
        self.0.send(Message::binary(bytes)).await.expect("the hub reads");
    }

    /// Returns the next packet of any kind; `None` if the connection has ended.
    pub async fn packet(&mut self) -> Option<String> {
        let message = self.0.next().await?.ok()?;
        message.into_text().ok().map(|text| text.to_string())
    }

    /// Returns the acknowledgement of the packet with a number, and skips other packets.
    pub async fn answer(&mut self, number: u64) -> Value {
        let begin = format!("43/graph,{number}[");
        loop {
            let packet = self.packet().await.expect("the connection stays");
            if packet == "2" {
                self.send("3".to_owned()).await;
            }
            if packet.starts_with(&begin) {
                let answers: Vec<Value> = serde_json::from_str(&packet[begin.len() - 1..]).expect("a list");
                return answers.into_iter().next().expect("an answer");
            }
        }
    }

    /// Sends a close frame and drops the connection without waiting for the hub's close frame.
    pub async fn close(mut self) {
        let _ = self.0.send(Message::Close(None)).await;
    }

    /// Returns name and payload of the next event.
    pub async fn event(&mut self) -> (String, Value) {
        loop {
            let message = self
                .0
                .next()
                .await
                .expect("the connection stays")
                .expect("a valid frame");
            let packet = message.to_text().expect("text");
            if let Some(event) = packet.strip_prefix(EVENT) {
                return serde_json::from_str(event).expect("a name and a payload");
            }
            if packet == "2" {
                self.send("3".to_owned()).await;
            }
        }
    }

    /// Reads until the hub closes the connection.
    pub async fn until_closed(mut self) {
        while let Some(Ok(_)) = self.0.next().await {}
    }
}
