//! Packets of the server with the fields that a reconnecting client uses.

use serde::Deserialize;

use crate::packet::{self, Packet};

/// Packet of the server.
#[derive(Debug)]
pub(super) enum SocketMessage<'a> {
    /// An event of the namespace, with its name.
    Event(&'a str, Payload<'a>),
    /// Another packet.
    Packet(Packet<'a>),
}

/// Payload of an event.
#[derive(Debug, Deserialize)]
pub(super) struct Payload<'a> {
    pub(super) session_id: Option<&'a str>,
    pub(super) epoch: Option<&'a str>,
    pub(super) seq: Option<u64>,
    pub(super) command_id: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    /// Events listed by a sync.
    #[serde(borrow)]
    events: Option<Vec<Listed<'a>>>,
}

#[derive(Debug, Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    data: EventPosition<'a>,
}

/// Position of an event in the sequence of its session, and the command that caused the event.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct EventPosition<'a> {
    pub(super) seq: u64,
    pub(super) command_id: Option<&'a str>,
}

impl<'a> SocketMessage<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        let Some(event) = text.strip_prefix(packet::EVENT) else {
            return Packet::read(text).map(Self::Packet);
        };
        let (name, payload) = serde_json::from_str(event)?;
        Ok(Self::Event(name, payload))
    }
}

impl<'a> Payload<'a> {
    /// Returns the positions of the events that a sync lists.
    pub(super) fn listed(&self) -> impl Iterator<Item = EventPosition<'a>> {
        self.events.iter().flatten().map(|listed| listed.data)
    }
}
