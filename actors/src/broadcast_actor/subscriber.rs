//! Subscriber of a room: a member socket with its delivery state.

use crate::{
    domain::ids::Seq,
    fan_out::{Frame, Member, SendError},
    stats::Stats,
};

pub(super) struct Subscriber {
    pub(super) member: Member,
    /// `seq` of the last event that the socket's queue took.
    delivered: Seq,
    /// Consecutive refusals by the full queue; 0 while the socket keeps up.
    pub(super) refusals: u32,
    /// True while the socket waits for a deferred sync. The socket gets no other packet.
    pub(super) awaits_sync: bool,
    /// True until the socket's own join is published to it, after its first sync.
    pub(super) join_unpublished: bool,
    /// True until the socket got the presence list, right after its first sync.
    pub(super) needs_presence_list: bool,
}

impl Subscriber {
    pub(super) const fn new(member: Member, needs_presence_list: bool) -> Self {
        Self {
            member,
            delivered: Seq::ZERO,
            refusals: 0,
            awaits_sync: false,
            join_unpublished: false,
            needs_presence_list,
        }
    }

    /// Queues a packet. A lagging or waiting socket has missed a packet, so it gets none before a sync. Returns true if
    /// the packet was queued.
    pub(super) fn send(&mut self, frame: &Frame, stats: &Stats) -> bool {
        if self.refusals > 0 || self.awaits_sync {
            return false;
        }
        match self.member.socket.send(frame) {
            Ok(()) => {
                stats.packets_delivered.inc();
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

    /// Queues a sync, after which the socket is up to date with `seq`. Returns true if the sync was queued.
    pub(super) fn resync(&mut self, frame: &Frame, seq: Seq, stats: &Stats) -> bool {
        match self.member.socket.send(frame) {
            Ok(()) => {
                stats.packets_delivered.inc();
                (self.delivered, self.refusals) = (seq, 0);
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
        stats.packets_dropped.inc();
        if self.refusals == 0 {
            stats.slow_consumers.inc();
        }
        self.member.socket.mark_lagging(self.delivered, self.refusals);
        self.refusals += 1;
    }
}
