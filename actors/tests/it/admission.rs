//! P9: limits of calls in flight. A call beyond a limit is refused at once with a clear error, and calls are admitted
//! again once permits are free.

use talus_actors::{domain::ids::Seq, hub::HubError, log::planned::Fate, session_actor::RoomFull};

use crate::actors_support::{
    NEVER, Session, Setup, Underway, World, assert_gapless, delete_nothing, settle, until, within,
};

const PER_SESSION: HubError = HubError::Overloaded {
    limit: "in_flight_per_session_max",
    max: 3,
};

const GLOBAL: HubError = HubError::Overloaded {
    limit: "in_flight_max",
    max: 3,
};

async fn three_per_session() -> World {
    let setup = Setup::new().supervised(|supervision| supervision.in_flight_per_session_max = 3);
    setup.start().await
}

/// P7, P9: a session admits calls up to its limit and refuses the next, commands and reads alike. Other sessions are
/// unaffected. Once calls are answered, as many are admitted again. A join and the read for a join need no permit, so
/// that no socket is kept out by the calls of others.
#[tokio::test]
async fn session_limits_calls_in_flight() {
    let mut world = three_per_session().await;
    let (busy, other) = (world.session().await, world.session().await);
    for _ in 0..3 {
        world.plan.all(Fate::Hold);
        let command = Underway::begin(busy.add());
        let append = within(world.plan.held()).await;
        let read = Underway::begin(busy.snapshot());
        let last = Underway::begin(busy.add());
        for _ in 0..5 {
            assert_eq!(busy.add().await, Err(PER_SESSION));
            assert_eq!(busy.snapshot().await.err(), Some(PER_SESSION));
            assert_eq!(busy.hub.begin_save(busy.id).await.err(), Some(PER_SESSION));
        }
        let newcomer = busy.client("ada");
        let (coming, seen) = (Underway::begin(newcomer.join(None)), {
            let (hub, id) = (busy.hub.clone(), busy.id);
            Underway::begin(async move { hub.snapshot_for_join(id).await })
        });
        world.plan.all(Fate::Commit);
        other.added().await;
        append.commit();
        command.answer().await.expect("accepted");
        read.answer().await.expect("read");
        last.answer().await.expect("accepted");
        coming.answer().await.expect("there is room");
        seen.answer().await.expect("read");
        newcomer.leave("transport_close").await;
        busy.added().await;
    }
    assert_eq!(
        busy.snapshot().await.expect("read").seq,
        Seq(18),
        "refused commands change nothing"
    );
}

/// A permit is held until the actor has handled the message, even if the caller is gone. Otherwise callers that cancel
/// could fill the mailbox beyond the limit.
#[tokio::test]
async fn permit_outlives_a_cancelled_call() {
    let mut world = three_per_session().await;
    let session = world.session().await;
    world.plan.all(Fate::Hold);
    let command = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    drop([Underway::begin(session.add()), Underway::begin(session.add())]);
    settle().await;
    assert_eq!(session.add().await, Err(PER_SESSION));
    world.plan.all(Fate::Commit);
    append.commit();
    command.answer().await.expect("accepted");
    until(|| world.stats().events_published.get() == 6).await;
    assert_eq!(session.added().await, Seq(8));
}

/// The limit belongs to the session, not to its actor: permits of calls that failed with an actor are free again, and
/// the next actor admits as many calls, not more.
#[tokio::test]
async fn session_limit_holds_across_restarts() {
    let mut world = three_per_session().await;
    let session = world.session().await;
    for _ in 0..3 {
        world.plan.all(Fate::Hold);
        let lost = Underway::begin(session.add());
        let append = within(world.plan.held()).await;
        let behind = [Underway::begin(session.add()), Underway::begin(session.add())];
        append.meet(Fate::Lose);
        assert_eq!(lost.answer().await, Err(HubError::OutcomeUnknown));
        // The later commands are in the mailbox of the next actor, which is appending the first of them.
        let append = within(world.plan.held()).await;
        let third = Underway::begin(session.snapshot());
        settle().await;
        assert!(third.is_waiting());
        assert_eq!(session.add().await, Err(PER_SESSION));
        world.plan.all(Fate::Commit);
        append.commit();
        for command in behind {
            command.answer().await.expect("accepted");
        }
        third.answer().await.expect("read");
    }
}

/// P9: the hub limits the calls in flight of all sessions together.
#[tokio::test]
async fn hub_limits_calls_in_flight() {
    let mut world = Setup::new().with(|settings| settings.in_flight_max = 3).start().await;
    let sessions = [world.session().await, world.session().await, world.session().await];
    let idle = world.session().await;
    world.plan.all(Fate::Hold);
    let mut commands = Vec::new();
    let mut appends = Vec::new();
    for session in &sessions {
        commands.push(Underway::begin(session.add()));
        appends.push(within(world.plan.held()).await);
    }
    assert_eq!(idle.add().await, Err(GLOBAL));
    assert_eq!(idle.snapshot().await.err(), Some(GLOBAL));
    assert_eq!(idle.hub.wake(idle.id).await.err(), Some(GLOBAL));
    assert_eq!(idle.hub.create(Default::default()).await.err(), Some(GLOBAL));
    appends.pop().expect("three").commit();
    commands.pop().expect("three").answer().await.expect("accepted");
    idle.snapshot().await.expect("a permit is free again");
    world.plan.all(Fate::Commit);
    idle.added().await;
    for append in appends {
        append.commit();
    }
    for command in commands {
        command.answer().await.expect("accepted");
    }
}

/// Refused, failed and cancelled calls return their permits: after many of each, as many calls are admitted as before.
#[tokio::test]
async fn permits_return_after_refused_failed_and_cancelled_calls() {
    let setup = Setup::new()
        .with(|settings| settings.in_flight_max = 3)
        .supervised(|supervision| {
            supervision.in_flight_per_session_max = 3;
            supervision.restarts_max = 100;
        });
    let world = setup.start().await;
    let session = world.session().await;
    let nowhere = Session {
        id: talus_actors::random::new_session_id(),
        ..session.clone()
    };
    for round in 1..=10 {
        session.submit(delete_nothing()).await.expect_err("refused");
        world.plan.next([Fate::Lose]);
        session.add().await.expect_err("lost");
        drop([Underway::begin(session.add()), Underway::begin(session.add())]);
        nowhere.add().await.expect_err("no such session");
        let (hub, id) = (session.hub.clone(), session.id);
        drop(Underway::begin(async move {
            hub.snapshot_at_least(id, Seq(9_999), NEVER).await
        }));
        until(|| world.stats().events_published.get() == 4 * round).await;
        settle().await;
        session.snapshot().await.expect("there is room");
    }
    world.plan.all(Fate::Commit);
    let commands = [0; 3].map(|_| Underway::begin(session.add()));
    for command in commands {
        command.answer().await.expect("three at once");
    }
}

/// A leave needs no permit: a socket leaves however many calls are in flight. Otherwise a closed socket would remain a
/// member for ever.
#[tokio::test]
async fn socket_leaves_without_a_permit() {
    let mut world = Setup::new()
        .with(|settings| (settings.in_flight_max, settings.sockets_per_session_max) = (3, 2))
        .supervised(|supervision| supervision.in_flight_per_session_max = 3)
        .start()
        .await;
    let session = world.session().await;
    let mut stays = session.joined("ada").await;
    let goes = session.joined("bob").await;
    stays.until("session:connected").await;
    assert_eq!(
        session.client("eve").join(None).await,
        Err(HubError::RoomFull(RoomFull { max: 2 }))
    );
    world.plan.all(Fate::Hold);
    let command = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    let reads = [Underway::begin(session.snapshot()), Underway::begin(session.snapshot())];
    assert!(matches!(session.add().await, Err(HubError::Overloaded { .. })));
    let leaving = Underway::begin(goes.leave("transport_close"));
    settle().await;
    assert!(leaving.is_waiting(), "the leave waits behind earlier messages");
    append.commit();
    leaving.answer().await;
    command.answer().await.expect("accepted");
    for read in reads {
        read.answer().await.expect("read");
    }
    let packets = stays.until("session:disconnected").await;
    assert_gapless(&packets, Seq(0), Seq(2));
    assert_eq!(world.stats().members.get(), 1);
    session.client("eve").join(None).await.expect("there is a place");
}

/// P9: each of 1,000 commands sent at once is answered, either accepted or overloaded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_is_answered_command_by_command() {
    let world = Setup::new()
        .supervised(|supervision| supervision.in_flight_per_session_max = 50)
        .start()
        .await;
    let session = world.session().await;
    let mut watcher = session.joined("ada").await;
    let commands: Vec<_> = (0..1_000).map(|_| Underway::begin(session.add())).collect();
    let mut accepted = 0;
    for command in commands {
        match command.answer().await {
            Ok(_) => accepted += 1,
            Err(error) => assert!(matches!(error, HubError::Overloaded { max: 50, .. }), "{error}"),
        }
    }
    assert!(accepted >= 50, "{accepted}");
    let end = Seq(2 * accepted);
    assert_eq!(session.snapshot().await.expect("read").seq, end);
    assert_gapless(&watcher.until_seq(end).await, Seq(0), end);
}
