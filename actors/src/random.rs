//! Random ids and keys: the only module that draws random numbers.
#![expect(
    clippy::disallowed_methods,
    reason = "only source of randomness for the actors; the domain gets ids as arguments"
)]

use uuid::Uuid;

use crate::domain::ids::{CommandId, Epoch, SessionId};

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
