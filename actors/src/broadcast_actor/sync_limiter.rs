//! Flow control of large syncs. A room with many sockets and a large graph would otherwise need as many copies of the
//! graph as sockets (P9).
//!
//! At most `bytes_max` bytes of large syncs are in flight at a time. A socket beyond the limit waits: it gets no
//! packets, as a lagging socket, until its sync is granted. Its edge then requests a fresh sync from the session.
//!
//! Each waiting socket is charged the size of its sync at the time of deferral. If the fresh sync is much larger, the
//! socket waits again, first in the queue, until the new size fits.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::fan_out::{DeferredSync, MemberId};

/// Interval of the checks for delivered syncs: a client on a fast line takes a megabyte in this time.
pub(super) const SYNC_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Longest time that a sync counts as in flight. A socket that takes longer is slow, or has stalled and will be
/// disconnected. Neither may delay other sockets.
const IN_FLIGHT_MAX: Duration = Duration::from_secs(5);

/// Divisor of `bytes_max`: a sync up to this fraction is small and never waits.
const SMALL_DIVISOR: usize = 64;

/// Divisor of the charged size: a granted sync may be larger than charged by this fraction. Without the tolerance, a
/// graph that grows steadily would never be sent.
const GROWTH_DIVISOR: usize = 4;

/// Limiter of large syncs; see the [module](self).
pub(super) struct SyncLimiter {
    bytes_max: usize,
    in_flight: BTreeMap<MemberId, Share>,
    /// Granted but unsent syncs.
    granted: BTreeMap<MemberId, Share>,
    waiting: VecDeque<Waiting>,
}

/// Share of a socket in `bytes_max`.
struct Share {
    bytes: usize,
    since: Instant,
}

struct Waiting {
    id: MemberId,
    what: DeferredSync,
    /// Size of the sync in bytes when it was deferred.
    bytes: usize,
}

impl SyncLimiter {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            in_flight: BTreeMap::new(),
            granted: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Returns true if a sync of this size can be sent now. Otherwise the socket waits and will be granted `what`.
    pub(super) fn admit(&mut self, id: MemberId, bytes: usize, what: DeferredSync) -> bool {
        if self.is_small(bytes) {
            return true;
        }
        let charged = self.granted.get(&id).map(|share| share.bytes);
        let is_admitted = match charged {
            Some(charged) => bytes <= charged + charged / GROWTH_DIVISOR || self.has_room(id, bytes),
            None => self.waiting.is_empty() && self.has_room(id, bytes),
        };
        if !is_admitted {
            let waiting = Waiting { id, what, bytes };
            if self.granted.remove(&id).is_some() {
                self.waiting.push_front(waiting);
            } else {
                self.defer(waiting);
            }
        }
        is_admitted
    }

    /// Records that an admitted sync was sent with so many bytes; 0 if the socket's queue was full.
    pub(super) fn record_sent(&mut self, id: MemberId, bytes: usize, now: Instant) {
        self.granted.remove(&id);
        self.cancel_wait(id);
        if !self.is_small(bytes) {
            let share = self.in_flight.entry(id).or_insert(Share { bytes: 0, since: now });
            share.bytes += bytes;
            share.since = now;
        }
    }

    /// Returns true if a sync is in flight, granted or waiting.
    pub(super) fn is_busy(&self) -> bool {
        !(self.in_flight.is_empty() && self.granted.is_empty() && self.waiting.is_empty())
    }

    /// Releases the shares of delivered and timed-out syncs, and returns the next socket to grant, with the request
    /// that it has to make.
    pub(super) fn next_grant(
        &mut self,
        now: Instant,
        has_taken: impl Fn(MemberId) -> bool,
    ) -> Option<(MemberId, DeferredSync)> {
        let is_recent = |share: &Share| now.duration_since(share.since) < IN_FLIGHT_MAX;
        self.in_flight.retain(|&id, share| is_recent(share) && !has_taken(id));
        self.granted.retain(|_, share| is_recent(share));
        let &Waiting { id, what, bytes } = self.waiting.front()?;
        if !self.has_room(id, bytes) {
            return None;
        }
        self.waiting.pop_front();
        self.granted.insert(id, Share { bytes, since: now });
        Some((id, what))
    }

    /// Removes a socket after its leave.
    pub(super) fn remove(&mut self, id: MemberId) {
        self.in_flight.remove(&id);
        self.granted.remove(&id);
        self.cancel_wait(id);
    }

    fn cancel_wait(&mut self, id: MemberId) {
        if !self.waiting.is_empty() {
            self.waiting.retain(|waiting| waiting.id != id);
        }
    }

    fn defer(&mut self, new: Waiting) {
        let Some(latest) = self.waiting.iter_mut().find(|waiting| waiting.id == new.id) else {
            return self.waiting.push_back(new);
        };
        // A request for the whole document includes the events, so it is never replaced by a request for events.
        match (latest.what, new.what) {
            (DeferredSync::Snapshot(_), DeferredSync::Events { .. }) => {}
            (DeferredSync::Events { .. }, _) | (_, DeferredSync::Snapshot(_)) => *latest = new,
        }
    }

    const fn is_small(&self, bytes: usize) -> bool {
        bytes <= self.bytes_max / SMALL_DIVISOR
    }

    /// Returns true if `bytes` fit for a socket, whose own grant does not count. A sync always fits if no other is in
    /// flight, even if it is larger than `bytes_max`.
    fn has_room(&self, id: MemberId, bytes: usize) -> bool {
        let granted = self.granted.iter().filter(|(other, _)| **other != id);
        let shares = self.in_flight.values().chain(granted.map(|(_, share)| share));
        let taken: usize = shares.map(|share| share.bytes).sum();
        taken == 0 || taken + bytes <= self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::instant,
        domain::ids::{Epoch, Seq},
        fan_out::SyncReason,
    };

    const JOIN: DeferredSync = DeferredSync::Snapshot(SyncReason::FirstJoin);

    /// Admits a sync and records it as sent.
    fn sent(limiter: &mut SyncLimiter, id: u64, bytes: usize, now: Instant) -> bool {
        let is_admitted = limiter.admit(MemberId(id), bytes, JOIN);
        if is_admitted {
            limiter.record_sent(MemberId(id), bytes, now);
        }
        is_admitted
    }

    /// Returns all sockets that are granted now.
    fn grants(limiter: &mut SyncLimiter, now: Instant, has_taken: impl Fn(MemberId) -> bool) -> Vec<u64> {
        std::iter::from_fn(|| limiter.next_grant(now, &has_taken))
            .map(|(id, _)| id.0)
            .collect()
    }

    fn since(seq: u64) -> DeferredSync {
        DeferredSync::Events {
            epoch: Epoch::new(7),
            after: Seq(seq),
        }
    }

    #[test]
    fn large_syncs_are_limited_and_granted_in_order() {
        let (mut limiter, now) = (SyncLimiter::new(6_400), instant());
        let admitted: Vec<u64> = (1..=4).filter(|&id| sent(&mut limiter, id, 3_000, now)).collect();
        assert_eq!(admitted, [1, 2], "two fit");
        assert!(sent(&mut limiter, 5, 100, now), "a small sync never waits");
        assert_eq!(grants(&mut limiter, now, |_| false), [0; 0], "no sync was delivered");
        assert_eq!(grants(&mut limiter, now, |id| id.0 == 1), [3], "one sync was delivered");
        assert!(!sent(&mut limiter, 6, 3_000, now), "no overtaking");
        assert!(sent(&mut limiter, 3, 3_000, now), "granted");
        assert_eq!(grants(&mut limiter, now, |id| id.0 == 2), [4]);
        limiter.remove(MemberId(4));
        assert_eq!(grants(&mut limiter, now, |_| true), [6]);
    }

    #[test]
    fn stalled_socket_releases_its_share() {
        let (mut limiter, now) = (SyncLimiter::new(100), instant());
        assert!(sent(&mut limiter, 1, 5_000, now), "an oversized sync is sent alone");
        assert!(!sent(&mut limiter, 2, 5_000, now));
        assert_eq!(grants(&mut limiter, now, |_| false), [0; 0]);
        let later = now + IN_FLIGHT_MAX;
        assert_eq!(grants(&mut limiter, later, |_| false), [2], "socket 1 has stalled");
        assert_eq!(grants(&mut limiter, later + IN_FLIGHT_MAX, |_| true), [0; 0]);
        assert!(!limiter.is_busy(), "the granted sync timed out");
    }

    #[test]
    fn grant_carries_the_request_to_make() {
        let divergence = DeferredSync::Snapshot(SyncReason::Divergence);
        for (first, then, due) in [
            (JOIN, divergence, divergence),
            (since(3), since(5), since(5)),
            (since(3), divergence, divergence),
            (divergence, since(3), divergence),
        ] {
            let (mut limiter, now) = (SyncLimiter::new(100), instant());
            assert!(sent(&mut limiter, 1, 100, now));
            assert!(!limiter.admit(MemberId(2), 100, first));
            assert!(!limiter.admit(MemberId(2), 100, then));
            assert_eq!(limiter.next_grant(now, |_| true), Some((MemberId(2), due)));
        }
    }

    /// Each waiting socket is charged the size of its own sync, whatever the size of other syncs.
    #[test]
    fn waiting_socket_is_charged_its_own_size() {
        let (mut limiter, now) = (SyncLimiter::new(6_400), instant());
        assert!(sent(&mut limiter, 1, 6_000, now));
        for id in 2..40 {
            assert!(!sent(&mut limiter, id, 6_000, now));
        }
        assert!(!limiter.admit(MemberId(40), 500, since(1)), "large, so deferred");
        for id in 2..40 {
            assert_eq!(grants(&mut limiter, now, |_| true), [id], "one sync fits");
            assert!(sent(&mut limiter, id, 6_000, now));
        }
        assert_eq!(limiter.next_grant(now, |_| true), Some((MemberId(40), since(1))));
    }

    /// The size of the fresh sync counts: sockets that waited for small syncs and then need large ones wait again.
    #[test]
    fn grown_sync_waits_again() {
        let (mut limiter, now) = (SyncLimiter::new(6_400), instant());
        assert!(sent(&mut limiter, 1, 6_400, now));
        for id in 2..=5 {
            assert!(!limiter.admit(MemberId(id), 1_000, since(1)));
        }
        assert_eq!(grants(&mut limiter, now, |_| true), [2, 3, 4, 5]);
        assert!(sent(&mut limiter, 2, 1_250, now), "a little growth is tolerated");
        assert!(!sent(&mut limiter, 3, 6_000, now), "large growth is not");
        assert!(sent(&mut limiter, 4, 2_000, now), "unless the sync fits");
        assert!(sent(&mut limiter, 5, 1_000, now));
        assert!(!sent(&mut limiter, 6, 1_000, now));
        assert_eq!(
            grants(&mut limiter, now, |id| id.0 != 5),
            [0; 0],
            "socket 3 is first and does not fit"
        );
        assert_eq!(limiter.next_grant(now, |_| true), Some((MemberId(3), JOIN)));
        assert!(sent(&mut limiter, 3, 9_000, now), "a lone sync always fits");
        assert_eq!(
            grants(&mut limiter, now, |_| false),
            [0; 0],
            "counted with its actual size"
        );
        assert_eq!(grants(&mut limiter, now, |_| true), [6]);
    }

    #[test]
    fn refused_sync_is_not_in_flight() {
        let (mut limiter, now) = (SyncLimiter::new(100), instant());
        assert!(limiter.admit(MemberId(1), 100, JOIN));
        limiter.record_sent(MemberId(1), 0, now);
        assert!(!limiter.is_busy());
        assert!(sent(&mut limiter, 2, 100, now));
        assert!(!sent(&mut limiter, 3, 100, now));
        assert_eq!(grants(&mut limiter, now, |_| true), [3]);
        assert!(limiter.admit(MemberId(3), 100, JOIN));
        limiter.record_sent(MemberId(3), 0, now);
        assert!(!limiter.is_busy(), "the grant is used up");

        assert!(sent(&mut limiter, 4, 60, now));
        assert!(limiter.admit(MemberId(4), 40, JOIN));
        limiter.record_sent(MemberId(4), 0, now);
        assert!(!sent(&mut limiter, 5, 60, now), "the earlier sync is");
    }
}
