//! The sockets of a session: what its actor and the next one must not lose.

use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::OrdMap;

use crate::fan_out::{Member, MemberId};

/// Who is in a room, as the session's actor last had it. It is the session's, not its actor's: sockets stay connected
/// while both the actor and the room's start again, and nobody else would know of them. The actor alone writes.
#[derive(Clone, Default)]
pub struct Roll(Arc<ArcSwap<OrdMap<MemberId, Member>>>);

/// The members at a moment. Cheap to take: it shares them with the actor until either changes.
pub type Everybody = OrdMap<MemberId, Member>;

/// The members as the actor has them. Each change is on the [`Roll`] at once: an actor that fails has no time for it.
pub(super) struct Members {
    now: OrdMap<MemberId, Member>,
    roll: Roll,
}

impl Roll {
    /// Those who are on it.
    pub(crate) fn members(&self) -> impl Iterator<Item = Member> + use<> {
        let members = OrdMap::clone(&self.0.load());
        members.into_iter().map(|(_, member)| member)
    }
}

impl Members {
    /// Nobody, until they are adopted.
    pub(super) fn new(roll: Roll) -> Self {
        Self {
            now: OrdMap::new(),
            roll,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.now.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    pub(super) fn contains(&self, id: MemberId) -> bool {
        self.now.contains_key(&id)
    }

    pub(super) fn all(&self) -> Everybody {
        self.now.clone()
    }

    pub(super) fn insert(&mut self, member: Member) {
        self.now.insert(member.id, member);
        self.show();
    }

    /// Whether it was one.
    pub(super) fn remove(&mut self, id: MemberId) -> bool {
        let was_one = self.now.remove(&id).is_some();
        self.show();
        was_one
    }

    /// Takes everybody.
    pub(super) fn take(&mut self) -> Vec<Member> {
        let all = std::mem::take(&mut self.now);
        self.show();
        all.into_iter().map(|(_, member)| member).collect()
    }

    /// A persistent map: showing a new version costs a few pointers, whatever its size.
    fn show(&self) {
        self.roll.0.store(Arc::new(self.now.clone()));
    }
}
