//! Errors of calls to the hub, and the caller's options after each.

use std::sync::Arc;

use crate::{
    domain::{
        ids::{Seq, SessionId},
        rejection::Rejection,
    },
    log::LogError,
    session_actor::RoomFull,
};

/// Error of a call to the hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// The command was rejected. Repeating the command makes sense only after the session has changed.
    #[error("{rejection}")]
    Rejected {
        /// Reason of the rejection.
        rejection: Rejection,
        /// `seq` of the session at the rejection.
        seq: Seq,
    },
    /// The session does not exist.
    #[error("session {0} does not exist")]
    SessionNotFound(SessionId),
    /// Another session holds the project.
    #[error("the project exists already, in session {0}")]
    ProjectExists(SessionId),
    /// The id that was chosen for a new session is in use.
    #[error("session {0} exists already")]
    SessionExists(SessionId),
    /// A failure occurred while the command was decided or written. Repeating the command with the same id returns its
    /// outcome.
    #[error("the outcome of the command is unknown; send it again with the same command_id")]
    OutcomeUnknown,
    /// Too much work is in flight. Retry after a short delay.
    #[error("{max} requests are under way, as many as {limit} allows")]
    Overloaded {
        /// Key of the limit that was reached.
        limit: &'static str,
        /// Value of the limit.
        max: usize,
    },
    /// The log refuses appends, for example because the disk is full. Nothing was changed. Retry after an operator has
    /// freed space.
    #[error("nothing can be written now: {reason}")]
    LogRefuses {
        /// Reason that the log gave.
        reason: Arc<str>,
    },
    /// The hub has reached its maximum of sessions.
    #[error("there are {max} sessions, as many as sessions_max allows")]
    TooManySessions {
        /// Maximum of sessions.
        max: usize,
    },
    /// The room has reached its maximum of sockets.
    #[error(transparent)]
    RoomFull(RoomFull),
    /// The session failed repeatedly and needs an operator.
    #[error("session {session_id} is quarantined: {reason}")]
    Quarantined {
        /// Id of the session.
        session_id: SessionId,
        /// Reason of the last failure.
        reason: Arc<str>,
    },
    /// The hub is shutting down. Another hub, or the restarted one, will serve the request.
    #[error("the hub is shutting down")]
    Draining,
    /// The session did not reach the requested `seq` in time.
    #[error("the session is at {current}, and did not reach {wanted} in time")]
    SeqNotReached {
        /// Requested `seq`.
        wanted: Seq,
        /// Current `seq` of the session.
        current: Seq,
    },
    /// The log cannot be read or written.
    #[error("the log failed: {0}")]
    Log(#[from] LogError),
}
