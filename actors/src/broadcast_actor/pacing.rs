//! Large syncs, one after the other: a room that has many sockets and a large graph, and has to give it to all of them at
//! once, would need as many copies of it as there are sockets (P9).
//!
//! So only so many bytes of large syncs are on their way at a time. Who comes beyond that waits: he gets nothing, like one
//! who is behind, until it is his turn; then his edge asks the session for a sync, which is of that moment.
//!
//! Each of those who wait is charged what his own sync was worth when it was put off. If it is worth much more when it is
//! his turn, he waits again, as the first, for the room that it needs.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::fan_out::{MemberId, SyncDue};

/// How often it is looked whether large syncs have arrived: a client on a good line has taken a megabyte by then.
pub(super) const PACE: Duration = Duration::from_millis(20);

/// How long a socket may keep others waiting. One that takes longer than this is slow, or has stalled and will be shed.
const TAKING_MAX: Duration = Duration::from_secs(5);

/// What is less than this part of all that may be on its way is not large, and never waits.
const SMALL_PART: usize = 64;

/// A sync may be larger by this part of it than it was when its socket was told that it is its turn: a graph that grows
/// all the time would else never go out.
const GROWTH_PART: usize = 4;

/// See the [module](self).
pub(super) struct Pacing {
    bytes_max: usize,
    on_the_way: BTreeMap<MemberId, Share>,
    /// Those who were told that it is their turn, and whose syncs have not come yet.
    due: BTreeMap<MemberId, Share>,
    waiting: VecDeque<Waiting>,
}

/// What somebody has of all that may be on its way.
struct Share {
    bytes: usize,
    since: Instant,
}

struct Waiting {
    id: MemberId,
    what: SyncDue,
    /// What it was worth when it was put off.
    bytes: usize,
}

impl Pacing {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            on_the_way: BTreeMap::new(),
            due: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Whether a sync of this size goes out now. If not, its socket waits, and is told later to ask for `what`.
    pub(super) fn admit(&mut self, id: MemberId, bytes: usize, what: SyncDue) -> bool {
        if self.is_small(bytes) {
            return true;
        }
        let charged = self.due.get(&id).map(|share| share.bytes);
        let goes = match charged {
            Some(charged) => bytes <= charged + charged / GROWTH_PART || self.has_room(id, bytes),
            None => self.waiting.is_empty() && self.has_room(id, bytes),
        };
        if !goes {
            let waiting = Waiting { id, what, bytes };
            if self.due.remove(&id).is_some() {
                self.waiting.push_front(waiting);
            } else {
                self.put_off(waiting);
            }
        }
        goes
    }

    /// A socket that was admitted was given so many bytes: none, if its queue did not take them.
    pub(super) fn given(&mut self, id: MemberId, bytes: usize, now: Instant) {
        self.due.remove(&id);
        self.wait_no_more(id);
        if !self.is_small(bytes) {
            let share = self.on_the_way.entry(id).or_insert(Share { bytes: 0, since: now });
            share.bytes += bytes;
            share.since = now;
        }
    }

    /// Whether something is on its way, or waits.
    pub(super) fn is_busy(&self) -> bool {
        !(self.on_the_way.is_empty() && self.due.is_empty() && self.waiting.is_empty())
    }

    /// Forgets those who have what they were given, and names one whose turn it is, and what it is to ask for.
    pub(super) fn next(&mut self, now: Instant, has_taken: impl Fn(MemberId) -> bool) -> Option<(MemberId, SyncDue)> {
        let is_recent = |share: &Share| now.duration_since(share.since) < TAKING_MAX;
        self.on_the_way.retain(|&id, share| is_recent(share) && !has_taken(id));
        self.due.retain(|_, share| is_recent(share));
        let &Waiting { id, what, bytes } = self.waiting.front()?;
        if !self.has_room(id, bytes) {
            return None;
        }
        self.waiting.pop_front();
        self.due.insert(id, Share { bytes, since: now });
        Some((id, what))
    }

    /// A socket is gone.
    pub(super) fn forget(&mut self, id: MemberId) {
        self.on_the_way.remove(&id);
        self.due.remove(&id);
        self.wait_no_more(id);
    }

    fn wait_no_more(&mut self, id: MemberId) {
        if !self.waiting.is_empty() {
            self.waiting.retain(|waiting| waiting.id != id);
        }
    }

    fn put_off(&mut self, new: Waiting) {
        let Some(latest) = self.waiting.iter_mut().find(|waiting| waiting.id == new.id) else {
            return self.waiting.push_back(new);
        };
        // Who gets everything needs nothing else, and may need everything.
        match (latest.what, new.what) {
            (SyncDue::Everything(_), SyncDue::Since { .. }) => {}
            (SyncDue::Since { .. }, _) | (_, SyncDue::Everything(_)) => *latest = new,
        }
    }

    const fn is_small(&self, bytes: usize) -> bool {
        bytes <= self.bytes_max / SMALL_PART
    }

    /// Whether there is room for so many bytes for a socket; what it was charged for its turn is in nobody's way. One
    /// always has room: what is larger than everything that may be on its way goes alone.
    fn has_room(&self, id: MemberId, bytes: usize) -> bool {
        let due = self.due.iter().filter(|(other, _)| **other != id);
        let shares = self.on_the_way.values().chain(due.map(|(_, share)| share));
        let taken: usize = shares.map(|share| share.bytes).sum();
        taken == 0 || taken + bytes <= self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::ids::{Epoch, Seq},
        fan_out::SyncReason,
        world::instant,
    };

    const JOIN: SyncDue = SyncDue::Everything(SyncReason::FirstJoin);

    /// A sync that comes and, if it may, goes.
    fn sent(pacing: &mut Pacing, id: u64, bytes: usize, now: Instant) -> bool {
        let goes = pacing.admit(MemberId(id), bytes, JOIN);
        if goes {
            pacing.given(MemberId(id), bytes, now);
        }
        goes
    }

    /// All whose turn it is.
    fn turns(pacing: &mut Pacing, now: Instant, has_taken: impl Fn(MemberId) -> bool) -> Vec<u64> {
        std::iter::from_fn(|| pacing.next(now, &has_taken))
            .map(|(id, _)| id.0)
            .collect()
    }

    fn since(seq: u64) -> SyncDue {
        SyncDue::Since {
            epoch: Epoch::new(7),
            after: Seq(seq),
        }
    }

    #[test]
    fn large_syncs_go_as_far_as_there_is_room_and_then_in_turn() {
        let (mut pacing, now) = (Pacing::new(6_400), instant());
        let admitted: Vec<u64> = (1..=4).filter(|&id| sent(&mut pacing, id, 3_000, now)).collect();
        assert_eq!(admitted, [1, 2], "two fit");
        assert!(sent(&mut pacing, 5, 100, now), "a small one never waits");
        assert_eq!(turns(&mut pacing, now, |_| false), [0; 0], "nobody has taken his");
        assert_eq!(turns(&mut pacing, now, |id| id.0 == 1), [3], "one has");
        assert!(!sent(&mut pacing, 6, 3_000, now), "nobody overtakes");
        assert!(sent(&mut pacing, 3, 3_000, now), "it was its turn");
        assert_eq!(turns(&mut pacing, now, |id| id.0 == 2), [4]);
        pacing.forget(MemberId(4));
        assert_eq!(turns(&mut pacing, now, |_| true), [6]);
    }

    #[test]
    fn nobody_keeps_others_waiting_for_long() {
        let (mut pacing, now) = (Pacing::new(100), instant());
        assert!(sent(&mut pacing, 1, 5_000, now), "what is too large for all goes alone");
        assert!(!sent(&mut pacing, 2, 5_000, now));
        assert_eq!(turns(&mut pacing, now, |_| false), [0; 0]);
        let later = now + TAKING_MAX;
        assert_eq!(turns(&mut pacing, later, |_| false), [2], "it has stalled");
        assert_eq!(turns(&mut pacing, later + TAKING_MAX, |_| true), [0; 0]);
        assert!(!pacing.is_busy(), "nor one whose sync never came");
    }

    #[test]
    fn who_waits_is_told_what_to_ask_for() {
        let divergence = SyncDue::Everything(SyncReason::Divergence);
        for (first, then, due) in [
            (JOIN, divergence, divergence),
            (since(3), since(5), since(5)),
            (since(3), divergence, divergence),
            (divergence, since(3), divergence),
        ] {
            let (mut pacing, now) = (Pacing::new(100), instant());
            assert!(sent(&mut pacing, 1, 100, now));
            assert!(!pacing.admit(MemberId(2), 100, first));
            assert!(!pacing.admit(MemberId(2), 100, then));
            assert_eq!(pacing.next(now, |_| true), Some((MemberId(2), due)));
        }
    }

    /// Whoever waits is charged what he waits for, whatever else is large.
    #[test]
    fn what_others_get_says_nothing_of_what_one_waits_for() {
        let (mut pacing, now) = (Pacing::new(6_400), instant());
        assert!(sent(&mut pacing, 1, 6_000, now));
        for id in 2..40 {
            assert!(!sent(&mut pacing, id, 6_000, now));
        }
        assert!(!pacing.admit(MemberId(40), 500, since(1)), "large, and it waits");
        for id in 2..40 {
            assert_eq!(turns(&mut pacing, now, |_| true), [id], "one fits");
            assert!(sent(&mut pacing, id, 6_000, now));
        }
        assert_eq!(pacing.next(now, |_| true), Some((MemberId(40), since(1))));
    }

    /// Many who wait for little, and then need much: what they need by then is what counts.
    #[test]
    fn a_sync_that_became_much_larger_waits_for_its_room() {
        let (mut pacing, now) = (Pacing::new(6_400), instant());
        assert!(sent(&mut pacing, 1, 6_400, now));
        for id in 2..=5 {
            assert!(!pacing.admit(MemberId(id), 1_000, since(1)));
        }
        assert_eq!(turns(&mut pacing, now, |_| true), [2, 3, 4, 5]);
        assert!(sent(&mut pacing, 2, 1_250, now), "a little more is let pass");
        assert!(!sent(&mut pacing, 3, 6_000, now), "much more is not");
        assert!(sent(&mut pacing, 4, 2_000, now), "unless there is room");
        assert!(sent(&mut pacing, 5, 1_000, now));
        assert!(!sent(&mut pacing, 6, 1_000, now));
        assert_eq!(
            turns(&mut pacing, now, |id| id.0 != 5),
            [0; 0],
            "it comes first, and has no room"
        );
        assert_eq!(pacing.next(now, |_| true), Some((MemberId(3), JOIN)));
        assert!(
            sent(&mut pacing, 3, 9_000, now),
            "alone it has room, whatever it became"
        );
        assert_eq!(
            turns(&mut pacing, now, |_| false),
            [0; 0],
            "and is counted as what it is"
        );
        assert_eq!(turns(&mut pacing, now, |_| true), [6]);
    }

    #[test]
    fn what_a_queue_did_not_take_is_not_on_its_way() {
        let (mut pacing, now) = (Pacing::new(100), instant());
        assert!(pacing.admit(MemberId(1), 100, JOIN));
        pacing.given(MemberId(1), 0, now);
        assert!(!pacing.is_busy());
        assert!(sent(&mut pacing, 2, 100, now));
        assert!(!sent(&mut pacing, 3, 100, now));
        assert_eq!(turns(&mut pacing, now, |_| true), [3]);
        assert!(pacing.admit(MemberId(3), 100, JOIN));
        pacing.given(MemberId(3), 0, now);
        assert!(!pacing.is_busy(), "its turn is over");

        assert!(sent(&mut pacing, 4, 60, now));
        assert!(pacing.admit(MemberId(4), 40, JOIN));
        pacing.given(MemberId(4), 0, now);
        assert!(!sent(&mut pacing, 5, 60, now), "what it took before is");
    }
}
