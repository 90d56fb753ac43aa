//! Sockets that have to go, and will: whatever becomes of the room that is to see them off.

use std::collections::BTreeMap;

use crate::{
    domain::ids::Timestamp,
    fan_out::{Encoder, Member, MemberId, Release, Room},
};

/// Why the sockets of a room have to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// The session is gone for good.
    Deleted,
    /// The hub, or the session, goes away for a while.
    Draining {
        /// When its clients should come back: the shortest and the longest while, in milliseconds.
        reconnect_ms: (u64, u64),
    },
}

/// Sockets that have to go. They are let go when this is dropped, which happens also if the room fails, is gone, or never
/// knew of them: its actor may have failed a moment ago, and nobody else would ever come back to them.
pub struct Departing {
    why: Farewell,
    now: Timestamp,
    members: BTreeMap<MemberId, Member>,
}

impl Departing {
    /// These, beside those whom the room knows.
    #[must_use]
    pub fn new(why: Farewell, now: Timestamp, members: impl IntoIterator<Item = Member>) -> Self {
        let members = members.into_iter().map(|member| (member.id, member)).collect();
        Self { why, now, members }
    }

    /// One more, unless it is among them.
    pub(super) fn add(&mut self, member: Member) {
        self.members.insert(member.id, member);
    }

    /// Tells each of them why.
    pub(super) fn tell(&self, encoder: &dyn Encoder, room: &Room) {
        for member in self.members.values() {
            let frame = match self.why {
                Farewell::Deleted => encoder.disconnected(room, &member.info, 0, "session_deleted", self.now),
                Farewell::Draining {
                    reconnect_ms: (min_ms, max_ms),
                } => encoder.draining(room, spread(member.id, min_ms, max_ms), self.now),
            };
            let _ = member.socket.send(&frame);
        }
    }
}

impl Drop for Departing {
    fn drop(&mut self) {
        let how = match self.why {
            Farewell::Deleted => Release::SessionDeleted,
            Farewell::Draining { .. } => Release::CloseTransport,
        };
        for member in self.members.values() {
            member.socket.release(how);
        }
    }
}

/// A delay for a socket, such that those of a room are spread evenly over the window, however many they are: the
/// multiples of the golden ratio fill an interval more evenly than random numbers do.
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
    fn delays_fill_their_window_evenly() {
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
