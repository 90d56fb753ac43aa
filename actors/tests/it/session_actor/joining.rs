//! P1, P2: joining, resuming and leaving a busy room. Every socket sees every event once, in one order.

use std::collections::BTreeMap;

use talus_actors::{
    domain::{
        command::Command,
        ids::{Epoch, Seq},
    },
    fan_out::SyncReason,
    hub::HubError,
    log::planned::Fate,
    random::new_command_id,
    session_actor::{Position, RoomFull},
};

use crate::actors_support::{
    Client, Packet, Session, Setup, UNDO, Underway, World, assert_gapless, change_nothing, create_node, delete_nothing,
    new_node_id, settle, within,
};

fn at(session: &Session, seq: u64) -> Option<Position> {
    Some(Position {
        epoch: Some(session.epoch),
        seq: Seq(seq),
    })
}

/// Returns the events in packets by `seq`.
fn order(packets: &[Packet]) -> BTreeMap<Seq, (String, &'static str)> {
    let placed = packets.iter().filter_map(|packet| Some((packet.seq?, packet)));
    placed
        .map(|(seq, packet)| (seq, (packet.data["command_id"].to_string(), packet.event)))
        .collect()
}

/// P1: a socket that joins anywhere in a stream of commands gets a sync and then exactly the events after it. Checked
/// at every position and for several group sizes: before, within and behind a group.
#[tokio::test]
async fn join_amid_commands_is_gapless() {
    const COMMANDS: usize = 9;
    for group_commands_max in [1, 2, 3, 64] {
        for place in 0..=COMMANDS {
            let mut world = Setup::new()
                .with(|settings| settings.group_commands_max = group_commands_max)
                .start()
                .await;
            let session = world.session().await;
            let mut early = session.joined("early").await;
            let mut client = session.client("late");
            world.plan.all(Fate::Hold);
            let mut commands: Vec<_> = (0..place).map(|_| Underway::begin(session.add())).collect();
            let join = Underway::begin(client.join(None));
            commands.extend((place..COMMANDS).map(|_| Underway::begin(session.add())));
            let first = within(world.plan.held()).await;
            world.plan.all(Fate::Commit);
            first.commit();
            for command in commands {
                command.answer().await.expect("accepted");
            }
            join.answer().await.expect("there is room");

            let end = Seq(2 * COMMANDS as u64);
            let packets = client.until_seq(end).await;
            let joined_at = packets[0].place().expect("the first is a sync");
            assert!(packets[0].is_sync("first_join"), "{packets:?}");
            assert_eq!(joined_at, Seq(2 * place as u64), "joined after the earlier commands");
            assert_gapless(&packets, Seq::ZERO, end);
            let seen = early.until_seq(end).await;
            assert_gapless(&seen, Seq::ZERO, end);
            let mut expected = order(&seen);
            expected.retain(|&seq, _| seq > joined_at);
            assert_eq!(order(&packets), expected, "both see the same events");
        }
    }
}

/// P1, P2: sockets join, leave and resume while several callers send commands on several threads. Each socket ends with
/// all events and sees the same events at the same `seq`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnecting_sockets_see_the_same_order() {
    const CALLERS: usize = 4;
    const COMMANDS: usize = 50;
    let end = Seq(2 * (CALLERS * COMMANDS) as u64);
    let world = Setup::new()
        .with(|settings| settings.group_commands_max = 7)
        .start()
        .await;
    let session = world.session().await;
    let mut witness = session.joined("witness").await;
    let mut work = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let session = session.clone();
        work.spawn(async move {
            for _ in 0..COMMANDS {
                session.added().await;
            }
        });
    }
    let mut visits = tokio::task::JoinSet::new();
    for number in 0..6_u64 {
        let session = session.clone();
        visits.spawn(async move {
            let (mut reached, mut seen) = (Seq::ZERO, BTreeMap::new());
            while reached < end {
                let position = (reached > Seq::ZERO).then(|| at(&session, reached.0)).flatten();
                let mut client = session.client("visitor");
                within(client.join(position)).await.expect("there is room");
                let stay_until = Seq(end.0.min(reached.0 + 20 + 13 * number));
                let packets = client.until_seq(stay_until).await;
                let last = packets.last().and_then(Packet::place).expect("a packet with a place");
                assert_gapless(&packets, reached, last);
                assert_eq!(
                    packets[0].data["reason"],
                    if position.is_some() { "resumed" } else { "first_join" }
                );
                seen.extend(order(&packets));
                reached = last;
                within(client.leave("client_disconnect")).await;
            }
            seen
        });
    }
    let witnessed = witness.until_seq(end).await;
    assert_gapless(&witnessed, Seq::ZERO, end);
    let witnessed = order(&witnessed);
    while let Some(seen) = within(visits.join_next()).await {
        for (seq, event) in seen.expect("no panic") {
            assert_eq!(witnessed.get(&seq), Some(&event), "at {seq}");
        }
    }
    while let Some(caller) = within(work.join_next()).await {
        caller.expect("no panic");
    }
}

/// P2: a position is answered with the missing events, or with the whole document and the reason.
#[tokio::test]
async fn position_gets_missing_events_or_the_document_with_a_reason() {
    let world = Setup::new()
        .with(|settings| settings.limits.replay_window_events = 6)
        .start()
        .await;
    let session = world.session().await;
    for _ in 0..5 {
        session.added().await;
    }
    let elsewhere = |seq| {
        Some(Position {
            epoch: Some(Epoch::new(1)),
            seq: Seq(seq),
        })
    };
    let nonsense = Some(Position {
        epoch: None,
        seq: Seq(8),
    });
    // Ten events; the window keeps the last six, 5 to 10.
    for (position, reason, seqs) in [
        (None, "first_join", None),
        (at(&session, 10), "resumed", Some(vec![])),
        (at(&session, 9), "resumed", Some(vec![10])),
        (at(&session, 7), "resumed", Some(vec![8, 9, 10])),
        (at(&session, 4), "resumed", Some(vec![5, 6, 7, 8, 9, 10])),
        (at(&session, 3), "window_exceeded", None),
        (at(&session, 0), "window_exceeded", None),
        (at(&session, 11), "ahead_of_log", None),
        (at(&session, u64::MAX), "ahead_of_log", None),
        (elsewhere(10), "epoch_changed", None),
        (nonsense, "epoch_changed", None),
    ] {
        let mut client = session.client("ada");
        client.join(position).await.expect("there is room");
        let sync = client.packet().await;
        assert!(sync.is_sync(reason), "{position:?}: {sync:?}");
        assert_eq!(sync.place(), Some(Seq(10)), "{position:?}");
        match seqs {
            Some(seqs) => assert_eq!(sync.data["body"]["seqs"], serde_json::json!(seqs), "{position:?}"),
            None => assert_eq!(
                sync.data["body"]["nodes"].as_array().map(Vec::len),
                Some(5),
                "{position:?}"
            ),
        }
    }
}

/// A new session is empty at `seq` 0, and a client at position 0 misses no event.
#[tokio::test]
async fn position_zero_resumes() {
    let world = World::start().await;
    let session = world.session().await;
    let mut client = session.client("ada");
    client.join(at(&session, 0)).await.expect("there is room");
    let sync = client.packet().await;
    assert!(sync.is_sync("resumed"), "{sync:?}");
    assert_eq!(
        (sync.place(), &sync.data["body"]["seqs"]),
        (Some(Seq(0)), &serde_json::json!([]))
    );
    session.added().await;
    let mut other = session.client("bob");
    other.join(at(&session, 0)).await.expect("there is room");
    assert_eq!(other.packet().await.data["body"]["seqs"], serde_json::json!([1, 2]));
}

/// A member can request a sync with or without a position. A reported divergence gets the whole document regardless of
/// the position. Live events follow the sync, and no other member is notified.
#[tokio::test]
async fn member_can_request_a_sync() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut ada, mut bob) = (session.joined("ada").await, session.joined("bob").await);
    ada.until("session:connected").await;
    session.added().await;
    session.added().await;
    for (position, asked, reason, has_events) in [
        (None, None, "requested", false),
        (at(&session, 1), None, "resumed", true),
        (at(&session, 99), None, "ahead_of_log", false),
        (at(&session, 1), Some(SyncReason::Divergence), "divergence", false),
        (None, Some(SyncReason::SlowConsumer), "slow_consumer", false),
    ] {
        ada.resync(position, asked);
        let sync = ada.until("session:sync").await.pop().expect("a packet");
        assert!(sync.is_sync(reason), "{sync:?}");
        assert_eq!(sync.place(), Some(Seq(4)));
        assert_eq!(sync.data["body"]["seqs"].is_array(), has_events, "{sync:?}");
    }
    session.added().await;
    assert_gapless(&ada.until_seq(Seq(6)).await, Seq(4), Seq(6));
    let events: Vec<_> = bob.until_seq(Seq(6)).await.iter().map(|packet| packet.event).collect();
    assert!(!events.contains(&"session:sync"), "{events:?}");
}

/// P7: a sync request from a socket outside the room is ignored.
#[tokio::test]
async fn sync_request_from_outside_the_room_is_ignored() {
    let world = World::start().await;
    let (session, other) = (world.session().await, world.session().await);
    let mut stranger = other.joined("stranger").await;
    let mut outside = session.client("outside");
    outside.resync(None, None);
    stranger.session = session.clone();
    stranger.resync(None, None);
    session.snapshot().await.expect("read");
    settle().await;
    assert_eq!(outside.unread_events(), [""; 0]);
    assert_eq!(stranger.unread_events(), [""; 0]);
}

/// A join sends the sync, the presence list and `connected`, in this order; the other members get `connected` too, with
/// the new number of members. A leave tells the remaining members the client, the reason and the new number.
#[tokio::test]
async fn joins_and_leaves_are_published_with_the_member_count() {
    let world = World::start().await;
    let session = world.session().await;
    let mut ada = session.client("ada");
    ada.join(None).await.expect("there is room");
    let events: Vec<_> = ada
        .until("session:connected")
        .await
        .into_iter()
        .map(|packet| packet.event)
        .collect();
    assert_eq!(events, ["session:sync", "presence:state", "session:connected"]);

    let mut bob = session.client("bob");
    bob.join(None).await.expect("there is room");
    let [sync, here, own] = &bob.until("session:connected").await[..] else {
        unreachable!()
    };
    assert_eq!(
        (&sync.data["client"], &sync.data["members"]),
        (&"bob".into(), &2.into())
    );
    assert_eq!(
        here.data["clients"],
        serde_json::json!([["ada", null], ["bob", null]]),
        "a client without a state is listed too"
    );
    let heard = ada.packet().await;
    assert_eq!(heard, *own);
    assert_eq!(
        (&heard.data["client"], &heard.data["members"]),
        (&"bob".into(), &2.into())
    );
    assert_eq!(world.stats().members.get(), 2);
    assert_eq!(session.snapshot().await.expect("read").active_clients, 2);

    bob.leave("ping_timeout").await;
    let gone = ada.packet().await;
    assert_eq!(gone.event, "session:disconnected");
    assert_eq!(
        (&gone.data["client"], &gone.data["members"]),
        (&"bob".into(), &1.into())
    );
    assert_eq!(gone.data["reason"], "ping_timeout");
    assert_eq!(bob.unread_events(), [""; 0], "a client that left gets no packet");
    assert_eq!(world.stats().members.get(), 1);

    bob.leave("ping_timeout").await;
    ada.leave("client_disconnect").await;
    assert_eq!(ada.unread_events(), [""; 0], "a second leave has no effect");
    assert_eq!(session.snapshot().await.expect("read").active_clients, 0);
    crate::actors_support::until(|| world.stats().members.get() == 0).await;
}

/// P9: a join to a full room is refused with the maximum, and succeeds once a member leaves.
#[tokio::test]
async fn full_room_refuses_joins_until_a_member_leaves() {
    let world = Setup::new()
        .with(|settings| settings.sockets_per_session_max = 2)
        .start()
        .await;
    let session = world.session().await;
    let (first, second) = (session.joined("first").await, session.joined("second").await);
    let mut third = session.client("third");
    let full = HubError::RoomFull(RoomFull { max: 2 });
    assert_eq!(third.join(None).await, Err(full.clone()));
    settle().await;
    assert_eq!(third.unread_events(), [""; 0]);
    third.leave("client_disconnect").await;
    assert_eq!(
        session.client("fourth").join(None).await,
        Err(full),
        "the leave of a refused socket frees no place"
    );

    first.leave("client_disconnect").await;
    third.join(None).await.expect("there is room");
    assert_eq!(third.packet().await.data["members"], 2);
    drop(second);
}

/// Packets of a command: executing, its events, and the closing event. A rejected command sends `failed`; a command
/// without changes takes no new `seq`.
#[tokio::test]
async fn command_packets_are_complete_and_ordered() {
    let world = World::start().await;
    let session = world.session().await;
    let mut client = session.joined("ada").await;
    for (command, events) in [
        (
            create_node(new_node_id()),
            vec![
                ("command:executing", None),
                ("graph", Some(1)),
                ("command:executed", Some(2)),
            ],
        ),
        (
            delete_nothing(),
            vec![("command:executing", None), ("command:failed", None)],
        ),
        (
            change_nothing(),
            vec![("command:executing", None), ("command:executed", None)],
        ),
        (
            UNDO,
            vec![
                ("command:executing", None),
                ("graph", Some(3)),
                ("command:executed", Some(4)),
            ],
        ),
    ] {
        let _ = session.submit(command).await;
        for (event, seq) in events {
            let packet = client.packet().await;
            assert_eq!((packet.event, packet.seq), (event, seq.map(Seq)));
        }
    }
    settle().await;
    assert_eq!(client.unread_events(), [""; 0]);
}

/// P4: a retry is answered and sends no event. A reused id for another command sends only the failure.
#[tokio::test]
async fn retry_sends_no_events() {
    let world = World::start().await;
    let session = world.session().await;
    let mut client = session.joined("ada").await;
    let (id, command) = (new_command_id(), create_node(new_node_id()));
    let first = session.submit_as(id, command.clone()).await.expect("accepted").receipt;
    client.until("command:executed").await;
    let again = session.submit_as(id, command).await.expect("accepted").receipt;
    assert!(again.duplicate);
    assert_eq!((again.seq, &again.outcome), (first.seq, &first.outcome));
    settle().await;
    assert_eq!(client.unread_events(), [""; 0]);

    let reused = session
        .submit_as(id, create_node(new_node_id()))
        .await
        .expect_err("another command");
    assert!(matches!(reused, HubError::Rejected { ref rejection, .. } if rejection.code() == "COMMAND_ID_REUSED"));
    assert_eq!(client.packet().await.event, "command:executing");
    assert_eq!(client.packet().await.data["code"], "COMMAND_ID_REUSED");
}

/// A member that joins again keeps its single place, as a repeated call requires.
#[tokio::test]
async fn repeated_join_keeps_one_place() {
    let world = Setup::new()
        .with(|settings| settings.sockets_per_session_max = 2)
        .start()
        .await;
    let session = world.session().await;
    let mut client: Client = session.joined("ada").await;
    client.join(None).await.expect("a member joins again");
    assert_eq!(client.packet().await.data["members"], 1);
    assert_eq!(session.snapshot().await.expect("read").active_clients, 1);
    let other = session.joined("bob").await;
    client.join(None).await.expect("a member joins a full room again");
    other.leave("client_disconnect").await;
    assert_eq!(session.snapshot().await.expect("read").active_clients, 1);
}

/// A malformed command sends no event. A well-formed command that is rejected is published to the room.
#[tokio::test]
async fn malformed_command_sends_no_events() {
    let world = World::start().await;
    let session = world.session().await;
    let mut client = session.joined("ada").await;
    let nested = Command::Batch {
        commands: vec![create_node(new_node_id()), change_nothing()],
    };
    let undo_within = Command::Batch { commands: vec![UNDO] };
    for malformed in [nested, undo_within] {
        let refused = session.submit(malformed).await.expect_err("malformed");
        assert!(
            matches!(refused, HubError::Rejected { ref rejection, .. } if rejection.is_malformed()),
            "{refused}"
        );
    }
    settle().await;
    assert_eq!(client.unread_events(), [""; 0]);
    let refused = Command::Batch {
        commands: vec![delete_nothing()],
    };
    session.submit(refused).await.expect_err("there is no such node");
    assert_eq!(client.packet().await.event, "command:executing");
    assert_eq!(client.packet().await.event, "command:failed");
}
