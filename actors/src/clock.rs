//! Clock of the actors: the only module that reads the time.
#![expect(
    clippy::disallowed_methods,
    reason = "only source of time for the actors; the domain gets the time as an argument"
)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::domain::ids::Timestamp;

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
