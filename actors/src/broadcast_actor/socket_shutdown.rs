//! Shutdown of a room's sockets, guaranteed even if the room's actor has failed.

use std::collections::BTreeMap;

use crate::{
    domain::ids::Timestamp,
    fan_out::{Encoder, Member, MemberId, Release, Room},
};

/// Reason to release the sockets of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The session was deleted.
    Deleted,
    /// The session is quarantined.
    Quarantined {
        /// Window for the clients' reconnects: minimum and maximum delay in milliseconds.
        reconnect_ms: (u64, u64),
    },
    /// The hub shuts down, or the session is unavailable for a while.
    Draining {
        /// Window for the clients' reconnects: minimum and maximum delay in milliseconds.
        reconnect_ms: (u64, u64),
    },
}

/// Sockets to release. Dropping this value releases the sockets, so the release happens even if the room's actor fails,
/// has stopped, or never knew of a socket: after a failure of the room no other part would release its sockets.
pub struct SocketShutdown {
    reason: CloseReason,
    now: Timestamp,
    members: BTreeMap<MemberId, Member>,
}

impl SocketShutdown {
    /// Creates a shutdown of `members`. The room adds the sockets known to the room.
    #[must_use]
    pub fn new(reason: CloseReason, now: Timestamp, members: impl IntoIterator<Item = Member>) -> Self {
        let members = members.into_iter().map(|member| (member.id, member)).collect();
        Self { reason, now, members }
    }

    /// Adds a socket. Adding the same socket again has no effect.
    pub(super) fn add(&mut self, member: Member) {
        self.members.insert(member.id, member);
    }

    /// Sends the reason to each socket.
    pub(super) fn notify(&self, encoder: &dyn Encoder, room: &Room) {
        for member in self.members.values() {
            let frame = match self.reason {
                CloseReason::Deleted => encoder.disconnected(room, &member.info, 0, "session_deleted", self.now),
                CloseReason::Quarantined {
                    reconnect_ms: (min_ms, max_ms),
                }
                | CloseReason::Draining {
                    reconnect_ms: (min_ms, max_ms),
                } => encoder.draining(room, spread(member.id, min_ms, max_ms), self.now),
            };
            let _ = member.socket.send(&frame);
        }
    }
}

impl Drop for SocketShutdown {
    fn drop(&mut self) {
        let how = match self.reason {
            CloseReason::Deleted => Release::SessionDeleted,
            CloseReason::Quarantined { .. } => Release::SessionQuarantined,
            CloseReason::Draining { .. } => Release::CloseTransport,
        };
        for member in self.members.values() {
            member.socket.release(how);
        }
    }
}

/// Returns a reconnect delay for a socket in milliseconds, such that the delays of a room fill the window evenly,
/// whatever their number: the multiples of the golden ratio fill an interval more evenly than random numbers.
fn spread(id: MemberId, min_ms: u64, max_ms: u64) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let window = u128::from(max_ms.saturating_sub(min_ms)) + 1;
    let place = (u128::from(id.0.wrapping_mul(GOLDEN)) * window) >> 64;
    min_ms + u64::try_from(place).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnect_delays_fill_the_window_evenly() {
        let mut delays: Vec<u64> = (1..=100).map(|id| spread(MemberId(id), 500, 5_000)).collect();
        delays.sort_unstable();
        assert!(delays[0] >= 500 && delays[99] <= 5_000);
        let widest = delays.windows(2).map(|two| two[1] - two[0]).max();
        assert!(
            widest < Some(150),
            "{widest:?}: 100 sockets over 4.5 s are 45 ms apart, within a factor of about 2"
        );
        assert_eq!(spread(MemberId(7), 9, 9), 9);
    }
}
