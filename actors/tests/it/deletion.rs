//! Deletion of a session in any state: pending calls are answered, sockets are released, and nothing remains.

use std::sync::Arc;

use talus_actors::{
    domain::{ids::Seq, session::Project},
    fan_out::Release,
    hub::{HubError, NewSession},
    log::planned::Fate,
};

use crate::actors_support::{Client, NEVER, Note, Session, Setup, Underway, World, settle, until, within};

fn delete(session: &Session) -> Underway<Result<(), HubError>> {
    let (hub, id) = (session.hub.clone(), session.id);
    Underway::begin(async move { hub.delete(id).await })
}

fn bronco() -> NewSession {
    NewSession {
        project: Some(Project {
            project_id: "bronco".parse().expect("a slug"),
            project_name: "Bronco".into(),
            template_id: None,
        }),
        ..NewSession::default()
    }
}

/// Reads the operations of a socket up to its release, and asserts that the last packet and the release state the
/// deletion.
async fn assert_released(client: &mut Client) {
    let mut has_reason = false;
    loop {
        match client.note().await {
            Note::Packet(packet) => has_reason = packet.data["reason"] == "session_deleted",
            Note::Behind { .. } | Note::Due(_) => unreachable!("the queue has space"),
            Note::Released(how) => {
                assert_eq!(how, Release::SessionDeleted);
                assert!(has_reason, "the last packet states the reason");
                return;
            }
        }
    }
}

/// P7: a deletion releases the sockets with a reason, refuses later calls, deletes the log and frees the project id.
/// Other sessions are unaffected.
#[tokio::test]
async fn deleted_session_leaves_nothing() {
    let world = World::start().await;
    let session = world.create(bronco()).await;
    let other = world.session().await;
    let (mut ada, mut bob) = (session.joined("ada").await, session.joined("bob").await);
    let mut eve = other.joined("eve").await;
    session.added().await;
    assert_eq!(delete(&session).answer().await, Ok(()));
    assert_released(&mut ada).await;
    assert_released(&mut bob).await;
    let missing = HubError::SessionNotFound(session.id);
    assert_eq!(session.add().await, Err(missing.clone()));
    assert_eq!(session.client("late").join(None).await, Err(missing.clone()));
    assert_eq!(delete(&session).answer().await, Err(missing));
    assert!(
        world
            .log
            .open(session.id, usize::MAX)
            .await
            .expect("readable")
            .is_none()
    );
    assert_eq!(world.hub.list(0, 10).await.expect("listed").1, 1);

    let again = world.create(bronco()).await;
    assert_ne!((again.id, again.epoch), (session.id, session.epoch));
    assert_eq!(again.added().await, Seq(2));
    assert_eq!(other.added().await, Seq(2));
    eve.until_seq(Seq(2)).await;
    until(|| world.stats().members.get() == 1 && world.stats().sessions_loaded.get() == 2).await;
    // Leaving a deleted session is no error.
    within(ada.leave("server_disconnect")).await;
}

/// Commands ahead of a deletion are applied, delivered and answered. Later commands and waiting readers get
/// `SessionNotFound`.
#[tokio::test]
async fn deletion_follows_earlier_commands() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut client = session.joined("ada").await;
    let (hub, id) = (session.hub.clone(), session.id);
    let reader = Underway::begin(async move { hub.snapshot_at_least(id, Seq(99), NEVER).await });
    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    let second = Underway::begin(session.add());
    let deleting = delete(&session);
    settle().await;
    let late = Underway::begin(session.add());
    world.plan.all(Fate::Commit);
    append.commit();
    assert_eq!(first.answer().await.expect("accepted").receipt.seq, Seq(2));
    assert_eq!(second.answer().await.expect("accepted").receipt.seq, Seq(4));
    assert_eq!(deleting.answer().await, Ok(()));
    let missing = HubError::SessionNotFound(session.id);
    assert_eq!(late.answer().await, Err(missing.clone()));
    assert_eq!(reader.answer().await.err(), Some(missing));
    client.until_seq(Seq(4)).await;
    assert_released(&mut client).await;
}

/// A passivated session is deleted without being loaded.
#[tokio::test]
async fn passivated_session_is_deleted_without_loading() {
    let world = World::start().await;
    let session = world.create(bronco()).await;
    assert_eq!(world.stats().sessions_loaded.get(), 0);
    assert_eq!(delete(&session).answer().await, Ok(()));
    assert!(
        world
            .log
            .open(session.id, usize::MAX)
            .await
            .expect("readable")
            .is_none()
    );
    assert_eq!(
        session.snapshot().await.err(),
        Some(HubError::SessionNotFound(session.id))
    );
    world.create(bronco()).await;
}

/// Of several deletions of a session one succeeds, and the others return `SessionNotFound`.
#[tokio::test]
async fn session_is_deleted_once() {
    let world = World::start().await;
    let session = world.session().await;
    let deletions = [delete(&session), delete(&session), delete(&session)];
    let mut done = 0;
    for deletion in deletions {
        match deletion.answer().await {
            Ok(()) => done += 1,
            Err(error) => assert_eq!(error, HubError::SessionNotFound(session.id)),
        }
    }
    assert_eq!(done, 1);
}

/// A deletion continues after its caller is gone. Otherwise the log would remain, and the session would reappear at the
/// next start of the hub.
#[tokio::test]
async fn deletion_finishes_without_its_caller() {
    let mut world = World::start().await;
    let session = world.session().await;
    world.plan.all(Fate::Hold);
    let command = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    let deletion = delete(&session);
    settle().await;
    drop(deletion);
    settle().await;
    append.commit();
    command.answer().await.expect("accepted");
    within(async {
        while world
            .log
            .open(session.id, usize::MAX)
            .await
            .expect("readable")
            .is_some()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// P8: a session whose last append fails is deleted all the same, and its sockets are released with the reason.
#[tokio::test]
async fn session_that_fails_during_deletion_releases_sockets() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut client = session.joined("ada").await;
    world.plan.all(Fate::Hold);
    let command = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    let deleting = delete(&session);
    settle().await;
    append.meet(Fate::Lose);
    assert_eq!(command.answer().await, Err(HubError::OutcomeUnknown));
    assert_eq!(deleting.answer().await, Ok(()));
    assert_released(&mut client).await;
    until(|| world.stats().members.get() == 0).await;
    within(world.hub.drain()).await;
}

/// Callers of a session that waits for its restart wait too, and other sessions are unaffected. A deletion does not
/// wait: it answers the callers, releases the sockets, and leaves nothing that a drain would wait for.
#[tokio::test]
async fn session_waiting_for_restart_is_deleted_at_once() {
    let world = Setup::new()
        .supervised(|supervision| supervision.restart_backoff = NEVER)
        .start()
        .await;
    let (bad, good) = (world.session().await, world.session().await);
    let mut client = bad.joined("ada").await;
    world.plan.next([Fate::Lose, Fate::Lose]);
    assert_eq!(bad.add().await, Err(HubError::OutcomeUnknown));
    assert_eq!(bad.add().await, Err(HubError::OutcomeUnknown));
    until(|| world.stats().session_restarts.get() == 2).await;
    let command = Underway::begin(bad.add());
    let leaving = Underway::begin(bad.client("bob").leave("ping_timeout"));
    settle().await;
    assert!(command.is_waiting() && leaving.is_waiting());
    good.added().await;

    assert_eq!(delete(&bad).answer().await, Ok(()));
    assert_eq!(command.answer().await, Err(HubError::SessionNotFound(bad.id)));
    leaving.answer().await;
    assert_released(&mut client).await;
    until(|| world.stats().members.get() == 0).await;
    within(world.hub.drain()).await;
}

/// A session whose log was deleted behind the hub is removed at its next start, with its project id, sockets and room.
#[tokio::test]
async fn session_without_log_is_removed() {
    let world = World::start().await;
    let (asleep, awake) = (world.create(bronco()).await, world.session().await);
    let mut client = awake.joined("ada").await;
    world.log.delete(asleep.id).await.expect("deleted");
    world.log.delete(awake.id).await.expect("deleted");
    assert_eq!(asleep.add().await, Err(HubError::SessionNotFound(asleep.id)));
    world.create(bronco()).await;
    assert_eq!(
        awake.add().await,
        Err(HubError::OutcomeUnknown),
        "the append fails first"
    );
    assert_eq!(awake.add().await, Err(HubError::SessionNotFound(awake.id)));
    assert_released(&mut client).await;
    until(|| world.stats().members.get() == 0).await;
    assert_eq!(world.hub.list(0, 10).await.expect("listed").1, 1);
    within(world.hub.drain()).await;
}

/// A session that is deleted during a start that finds no log is deleted, and the caller is answered.
#[tokio::test]
async fn session_without_log_is_deleted_during_start() {
    let world = World::start().await;
    let session = world.create(NewSession::default()).await;
    world.log.delete(session.id).await.expect("deleted");
    let waking = Underway::begin(session.snapshot());
    let deleting = delete(&session);
    let missing = HubError::SessionNotFound(session.id);
    assert_eq!(waking.answer().await.err(), Some(missing.clone()));
    let deleted = deleting.answer().await;
    assert!(deleted == Ok(()) || deleted == Err(missing), "{deleted:?}");
    within(world.hub.drain()).await;
}

/// Commands that race with a deletion are each answered, either with a receipt or with `SessionNotFound`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_racing_with_deletion_are_answered() {
    let world = World::start().await;
    for _ in 0..20 {
        let session = world.session().await;
        let go = Arc::new(tokio::sync::Barrier::new(4));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let (session, go) = (session.clone(), Arc::clone(&go));
            callers.spawn(async move {
                go.wait().await;
                loop {
                    match within(session.add()).await {
                        Ok(_) => {}
                        Err(error) => return error,
                    }
                }
            });
        }
        go.wait().await;
        within(world.hub.delete(session.id)).await.expect("deleted");
        while let Some(error) = within(callers.join_next()).await {
            assert_eq!(error.expect("no panic"), HubError::SessionNotFound(session.id));
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
}
