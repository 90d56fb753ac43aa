//! Who is in a room, and what each of them says of himself: what has to be told to whom, and when.
//!
//! Changes are gathered and told together, at most once in an interval. As long as nobody ever said anything, nothing
//! is gathered: that somebody came or went is told anyway. The first who says something puts the room *in use*. A room
//! that takes over the sockets of another is in use from the start: somebody may have gone with what he had said.
//!
//! What a socket says is in its own [`Presence`] and is read when it is told, so what is gathered here is who changed,
//! not what. The sockets of one name are one client, who says what the socket said that spoke last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    domain::ids::ClientId,
    fan_out::{Member, MemberId, MemberInfo, Presence, PresenceDiff, PresenceEntry, PresenceList, PresenceState, Said},
};

/// See the [module](self).
pub(super) struct RoomPresence {
    clients_max: usize,
    sockets: BTreeMap<MemberId, Socket>,
    clients: BTreeMap<ClientId, Client>,
    /// Those who are told of, by when they came: as many as there may be.
    listed: BTreeMap<Arrival, ClientId>,
    /// The others. The first of them is listed as soon as there is room.
    unlisted: BTreeMap<Arrival, ClientId>,
    next_arrival: Arrival,
    is_in_use: bool,
    /// Sockets that said something that nobody was told.
    spoke: BTreeSet<MemberId>,
    /// Clients about whom something may be different.
    changed: BTreeSet<ClientId>,
    /// Whom the room was told of, and what.
    told: BTreeMap<ClientId, Told>,
    /// Sockets that know nothing for certain: they get everything.
    stale: BTreeSet<MemberId>,
}

type Arrival = u64;

struct Socket {
    info: MemberInfo,
    presence: Presence,
    /// What it said, as far as it is told.
    said: Option<Arc<Said>>,
}

struct Client {
    arrival: Arrival,
    sockets: BTreeSet<MemberId>,
}

struct Told {
    state: Option<PresenceState>,
    /// To everybody; else only to some, who came since.
    by_all: bool,
    /// Some who came since may know of something else.
    is_even: bool,
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
            spoke: BTreeSet::new(),
            changed: BTreeSet::new(),
            told: BTreeMap::new(),
            stale: BTreeSet::new(),
        }
    }

    /// A socket comes.
    pub(super) fn joined(&mut self, member: &Member) {
        self.take_in(member);
        self.note(&member.info.client_id);
    }

    /// A socket comes that was here before: nobody else is told that it came, and it is told everything. A room that did
    /// not know it has taken the place of another, of which it cannot know whether it was in use: so it is.
    pub(super) fn adopted(&mut self, member: &Member) {
        if !self.is_in_use && !self.sockets.contains_key(&member.id) {
            self.begin_use();
        }
        self.take_in(member);
        let client_id = &member.info.client_id;
        if self.is_in_use && !self.told.contains_key(client_id) && self.is_listed(client_id) {
            let told = Told::to_all(self.entry(client_id).and_then(|entry| entry.state));
            self.told.insert(client_id.clone(), told);
        }
        self.note(client_id);
        self.missed(member.id);
    }

    /// A socket says something else. What it says is read when it is told.
    pub(super) fn changed(&mut self, id: MemberId) {
        if !self.sockets.contains_key(&id) {
            return;
        }
        if !self.is_in_use {
            self.begin_use();
        }
        self.spoke.insert(id);
    }

    /// A socket goes.
    pub(super) fn left(&mut self, id: MemberId) {
        let Some(Socket { info, .. }) = self.sockets.remove(&id) else {
            return;
        };
        self.spoke.remove(&id);
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
                self.list_another();
            }
        }
        self.note(&info.client_id);
    }

    /// A socket missed packets, and gets everything with what is told next.
    pub(super) fn missed(&mut self, id: MemberId) {
        if self.is_in_use {
            self.stale.insert(id);
        }
    }

    /// Whether there is something to tell.
    pub(super) fn is_pending(&self) -> bool {
        !(self.spoke.is_empty() && self.changed.is_empty() && self.stale.is_empty())
    }

    /// Who is here, for a client that has just come. It learns of others before everybody does, and must be told if
    /// they are gone by then.
    pub(super) fn list_for(&mut self, newcomer: &ClientId) -> PresenceList {
        for client_id in &self.changed {
            if let Some(told) = self.told.get_mut(client_id) {
                told.is_even = false;
            } else if client_id != newcomer && self.is_listed(client_id) {
                self.told.insert(client_id.clone(), Told::to_some());
            }
        }
        self.list()
    }

    /// Who is here.
    pub(super) fn list(&self) -> PresenceList {
        let clients = self.listed.values().filter_map(|client_id| self.entry(client_id));
        PresenceList {
            clients: clients.collect(),
            total: self.clients.len(),
        }
    }

    /// What is different since the last time.
    pub(super) fn diff(&mut self) -> PresenceDiff {
        self.hear();
        let mut diff = PresenceDiff::default();
        for client_id in std::mem::take(&mut self.changed) {
            let told = self.told.remove(&client_id);
            let entry = self.entry(&client_id).filter(|_| self.is_listed(&client_id));
            let Some(entry) = entry else {
                if told.is_some() {
                    diff.leaves.push(client_id);
                }
                continue;
            };
            self.told.insert(client_id, Told::to_all(entry.state.clone()));
            match told {
                Some(told) if told.by_all => {
                    if !told.is_even || !same(told.state.as_ref(), entry.state.as_ref()) {
                        diff.updates.push(entry);
                    }
                }
                Some(_) | None => diff.joins.push(entry),
            }
        }
        diff
    }

    /// Whether somebody needs everything.
    pub(super) fn has_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// At most so many of those who need everything, who are then no more among them.
    pub(super) fn take_stale(&mut self, max: usize) -> Vec<MemberId> {
        if max >= self.stale.len() {
            return std::mem::take(&mut self.stale).into_iter().collect();
        }
        std::iter::from_fn(|| self.stale.pop_first()).take(max).collect()
    }

    /// Whether a socket needs everything: what is different means nothing to it.
    pub(super) fn is_stale(&self, id: MemberId) -> bool {
        self.stale.contains(&id)
    }

    /// Somebody says something for the first time: from here on everybody is kept up to date.
    fn begin_use(&mut self) {
        self.is_in_use = true;
        self.stale = self.sockets.keys().copied().collect();
        let listed = self.listed.values().cloned();
        self.told = listed.map(|client_id| (client_id, Told::to_all(None))).collect();
    }

    /// Gives a socket its place, with what it has said before it was here.
    fn take_in(&mut self, member: &Member) {
        let said = member.presence.take();
        if said.is_some() && !self.is_in_use {
            self.begin_use();
        }
        self.seat(member, said);
    }

    fn seat(&mut self, member: &Member, said: Option<Arc<Said>>) {
        let info = member.info.clone();
        let client_id = info.client_id.clone();
        let presence = member.presence.clone();
        self.sockets.insert(member.id, Socket { info, presence, said });
        if let Some(client) = self.clients.get_mut(&client_id) {
            client.sockets.insert(member.id);
            return;
        }
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        let sockets = BTreeSet::from([member.id]);
        self.clients.insert(client_id.clone(), Client { arrival, sockets });
        self.unlisted.insert(arrival, client_id);
        self.list_another();
    }

    /// Lists who came first of those who are not listed, if there is room.
    fn list_another(&mut self) {
        if self.listed.len() < self.clients_max
            && let Some((arrival, client_id)) = self.unlisted.pop_first()
        {
            self.note(&client_id);
            self.listed.insert(arrival, client_id);
        }
    }

    /// Something may be different about a client.
    fn note(&mut self, client_id: &ClientId) {
        if self.is_in_use {
            self.changed.insert(client_id.clone());
        }
    }

    /// Reads what sockets said.
    fn hear(&mut self) {
        for id in std::mem::take(&mut self.spoke) {
            if let Some(socket) = self.sockets.get_mut(&id) {
                socket.said = socket.presence.take();
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
        let spoke_last = sockets()
            .filter_map(|socket| socket.said.as_ref())
            .max_by_key(|said| said.at);
        Some(PresenceEntry {
            info: sockets().next_back()?.info.clone(),
            state: spoke_last.and_then(|said| said.state.clone()),
        })
    }
}

impl Told {
    const fn to_all(state: Option<PresenceState>) -> Self {
        Self {
            state,
            by_all: true,
            is_even: true,
        }
    }

    const fn to_some() -> Self {
        Self {
            state: None,
            by_all: false,
            is_even: false,
        }
    }
}

fn same(one: Option<&PresenceState>, other: Option<&PresenceState>) -> bool {
    one.map(|state| state.get()) == other.map(|state| state.get())
}

/// Who these are, as their room would list them.
pub(crate) fn list<'a>(members: impl IntoIterator<Item = &'a Member>, clients_max: usize) -> PresenceList {
    let mut room = RoomPresence::new(clients_max);
    for member in members {
        room.seat(member, member.presence.said());
    }
    room.list()
}

#[cfg(test)]
mod tests;
