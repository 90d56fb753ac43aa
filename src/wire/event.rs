//! Events on the wire: converts records of the log and transient notices to packets. Live sockets, resumed clients and
//! readers of `GET /events` get the same packets.

use std::{borrow::Cow, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;
use talus_actors::{
    domain::{
        command::{Author, CommandType},
        event::{Event, PropertyRef},
        ids::{CommandId, Epoch, NodeId, ProjectId, PropertyId, Seq, SessionId, Timestamp, TypeId},
        properties::Properties,
        record::{CommandRecord, Outcome},
        value::Value,
    },
    fan_out::{CommandNotice, Frame, Room, Verdict},
};

use super::{error::ApiError, graph::graph_json};

/// Names of all events; true: the event carries a `seq`. The documentation lists exactly these events.
pub const EVENTS: &[(&str, bool)] = &[
    ("graph:node-created", true),
    ("graph:node-deleted", true),
    ("graph:node-linked", true),
    ("graph:node-unlinked", true),
    ("graph:property-changed", true),
    ("graph:property-deleted", true),
    ("command:executing", false),
    ("command:executed", true),
    ("command:failed", false),
    ("command:undo", true),
    ("command:redo", true),
    ("session:connected", false),
    ("session:disconnected", false),
    ("project:saved", true),
    ("project:loaded", true),
    ("session:sync", false),
    ("session:events", false),
    ("session:tick", false),
    ("session:draining", false),
    ("presence:state", false),
    ("presence:diff", false),
];

/// Leading fields of every event of a room.
#[derive(Serialize)]
pub struct Envelope<'a> {
    session_id: SessionId,
    project_id: Option<&'a ProjectId>,
    #[serde(serialize_with = "display")]
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_id: Option<CommandId>,
    #[serde(rename = "origin", skip_serializing_if = "Option::is_none")]
    author: Option<&'a Author>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
}

impl<'a> Envelope<'a> {
    /// Creates the envelope of an event without a command and without a `seq`.
    #[must_use]
    pub const fn of_room(room: &'a Room, timestamp: Timestamp) -> Self {
        let project_id = room.project_id.as_ref();
        let session_id = room.session_id;
        Self {
            session_id,
            project_id,
            timestamp,
            command_id: None,
            author: None,
            epoch: None,
            seq: None,
        }
    }

    const fn of_command(room: &'a Room, timestamp: Timestamp, command_id: CommandId, author: &'a Author) -> Self {
        Self {
            command_id: Some(command_id),
            author: Some(author),
            ..Self::of_room(room, timestamp)
        }
    }

    const fn at(self, epoch: Epoch, seq: Seq) -> Self {
        Self {
            epoch: Some(epoch),
            seq: Some(seq),
            ..self
        }
    }
}

/// Serialises a value as its `Display` text.
pub(crate) fn display<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[derive(Serialize)]
struct Packet<'a, T> {
    #[serde(flatten)]
    envelope: Envelope<'a>,
    #[serde(flatten)]
    body: T,
}

/// Encodes an envelope and a body as a packet.
pub(crate) fn frame(event: &'static str, envelope: Envelope<'_>, body: impl Serialize) -> Frame {
    let seq = envelope.seq;
    Frame {
        event,
        data: raw(&Packet { envelope, body }),
        seq,
    }
}

/// Serialises a wire type. The types of this module always serialise: text keys, no failing implementations.
fn raw(value: &impl Serialize) -> Arc<RawValue> {
    serde_json::value::to_raw_value(value)
        .map(Into::into)
        .unwrap_or_else(|_| RawValue::NULL.to_owned().into())
}

#[derive(Serialize)]
struct Executing {
    command_type: CommandType,
}

#[derive(Serialize)]
struct Executed<'a> {
    command_type: CommandType,
    result: ResultBody<'a>,
    undo_available: bool,
    redo_available: bool,
}

/// Result of a command: the affected node, or the nodes that a batch created.
#[derive(Serialize)]
#[serde(untagged)]
enum ResultBody<'a> {
    Node { node_id: NodeId },
    Nodes { node_ids: &'a [NodeId] },
    Nothing {},
}

impl<'a> ResultBody<'a> {
    fn new(command_type: CommandType, outcome: &'a Outcome) -> Self {
        match (command_type, outcome.node_ids.as_slice()) {
            (CommandType::Batch, node_ids) => Self::Nodes { node_ids },
            (_, [node_id, ..]) => Self::Node { node_id: *node_id },
            (_, []) => Self::Nothing {},
        }
    }
}

#[derive(Serialize)]
struct Undone {
    undone_command_id: CommandId,
    command_type: CommandType,
    undo_available: bool,
    redo_available: bool,
}

#[derive(Serialize)]
struct Redone {
    redone_command_id: CommandId,
    command_type: CommandType,
    undo_available: bool,
    redo_available: bool,
}

#[derive(Serialize)]
struct Failed {
    command_type: CommandType,
    error: serde_json::Value,
}

#[derive(Serialize)]
struct NodeCreated<'a> {
    node_id: NodeId,
    name: &'a str,
    blueprint_type_id: &'a TypeId,
    parent_id: Option<NodeId>,
    index: usize,
    properties: &'a Properties,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Value>,
}

#[derive(Serialize)]
struct NodeDeleted {
    node_id: NodeId,
    parent_id: Option<NodeId>,
}

#[derive(Serialize)]
struct NodeLinked {
    parent_id: Option<NodeId>,
    child_id: NodeId,
    index: usize,
}

#[derive(Serialize)]
struct NodeUnlinked {
    parent_id: Option<NodeId>,
    child_id: NodeId,
}

#[derive(Serialize)]
struct Property<'a> {
    property_id: &'a PropertyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    property_key: Option<&'a str>,
}

impl<'a> Property<'a> {
    fn new(property: &'a PropertyRef) -> Self {
        Self {
            property_id: &property.id,
            property_key: property.key.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct PropertyChanged<'a> {
    node_id: NodeId,
    #[serde(flatten)]
    property: Property<'a>,
    old_value: Cow<'a, Value>,
    new_value: &'a Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    orphaned: bool,
}

#[derive(Serialize)]
struct PropertyDeleted<'a> {
    node_id: NodeId,
    #[serde(flatten)]
    property: Property<'a>,
    old_value: &'a Value,
}

#[derive(Serialize)]
struct ProjectSaved<'a> {
    path: &'a str,
}

#[derive(Serialize)]
struct ProjectLoaded {
    graph: Box<RawValue>,
}

/// Encodes a command as packets for a room: `command:executing`, the events, and the closing packet.
#[must_use]
pub fn encode_command(room: &Room, notice: &CommandNotice) -> Vec<Frame> {
    let CommandNotice {
        command_id,
        command_type,
        author,
        timestamp,
        verdict,
    } = notice;
    let envelope = || Envelope::of_command(room, *timestamp, *command_id, author);
    let mut frames = vec![frame(
        "command:executing",
        envelope(),
        Executing {
            command_type: *command_type,
        },
    )];
    match verdict {
        Verdict::Applied(recorded) => frames.extend(encode_record(room, recorded, Seq::ZERO)),
        Verdict::Unchanged(receipt) => {
            let body = executed(*command_type, &receipt.outcome);
            let sent = frame("command:executed", envelope().at(room.epoch, receipt.seq), body);
            // The packet carries the current `seq` without occupying a place in the sequence.
            frames.push(Frame { seq: None, ..sent });
        }
        Verdict::Refused(rejection) => {
            let error = ApiError::from(rejection).error();
            frames.push(frame(
                "command:failed",
                envelope(),
                Failed {
                    command_type: *command_type,
                    error,
                },
            ));
        }
    }
    frames
}

/// Encodes a record as packets after a `seq`: the events of the record, and the closing packet.
pub fn encode_record<'a>(room: &'a Room, recorded: &'a CommandRecord, after: Seq) -> impl Iterator<Item = Frame> + 'a {
    let envelope = move |seq| {
        let timestamp = recorded.timestamp;
        Envelope::of_command(room, timestamp, recorded.command_id, &recorded.author).at(room.epoch, Seq(seq))
    };
    let events = recorded.events.iter().zip(recorded.first_seq.0..);
    let events = events
        .filter(move |(_, seq)| *seq > after.0)
        .map(move |(event, seq)| event_frame(event, envelope(seq)));
    let closing = (recorded.seq() > after).then(|| closing_frame(recorded, envelope(recorded.seq().0)));
    events.chain(closing)
}

fn executed(command_type: CommandType, outcome: &Outcome) -> Executed<'_> {
    Executed {
        command_type,
        result: ResultBody::new(command_type, outcome),
        undo_available: outcome.undo_available,
        redo_available: outcome.redo_available,
    }
}

fn closing_frame(recorded: &CommandRecord, envelope: Envelope<'_>) -> Frame {
    let Outcome {
        undo_available,
        redo_available,
        ..
    } = recorded.outcome;
    match (recorded.command_type, recorded.target) {
        (CommandType::Undo, Some(target)) => {
            let (undone_command_id, command_type) = (target.command_id, target.command_type);
            frame(
                "command:undo",
                envelope,
                Undone {
                    undone_command_id,
                    command_type,
                    undo_available,
                    redo_available,
                },
            )
        }
        (CommandType::Redo, Some(target)) => {
            let (redone_command_id, command_type) = (target.command_id, target.command_type);
            frame(
                "command:redo",
                envelope,
                Redone {
                    redone_command_id,
                    command_type,
                    undo_available,
                    redo_available,
                },
            )
        }
        (command_type, _) => frame("command:executed", envelope, executed(command_type, &recorded.outcome)),
    }
}

fn event_frame(event: &Event, envelope: Envelope<'_>) -> Frame {
    match event {
        Event::NodeCreated {
            node_id,
            parent_id,
            index,
            content,
        } => {
            let body = NodeCreated {
                node_id: *node_id,
                name: &content.name,
                blueprint_type_id: &content.type_id,
                parent_id: *parent_id,
                index: *index,
                properties: &content.properties,
                metadata: content.metadata.as_deref(),
            };
            frame("graph:node-created", envelope, body)
        }
        Event::NodeDeleted { node_id, parent_id, .. } => frame(
            "graph:node-deleted",
            envelope,
            NodeDeleted {
                node_id: *node_id,
                parent_id: *parent_id,
            },
        ),
        Event::NodeLinked {
            parent_id,
            child_id,
            index,
            ..
        } => {
            let body = NodeLinked {
                parent_id: *parent_id,
                child_id: *child_id,
                index: *index,
            };
            frame("graph:node-linked", envelope, body)
        }
        Event::NodeUnlinked {
            parent_id, child_id, ..
        } => frame(
            "graph:node-unlinked",
            envelope,
            NodeUnlinked {
                parent_id: *parent_id,
                child_id: *child_id,
            },
        ),
        Event::PropertyChanged {
            node_id,
            property,
            before,
            after,
            orphaned,
        } => {
            let body = PropertyChanged {
                node_id: *node_id,
                property: Property::new(property),
                old_value: before.as_ref().map_or(Cow::Owned(Value::Null), Cow::Borrowed),
                new_value: after,
                orphaned: *orphaned,
            };
            frame("graph:property-changed", envelope, body)
        }
        Event::PropertyDeleted {
            node_id,
            property,
            before,
        } => {
            let body = PropertyDeleted {
                node_id: *node_id,
                property: Property::new(property),
                old_value: before,
            };
            frame("graph:property-deleted", envelope, body)
        }
        Event::ProjectSaved { file, .. } => frame("project:saved", envelope, ProjectSaved { path: file }),
        Event::ProjectLoaded { document, .. } => frame(
            "project:loaded",
            envelope,
            ProjectLoaded {
                graph: graph_json(&document.graph),
            },
        ),
    }
}

#[derive(Serialize)]
struct EventsPacket<'a> {
    session_id: SessionId,
    project_id: Option<&'a ProjectId>,
    epoch: Epoch,
    events: Vec<ListedEvent>,
}

/// Batches the packets of commands into one packet, with the encoded payloads unchanged. Its `seq` is the `seq` of the
/// last sequenced packet.
#[must_use]
pub fn encode_batch(room: &Room, frames: &[Frame]) -> Frame {
    let packet = EventsPacket {
        session_id: room.session_id,
        project_id: room.project_id.as_ref(),
        epoch: room.epoch,
        events: frames.iter().cloned().map(ListedEvent::from).collect(),
    };
    Frame {
        event: "session:events",
        data: raw(&packet),
        seq: frames.iter().rev().find_map(|frame| frame.seq),
    }
}

/// Event as an item of a list: name and payload.
#[derive(Debug, Serialize)]
pub struct ListedEvent {
    event: &'static str,
    data: Arc<RawValue>,
}

impl From<Frame> for ListedEvent {
    fn from(Frame { event, data, .. }: Frame) -> Self {
        Self { event, data }
    }
}
