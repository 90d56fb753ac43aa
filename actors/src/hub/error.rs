//! Why a call to the hub failed, and what the caller can do about it.

use std::sync::Arc;

use crate::{
    domain::{
        ids::{Seq, SessionId},
        rejection::Rejection,
    },
    log::LogError,
    session_actor::RoomFull,
};

/// Why a call to the hub failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// The command is refused. Sending it again makes sense only if something else changes.
    #[error("{rejection}")]
    Rejected {
        /// Why.
        rejection: Rejection,
        /// Where the session was.
        seq: Seq,
    },
    /// There is no such session.
    #[error("session {0} does not exist")]
    SessionNotFound(SessionId),
    /// Another session has this project.
    #[error("the project exists already, in session {0}")]
    ProjectExists(SessionId),
    /// There is a session of the id that was chosen for a new one.
    #[error("session {0} exists already")]
    SessionExists(SessionId),
    /// Something failed while the command was decided or written. The same command with the same id tells what became
    /// of it.
    #[error("the outcome of the command is unknown; send it again with the same command_id")]
    OutcomeUnknown,
    /// Too much is under way. Try again in a moment.
    #[error("{max} requests are under way, as many as {limit} allows")]
    Overloaded {
        /// Which limit.
        limit: &'static str,
        /// What it is.
        max: usize,
    },
    /// The log takes nothing now, because the disk is full for example. Nothing was changed. Try again when an operator
    /// has made room.
    #[error("nothing can be written now: {reason}")]
    LogRefuses {
        /// Why.
        reason: Arc<str>,
    },
    /// The hub has as many sessions as it may have.
    #[error("there are {max} sessions, as many as sessions_max allows")]
    TooManySessions {
        /// How many it may have.
        max: usize,
    },
    /// The room has as many sockets as it may have.
    #[error(transparent)]
    RoomFull(RoomFull),
    /// The session failed over and over. An operator has to look at it.
    #[error("session {session_id} is quarantined: {reason}")]
    Quarantined {
        /// Which.
        session_id: SessionId,
        /// What failed last.
        reason: Arc<str>,
    },
    /// The hub is going away. Another one, or this one in a while, will serve.
    #[error("the hub is shutting down")]
    Draining,
    /// The session did not get to that `seq` in time.
    #[error("the session is at {current}, and did not reach {wanted} in time")]
    SeqNotReached {
        /// What was waited for.
        wanted: Seq,
        /// Where it is.
        current: Seq,
    },
    /// The log cannot be read or written.
    #[error("the log failed: {0}")]
    Log(#[from] LogError),
}
