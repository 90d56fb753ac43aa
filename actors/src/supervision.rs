//! Supervision data for operators: the state of the supervision tree and its events.

use std::{sync::Arc, time::Duration};

use crate::domain::{
    ids::{ProjectId, SessionId, Timestamp},
    session::SessionHeader,
};

/// Event of a session's actors.
#[derive(Debug, Clone, PartialEq)]
pub struct SupervisionEvent {
    /// Time of the event.
    pub at: Timestamp,
    /// Session of the event.
    pub session_id: SessionId,
    /// Kind of the event, with its details.
    pub kind: EventKind,
}

/// Kinds of supervision events.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// The session was loaded from the log and serves.
    Started,
    /// The session's actor failed, with this reason.
    Failed(Arc<str>),
    /// The session serves again, this long after the failure.
    Restarted(Duration),
    /// The session was quarantined for this reason, until an operator releases it.
    Quarantined(Arc<str>),
    /// An operator released the session from quarantine.
    Released,
    /// The idle session left memory.
    Passivated,
    /// The session was deleted for good.
    Deleted,
    /// The session's broadcast actor failed with this reason and was replaced.
    RoomRestarted(Arc<str>),
}

impl EventKind {
    /// Returns the name on the wire.
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

    /// Returns the time without service, for [`EventKind::Restarted`].
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

    /// Returns the text of the failure, for the kinds that report a failure.
    #[must_use]
    pub const fn reason(&self) -> Option<&Arc<str>> {
        match self {
            Self::Failed(text) | Self::Quarantined(text) | Self::RoomRestarted(text) => Some(text),
            Self::Started | Self::Restarted(_) | Self::Released | Self::Passivated | Self::Deleted => None,
        }
    }
}

/// Capacity of the event channel, in events. A listener that falls further behind is told how many events it missed.
pub const EVENTS_KEPT_MAX: usize = 1_024;

/// Session in the supervision tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// Id of the session.
    pub session_id: SessionId,
    /// Project of the session; `None` for a session without a project.
    pub project_id: Option<ProjectId>,
    /// Lifecycle state.
    pub state: BranchState,
    /// Start time of the running actor; `None` without an actor.
    pub started_at: Option<Timestamp>,
    /// Restarts after failures since the hub started.
    pub restarts: u64,
    /// Time and reason of the last failure; `None` if the session never failed.
    pub last_failure: Option<(Timestamp, Arc<str>)>,
    /// Runtime id of the session's actor; `None` without an actor.
    pub session_actor: Option<u64>,
    /// Runtime id of the room's broadcast actor; `None` without a room.
    pub broadcast_actor: Option<u64>,
    /// Commands and reads in flight.
    pub in_flight: usize,
}

/// Lifecycle state of a session, as seen by the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchState {
    /// The session is in the log only.
    Asleep,
    /// The session serves, or is starting.
    Running,
    /// The idle session's actor is stopping.
    Passivating,
    /// The session failed and is about to be restarted.
    Restarting,
    /// The session is not started until an operator releases it.
    Quarantined,
    /// The session is being deleted.
    Deleting,
}

impl BranchState {
    /// Returns the name on the wire.
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
    pub(crate) fn project_of(header: &SessionHeader) -> Option<ProjectId> {
        header.project.as_ref().map(|project| project.project_id.clone())
    }
}
