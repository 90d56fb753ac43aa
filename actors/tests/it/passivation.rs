//! Passivation: idle sessions leave memory, and are loaded unchanged by the next request.

use std::time::Duration;

use talus_actors::{
    domain::ids::Seq,
    hub::{HubError, NewSession},
    random::new_command_id,
};

use crate::actors_support::{
    NEVER, Setup, UNDO, Underway, World, assert_gapless, create_node, new_node_id, settle, until, within,
};

/// Starts a hub whose sweeps passivate every session that is idle at the moment.
async fn eager_world() -> World {
    let setup = Setup::new().supervised(|supervision| supervision.idle_timeout = Duration::ZERO);
    setup.start().await
}

/// An idle session is passivated and counted. The next request loads the same state: `seq`, epoch, graph, undo and
/// redo, and the known commands (P4).
#[tokio::test]
async fn passivated_session_is_loaded_unchanged() {
    let world = eager_world().await;
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

/// A passivated session is listed with its state, without being loaded.
#[tokio::test]
async fn passivated_session_is_listed_without_loading() {
    let world = eager_world().await;
    let session = world.create(NewSession::default()).await;
    session.added().await;
    until(|| world.stats().sessions_loaded.get() == 0).await;
    until(|| world.stats().passivations.get() >= 1).await;
    let (listed, total) = world.hub.list(0, 10).await.expect("listed");
    assert_eq!((total, listed[0].seq, listed[0].node_count), (1, Seq(2), 1));
    assert_eq!(world.stats().sessions_loaded.get(), 0);
}

/// A session with a socket in its room or with a waiting reader stays loaded, while idle sessions are passivated
/// repeatedly. Once the socket has left or the reader is answered, the session is passivated, too.
#[tokio::test]
async fn session_with_sockets_or_readers_stays_loaded() {
    let world = eager_world().await;
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
        idle.hub.wake(idle.id).await.expect("the session starts");
        until(|| world.stats().passivations.get() > before).await;
        settle().await;
        assert_eq!(world.stats().passivations.get(), before + 1, "only the idle session");
    }
    watched.added().await;
    assert_gapless(&client.until_seq(Seq(2)).await, Seq(0), Seq(2));
    awaited.added().await;
    assert_eq!(reader.answer().await.expect("reached").seq, Seq(2));
    client.leave("client_disconnect").await;
    until(|| world.stats().sessions_loaded.get() == 0).await;
    assert_eq!(world.stats().members.get(), 0);
}

/// Commands, reads and joins that race with passivations are all answered, and no command is lost or duplicated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_racing_with_passivation_are_answered() {
    const SESSIONS: usize = 4;
    let world = eager_world().await;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..SESSIONS {
        let session = world.session().await;
        let stats = std::sync::Arc::clone(world.hub.stats());
        callers.spawn(async move {
            let (mut count, mut position) = (0, Seq(0));
            // Repeated until passivations have happened between the calls so often that they have hit every point.
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

/// A session that is passivated, or is being passivated or loaded, is deleted all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_racing_with_passivation_succeeds() {
    let world = eager_world().await;
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

/// A passivation stores a snapshot after a quarter of the events that a loaded session needs. The quarter also applies
/// to a graph that is large for `snapshot_events`, where the needed events are counted by its nodes.
#[tokio::test]
async fn passivation_stores_a_snapshot_sooner() {
    let world = Setup::new().with(|settings| settings.snapshot_events = 8).start().await;
    let session = world.session().await;
    for _ in 0..10 {
        session.added().await;
    }
    let snapshot = async || {
        let stored = world.log.open(session.id, usize::MAX).await.expect("readable");
        stored
            .expect("the session exists")
            .snapshot
            .map(|snapshot| snapshot.seq)
    };
    assert_eq!(
        snapshot().await,
        None,
        "20 events, and 4 for each of 10 nodes would be 40"
    );
    within(session.hub.passivate(session.id))
        .await
        .expect("the session exists");
    assert_eq!(snapshot().await, Some(Seq(20)));
}
