//! Tests of the log on a real disk: durability, refusals and disk errors.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rusqlite::Connection;
use talus_actors::{
    domain::{
        command::{Author, Command, Context, CreateNode, Scope},
        decide::{Decision, decide},
        ids::{CommandId, Epoch, Seq, SessionId, Timestamp},
        limits::Limits,
        record::CommandRecord,
        session::{Rules, Session, SessionHeader},
        value::Value,
    },
    log::{Append, AppendCallback, AppendError, EventLog},
};
use tempfile::TempDir;
use uuid::Uuid;

use super::{writer::Failure, *};

mod damage;
mod restoring;

fn header(number: u128) -> SessionHeader {
    SessionHeader {
        session_id: SessionId::new(Uuid::from_u128(number)),
        epoch: Epoch::new(7),
        created_at: Timestamp(1_000),
        project: None,
    }
}

fn rules() -> Rules {
    Rules {
        blueprint: None,
        limits: Arc::new(Limits {
            replay_window_events: 20,
            ..Limits::default()
        }),
    }
}

/// Session in memory, and the log of its records.
struct Writing {
    log: SqliteLog,
    session: Session,
    commands: u128,
}

impl Writing {
    async fn begin(log: &SqliteLog, number: u128) -> Self {
        log.create(header(number)).await.expect("a new session");
        Self {
            log: log.clone(),
            session: Session::new(header(number), rules()),
            commands: 0,
        }
    }

    fn id(&self) -> SessionId {
        self.session.header().session_id
    }

    fn decided(&mut self, command: &Command) -> Arc<CommandRecord> {
        self.commands += 1;
        let context = Context {
            command_id: CommandId::new(Uuid::from_u128(self.commands)),
            author: Author::default(),
            now: Timestamp(i64::try_from(2_000 + self.commands).expect("small")),
            expected_seq: None,
        };
        let Ok(Decision::Change(decided)) = decide(&self.session, command, &context) else {
            unreachable!("{command:?} changes something");
        };
        self.session.commit(decided).expect("fits").0
    }

    async fn append(&self, expected: Seq, records: Vec<Arc<CommandRecord>>) -> Result<(), AppendError> {
        append(&self.log, self.id(), expected, records).await
    }

    /// Decides a command and appends its record durably.
    async fn write(&mut self, command: &Command) {
        let expected = self.session.seq();
        let recorded = self.decided(command);
        self.append(expected, vec![recorded]).await.expect("appended");
    }

    async fn replayed(&self) -> Session {
        let stored = self.log.open(self.id(), 20).await.expect("readable").expect("there");
        Session::replay(stored.header, rules(), stored.snapshot, stored.records).expect("a good log")
    }
}

async fn append(
    log: &SqliteLog,
    session_id: SessionId,
    expected: Seq,
    records: Vec<Arc<CommandRecord>>,
) -> Result<(), AppendError> {
    let (tell, told) = oneshot::channel();
    log.append(Append {
        session_id,
        expected,
        records,
        node_count: 3,
        done: AppendCallback::new(move |result| {
            let _ = tell.send(result);
        }),
    });
    told.await.expect("always told")
}

fn create(name: &str) -> Command {
    Command::CreateNode(CreateNode {
        node_type: "t".into(),
        name: Some(name.into()),
        parent_id: None,
        index: None,
        properties: std::iter::once(("p".into(), Value::text("x".repeat(40)))).collect(),
        node_id: None,
    })
}

fn open(dir: &Path) -> SqliteLog {
    open_with(dir, &Options::default())
}

fn open_with(dir: &Path, options: &Options) -> SqliteLog {
    let on_fatal: OnFatal = Box::new(|reason| unreachable!("the disk is well: {reason}"));
    SqliteLog::open(dir, options, on_fatal).expect("opens")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// P3, P4: a session that is read back equals the written session: document, undo stacks, position.
#[tokio::test]
async fn written_session_is_there_after_a_restart() {
    let dir = folder();
    let log = open(dir.path());
    let mut writing = Writing::begin(&log, 1).await;
    for name in ["a", "b", "c"] {
        writing.write(&create(name)).await;
    }
    writing.write(&Command::undo(Scope::Session)).await;
    log.close().await;
    let snapshot = writing.session.snapshot();
    drop((log, writing.log));
    let log = open(dir.path());
    writing.log = log.clone();
    assert_eq!(writing.replayed().await.snapshot(), snapshot);
    let listed = log.list().await.expect("readable");
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].seq, listed[0].node_count), (writing.session.seq(), 3));
    assert_eq!(listed[0].last_activity, Timestamp(2_004));
    writing.write(&create("d")).await;
}

/// A replay from a snapshot and its tail is the same as one from the beginning, and the window reaches back beyond it.
#[tokio::test]
async fn snapshot_changes_no_replay() {
    let dir = folder();
    let log = open(dir.path());
    let mut writing = Writing::begin(&log, 1).await;
    for number in 0..30 {
        writing.write(&create(&number.to_string())).await;
        if number == 25 {
            log.keep_snapshot(writing.id(), writing.session.snapshot());
        }
    }
    let stored = kept(&log, writing.id(), Seq(52)).await;
    assert_eq!(
        stored.records.first().map(|record| record.first_seq),
        Some(Seq(41)),
        "20 events back"
    );
    let from_snapshot = writing.replayed().await;
    assert_eq!(from_snapshot.snapshot(), writing.session.snapshot());
    assert_eq!(
        from_snapshot.since(Seq(40)).expect("the window reaches back").count(),
        10
    );
    let early = log
        .open_at(writing.id(), Seq(11))
        .await
        .expect("readable")
        .expect("there");
    assert!(
        early.snapshot.is_none() && early.records.len() == 6,
        "up to the record that has it"
    );
    let late = log
        .open_at(writing.id(), Seq(55))
        .await
        .expect("readable")
        .expect("there");
    assert_eq!(
        (late.snapshot.map(|snapshot| snapshot.seq), late.records.len()),
        (Some(Seq(52)), 2)
    );
}

/// Opens the session until the snapshot of a `seq` is kept, because snapshots are written asynchronously.
async fn kept(log: &SqliteLog, session_id: SessionId, seq: Seq) -> Stored {
    loop {
        let stored = log.open(session_id, 20).await.expect("readable").expect("there");
        if stored.snapshot.as_ref().is_some_and(|snapshot| snapshot.seq == seq) {
            return stored;
        }
        tokio::task::yield_now().await;
    }
}

/// An unreadable snapshot costs only a longer replay.
#[tokio::test]
async fn damaged_snapshot_is_skipped() {
    let dir = folder();
    let log = open(dir.path());
    let mut writing = Writing::begin(&log, 1).await;
    for number in 0..6 {
        writing.write(&create(&number.to_string())).await;
        log.keep_snapshot(writing.id(), writing.session.snapshot());
        kept(&log, writing.id(), writing.session.seq()).await;
    }
    let outside = Connection::open(database_path(dir.path())).expect("opens");
    let count: i64 = outside
        .query_row("SELECT count(*) FROM snapshots", [], |row| row.get(0))
        .expect("counts");
    assert_eq!(count, 2, "the latest two are kept");
    outside
        .execute("UPDATE snapshots SET data = x'00' WHERE seq = 12", [])
        .expect("damaged");
    let stored = log.open(writing.id(), 20).await.expect("readable").expect("there");
    assert_eq!(stored.snapshot.map(|snapshot| snapshot.seq), Some(Seq(10)));
    outside
        .execute("UPDATE snapshots SET format = 99", [])
        .expect("of another format");
    assert_eq!(writing.replayed().await.snapshot(), writing.session.snapshot());
}

/// The unique indexes detect rows that another process wrote, and only the session of those rows conflicts.
#[tokio::test]
async fn foreign_write_conflicts_for_its_session_alone() {
    let dir = folder();
    let log = open(dir.path());
    let mut one = Writing::begin(&log, 1).await;
    let mut two = Writing::begin(&log, 2).await;
    let outside = Connection::open(database_path(dir.path())).expect("opens");
    outside
        .execute(
            "INSERT INTO commands (sid, first_seq, seq, command_id, schema_version, payload) VALUES (1, 1, 2, x'00', 1, '')",
            [],
        )
        .expect("inserted");
    let (expected, recorded) = (one.session.seq(), one.decided(&create("x")));
    let conflict = one.append(expected, vec![recorded]).await;
    assert!(matches!(conflict, Err(AppendError::Conflict { .. })), "{conflict:?}");
    two.write(&create("y")).await;
}

/// The same in one transaction: a conflict of one session does not affect the other sessions of the group. The group
/// queues while the other writer holds the file.
#[tokio::test]
async fn conflict_spares_the_rest_of_its_transaction() {
    let dir = folder();
    let log = open(dir.path());
    let mut sessions = Vec::new();
    for number in 1..=4 {
        sessions.push(Writing::begin(&log, number).await);
    }
    let outside = Connection::open(database_path(dir.path())).expect("opens");
    outside
        .execute_batch(
            "BEGIN IMMEDIATE;
             INSERT INTO commands (sid, first_seq, seq, command_id, schema_version, payload)
             VALUES (2, 1, 2, x'00', 1, '');",
        )
        .expect("the file is ours");
    let appends: Vec<_> = sessions
        .iter_mut()
        .map(|writing| {
            let (expected, recorded) = (writing.session.seq(), writing.decided(&create("x")));
            let (log, id) = (log.clone(), writing.id());
            tokio::spawn(async move { append(&log, id, expected, vec![recorded]).await })
        })
        .collect();
    tokio::task::yield_now().await;
    outside.execute_batch("COMMIT").expect("and no longer");
    let mut conflicts = Vec::new();
    for append in appends {
        conflicts.push(matches!(
            append.await.expect("no panic"),
            Err(AppendError::Conflict { .. })
        ));
    }
    assert_eq!(conflicts, [false, true, false, false]);
    let heads = log.list().await.expect("readable");
    assert_eq!(
        heads.iter().map(|head| head.seq).collect::<Vec<_>>(),
        [2, 0, 2, 2].map(Seq)
    );
}

#[tokio::test]
async fn old_and_undone_commands_are_found() {
    let dir = folder();
    let log = open(dir.path());
    let mut writing = Writing::begin(&log, 1).await;
    let scope = Scope::Session;
    for command in [create("a"), create("b"), Command::undo(scope)] {
        writing.write(&command).await;
    }
    let undone = || async {
        let told = log.read_back(writing.id(), Seq(u64::MAX), 9.into()).await;
        let told = told.expect("readable").expect("there");
        told.iter().map(|told| told.undone).collect::<Vec<_>>()
    };
    assert_eq!(undone().await, [false, true, false]);
    let ids = [1, 3, 99]
        .map(|number| CommandId::new(Uuid::from_u128(number)))
        .to_vec();
    let found = log.find(writing.id(), ids).await.expect("readable");
    assert_eq!(
        found.iter().map(|record| record.seq()).collect::<Vec<_>>(),
        [Seq(2), Seq(6)]
    );
    writing.write(&Command::redo(scope)).await;
    let told = log.read_back(writing.id(), Seq(u64::MAX), 9.into()).await;
    assert!(told.expect("readable").expect("there").iter().all(|told| !told.undone));
}

/// P9: on a full disk, appends are refused and records are kept. Appends succeed again when there is room.
#[tokio::test]
async fn full_disk_refuses_and_recovers() {
    let dir = folder();
    let log = open_with(
        dir.path(),
        &Options {
            pages_max: Some(30),
            ..Options::default()
        },
    );
    let mut writing = Writing::begin(&log, 1).await;
    let mut other = Writing::begin(&log, 2).await;
    other.write(&create("other")).await;
    let refused = loop {
        let expected = writing.session.seq();
        let recorded = writing.decided(&create(&"x".repeat(500)));
        if let Err(error) = writing.append(expected, vec![recorded]).await {
            break error;
        }
    };
    assert!(matches!(refused, AppendError::Refused(_)), "{refused}");
    assert!(log.refusal_reason().is_some(), "the hub is told before it tries");
    let kept = writing.replayed().await;
    assert!(
        kept.seq() < writing.session.seq() && kept.seq() > Seq(0),
        "what was acknowledged is there"
    );
    // Room is made from outside, as an operator would.
    let outside = Connection::open(database_path(dir.path())).expect("opens");
    outside
        .execute("DELETE FROM commands WHERE sid = 1 AND seq > 10", [])
        .expect("room");
    loop {
        if log.refusal_reason().is_none() {
            break;
        }
        tokio::task::yield_now().await;
    }
    other.write(&create("again")).await;
}

#[tokio::test]
async fn deleted_session_is_gone_at_once_and_its_rows_soon() {
    let dir = folder();
    let log = open(dir.path());
    let mut writing = Writing::begin(&log, 1).await;
    let expected = writing.session.seq();
    let records = (0..2_500)
        .map(|number| writing.decided(&create(&number.to_string())))
        .collect();
    writing.append(expected, records).await.expect("appended");
    log.delete(writing.id()).await.expect("deleted");
    assert!(log.open(writing.id(), 20).await.expect("readable").is_none());
    assert_eq!(log.list().await.expect("readable"), []);
    let again = append(&log, writing.id(), Seq(0), Vec::new()).await;
    assert_eq!(again, Err(AppendError::NoSuchLog));
    log.create(header(1)).await.expect("the id is free again");
    let outside = Connection::open(database_path(dir.path())).expect("opens");
    let left = || -> i64 {
        outside
            .query_row("SELECT count(*) FROM commands", [], |row| row.get(0))
            .expect("counts")
    };
    while left() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn directory_admits_one_hub() {
    let dir = folder();
    let first = open(dir.path());
    let second = SqliteLog::open(dir.path(), &Options::default(), Box::new(|_| {}));
    let error = second.err().expect("it is taken").to_string();
    assert!(error.contains("hub.lock") && error.contains("another hub"), "{error}");
    first.close().await;
    open(dir.path());
}

#[tokio::test]
async fn open_error_names_a_foreign_or_too_new_file() {
    let dir = folder();
    fs::write(
        database_path(dir.path()),
        "this is no database, but it is long enough to look",
    )
    .expect("written");
    let refused = |dir: &Path| {
        let opened = SqliteLog::open(dir, &Options::default(), Box::new(|_| {}));
        opened.err().expect("refused").to_string()
    };
    assert!(refused(dir.path()).contains("hub.sqlite"));

    let dir = folder();
    open(dir.path()).close().await;
    let connection = Connection::open(database_path(dir.path())).expect("opens");
    connection.pragma_update(None, "user_version", 99).expect("set");
    assert!(refused(dir.path()).contains("version 99"));
}

/// Disk failures end the process, and a full disk does not.
#[test]
fn failed_flush_is_fatal_and_full_disk_is_not() {
    let failure = |code| Failure::of(&rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
    for code in [
        rusqlite::ffi::SQLITE_IOERR_FSYNC,
        rusqlite::ffi::SQLITE_IOERR_WRITE,
        rusqlite::ffi::SQLITE_IOERR,
        rusqlite::ffi::SQLITE_CORRUPT,
    ] {
        assert!(matches!(failure(code), Failure::Fatal(_)), "{code}");
    }
    for code in [rusqlite::ffi::SQLITE_FULL, rusqlite::ffi::SQLITE_BUSY] {
        assert!(matches!(failure(code), Failure::Refused(_)), "{code}");
    }
    assert!(matches!(failure(rusqlite::ffi::SQLITE_TOOBIG), Failure::Failed(_)));
}

/// A database with dropped tables acknowledges nothing.
#[tokio::test]
async fn failed_group_fails_whole() {
    let dir = folder();
    let log = open(dir.path());
    let mut writing = Writing::begin(&log, 1).await;
    let outside = Connection::open(database_path(dir.path())).expect("opens");
    outside.execute("DROP TABLE commands", []).expect("gone");
    let (expected, recorded) = (writing.session.seq(), writing.decided(&create("x")));
    let failed = writing.append(expected, vec![recorded]).await;
    assert!(matches!(failed, Err(AppendError::Io(_))), "{failed:?}");
}

/// Group commit: many appends of many sessions that arrive together are all there, each in its order.
#[tokio::test(flavor = "multi_thread")]
async fn appends_of_many_sessions_are_all_kept() {
    let dir = folder();
    let log = open(dir.path());
    let done = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for number in 0..20 {
        let (log, done) = (log.clone(), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            let mut writing = Writing::begin(&log, number).await;
            for name in 0..25 {
                writing.write(&create(&name.to_string())).await;
                done.fetch_add(1, Ordering::Relaxed);
            }
            assert_eq!(writing.replayed().await.snapshot(), writing.session.snapshot());
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(done.load(Ordering::Relaxed), 500);
    assert_eq!(log.list().await.expect("readable").len(), 20);
}

/// A backup that is taken while the hub writes opens as a log, and has everything that was acknowledged before.
#[tokio::test]
async fn backup_opens_as_a_log() {
    let (dir, other) = (folder(), folder());
    let log = open(dir.path());
    let mut writing = Writing::begin(&log, 1).await;
    writing.write(&create("a")).await;
    let target = database_path(other.path());
    backup(dir.path(), &target).expect("copied");
    let exists = backup(dir.path(), &target).expect_err("not overwritten");
    assert!(matches!(exists, BackupError::Exists(_)), "{exists}");
    let missing = backup(other.path().join("none").as_path(), &target).expect_err("nothing there");
    assert!(matches!(missing, BackupError::NoDatabase(_)), "{missing}");
    writing.log = open(other.path());
    assert_eq!(writing.replayed().await.snapshot(), writing.session.snapshot());
}

/// The ids of a session's commands come out of the index alone: it is a small part of the log, and already sorted.
#[tokio::test]
async fn id_reads_read_no_rows() {
    let dir = folder();
    let log = open(dir.path());
    log.close().await;
    let connection = Connection::open(database_path(dir.path())).expect("opens");
    let plan: String = connection
        .query_row(
            &format!("EXPLAIN QUERY PLAN {}", reader::COMMAND_IDS),
            rusqlite::params![1, [0_u8; 16], 10],
            |row| row.get("detail"),
        )
        .expect("planned");
    assert_eq!(
        plan,
        "SEARCH commands USING COVERING INDEX commands_by_id (sid=? AND command_id>?)"
    );
}

/// Conformance tests of every log.
mod conformance {
    use std::ops::Deref;

    use super::*;

    /// A log, and its folder for as long.
    struct Fixture {
        log: SqliteLog,
        _dir: TempDir,
    }

    impl Deref for Fixture {
        type Target = SqliteLog;

        fn deref(&self) -> &SqliteLog {
            &self.log
        }
    }

    async fn log() -> Fixture {
        let dir = folder();
        Fixture {
            log: open(dir.path()),
            _dir: dir,
        }
    }

    talus_actors::event_log_conformance!(log);
}

/// P9: sessions start and look up commands while every reader of clients is at work and more wait.
#[tokio::test]
async fn session_reads_do_not_wait_for_client_reads() {
    let dir = folder();
    let log = open(dir.path());
    let mut writing = Writing::begin(&log, 1).await;
    writing.write(&create("a")).await;
    let (mut held, mut client_reads) = (Vec::new(), Vec::new());
    for _ in 0..16 {
        let (release, released) = std::sync::mpsc::channel::<()>();
        held.push(release);
        client_reads.push(log.0.readers.ask(super::reader::Lane::Clients, move |_| {
            // Ends when the test drops the sender.
            let _ = released.recv();
            Ok(())
        }));
    }
    let found = log.find(writing.id(), vec![CommandId::new(Uuid::from_u128(1))]).await;
    assert_eq!(found.expect("readable").len(), 1);
    assert!(log.open(writing.id(), 10).await.expect("readable").is_some());
    drop(held);
    for read in client_reads {
        read.await.expect("let go");
    }
}

/// P9: a session is opened with no more of the records before its snapshot than its window may have bytes of; everything
/// after the snapshot is there in any case.
#[tokio::test]
async fn open_reads_no_more_bytes_than_a_window_has() {
    let dir = folder();
    let log = open_with(
        dir.path(),
        &Options {
            window_bytes_max: Some(5_000),
            ..Options::default()
        },
    );
    let mut writing = Writing::begin(&log, 1).await;
    for _ in 0..10 {
        writing.write(&create(&"x".repeat(500))).await;
    }
    let whole = log
        .open(writing.id(), usize::MAX)
        .await
        .expect("readable")
        .expect("there");
    assert_eq!(
        whole.records.len(),
        10,
        "without a snapshot it is replayed from the beginning"
    );
    log.keep_snapshot(writing.id(), writing.session.snapshot());
    kept(&log, writing.id(), writing.session.seq()).await;
    let stored = log
        .open(writing.id(), usize::MAX)
        .await
        .expect("readable")
        .expect("there");
    assert!((1..=9).contains(&stored.records.len()), "{}", stored.records.len());
    let last = stored.records.last().map(|record| record.seq());
    assert_eq!(last, whole.records.last().map(|record| record.seq()));
}

/// P8: a panicking read is answered with an error, and its thread handles further reads.
#[tokio::test]
async fn panicking_read_fails_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let log = open_with(dir.path(), &Options::default());
    // More than there are threads.
    for _ in 0..8 {
        for lane in [reader::Lane::Sessions, reader::Lane::Clients] {
            let read = log.0.readers.ask(lane, |_| -> Result<(), reader::ReadError> {
                unreachable!("on purpose")
            });
            read.await.expect_err("it panicked");
        }
    }
    assert_eq!(log.list().await.expect("the threads live"), []);
}
