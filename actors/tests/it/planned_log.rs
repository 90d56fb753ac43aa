//! Each fate of the planned log has its stated effect. Tests with a planned log rely on this.

use std::sync::Arc;

use talus_actors::{
    domain::{
        command::{Author, Command, Context, CreateNode},
        decide::{Decision, decide},
        ids::{CommandId, Epoch, Seq, SessionId, Timestamp},
        limits::Limits,
        record::CommandRecord,
        session::{Rules, Session, SessionHeader},
    },
    log::{
        Append, AppendCallback, AppendError, EventLog, LogError, MemoryLog,
        planned::{Fate, Plan, PlannedLog},
    },
};
use tokio::sync::oneshot;
use uuid::Uuid;

const SESSION: SessionId = SessionId::new(Uuid::from_u128(1));

fn header() -> SessionHeader {
    SessionHeader {
        session_id: SESSION,
        epoch: Epoch::new(7),
        created_at: Timestamp(0),
        project: None,
    }
}

async fn log() -> (PlannedLog, Plan) {
    let (log, plan) = PlannedLog::over(Arc::new(MemoryLog::start().expect("a thread")));
    log.create(header()).await.expect("created");
    (log, plan)
}

fn record() -> Arc<CommandRecord> {
    let rules = Rules {
        blueprint: None,
        limits: Arc::new(Limits::default()),
    };
    let mut session = Session::new(header(), rules);
    let command = Command::CreateNode(CreateNode {
        node_type: "task".into(),
        name: None,
        parent_id: None,
        index: None,
        properties: std::collections::BTreeMap::new(),
        node_id: None,
    });
    let context = Context {
        command_id: CommandId::new(Uuid::from_u128(2)),
        author: Author::default(),
        now: Timestamp(1),
        expected_seq: None,
    };
    match decide(&session, &command, &context) {
        Ok(Decision::Change(decided)) => session.commit(decided).expect("it fits").0,
        other => unreachable!("{other:?}"),
    }
}

fn append(log: &PlannedLog) -> oneshot::Receiver<Result<(), AppendError>> {
    let (answer, answered) = oneshot::channel();
    log.append(Append {
        session_id: SESSION,
        expected: Seq::ZERO,
        records: vec![record()],
        node_count: 0,
        done: AppendCallback::new(move |result| answer.send(result).expect("waited for")),
    });
    answered
}

async fn kept(log: &PlannedLog) -> usize {
    let stored = log.open(SESSION, usize::MAX).await.expect("readable").expect("created");
    stored.records.len()
}

/// Each fate answers the append as stated, and stores the records or not.
#[tokio::test]
async fn fate_decides_answer_and_records() {
    let io = AppendError::Io("the disk is full".to_owned());
    let conflict = AppendError::Conflict {
        expected: Seq::ZERO,
        actual: Seq(9),
    };
    for (fate, answer, records) in [
        (Fate::Commit, Ok(()), 1),
        (Fate::Refuse(io.clone()), Err(io), 0),
        (Fate::Refuse(conflict.clone()), Err(conflict.clone()), 0),
        (Fate::CommitAndTell(conflict.clone()), Err(conflict), 1),
        (Fate::Lose, Err(AppendError::Unknown), 0),
        (Fate::CommitAndLose, Err(AppendError::Unknown), 1),
    ] {
        let (log, plan) = log().await;
        plan.all(fate.clone());
        assert_eq!(append(&log).await, Ok(answer), "{fate:?}");
        assert_eq!(kept(&log).await, records, "{fate:?}");
    }
}

/// A held append is neither answered nor stored until the test gives it a fate.
#[tokio::test]
async fn held_append_waits_for_the_test() {
    for (fate, answer, records) in [
        (Fate::Commit, Ok(()), 1),
        (Fate::Lose, Err(AppendError::Unknown), 0),
        (Fate::CommitAndLose, Err(AppendError::Unknown), 1),
    ] {
        let (log, mut plan) = log().await;
        plan.all(Fate::Hold);
        let mut answered = append(&log);
        let held = plan.held().await;
        assert_eq!(
            (held.session_id(), held.expected(), held.records().len()),
            (SESSION, Seq::ZERO, 1)
        );
        assert_eq!(kept(&log).await, 0);
        assert!(answered.try_recv().is_err(), "not answered yet");
        held.meet(fate.clone());
        assert_eq!(answered.await, Ok(answer), "{fate:?}");
        assert_eq!(kept(&log).await, records, "{fate:?}");
    }
}

/// Fates that are planned for the next appends apply once each, in order. Later appends are committed.
#[tokio::test]
async fn planned_fates_apply_once_in_order() {
    let (log, plan) = log().await;
    plan.next([Fate::Lose, Fate::Refuse(AppendError::Io("no".to_owned()))]);
    assert_eq!(append(&log).await, Ok(Err(AppendError::Unknown)));
    assert_eq!(append(&log).await, Ok(Err(AppendError::Io("no".to_owned()))));
    assert_eq!(append(&log).await, Ok(Ok(())));
    assert_eq!(plan.appends(), 3);
}

/// Opens fail as often as planned, and creations wait as long as planned.
#[tokio::test]
async fn opens_fail_and_creations_wait_as_planned() {
    let (log, plan) = log().await;
    let corrupt = LogError::Corrupt("a torn page".to_owned());
    plan.fail_opens(2, corrupt.clone());
    assert_eq!(log.open(SESSION, usize::MAX).await.expect_err("planned"), corrupt);
    assert_eq!(log.open(SESSION, usize::MAX).await.expect_err("planned"), corrupt);
    assert_eq!(kept(&log).await, 0);

    plan.hold_creates(true);
    let other = SessionId::new(Uuid::from_u128(3));
    let creating = tokio::spawn(log.create(SessionHeader {
        session_id: other,
        ..header()
    }));
    tokio::task::yield_now().await;
    assert!(
        log.open(other, usize::MAX).await.expect("readable").is_none(),
        "the creation waits"
    );
    plan.hold_creates(false);
    assert_eq!(creating.await.expect("no panic"), Ok(()));
    assert!(log.open(other, usize::MAX).await.expect("readable").is_some());
}
