//! Rooms: encoding, lagging subscribers, and the effects of a room's failure.

use std::sync::Arc;

use talus_actors::{
    domain::{command::Command, ids::Seq},
    fan_out::{DeferredSync, Frame, Release, RoomSocket, SendError, SyncReason},
    hub::HubError,
    log::planned::Fate,
    session_actor::Position,
};
use tokio::sync::mpsc;

use crate::actors_support::{
    Client, Note, Session, Setup, Underway, World, assert_gapless, create_node, new_node_id, settle, until, within,
};

/// Returns one command with `count + 1` events: one for each of `count` nodes, and one more for the command.
fn many_nodes(count: usize) -> Command {
    Command::Batch {
        commands: (0..count).map(|_| create_node(new_node_id())).collect(),
    }
}

async fn room(session: &Session, sockets: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 0..sockets {
        clients.push(session.joined(&format!("client-{number}")).await);
    }
    for client in &mut clients {
        client.so_far();
    }
    clients
}

/// A command is encoded once for all sockets of a room, and not at all in an empty room.
#[tokio::test]
async fn command_is_encoded_once() {
    let world = World::start().await;
    let session = world.session().await;
    session.added().await;
    settle().await;
    assert_eq!(world.encoder.encoded(), 0, "the room is empty");
    let mut clients = room(&session, 30).await;
    let before = world.stats().packets_delivered.get();
    session.added().await;
    for client in &mut clients {
        assert_gapless(&client.until_seq(Seq(4)).await, Seq(2), Seq(4));
    }
    assert_eq!(world.encoder.encoded(), 1);
    until(|| world.stats().packets_delivered.get() == before + 3 * 30).await;
}

/// Socket that sends its number and the `seq` of each frame to a channel shared with other sockets.
struct Witness(u64, mpsc::UnboundedSender<(u64, Seq)>);

impl RoomSocket for Witness {
    fn send(&self, frame: &Frame) -> Result<(), SendError> {
        if let Some(seq) = frame.seq {
            self.1.send((self.0, seq)).expect("the test listens");
        }
        Ok(())
    }

    fn mark_lagging(&self, _: Seq, _: u32) {}

    fn has_drained(&self) -> bool {
        true
    }

    fn grant_sync(&self, _: DeferredSync) {}

    fn release(&self, _: Release) {}
}

/// The events of a group are delivered socket by socket, all of them to each. Other messages for the room keep their
/// place between the commands.
#[tokio::test]
async fn group_is_delivered_socket_by_socket() {
    let mut world = World::start().await;
    let session = world.session().await;
    let (sender, mut handed) = mpsc::unbounded_channel();
    for number in 0..2 {
        let mut member = session.client(&format!("witness-{number}")).member;
        member.socket = Arc::new(Witness(number, sender.clone()));
        within(world.hub.join(session.id, member, None))
            .await
            .expect("there is room");
    }
    world.plan.all(Fate::Hold);
    let mut commands = vec![Underway::begin(session.add())];
    let first = within(world.plan.held()).await;
    let mut between = session.client("between");
    commands.push(Underway::begin(session.add()));
    commands.push(Underway::begin(session.add()));
    let join = Underway::begin(between.join(None));
    commands.push(Underway::begin(session.add()));
    world.plan.all(Fate::Commit);
    first.commit();
    for command in commands {
        command.answer().await.expect("accepted");
    }
    join.answer().await.expect("there is room");
    let mut order = Vec::new();
    for _ in 0..16 {
        order.push(within(handed.recv()).await.expect("the room lives"));
    }
    let gone = |seqs: std::ops::RangeInclusive<u64>| {
        (0..2).flat_map(move |number| seqs.clone().map(move |seq| (number, Seq(seq))))
    };
    let expected: Vec<_> = gone(1..=2).chain(gone(3..=6)).chain(gone(7..=8)).collect();
    assert_eq!(order, expected);
    let packets = between.until_seq(Seq(8)).await;
    assert_eq!(packets[0].place(), Some(Seq(6)), "{packets:?}");
    assert_gapless(&packets, Seq(0), Seq(8));
}

/// Sockets that join between two changes share one encoded snapshot. A change invalidates it.
#[tokio::test]
async fn snapshot_is_encoded_once_between_changes() {
    let world = World::start().await;
    let session = world.session().await;
    session.added().await;
    let clients = room(&session, 20).await;
    assert_eq!(world.encoder.bodies(), 1);
    clients[0].resync(None, None);
    session.added().await;
    let mut late = session.client("late");
    late.join(None).await.expect("there is room");
    let sync = late.packet().await;
    assert_eq!(
        (sync.place(), sync.data["body"]["nodes"].as_array().map(Vec::len)),
        (Some(Seq(4)), Some(2))
    );
    session.joined("later").await;
    assert_eq!(world.encoder.bodies(), 2);
}

/// P7: events of a session reach only the sockets of that session, even if commands of several sessions interleave.
#[tokio::test]
async fn sockets_see_their_own_session_only() {
    let world = World::start().await;
    let sessions = [world.session().await, world.session().await, world.session().await];
    let mut clients = Vec::new();
    for session in &sessions {
        clients.push(room(session, 2).await);
    }
    let mut commands = Vec::new();
    for _ in 0..20 {
        commands.extend(sessions.iter().map(|session| Underway::begin(session.add())));
    }
    for command in commands {
        command.answer().await.expect("accepted");
    }
    for (session, clients) in sessions.iter().zip(&mut clients) {
        for client in clients {
            let packets = client.until_seq(Seq(40)).await;
            assert_gapless(&packets, Seq::ZERO, Seq(40));
            assert!(
                packets
                    .iter()
                    .all(|packet| packet.data["session"] == session.id.to_string())
            );
            settle().await;
            assert_eq!(client.unread_events(), [""; 0]);
        }
    }
}

/// P2, P9: a socket whose queue is full is marked once as lagging with the `seq` that it has, gets nothing until its
/// resync, and then continues without a gap. Other sockets are unaffected (P7).
#[tokio::test]
async fn lagging_socket_is_resynced_without_a_gap() {
    let world = World::start().await;
    let session = world.session().await;
    let [slow, quick] = &mut room(&session, 2).await[..] else {
        unreachable!()
    };
    session.added().await;
    slow.until_seq(Seq(2)).await;
    // Two packets of the next command fit: executing, and the event at 3.
    slow.socket.set_space(2);
    session.added().await;
    session.added().await;
    assert_gapless(&quick.until_seq(Seq(6)).await, Seq(0), Seq(6));
    assert_eq!(slow.unread_events(), ["command:executing", "graph", "(behind)"]);
    assert_eq!(
        (world.stats().slow_consumers.get(), world.stats().packets_dropped.get()),
        (1, 1)
    );

    slow.resync(None, Some(SyncReason::SlowConsumer));
    let Note::Behind { delivered, attempt } = slow.note().await else {
        unreachable!("its queue is still full")
    };
    assert_eq!((delivered, attempt), (Seq(3), 1));
    assert_eq!(
        (world.stats().slow_consumers.get(), world.stats().packets_dropped.get()),
        (1, 2)
    );

    slow.socket.set_space(usize::MAX);
    slow.resync(None, Some(SyncReason::SlowConsumer));
    let sync = slow.packet().await;
    assert!(sync.is_sync("slow_consumer"), "{sync:?}");
    assert_eq!(sync.place(), Some(Seq(6)));
    session.added().await;
    assert_gapless(&slow.until_seq(Seq(8)).await, Seq(6), Seq(8));
}

/// A socket is marked as lagging with the `seq` that its queue took last, of an event or of a sync. Attempts are
/// counted from 0 each time that a socket begins to lag.
#[tokio::test]
async fn socket_that_lags_again_is_marked_with_its_current_seq() {
    let world = World::start().await;
    let session = world.session().await;
    let mut client = session.joined("ada").await;
    for (number, by_sync) in [(1, false), (2, true), (3, true), (4, false)] {
        let end = session.added().await;
        if by_sync {
            client.socket.set_space(usize::MAX);
            client.resync(None, Some(SyncReason::SlowConsumer));
        }
        client.until_seq(end).await;
        client.socket.set_space(0);
        session.added().await;
        let Note::Behind { delivered, attempt } = client.note().await else {
            unreachable!("its queue is full")
        };
        assert_eq!((delivered, attempt), (end, 0));
        assert_eq!(world.stats().slow_consumers.get(), number);
        if number == 3 {
            client.socket.set_space(usize::MAX);
            client.resync(None, None);
            client.until("session:sync").await;
        }
    }
}

/// A socket whose queue does not take the first sync is in the room nevertheless, and is resynced like any other.
#[tokio::test]
async fn socket_that_is_full_at_its_join_is_resynced() {
    let world = World::start().await;
    let session = world.session().await;
    let mut client = session.client("ada");
    client.socket.set_space(0);
    client.join(None).await.expect("there is room");
    let Note::Behind { delivered, attempt } = client.note().await else {
        unreachable!("its queue is full")
    };
    assert_eq!((delivered, attempt), (Seq(0), 0));
    session.added().await;
    client.socket.set_space(usize::MAX);
    client.resync(None, None);
    let packets = client.until_seq(Seq(2)).await;
    assert_eq!(packets.len(), 1, "one sync has all missed events: {packets:?}");
    assert!(packets[0].is_sync("requested"));
}

/// A closed socket that has not left yet is skipped: it neither lags nor drops packets. It remains a member until it
/// leaves.
#[tokio::test]
async fn closed_socket_is_skipped_until_it_leaves() {
    let world = World::start().await;
    let session = world.session().await;
    let [gone, here] = &mut room(&session, 2).await[..] else {
        unreachable!()
    };
    gone.socket.close();
    session.added().await;
    gone.resync(None, None);
    session.added().await;
    assert_gapless(&here.until_seq(Seq(4)).await, Seq(0), Seq(4));
    assert!(gone.so_far().is_empty());
    assert_eq!(
        (world.stats().slow_consumers.get(), world.stats().packets_dropped.get()),
        (0, 0)
    );
    gone.leave("transport_close").await;
    assert_eq!(here.packet().await.data["members"], 1);
}

/// P8, P10: a panic of the encoder fails no command. The room's actor is replaced, and its sockets get a sync with the
/// reason, then the later events. No socket is told of a join or a leave.
#[tokio::test]
async fn panicking_room_is_replaced_and_keeps_its_sockets() {
    let world = World::start().await;
    let session = world.session().await;
    let mut clients = room(&session, 3).await;
    session.added().await;
    world.encoder.panic_at_commands(1);
    assert_eq!(session.added().await, Seq(4), "the command succeeded");
    for client in &mut clients {
        let packets = client.until("session:sync").await;
        let sync = packets.last().expect("a sync");
        assert!(sync.is_sync("room_restarted"), "{sync:?}");
        assert_eq!(
            sync.data["body"]["nodes"].as_array().map(Vec::len),
            Some(2),
            "the sync has the node that was not encoded"
        );
        assert_gapless(&packets, Seq(0), Seq(4));
    }
    assert_eq!(session.added().await, Seq(6));
    for client in &mut clients {
        let packets = client.until_seq(Seq(6)).await;
        assert_gapless(&packets, Seq(4), Seq(6));
        assert!(packets.iter().all(|packet| packet.event != "session:connected"));
    }
    assert_eq!(
        (world.stats().broadcast_restarts.get(), world.stats().members.get()),
        (1, 3)
    );
    assert_eq!(world.stats().session_restarts.get(), 0);

    let gone = clients.pop().expect("three");
    gone.leave("client_disconnect").await;
    assert_eq!(
        clients[0].packet().await.event,
        "session:disconnected",
        "the new room knows its members"
    );
}

/// P2, P10: commands succeed while the room's actor fails repeatedly, and no socket ends with a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_succeed_while_their_room_fails_repeatedly() {
    let world = Setup::new()
        .supervised(|supervision| supervision.restarts_max = 1_000)
        .start()
        .await;
    let session = world.session().await;
    let mut clients = room(&session, 3).await;
    let mut sent = 0;
    within(async {
        // The scheduler decides when the next room is ready to fail.
        while world.stats().broadcast_restarts.get() < 5 {
            world.encoder.panic_at_commands(1);
            for _ in 0..9 {
                sent += 1;
                assert_eq!(session.added().await, Seq(2 * sent));
            }
        }
    })
    .await;
    world.encoder.panic_at_commands(0);
    let end = session.added().await;
    for client in &mut clients {
        assert_gapless(&client.until_seq(end).await, Seq(0), end);
    }
    until(|| world.stats().members.get() == 3).await;
}

/// A socket whose join makes the room fail is in the next room.
#[tokio::test]
async fn socket_whose_join_fails_the_room_is_in_the_next_room() {
    let world = World::start().await;
    let session = world.session().await;
    world.encoder.panic_at_bodies(1);
    let mut client = session.client("ada");
    client.join(None).await.expect("there is room");
    let sync = client.packet().await;
    assert!(sync.is_sync("room_restarted"), "{sync:?}");
    session.added().await;
    assert_gapless(&client.until_seq(Seq(2)).await, Seq(0), Seq(2));
}

/// P3: a room that is replaced while an append is in flight sends none of its events before they are durable, and all
/// of them afterwards.
#[tokio::test]
async fn room_replaced_during_append_sends_only_durable_events() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut clients = room(&session, 1).await;
    let client = &mut clients[0];
    // The room fails at the events of the first command, while the append of the second is in flight.
    world.encoder.panic_at_commands(1);
    world.plan.next([Fate::Commit, Fate::Hold]);
    let first = Underway::begin(session.add());
    let second = Underway::begin(session.add());
    first.answer().await.expect("accepted");
    let append = within(world.plan.held()).await;
    until(|| world.stats().broadcast_restarts.get() == 1).await;
    settle().await;
    assert_eq!(
        client.unread_events(),
        [""; 0],
        "a sync would have events that are not durable"
    );
    append.commit();
    second.answer().await.expect("accepted");
    let packets = client.until_seq(Seq(4)).await;
    assert!(packets[0].is_sync("room_restarted"), "{packets:?}");
    assert_gapless(&packets, Seq(0), Seq(4));
}

/// A large graph is encoded beside the room's actor. Later messages wait for the encoding, so that the order holds. A
/// panic of the encoding is a failure of the room.
#[tokio::test]
async fn large_snapshot_keeps_its_place_in_the_order() {
    let world = World::start().await;
    let session = world.session().await;
    let loaded = session.submit(many_nodes(600)).await.expect("accepted").receipt.seq;
    assert_eq!(loaded, Seq(601));
    let mut early = session.joined("early").await;
    assert_eq!(world.encoder.bodies(), 1);
    session.added().await;
    let mut late = session.client("late");
    let join = Underway::begin(late.join(None));
    let commands: Vec<_> = (0..5).map(|_| Underway::begin(session.add())).collect();
    join.answer().await.expect("there is room");
    for command in commands {
        command.answer().await.expect("accepted");
    }
    let packets = late.until_seq(Seq(613)).await;
    assert_eq!(packets[0].data["body"]["nodes"].as_array().map(Vec::len), Some(601));
    assert_gapless(&packets, Seq(0), Seq(613));
    assert_gapless(&early.until_seq(Seq(613)).await, Seq(601), Seq(613));

    world.encoder.panic_at_bodies(1);
    late.resync(None, None);
    assert!(late.packet().await.is_sync("room_restarted"));
    assert_eq!(world.stats().broadcast_restarts.get(), 1);
}

/// P10: a hub without sockets serves commands as usual, and refuses joins.
#[tokio::test]
async fn hub_without_sockets_serves_commands() {
    let mut setup = Setup::new();
    setup.realtime = false;
    let world = setup.start().await;
    let session = world.session().await;
    assert_eq!(session.added().await, Seq(2));
    session.client("ada").join(None).await.expect_err("there is no room");
    assert_eq!(session.added().await, Seq(4));
    assert_eq!(world.encoder.encoded(), 0);
    world.hub.delete(session.id).await.expect("deleted");
    within(world.hub.drain()).await;
}

/// P9: a room that fails at every snapshot is replaced as often as a session may restart. Then its sockets are
/// released, and reconnect on their own. Commands continue meanwhile (P10). A room that works again serves new sockets.
#[tokio::test]
async fn repeatedly_failing_room_releases_its_sockets() {
    let world = Setup::new()
        .supervised(|supervision| supervision.restarts_max = 3)
        .start()
        .await;
    let session = world.session().await;
    let mut clients = room(&session, 2).await;
    world.encoder.panic_at_commands(1);
    world.encoder.panic_at_bodies(usize::MAX);
    session.added().await;
    for client in &mut clients {
        let Note::Released(how) = client.note().await else {
            unreachable!("the room fails at every snapshot")
        };
        assert_eq!(how, Release::CloseTransport);
    }
    settle().await;
    assert_eq!(world.stats().broadcast_restarts.get(), 4);
    assert_eq!(world.stats().members.get(), 0);
    let snapshot = session.snapshot().await.expect("read");
    assert_eq!((snapshot.active_clients, snapshot.seq), (0, Seq(2)));
    assert_eq!(session.added().await, Seq(4));

    world.encoder.panic_at_bodies(0);
    let mut back = session.joined("back").await;
    session.added().await;
    assert_gapless(&back.until_seq(Seq(6)).await, Seq(4), Seq(6));
}

/// P2, P8: a session and its room that fail together keep their sockets: the next session and room have them all.
#[tokio::test]
async fn sockets_outlive_a_session_and_its_room_that_fail_together() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut clients = room(&session, 3).await;
    let gone = clients.pop().expect("three");
    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    let second = Underway::begin(session.add());
    let leaving = Underway::begin(gone.leave("transport_close"));
    // The room fails at the events of the first command. The session fails at the append of the second, while a client
    // leaves.
    world.encoder.panic_at_commands(1);
    world.plan.next([Fate::Lose]);
    append.commit();
    first.answer().await.expect("accepted");
    assert_eq!(second.answer().await, Err(HubError::OutcomeUnknown));
    leaving.answer().await;
    let end = session.added().await;
    assert_eq!(end, Seq(4));
    for client in &mut clients {
        let packets = client.until_seq(end).await;
        assert!(packets[0].is_sync("room_restarted"), "{packets:?}");
        assert_gapless(&packets, Seq(0), end);
    }
    let restarts = (
        world.stats().broadcast_restarts.get(),
        world.stats().session_restarts.get(),
    );
    assert_eq!(restarts, (1, 1));
    assert_eq!(session.snapshot().await.expect("read").active_clients, 2);
    until(|| world.stats().members.get() == 2).await;
}

/// P9: large syncs of joins and of restarted rooms are sent to as many sockets at a time as the limit of bytes in
/// flight permits. A waiting socket gets nothing before its sync, and misses nothing (P2).
#[tokio::test]
async fn large_syncs_wait_for_bytes_in_flight() {
    let (world, session, first) = occupied_room().await;
    let mut waiting = Vec::new();
    for number in 0..3 {
        let client = session.client(&format!("client-{number}"));
        within(client.join(None)).await.expect("there is room");
        waiting.push(client);
    }
    let seq = session.added().await;
    settle().await;
    for client in &mut waiting {
        assert_eq!(client.unread_events(), Vec::<&str>::new(), "the socket waits");
    }
    first.socket.set_busy(false);
    for client in &mut waiting {
        client.request_granted_sync().await;
        let sync = client.packet().await;
        assert!(sync.is_sync("first_join"), "{sync:?}");
        assert_eq!(sync.place(), Some(seq), "the sync is current");
        let then = [client.packet().await.event, client.packet().await.event];
        assert_eq!(
            then,
            ["presence:state", "session:connected"],
            "the members and the join follow the sync"
        );
    }
    let seq = session.added().await;
    for client in &mut waiting {
        assert_gapless(&client.until_seq(seq).await, Seq(4), seq);
    }
    world.encoder.panic_at_commands(1);
    session.added().await;
    // The first socket gets its sync. The others are granted theirs in turn. The socket that left is skipped.
    within(waiting[1].leave("transport_close")).await;
    let mut syncs = 0;
    for client in [0, 2] {
        let note = waiting[client].note().await;
        let sync = match note {
            Note::Packet(sync) => sync,
            Note::Due(due) => {
                waiting[client].ask(due);
                waiting[client].packet().await
            }
            other => unreachable!("{other:?}"),
        };
        syncs += usize::from(sync.is_sync("room_restarted"));
    }
    assert_eq!(syncs, 2);
}

/// Starts a room that permits one large sync in flight, and returns the client of that sync.
async fn occupied_room() -> (World, Session, Client) {
    let world = Setup::new()
        .with(|settings| settings.room.sync_bytes_in_flight_max = 1)
        .start()
        .await;
    let session = world.session().await;
    session.added().await;
    let first = session.client("first");
    first.socket.set_busy(true);
    within(first.join(None)).await.expect("there is room");
    (world, session, first)
}

/// P2: a client that resumes and has to wait gets all missed events, those of its wait included.
#[tokio::test]
async fn waiting_client_is_resumed_with_events() {
    let (_world, session, first) = occupied_room().await;
    let mut client = session.client("late");
    let position = Position {
        epoch: Some(session.epoch),
        seq: Seq(1),
    };
    within(client.join(Some(position))).await.expect("there is room");
    let seq = session.added().await;
    settle().await;
    first.socket.set_busy(false);
    client.request_granted_sync().await;
    let sync = client.packet().await;
    assert!(sync.is_sync("resumed"), "{sync:?}");
    assert!(sync.data["body"]["seqs"].is_array(), "with events: {sync:?}");
    assert_gapless(&[sync], Seq(1), seq);
}

/// P7: a socket whose queue does not take a large sync holds up no other socket, whether its sync was the first or was
/// granted after a wait.
#[tokio::test]
async fn sync_that_does_not_fit_holds_up_no_other() {
    let (world, session, first) = occupied_room().await;
    let mut full = session.client("full");
    let mut last = session.client("last");
    for client in [&full, &last] {
        within(client.join(None)).await.expect("there is room");
    }
    full.socket.set_space(0);
    full.socket.set_busy(true);
    first.socket.set_busy(false);
    full.request_granted_sync().await;
    assert!(matches!(full.note().await, Note::Behind { .. }));
    last.request_granted_sync().await;
    assert!(last.packet().await.is_sync("first_join"));

    // The same without a sync in flight.
    let session = world.session().await;
    let mut full = session.client("full");
    full.socket.set_space(0);
    full.socket.set_busy(true);
    within(full.join(None)).await.expect("there is room");
    assert!(matches!(full.note().await, Note::Behind { .. }));
    let mut next = session.client("next");
    within(next.join(None)).await.expect("there is room");
    assert!(next.packet().await.is_sync("first_join"), "at once");
}

/// A graph that no socket may be sent yet is not encoded: the size of the last encoded graph is the estimate.
#[tokio::test]
async fn waiting_sync_is_not_encoded() {
    let (world, session, first) = occupied_room().await;
    assert_eq!(world.encoder.bodies(), 1);
    let mut waiting = Vec::new();
    for number in 0..5 {
        session.added().await;
        let client = session.client(&format!("client-{number}"));
        within(client.join(None)).await.expect("there is room");
        waiting.push(client);
    }
    waiting[0].resync(None, None);
    settle().await;
    assert_eq!(world.encoder.bodies(), 1);
    first.socket.set_busy(false);
    for client in &mut waiting {
        client.request_granted_sync().await;
        assert!(client.packet().await.event == "session:sync");
    }
    assert_eq!(world.encoder.bodies(), 2, "one encoding for all sockets");
}
