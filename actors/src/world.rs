//! The world outside: the one place above the `runtime` line that reads clocks and draws random numbers.
#![expect(
    clippy::disallowed_methods,
    reason = "this is where the actors get them from; the domain gets them passed in"
)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::domain::ids::{CommandId, Epoch, SessionId, Timestamp};

/// The time of day.
#[must_use]
pub fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

/// A moment to measure from.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}

/// A new session's id.
#[must_use]
pub fn new_session_id() -> SessionId {
    SessionId::new(Uuid::new_v4())
}

/// An id for a command whose sender gave it none.
#[must_use]
pub fn new_command_id() -> CommandId {
    CommandId::new(Uuid::new_v4())
}

/// A secret that nobody outside the process learns.
#[must_use]
pub fn new_filter_key() -> u128 {
    Uuid::new_v4().as_u128()
}

/// A new log's identity.
#[must_use]
pub fn new_epoch() -> Epoch {
    let [a, b, c, d, ..] = Uuid::new_v4().into_bytes();
    Epoch::new(u32::from_be_bytes([a, b, c, d]))
}
