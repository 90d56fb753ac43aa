//! Draining: admitted work finishes, sockets get a time to reconnect, and new work is refused.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use talus_actors::{
    domain::{
        blueprint::Blueprint,
        ids::{Seq, TemplateId},
        session::Project,
    },
    fan_out::Release,
    hub::{Hub, HubError, NewSession},
    log::planned::Fate,
    session_actor::BlueprintSource,
};
use tokio::sync::Semaphore;

use crate::actors_support::{Client, NEVER, Note, Setup, Underway, World, assert_gapless, settle, until, within};

fn drain(hub: &Hub) -> Underway<()> {
    let hub = hub.clone();
    Underway::begin(async move { hub.drain().await })
}

/// Reads the operations of a socket up to its release by a drain. Returns the delay before its reconnection in
/// milliseconds.
async fn assert_released(client: &mut Client) -> u64 {
    let mut delay = None;
    loop {
        match client.note().await {
            Note::Packet(packet) => delay = packet.data["reconnect_in_ms"].as_u64(),
            Note::Behind { .. } | Note::Due(_) => unreachable!("the queue has space"),
            Note::Released(how) => {
                assert_eq!(how, Release::CloseTransport);
                return delay.expect("the last packet has a delay");
            }
        }
    }
}

/// P3: admitted commands are finished and delivered before the sockets are released, and later calls are refused.
#[tokio::test]
async fn drain_finishes_admitted_work_and_refuses_new_work() {
    let mut world = World::start().await;
    let (session, other) = (world.session().await, world.session().await);
    let mut client = session.joined("ada").await;
    let (hub, id) = (session.hub.clone(), session.id);
    let reader = Underway::begin(async move { hub.snapshot_at_least(id, Seq(99), NEVER).await });
    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    let second = Underway::begin(session.add());
    let draining = drain(&world.hub);
    settle().await;
    assert!(draining.is_waiting() && world.hub.is_draining());
    for session in [&session, &other] {
        assert_eq!(session.add().await, Err(HubError::Draining));
        assert_eq!(session.snapshot().await.err(), Some(HubError::Draining));
        assert_eq!(session.client("late").join(None).await, Err(HubError::Draining));
        assert_eq!(session.hub.begin_save(session.id).await.err(), Some(HubError::Draining));
        assert_eq!(session.hub.wake(session.id).await, Err(HubError::Draining));
    }
    assert_eq!(
        world.hub.create(NewSession::default()).await.err(),
        Some(HubError::Draining)
    );

    world.plan.all(Fate::Commit);
    append.commit();
    assert_eq!(first.answer().await.expect("accepted").receipt.seq, Seq(2));
    assert_eq!(second.answer().await.expect("accepted").receipt.seq, Seq(4));
    assert_eq!(reader.answer().await.err(), Some(HubError::Draining));
    draining.answer().await;
    assert_gapless(&client.until_seq(Seq(4)).await, Seq(0), Seq(4));
    assert_released(&mut client).await;
    assert_eq!(
        (world.stats().sessions_loaded.get(), world.stats().members.get()),
        (0, 0)
    );
    let stored = world
        .log
        .open(session.id, usize::MAX)
        .await
        .expect("readable")
        .expect("the session exists");
    assert_eq!(stored.records.len(), 2);
    assert_eq!(session.add().await, Err(HubError::Draining));
    within(client.leave("transport_close")).await;
}

/// The sockets of a room reconnect one after the other, each at its own time within the window.
#[tokio::test]
async fn reconnect_delays_are_spread() {
    let world = Setup::new()
        .supervised(|supervision| supervision.reconnect_ms = (1_000, 9_000))
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let session = world.session().await;
        for number in 0..25 {
            clients.push(session.joined(&format!("client-{number}")).await);
        }
    }
    drain(&world.hub).answer().await;
    let mut delays = BTreeSet::new();
    for client in &mut clients {
        delays.insert(assert_released(client).await);
    }
    assert!(delays.iter().all(|delay| (1_000..=9_000).contains(delay)), "{delays:?}");
    assert!(delays.len() > 90, "{} different ones of 100", delays.len());
    assert!(
        delays.first() < Some(&2_000) && delays.last() > Some(&8_000),
        "{delays:?}"
    );
}

/// A hub without loaded sessions is drained at once, and so is a drained hub. Every caller of a drain is answered.
#[tokio::test]
async fn drain_without_loaded_sessions_ends_at_once() {
    let world = World::start().await;
    world.create(NewSession::default()).await;
    let drains = [drain(&world.hub), drain(&world.hub)];
    for draining in drains {
        draining.answer().await;
    }
    drain(&world.hub).answer().await;
}

/// P8: a session whose append fails during the drain is not restarted. The drain does not wait for it, and its sockets
/// are released.
#[tokio::test]
async fn session_that_fails_does_not_hold_up_the_drain() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut client = session.joined("ada").await;
    world.plan.all(Fate::Hold);
    let command = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    let draining = drain(&world.hub);
    settle().await;
    append.meet(Fate::Lose);
    assert_eq!(command.answer().await, Err(HubError::OutcomeUnknown));
    draining.answer().await;
    assert_released(&mut client).await;
    assert_eq!(world.stats().members.get(), 0);
}

/// P8: a session that waits for its restart does not hold up the drain.
#[tokio::test]
async fn session_waiting_for_restart_does_not_hold_up_the_drain() {
    let world = Setup::new()
        .supervised(|supervision| supervision.restart_backoff = NEVER)
        .start()
        .await;
    let session = world.session().await;
    let mut client = session.joined("ada").await;
    world.plan.next([Fate::Lose, Fate::Lose]);
    assert_eq!(session.add().await, Err(HubError::OutcomeUnknown));
    assert_eq!(session.add().await, Err(HubError::OutcomeUnknown));
    until(|| world.stats().session_restarts.get() == 2).await;
    let waiting = Underway::begin(session.client("bob").join(None));
    settle().await;
    drain(&world.hub).answer().await;
    assert_eq!(waiting.answer().await, Err(HubError::Draining));
    assert_released(&mut client).await;
    assert_eq!(world.stats().members.get(), 0);
}

/// Source of templates that waits for permits of the test.
struct SlowBlueprints(Arc<Semaphore>);

impl BlueprintSource for SlowBlueprints {
    fn blueprint(&self, _: &TemplateId) -> BoxFuture<'static, Option<Arc<Blueprint>>> {
        let ready = Arc::clone(&self.0);
        async move {
            let _ready = ready.acquire().await.expect("open");
            None
        }
        .boxed()
    }
}

/// P3: a session that is starting finishes its start and the admitted commands.
#[tokio::test]
async fn starting_session_finishes_admitted_commands() {
    let ready = Arc::new(Semaphore::new(0));
    let mut setup = Setup::new();
    setup.blueprints = Arc::new(SlowBlueprints(Arc::clone(&ready)));
    let world = setup.start().await;
    let project = Project {
        project_id: "bronco".parse().expect("a slug"),
        project_name: "Bronco".into(),
        template_id: Some("restomod".parse().expect("a name")),
    };
    let session = world
        .create(NewSession {
            project: Some(project),
            ..NewSession::default()
        })
        .await;
    let command = Underway::begin(session.add());
    settle().await;
    let draining = drain(&world.hub);
    settle().await;
    assert!(command.is_waiting() && draining.is_waiting());
    ready.add_permits(1);
    assert_eq!(
        command.answer().await.map(|submitted| submitted.receipt.seq),
        Ok(Seq(2))
    );
    draining.answer().await;
}

/// Commands that race with a drain are each answered, and the log holds every accepted command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_racing_with_drain_are_answered() {
    for _ in 0..10 {
        let world = World::start().await;
        let session = world.session().await;
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let session = session.clone();
            callers.spawn(async move {
                let mut accepted = 0;
                loop {
                    match within(session.add()).await {
                        Ok(_) => accepted += 1,
                        Err(HubError::Draining) => return accepted,
                        Err(other) => unreachable!("{other}"),
                    }
                }
            });
        }
        session.added().await;
        within(world.hub.drain()).await;
        let mut accepted = 1;
        while let Some(caller) = within(callers.join_next()).await {
            accepted += caller.expect("no panic");
        }
        let stored = world
            .log
            .open(session.id, usize::MAX)
            .await
            .expect("readable")
            .expect("the session exists");
        assert_eq!(stored.records.len(), accepted);
    }
}
