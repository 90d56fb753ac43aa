//! Actor tree as JSON.

use std::sync::Arc;

use serde::Serialize;
use talus_actors::{
    domain::ids::{ProjectId, SessionId, Timestamp},
    hub::Inspected,
    session_actor::Inspection,
    supervision::SupervisionEvent,
};

use crate::{storage::Losses, wire::event::display};

/// Actor tree: the root, the log and the sessions.
#[derive(Debug, Serialize)]
pub(super) struct Tree {
    pub(super) root: Root,
    pub(super) sessions: Vec<SessionNode>,
    pub(super) total: usize,
}

/// State of the hub.
#[derive(Debug, Serialize)]
pub(super) struct Root {
    pub(super) state: &'static str,
    pub(super) uptime_s: u64,
    pub(super) log: LogNode,
    pub(super) sessions_loaded: i64,
    pub(super) sessions_quarantined: i64,
    pub(super) sockets: i64,
}

/// State of the log's writer.
#[derive(Debug, Serialize)]
pub(super) struct LogNode {
    pub(super) storage: &'static str,
    pub(super) state: &'static str,
    #[serde(rename = "refuses", skip_serializing_if = "Option::is_none")]
    pub(super) refusal_reason: Option<Arc<str>>,
    pub(super) append_failures: u64,
    pub(super) losses: LossesNode,
}

/// Losses and damage that the start of the process found.
#[derive(Debug, Serialize)]
pub(super) struct LossesNode {
    sessions: usize,
    events: u64,
    damaged: usize,
}

impl From<Losses> for LossesNode {
    fn from(losses: Losses) -> Self {
        let Losses {
            sessions,
            events,
            damaged,
        } = losses;
        Self {
            sessions,
            events,
            damaged,
        }
    }
}

/// State of a session and its two actors.
#[derive(Debug, Serialize)]
pub(super) struct SessionNode {
    session_id: SessionId,
    project_id: Option<ProjectId>,
    state: &'static str,
    uptime_s: Option<u64>,
    restarts: u64,
    last_failure: Option<FailureNode>,
    in_flight: usize,
    session_actor: Option<u64>,
    broadcast_actor: Option<u64>,
    #[serde(flatten)]
    inside: Option<Inspection>,
}

#[derive(Debug, Serialize)]
struct FailureNode {
    #[serde(serialize_with = "display")]
    at: Timestamp,
    reason: Arc<str>,
}

impl SessionNode {
    pub(super) fn new(Inspected { branch, inside }: Inspected, now: Timestamp) -> Self {
        let uptime_s = |started: Timestamp| u64::try_from((now.0 - started.0) / 1_000).unwrap_or_default();
        Self {
            session_id: branch.session_id,
            project_id: branch.project_id,
            state: branch.state.as_str(),
            uptime_s: branch.started_at.map(uptime_s),
            restarts: branch.restarts,
            last_failure: branch.last_failure.map(|(at, reason)| FailureNode { at, reason }),
            in_flight: branch.in_flight,
            session_actor: branch.session_actor,
            broadcast_actor: branch.broadcast_actor,
            inside,
        }
    }
}

/// Supervision event of the actor tree.
#[derive(Debug, Serialize)]
pub(super) struct EventBody<'a> {
    session_id: SessionId,
    #[serde(serialize_with = "display")]
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Time from the failure to the recovery, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_ms: Option<f64>,
}

impl<'a> From<&'a SupervisionEvent> for EventBody<'a> {
    fn from(event: &'a SupervisionEvent) -> Self {
        Self {
            session_id: event.session_id,
            timestamp: event.at,
            reason: event.kind.reason().map(|reason| &**reason),
            recovery_ms: event.kind.recovery().map(|time| time.as_secs_f64() * 1_000.0),
        }
    }
}
