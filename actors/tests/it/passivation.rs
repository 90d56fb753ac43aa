//! Sessions that nobody uses leave memory, and are back as they were as soon as somebody does.

use std::time::Duration;

use talus_actors::{
    domain::ids::Seq,
    hub::{HubError, NewSession},
    random::new_command_id,
};

use crate::actors_support::{
    NEVER, Setup, UNDO, Underway, World, assert_gapless, create_node, new_node_id, settle, until, within,
};

/// Every sweep puts to sleep whatever nobody uses at that moment.
async fn sleepy() -> World {
    let setup = Setup::new().supervised(|supervision| supervision.idle_timeout = Duration::ZERO);
    setup.start().await
}

/// An idle session leaves memory and is counted; at the next access it is as it was: `seq`, epoch, graph, undo and redo,
/// and the commands it knows (P4).
#[tokio::test]
async fn a_session_that_slept_is_as_it_was() {
    let world = sleepy().await;
    let session = world.session().await;
    let (id, command) = (new_command_id(), create_node(new_node_id()));
    let first = session.submit_as(id, command.clone()).await.expect("accepted").receipt;
    session.added().await;
    session.submit(UNDO).await.expect("accepted");
    let before = session.snapshot().await.expect("read");
    until(|| world.stats().sessions_loaded.get() == 0).await;
    until(|| world.stats().passivations.get() >= 1).await;

    let after = session.snapshot().await.expect("read");
    assert_eq!(
        (after.seq, &after.document, &after.header),
        (before.seq, &before.document, &before.header)
    );
    assert!(after.undo_available && after.redo_available && after.is_dirty);
    assert_eq!(after.last_activity, before.last_activity);
    let again = session.submit_as(id, command).await.expect("accepted");
    assert_eq!(
        (again.receipt.duplicate, again.receipt.seq, again.epoch),
        (true, first.seq, session.epoch)
    );
    session.submit(UNDO).await.expect("accepted");
    assert_eq!(session.snapshot().await.expect("read").document.graph.len(), 0);
    assert_eq!(world.stats().session_restarts.get(), 0);
}

/// What sleeps is listed as it was, without being woken.
#[tokio::test]
async fn a_sleeping_session_is_listed_without_waking_it() {
    let world = sleepy().await;
    let session = world.create(NewSession::default()).await;
    session.added().await;
    until(|| world.stats().sessions_loaded.get() == 0).await;
    until(|| world.stats().passivations.get() >= 1).await;
    let (listed, total) = world.hub.list(0, 10).await.expect("listed");
    assert_eq!((total, listed[0].seq, listed[0].node_count), (1, Seq(2), 1));
    assert_eq!(world.stats().sessions_loaded.get(), 0);
}

/// A session with a socket in its room stays, and so does one with a reader that waits; those beside them go to sleep,
/// again and again. When the socket has left and the reader was answered they go too.
#[tokio::test]
async fn a_session_with_sockets_or_readers_stays() {
    let world = sleepy().await;
    let (watched, awaited, idle) = (world.session().await, world.session().await, world.session().await);
    let mut client = watched.joined("ada").await;
    let (hub, id) = (awaited.hub.clone(), awaited.id);
    let reader = Underway::begin(async move { hub.snapshot_at_least(id, Seq(2), NEVER).await });
    for _ in 0..3 {
        until(|| world.stats().sessions_loaded.get() == 2).await;
        settle().await;
        assert!(reader.is_waiting());
        assert!(client.unread_events().is_empty(), "its actor was not replaced");
        let before = world.stats().passivations.get();
        idle.hub.wake(idle.id).await.expect("it starts");
        until(|| world.stats().passivations.get() > before).await;
        settle().await;
        assert_eq!(world.stats().passivations.get(), before + 1, "of the idle one only");
    }
    watched.added().await;
    assert_gapless(&client.until_seq(Seq(2)).await, Seq(0), Seq(2));
    awaited.added().await;
    assert_eq!(reader.answer().await.expect("reached").seq, Seq(2));
    client.leave("client_disconnect").await;
    until(|| world.stats().sessions_loaded.get() == 0).await;
    assert_eq!(world.stats().members.get(), 0);
}

/// Commands, reads and joins that race with sessions going to sleep are all answered, and nothing is lost or doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_races_with_falling_asleep_loses_nothing() {
    const SESSIONS: usize = 4;
    let world = sleepy().await;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..SESSIONS {
        let session = world.session().await;
        let stats = std::sync::Arc::clone(world.hub.stats());
        callers.spawn(async move {
            let (mut count, mut position) = (0, Seq(0));
            // Until sessions fell asleep between the calls so often that it happened at every point.
            while stats.passivations.get() < 60 {
                count += 1;
                assert_eq!(session.added().await, Seq(2 * count));
                if number % 2 == 0 {
                    let read = within(session.snapshot()).await.expect("read");
                    assert_eq!(read.document.graph.len() as u64, count);
                } else {
                    let mut client = session.client("ada");
                    let at = talus_actors::session_actor::Position {
                        epoch: Some(session.epoch),
                        seq: position,
                    };
                    within(client.join(Some(at))).await.expect("there is room");
                    let packets = client.until_seq(Seq(2 * count)).await;
                    assert_gapless(&packets, position, Seq(2 * count));
                    position = Seq(2 * count);
                    within(client.leave("client_disconnect")).await;
                }
                let asleep = stats.passivations.get();
                if count % 3 == 0 {
                    until(|| stats.passivations.get() > asleep || stats.sessions_loaded.get() == 0).await;
                }
            }
            (session, count)
        });
    }
    while let Some(caller) = within(callers.join_next()).await {
        let (session, count) = caller.expect("no panic");
        let stored = world
            .log
            .open(session.id, usize::MAX)
            .await
            .expect("readable")
            .expect("created");
        assert_eq!(stored.records.len() as u64, count);
    }
    assert_eq!(world.stats().session_restarts.get(), 0);
    until(|| world.stats().sessions_loaded.get() == 0).await;
}

/// Deleting a session that sleeps, falls asleep or wakes up just then ends it all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_race_with_falling_asleep() {
    let world = sleepy().await;
    for number in 0..40 {
        let session = world.session().await;
        if number % 4 == 0 {
            until(|| world.stats().sessions_loaded.get() == 0).await;
        }
        let read = Underway::begin(session.snapshot());
        within(world.hub.delete(session.id)).await.expect("deleted");
        match read.answer().await {
            Ok(snapshot) => assert_eq!(snapshot.seq, Seq(0)),
            Err(error) => assert_eq!(error, HubError::SessionNotFound(session.id)),
        }
        assert!(
            world
                .log
                .open(session.id, usize::MAX)
                .await
                .expect("readable")
                .is_none()
        );
    }
    until(|| world.stats().sessions_loaded.get() == 0).await;
    within(world.hub.drain()).await;
}

/// A snapshot is made for a quarter of the events if the session goes to sleep: of a graph that is large for
/// `snapshot_events` too, where those are counted by its nodes.
#[tokio::test]
async fn before_it_sleeps_a_session_has_a_snapshot_sooner() {
    let world = Setup::new().with(|settings| settings.snapshot_events = 8).start().await;
    let session = world.session().await;
    for _ in 0..10 {
        session.added().await;
    }
    let snapshot = async || {
        let stored = world.log.open(session.id, usize::MAX).await.expect("it is read");
        stored.expect("it is there").snapshot.map(|snapshot| snapshot.seq)
    };
    assert_eq!(
        snapshot().await,
        None,
        "20 events, and 4 for each of 10 nodes would be 40"
    );
    within(session.hub.passivate(session.id)).await.expect("it is there");
    assert_eq!(snapshot().await, Some(Seq(20)));
}
