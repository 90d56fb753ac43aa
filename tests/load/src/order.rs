//! Order check of one socket: every event once, in order, and no event of another session.

use std::{collections::BTreeSet, ops::AddAssign};

use serde::Serialize;

/// Faults in the events of some sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Events that never arrived.
    pub lost: u64,
    /// Events that arrived more than once.
    pub doubled: u64,
    /// Events that arrived after a later event.
    pub reordered: u64,
    /// Events of another session.
    pub strayed: u64,
}

impl Faults {
    /// Returns true if there are no faults.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.strayed += other.strayed;
    }
}

/// State of the order check of one socket.
#[derive(Debug)]
pub struct Order {
    /// Highest known sequence number.
    last: u64,
    /// Sequence numbers below `last` that have not arrived.
    missing: BTreeSet<u64>,
    /// Flags of the packets that arrived, by index of the command in its session.
    flags: Vec<u8>,
    faults: Faults,
    /// Events that a sync replaced.
    skipped: u64,
}

/// Flag: `command:executing` has arrived. The packet has no sequence number.
const BEGUN: u8 = 1;
/// Flag: a sequenced packet of the command has arrived.
const CHANGED: u8 = 2;

impl Order {
    /// Creates the check for a socket that knows all events up to `seq`.
    #[must_use]
    pub const fn after(seq: u64) -> Self {
        Self {
            last: seq,
            missing: BTreeSet::new(),
            flags: Vec::new(),
            faults: Faults {
                lost: 0,
                doubled: 0,
                reordered: 0,
                strayed: 0,
            },
            skipped: 0,
        }
    }

    /// Highest known sequence number.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Events that a sync replaced, so that the socket knows that it missed them.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Records a `command:executing`.
    pub fn executing(&mut self, index: u64) {
        let flags = self.flags(index);
        let before = *flags;
        *flags |= BEGUN;
        if before & BEGUN != 0 {
            self.faults.doubled += 1;
        } else if before & CHANGED != 0 {
            self.faults.reordered += 1;
        }
    }

    /// Records a sequenced event.
    pub fn sequenced(&mut self, index: u64, seq: u64) {
        *self.flags(index) |= CHANGED;
        if seq > self.last {
            self.missing.extend(self.last + 1..seq);
            self.last = seq;
        } else if self.missing.remove(&seq) {
            self.faults.reordered += 1;
        } else {
            self.faults.doubled += 1;
        }
    }

    /// Records an event of another session.
    pub const fn stray(&mut self) {
        self.faults.strayed += 1;
    }

    /// Records a sync to `seq`, which replaces all missing events.
    pub fn synced(&mut self, seq: u64) {
        self.skipped += self.missing.len() as u64 + seq.saturating_sub(self.last);
        self.missing.clear();
        self.last = self.last.max(seq);
    }

    /// Returns the faults, given the final sequence number of the session and its accepted commands.
    #[must_use]
    pub fn end(mut self, seq: u64, accepted: &[u64]) -> Faults {
        self.faults.lost += self.missing.len() as u64 + seq.saturating_sub(self.last);
        // A sync does not list the events that it replaces, so unsequenced packets cannot be counted as lost after a
        // sync.
        if self.skipped == 0 {
            let missed = accepted
                .iter()
                .filter(|&&index| *self.flags(index) & BEGUN == 0)
                .count();
            self.faults.lost += missed as u64;
        }
        self.faults
    }

    fn flags(&mut self, index: u64) -> &mut u8 {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        if at >= self.flags.len() {
            self.flags.resize(at + 1, 0);
        }
        &mut self.flags[at]
    }
}
