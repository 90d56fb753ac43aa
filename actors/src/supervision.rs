//! What the supervisor tells operators: the tree of actors as it is, and what happens in it.

use std::{sync::Arc, time::Duration};

use crate::domain::{
    ids::{ProjectId, SessionId, Timestamp},
    session::Genesis,
};

/// Something that happened to a session's actors.
#[derive(Debug, Clone, PartialEq)]
pub struct SupervisionEvent {
    /// When.
    pub at: Timestamp,
    /// To which session.
    pub session_id: SessionId,
    /// What.
    pub kind: EventKind,
}

/// What can happen to a session's actors.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// It was read from the log and serves.
    Started,
    /// Its actor failed.
    Failed(Arc<str>),
    /// It serves again, so long after it failed.
    Restarted(Duration),
    /// It is left alone until an operator releases it.
    Quarantined(Arc<str>),
    /// An operator let it serve again.
    Released,
    /// Nobody used it, and it left memory.
    Passivated,
    /// It ended for good.
    Deleted,
    /// Its room's actor failed and was replaced.
    RoomRestarted(Arc<str>),
}

impl EventKind {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Failed(_) => "failed",
            Self::Restarted(_) => "restarted",
            Self::Quarantined(_) => "quarantined",
            Self::Released => "released",
            Self::Passivated => "passivated",
            Self::Deleted => "deleted",
            Self::RoomRestarted(_) => "room_restarted",
        }
    }

    /// How long nobody was served, if it serves again.
    #[must_use]
    pub const fn recovery(&self) -> Option<Duration> {
        match self {
            Self::Restarted(time) => Some(*time),
            Self::Started
            | Self::Failed(_)
            | Self::Quarantined(_)
            | Self::Released
            | Self::Passivated
            | Self::Deleted
            | Self::RoomRestarted(_) => None,
        }
    }

    /// The text of the failure, if it is one.
    #[must_use]
    pub const fn reason(&self) -> Option<&Arc<str>> {
        match self {
            Self::Failed(text) | Self::Quarantined(text) | Self::RoomRestarted(text) => Some(text),
            Self::Started | Self::Restarted(_) | Self::Released | Self::Passivated | Self::Deleted => None,
        }
    }
}

/// Events that are kept for a listener who is slow. One who misses some is told how many.
pub const EVENTS_KEPT_MAX: usize = 1_024;

/// A session in the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// Which session.
    pub session_id: SessionId,
    /// Its project, if it has one.
    pub project_id: Option<ProjectId>,
    /// What it is doing.
    pub state: BranchState,
    /// When its actor started; `None`: it has none.
    pub started_at: Option<Timestamp>,
    /// How often it was started again after a failure, since the hub started.
    pub restarts: u64,
    /// What failed last, and when.
    pub last_failure: Option<(Timestamp, Arc<str>)>,
    /// The session's actor has this number in the runtime.
    pub session_actor: Option<u64>,
    /// So has its room's.
    pub broadcast_actor: Option<u64>,
    /// Commands and reads under way.
    pub in_flight: usize,
}

/// What a session is doing, as its supervisor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchState {
    /// In the log only.
    Asleep,
    /// It serves, or is about to.
    Running,
    /// Its actor is about to end.
    Passivating,
    /// It failed and is about to start again.
    Restarting,
    /// It is left alone until an operator releases it.
    Quarantined,
    /// It is about to end for good.
    Deleting,
}

impl BranchState {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Running => "running",
            Self::Passivating => "passivating",
            Self::Restarting => "restarting",
            Self::Quarantined => "quarantined",
            Self::Deleting => "deleting",
        }
    }
}

impl Branch {
    pub(crate) fn project_of(genesis: &Genesis) -> Option<ProjectId> {
        genesis.project.as_ref().map(|project| project.project_id.clone())
    }
}
