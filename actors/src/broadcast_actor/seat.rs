//! A socket in a room, as the room sees it: what it has, and whether it keeps up.

use crate::{
    domain::ids::Seq,
    fan_out::{Frame, Member, SendError},
    stats::Stats,
};

pub(super) struct Seat {
    pub(super) member: Member,
    /// The last sequenced event that the socket's queue took.
    delivered: Seq,
    /// How often in a row it could not take a packet; 0: it keeps up.
    pub(super) behind: u32,
    /// It waits for its turn to get a large sync, and gets nothing else until then.
    pub(super) waits: bool,
    /// It has not been told that it is here, which comes after its first sync.
    pub(super) is_unannounced: bool,
    /// It has not been told who is here, which comes right after its first sync.
    pub(super) is_new: bool,
}

impl Seat {
    pub(super) const fn new(member: Member, is_new: bool) -> Self {
        Self {
            member,
            delivered: Seq::ZERO,
            behind: 0,
            waits: false,
            is_unannounced: false,
            is_new,
        }
    }

    /// Hands the socket a packet, unless it is behind or waits: then it has missed one, and what comes next is a sync.
    /// Returns whether it has it.
    pub(super) fn send(&mut self, frame: &Frame, stats: &Stats) -> bool {
        if self.behind > 0 || self.waits {
            return false;
        }
        match self.member.socket.send(frame) {
            Ok(()) => {
                stats.packets_delivered.increment();
                self.delivered = frame.seq.unwrap_or(self.delivered);
                true
            }
            Err(SendError::Full) => {
                self.fall_behind(stats);
                false
            }
            Err(SendError::Closed) => false,
        }
    }

    /// Hands the socket a sync, after which it is where the session is. Returns whether it has it.
    pub(super) fn resync(&mut self, frame: &Frame, seq: Seq, stats: &Stats) -> bool {
        match self.member.socket.send(frame) {
            Ok(()) => {
                stats.packets_delivered.increment();
                (self.delivered, self.behind) = (seq, 0);
                true
            }
            Err(SendError::Full) => {
                self.fall_behind(stats);
                false
            }
            Err(SendError::Closed) => false,
        }
    }

    fn fall_behind(&mut self, stats: &Stats) {
        stats.packets_dropped.increment();
        if self.behind == 0 {
            stats.slow_consumers.increment();
        }
        self.member.socket.fell_behind(self.delivered, self.behind);
        self.behind += 1;
    }
}
