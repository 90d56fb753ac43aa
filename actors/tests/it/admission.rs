//! P9: how much may be under way, and what happens beyond it: a clear error at once, and service again when there is room.

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

/// A session takes so many commands and reads at once and refuses the next, whatever it is; another one is not touched
/// (P7). When they are answered it takes as many again. Sockets come all the same: nobody is kept out by what another has
/// under way.
#[tokio::test]
async fn a_session_has_so_much_under_way_and_no_more() {
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
        "and what was refused was not done"
    );
}

/// A permit is held until the actor is done with the message, not until its sender loses interest: nobody gets more into
/// a mailbox by going away.
#[tokio::test]
async fn who_goes_away_makes_no_room() {
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

/// The limit is the session's, not its actor's: the permits of what a failed actor had are free again, and the next one
/// takes as many, not more.
#[tokio::test]
async fn a_restart_lets_in_as_many_as_before() {
    let mut world = three_per_session().await;
    let session = world.session().await;
    for _ in 0..3 {
        world.plan.all(Fate::Hold);
        let lost = Underway::begin(session.add());
        let append = within(world.plan.held()).await;
        let behind = [Underway::begin(session.add()), Underway::begin(session.add())];
        append.meet(Fate::Lose);
        assert_eq!(lost.answer().await, Err(HubError::OutcomeUnknown));
        // Those behind it are in the next actor's mailbox, and the first of them in its append.
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

/// All sessions together have so much under way and no more.
#[tokio::test]
async fn the_hub_has_so_much_under_way_and_no_more() {
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
    idle.snapshot().await.expect("there is room for one again");
    world.plan.all(Fate::Commit);
    idle.added().await;
    for append in appends {
        append.commit();
    }
    for command in commands {
        command.answer().await.expect("accepted");
    }
}

/// A refusal, a failure or a caller who goes away gives its permits back: after many of each there is as much room as
/// before.
#[tokio::test]
async fn no_permit_is_lost() {
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

/// A socket that goes gets out however much is under way: else it would stay a member for ever, with nobody behind it.
#[tokio::test]
async fn a_socket_can_always_leave() {
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
    assert!(leaving.is_waiting(), "in its turn, behind what is under way");
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

/// P9: a thousand commands at once are each answered, accepted or overloaded, and nothing in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_answered_command_by_command() {
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
