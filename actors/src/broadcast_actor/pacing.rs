//! Large syncs, one after the other: a room that has many sockets and a large graph, and has to give it to all of them at
//! once, would need as many copies of it as there are sockets (P9).
//!
//! So only so many bytes of large syncs are on their way at a time. Who comes beyond that waits: he gets nothing, like one
//! who is behind, until it is his turn; then his edge asks the session for a sync, which is of that moment.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::fan_out::{MemberId, SyncReason};

/// How often it is looked whether large syncs have arrived: a client on a good line has taken a megabyte by then.
pub(super) const PACE: Duration = Duration::from_millis(20);

/// How long a socket may keep others waiting. One that takes longer than this is slow, or has stalled and will be shed.
const TAKING_MAX: Duration = Duration::from_secs(5);

/// What is less than this part of all that may be on its way is not large, and never waits.
const SMALL_PART: usize = 64;

/// See the [module](self).
pub(super) struct Pacing {
    bytes_max: usize,
    on_the_way: BTreeMap<MemberId, Taking>,
    waiting: VecDeque<(MemberId, SyncReason)>,
    /// What a large sync was worth, the last time.
    last_bytes: usize,
}

struct Taking {
    bytes: usize,
    since: Instant,
    /// It was told that it is its turn, and the sync has not come yet.
    due: bool,
}

impl Pacing {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            on_the_way: BTreeMap::new(),
            waiting: VecDeque::new(),
            last_bytes: 0,
        }
    }

    /// Whether a sync of this size goes out now. If so it is counted, else its socket waits.
    pub(super) fn admit(&mut self, id: MemberId, bytes: usize, reason: SyncReason, now: Instant) -> bool {
        if bytes <= self.bytes_max / SMALL_PART {
            self.forget(id);
            return true;
        }
        self.last_bytes = bytes;
        let is_due = self.on_the_way.get(&id).is_some_and(|taking| taking.due);
        if is_due || (self.waiting.is_empty() && self.has_room()) {
            let due = false;
            self.on_the_way.insert(id, Taking { bytes, since: now, due });
            return true;
        }
        match self.waiting.iter_mut().find(|(other, _)| *other == id) {
            Some((_, latest)) => *latest = reason,
            None => self.waiting.push_back((id, reason)),
        }
        false
    }

    /// Whether something is on its way, or waits.
    pub(super) fn is_busy(&self) -> bool {
        !self.on_the_way.is_empty() || !self.waiting.is_empty()
    }

    /// Forgets those who have what they were given, and names one whose turn it is.
    pub(super) fn next(
        &mut self,
        now: Instant,
        has_taken: impl Fn(MemberId) -> bool,
    ) -> Option<(MemberId, SyncReason)> {
        self.on_the_way
            .retain(|&id, taking| now.duration_since(taking.since) < TAKING_MAX && (taking.due || !has_taken(id)));
        if !self.has_room() {
            return None;
        }
        let (id, reason) = self.waiting.pop_front()?;
        let taking = Taking {
            bytes: self.last_bytes,
            since: now,
            due: true,
        };
        self.on_the_way.insert(id, taking);
        Some((id, reason))
    }

    /// A socket is gone, or has what it needs.
    pub(super) fn forget(&mut self, id: MemberId) {
        self.on_the_way.remove(&id);
        if !self.waiting.is_empty() {
            self.waiting.retain(|(other, _)| *other != id);
        }
    }

    /// One always has room: what is larger than everything that may be on its way goes alone.
    fn has_room(&self) -> bool {
        let bytes: usize = self.on_the_way.values().map(|taking| taking.bytes).sum();
        bytes == 0 || bytes + self.last_bytes <= self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::instant;

    const JOIN: SyncReason = SyncReason::FirstJoin;

    #[test]
    fn large_syncs_go_as_far_as_there_is_room_and_then_in_turn() {
        let (mut pacing, now) = (Pacing::new(6_400), instant());
        let admitted: Vec<u64> = (1..=4)
            .filter(|&id| pacing.admit(MemberId(id), 3_000, JOIN, now))
            .collect();
        assert_eq!(admitted, [1, 2], "two fit");
        assert!(pacing.admit(MemberId(5), 100, JOIN, now), "a small one never waits");
        assert_eq!(pacing.next(now, |_| false), None, "nobody has taken his");
        assert_eq!(pacing.next(now, |id| id.0 == 1), Some((MemberId(3), JOIN)), "one has");
        assert_eq!(pacing.next(now, |_| false), None, "the third is counted already");
        assert!(!pacing.admit(MemberId(6), 3_000, JOIN, now), "nobody overtakes");
        assert!(pacing.admit(MemberId(3), 3_000, JOIN, now), "it was its turn");
        assert_eq!(pacing.next(now, |_| true), Some((MemberId(4), JOIN)));
        pacing.forget(MemberId(4));
        assert_eq!(pacing.next(now, |_| true), Some((MemberId(6), JOIN)));
    }

    #[test]
    fn nobody_keeps_others_waiting_for_long() {
        let (mut pacing, now) = (Pacing::new(100), instant());
        assert!(
            pacing.admit(MemberId(1), 5_000, JOIN, now),
            "what is too large for all goes alone"
        );
        assert!(!pacing.admit(MemberId(2), 5_000, JOIN, now));
        assert_eq!(pacing.next(now, |_| false), None);
        let later = now + TAKING_MAX;
        assert_eq!(
            pacing.next(later, |_| false),
            Some((MemberId(2), JOIN)),
            "it has stalled"
        );
        assert_eq!(pacing.next(later + TAKING_MAX, |_| true), None);
        assert!(!pacing.is_busy(), "nor one whose sync never came");
    }

    #[test]
    fn who_waits_is_told_the_latest_reason() {
        let (mut pacing, now) = (Pacing::new(100), instant());
        assert!(pacing.admit(MemberId(1), 100, JOIN, now));
        assert!(!pacing.admit(MemberId(2), 100, JOIN, now));
        assert!(!pacing.admit(MemberId(2), 100, SyncReason::Divergence, now));
        let next = pacing.next(now, |_| true);
        assert_eq!(next, Some((MemberId(2), SyncReason::Divergence)));
    }
}
