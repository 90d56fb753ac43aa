//! Saves of the project file: exclusive, in order, and of durable states only.

use talus_actors::{
    domain::{command::Command, ids::Seq},
    hub::{HubError, SaveLease},
    log::{AppendError, planned::Fate},
};

use crate::actors_support::{Session, Underway, World, settle, within};

fn begin_save(session: &Session) -> Underway<Result<SaveLease, HubError>> {
    let (hub, id) = (session.hub.clone(), session.id);
    Underway::begin(async move { hub.begin_save(id).await })
}

/// P3: a lease contains the session's state, so it waits for durability as every answer does. Otherwise the file could
/// contain a change that never reaches the log.
#[tokio::test]
async fn save_lease_waits_for_durability() {
    let mut world = World::start().await;
    let session = world.session().await;
    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let ahead = within(world.plan.held()).await;
    let second = Underway::begin(session.add());
    let save = begin_save(&session);
    ahead.commit();
    first.answer().await.expect("accepted");
    let append = within(world.plan.held()).await;
    settle().await;
    assert!(second.is_waiting() && save.is_waiting());

    world.plan.all(Fate::Commit);
    append.meet(Fate::Refuse(AppendError::Io("the disk is full".to_owned())));
    assert_eq!(second.answer().await, Err(HubError::OutcomeUnknown));
    assert_eq!(
        save.answer().await.expect("lent").snapshot.seq,
        Seq(2),
        "the state of the log"
    );
}

/// Leases are granted one at a time in the order of the requests, each with the state at the grant: an older state is
/// never written over a newer one.
#[tokio::test]
async fn save_leases_are_exclusive_and_in_order() {
    let world = World::start().await;
    let session = world.session().await;
    let first = begin_save(&session).answer().await.expect("lent");
    assert_eq!(first.snapshot.seq, Seq::ZERO);
    let second = begin_save(&session);
    let third = begin_save(&session);
    session.added().await;
    settle().await;
    assert!(second.is_waiting() && third.is_waiting());

    drop(first);
    let second = second.answer().await.expect("lent");
    assert_eq!(second.snapshot.seq, Seq(2), "the state at the grant");
    settle().await;
    assert!(third.is_waiting());

    drop(second);
    assert_eq!(third.answer().await.expect("lent").snapshot.seq, Seq(2));
}

/// A cancelled request is skipped, both in the queue and at the moment of its grant.
#[tokio::test]
async fn cancelled_save_is_skipped() {
    let mut world = World::start().await;
    let session = world.session().await;
    let lease = begin_save(&session).answer().await.expect("lent");
    let impatient = begin_save(&session);
    let patient = begin_save(&session);
    drop(impatient);
    settle().await;
    drop(lease);
    let lease = patient.answer().await.expect("lent");

    // The grant falls into a group whose append is in flight, and the request is cancelled before the append is done.
    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let ahead = within(world.plan.held()).await;
    let second = Underway::begin(session.add());
    let late = begin_save(&session);
    let last = begin_save(&session);
    drop(lease);
    ahead.commit();
    first.answer().await.expect("accepted");
    let append = within(world.plan.held()).await;
    drop(late);
    settle().await;
    append.commit();
    second.answer().await.expect("accepted");
    assert_eq!(last.answer().await.expect("lent").snapshot.seq, Seq(4));
}

/// Commands and reads continue during a save. The `SaveProject` command makes the session clean up to the saved `seq`.
#[tokio::test]
async fn commands_continue_during_a_save() {
    let world = World::start().await;
    let session = world.session().await;
    session.added().await;
    let lease = begin_save(&session).answer().await.expect("lent");
    session.added().await;
    let save = Command::SaveProject {
        file: "project.json".into(),
        through: lease.snapshot.seq,
    };
    let saved = session.submit(save.clone()).await.expect("accepted");
    assert!(saved.receipt.outcome.is_dirty, "changed since the saved state");
    drop(lease);

    let lease = begin_save(&session).answer().await.expect("lent");
    let Command::SaveProject { file, .. } = save else {
        unreachable!()
    };
    let through = lease.snapshot.seq;
    let saved = session
        .submit(Command::SaveProject { file, through })
        .await
        .expect("accepted");
    assert!(!saved.receipt.outcome.is_dirty);
    assert!(!session.snapshot().await.expect("read").is_dirty);
}

/// P8: a lease stays exclusive across a restart of the session, because the pending write is older than any later one.
#[tokio::test]
async fn save_lease_stays_exclusive_during_a_session_restart() {
    let world = World::start().await;
    let session = world.session().await;
    session.added().await;
    let writing = begin_save(&session).answer().await.expect("lent");
    let waiting = begin_save(&session);
    world.plan.next([Fate::Lose]);
    assert_eq!(session.add().await, Err(HubError::OutcomeUnknown));
    session.added().await;
    settle().await;
    assert!(waiting.is_waiting());
    let late = begin_save(&session);
    settle().await;
    assert!(late.is_waiting());

    drop(writing);
    assert_eq!(waiting.answer().await.expect("lent").snapshot.seq, Seq(4));
    late.answer().await.expect("lent");
}
