//! Members of a session's room, kept across failures of the session's actor.

use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::OrdMap;

use crate::fan_out::{Member, MemberId};

/// Registry of the members of a room, as the session's actor last wrote it. The registry belongs to the session and not
/// to its actor: sockets stay connected while both the session's actor and the room's actor restart, and no other part
/// knows the sockets then. The session's actor is the only writer.
#[derive(Clone, Default)]
pub struct MemberRegistry(Arc<ArcSwap<OrdMap<MemberId, Member>>>);

/// Members at one moment. Taking a copy is cheap: the entries are shared with the actor until either side changes.
pub type MemberSet = OrdMap<MemberId, Member>;

/// Members as the actor sees them. Each change is written to the [`MemberRegistry`] at once, because a failing actor
/// cannot write any more.
pub(super) struct Members {
    now: OrdMap<MemberId, Member>,
    member_registry: MemberRegistry,
}

impl MemberRegistry {
    /// Returns the registered members.
    pub(crate) fn members(&self) -> impl Iterator<Item = Member> + use<> {
        let members = OrdMap::clone(&self.0.load());
        members.into_iter().map(|(_, member)| member)
    }
}

impl Members {
    /// Creates an empty member list. The registered members are added when the actor adopts them.
    pub(super) fn new(member_registry: MemberRegistry) -> Self {
        Self {
            now: OrdMap::new(),
            member_registry,
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

    pub(super) fn all(&self) -> MemberSet {
        self.now.clone()
    }

    pub(super) fn insert(&mut self, member: Member) {
        self.now.insert(member.id, member);
        self.publish();
    }

    /// Removes a member. Returns false if `id` is not a member.
    pub(super) fn remove(&mut self, id: MemberId) -> bool {
        let was_member = self.now.remove(&id).is_some();
        self.publish();
        was_member
    }

    /// Removes and returns all members.
    pub(super) fn take(&mut self) -> Vec<Member> {
        let all = std::mem::take(&mut self.now);
        self.publish();
        all.into_iter().map(|(_, member)| member).collect()
    }

    /// Publishes the current members. The map is persistent: a clone shares all its nodes, whatever the number of
    /// members.
    fn publish(&self) {
        self.member_registry.0.store(Arc::new(self.now.clone()));
    }
}
