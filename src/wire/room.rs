//! Packets of a room: presence, syncs, and the position of the session.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use talus_actors::{
    domain::{
        graph::Graph,
        ids::{ClientId, Epoch, Seq, Timestamp},
        session::SessionHeader,
        state_hash::StateHash,
    },
    fan_out::{
        CommandNotice, Encoder, Frame, MemberInfo, PresenceDiff, PresenceEntry, PresenceState, Room, Sync, SyncBody,
        SyncContent, SyncReason,
    },
};

use super::{
    event::{Envelope, ListedEvent, encode_batch, encode_command, encode_record, frame},
    graph::graph_json,
};

/// Encoder of a room's packets.
#[derive(Debug, Clone)]
pub struct WireEncoder {
    /// Minimum and maximum delay of a reconnect, in milliseconds.
    pub reconnect_ms: (u64, u64),
    /// Limits that clients check before they send.
    pub limits: ClientLimits,
}

/// Limits of the configuration that a client has to know, in order to check a message before it is sent.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ClientLimits {
    /// `realtime.message_bytes_max`: a longer message closes the connection.
    pub message_bytes_max: usize,
    /// `server.body_bytes_max`: maximum size of a REST request body.
    pub body_bytes_max: usize,
    /// `realtime.presence_state_bytes_max`: maximum size of the state in a `presence:update`.
    pub presence_state_bytes_max: usize,
    /// `limits.batch_commands_max`: maximum number of commands in one batch.
    pub batch_commands_max: usize,
}

impl ClientLimits {
    /// Default limits, as in `config/default.toml`.
    pub const DEFAULT: Self = Self {
        message_bytes_max: 1_048_576,
        body_bytes_max: 1_048_576,
        presence_state_bytes_max: 4_096,
        batch_commands_max: 1_000,
    };
}

#[derive(Serialize)]
struct SyncPacket<'a> {
    epoch: Epoch,
    seq: Seq,
    state_hash: StateHash,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    graph: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<&'a RawValue>,
    client_id: &'a ClientId,
    client_count: usize,
    undo_available: bool,
    redo_available: bool,
    reconnect: Reconnect,
    limits: ClientLimits,
}

#[derive(Serialize)]
struct Reconnect {
    min_ms: u64,
    max_ms: u64,
}

#[derive(Serialize)]
struct Connected<'a> {
    client_id: &'a ClientId,
    client_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

#[derive(Serialize)]
struct Disconnected<'a> {
    client_id: &'a ClientId,
    client_count: usize,
    reason: &'a str,
}

/// Connected client with its presence state.
#[derive(Debug, Serialize)]
pub struct PresentClient {
    client_id: ClientId,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Arc<str>>,
    state: Option<PresenceState>,
}

impl From<&PresenceEntry> for PresentClient {
    fn from(entry: &PresenceEntry) -> Self {
        Self {
            client_id: entry.info.client_id.clone(),
            user: entry.info.user.clone(),
            state: entry.state.clone(),
        }
    }
}

/// Converts a list of presence entries.
#[must_use]
pub fn present_clients(entries: &[PresenceEntry]) -> Vec<PresentClient> {
    entries.iter().map(PresentClient::from).collect()
}

#[derive(Serialize)]
struct PresenceStateBody {
    clients: Vec<PresentClient>,
    total: usize,
}

#[derive(Serialize)]
struct PresenceDiffBody<'a> {
    joins: Vec<PresentClient>,
    updates: Vec<PresentClient>,
    leaves: &'a [ClientId],
}

#[derive(Serialize)]
struct Tick {
    epoch: Epoch,
    seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_hash: Option<StateHash>,
}

/// Fields of a stream's `session:sync`, beside the graph, for a reader whose position cannot be resumed.
#[derive(Serialize)]
pub struct StreamSync<'a> {
    #[serde(flatten)]
    envelope: Envelope<'a>,
    epoch: Epoch,
    seq: Seq,
    state_hash: StateHash,
    reason: &'static str,
}

#[derive(Serialize)]
struct Draining {
    reconnect_in_ms: u64,
}

/// Returns the room of a session.
#[must_use]
pub fn room_of(header: &SessionHeader) -> Room {
    Room {
        session_id: header.session_id,
        project_id: header.project.as_ref().map(|project| project.project_id.clone()),
        epoch: header.epoch,
    }
}

impl<'a> StreamSync<'a> {
    /// Builds the fields: the reason for the snapshot, and its position.
    #[must_use]
    pub fn new(room: &'a Room, seq: Seq, reason: SyncReason, graph: &Graph, now: Timestamp) -> Self {
        Self {
            envelope: Envelope::of_room(room, now),
            epoch: room.epoch,
            seq,
            state_hash: graph.state_hash(),
            reason: reason.as_str(),
        }
    }
}

impl Encoder for WireEncoder {
    fn command(&self, room: &Room, notice: &CommandNotice) -> Vec<Frame> {
        encode_command(room, notice)
    }

    fn batch_frame(&self, room: &Room, frames: &[Frame]) -> Frame {
        encode_batch(room, frames)
    }

    fn sync_body(&self, room: &Room, sync: &Sync) -> SyncBody {
        SyncBody(match &sync.content {
            SyncContent::Snapshot(document) => graph_json(&document.graph).into(),
            SyncContent::Events { after, records } => {
                let frames = records.iter().flat_map(|record| encode_record(room, record, *after));
                let events: Vec<ListedEvent> = frames.map(ListedEvent::from).collect();
                let events = serde_json::value::to_raw_value(&events);
                events.map_or_else(|_| RawValue::NULL.to_owned().into(), Arc::from)
            }
        })
    }

    fn sync(&self, room: &Room, sync: &Sync, body: &SyncBody, member: &MemberInfo, members: usize) -> Frame {
        let (graph, events) = match &sync.content {
            SyncContent::Snapshot(_) => (Some(&*body.0), None),
            SyncContent::Events { .. } => (None, Some(&*body.0)),
        };
        let (min_ms, max_ms) = self.reconnect_ms;
        let packet = SyncPacket {
            epoch: room.epoch,
            seq: sync.seq,
            state_hash: sync.state_hash,
            reason: sync.reason.as_str(),
            graph,
            events,
            client_id: &member.client_id,
            client_count: members,
            undo_available: sync.undo_available,
            redo_available: sync.redo_available,
            reconnect: Reconnect { min_ms, max_ms },
            limits: self.limits,
        };
        frame("session:sync", Envelope::of_room(room, sync.timestamp), packet)
    }

    fn connected(&self, room: &Room, member: &MemberInfo, members: usize, now: Timestamp) -> Frame {
        let body = Connected {
            client_id: &member.client_id,
            client_count: members,
            user: member.user.as_deref(),
        };
        frame("session:connected", Envelope::of_room(room, now), body)
    }

    fn disconnected(&self, room: &Room, member: &MemberInfo, members: usize, reason: &str, now: Timestamp) -> Frame {
        let body = Disconnected {
            client_id: &member.client_id,
            client_count: members,
            reason,
        };
        frame("session:disconnected", Envelope::of_room(room, now), body)
    }

    fn presence_state(&self, room: &Room, entries: &[PresenceEntry], total: usize, now: Timestamp) -> Frame {
        let body = PresenceStateBody {
            clients: present_clients(entries),
            total,
        };
        frame("presence:state", Envelope::of_room(room, now), body)
    }

    fn presence_diff(&self, room: &Room, diff: &PresenceDiff, now: Timestamp) -> Frame {
        let body = PresenceDiffBody {
            joins: present_clients(&diff.joins),
            updates: present_clients(&diff.updates),
            leaves: &diff.leaves,
        };
        frame("presence:diff", Envelope::of_room(room, now), body)
    }

    fn tick(&self, room: &Room, seq: Seq, state_hash: Option<StateHash>, now: Timestamp) -> Frame {
        let epoch = room.epoch;
        let body = Tick { epoch, seq, state_hash };
        frame("session:tick", Envelope::of_room(room, now), body)
    }

    fn draining(&self, room: &Room, reconnect_in_ms: u64, now: Timestamp) -> Frame {
        frame(
            "session:draining",
            Envelope::of_room(room, now),
            Draining { reconnect_in_ms },
        )
    }
}
