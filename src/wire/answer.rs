//! Answers of the REST API.

use ecow::EcoString;
use serde::Serialize;
use talus_actors::{
    domain::{
        command::{Author, CommandType},
        graph::Graph,
        ids::{CommandId, Epoch, NodeId, ProjectId, Seq, SessionId, TemplateId, Timestamp},
        record::{CommandRecord, Receipt},
        state_hash::StateHash,
    },
    fan_out::PresenceList,
    session_actor::SessionView,
    session_supervisor::Summary,
};

use super::{
    event::display,
    room::{PresentClient, present_clients},
};

/// Answer to an accepted command.
#[derive(Debug, Serialize)]
pub struct CommandAnswer {
    success: bool,
    command_id: CommandId,
    epoch: Epoch,
    seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seq: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_ids: Option<Vec<NodeId>>,
    undo_available: bool,
    redo_available: bool,
    is_dirty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_hash: Option<StateHash>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl CommandAnswer {
    /// Builds the answer from the receipt of a command.
    #[must_use]
    pub fn new(epoch: Epoch, receipt: &Receipt) -> Self {
        let outcome = &receipt.outcome;
        let batch = receipt.command_type == CommandType::Batch;
        Self {
            success: true,
            command_id: receipt.command_id,
            epoch,
            seq: receipt.seq,
            first_seq: receipt.first_seq,
            node_id: outcome.node_ids.first().copied().filter(|_| !batch),
            node_ids: batch.then(|| outcome.node_ids.clone()),
            undo_available: outcome.undo_available,
            redo_available: outcome.redo_available,
            is_dirty: outcome.is_dirty,
            state_hash: outcome.state_hash,
            duplicate: receipt.duplicate,
        }
    }
}

/// Session as an item of a list.
#[derive(Debug, Serialize)]
pub struct SessionAnswer {
    session_id: SessionId,
    project_id: Option<ProjectId>,
    project_name: Option<EcoString>,
    #[serde(serialize_with = "display")]
    created_at: Timestamp,
    #[serde(serialize_with = "display")]
    last_activity: Timestamp,
    active_clients: usize,
    has_project: bool,
    node_count: usize,
    seq: Seq,
}

impl From<&Summary> for SessionAnswer {
    fn from(summary: &Summary) -> Self {
        let project = summary.header.project.as_ref();
        Self {
            session_id: summary.header.session_id,
            project_id: project.map(|project| project.project_id.clone()),
            project_name: project.map(|project| project.project_name.clone()),
            created_at: summary.header.created_at,
            last_activity: summary.last_activity,
            active_clients: summary.active_clients,
            has_project: project.is_some(),
            node_count: summary.node_count,
            seq: summary.seq,
        }
    }
}

/// Session with its details.
#[derive(Debug, Serialize)]
pub struct SessionInfoAnswer {
    #[serde(flatten)]
    session: SessionAnswer,
    epoch: Epoch,
    undo_available: bool,
    redo_available: bool,
    is_dirty: bool,
    template_id: Option<TemplateId>,
    /// True if the session's template is missing. The session then allows all types and properties.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    template_missing: bool,
    clients: Vec<PresentClient>,
}

impl SessionInfoAnswer {
    /// Builds the answer from the state of the session and the presence of its clients.
    #[must_use]
    pub fn new(snapshot: &SessionView, here: &PresenceList) -> Self {
        let project = snapshot.header.project.as_ref();
        let template_id = snapshot.template_id().cloned();
        let session = SessionAnswer {
            session_id: snapshot.header.session_id,
            project_id: project.map(|project| project.project_id.clone()),
            project_name: project.map(|project| project.project_name.clone()),
            created_at: snapshot.header.created_at,
            last_activity: snapshot.last_activity,
            active_clients: snapshot.active_clients,
            has_project: project.is_some(),
            node_count: snapshot.document.graph.len(),
            seq: snapshot.seq,
        };
        Self {
            session,
            epoch: snapshot.header.epoch,
            undo_available: snapshot.undo_available,
            redo_available: snapshot.redo_available,
            is_dirty: snapshot.is_dirty,
            template_missing: template_id.is_some() && snapshot.blueprint.is_none(),
            template_id,
            clients: present_clients(&here.clients),
        }
    }
}

/// Fields of the answer to a read of a graph, without the graph.
#[derive(Debug, Serialize)]
pub struct GraphAnswer {
    session_id: SessionId,
    epoch: Epoch,
    seq: Seq,
    state_hash: StateHash,
}

impl GraphAnswer {
    /// Builds the fields, to be written before the graph.
    #[must_use]
    pub fn new(session_id: SessionId, epoch: Epoch, seq: Seq, graph: &Graph) -> Self {
        Self {
            session_id,
            epoch,
            seq,
            state_hash: graph.state_hash(),
        }
    }
}

/// Command as an item of the history.
#[derive(Debug, Serialize)]
pub struct HistoryEntry {
    command_id: CommandId,
    command_type: CommandType,
    #[serde(rename = "origin")]
    author: Author,
    #[serde(serialize_with = "display")]
    timestamp: Timestamp,
    first_seq: Seq,
    seq: Seq,
    undone: bool,
}

impl HistoryEntry {
    /// Builds an entry from a record. `undone` is the record's current state.
    #[must_use]
    pub fn new(recorded: &CommandRecord, undone: bool) -> Self {
        Self {
            command_id: recorded.command_id,
            command_type: recorded.command_type,
            author: recorded.author.clone(),
            timestamp: recorded.timestamp,
            first_seq: recorded.first_seq,
            seq: recorded.seq(),
            undone,
        }
    }
}
