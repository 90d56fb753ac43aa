//! Subset of Engine.IO v4 and Socket.IO v5 for a client that listens in one namespace.

use serde::Deserialize;
use serde_json::json;

use crate::options::Frames;

/// Prefix of an event packet. A JSON list of the name and the payload follows.
pub(crate) const EVENT: &str = "42/graph,";

/// Separator of the packets of a polled body.
const SEPARATOR: char = '\u{1e}';

/// Prefix of a batched packet, after [`EVENT`].
const BATCH_PREFIX: &str = r#"["session:events","#;

/// Answer to a [`Packet::Ping`].
pub const PONG: &str = "3";

/// Packet of the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The transport is open. Carries the session id of the transport.
    Open(String),
    /// Heartbeat; the client has to answer.
    Ping,
    /// The server closes the transport.
    Close,
    /// The namespace accepts the client.
    Connected,
    /// The namespace refuses the client. Carries the message.
    Refused(String),
    /// An event of the namespace.
    Event(Event<'a>),
    /// Events of one batched packet, in order.
    Events(Vec<Event<'a>>),
    /// Another packet, which a listener ignores.
    Other,
}

/// Event, reduced to the fields that a listener uses.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Name of the event.
    pub name: &'a str,
    /// Sequence number. `None`: the event is not sequenced.
    pub seq: Option<u64>,
    /// Command that caused the event.
    pub command_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct Handshake {
    sid: String,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

#[derive(Deserialize)]
struct Payload<'a> {
    seq: Option<u64>,
    #[serde(borrow)]
    command_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct BatchPayload<'a> {
    #[serde(borrow)]
    events: Vec<BatchedEvent<'a>>,
}

#[derive(Deserialize)]
struct BatchedEvent<'a> {
    event: &'a str,
    #[serde(borrow)]
    data: Payload<'a>,
}

impl<'a> Event<'a> {
    fn new(name: &'a str, Payload { seq, command_id }: Payload<'a>) -> Self {
        Self { name, seq, command_id }
    }
}

/// Encodes the packet that joins a session.
#[must_use]
pub fn join(session_id: &str, frames: Frames) -> String {
    let auth = match frames {
        // A server without batched delivery does not know the field.
        Frames::Single => json!({ "session_id": session_id }),
        Frames::Batched => json!({ "session_id": session_id, "frames": "batched" }),
    };
    format!("40/graph,{auth}")
}

/// Encodes the packet that rejoins a session from a position.
#[must_use]
pub fn rejoin(session_id: &str, epoch: &str, seq: u64) -> String {
    format!(
        "40/graph,{}",
        json!({ "session_id": session_id, "epoch": epoch, "seq": seq })
    )
}

/// Splits a message into packets: one over a websocket, any number over polling.
pub fn split(body: &str) -> impl Iterator<Item = &str> {
    body.split(SEPARATOR)
}

impl<'a> Packet<'a> {
    /// Parses a packet.
    ///
    /// # Errors
    /// Returns an error if a packet of a known type is malformed.
    pub fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        if let Some(event) = text.strip_prefix(EVENT) {
            if event.starts_with(BATCH_PREFIX) {
                let (_, BatchPayload { events }): (&str, _) = serde_json::from_str(event)?;
                let events = events.into_iter().map(|told| Event::new(told.event, told.data));
                return Ok(Self::Events(events.collect()));
            }
            let (name, payload) = serde_json::from_str(event)?;
            return Ok(Self::Event(Event::new(name, payload)));
        }
        if let Some(refusal) = text.strip_prefix("44/graph,") {
            return Ok(Self::Refused(serde_json::from_str::<Refusal>(refusal)?.message));
        }
        Ok(match text.as_bytes().first() {
            Some(b'0') => Self::Open(serde_json::from_str::<Handshake>(&text[1..])?.sid),
            Some(b'1') => Self::Close,
            Some(b'2') => Self::Ping,
            _ if text.starts_with("40/graph,") => Self::Connected,
            _ => Self::Other,
        })
    }
}
