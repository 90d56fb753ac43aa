//! Clock and random ids: the only module that reads clocks and draws random numbers.
#![expect(
    clippy::disallowed_methods,
    reason = "only source of time and randomness for the actors; the domain gets both as arguments"
)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::domain::ids::{CommandId, Epoch, SessionId, Timestamp};

/// Returns the wall-clock time in milliseconds since 1970. A clock before 1970 reads as 0.
#[must_use]
pub fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

/// Returns a monotonic instant, for measuring durations.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}

/// Returns the random id of a new session.
#[must_use]
pub fn new_session_id() -> SessionId {
    SessionId::new(Uuid::new_v4())
}

/// Returns a random id for a command whose client sent none.
#[must_use]
pub fn new_command_id() -> CommandId {
    CommandId::new(Uuid::new_v4())
}

/// Returns a random key of a command filter. The key never leaves the process, so a client cannot construct collisions.
#[must_use]
pub fn new_filter_key() -> u128 {
    Uuid::new_v4().as_u128()
}

/// Returns the random epoch of a new log.
#[must_use]
pub fn new_epoch() -> Epoch {
    let [a, b, c, d, ..] = Uuid::new_v4().into_bytes();
    Epoch::new(u32::from_be_bytes([a, b, c, d]))
}
