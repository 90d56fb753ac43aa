//! Connections to the Socket.IO endpoint of a server: a websocket, or long polling.

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, Utf8Bytes, protocol::WebSocketConfig},
};

use crate::{
    options::Transport,
    packet::{self, Packet},
};

/// Path of the Socket.IO endpoint, with the version of Engine.IO.
const PATH: &str = "/socket.io/?EIO=4&transport=";

/// Open connection.
pub(crate) enum Connection {
    /// Connection over [`Transport::Websocket`].
    Websocket(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
    /// Connection over [`Transport::Polling`].
    Polling {
        /// HTTP client with its own pool of connections.
        http: reqwest::Client,
        /// URL of this connection.
        url: String,
    },
}

impl Connection {
    /// Opens a connection, and consumes the server's open packet.
    pub(crate) async fn open(http: &reqwest::Client, url: &str, transport: Transport) -> anyhow::Result<Self> {
        match transport {
            Transport::Websocket => {
                // A large graph is a single message.
                let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
                Self::websocket(url, config).await
            }
            Transport::Polling => {
                let url = format!("{url}{PATH}polling");
                let body = http.get(&url).send().await?.error_for_status()?.text().await?;
                let url = format!("{url}&sid={}", opened(&body)?);
                Ok(Self::Polling {
                    http: http.clone(),
                    url,
                })
            }
        }
    }

    /// Opens a websocket, and consumes the server's open packet.
    pub(crate) async fn websocket(url: &str, config: WebSocketConfig) -> anyhow::Result<Self> {
        let url = format!("{}{PATH}websocket", url.replacen("http", "ws", 1));
        // `true` disables Nagle's algorithm, so that small packets do not wait for acknowledgements.
        let (stream, _) = connect_async_with_config(url, Some(config), true).await?;
        let mut connection = Self::Websocket(Box::new(stream));
        opened(&connection.receive().await?)?;
        Ok(connection)
    }

    /// Waits for the next message, which may hold several packets.
    pub(crate) async fn receive(&mut self) -> anyhow::Result<Utf8Bytes> {
        match self {
            Self::Websocket(stream) => loop {
                match stream.next().await.context("the server closed the websocket")?? {
                    Message::Text(text) => return Ok(text),
                    Message::Close(_) => bail!("the server closed the websocket"),
                    Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                }
            },
            Self::Polling { http, url } => {
                let answer = http.get(url.as_str()).send().await?.error_for_status()?;
                Ok(answer.text().await?.into())
            }
        }
    }

    /// Sends a packet.
    pub(crate) async fn send(&mut self, packet: &str) -> anyhow::Result<()> {
        match self {
            Self::Websocket(stream) => stream.send(Message::text(packet)).await?,
            Self::Polling { http, url } => {
                let request = http
                    .post(url.as_str())
                    .header("content-type", "text/plain;charset=UTF-8");
                request.body(packet.to_owned()).send().await?.error_for_status()?;
            }
        }
        Ok(())
    }
}

/// Returns the transport session id in the server's open packet.
fn opened(body: &str) -> anyhow::Result<String> {
    let mut packets = packet::split(body);
    let first = packets.next().unwrap_or_default();
    ensure!(
        packets.next().is_none(),
        "the server sends more than an open packet: {body}"
    );
    match Packet::read(first)? {
        Packet::Open(sid) => Ok(sid),
        other => bail!("the server begins with {other:?}"),
    }
}
