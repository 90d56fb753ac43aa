//! How long a client waits before it tries again: longer each time, and each client differently.

use std::time::Duration;

use crate::workload::mix;

/// The span that the hub's clients spread their return over.
const MIN_MS: u64 = 500;
const MAX_MS: u64 = 5_000;

/// The wait after so many attempts in vain: half to one and a half times of what doubles, as `socket.io-client` does.
pub(super) fn back_off(seed: u64, client: u64, attempts: u32) -> Duration {
    let whole_ms = MIN_MS.saturating_mul(1 << attempts.min(16)).min(MAX_MS);
    let chance = mix(mix(seed ^ client) ^ u64::from(attempts));
    Duration::from_millis(whole_ms / 2 + chance % whole_ms)
}
