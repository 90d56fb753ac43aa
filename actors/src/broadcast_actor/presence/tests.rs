//! given(joins, states, leaves) then(published lists and diffs).

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::{
    domain::ids::Seq,
    fan_out::{DeferredSync, Delivery, Frame, Release, RoomSocket, SendError},
};

/// Socket that takes no packet.
struct Deaf;

impl RoomSocket for Deaf {
    fn send(&self, _: &Frame) -> Result<(), SendError> {
        Err(SendError::Closed)
    }
    fn mark_lagging(&self, _: Seq, _: u32) {}
    fn has_drained(&self) -> bool {
        true
    }
    fn grant_sync(&self, _: DeferredSync) {}
    fn release(&self, _: Release) {}
}

fn socket(id: u64, client: &str) -> Member {
    Member {
        id: MemberId(id),
        info: MemberInfo {
            client_id: client.parse().expect("a client id"),
            user: None,
        },
        frames: Delivery::Single,
        presence: Presence::default(),
        socket: Arc::new(Deaf),
    }
}

fn state(text: &str) -> Option<PresenceState> {
    (text != "-").then(|| RawValue::from_string(text.to_owned()).expect("JSON").into())
}

/// Sends a presence state, and notifies the room unless a notice is on its way.
fn says(room: &mut RoomPresence, member: &Member, text: &str) -> bool {
    let told = member.presence.set(state(text));
    if told {
        room.changed(member.id);
    }
    told
}

fn shown(entries: &[PresenceEntry]) -> Vec<String> {
    let entry = |entry: &PresenceEntry| {
        let state = entry.state.as_ref().map_or("-", |state| state.get());
        format!("{:?} {state}", entry.info.client_id)
            .replace("ClientId(", "")
            .replace(['"', ')'], "")
    };
    entries.iter().map(entry).collect()
}

fn assert_diff(room: &mut RoomPresence, joins: &[&str], updates: &[&str], leaves: &[&str]) {
    let diff = room.diff();
    let leaving: Vec<String> = diff.leaves.iter().map(ToString::to_string).collect();
    assert_eq!(
        (shown(&diff.joins), shown(&diff.updates), leaving),
        (owned(joins), owned(updates), owned(leaves))
    );
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn room_of(members: &[&Member]) -> RoomPresence {
    let mut room = RoomPresence::new(100);
    for member in members {
        room.joined(member);
    }
    room
}

/// Returns a room in use whose members are all up to date.
fn even_room(members: &[&Member]) -> RoomPresence {
    let mut room = room_of(members);
    room.begin_use();
    room.take_stale(usize::MAX);
    room
}

#[test]
fn unused_room_gathers_no_changes() {
    let (ann, bob) = (socket(1, "ann"), socket(2, "bob"));
    let mut room = room_of(&[&ann, &bob]);
    room.left(bob.id);
    room.joined(&bob);
    room.mark_stale(bob.id);
    assert!(!room.is_pending());
    assert_eq!(shown(&room.list().clients), ["ann -", "bob -"]);
    assert_diff(&mut room, &[], &[], &[]);
}

#[test]
fn first_state_sends_the_full_list_to_all() {
    let (ann, bob) = (socket(1, "ann"), socket(2, "bob"));
    let mut room = room_of(&[&ann, &bob]);
    assert!(says(&mut room, &bob, "1"));
    assert!(room.is_pending());
    assert_diff(&mut room, &[], &["bob 1"], &[]);
    assert_eq!(room.take_stale(usize::MAX), [ann.id, bob.id]);
    assert_eq!(shown(&room.list().clients), ["ann -", "bob 1"]);
    assert!(!room.is_pending());
}

#[test]
fn changes_of_an_interval_are_merged() {
    let (ann, bob, cat) = (socket(1, "ann"), socket(2, "bob"), socket(3, "cat"));
    let mut room = even_room(&[&ann, &bob]);
    room.joined(&cat);
    for number in 0..10 {
        assert_eq!(says(&mut room, &ann, &number.to_string()), number == 0, "told once");
    }
    room.left(bob.id);
    assert_diff(&mut room, &["cat -"], &["ann 9"], &["bob"]);
    assert!(!room.is_pending());
    assert!(says(&mut room, &ann, "10"), "notified again after the state was read");
    assert_diff(&mut room, &[], &["ann 10"], &[]);
}

#[test]
fn reverted_changes_are_not_published() {
    let (ann, bob, cat) = (socket(1, "ann"), socket(2, "bob"), socket(3, "cat"));
    let mut room = even_room(&[&ann, &cat]);
    room.joined(&bob);
    says(&mut room, &bob, "1");
    room.left(bob.id);
    room.left(cat.id);
    room.joined(&cat);
    assert!(room.is_pending());
    assert_diff(&mut room, &[], &[], &[]);
    says(&mut room, &ann, "1");
    assert_diff(&mut room, &[], &["ann 1"], &[]);
    says(&mut room, &ann, "1");
    assert_diff(&mut room, &[], &[], &[]);
    says(&mut room, &ann, "-");
    assert_diff(&mut room, &[], &["ann -"], &[]);
}

#[test]
fn unpublished_join_seen_by_a_newcomer_is_retracted() {
    let (ann, bob, cat) = (socket(1, "ann"), socket(2, "bob"), socket(3, "cat"));
    let mut room = even_room(&[&ann]);
    room.joined(&bob);
    room.list_for(&bob.info.client_id);
    room.joined(&cat);
    let list = room.list_for(&cat.info.client_id);
    assert_eq!(shown(&list.clients), ["ann -", "bob -", "cat -"]);
    room.left(bob.id);
    assert_diff(&mut room, &["cat -"], &[], &["bob"]);
    room.joined(&bob);
    room.list_for(&bob.info.client_id);
    room.left(bob.id);
    assert_diff(&mut room, &[], &[], &[]);
}

#[test]
fn unpublished_state_seen_by_a_newcomer_is_corrected() {
    let (ann, again, bob) = (socket(1, "ann"), socket(2, "ann"), socket(3, "bob"));
    let mut room = even_room(&[&ann]);
    let _ = again.presence.set(state("2"));
    room.joined(&again);
    room.joined(&bob);
    assert_eq!(shown(&room.list_for(&bob.info.client_id).clients), ["ann 2", "bob -"]);
    room.left(again.id);
    assert_diff(&mut room, &["bob -"], &["ann -"], &[]);
}

#[test]
fn sockets_of_a_client_are_merged() {
    let (one, two, bob) = (socket(1, "ann"), socket(2, "ann"), socket(3, "bob"));
    let mut room = even_room(&[&one, &bob]);
    says(&mut room, &one, "1");
    room.joined(&two);
    assert_diff(&mut room, &[], &["ann 1"], &[]);
    says(&mut room, &two, "2");
    assert_diff(&mut room, &[], &["ann 2"], &[]);
    says(&mut room, &two, "-");
    assert_diff(&mut room, &[], &["ann -"], &[]);
    says(&mut room, &one, "3");
    assert_diff(&mut room, &[], &["ann 3"], &[]);
    room.left(one.id);
    assert_diff(&mut room, &[], &["ann -"], &[]);
    assert_eq!(room.list().total, 2);
    room.left(two.id);
    assert_diff(&mut room, &[], &[], &["ann"]);
}

#[test]
fn clients_beyond_the_limit_are_counted_and_move_up() {
    let sockets: Vec<Member> = (1..=5).map(|id| socket(id, &format!("c{id}"))).collect();
    let mut room = RoomPresence::new(2);
    for member in &sockets {
        room.joined(member);
    }
    assert_eq!(
        (shown(&room.list().clients), room.list().total),
        (owned(&["c1 -", "c2 -"]), 5)
    );
    says(&mut room, &sockets[2], "3");
    says(&mut room, &sockets[1], "2");
    assert_diff(&mut room, &[], &["c2 2"], &[]);
    room.left(sockets[3].id);
    assert_diff(&mut room, &[], &[], &[]);
    room.left(sockets[0].id);
    assert_diff(&mut room, &["c3 3"], &[], &["c1"]);
    assert_eq!(
        (shown(&room.list().clients), room.list().total),
        (owned(&["c2 2", "c3 3"]), 3)
    );
    let all = list(&sockets, 3);
    assert_eq!((shown(&all.clients), all.total), (owned(&["c1 -", "c2 2", "c3 3"]), 5));
}

#[test]
fn adopted_sockets_get_the_full_list_and_no_join() {
    let (ann, bob) = (socket(1, "ann"), socket(2, "bob"));
    let _ = bob.presence.set(state("1"));
    let mut room = RoomPresence::new(100);
    room.adopted(&ann);
    assert!(room.is_stale(ann.id), "the list of ann may hold a client that left");
    room.adopted(&bob);
    assert!(bob.presence.set(state("2")), "the room has read the earlier state");
    room.changed(bob.id);
    assert_diff(&mut room, &[], &["bob 2"], &[]);
    assert_eq!(room.take_stale(1), [ann.id]);
    assert!(room.is_stale(bob.id) && room.is_pending(), "bob is served later");
    assert_eq!(room.take_stale(1), [bob.id]);
    room.adopted(&ann);
    room.adopted(&bob);
    assert_diff(&mut room, &[], &[], &[]);
    assert_eq!(
        room.take_stale(9),
        [ann.id, bob.id],
        "a restarted session hands over the present sockets"
    );
}

#[test]
fn session_restart_does_not_put_a_room_in_use() {
    let (ann, bob) = (socket(1, "ann"), socket(2, "bob"));
    let mut room = room_of(&[&ann, &bob]);
    room.adopted(&ann);
    assert!(!room.is_pending(), "no packet was missed and no state was sent");
    let _ = bob.presence.set(state("1"));
    room.adopted(&bob);
    assert_eq!(room.take_stale(9), [ann.id, bob.id], "the notice was lost");
    assert_diff(&mut room, &[], &["bob 1"], &[]);
}

#[test]
fn state_sent_before_joining_is_read_at_the_join() {
    let ann = socket(1, "ann");
    let mut room = RoomPresence::new(100);
    assert!(says(&mut room, &ann, "1"));
    assert!(!room.is_pending(), "the client has not joined");
    room.joined(&ann);
    assert_eq!(shown(&room.list_for(&ann.info.client_id).clients), ["ann 1"]);
    assert!(ann.presence.set(state("2")), "the next time is told again");
}

#[test]
fn empty_room_keeps_no_state() {
    let (ann, bob) = (socket(1, "ann"), socket(2, "bob"));
    let mut room = even_room(&[&ann, &bob]);
    says(&mut room, &ann, "1");
    room.left(ann.id);
    room.left(bob.id);
    room.diff();
    let empty = room.sockets.is_empty() && room.clients.is_empty() && room.published.is_empty();
    assert!(empty && room.listed.is_empty() && room.unlisted.is_empty() && !room.is_pending());
}

/// Step of a random history; the number is the place of a socket.
#[derive(Debug, Clone)]
enum Step {
    Join(u64),
    Leave(u64),
    Say(u64, u8),
    FallBehind(u64),
    Resync(u64),
    Tell { stale_max: usize },
    ReplaceRoom,
    RestartSession,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let socket = 0..8_u64;
    let step = prop_oneof![
        4 => socket.clone().prop_map(Step::Join),
        3 => socket.clone().prop_map(Step::Leave),
        6 => (socket.clone(), 0..4_u8).prop_map(|(id, says)| Step::Say(id, says)),
        1 => socket.clone().prop_map(Step::FallBehind),
        2 => socket.prop_map(Step::Resync),
        4 => (1..4_usize).prop_map(|stale_max| Step::Tell { stale_max }),
        1 => Just(Step::ReplaceRoom),
        1 => Just(Step::RestartSession),
    ];
    proptest::collection::vec(step, 0..60)
}

/// Room with the replicas of its members.
struct Scene {
    room: RoomPresence,
    clients_max: usize,
    replicas: BTreeMap<MemberId, Replica>,
    next_id: u64,
}

struct Replica {
    member: Member,
    knows: BTreeMap<String, String>,
    is_behind: bool,
}

impl Replica {
    fn is_told(&mut self, list: &PresenceList) {
        self.knows = known(&list.clients);
    }

    fn is_told_diff(&mut self, diff: &PresenceDiff) {
        self.knows.extend(known(&diff.joins));
        self.knows.extend(known(&diff.updates));
        for client_id in &diff.leaves {
            self.knows.remove(client_id.as_str());
        }
    }
}

fn known(entries: &[PresenceEntry]) -> BTreeMap<String, String> {
    let state = |entry: &PresenceEntry| entry.state.as_ref().map_or("-", |state| state.get()).to_owned();
    let entries = entries.iter();
    entries
        .map(|entry| (entry.info.client_id.to_string(), state(entry)))
        .collect()
}

impl Scene {
    /// Returns the socket at a place, if there is one. Two places share a client.
    fn at(&self, place: u64) -> Option<MemberId> {
        let replicas = self.replicas.keys().copied();
        replicas.into_iter().find(|id| id.0 % 8 == place)
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join(place) if self.at(place).is_none() => self.join(place),
            Step::Leave(place) => {
                if let Some(id) = self.at(place) {
                    self.replicas.remove(&id);
                    self.room.left(id);
                }
            }
            Step::Say(place, what) => {
                if let Some(id) = self.at(place) {
                    let text = if what == 0 { "-".to_owned() } else { what.to_string() };
                    says(&mut self.room, &self.replicas[&id].member, &text);
                }
            }
            Step::FallBehind(place) => {
                if let Some(replica) = self.at(place).and_then(|id| self.replicas.get_mut(&id)) {
                    replica.is_behind = true;
                }
            }
            Step::Resync(place) => {
                if let Some(replica) = self.at(place).and_then(|id| self.replicas.get_mut(&id))
                    && std::mem::take(&mut replica.is_behind)
                {
                    self.room.mark_stale(replica.member.id);
                }
            }
            Step::Tell { stale_max } => self.tell(stale_max),
            Step::ReplaceRoom => {
                self.room = RoomPresence::new(self.clients_max);
                self.adopt();
            }
            Step::RestartSession => self.adopt(),
            Step::Join(_) => {}
        }
    }

    fn join(&mut self, place: u64) {
        self.next_id += 8;
        let member = socket(self.next_id + place, &format!("c{}", place / 2));
        self.room.joined(&member);
        let mut replica = Replica {
            knows: BTreeMap::new(),
            is_behind: false,
            member,
        };
        replica.is_told(&self.room.list_for(&replica.member.info.client_id));
        self.replicas.insert(replica.member.id, replica);
    }

    fn adopt(&mut self) {
        for replica in self.replicas.values_mut() {
            replica.is_behind = false;
            self.room.adopted(&replica.member);
        }
    }

    fn tell(&mut self, stale_max: usize) {
        let diff = self.room.diff();
        let list = self.room.list();
        for id in self.room.take_stale(stale_max) {
            let replica = self.replicas.get_mut(&id).expect("only present sockets");
            if !replica.is_behind {
                replica.is_told(&list);
            }
        }
        for (id, replica) in &mut self.replicas {
            if !replica.is_behind && !self.room.is_stale(*id) {
                replica.is_told_diff(&diff);
            }
        }
    }

    /// Resyncs all lagging members, sends one more state, and publishes all changes.
    fn settle(&mut self) {
        for place in 0..8 {
            self.step(&Step::Resync(place));
        }
        let Some(id) = self.replicas.keys().next().copied() else {
            return;
        };
        says(&mut self.room, &self.replicas[&id].member, "\"last\"");
        while self.room.is_pending() {
            self.tell(1);
        }
    }
}

proptest! {
    /// After any history all members know the same list, and the list agrees with the sockets' states.
    #[test]
    fn replicas_converge_after_any_history(steps in steps(), clients_max in prop_oneof![Just(2_usize), Just(100)]) {
        let mut scene = Scene { room: RoomPresence::new(clients_max), clients_max, replicas: BTreeMap::new(), next_id: 0 };
        for step in &steps {
            scene.step(step);
        }
        scene.settle();
        let listed = known(&scene.room.list().clients);
        for replica in scene.replicas.values() {
            prop_assert_eq!(&replica.knows, &listed, "{:?}", replica.member.id);
        }
        let said = list(scene.replicas.values().map(|replica| &replica.member), 100);
        let said_of = known(&said.clients);
        prop_assert_eq!(listed.len(), said.total.min(clients_max));
        prop_assert_eq!(scene.room.list().total, said.total);
        prop_assert!(listed.iter().all(|(client, state)| said_of.get(client) == Some(state)));
    }
}
