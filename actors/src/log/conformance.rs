//! Conformance tests for implementations of [`EventLog`].
//!
//! Each check gets an empty log of its own. [`event_log_conformance!`](crate::event_log_conformance) turns each check
//! into a test:
//!
//! ```no_run
//! use talus_actors::log::MemoryLog;
//!
//! async fn memory_log() -> Box<MemoryLog> {
//!     Box::new(MemoryLog::start().expect("a thread"))
//! }
//!
//! talus_actors::event_log_conformance!(memory_log);
//! ```
//!
//! Durability beyond the process is not checked, because some logs need not provide it.

mod samples;

use std::sync::Arc;

use tokio::{sync::oneshot, task::JoinSet};
use uuid::Uuid;

use self::samples::{header, records, session_id};
use super::{Append, AppendCallback, AppendError, EventLog, LogError, StoredHead};
use crate::domain::{
    ids::{CommandId, Seq, SessionId},
    record::CommandRecord,
};

/// Creates one test per check. Takes the path of an `async fn` that returns an empty log in a value that dereferences
/// to the log: a `Box`, or a fixture that keeps a directory alive.
#[macro_export]
macro_rules! event_log_conformance {
    ($make:path) => {
        $crate::event_log_conformance! { $make:
            create_succeeds_once_and_keeps_the_header,
            unknown_session_has_no_log,
            records_round_trip,
            append_with_another_seq_conflicts_and_changes_nothing,
            concurrent_appends_have_one_winner,
            append_is_answered_once,
            read_pages_hold_every_record_once,
            read_begins_with_the_record_of_the_next_event,
            read_back_pages_hold_every_record_once,
            read_back_ends_before_its_position,
            command_ids_are_paged_once_each_and_in_order,
            command_id_pages_are_complete_despite_appends,
            sessions_are_listed_in_order_of_creation,
            deleted_session_is_gone_and_its_id_is_free,
            concurrent_sessions_stay_separate,
        }
    };
    ($make:path: $($check:ident,)+) => {
        $(
            #[tokio::test]
            async fn $check() {
                let log = $make().await;
                $crate::log::conformance::$check(&*log).await;
            }
        )+
    };
}

/// Creating a log succeeds once. The header can then be opened and listed unchanged.
pub async fn create_succeeds_once_and_keeps_the_header(log: &impl EventLog) {
    for (number, with_project) in [(1, true), (2, false)] {
        let header = header(number, with_project);
        let session_id = header.session_id;
        assert_eq!(log.create(header.clone()).await, Ok(()));
        assert_eq!(log.create(header.clone()).await, Err(LogError::Exists(session_id)));

        let stored = log
            .open(session_id, usize::MAX)
            .await
            .expect("readable")
            .expect("created");
        assert_eq!(stored.header, header);
        assert_eq!(stored.records, []);
    }
    let again = header(1, false);
    assert!(
        log.create(again).await.is_err(),
        "the id is in use, whatever the other fields"
    );
    let stored = log
        .open(session_id(1), usize::MAX)
        .await
        .expect("readable")
        .expect("created");
    assert_eq!(stored.header, header(1, true), "the existing session is unchanged");
}

/// Reading a session without a log is not an error; appending to one is.
pub async fn unknown_session_has_no_log(log: &impl EventLog) {
    let nobody = session_id(404);
    assert!(log.open(nobody, usize::MAX).await.expect("readable").is_none());
    assert_eq!(log.read(nobody, Seq::ZERO, 10.into()).await, Ok(None));
    assert_eq!(log.read_back(nobody, Seq(u64::MAX), 10.into()).await, Ok(None));
    assert_eq!(log.command_ids(nobody, None, 10).await, Ok(None));
    assert_eq!(log.list().await, Ok(Vec::new()));
    assert_eq!(log.delete(nobody).await, Ok(()));
    assert_eq!(
        append(log, nobody, Seq::ZERO, &records(1, 3)).await,
        Err(AppendError::NoSuchLog)
    );
    assert!(
        log.open(nobody, usize::MAX).await.expect("readable").is_none(),
        "appending begins no log"
    );
}

/// Records come back equal in every field, in the order of the appends and within each append, for any grouping.
pub async fn records_round_trip(log: &impl EventLog) {
    let (one, all) = filled(log, 1).await;
    let stored = log.open(one, usize::MAX).await.expect("readable").expect("created");
    assert_eq!(stored.records, all);
    assert_eq!(stored.header, header(1, true));

    let two = header(2, true).session_id;
    assert_eq!(log.create(header(2, true)).await, Ok(()));
    let all = records(2, 40);
    assert_eq!(
        append(log, two, Seq::ZERO, &all).await,
        Ok(()),
        "all records as one group"
    );
    assert_eq!(opened(log, two).await, all);
}

/// An append with another `seq` than the log's is refused with both values, and leaves no record of its group.
pub async fn append_with_another_seq_conflicts_and_changes_nothing(log: &impl EventLog) {
    let (session, all) = filled(log, 1).await;
    let actual = end(&all);
    let more = records(9, 3);
    for expected in [
        Seq::ZERO,
        all[0].seq(),
        Seq(actual.0 - 1),
        actual.plus(1),
        Seq(u64::MAX >> 1),
    ] {
        assert_eq!(
            append(log, session, expected, &more).await,
            Err(AppendError::Conflict { expected, actual })
        );
    }
    assert_eq!(opened(log, session).await, all);
    assert_eq!(log.list().await.expect("readable")[0].seq, actual);

    let next = samples::following(1, &all, 1);
    assert_eq!(
        append(log, session, actual, &next).await,
        Ok(()),
        "the log accepts appends as before"
    );
}

/// Of several concurrent appends with the same expected `seq` exactly one succeeds, as a whole. The others report the
/// new `seq`.
pub async fn concurrent_appends_have_one_winner(log: &impl EventLog) {
    let session = session_id(1);
    assert_eq!(log.create(header(1, true)).await, Ok(()));
    let groups: Vec<Vec<Arc<CommandRecord>>> = (2..10).map(|seed| records(seed, usize::from(seed) + 1)).collect();
    let answers: Vec<_> = groups
        .iter()
        .map(|group| start_append(log, session, Seq::ZERO, group))
        .collect();
    let mut winners = Vec::new();
    for (group, answer) in groups.iter().zip(answers) {
        match answer.await.expect("answered") {
            Ok(()) => winners.push(group),
            Err(AppendError::Conflict { expected, actual }) => {
                assert_eq!(expected, Seq::ZERO);
                assert_ne!(actual, Seq::ZERO);
            }
            Err(other) => unreachable!("{other}"),
        }
    }
    assert_eq!(winners.len(), 1, "one of {} succeeds", groups.len());
    assert_eq!(opened(log, session).await, *winners[0]);
}

/// Each append is answered exactly once, whatever its outcome. `AppendCallback` prevents a second call, so the check counts
/// missing ones.
pub async fn append_is_answered_once(log: &impl EventLog) {
    let (answers, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let session = session_id(1);
    assert_eq!(log.create(header(1, true)).await, Ok(()));
    let group = records(1, 2);
    let cases = [(session, Seq::ZERO), (session, Seq(77)), (session_id(404), Seq::ZERO)];
    for (number, (session_id, expected)) in cases.into_iter().enumerate() {
        let answers = answers.clone();
        log.append(Append {
            session_id,
            expected,
            records: group.clone(),
            node_count: 0,
            done: AppendCallback::new(move |result| answers.send((number, result)).expect("listened to")),
        });
    }
    drop(answers);
    let mut all = Vec::new();
    while let Some(answer) = heard.recv().await {
        all.push(answer);
    }
    all.sort_by_key(|(number, _)| *number);
    let numbers: Vec<usize> = all.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!(all[0].1, Ok(()));
    assert!(matches!(all[1].1, Err(AppendError::Conflict { .. })), "{:?}", all[1].1);
    assert_eq!(all[2].1, Err(AppendError::NoSuchLog));
}

/// Reading forward in pages, from any position, returns every record once and in order. A page holds at most the
/// requested number of events, or is a single record.
pub async fn read_pages_hold_every_record_once(log: &impl EventLog) {
    let (session, all) = filled(log, 1).await;
    for events_max in [0, 1, 2, 3, 7, 50, usize::MAX] {
        let (mut after, mut followed) = (Seq::ZERO, Vec::new());
        loop {
            let page = read(log, session, after, events_max).await;
            let Some(last) = page.last() else { break };
            let events: usize = page.iter().map(|record| record.wire_events()).sum();
            assert!(
                page.len() == 1 || events <= events_max,
                "{} records with {events} events, asked for {events_max}",
                page.len()
            );
            after = last.seq();
            followed.extend(page);
        }
        assert_eq!(followed, all, "in pages of {events_max}");
    }
}

/// A position within a record returns that record. A read at the end returns an empty page and no error.
pub async fn read_begins_with_the_record_of_the_next_event(log: &impl EventLog) {
    let (session, all) = filled(log, 1).await;
    for after in (0..=end(&all).0).map(Seq) {
        let rest: Vec<_> = all.iter().filter(|record| record.seq() > after).cloned().collect();
        assert_eq!(read(log, session, after, usize::MAX).await, rest, "after {after}");
        assert_eq!(
            read(log, session, after, 1).await.first(),
            rest.first(),
            "after {after}, at least one record"
        );
    }
    for beyond in [end(&all).plus(1), Seq(u64::MAX)] {
        assert_eq!(read(log, session, beyond, 10).await, []);
    }
}

/// Reading backward returns every record once, newest first, in pages of the requested number of records.
pub async fn read_back_pages_hold_every_record_once(log: &impl EventLog) {
    let (session, all) = filled(log, 1).await;
    let reversed: Vec<_> = all.iter().rev().cloned().collect();
    for records_max in [1, 2, 7, all.len(), usize::MAX] {
        let (mut before, mut followed) = (Seq(u64::MAX), Vec::new());
        loop {
            let page = read_back(log, session, before, records_max).await;
            assert!(page.len() <= records_max, "{} of {records_max}", page.len());
            let Some(last) = page.last() else { break };
            let left = all.len() - followed.len();
            assert_eq!(page.len(), left.min(records_max), "every page but the last is full");
            before = last.seq();
            followed.extend(page);
        }
        assert_eq!(followed, reversed, "in pages of {records_max}");
    }
    assert_eq!(read_back(log, session, Seq(u64::MAX), 0).await, []);
}

/// A record is returned only if it ends before the position.
pub async fn read_back_ends_before_its_position(log: &impl EventLog) {
    let (session, all) = filled(log, 1).await;
    for before in (0..=end(&all).0 + 1).map(Seq) {
        let earlier: Vec<_> = all
            .iter()
            .rev()
            .filter(|record| record.seq() < before)
            .cloned()
            .collect();
        assert_eq!(
            read_back(log, session, before, usize::MAX).await,
            earlier,
            "before {before}"
        );
    }
}

/// Paging returns the ids of a session's commands once each, in ascending order, and none of another session. A page is
/// full unless it is the last.
pub async fn command_ids_are_paged_once_each_and_in_order(log: &impl EventLog) {
    let (session, all) = filled(log, 1).await;
    filled(log, 2).await;
    let expected = sorted_ids(&all);
    for ids_max in [1, 2, 7, all.len(), all.len() + 1, usize::MAX] {
        let (mut after, mut told) = (None, Vec::new());
        loop {
            let page = command_ids(log, session, after, ids_max).await;
            assert_eq!(page.len(), ids_max.min(all.len() - told.len()), "in pages of {ids_max}");
            let Some(last) = page.last() else { break };
            after = Some(*last);
            told.extend(page);
        }
        assert_eq!(told, expected, "in pages of {ids_max}");
    }
    assert_eq!(command_ids(log, session, None, 0).await, []);
    assert_eq!(log.create(header(3, false)).await, Ok(()));
    assert_eq!(
        command_ids(log, session_id(3), None, 10).await,
        [],
        "a session without commands has no ids"
    );
}

/// A page continues behind an id even if the log does not have the id. All ids that were in the log at the first page
/// are returned, whatever is appended between pages.
pub async fn command_id_pages_are_complete_despite_appends(log: &impl EventLog) {
    let (session, all) = filled(log, 1).await;
    let (mut after, mut told, mut so_far) = (None, Vec::new(), all.clone());
    for _ in 0..all.len() {
        let page = command_ids(log, session, after, 1).await;
        after = page.last().copied().or(after);
        told.extend(page);
        let next = samples::following(1, &so_far, 1);
        assert_eq!(append(log, session, end(&so_far), &next).await, Ok(()));
        so_far.extend(next);
    }
    told.extend(command_ids(log, session, after, usize::MAX).await);
    assert!(told.is_sorted(), "in their order");
    let missing = all.iter().find(|record| !told.contains(&record.command_id));
    assert_eq!(missing, None);

    let expected = sorted_ids(&so_far);
    for between in [Uuid::nil(), Uuid::from_u64_pair(u64::MAX / 2, 0), Uuid::max()].map(CommandId::new) {
        let rest: Vec<_> = expected.iter().copied().filter(|id| *id > between).collect();
        assert_eq!(command_ids(log, session, Some(between), usize::MAX).await, rest);
    }
}

/// `list` returns every session with its last `seq`, in order of creation, whatever happened since.
pub async fn sessions_are_listed_in_order_of_creation(log: &impl EventLog) {
    // Creation order differs from id order.
    let numbers = [5, 1, 9, 3, 7];
    for number in numbers {
        assert_eq!(log.create(header(number, number % 3 == 0)).await, Ok(()));
    }
    let nine = records(9, 4);
    assert_eq!(append(log, session_id(9), Seq::ZERO, &nine).await, Ok(()));
    assert_eq!(log.delete(session_id(1)).await, Ok(()));

    let seq = |number| if number == 9 { end(&nine) } else { Seq::ZERO };
    let head = |number| {
        let began = StoredHead::new(header(number, number % 3 == 0));
        let last = nine.last().filter(|_| number == 9);
        StoredHead {
            seq: seq(number),
            last_activity: last.map_or(began.last_activity, |record| record.timestamp),
            ..began
        }
    };
    assert_eq!(log.list().await, Ok([5, 9, 3, 7].map(head).to_vec()));

    assert_eq!(log.create(header(1, false)).await, Ok(()));
    assert_eq!(
        log.list().await,
        Ok([5, 9, 3, 7, 1].map(head).to_vec()),
        "a session created again is the latest"
    );
}

/// After `delete` a session has no log, other sessions are unchanged, and a new log under the same id is empty.
pub async fn deleted_session_is_gone_and_its_id_is_free(log: &impl EventLog) {
    let (gone, all) = filled(log, 1).await;
    let (other, others) = filled(log, 2).await;
    assert_eq!(log.delete(gone).await, Ok(()));
    assert_eq!(log.delete(gone).await, Ok(()), "a second deletion is no error");

    assert!(log.open(gone, usize::MAX).await.expect("readable").is_none());
    assert_eq!(log.read(gone, Seq::ZERO, 10.into()).await, Ok(None));
    assert_eq!(log.read_back(gone, Seq(u64::MAX), 10.into()).await, Ok(None));
    assert_eq!(log.command_ids(gone, None, 10).await, Ok(None));
    assert_eq!(
        append(log, gone, end(&all), &records(1, 1)).await,
        Err(AppendError::NoSuchLog)
    );
    assert_eq!(opened(log, other).await, others);

    let mut anew = header(1, false);
    anew.epoch = crate::domain::ids::Epoch::new(0xfeed);
    assert_eq!(log.create(anew.clone()).await, Ok(()));
    let stored = log
        .open(gone, usize::MAX)
        .await
        .expect("readable")
        .expect("created again");
    assert_eq!((stored.header, stored.records), (anew, Vec::new()));
    let first = records(3, 2);
    assert_eq!(append(log, gone, Seq::ZERO, &first).await, Ok(()));
    assert_eq!(opened(log, gone).await, first);
}

/// Concurrent creation, appends and reads of many sessions keep each session's records separate and in order (P7).
pub async fn concurrent_sessions_stay_separate(log: &impl EventLog) {
    const SESSIONS: u8 = 24;
    const RECORDS: usize = 12;
    for number in 1..=SESSIONS {
        assert_eq!(log.create(header(number.into(), true)).await, Ok(()));
    }
    let all: Vec<_> = (1..=SESSIONS)
        .map(|number| (session_id(number.into()), records(number, RECORDS)))
        .collect();
    // Round robin without waiting: the appends of a session arrive in order, interleaved with those of other sessions.
    let mut answers = JoinSet::new();
    for at in 0..RECORDS {
        for (session, records) in &all {
            let expected = at.checked_sub(1).map_or(Seq::ZERO, |before| records[before].seq());
            answers.spawn(start_append(log, *session, expected, &records[at..=at]));
        }
        let (session, records) = &all[at];
        let so_far = opened(log, *session).await;
        assert_eq!(so_far, records[..so_far.len()], "a concurrent read returns a prefix");
    }
    while let Some(answer) = answers.join_next().await {
        assert_eq!(answer.expect("no panic").expect("answered"), Ok(()));
    }
    for (session, records) in &all {
        assert_eq!(opened(log, *session).await, *records);
    }
}

/// Creates session `number` with records in groups of different sizes. Returns the records.
async fn filled(log: &impl EventLog, number: u8) -> (SessionId, Vec<Arc<CommandRecord>>) {
    let session = session_id(number.into());
    assert_eq!(log.create(header(number.into(), true)).await, Ok(()));
    let all = records(number, 30);
    let (mut rest, mut size) = (&all[..], 1);
    let mut expected = Seq::ZERO;
    while !rest.is_empty() {
        let (group, others) = rest.split_at(size.min(rest.len()));
        assert_eq!(append(log, session, expected, group).await, Ok(()));
        (rest, size, expected) = (others, size % 4 + 1, end(group));
    }
    (session, all)
}

fn end(records: &[Arc<CommandRecord>]) -> Seq {
    records.last().map_or(Seq::ZERO, |record| record.seq())
}

type AppendReceiver = oneshot::Receiver<Result<(), AppendError>>;

fn start_append(
    log: &impl EventLog,
    session_id: SessionId,
    expected: Seq,
    records: &[Arc<CommandRecord>],
) -> AppendReceiver {
    let (answer, answered) = oneshot::channel();
    log.append(Append {
        session_id,
        expected,
        records: records.to_vec(),
        node_count: 0,
        done: AppendCallback::new(move |result| answer.send(result).expect("waited for")),
    });
    answered
}

async fn append(
    log: &impl EventLog,
    session_id: SessionId,
    expected: Seq,
    records: &[Arc<CommandRecord>],
) -> Result<(), AppendError> {
    start_append(log, session_id, expected, records)
        .await
        .expect("answered")
}

async fn opened(log: &impl EventLog, session_id: SessionId) -> Vec<Arc<CommandRecord>> {
    log.open(session_id, usize::MAX)
        .await
        .expect("readable")
        .expect("created")
        .records
}

async fn read(log: &impl EventLog, session_id: SessionId, after: Seq, events_max: usize) -> Vec<Arc<CommandRecord>> {
    let page = log.read(session_id, after, events_max.into()).await;
    page.expect("readable").expect("created")
}

async fn command_ids(
    log: &impl EventLog,
    session_id: SessionId,
    after: Option<CommandId>,
    ids_max: usize,
) -> Vec<CommandId> {
    let page = log.command_ids(session_id, after, ids_max).await;
    page.expect("readable").expect("created")
}

fn sorted_ids(records: &[Arc<CommandRecord>]) -> Vec<CommandId> {
    let mut ids: Vec<_> = records.iter().map(|record| record.command_id).collect();
    ids.sort_unstable();
    ids
}

async fn read_back(
    log: &impl EventLog,
    session_id: SessionId,
    before: Seq,
    records_max: usize,
) -> Vec<Arc<CommandRecord>> {
    let page = log.read_back(session_id, before, records_max.into()).await;
    let told = page.expect("readable").expect("created");
    told.into_iter().map(|told| told.recorded).collect()
}
