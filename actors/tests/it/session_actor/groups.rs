//! Group commit: commands that arrive during an append form the next group.

use talus_actors::{domain::ids::Seq, hub::HubError, log::planned::Fate};

use crate::actors_support::{
    Outcome, Session, Setup, Underway, World, change_nothing, delete_nothing, settle, until, within,
};

async fn seqs(commands: Vec<Underway<Outcome>>) -> Vec<Seq> {
    let mut seqs = Vec::new();
    for command in commands {
        seqs.push(command.answer().await.expect("accepted").receipt.seq);
    }
    seqs
}

fn adds(session: &Session, count: usize) -> Vec<Underway<Outcome>> {
    (0..count).map(|_| Underway::begin(session.add())).collect()
}

/// Commands that arrive during an append are appended together, at most `group_commands_max` at a time (P9). Each group
/// follows the previous one, and each command gets its own receipt, in the order of sending.
#[tokio::test]
async fn waiting_commands_are_appended_together_up_to_the_limit() {
    let mut world = Setup::new()
        .with(|settings| settings.group_commands_max = 4)
        .start()
        .await;
    let session = world.session().await;
    world.plan.all(Fate::Hold);
    let commands = adds(&session, 11);
    let mut expected = Seq::ZERO;
    for size in [1, 4, 4, 2] {
        let append = within(world.plan.held()).await;
        assert_eq!(append.session_id(), session.id);
        assert_eq!(append.expected(), expected);
        assert_eq!(append.records().len(), size);
        expected = append.records()[size - 1].seq();
        settle().await;
        assert!(world.plan.try_held().is_none(), "at most one append in flight");
        append.commit();
    }
    assert_eq!(
        seqs(commands).await,
        (1..=11).map(|number| Seq(2 * number)).collect::<Vec<_>>()
    );
    assert_eq!(world.plan.appends(), 4);
}

/// Reads and joins take part in a group without being appended. A group without records causes no append.
#[tokio::test]
async fn group_without_records_is_not_appended() {
    let world = World::start().await;
    let session = world.session().await;
    let before = world.plan.appends();
    assert!(matches!(
        session.submit(delete_nothing()).await,
        Err(HubError::Rejected { .. })
    ));
    let unchanged = session.submit(change_nothing()).await.expect("accepted").receipt;
    assert_eq!((unchanged.first_seq, unchanged.seq), (None, Seq::ZERO));
    session.snapshot().await.expect("read");
    session.joined("ada").await;
    assert_eq!(world.plan.appends(), before);
    session.added().await;
    assert_eq!(world.plan.appends(), before + 1);
}

/// A group that is full of reads does not starve the commands behind them, and the order is kept.
#[tokio::test]
async fn reads_do_not_starve_commands() {
    let mut world = Setup::new()
        .with(|settings| settings.group_commands_max = 2)
        .start()
        .await;
    let session = world.session().await;
    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let ahead = within(world.plan.held()).await;
    let reads: Vec<_> = (0..5).map(|_| Underway::begin(session.snapshot())).collect();
    let second = Underway::begin(session.add());
    let last = Underway::begin(session.snapshot());
    world.plan.all(Fate::Commit);
    ahead.commit();
    assert_eq!(seqs(vec![first, second]).await, [Seq(2), Seq(4)]);
    for read in reads {
        assert_eq!(read.answer().await.expect("read").seq, Seq(2));
    }
    assert_eq!(last.answer().await.expect("read").seq, Seq(4));
}

/// P7: a session with a stuck append delays no other session.
#[tokio::test]
async fn stuck_append_delays_no_other_session() {
    let mut world = World::start().await;
    let (stuck, lively) = (world.session().await, world.session().await);
    let watched = stuck.id;
    world.plan.decide_by(move |append| {
        if append.session_id == watched {
            Fate::Hold
        } else {
            Fate::Commit
        }
    });
    let waiting = Underway::begin(stuck.add());
    let append = within(world.plan.held()).await;
    let mut watcher = lively.joined("ada").await;
    for number in 1..=20 {
        assert_eq!(lively.added().await, Seq(2 * number));
    }
    watcher.until_seq(Seq(40)).await;
    assert!(waiting.is_waiting());
    append.commit();
    assert_eq!(waiting.answer().await.expect("accepted").receipt.seq, Seq(2));
}

/// A command in the mailbox is applied once even if its sender is cancelled.
#[tokio::test]
async fn command_of_a_cancelled_sender_is_applied() {
    let mut world = World::start().await;
    let session = world.session().await;
    world.plan.all(Fate::Hold);
    let first = Underway::begin(session.add());
    let ahead = within(world.plan.held()).await;
    drop(Underway::begin(session.add()));
    world.plan.all(Fate::Commit);
    ahead.commit();
    first.answer().await.expect("accepted");
    assert_eq!(session.snapshot().await.expect("read").seq, Seq(4));
    until(|| world.stats().events_published.get() == 4).await;
}

/// Concurrent callers on several threads: every command is in the log exactly once, each caller's commands in order, at
/// the `seq` of the receipt (P1, P4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_commands_are_logged_exactly_once() {
    const CALLERS: usize = 8;
    const COMMANDS: usize = 40;
    let world = Setup::new()
        .with(|settings| settings.group_commands_max = 5)
        .start()
        .await;
    let session = world.session().await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let session = session.clone();
        callers.spawn(async move {
            let mut receipts = Vec::new();
            for _ in 0..COMMANDS {
                receipts.push(session.add().await.expect("accepted").receipt);
            }
            receipts
        });
    }
    let mut receipts = Vec::new();
    while let Some(caller) = within(callers.join_next()).await {
        let own = caller.expect("no panic");
        assert!(
            own.is_sorted_by_key(|receipt| receipt.seq),
            "a caller's commands stay in order"
        );
        receipts.extend(own);
    }
    receipts.sort_by_key(|receipt| receipt.seq);
    let stored = world
        .log
        .open(session.id, usize::MAX)
        .await
        .expect("readable")
        .expect("created");
    let logged: Vec<_> = stored.records.iter().map(|record| record.receipt()).collect();
    assert_eq!(logged, receipts);
    assert_eq!(logged.len(), CALLERS * COMMANDS);
    assert!(
        logged
            .iter()
            .zip(1..)
            .all(|(receipt, number)| receipt.seq == Seq(2 * number)),
        "dense"
    );
}
