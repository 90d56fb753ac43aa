//! Ending a session for good, in whatever state it is: everybody who has to do with it is told, and nothing remains.

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

/// Reads on to the end of a socket that was let go because its session was deleted.
async fn assert_let_go(client: &mut Client) {
    let mut told = false;
    loop {
        match client.note().await {
            Note::Packet(packet) => told = packet.data["reason"] == "session_deleted",
            Note::Behind { .. } | Note::Due(_) => unreachable!("it has room"),
            Note::Released(how) => {
                assert_eq!(how, Release::SessionDeleted);
                assert!(told, "the last packet says why");
                return;
            }
        }
    }
}

/// The sockets are told and let go, callers hear that there is no such session, the log is gone, the project's name is
/// free; other sessions stay (P7).
#[tokio::test]
async fn a_deleted_session_leaves_nothing() {
    let world = World::start().await;
    let session = world.create(bronco()).await;
    let other = world.session().await;
    let (mut ada, mut bob) = (session.joined("ada").await, session.joined("bob").await);
    let mut elsewhere = other.joined("eve").await;
    session.added().await;
    assert_eq!(delete(&session).answer().await, Ok(()));
    assert_let_go(&mut ada).await;
    assert_let_go(&mut bob).await;
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
    elsewhere.until_seq(Seq(2)).await;
    until(|| world.stats().members.get() == 1 && world.stats().sessions_loaded.get() == 2).await;
    // Leaving what is gone is no error either.
    within(ada.leave("server_disconnect")).await;
}

/// What was under way before the deletion is carried out, shown, and answered; what comes after it finds no session; who
/// waits in it waits no longer.
#[tokio::test]
async fn what_is_under_way_is_finished_first() {
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
    assert_let_go(&mut client).await;
}

/// A session that sleeps is deleted without being woken.
#[tokio::test]
async fn a_session_that_sleeps_is_deleted() {
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

/// Of several who delete a session one does, and the others hear that it is gone.
#[tokio::test]
async fn a_session_is_deleted_once() {
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

/// A deletion goes on when its caller goes away: else the log would stay behind, and the session come back with the next
/// start of the hub.
#[tokio::test]
async fn a_deletion_is_finished_also_if_its_caller_goes_away() {
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

/// P8: a session whose last append fails is deleted all the same, and its sockets are told.
#[tokio::test]
async fn a_session_that_fails_while_it_is_deleted_lets_its_sockets_go() {
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
    assert_let_go(&mut client).await;
    until(|| world.stats().members.get() == 0).await;
    within(world.hub.drain()).await;
}

/// While a session waits to be started again its callers wait too, and nobody else does; deleting it does not wait. Its
/// callers and its sockets hear of that, and nothing of it is left that a drain would wait for.
#[tokio::test]
async fn a_session_that_waits_for_its_restart_is_deleted_at_once() {
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
    assert_let_go(&mut client).await;
    until(|| world.stats().members.get() == 0).await;
    within(world.hub.drain()).await;
}

/// A session whose log somebody else deleted is found gone when it next starts: with its sockets, and with its room.
#[tokio::test]
async fn a_session_whose_log_is_gone_is_forgotten() {
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
        "it finds out by failing"
    );
    assert_eq!(awake.add().await, Err(HubError::SessionNotFound(awake.id)));
    assert_let_go(&mut client).await;
    until(|| world.stats().members.get() == 0).await;
    assert_eq!(world.hub.list(0, 10).await.expect("listed").1, 1);
    within(world.hub.drain()).await;
}

/// A session that is deleted while it starts, and turns out to be gone, is deleted; the caller is told so.
#[tokio::test]
async fn a_session_that_is_gone_when_it_starts_is_deleted() {
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

/// Deleting while commands stream in from several sides: every command is answered with what it came to or with that
/// there is no session, and whoever was answered last was not answered twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_race_with_a_deletion_are_all_answered() {
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
