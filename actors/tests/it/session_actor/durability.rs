//! P3: no effect leaves the process before the state behind it is in the log.

use talus_actors::{
    domain::ids::{CommandId, Seq},
    hub::HubError,
    log::planned::Fate,
    random::new_command_id,
};
use tokio::sync::mpsc;

use crate::actors_support::{
    NEVER, Note, Underway, World, assert_gapless, change_nothing, context, create_node, delete_nothing, new_node_id,
    settle, within,
};

/// P3: during an append neither its receipt nor its events are released, nor any later answer: read, join, rejection or
/// retry. All are released once the append is durable.
#[tokio::test]
async fn effects_after_a_pending_append_wait_for_durability() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut watcher = session.joined("watcher").await;
    let leaver = session.joined("leaver").await;
    watcher.until("session:connected").await;

    world.plan.all(Fate::Hold);
    let id = new_command_id();
    let node = create_node(new_node_id());
    let receipt = Underway::begin(session.submit_as(id, node.clone()));
    let append = within(world.plan.held()).await;

    let retry = Underway::begin(session.submit_as(id, node));
    let refused = Underway::begin(session.submit(delete_nothing()));
    let unchanged = Underway::begin(session.submit(change_nothing()));
    let read = Underway::begin(session.snapshot());
    let mut joiner = session.client("joiner");
    let join = Underway::begin(joiner.join(None));
    watcher.resync(None, None);
    let leave = Underway::begin(leaver.leave("client_disconnect"));
    let (hub, session_id) = (session.hub.clone(), session.id);
    let save = Underway::begin(async move { hub.begin_save(session_id).await });
    settle().await;

    for call in [&receipt, &retry, &refused, &unchanged] {
        assert!(call.is_waiting(), "no command is answered");
    }
    assert!(read.is_waiting() && join.is_waiting() && leave.is_waiting() && save.is_waiting());
    assert_eq!(watcher.unread_events(), [""; 0]);
    assert_eq!(joiner.unread_events(), [""; 0]);

    append.commit();
    let receipt = receipt.answer().await.expect("accepted").receipt;
    assert_eq!((receipt.seq, receipt.duplicate), (Seq(2), false));
    let retry = retry.answer().await.expect("accepted before").receipt;
    assert_eq!((retry.seq, retry.duplicate), (Seq(2), true));
    assert!(matches!(
        refused.answer().await,
        Err(HubError::Rejected { seq: Seq(2), .. })
    ));
    assert_eq!(unchanged.answer().await.expect("accepted").receipt.seq, Seq(2));
    assert_eq!(read.answer().await.expect("read").seq, Seq(2));
    join.answer().await.expect("there is room");
    assert_eq!(joiner.packet().await.data["at"], 2);
    leave.answer().await;
    assert_eq!(save.answer().await.expect("lent").snapshot.seq, Seq(2));
}

/// P3: answers that are decided in one group with a command wait for the append of the group, because they depend on
/// state that is not durable yet.
#[tokio::test]
async fn effects_of_one_group_wait_for_its_append() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut watcher = session.joined("watcher").await;

    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let ahead = within(world.plan.held()).await;
    // The following calls wait for the first append and form the second group.
    let node = create_node(new_node_id());
    let second = Underway::begin(session.submit(node.clone()));
    let refused = Underway::begin(session.submit(node));
    let read = Underway::begin(session.snapshot());
    let (hub, session_id) = (session.hub.clone(), session.id);
    let reader = Underway::begin(async move { hub.snapshot_at_least(session_id, Seq(4), NEVER).await });
    let mut joiner = session.client("joiner");
    let join = Underway::begin(joiner.join(None));
    watcher.resync(None, None);
    ahead.commit();
    first.answer().await.expect("accepted");
    watcher.until("command:executed").await;

    let append = within(world.plan.held()).await;
    assert_eq!(append.records().len(), 1);
    settle().await;
    assert!(second.is_waiting() && refused.is_waiting());
    assert!(read.is_waiting() && reader.is_waiting() && join.is_waiting());
    assert_eq!(watcher.unread_events(), [""; 0]);
    assert_eq!(joiner.unread_events(), [""; 0]);

    append.commit();
    assert_eq!(second.answer().await.expect("accepted").receipt.seq, Seq(4));
    assert!(matches!(
        refused.answer().await,
        Err(HubError::Rejected { seq: Seq(4), .. })
    ));
    assert_eq!(read.answer().await.expect("read").seq, Seq(4));
    assert_eq!(reader.answer().await.expect("reached").seq, Seq(4));
    join.answer().await.expect("there is room");
    assert_eq!(joiner.packet().await.data["at"], 4);
    let packets = watcher.until("session:sync").await;
    assert_gapless(&packets, Seq(2), Seq(4));
}

/// P3, P1: the effects of a group are released in the order of the messages, to the room and to the callers.
#[tokio::test]
async fn outbox_releases_effects_in_message_order() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut watcher = session.joined("watcher").await;
    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let ahead = within(world.plan.held()).await;
    let (done, mut order) = mpsc::unbounded_channel();
    let mut sent = Vec::new();
    for number in 0..12 {
        let id = new_command_id();
        let command = match number % 3 {
            0 => create_node(new_node_id()),
            1 => delete_nothing(),
            _ => change_nothing(),
        };
        sent.push(id);
        let (call, done) = (Underway::begin(session.submit_as(id, command)), done.clone());
        tokio::spawn(async move {
            let _ = call.answer().await;
            done.send(id).expect("listened to");
        });
    }
    ahead.commit();
    first.answer().await.expect("accepted");
    watcher.until("command:executed").await;
    let append = within(world.plan.held()).await;
    assert_eq!(append.records().len(), 4);
    append.commit();

    let mut answered = Vec::new();
    let mut seen: Vec<CommandId> = Vec::new();
    for _ in 0..12 {
        answered.push(within(order.recv()).await.expect("answered"));
        let packet = watcher.until("command:executing").await.pop().expect("a packet");
        seen.push(
            packet.data["command_id"]
                .as_str()
                .expect("an id")
                .parse()
                .expect("an id"),
        );
    }
    assert_eq!(answered, sent);
    assert_eq!(seen, sent);
}

/// P3: a command's timestamp is its time of receipt, not the time of its append, and a receipt agrees with the record
/// in the log.
#[tokio::test]
async fn receipt_equals_the_log_record() {
    let world = World::start().await;
    let session = world.session().await;
    let (id, node) = (new_command_id(), new_node_id());
    let mut given = context(id);
    given.author.user = Some("ada".into());
    let submitted = session
        .hub
        .submit(
            session.id,
            create_node(node).into(),
            given.clone(),
            tracing::Span::none(),
        )
        .await
        .expect("accepted");
    assert_eq!(submitted.epoch, session.epoch);
    let stored = world
        .log
        .open(session.id, usize::MAX)
        .await
        .expect("readable")
        .expect("created");
    let [record] = &stored.records[..] else {
        unreachable!("one record, not {:?}", stored.records)
    };
    assert_eq!(record.receipt(), submitted.receipt);
    assert_eq!(
        (record.command_id, record.timestamp, &record.author),
        (id, given.now, &given.author)
    );
    assert_eq!(submitted.receipt.outcome.node_ids, [node]);
    assert!(submitted.receipt.outcome.undo_available && submitted.receipt.outcome.is_dirty);
}

/// P3: events of a failed append are never sent. The socket gets a sync instead.
#[tokio::test]
async fn failed_append_sends_a_sync_instead_of_events() {
    let mut world = World::start().await;
    let session = world.session().await;
    let mut watcher = session.joined("watcher").await;
    world.plan.all(Fate::Hold);
    let lost = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    world.plan.all(Fate::Commit);
    append.meet(Fate::Lose);
    assert_eq!(lost.answer().await, Err(HubError::OutcomeUnknown));
    let Note::Packet(packet) = watcher.note().await else {
        unreachable!("a packet is due")
    };
    assert!(packet.is_sync("room_restarted"), "{packet:?}");
    assert_eq!(packet.data["at"], 0);
    session.added().await;
    assert_gapless(&watcher.until_seq(Seq(2)).await, Seq(0), Seq(2));
}
