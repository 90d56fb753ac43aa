//! Presence of a room: an IO-less state machine that computes lists and diffs of the present clients.
//!
//! Changes are gathered and published together, at most once per interval. Until the first client sends a presence
//! state nothing is gathered, because joins and leaves are published separately. The first state puts the room *in
//! use*. A room that takes over the sockets of another room is in use from the start: a client with a state may have
//! left unnoticed.
//!
//! The state of a socket is in its own [`Presence`] cell and is read at publication. The room therefore gathers the ids
//! of changed sockets, not the states. Sockets with the same client id are one client, with the latest state of all
//! these sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    domain::ids::ClientId,
    fan_out::{
        Member, MemberId, MemberInfo, Presence, PresenceDiff, PresenceEntry, PresenceList, PresenceState,
        PresenceUpdate,
    },
};

/// Presence state machine of a room; see the [module](self).
pub(super) struct RoomPresence {
    clients_max: usize,
    sockets: BTreeMap<MemberId, Socket>,
    clients: BTreeMap<ClientId, Client>,
    /// Listed clients in order of arrival, at most `clients_max`.
    listed: BTreeMap<Arrival, ClientId>,
    /// Clients beyond the limit. The first is listed as soon as there is room.
    unlisted: BTreeMap<Arrival, ClientId>,
    next_arrival: Arrival,
    is_in_use: bool,
    /// Sockets with an unread state.
    unread: BTreeSet<MemberId>,
    /// Clients whose published entry may be outdated.
    changed: BTreeSet<ClientId>,
    /// Published entries.
    published: BTreeMap<ClientId, KnownPresence>,
    /// Sockets that missed packets and get the full list.
    stale: BTreeSet<MemberId>,
}

type Arrival = u64;

struct Socket {
    info: MemberInfo,
    presence: Presence,
    /// State that was read last.
    update: Option<Arc<PresenceUpdate>>,
}

struct Client {
    arrival: Arrival,
    sockets: BTreeSet<MemberId>,
}

struct KnownPresence {
    state: Option<PresenceState>,
    /// True if all members know the entry; false if only some newer members do.
    known_to_all: bool,
    /// False if some newer members may know a different entry.
    is_uniform: bool,
}

impl RoomPresence {
    pub(super) const fn new(clients_max: usize) -> Self {
        Self {
            clients_max,
            sockets: BTreeMap::new(),
            clients: BTreeMap::new(),
            listed: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            next_arrival: 0,
            is_in_use: false,
            unread: BTreeSet::new(),
            changed: BTreeSet::new(),
            published: BTreeMap::new(),
            stale: BTreeSet::new(),
        }
    }

    /// Adds a socket.
    pub(super) fn joined(&mut self, member: &Member) {
        self.add_socket(member);
        self.mark_changed(&member.info.client_id);
    }

    /// Adds a socket that was in the room before. Its client is not published as new, and the socket gets the full
    /// list. A room that does not know the socket has replaced another room; that room may have been in use, so this
    /// one is.
    pub(super) fn adopted(&mut self, member: &Member) {
        if !self.is_in_use && !self.sockets.contains_key(&member.id) {
            self.begin_use();
        }
        self.add_socket(member);
        let client_id = &member.info.client_id;
        if self.is_in_use && !self.published.contains_key(client_id) && self.is_listed(client_id) {
            let published = KnownPresence::to_all(self.entry(client_id).and_then(|entry| entry.state));
            self.published.insert(client_id.clone(), published);
        }
        self.mark_changed(client_id);
        self.mark_stale(member.id);
    }

    /// Notes that the state of a socket changed. The state is read at publication.
    pub(super) fn changed(&mut self, id: MemberId) {
        if !self.sockets.contains_key(&id) {
            return;
        }
        if !self.is_in_use {
            self.begin_use();
        }
        self.unread.insert(id);
    }

    /// Removes a socket.
    pub(super) fn left(&mut self, id: MemberId) {
        let Some(Socket { info, .. }) = self.sockets.remove(&id) else {
            return;
        };
        self.unread.remove(&id);
        self.stale.remove(&id);
        let Some(client) = self.clients.get_mut(&info.client_id) else {
            return;
        };
        client.sockets.remove(&id);
        if client.sockets.is_empty() {
            let arrival = client.arrival;
            self.clients.remove(&info.client_id);
            self.unlisted.remove(&arrival);
            if self.listed.remove(&arrival).is_some() {
                self.list_next();
            }
        }
        self.mark_changed(&info.client_id);
    }

    /// Marks a socket after missed packets: the socket gets the full list with the next publication.
    pub(super) fn mark_stale(&mut self, id: MemberId) {
        if self.is_in_use {
            self.stale.insert(id);
        }
    }

    /// Returns true if there is something to publish.
    pub(super) fn is_pending(&self) -> bool {
        !(self.unread.is_empty() && self.changed.is_empty() && self.stale.is_empty())
    }

    /// Returns the full list for a new member. The new member sees unpublished changes, so a listed client that leaves
    /// before the publication is published as a leave.
    pub(super) fn list_for(&mut self, newcomer: &ClientId) -> PresenceList {
        for client_id in &self.changed {
            if let Some(published) = self.published.get_mut(client_id) {
                published.is_uniform = false;
            } else if client_id != newcomer && self.is_listed(client_id) {
                self.published.insert(client_id.clone(), KnownPresence::to_some());
            }
        }
        self.list()
    }

    /// Returns the full list.
    pub(super) fn list(&self) -> PresenceList {
        let clients = self.listed.values().filter_map(|client_id| self.entry(client_id));
        PresenceList {
            clients: clients.collect(),
            total: self.clients.len(),
        }
    }

    /// Returns the changes since the last publication and marks them as published.
    pub(super) fn diff(&mut self) -> PresenceDiff {
        self.read_states();
        let mut diff = PresenceDiff::default();
        for client_id in std::mem::take(&mut self.changed) {
            let published = self.published.remove(&client_id);
            let entry = self.entry(&client_id).filter(|_| self.is_listed(&client_id));
            let Some(entry) = entry else {
                if published.is_some() {
                    diff.leaves.push(client_id);
                }
                continue;
            };
            self.published
                .insert(client_id, KnownPresence::to_all(entry.state.clone()));
            match published {
                Some(published) if published.known_to_all => {
                    if !published.is_uniform || !same(published.state.as_ref(), entry.state.as_ref()) {
                        diff.updates.push(entry);
                    }
                }
                Some(_) | None => diff.joins.push(entry),
            }
        }
        diff
    }

    /// Returns true if a socket needs the full list.
    pub(super) fn has_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// Removes and returns up to `max` of the sockets that need the full list.
    pub(super) fn take_stale(&mut self, max: usize) -> Vec<MemberId> {
        if max >= self.stale.len() {
            return std::mem::take(&mut self.stale).into_iter().collect();
        }
        std::iter::from_fn(|| self.stale.pop_first()).take(max).collect()
    }

    /// Returns true if a socket needs the full list, without which a diff is meaningless.
    pub(super) fn is_stale(&self, id: MemberId) -> bool {
        self.stale.contains(&id)
    }

    /// Puts the room in use: from now on all members are kept up to date.
    fn begin_use(&mut self) {
        self.is_in_use = true;
        self.stale = self.sockets.keys().copied().collect();
        let listed = self.listed.values().cloned();
        self.published = listed
            .map(|client_id| (client_id, KnownPresence::to_all(None)))
            .collect();
    }

    /// Adds a socket with the state sent before the join.
    fn add_socket(&mut self, member: &Member) {
        let update = member.presence.take();
        if update.is_some() && !self.is_in_use {
            self.begin_use();
        }
        self.insert_socket(member, update);
    }

    fn insert_socket(&mut self, member: &Member, update: Option<Arc<PresenceUpdate>>) {
        let info = member.info.clone();
        let client_id = info.client_id.clone();
        let presence = member.presence.clone();
        self.sockets.insert(member.id, Socket { info, presence, update });
        if let Some(client) = self.clients.get_mut(&client_id) {
            client.sockets.insert(member.id);
            return;
        }
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        let sockets = BTreeSet::from([member.id]);
        self.clients.insert(client_id.clone(), Client { arrival, sockets });
        self.unlisted.insert(arrival, client_id);
        self.list_next();
    }

    /// Lists the first unlisted client if there is room.
    fn list_next(&mut self) {
        if self.listed.len() < self.clients_max
            && let Some((arrival, client_id)) = self.unlisted.pop_first()
        {
            self.mark_changed(&client_id);
            self.listed.insert(arrival, client_id);
        }
    }

    /// Marks a client's entry as possibly outdated.
    fn mark_changed(&mut self, client_id: &ClientId) {
        if self.is_in_use {
            self.changed.insert(client_id.clone());
        }
    }

    /// Reads the unread states.
    fn read_states(&mut self) {
        for id in std::mem::take(&mut self.unread) {
            if let Some(socket) = self.sockets.get_mut(&id) {
                socket.update = socket.presence.take();
                let client_id = socket.info.client_id.clone();
                self.changed.insert(client_id);
            }
        }
    }

    fn is_listed(&self, client_id: &ClientId) -> bool {
        let client = self.clients.get(client_id);
        client.is_some_and(|client| self.listed.contains_key(&client.arrival))
    }

    fn entry(&self, client_id: &ClientId) -> Option<PresenceEntry> {
        let client = self.clients.get(client_id)?;
        let sockets = || client.sockets.iter().filter_map(|id| self.sockets.get(id));
        let latest = sockets()
            .filter_map(|socket| socket.update.as_ref())
            .max_by_key(|update| update.at);
        Some(PresenceEntry {
            info: sockets().next_back()?.info.clone(),
            state: latest.and_then(|update| update.state.clone()),
        })
    }
}

impl KnownPresence {
    const fn to_all(state: Option<PresenceState>) -> Self {
        Self {
            state,
            known_to_all: true,
            is_uniform: true,
        }
    }

    const fn to_some() -> Self {
        Self {
            state: None,
            known_to_all: false,
            is_uniform: false,
        }
    }
}

fn same(one: Option<&PresenceState>, other: Option<&PresenceState>) -> bool {
    one.map(|state| state.get()) == other.map(|state| state.get())
}

/// Returns the presence list of a room with these members.
pub(crate) fn list<'a>(members: impl IntoIterator<Item = &'a Member>, clients_max: usize) -> PresenceList {
    let mut room = RoomPresence::new(clients_max);
    for member in members {
        room.insert_socket(member, member.presence.load());
    }
    room.list()
}

#[cfg(test)]
mod tests;
