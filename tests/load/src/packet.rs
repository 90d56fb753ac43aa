//! As much of Engine.IO v4 and Socket.IO v5 as a client needs that listens in one namespace.

use serde::Deserialize;
use serde_json::json;

use crate::options::Frames;

/// What the packet of an event begins with: its name and what it says follow as a list.
pub(crate) const EVENT: &str = "42/graph,";

/// Between the packets of a polled body.
const SEPARATOR: char = '\u{1e}';

/// What the packet of several events begins with.
const TOGETHER: &str = r#"["session:events","#;

/// The answer to a [`Packet::Ping`].
pub const PONG: &str = "3";

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The transport is open; its id.
    Open(String),
    /// It wants to know whether the client lives.
    Ping,
    /// It hangs up.
    Close,
    /// The namespace lets the client in.
    Connected,
    /// The namespace does not; why.
    Refused(String),
    /// An event of the namespace.
    Event(Event<'a>),
    /// Events that came as one packet, in their order.
    Events(Vec<Event<'a>>),
    /// Anything else, which is nothing to a listener.
    Other,
}

/// An event, as far as a listener looks at it.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its place, if it has one.
    pub seq: Option<u64>,
    /// The command that it tells of.
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
struct Together<'a> {
    #[serde(borrow)]
    events: Vec<Told<'a>>,
}

#[derive(Deserialize)]
struct Told<'a> {
    event: &'a str,
    #[serde(borrow)]
    data: Payload<'a>,
}

impl<'a> Event<'a> {
    fn new(name: &'a str, Payload { seq, command_id }: Payload<'a>) -> Self {
        Self { name, seq, command_id }
    }
}

/// The packet that asks to be let into a session.
#[must_use]
pub fn join(session_id: &str, frames: Frames) -> String {
    let auth = match frames {
        // A server need not know that there is another way.
        Frames::Single => json!({ "session_id": session_id }),
        Frames::Batched => json!({ "session_id": session_id, "frames": "batched" }),
    };
    format!("40/graph,{auth}")
}

/// The packet that asks to be let into a session again, with all that happened since a position.
#[must_use]
pub fn rejoin(session_id: &str, epoch: &str, seq: u64) -> String {
    format!(
        "40/graph,{}",
        json!({ "session_id": session_id, "epoch": epoch, "seq": seq })
    )
}

/// The packets of a message: one by websocket, any number by polling.
pub fn split(body: &str) -> impl Iterator<Item = &str> {
    body.split(SEPARATOR)
}

impl<'a> Packet<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// If it is of a known kind and not as that kind has to be.
    pub fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        if let Some(event) = text.strip_prefix(EVENT) {
            if event.starts_with(TOGETHER) {
                let (_, Together { events }): (&str, _) = serde_json::from_str(event)?;
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
