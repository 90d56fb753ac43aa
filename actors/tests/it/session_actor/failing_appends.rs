//! P8, P4: a failed, conflicting or unanswered append affects only the commands in its group, whose outcome is unknown.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use talus_actors::{
    domain::ids::Seq,
    hub::HubError,
    log::{Append, AppendCallback, AppendError, planned::Fate},
    random::new_command_id,
};

use crate::actors_support::{
    NEVER, Setup, UNDO, Underway, World, assert_gapless, change_nothing, create_node, delete_nothing, new_node_id,
    until, within,
};

/// Returns every unsuccessful fate of an append, and whether its group is in the log.
fn unsuccessful_fates() -> [(Fate, bool); 7] {
    let conflict = AppendError::Conflict {
        expected: Seq(2),
        actual: Seq(9),
    };
    [
        (Fate::Refuse(AppendError::Io("the disk is full".to_owned())), false),
        (Fate::Refuse(conflict.clone()), false),
        (Fate::Refuse(AppendError::NoSuchLog), false),
        (Fate::Refuse(AppendError::Unknown), false),
        (Fate::Lose, false),
        (Fate::CommitAndTell(AppendError::Unknown), true),
        (Fate::CommitAndLose, true),
    ]
}

/// After any unsuccessful append the commands in the group have an unknown outcome. The next actor serves the commands
/// behind the group, in the same epoch, with `seq` continuing from the log. A retry gets the right answer, whether the
/// append reached the log or not.
#[tokio::test]
async fn session_continues_from_the_log_after_a_failed_append() {
    for (fate, appended) in unsuccessful_fates() {
        let mut world = World::start().await;
        let session = world.session().await;
        assert_eq!(session.added().await, Seq(2));
        world.plan.all(Fate::Hold);
        let (id, command) = (new_command_id(), create_node(new_node_id()));
        let in_doubt = Underway::begin(session.submit_as(id, command.clone()));
        let append = within(world.plan.held()).await;
        let behind = Underway::begin(session.add());
        let read_behind = Underway::begin(session.snapshot());
        world.plan.all(Fate::Commit);
        append.meet(fate.clone());

        assert_eq!(in_doubt.answer().await, Err(HubError::OutcomeUnknown), "{fate:?}");
        let reached = if appended { Seq(4) } else { Seq(2) };
        let behind = behind.answer().await.expect("served by the next actor");
        assert_eq!(
            (behind.receipt.seq, behind.epoch),
            (reached.plus(2), session.epoch),
            "{fate:?}"
        );
        assert!(!behind.receipt.duplicate, "{fate:?}: not decided before");
        assert_eq!(
            read_behind.answer().await.expect("read").seq,
            reached.plus(2),
            "{fate:?}"
        );

        let again = session.submit_as(id, command.clone()).await.expect("accepted").receipt;
        assert_eq!(again.duplicate, appended, "{fate:?}");
        assert_eq!(again.seq, if appended { reached } else { reached.plus(4) }, "{fate:?}");
        let once_more = session.submit_as(id, command).await.expect("accepted").receipt;
        assert_eq!((once_more.duplicate, once_more.seq), (true, again.seq), "{fate:?}");

        let snapshot = session.snapshot().await.expect("read");
        assert_eq!(
            (snapshot.document.graph.len(), snapshot.seq),
            (3, Seq(6)),
            "{fate:?}: each was applied once"
        );
        assert_eq!(world.stats().append_failures.get(), 1, "{fate:?}");
        assert_eq!(world.stats().session_restarts.get(), 1, "{fate:?}");
        assert_eq!(world.stats().sessions_loaded.get(), 1, "{fate:?}");
    }
}

/// Every command in a lost group has an unknown outcome, including rejections and retries, because they were decided on
/// lost state. Reads and joins in the group are repeated.
#[tokio::test]
async fn lost_group_makes_outcomes_unknown_and_repeats_reads() {
    let mut world = World::start().await;
    let session = world.session().await;
    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let ahead = within(world.plan.held()).await;
    let node = create_node(new_node_id());
    let id = new_command_id();
    let in_doubt = [
        Underway::begin(session.submit_as(id, node.clone())),
        Underway::begin(session.submit_as(id, node.clone())),
        Underway::begin(session.submit(node)),
        Underway::begin(session.submit(delete_nothing())),
        Underway::begin(session.submit(change_nothing())),
    ];
    let read = Underway::begin(session.snapshot());
    let mut client = session.client("ada");
    let join = Underway::begin(client.join(None));
    ahead.commit();
    first.answer().await.expect("accepted");
    let append = within(world.plan.held()).await;
    world.plan.all(Fate::Commit);
    append.meet(Fate::Lose);
    for command in in_doubt {
        assert_eq!(command.answer().await, Err(HubError::OutcomeUnknown));
    }
    assert_eq!(read.answer().await.expect("read").seq, Seq(2));
    join.answer().await.expect("there is room");
    assert_eq!(client.until("session:connected").await[0].data["at"], 2);
}

/// A socket that leaves in a lost group has left, and the other members are notified once.
#[tokio::test]
async fn leave_in_a_lost_group_takes_effect_once() {
    let mut world = World::start().await;
    let session = world.session().await;
    let (mut stays, goes) = (session.joined("ada").await, session.joined("bob").await);
    stays.until("session:connected").await;
    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let ahead = within(world.plan.held()).await;
    let lost = Underway::begin(session.add());
    let leaving = Underway::begin(goes.leave("ping_timeout"));
    ahead.commit();
    first.answer().await.expect("accepted");
    let append = within(world.plan.held()).await;
    world.plan.all(Fate::Commit);
    append.meet(Fate::Lose);
    assert_eq!(lost.answer().await, Err(HubError::OutcomeUnknown));
    leaving.answer().await;
    let end = session.added().await;
    let packets = stays.until_seq(end).await;
    let heard: Vec<_> = packets
        .iter()
        .filter(|packet| packet.event == "session:disconnected")
        .collect();
    assert_eq!(heard.len(), 1, "{packets:?}");
    assert_eq!(
        (&heard[0].data["client"], &heard[0].data["members"]),
        (&"bob".into(), &1.into())
    );
    assert_eq!(world.stats().members.get(), 1);
}

/// Pending reads with `min_seq` and pending saves outlive the actor that they were sent to.
#[tokio::test]
async fn pending_reads_and_saves_survive_an_actor_failure() {
    let world = World::start().await;
    let session = world.session().await;
    let (hub, id) = (session.hub.clone(), session.id);
    let reader = Underway::begin(async move { hub.snapshot_at_least(id, Seq(4), NEVER).await });
    let (hub, id) = (session.hub.clone(), session.id);
    let lease = hub.begin_save(id).await.expect("lent");
    let waiting = Underway::begin(async move { hub.begin_save(id).await });
    world.plan.next([Fate::Lose]);
    assert_eq!(session.add().await, Err(HubError::OutcomeUnknown));
    session.added().await;
    session.added().await;
    assert_eq!(reader.answer().await.expect("reached").seq, Seq(4));
    drop(lease);
    waiting.answer().await.expect("lent");
}

/// P2, P8: the sockets of a session stay in the room while its actor is replaced. Each gets a sync and all following
/// events, and no join or leave is published.
#[tokio::test]
async fn sockets_stay_in_the_room_during_a_session_restart() {
    for (fate, appended) in unsuccessful_fates() {
        let world = World::start().await;
        let session = world.session().await;
        let mut ada = session.joined("ada").await;
        let mut bob = session.joined("bob").await;
        ada.until("session:connected").await;
        world.plan.next([fate.clone()]);
        assert_eq!(session.add().await, Err(HubError::OutcomeUnknown));
        let reached = if appended { Seq(2) } else { Seq(0) };
        let end = session.added().await;
        assert_eq!(end, reached.plus(2));
        for client in [&mut ada, &mut bob] {
            let packets = client.until_seq(end).await;
            assert!(packets[0].is_sync("room_restarted"), "{fate:?}: {packets:?}");
            assert_eq!(packets[0].place(), Some(reached), "{fate:?}");
            assert_eq!(packets[0].data["members"], 2, "{fate:?}");
            assert_gapless(&packets, Seq(0), end);
        }
        assert_eq!(world.stats().members.get(), 2);
        assert_eq!(session.snapshot().await.expect("read").active_clients, 2);
    }
}

/// A panic of the actor during an append is handled as any failure: the command has an unknown outcome and is not in
/// the log, and the session continues.
#[tokio::test]
async fn actor_panic_is_handled_as_a_failure() {
    let world = World::start().await;
    let session = world.session().await;
    let mut client = session.joined("ada").await;
    session.added().await;
    let panicked = AtomicBool::new(false);
    world.plan.decide_by(move |_| {
        assert!(panicked.swap(true, Ordering::Relaxed), "panic requested by the test");
        Fate::Commit
    });
    let (id, command) = (new_command_id(), create_node(new_node_id()));
    let in_doubt = Underway::begin(session.submit_as(id, command.clone()));
    let behind = Underway::begin(session.snapshot());
    assert_eq!(in_doubt.answer().await, Err(HubError::OutcomeUnknown));
    assert_eq!(behind.answer().await.expect("read").seq, Seq(2));
    let again = session.submit_as(id, command).await.expect("accepted").receipt;
    assert_eq!((again.duplicate, again.seq), (false, Seq(4)));
    assert_gapless(&client.until_seq(Seq(4)).await, Seq(0), Seq(4));
    assert_eq!(world.stats().session_restarts.get(), 1);
}

/// Undo survives a restart: the next actor undoes a step of its predecessor.
#[tokio::test]
async fn undo_survives_a_session_restart() {
    let world = World::start().await;
    let session = world.session().await;
    session.added().await;
    session.added().await;
    world.plan.next([Fate::Lose]);
    assert_eq!(session.submit(UNDO).await, Err(HubError::OutcomeUnknown));
    let undone = session.submit(UNDO).await.expect("accepted").receipt;
    assert!(undone.outcome.redo_available && undone.outcome.undo_available);
    assert_eq!(session.snapshot().await.expect("read").document.graph.len(), 1);
}

/// A session detects another writer at its next append, and continues from the log.
#[tokio::test]
async fn session_adopts_records_of_another_writer() {
    let world = World::start().await;
    let (session, other) = (world.session().await, world.session().await);
    session.added().await;
    let elsewhere = other
        .submit(create_node(new_node_id()))
        .await
        .expect("accepted")
        .receipt
        .outcome
        .node_ids[0];
    // Event 1 and 2 of the other session, placed at 3 and 4 as another writer of the first session would place them.
    let stored = world
        .log
        .open(other.id, usize::MAX)
        .await
        .expect("readable")
        .expect("created");
    let mut record = (*stored.records[0]).clone();
    record.first_seq = Seq(3);
    // The hash belongs to another graph.
    record.outcome.state_hash = None;
    let (done, written) = tokio::sync::oneshot::channel();
    world.log.append(Append {
        session_id: session.id,
        expected: Seq(2),
        records: vec![record.into()],
        node_count: 0,
        done: AppendCallback::new(move |result| done.send(result).expect("waited for")),
    });
    written.await.expect("answered").expect("appended");

    assert_eq!(
        session.add().await,
        Err(HubError::OutcomeUnknown),
        "the append conflicts"
    );
    assert_eq!(session.added().await, Seq(6));
    let snapshot = session.snapshot().await.expect("read");
    assert!(snapshot.document.graph.contains(elsewhere));
    assert_eq!(snapshot.document.graph.len(), 3);
}

/// P4, P2: with a log that fails repeatedly, and commands that are retried until they are answered, each command is
/// applied once and the sockets miss no event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retried_commands_are_applied_once_with_a_failing_log() {
    let world = Setup::new()
        .supervised(|supervision| supervision.restarts_max = 1_000)
        .start()
        .await;
    let session = world.session().await;
    let mut watcher = session.joined("watcher").await;
    let count = AtomicUsize::new(0);
    world
        .plan
        .decide_by(move |_| match count.fetch_add(1, Ordering::Relaxed) % 7 {
            2 => Fate::Lose,
            4 => Fate::CommitAndLose,
            5 => Fate::Refuse(AppendError::Io("now and then".to_owned())),
            _ => Fate::Commit,
        });
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let session = session.clone();
        callers.spawn(async move {
            for _ in 0..15 {
                let (id, command) = (new_command_id(), create_node(new_node_id()));
                while let Err(error) = session.submit_as(id, command.clone()).await {
                    assert_eq!(error, HubError::OutcomeUnknown);
                }
            }
        });
    }
    while let Some(caller) = within(callers.join_next()).await {
        caller.expect("no panic");
    }
    let snapshot = session.snapshot().await.expect("read");
    assert_eq!((snapshot.document.graph.len(), snapshot.seq), (60, Seq(120)));
    assert_gapless(&watcher.until_seq(Seq(120)).await, Seq(0), Seq(120));
    until(|| world.stats().session_restarts.get() == world.stats().append_failures.get()).await;
    assert!(world.stats().append_failures.get() >= 3, "the log did fail");
}
