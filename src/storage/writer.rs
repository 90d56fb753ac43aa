//! The one thread that writes: it takes what waits, writes it in one transaction, flushes once, and answers everybody.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior, params};
use talus_actors::{
    domain::{
        command::CommandType,
        ids::{CommandId, Seq, SessionId, Timestamp},
        recorded::Recorded,
        session::Genesis,
    },
    log::{Append, AppendError, Done, LogError},
};
use tokio::sync::oneshot;

use super::{
    OnFatal, Refuses, codec,
    files::DataLock,
    heads::{Head, Heads},
};

/// Events that one transaction takes, at most, before it is committed: enough that the flush is a small part of it, and
/// few enough that nobody waits long.
const GROUP_EVENTS_MAX: usize = 1_024;

/// Bytes that one transaction takes, at most.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// Rows of deleted sessions that are removed together, between two groups.
const PURGE_ROWS_MAX: i64 = 1_000;

/// How often a log that could not be written is tried again while nobody asks.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Snapshots of a session that are kept: the latest, and one before it, should the latest turn out to be unreadable.
const SNAPSHOTS_MAX: i64 = 2;

/// What the writer is asked to do.
pub(super) enum Request {
    Create(Genesis, oneshot::Sender<Result<(), LogError>>),
    Append(Rows),
    Snapshot {
        session_id: SessionId,
        seq: Seq,
        data: Vec<u8>,
    },
    Delete(SessionId, oneshot::Sender<Result<(), LogError>>),
    Close(oneshot::Sender<()>),
}

/// An append, encoded.
pub(super) struct Rows {
    session_id: SessionId,
    expected: Seq,
    rows: Vec<Row>,
    node_count: usize,
    last_activity: Option<Timestamp>,
    pub(super) done: Done,
}

struct Row {
    first_seq: Seq,
    seq: Seq,
    command_id: CommandId,
    /// A command that is undone by this one (`true`), or done again (`false`).
    turns: Option<(CommandId, bool)>,
    payload: String,
}

impl Rows {
    pub(super) fn encode(append: Append) -> Result<Self, (Done, String)> {
        let rows: Result<Vec<Row>, _> = append.records.iter().map(|record| Row::encode(record)).collect();
        match rows {
            Ok(rows) => Ok(Self {
                session_id: append.session_id,
                expected: append.expected,
                rows,
                node_count: append.node_count,
                last_activity: append.records.last().map(|record| record.timestamp),
                done: append.done,
            }),
            Err(error) => Err((append.done, error.to_string())),
        }
    }
}

impl Row {
    fn encode(recorded: &Recorded) -> Result<Self, serde_json::Error> {
        let turns = recorded.target.and_then(|target| match recorded.command_type {
            CommandType::Undo => Some((target.command_id, true)),
            CommandType::Redo => Some((target.command_id, false)),
            _ => None,
        });
        Ok(Self {
            first_seq: recorded.first_seq,
            seq: recorded.seq(),
            command_id: recorded.command_id,
            turns,
            payload: codec::encode_record(recorded)?,
        })
    }

    const fn events(&self) -> u64 {
        self.seq.0 - self.first_seq.0 + 1
    }
}

/// How a request of a group that was committed ended.
enum Verdict {
    Done,
    Conflict { expected: Seq, actual: Seq },
    NoSuchLog,
    Exists,
}

impl Request {
    fn weight(&self) -> (usize, usize) {
        match self {
            Self::Create(..) | Self::Delete(..) => (1, 1_024),
            Self::Append(rows) => {
                let events = rows.rows.iter().map(Row::events).sum::<u64>();
                let bytes = rows.rows.iter().map(|row| row.payload.len()).sum();
                (usize::try_from(events).unwrap_or(usize::MAX), bytes)
            }
            Self::Snapshot { data, .. } => (1, data.len()),
            Self::Close(_) => (0, 0),
        }
    }

    fn answer(self, verdict: Verdict) {
        match (self, verdict) {
            (Self::Create(genesis, reply), Verdict::Exists) => {
                let _ = reply.send(Err(LogError::Exists(genesis.session_id)));
            }
            (Self::Create(_, reply) | Self::Delete(_, reply), _) => {
                let _ = reply.send(Ok(()));
            }
            (Self::Append(rows), verdict) => rows.done.tell(match verdict {
                Verdict::Done => Ok(()),
                Verdict::Conflict { expected, actual } => Err(AppendError::Conflict { expected, actual }),
                Verdict::NoSuchLog | Verdict::Exists => Err(AppendError::NoSuchLog),
            }),
            (Self::Snapshot { .. } | Self::Close(_), _) => {}
        }
    }

    fn fail(self, failure: &Failure) {
        match self {
            Self::Create(_, reply) | Self::Delete(_, reply) => {
                let _ = reply.send(Err(LogError::Io(failure.text().to_owned())));
            }
            Self::Append(rows) => rows.done.tell(Err(match failure {
                Failure::Refused(reason) => AppendError::Refused(reason.clone()),
                Failure::Failed(reason) | Failure::Fatal(reason) => AppendError::Io(reason.clone()),
            })),
            Self::Snapshot { session_id, .. } => {
                tracing::warn!(%session_id, failure = failure.text(), "a snapshot was not kept");
            }
            Self::Close(_) => {}
        }
    }
}

/// What a failed transaction means. Nothing of it is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no room, or somebody else holds the database. It may be different later.
    Refused(String),
    /// Something that should not happen, of this group alone.
    Failed(String),
    /// The disk failed, or the file is damaged. A failed flush leaves the system's memory and the disk apart, and trying
    /// again would acknowledge what is not there: the process has to end.
    Fatal(String),
}

impl Failure {
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Refused(text),
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen,
            ) => Self::Fatal(text),
            _ => Self::Failed(text),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Refused(text) | Self::Failed(text) | Self::Fatal(text) => text,
        }
    }
}

/// See the [module](self).
pub(super) struct Writer {
    connection: Connection,
    requests: mpsc::Receiver<Request>,
    heads: Heads,
    refuses: Refuses,
    on_fatal: Option<OnFatal>,
    /// Rows of sessions that are deleted and still have rows.
    purging: VecDeque<i64>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        requests: mpsc::Receiver<Request>,
        refuses: Refuses,
        on_fatal: OnFatal,
    ) -> rusqlite::Result<Self> {
        let heads = Heads::load(&connection)?;
        // What was being removed when the hub ended goes on being removed.
        let purging = connection
            .prepare("SELECT sid FROM sessions WHERE ext_id IS NULL")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        // All sessions were read, and their pages need not stay in memory.
        connection.execute_batch("PRAGMA shrink_memory")?;
        Ok(Self {
            connection,
            requests,
            heads,
            refuses,
            on_fatal: Some(on_fatal),
            purging,
        })
    }

    /// Works until it is closed, or everybody who could ask is gone. Then another hub may have the directory.
    pub(super) fn run(mut self, lock: DataLock) {
        loop {
            let Some(first) = self.next() else { break };
            let (group, closing) = self.gather(first);
            if !group.is_empty() {
                self.commit(group);
            }
            self.purge();
            if let Some(reply) = closing {
                self.close();
                drop(lock);
                let _ = reply.send(());
                return;
            }
        }
        self.close();
    }

    /// The next request. While nothing waits, deleted rows are removed, and a log that refuses is tried again.
    fn next(&mut self) -> Option<Request> {
        loop {
            if self.refuses.load().is_some() {
                match self.requests.recv_timeout(PROBE_INTERVAL) {
                    Ok(request) => return Some(request),
                    Err(mpsc::RecvTimeoutError::Timeout) => self.probe(),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                }
            } else if self.purging.is_empty() {
                return self.requests.recv().ok();
            } else {
                match self.requests.try_recv() {
                    Ok(request) => return Some(request),
                    Err(mpsc::TryRecvError::Empty) => self.purge(),
                    Err(mpsc::TryRecvError::Disconnected) => return None,
                }
            }
        }
    }

    /// What waits, up to the limits of a group, and whether the log is to be closed after it.
    fn gather(&self, first: Request) -> (Vec<Request>, Option<oneshot::Sender<()>>) {
        let (mut group, mut events, mut bytes) = (Vec::new(), 0, 0);
        let mut next = Some(first);
        while let Some(request) = next {
            if let Request::Close(reply) = request {
                return (group, Some(reply));
            }
            let (more_events, more_bytes) = request.weight();
            events += more_events;
            bytes += more_bytes;
            group.push(request);
            let full = events >= GROUP_EVENTS_MAX || bytes >= GROUP_BYTES_MAX;
            next = if full { None } else { self.requests.try_recv().ok() };
        }
        (group, None)
    }

    fn commit(&mut self, group: Vec<Request>) {
        match self.write(&group) {
            Ok(verdicts) => {
                self.heads.commit();
                self.recovered();
                for (request, verdict) in group.into_iter().zip(verdicts) {
                    request.answer(verdict);
                }
            }
            Err(error) => {
                self.heads.roll_back();
                let failure = self.failed(&error);
                for request in group {
                    request.fail(&failure);
                }
            }
        }
    }

    fn write(&mut self, group: &[Request]) -> rusqlite::Result<Vec<Verdict>> {
        match self.try_write(group, Appends::Together) {
            Err(error) if is_taken(&error) => {
                self.heads.roll_back();
                self.try_write(group, Appends::EachByItself)
            }
            written => written,
        }
    }

    fn try_write(&mut self, group: &[Request], appends: Appends) -> rusqlite::Result<Vec<Verdict>> {
        let Self {
            connection,
            heads,
            purging,
            ..
        } = self;
        write(connection, heads, purging, group, appends)
    }

    fn recovered(&self) {
        if self.refuses.load().is_some() {
            tracing::info!("the log can be written again");
            self.refuses.store(None);
        }
    }

    fn failed(&mut self, error: &rusqlite::Error) -> Failure {
        let failure = Failure::of(error);
        match &failure {
            Failure::Refused(reason) => {
                if self.refuses.load().is_none() {
                    tracing::error!(%reason, "the log takes nothing: the hub refuses commands until it does");
                }
                self.refuses.store(Some(Arc::new(reason.clone())));
            }
            Failure::Failed(reason) => tracing::error!(%reason, "a group could not be written"),
            Failure::Fatal(reason) => {
                tracing::error!(%reason, "the disk failed");
                self.refuses.store(Some(Arc::new(reason.clone())));
                if let Some(on_fatal) = self.on_fatal.take() {
                    on_fatal(reason);
                }
            }
        }
        failure
    }

    /// Writes a little, to see whether that is possible again. A log whose disk has failed is not tried.
    fn probe(&mut self) {
        if self.on_fatal.is_none() {
            return;
        }
        let probe = "INSERT INTO probes (id, count) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET count = count + 1";
        match self.connection.execute(probe, []) {
            Ok(_) => self.recovered(),
            Err(error) => {
                self.failed(&error);
            }
        }
    }

    /// Removes some of the rows of deleted sessions.
    fn purge(&mut self) {
        let Some(&sid) = self.purging.front() else { return };
        match purge(&mut self.connection, sid) {
            Ok(true) => {
                self.purging.pop_front();
            }
            Ok(false) => {}
            Err(error) => {
                self.failed(&error);
                // Not tried over and over; the next start takes it up again.
                self.purging.pop_front();
            }
        }
    }

    fn close(&mut self) {
        // Not needed for anything to be kept: it empties the write-ahead log, so that the database file has everything.
        let folded = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .optional();
        if let Err(error) = folded {
            tracing::warn!(%error, "the write-ahead log could not be folded in; the next start does it");
        }
    }
}

/// What a transaction does about an append that turns out to be impossible.
#[derive(Clone, Copy)]
enum Appends {
    /// Nothing: it fails, with everything in it. The heads say beforehand what is possible, so that this happens only if
    /// another writer was here; and to be able to take one append back, each needs a savepoint.
    Together,
    /// It takes that one back.
    EachByItself,
}

/// Whether something is there already: a command, or its place. Another writer was here.
fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

/// Writes a group in one transaction, and has it on the disk when it returns.
fn write(
    connection: &mut Connection,
    heads: &mut Heads,
    purging: &mut VecDeque<i64>,
    group: &[Request],
    appends: Appends,
) -> rusqlite::Result<Vec<Verdict>> {
    let mut transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let mut verdicts = Vec::with_capacity(group.len());
    let mut deleted = Vec::new();
    for request in group {
        verdicts.push(match request {
            Request::Create(genesis, _) => create(&transaction, heads, genesis)?,
            Request::Append(rows) => append(&mut transaction, heads, rows, appends)?,
            Request::Snapshot { session_id, seq, data } => snapshot(&transaction, heads, *session_id, *seq, data)?,
            Request::Delete(session_id, _) => {
                if let Some(head) = heads.get(*session_id) {
                    transaction
                        .prepare_cached("UPDATE sessions SET ext_id = NULL WHERE sid = ?1")?
                        .execute([head.sid])?;
                    heads.remove(*session_id);
                    deleted.push(head.sid);
                }
                Verdict::Done
            }
            Request::Close(_) => Verdict::Done,
        });
    }
    transaction.commit()?;
    purging.extend(deleted);
    Ok(verdicts)
}

fn create(transaction: &Transaction<'_>, heads: &mut Heads, genesis: &Genesis) -> rusqlite::Result<Verdict> {
    if heads.get(genesis.session_id).is_some() {
        return Ok(Verdict::Exists);
    }
    let payload = codec::encode_genesis(genesis).map_err(unencodable)?;
    let created_ms = genesis.created_at.0;
    transaction
        .prepare_cached(
            "INSERT INTO sessions (ext_id, head_seq, node_count, created_ms, last_activity_ms, schema_version, genesis)
             VALUES (?1, 0, 0, ?2, ?2, ?3, ?4)",
        )?
        .execute(params![
            genesis.session_id.to_string(),
            created_ms,
            codec::SCHEMA_VERSION,
            payload
        ])?;
    let sid = transaction.last_insert_rowid();
    heads.set(genesis.session_id, Head { sid, seq: Seq::ZERO });
    Ok(Verdict::Done)
}

/// All rows of an append or, if it does not fit, none.
fn append(
    transaction: &mut Transaction<'_>,
    heads: &mut Heads,
    rows: &Rows,
    appends: Appends,
) -> rusqlite::Result<Verdict> {
    let Some(Head { sid, seq: actual }) = heads.get(rows.session_id) else {
        return Ok(Verdict::NoSuchLog);
    };
    let expected = rows.expected;
    let conflict = Verdict::Conflict { expected, actual };
    let follows = rows
        .rows
        .iter()
        .try_fold(expected, |seq, row| (row.first_seq == seq.plus(1)).then_some(row.seq));
    let Some(head_seq) = follows.filter(|_| expected == actual) else {
        return Ok(conflict);
    };
    match appends {
        Appends::Together => insert(transaction, sid, rows, head_seq)?,
        Appends::EachByItself => {
            let savepoint = transaction.savepoint()?;
            match insert(&savepoint, sid, rows, head_seq) {
                Ok(()) => savepoint.commit()?,
                // The rest of the group is not to suffer for it.
                Err(error) if is_taken(&error) => return Ok(conflict),
                Err(error) => return Err(error),
            }
        }
    }
    heads.set(rows.session_id, Head { sid, seq: head_seq });
    Ok(Verdict::Done)
}

fn insert(connection: &Connection, sid: i64, rows: &Rows, head_seq: Seq) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO commands (sid, first_seq, seq, command_id, schema_version, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for row in &rows.rows {
        statement.execute(params![
            sid,
            sql(row.first_seq),
            sql(row.seq),
            row.command_id.uuid().as_bytes(),
            codec::SCHEMA_VERSION,
            row.payload
        ])?;
        if let Some((command_id, undone)) = row.turns {
            connection
                .prepare_cached("UPDATE commands SET undone = ?3 WHERE sid = ?1 AND command_id = ?2")?
                .execute(params![sid, command_id.uuid().as_bytes(), undone])?;
        }
    }
    let node_count = i64::try_from(rows.node_count).unwrap_or(i64::MAX);
    let last_activity = rows.last_activity.map(|timestamp| timestamp.0);
    connection
        .prepare_cached(
            "UPDATE sessions SET head_seq = ?2, node_count = ?3, last_activity_ms = coalesce(?4, last_activity_ms)
             WHERE sid = ?1",
        )?
        .execute(params![sid, sql(head_seq), node_count, last_activity])?;
    Ok(())
}

fn snapshot(
    transaction: &Transaction<'_>,
    heads: &Heads,
    session_id: SessionId,
    seq: Seq,
    data: &[u8],
) -> rusqlite::Result<Verdict> {
    // It was taken of what was durable; a session that is gone since needs none.
    let Some(head) = heads.get(session_id).filter(|head| seq <= head.seq) else {
        return Ok(Verdict::NoSuchLog);
    };
    transaction
        .prepare_cached("INSERT OR REPLACE INTO snapshots (sid, seq, format, data) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![head.sid, sql(seq), codec::SNAPSHOT_FORMAT, data])?;
    transaction
        .prepare_cached(
            "DELETE FROM snapshots WHERE sid = ?1 AND seq NOT IN
             (SELECT seq FROM snapshots WHERE sid = ?1 ORDER BY seq DESC LIMIT ?2)",
        )?
        .execute(params![head.sid, SNAPSHOTS_MAX])?;
    Ok(Verdict::Done)
}

/// Removes some rows of a deleted session; true if it was the last of it.
fn purge(connection: &mut Connection, sid: i64) -> rusqlite::Result<bool> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    transaction
        .prepare_cached("DELETE FROM snapshots WHERE sid = ?1")?
        .execute([sid])?;
    let removed = transaction
        .prepare_cached("DELETE FROM commands WHERE pos IN (SELECT pos FROM commands WHERE sid = ?1 LIMIT ?2)")?
        .execute([sid, PURGE_ROWS_MAX])?;
    let last = i64::try_from(removed).unwrap_or(i64::MAX) < PURGE_ROWS_MAX;
    if last {
        transaction
            .prepare_cached("DELETE FROM sessions WHERE sid = ?1")?
            .execute([sid])?;
    }
    transaction.commit()?;
    Ok(last)
}

/// SQLite's integers are signed. A session with 2⁶³ events would have been at it for longer than there are disks.
pub(super) fn sql(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

fn unencodable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
