//! Reconnect delay of a client: grows with each attempt, and differs between clients.

use std::time::Duration;

use crate::workload::mix;

/// Range in milliseconds over which clients of the hub spread their reconnects.
const MIN_MS: u64 = 500;
const MAX_MS: u64 = 5_000;

/// Returns the delay after `attempts` failed attempts: an exponential delay times a factor from 0.5 to 1.5, as
/// `socket.io-client` computes it.
pub(super) fn back_off(seed: u64, client: u64, attempts: u32) -> Duration {
    let whole_ms = MIN_MS.saturating_mul(1 << attempts.min(16)).min(MAX_MS);
    let chance = mix(mix(seed ^ client) ^ u64::from(attempts));
    Duration::from_millis(whole_ms / 2 + chance % whole_ms)
}
