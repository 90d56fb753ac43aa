//! What a socket hears, as far as one looks at it that is away at times.

use serde::Deserialize;

use crate::packet::{self, Packet};

/// A packet.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    /// An event of the namespace.
    Event(&'a str, Told<'a>),
    /// Anything else.
    Packet(Packet<'a>),
}

/// What an event says.
#[derive(Debug, Deserialize)]
pub(super) struct Told<'a> {
    pub(super) session_id: Option<&'a str>,
    pub(super) epoch: Option<&'a str>,
    pub(super) seq: Option<u64>,
    pub(super) command_id: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    /// What a sync lists.
    #[serde(borrow)]
    events: Option<Vec<Listed<'a>>>,
}

#[derive(Debug, Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    data: Place<'a>,
}

/// The place of an event in the sequence of its session, and the command that it is of.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Place<'a> {
    pub(super) seq: u64,
    pub(super) command_id: Option<&'a str>,
}

impl<'a> Heard<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        let Some(event) = text.strip_prefix(packet::EVENT) else {
            return Packet::read(text).map(Self::Packet);
        };
        let (name, told) = serde_json::from_str(event)?;
        Ok(Self::Event(name, told))
    }
}

impl<'a> Told<'a> {
    /// The places that a sync lists.
    pub(super) fn listed(&self) -> impl Iterator<Item = Place<'a>> {
        self.events.iter().flatten().map(|listed| listed.data)
    }
}
