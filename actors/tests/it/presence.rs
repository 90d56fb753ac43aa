//! Presence: the members of a room and their states, collected for an interval of virtual time and then sent.

use std::time::Duration;

use serde_json::{Value as Json, json};
use talus_actors::{
    domain::ids::Seq,
    fan_out::{PresenceEntry, SyncReason},
    log::planned::Fate,
};

use crate::actors_support::{Client, Note, Packet, Session, Setup, Underway, World, settle, until, within};

const INTERVAL: Duration = Duration::from_millis(100);

async fn world() -> World {
    world_with_limit(1_000).await
}

/// Starts a hub that lists at most `clients_max` clients in presence.
async fn world_with_limit(clients_max: usize) -> World {
    Setup::new()
        .with(|settings| {
            settings.room.presence_interval = INTERVAL;
            settings.room.presence_clients_max = clients_max;
        })
        .start()
        .await
}

/// Returns clients that have joined and have read all packets. From here on time is virtual.
async fn room<const N: usize>(session: &Session, names: [&str; N]) -> [Client; N] {
    let mut clients = Vec::new();
    for name in names {
        clients.push(session.joined(name).await);
    }
    for client in &mut clients {
        client.so_far();
    }
    tokio::time::pause();
    clients.try_into().ok().expect("as many")
}

/// Runs all tasks that can run, before and after an interval. Timers count whole milliseconds and round up, hence one
/// millisecond more.
async fn interval() {
    settle().await;
    tokio::time::advance(INTERVAL + Duration::from_millis(1)).await;
    settle().await;
}

/// Returns the packets of presence that a client was sent so far, and drops its other operations.
fn presence(client: &mut Client) -> Vec<Packet> {
    let notes = client.so_far().into_iter();
    notes
        .filter_map(|note| match note {
            Note::Packet(packet) if packet.event.starts_with("presence:") => Some(packet),
            Note::Packet(_) | Note::Behind { .. } | Note::Due(_) | Note::Released(_) => None,
        })
        .collect()
}

fn assert_state(packet: &Packet, clients: &Json) {
    assert_eq!(packet.event, "presence:state", "{packet:?}");
    assert_eq!(packet.seq, None, "presence has no `seq`");
    assert_eq!(&packet.data["clients"], clients);
}

fn assert_diff(packet: &Packet, joins: &Json, updates: &Json, leaves: &Json) {
    assert_eq!(packet.event, "presence:diff", "{packet:?}");
    assert_eq!(packet.seq, None, "presence has no `seq`");
    let data = &packet.data;
    assert_eq!(
        (&data["joins"], &data["updates"], &data["leaves"]),
        (joins, updates, leaves)
    );
}

/// Sets a first state, and reads the packets that it causes.
async fn begin_use(clients: &mut [Client]) {
    clients[0].says(&json!(0));
    interval().await;
    for client in clients {
        client.so_far();
    }
}

/// As long as no client sets a state, presence is sent to joining clients only.
#[tokio::test]
async fn presence_without_states_is_sent_at_joins_only() {
    let world = world().await;
    let session = world.session().await;
    let [mut ann, bob] = room(&session, ["ann", "bob"]).await;
    bob.leave("transport_close").await;
    interval().await;
    assert_eq!(presence(&mut ann).len(), 0);
    let mut cat = session.client("cat");
    cat.join(None).await.expect("there is room");
    settle().await;
    let [state] = &presence(&mut cat)[..] else {
        unreachable!()
    };
    assert_state(state, &json!([["ann", null], ["cat", null]]));
    assert_eq!(state.data["total"], 2);
}

/// The first state in a room sends each client all members, then the diff. Later states send diffs only.
#[tokio::test]
async fn first_state_sends_all_members_then_diffs() {
    let world = world().await;
    let session = world.session().await;
    let mut clients = room(&session, ["ann", "bob", "cat"]).await;
    assert!(clients[0].says(&json!({"node": 1})));
    settle().await;
    for client in &mut clients {
        assert_eq!(presence(client).len(), 0, "not before the interval is over");
    }
    interval().await;
    for client in &mut clients {
        let [state, diff] = &presence(client)[..] else {
            unreachable!()
        };
        assert_state(state, &json!([["ann", {"node": 1}], ["bob", null], ["cat", null]]));
        assert_diff(diff, &json!([]), &json!([["ann", {"node": 1}]]), &json!([]));
    }
    clients[2].says(&json!([]));
    interval().await;
    for client in &mut clients {
        let [diff] = &presence(client)[..] else { unreachable!() };
        assert_diff(diff, &json!([]), &json!([["cat", []]]), &json!([]));
    }
    interval().await;
    assert_eq!(presence(&mut clients[0]).len(), 0, "nothing has changed");
}

/// Joins, states and leaves within an interval are one packet with their net effect. A client that joined and left
/// within the interval is not in it.
#[tokio::test]
async fn changes_within_an_interval_are_one_packet() {
    let world = world().await;
    let session = world.session().await;
    let mut clients = room(&session, ["ann", "bob"]).await;
    begin_use(&mut clients).await;
    let [mut ann, bob] = clients;
    for number in 1..=5 {
        ann.says(&json!(number));
        settle().await;
    }
    let mut cat = session.client("cat");
    cat.join(None).await.expect("there is room");
    cat.says(&json!("here"));
    let dan = session.joined("dan").await;
    dan.leave("transport_close").await;
    bob.leave("transport_close").await;
    interval().await;
    let packets = presence(&mut ann);
    let [diff] = &packets[..] else {
        unreachable!("{packets:?}")
    };
    assert_diff(diff, &json!([["cat", "here"]]), &json!([["ann", 5]]), &json!(["bob"]));
    let [state, diff] = &presence(&mut cat)[..] else {
        unreachable!()
    };
    assert_eq!(state.event, "presence:state");
    assert_eq!(diff.data["leaves"], json!(["bob"]));
    cat.says(&Json::Null);
    interval().await;
    let [diff] = &presence(&mut ann)[..] else {
        unreachable!()
    };
    assert_diff(diff, &json!([]), &json!([["cat", null]]), &json!([]));
}

/// Sockets with the same client id are one client. Its state is the last one set by a socket that is still there, and
/// it leaves with its last socket.
#[tokio::test]
async fn sockets_of_a_client_share_one_presence() {
    let world = world().await;
    let session = world.session().await;
    let [ann, again, mut bob] = room(&session, ["ann", "ann", "bob"]).await;
    ann.says(&json!(1));
    interval().await;
    again.says(&json!(2));
    interval().await;
    ann.says(&json!(3));
    interval().await;
    ann.leave("transport_close").await;
    interval().await;
    again.leave("transport_close").await;
    interval().await;
    let packets = presence(&mut bob);
    let [state, one, two, three, back, gone] = &packets[..] else {
        unreachable!("{packets:?}")
    };
    assert_state(state, &json!([["ann", 1], ["bob", null]]));
    for (diff, says) in [(one, 1), (two, 2), (three, 3), (back, 2)] {
        assert_diff(diff, &json!([]), &json!([["ann", says]]), &json!([]));
    }
    assert_diff(gone, &json!([]), &json!([]), &json!(["ann"]));
}

/// P9: 100,000 states within an interval are one notice to the session and one packet to each socket.
#[tokio::test]
async fn flood_of_states_is_one_packet() {
    let world = world().await;
    let session = world.session().await;
    let [ann, mut bob] = room(&session, ["ann", "bob"]).await;
    let mut notices = 0;
    for number in 0..100_000 {
        notices += usize::from(ann.says(&json!(number)));
        if number % 1_000 == 0 {
            settle().await;
        }
    }
    assert_eq!(notices, 1);
    interval().await;
    let [_, diff] = &presence(&mut bob)[..] else {
        unreachable!()
    };
    assert_diff(diff, &json!([]), &json!([["ann", 99_999]]), &json!([]));
    assert!(ann.says(&json!("again")), "the next state is a notice again");
}

/// A socket that missed packets or waited for a sync gets the full presence as its next packet of presence.
#[tokio::test]
async fn lagging_socket_gets_full_presence() {
    let world = world().await;
    let session = world.session().await;
    let mut clients = room(&session, ["ann", "bob"]).await;
    begin_use(&mut clients).await;
    let [ann, mut bob] = clients;
    bob.socket.set_space(0);
    ann.says(&json!(1));
    interval().await;
    assert_eq!(bob.unread_events(), ["(behind)"]);
    ann.says(&json!(2));
    interval().await;
    bob.socket.set_space(usize::MAX);
    bob.resync(None, Some(SyncReason::SlowConsumer));
    interval().await;
    assert_eq!(bob.unread_events(), ["session:sync", "presence:state"]);
    bob.resync(None, None);
    interval().await;
    assert_eq!(bob.unread_events(), ["session:sync"], "the socket missed nothing");
}

/// A socket whose queue is full during its join gets the sync and the full presence once it has space.
#[tokio::test]
async fn socket_that_is_full_at_its_join_gets_presence_later() {
    let world = world().await;
    let session = world.session().await;
    let [_ann] = room(&session, ["ann"]).await;
    for (space, first) in [(0, &["(behind)"][..]), (1, &["session:sync", "(behind)"][..])] {
        let mut bob = session.client("bob");
        bob.socket.set_space(space);
        bob.join(None).await.expect("there is room");
        settle().await;
        assert_eq!(bob.unread_events(), first);
        bob.socket.set_space(usize::MAX);
        bob.resync(None, Some(SyncReason::SlowConsumer));
        settle().await;
        assert_eq!(bob.unread_events(), ["session:sync", "presence:state"]);
        bob.leave("transport_close").await;
    }
}

/// P9: full presence is sent to as many sockets at a time as the limit of bytes in flight permits. A waiting socket
/// gets no diffs meanwhile.
#[tokio::test]
async fn full_presence_is_sent_in_turn() {
    let world = Setup::new()
        .with(|settings| {
            settings.room.presence_interval = INTERVAL;
            settings.room.sync_bytes_in_flight_max = 1;
        })
        .start()
        .await;
    let session = world.session().await;
    // The syncs of the clients wait for each other.
    let mut clients = Vec::new();
    for name in ["ann", "bob", "cat"] {
        let mut client = session.client(name);
        within(client.join(None)).await.expect("there is room");
        if let Note::Due(due) = client.note().await {
            client.ask(due);
        }
        client.until("session:connected").await;
        clients.push(client);
    }
    tokio::time::pause();
    interval().await;
    clients.iter_mut().for_each(|client| drop(client.so_far()));
    clients[0].says(&json!(1));
    for (turn, events) in [
        (0, &["presence:state", "presence:diff"][..]),
        (1, &["presence:state"]),
        (2, &["presence:state"]),
    ] {
        interval().await;
        for (index, client) in clients.iter_mut().enumerate() {
            let expected = if index == turn { events } else { &[] };
            assert_eq!(client.unread_events(), expected, "client {index} in turn {turn}");
        }
    }
}

/// P8: a failed room loses no state, sent or unsent: the next room sends its sockets the full presence.
#[tokio::test]
async fn failed_room_keeps_presence() {
    let world = world().await;
    let session = world.session().await;
    let mut clients = room(&session, ["ann", "bob"]).await;
    begin_use(&mut clients).await;
    let [ann, mut bob] = clients;
    ann.says(&json!("told"));
    interval().await;
    bob.so_far();
    assert!(bob.says(&json!("untold")));
    settle().await;
    tokio::time::resume();
    world.encoder.panic_at_commands(1);
    session.added().await;
    bob.until("session:sync").await;
    tokio::time::pause();
    interval().await;
    let packets = presence(&mut bob);
    let [state] = &packets[..] else {
        unreachable!("{packets:?}")
    };
    assert_state(state, &json!([["ann", "told"], ["bob", "untold"]]));
    assert!(bob.says(&json!("more")), "the next room is notified");
    interval().await;
    let [diff] = &presence(&mut bob)[..] else {
        unreachable!()
    };
    assert_diff(diff, &json!([]), &json!([["bob", "more"]]), &json!([]));
    assert_eq!(world.stats().broadcast_restarts.get(), 1);
}

/// P8: a session that fails with notices in its mailbox loses none of the announced states.
#[tokio::test]
async fn failed_session_keeps_presence() {
    let mut world = world().await;
    let session = world.session().await;
    let [ann, mut bob] = room(&session, ["ann", "bob"]).await;
    tokio::time::resume();
    world.plan.next([Fate::Hold]);
    let lost = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    assert!(ann.says(&json!("said while it fails")));
    settle().await;
    append.meet(Fate::Lose);
    lost.answer().await.expect_err("the outcome is unknown");
    bob.until("session:sync").await;
    until(|| world.stats().session_restarts.get() == 1).await;
    tokio::time::pause();
    interval().await;
    let packets = presence(&mut bob);
    assert_state(&packets[0], &json!([["ann", "said while it fails"], ["bob", null]]));
    assert!(ann.says(&json!(2)), "the next actor is notified");
    interval().await;
    let [diff] = &presence(&mut bob)[..] else {
        unreachable!()
    };
    assert_diff(diff, &json!([]), &json!([["ann", 2]]), &json!([]));
}

/// P7: a state is sent in its session only, even if the client has sockets in other sessions.
#[tokio::test]
async fn presence_stays_in_its_session() {
    let world = world().await;
    let (session, other) = (world.session().await, world.session().await);
    let [ann, mut bob] = room(&session, ["ann", "bob"]).await;
    tokio::time::resume();
    let [mut elsewhere] = room(&other, ["ann"]).await;
    ann.says(&json!("here"));
    interval().await;
    assert_eq!(presence(&mut bob).len(), 2);
    assert_eq!(presence(&mut elsewhere).len(), 0);
    // The id of a member has no meaning in another session.
    world.hub.presence_changed(other.id, ann.member.id);
    interval().await;
    assert_eq!(presence(&mut elsewhere).len(), 0);
    let there = world.hub.list_members(other.id).await.expect("the session exists");
    assert_eq!(shown(&there.clients), [("ann".to_owned(), None)]);
}

fn shown(entries: &[PresenceEntry]) -> Vec<(String, Option<String>)> {
    let state = |entry: &PresenceEntry| entry.state.as_ref().map(|state| state.get().to_owned());
    entries
        .iter()
        .map(|entry| (entry.info.client_id.to_string(), state(entry)))
        .collect()
}

/// P9: clients beyond the limit are counted and not listed, until a listed client leaves.
#[tokio::test]
async fn clients_beyond_the_limit_are_only_counted() {
    let world = world_with_limit(2).await;
    let session = world.session().await;
    let [ann, bob, mut cat] = room(&session, ["ann", "bob", "cat"]).await;
    cat.says(&json!("unheard"));
    ann.says(&json!(1));
    interval().await;
    let [state, diff] = &presence(&mut cat)[..] else {
        unreachable!()
    };
    assert_state(state, &json!([["ann", 1], ["bob", null]]));
    assert_eq!(state.data["total"], 3);
    assert_diff(diff, &json!([]), &json!([["ann", 1]]), &json!([]));
    let members = world.hub.list_members(session.id).await.expect("the session exists");
    assert_eq!((members.clients.len(), members.total), (2, 3));
    bob.leave("transport_close").await;
    interval().await;
    let [diff] = &presence(&mut cat)[..] else {
        unreachable!()
    };
    assert_diff(diff, &json!([["cat", "unheard"]]), &json!([]), &json!(["bob"]));
}

/// A state is neither an access nor an event: the session's `seq` does not change. States of a socket that has left are
/// ignored.
#[tokio::test]
async fn presence_leaves_no_trace() {
    let world = world().await;
    let session = world.session().await;
    let [ann, mut bob] = room(&session, ["ann", "bob"]).await;
    ann.says(&json!(1));
    interval().await;
    assert_eq!(presence(&mut bob).len(), 2);
    ann.leave("transport_close").await;
    interval().await;
    bob.so_far();
    ann.says(&json!(2));
    interval().await;
    assert_eq!(bob.so_far().len(), 0);
    assert_eq!(session.snapshot().await.expect("read").seq, Seq::ZERO);
    let members = world.hub.list_members(session.id).await.expect("the session exists");
    assert_eq!(shown(&members.clients), [("bob".to_owned(), None)]);
}
