//! P8: sessions that fail, restart and are quarantined, beside sessions that are unaffected.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use talus_actors::{
    domain::{
        blueprint::Blueprint,
        command::Command,
        ids::{Epoch, NodeId, Seq, TemplateId, Timestamp},
        session::{Project, SessionHeader},
    },
    fan_out::Release,
    hub::{HubError, NewSession},
    log::{Append, AppendCallback, EventLog, LogError, MemoryLog, planned::Fate},
    random::new_session_id,
    session_actor::BlueprintSource,
    session_supervisor::Operation,
};
use uuid::Uuid;

use crate::actors_support::{ClosedLog, Note, Session, Setup, Underway, World, assert_gapless, settle, until, within};

fn project(id: &str, template: Option<&str>) -> Project {
    Project {
        project_id: id.parse().expect("a slug"),
        project_name: id.into(),
        template_id: template.map(|id| id.parse().expect("a name")),
    }
}

/// Returns the reason of the quarantine if the call was refused for one.
fn quarantined<T>(answer: Result<T, HubError>) -> Option<Arc<str>> {
    match answer {
        Err(HubError::Quarantined { reason, .. }) => Some(reason),
        _ => None,
    }
}

/// A session whose appends fail repeatedly is quarantined after its own budget of restarts. A session that fails now
/// and then keeps its own budget, and a session that never fails is unaffected (P7).
#[tokio::test]
async fn repeatedly_failing_session_is_quarantined_alone() {
    let world = Setup::new()
        .supervised(|supervision| supervision.restarts_max = 3)
        .start()
        .await;
    let (bad, shaky, good) = (world.session().await, world.session().await, world.session().await);
    let mut watcher = bad.joined("ada").await;
    let mut other = good.joined("bob").await;
    let (bad_id, shaky_id) = (bad.id, shaky.id);
    let shaken = AtomicUsize::new(0);
    world.plan.decide_by(move |append| match append.session_id {
        id if id == bad_id => Fate::Lose,
        id if id == shaky_id && shaken.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => Fate::Lose,
        _ => Fate::Commit,
    });
    for _ in 0..3 {
        assert_eq!(bad.add().await, Err(HubError::OutcomeUnknown));
        assert_eq!(shaky.add().await, Err(HubError::OutcomeUnknown));
        shaky.added().await;
        good.added().await;
    }
    assert_eq!(world.stats().sessions_quarantined.get(), 0);
    let behind = {
        let lost = Underway::begin(bad.add());
        let behind = Underway::begin(bad.snapshot());
        assert_eq!(lost.answer().await, Err(HubError::OutcomeUnknown));
        behind.answer().await
    };
    let reason = quarantined(behind).expect("its budget is spent");
    assert_eq!(&*reason, "the outcome is unknown", "the reason of the last failure");
    assert_eq!(quarantined(bad.add().await), Some(reason));
    quarantined(bad.client("late").join(None).await).expect("quarantined");
    assert_eq!(world.stats().sessions_quarantined.get(), 1);
    assert_eq!(world.stats().session_restarts.get(), 6);

    // The sockets of the session are released as in a drain, and learn of the quarantine when they reconnect.
    while let Note::Packet(packet) = watcher.note().await {
        assert!(
            packet.is_sync("room_restarted") || packet.event == "session:draining",
            "{packet:?}"
        );
    }
    until(|| world.stats().members.get() == 1).await;
    assert_eq!(shaky.snapshot().await.expect("the session serves").seq, Seq(6));
    assert_eq!(good.added().await, Seq(8));
    assert_gapless(&other.until_seq(Seq(8)).await, Seq(0), Seq(8));
    assert!(other.unread_events().is_empty());
}

/// A session stays quarantined, is listed, can be deleted, and is then no longer counted.
#[tokio::test]
async fn quarantined_session_is_listed_and_deleted() {
    let world = Setup::new()
        .supervised(|supervision| supervision.restarts_max = 0)
        .start()
        .await;
    let new = NewSession {
        project: Some(project("bronco", None)),
        ..NewSession::default()
    };
    let bad = world.create(new.clone()).await;
    world.plan.next([Fate::Lose]);
    assert_eq!(bad.add().await, Err(HubError::OutcomeUnknown));
    settle().await;
    quarantined(bad.snapshot().await).expect("no restart at all");
    let (sessions, total) = world.hub.list(0, 10).await.expect("listed");
    assert_eq!((sessions.len(), total), (1, 1));
    world.hub.delete(bad.id).await.expect("deleted");
    assert_eq!(world.stats().sessions_quarantined.get(), 0);
    assert_eq!(bad.add().await, Err(HubError::SessionNotFound(bad.id)));
    assert!(world.log.open(bad.id, usize::MAX).await.expect("readable").is_none());
    world.create(new).await.added().await;
    within(world.hub.drain()).await;
}

/// P12: a log that cannot be replayed is detected at the session's start. The session is quarantined at once, with the
/// reason, since another start would read the same log. The hub continues.
#[tokio::test]
async fn inconsistent_log_quarantines_its_session() {
    let log = Arc::new(MemoryLog::start().expect("a thread"));
    let header = SessionHeader {
        session_id: new_session_id(),
        epoch: Epoch::new(1),
        created_at: Timestamp(1),
        project: None,
    };
    log.create(header.clone()).await.expect("created");
    let good = World::start().await;
    let session = good.session().await;
    session.added().await;
    let stored = good
        .log
        .open(session.id, usize::MAX)
        .await
        .expect("readable")
        .expect("created");
    let mut record = (*stored.records[0]).clone();
    record.first_seq = Seq(7);
    let (done, written) = tokio::sync::oneshot::channel();
    log.append(Append {
        session_id: header.session_id,
        expected: Seq(0),
        records: vec![record.into()],
        node_count: 0,
        done: AppendCallback::new(move |result| done.send(result).expect("waited for")),
    });
    written.await.expect("answered").expect("appended");

    let mut setup = Setup::new().supervised(|supervision| supervision.restarts_max = 2);
    setup.inner = log;
    let world = setup.start().await;
    let reason = quarantined(world.hub.snapshot(header.session_id).await).expect("it cannot be replayed");
    assert_eq!(&*reason, "the record at 7 does not follow 0");
    assert_eq!(world.stats().session_restarts.get(), 0);
    assert_eq!(world.stats().sessions_loaded.get(), 0);
    world.session().await.added().await;
    within(world.hub.drain()).await;
}

/// Callers wait while a log cannot be read, as long as the session's budget of restarts lasts.
#[tokio::test]
async fn session_is_served_once_its_log_can_be_read() {
    let world = World::start().await;
    let asleep = world.create(NewSession::default()).await;
    world.plan.fail_opens(5, LogError::Io("too many open files".to_owned()));
    assert_eq!(asleep.added().await, Seq(2));
    assert_eq!(world.stats().session_restarts.get(), 5);
}

/// Source of templates that panics a given number of times.
struct PanickingBlueprints(AtomicUsize);

impl BlueprintSource for PanickingBlueprints {
    fn blueprint(&self, _: &TemplateId) -> BoxFuture<'static, Option<Arc<Blueprint>>> {
        let left = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        async move {
            assert!(left.is_err(), "the test told the templates to panic");
            None
        }
        .boxed()
    }
}

async fn start_with_template(panics: usize) -> (World, Session) {
    let mut setup = Setup::new().supervised(|supervision| supervision.restarts_max = 3);
    setup.blueprints = Arc::new(PanickingBlueprints(AtomicUsize::new(panics)));
    let world = setup.start().await;
    let new = NewSession {
        project: Some(project("bronco", Some("restomod"))),
        ..NewSession::default()
    };
    let session = world.create(new).await;
    (world, session)
}

/// A panic during the start of a session is a failure like any other: the caller waits for the next attempt.
#[tokio::test]
async fn panic_at_start_is_retried() {
    let (world, session) = start_with_template(3).await;
    assert_eq!(session.added().await, Seq(2));
    assert_eq!(world.stats().session_restarts.get(), 3);
}

/// A panic at every start quarantines the session.
#[tokio::test]
async fn panic_at_every_start_quarantines() {
    let (world, session) = start_with_template(usize::MAX).await;
    let reason = quarantined(session.add().await).expect("it cannot start");
    assert!(reason.contains("the test told the templates to panic"), "{reason}");
    assert_eq!(world.stats().sessions_loaded.get(), 0);
    world.session().await.added().await;
    within(world.hub.drain()).await;
}

/// The first restart is immediate, the second follows after the backoff, and each further one after twice the previous
/// delay. A session that cannot start does not keep the processor busy.
#[tokio::test(start_paused = true)]
async fn restart_backoff_doubles() {
    let (opened, mut openings) = tokio::sync::mpsc::unbounded_channel();
    let header = SessionHeader {
        session_id: new_session_id(),
        epoch: Epoch::new(1),
        created_at: Timestamp(1),
        project: None,
    };
    let mut setup = Setup::new().supervised(|supervision| {
        supervision.restarts_max = 5;
        supervision.restart_backoff = Duration::from_millis(50);
    });
    setup.inner = Arc::new(ClosedLog {
        session: Some(header.clone()),
        opened: Some(opened),
    });
    let world = setup.start().await;
    quarantined(world.hub.snapshot(header.session_id).await).expect("it never starts");
    let mut times = Vec::new();
    while let Ok(time) = openings.try_recv() {
        times.push(time);
    }
    let waits: Vec<_> = times.windows(2).map(|two| (two[1] - two[0]).as_millis()).collect();
    let about = |wait: u128, expected: u128| (expected..=expected + 2).contains(&wait);
    assert_eq!(waits.len(), 5, "{waits:?}");
    for (wait, expected) in waits.iter().zip([0, 50, 100, 200, 400]) {
        assert!(about(*wait, expected), "{waits:?}");
    }
}

/// A command for a node that does not exist is refused, and the actor continues: a refusal is an answer, not a failure.
#[tokio::test]
async fn refusal_is_no_failure() {
    let world = Setup::new()
        .supervised(|supervision| supervision.restarts_max = 0)
        .start()
        .await;
    let session = world.session().await;
    for number in 0..20 {
        let node_id = NodeId::new(Uuid::from_u128(number));
        let refused = session.submit(Command::DeleteNode { node_id });
        assert!(matches!(refused.await, Err(HubError::Rejected { .. })));
    }
    session.added().await;
    assert_eq!(world.stats().session_restarts.get(), 0);
}

/// A session that is quarantined at any moment of its room's restart releases its socket, although neither the failed
/// room nor the next one would.
#[tokio::test]
async fn socket_is_released_by_quarantine_during_room_restart() {
    let world = World::start().await;
    let session = world.session().await;
    for moment in 0..40 {
        let mut client = session.joined("ada").await;
        world.encoder.panic_at_commands(1);
        let adding = Underway::begin(session.add());
        for _ in 0..moment {
            tokio::task::yield_now().await;
        }
        let quarantine = session.hub.operate(session.id, Operation::Quarantine);
        within(quarantine).await.expect("the session serves");
        while !matches!(
            client.note().await,
            Note::Released(Release::SessionQuarantined | Release::CloseTransport)
        ) {}
        let _ = adding.answer().await;
        within(async {
            while world.stats().sessions_quarantined.get() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        world.encoder.panic_at_commands(0);
        let release = session.hub.operate(session.id, Operation::Release);
        within(release).await.expect("it is quarantined");
    }
}
