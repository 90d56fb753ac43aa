//! Batched delivery, beside single delivery in the same room.

use talus_actors::{
    domain::{command::Command, ids::Seq},
    fan_out::SyncReason,
    log::planned::Fate,
    session_actor::Position,
};

use crate::actors_support::{
    Client, Note, Packet, Session, Setup, Underway, World, assert_gapless, change_nothing, create_node, delete_nothing,
    new_node_id, settle, within,
};

/// Sends a command that is appended alone and adds two events, then `commands`, which are appended as one group.
async fn send_one_and(world: &mut World, session: &Session, commands: Vec<Command>) {
    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    let rest: Vec<_> = commands
        .into_iter()
        .map(|command| Underway::begin(session.submit(command)))
        .collect();
    world.plan.all(Fate::Commit);
    append.commit();
    first.answer().await.expect("accepted");
    for command in rest {
        // A refusal is an answer, too.
        let _ = command.answer().await;
    }
}

fn adds(count: usize) -> Vec<Command> {
    (0..count).map(|_| create_node(new_node_id())).collect()
}

/// Returns a client with batched delivery that has joined and has read the packets of its join.
async fn joined_batched(session: &Session, name: &str) -> Client {
    let mut client = session.batched_client(name);
    within(client.join(None)).await.expect("there is room");
    client.until("session:connected").await;
    client
}

/// Returns the packets that a client was sent so far.
fn packets_so_far(client: &mut Client) -> Vec<Packet> {
    let notes = client.so_far().into_iter();
    notes
        .map(|note| match note {
            Note::Packet(packet) => packet,
            other => unreachable!("{other:?}, where a packet was due"),
        })
        .collect()
}

fn apart(packets: Vec<Packet>) -> Vec<Packet> {
    packets.into_iter().flat_map(Packet::apart).collect()
}

/// ROOM-3: in a room with both kinds of delivery each command is encoded once and each group is batched once, for any
/// number of sockets. A batched packet consists of the packets of single delivery, those of refused and unchanged
/// commands included (P1).
#[tokio::test]
async fn group_is_batched_once_for_all_subscribers() {
    let mut world = World::start().await;
    let session = world.session().await;
    let (mut single, mut batched) = (Vec::new(), Vec::new());
    for number in 0..5 {
        single.push(session.joined(&format!("single-{number}")).await);
        batched.push(joined_batched(&session, &format!("batched-{number}")).await);
    }
    settle().await;
    for client in single.iter_mut().chain(&mut batched) {
        client.so_far();
    }
    let mut commands = adds(2);
    commands.extend([delete_nothing(), change_nothing()]);
    commands.extend(adds(1));
    let delivered = world.stats().packets_delivered.get();
    send_one_and(&mut world, &session, commands).await;
    settle().await;
    assert_eq!((world.encoder.encoded(), world.encoder.joint()), (6, 2));
    let reference = packets_so_far(&mut single[0]);
    assert_gapless(&reference, Seq(0), Seq(8));
    assert_eq!(reference.len(), 4 * 3 + 2 * 2);
    for client in &mut single[1..] {
        assert_eq!(packets_so_far(client), reference);
    }
    for client in &mut batched {
        let packets = packets_so_far(client);
        let places: Vec<_> = packets.iter().map(|packet| packet.seq).collect();
        assert_eq!(
            places,
            [Some(Seq(2)), Some(Seq(8))],
            "a batched packet has the `seq` of its last event"
        );
        assert_eq!(apart(packets), reference);
    }
    let given = world.stats().packets_delivered.get() - delivered;
    assert_eq!(given, 5 * 16 + 5 * 2);
}

/// A group is not batched in a room without batched delivery.
#[tokio::test]
async fn group_is_not_batched_for_single_delivery() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut single = session.joined("single").await;
    send_one_and(&mut world, &session, adds(2)).await;
    assert_gapless(&single.until_seq(Seq(6)).await, Seq(0), Seq(6));
    assert_eq!((world.encoder.encoded(), world.encoder.joint()), (3, 0));
}

/// P9: a batched packet contains whole commands, and no more bytes than the limit. A command that does not fit begins
/// another packet. A command that is larger than the limit is sent whole, in a packet of its own.
#[tokio::test]
async fn large_group_is_several_packets() {
    // About 120 bytes for each of the three packets of a command.
    let mut world = Setup::new()
        .with(|settings| settings.room.events_packet_bytes_max = 1_000)
        .start()
        .await;
    let session = world.session().await;
    let mut single = session.joined("single").await;
    let mut batched = joined_batched(&session, "batched").await;
    settle().await;
    single.so_far();
    let mut commands = adds(4);
    commands.insert(1, Command::Batch { commands: adds(20) });
    send_one_and(&mut world, &session, commands).await;
    let end = Seq(2 + 4 * 2 + 21);
    let packets = batched.until_seq(end).await;
    let reference = single.until_seq(end).await;
    assert_gapless(&reference, Seq(0), end);
    let commands_in = |packet: Packet| {
        let bytes: usize = packet.data["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| item["data"].to_string().len())
            .sum();
        let items = packet.apart();
        assert_eq!(items[0].event, "command:executing", "{items:?}");
        assert_eq!(items[items.len() - 1].event, "command:executed", "{items:?}");
        let commands = items.iter().filter(|item| item.event == "command:executing").count();
        assert!(bytes <= 1_000 || commands == 1, "{bytes} bytes of {commands} commands");
        commands
    };
    let counts: Vec<_> = packets.iter().cloned().map(commands_in).collect();
    assert_eq!(
        counts,
        [1, 1, 1, 2, 1],
        "the first command was appended alone, and the third packet is of the large command"
    );
    assert_eq!(apart(packets), reference);
}

/// P2: a subscriber with batched delivery whose queue is full lags from the packet that was queued last, gets nothing
/// until its resync, and continues without a gap. The subscriber beside it is unaffected (P7).
#[tokio::test]
async fn lagging_batched_subscriber_is_resynced() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut slow = joined_batched(&session, "slow").await;
    let mut quick = joined_batched(&session, "quick").await;
    settle().await;
    slow.so_far();
    slow.socket.set_space(1);
    send_one_and(&mut world, &session, adds(3)).await;
    session.added().await;
    let first = slow.packet().await;
    assert_eq!(first.seq, Some(Seq(2)));
    let Note::Behind { delivered, attempt } = slow.note().await else {
        unreachable!("its queue is full")
    };
    assert_eq!((delivered, attempt), (Seq(2), 0));
    settle().await;
    assert!(slow.so_far().is_empty(), "a lagging subscriber gets nothing but a sync");
    assert_gapless(&apart(quick.until_seq(Seq(10)).await), Seq(0), Seq(10));

    slow.socket.set_space(usize::MAX);
    slow.resync(None, Some(SyncReason::SlowConsumer));
    let sync = slow.packet().await;
    assert!(sync.is_sync("slow_consumer"), "{sync:?}");
    assert_eq!(sync.place(), Some(Seq(10)));
    session.added().await;
    assert_gapless(&apart(slow.until_seq(Seq(12)).await), Seq(10), Seq(12));
}

/// ROOM-1, P2: a client that joins or resumes between the commands of a group gets a sync up to its join, and the later
/// commands in packets. A client that leaves gets nothing more.
#[tokio::test]
async fn joins_and_leaves_keep_their_place_among_the_commands() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut early = joined_batched(&session, "early").await;
    let mut leaver = joined_batched(&session, "leaver").await;
    settle().await;
    early.so_far();
    leaver.so_far();
    world.plan.all(Fate::Hold);
    let mut commands = vec![Underway::begin(session.add())];
    let append = within(world.plan.held()).await;
    let mut late = session.batched_client("late");
    commands.push(Underway::begin(session.add()));
    let position = Position {
        epoch: Some(session.epoch),
        seq: Seq(1),
    };
    let join = Underway::begin(late.join(Some(position)));
    commands.push(Underway::begin(session.add()));
    let leave = Underway::begin(leaver.leave("transport_close"));
    commands.push(Underway::begin(session.add()));
    world.plan.all(Fate::Commit);
    append.commit();
    for command in commands {
        command.answer().await.expect("accepted");
    }
    join.answer().await.expect("there is room");
    leave.answer().await;
    settle().await;
    let events = ["together", "together", "session:connected", "together"];
    assert_eq!(leaver.unread_events(), events);
    let events = [&events[..], &["session:disconnected", "together"]].concat();
    let packets = packets_so_far(&mut early);
    let names: Vec<_> = packets.iter().map(|packet| packet.event).collect();
    assert_eq!(names, events);
    assert_gapless(&apart(packets), Seq(0), Seq(8));
    let packets = packets_so_far(&mut late);
    assert!(packets[0].is_sync("resumed"), "{packets:?}");
    assert_eq!(packets[0].place(), Some(Seq(4)));
    assert_gapless(&apart(packets), Seq(1), Seq(8));
}

/// P8: a room that fails while it batches a group is replaced. Its subscribers keep batched delivery, and miss nothing
/// (P2).
#[tokio::test]
async fn room_that_fails_at_batching_is_replaced() {
    let world = World::start().await;
    let session = world.session().await;
    let mut client = joined_batched(&session, "ada").await;
    world.encoder.panic_at_batches(1);
    assert_eq!(session.added().await, Seq(2), "the command succeeded");
    let packets = client.until("session:sync").await;
    assert!(packets[packets.len() - 1].is_sync("room_restarted"), "{packets:?}");
    session.added().await;
    let packet = client.packet().await;
    assert_eq!(packet.event, "together");
    assert_gapless(&packet.apart(), Seq(2), Seq(4));
    assert_eq!(world.stats().broadcast_restarts.get(), 1);
}
