//! What a socket was told, checked: every event once, in its place, and none of another session.

use std::{collections::BTreeSet, ops::AddAssign};

use serde::Serialize;

/// What went wrong with the events of some sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Events that never came.
    pub lost: u64,
    /// Events that came again.
    pub doubled: u64,
    /// Events that came after a later one.
    pub reordered: u64,
    /// Events of another session.
    pub strayed: u64,
}

impl Faults {
    /// Whether there was none.
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

/// The events of one socket.
#[derive(Debug)]
pub struct Order {
    /// The latest place that is known.
    last: u64,
    /// Places before it that did not come yet.
    missing: BTreeSet<u64>,
    /// For each command of the session what was told of it.
    told: Vec<u8>,
    faults: Faults,
    /// Events that a sync has replaced.
    skipped: u64,
}

/// `command:executing` was told, which has no place in the sequence.
const BEGUN: u8 = 1;
/// Something that comes after it was told.
const CHANGED: u8 = 2;

impl Order {
    /// A socket that knows everything up to a place.
    #[must_use]
    pub const fn after(seq: u64) -> Self {
        Self {
            last: seq,
            missing: BTreeSet::new(),
            told: Vec::new(),
            faults: Faults {
                lost: 0,
                doubled: 0,
                reordered: 0,
                strayed: 0,
            },
            skipped: 0,
        }
    }

    /// The latest place that is known.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Events that a sync has replaced: the socket was told that it missed them.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// A command begins.
    pub fn executing(&mut self, index: u64) {
        let told = self.told(index);
        let before = *told;
        *told |= BEGUN;
        if before & BEGUN != 0 {
            self.faults.doubled += 1;
        } else if before & CHANGED != 0 {
            self.faults.reordered += 1;
        }
    }

    /// An event with a place.
    pub fn sequenced(&mut self, index: u64, seq: u64) {
        *self.told(index) |= CHANGED;
        if seq > self.last {
            self.missing.extend(self.last + 1..seq);
            self.last = seq;
        } else if self.missing.remove(&seq) {
            self.faults.reordered += 1;
        } else {
            self.faults.doubled += 1;
        }
    }

    /// An event that is none of this session's.
    pub const fn stray(&mut self) {
        self.faults.strayed += 1;
    }

    /// The server says where the session is, and brings along what leads there.
    pub fn synced(&mut self, seq: u64) {
        self.skipped += self.missing.len() as u64 + seq.saturating_sub(self.last);
        self.missing.clear();
        self.last = self.last.max(seq);
    }

    /// What went wrong, now that the session is known to have come to a place by the accepted commands.
    #[must_use]
    pub fn end(mut self, seq: u64, accepted: &[u64]) -> Faults {
        self.faults.lost += self.missing.len() as u64 + seq.saturating_sub(self.last);
        // What a sync replaces it does not list, so that what has no place cannot be missed.
        if self.skipped == 0 {
            let unheard = accepted.iter().filter(|&&index| *self.told(index) & BEGUN == 0).count();
            self.faults.lost += unheard as u64;
        }
        self.faults
    }

    fn told(&mut self, index: u64) -> &mut u8 {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        if at >= self.told.len() {
            self.told.resize(at + 1, 0);
        }
        &mut self.told[at]
    }
}
