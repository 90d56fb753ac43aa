//! Readers of the log, on separate threads and connections. The writer never waits for a reader, nor a reader for the
//! writer.
//!
//! Each row is compared with its checksum. The rows of an answer have to be dense and to reach the session's head,
//! which detects an index that lost entries (P12).

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, params};
use talus_actors::{
    domain::{
        ids::{CommandId, Seq, SessionId},
        record::CommandRecord,
        session::{SessionHeader, Snapshot},
    },
    log::{HistoryRecord, LogError, LogFuture, PageMax, Stored, StoredHead},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    answered, checksum,
    codec::{self, CHECKED_VERSION},
    schema,
    sessions::{AllSessions, SessionRow},
    writer::sql,
};

/// Upper limit of threads in a lane. Reads are short, and more threads than cores would only wait for each other.
const THREADS: usize = 2;

/// Class of reads with separate threads, so that one class does not wait for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Starts of sessions, and look-ups of their commands, for which commands wait.
    Sessions,
    /// Reads of clients: pages, streams and earlier states. The edges bound and pace each read, but not their number.
    Clients,
}

/// Capacity of a thread's queue in reads.
const WAITING_MAX: usize = 4_096;

/// Rows per query. A reader that holds a transaction for long would keep checkpoints of the write-ahead log from
/// finishing.
const PAGE_ROWS: i64 = 1_000;

type Job = Box<dyn FnOnce(&Reader) + Send>;

/// Threads of both lanes.
pub(super) struct Readers {
    sessions: Threads,
    clients: Threads,
}

/// Threads of one lane, taken in turn.
struct Threads {
    threads: Vec<mpsc::SyncSender<Job>>,
    next: AtomicUsize,
}

impl Readers {
    pub(super) fn start(
        path: &Path,
        damaged: &Arc<BTreeMap<SessionId, String>>,
        window_bytes_max: usize,
    ) -> io::Result<Self> {
        let reader = || {
            let connection = schema::open_for_reading(path).map_err(io::Error::other)?;
            Ok(Reader::new(connection, Arc::clone(damaged), window_bytes_max))
        };
        Ok(Self {
            sessions: Threads::start("log-session-reader", reader)?,
            clients: Threads::start("log-reader", reader)?,
        })
    }

    pub(super) fn ask<T: Send + 'static>(
        &self,
        lane: Lane,
        read: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> LogFuture<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |reader| {
            let _ = reply.send(read(reader).map_err(LogError::from));
        });
        let threads = match lane {
            Lane::Sessions => &self.sessions,
            Lane::Clients => &self.clients,
        };
        if !threads.take(job) {
            let busy = LogError::Io(format!("{WAITING_MAX} reads wait for the log already"));
            return Box::pin(std::future::ready(Err(busy)));
        }
        answered(answer)
    }
}

impl Threads {
    fn start(name: &str, reader: impl Fn() -> io::Result<Reader>) -> io::Result<Self> {
        let mut threads = Vec::new();
        for number in 0..THREADS {
            let (jobs, inbox) = mpsc::sync_channel::<Job>(WAITING_MAX);
            let reader = reader()?;
            // Ends when the log is dropped. A panic fails only its own read, and the thread handles the next.
            let work = move || {
                for job in inbox {
                    let _ = catch_unwind(AssertUnwindSafe(|| job(&reader)));
                }
            };
            std::thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(work)?;
            threads.push(jobs);
        }
        Ok(Self {
            threads,
            next: AtomicUsize::new(0),
        })
    }

    /// Sends a job to the next thread, unless the queue of that thread is full.
    fn take(&self, job: Job) -> bool {
        let thread = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        self.threads[thread].try_send(job).is_ok()
    }
}

/// Reason why a read failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<ReadError> for LogError {
    fn from(error: ReadError) -> Self {
        let error = match error {
            ReadError::Sqlite(error) => error,
            ReadError::Log(error) => return error,
        };
        let text = error.to_string();
        match error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt(text),
                _ => Self::Io(text),
            },
            // No hub writes a value of this type or range.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Corrupt(text),
            _ => Self::Io(text),
        }
    }
}

/// Connection of one reader thread.
pub(super) struct Reader {
    connection: Connection,
    /// Sessions whose rows were damaged when the log was opened, with the damage.
    damaged: Arc<BTreeMap<SessionId, String>>,
    window_bytes_max: usize,
}

/// Session that is being read.
struct Session {
    id: SessionId,
    sid: i64,
    /// Lower bound of the session's head when the read began.
    head: Seq,
    header: SessionHeader,
}

const RECORD: &str = "SELECT schema_version, payload, first_seq, seq, undone, command_id, checksum FROM commands";

const SNAPSHOTS: &str =
    "SELECT data, format, seq, checksum FROM snapshots WHERE sid = ?1 AND seq <= ?2 ORDER BY seq DESC";

pub(super) const COMMAND_IDS: &str =
    "SELECT command_id FROM commands WHERE sid = ?1 AND command_id > ?2 ORDER BY command_id LIMIT ?3";

impl Reader {
    pub(super) const fn new(
        connection: Connection,
        damaged: Arc<BTreeMap<SessionId, String>>,
        window_bytes_max: usize,
    ) -> Self {
        Self {
            connection,
            damaged,
            window_bytes_max,
        }
    }

    /// Checks that the row of a session was not damaged when the log was opened.
    pub(super) fn is_damaged(&self, session_id: SessionId) -> bool {
        self.damaged.contains_key(&session_id)
    }

    /// Reads the header of a session and all its snapshots, and fails if one of them is damaged.
    pub(super) fn snapshots(&self, session_id: SessionId) -> Result<Option<(SessionHeader, Vec<Snapshot>)>, ReadError> {
        let Some(session) = self.session(session_id)? else {
            return Ok(None);
        };
        let mut statement = self.connection.prepare_cached(SNAPSHOTS)?;
        let mut rows = statement.query(params![session.sid, sql(session.head)])?;
        let mut snapshots = Vec::new();
        while let Some(row) = rows.next()? {
            snapshots.extend(session.snapshot(row)?);
        }
        Ok(Some((session.header, snapshots)))
    }

    pub(super) fn open(&self, session_id: SessionId, window_events: usize) -> Result<Option<Stored>, ReadError> {
        let Some(session) = self.session(session_id)? else {
            return Ok(None);
        };
        let head = session.head;
        let snapshot = self.snapshot(&session, head)?;
        let from = match &snapshot {
            None => Seq::ZERO,
            Some(snapshot) => {
                let window = Seq(head.0.saturating_sub(window_events as u64));
                self.window_start(session.sid, window, head)?.min(snapshot.seq)
            }
        };
        let records = self.records(&session, from, head)?;
        Ok(Some(Stored {
            header: session.header,
            snapshot,
            records,
        }))
    }

    /// Returns the `seq` after which the latest records fit the bytes of a window. SQLite knows the size of a payload
    /// from the header of its row, so that no payload is read.
    fn window_start(&self, sid: i64, from: Seq, to: Seq) -> Result<Seq, ReadError> {
        if self.window_bytes_max == usize::MAX {
            return Ok(from);
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT first_seq, octet_length(payload) FROM commands WHERE sid = ?1 AND seq > ?2 ORDER BY seq DESC",
        )?;
        let mut rows = statement.query(params![sid, sql(from)])?;
        let (mut start, mut bytes) = (to, 0_usize);
        while let Some(row) = rows.next()? {
            bytes = bytes.saturating_add(usize::try_from(row.get::<_, i64>(1)?).unwrap_or(usize::MAX));
            if bytes > self.window_bytes_max {
                return Ok(start);
            }
            start = Seq(unsigned(row.get(0)?).0.saturating_sub(1));
        }
        Ok(from)
    }

    pub(super) fn open_at(&self, session_id: SessionId, at: Seq) -> Result<Option<Stored>, ReadError> {
        let Some(session) = self.session(session_id)? else {
            return Ok(None);
        };
        let snapshot = self.snapshot(&session, at)?;
        let from = snapshot.as_ref().map_or(Seq::ZERO, |snapshot| snapshot.seq);
        let records = self.records(&session, from, at)?;
        Ok(Some(Stored {
            header: session.header,
            snapshot,
            records,
        }))
    }

    pub(super) fn read(
        &self,
        session_id: SessionId,
        after: Seq,
        max: PageMax,
    ) -> Result<Option<Vec<Arc<CommandRecord>>>, ReadError> {
        let Some(session) = self.session(session_id)? else {
            return Ok(None);
        };
        let query = format!("{RECORD} WHERE sid = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3");
        let mut statement = self.connection.prepare_cached(&query)?;
        let rows_max = i64::try_from(max.items).unwrap_or(i64::MAX).clamp(1, PAGE_ROWS);
        let mut rows = statement.query(params![session.sid, sql(after), rows_max])?;
        let (mut records, mut events, mut bytes) = (Vec::new(), 0, 0);
        let mut dense = Dense::after(after);
        let is_full = |records: &Vec<_>| i64::try_from(records.len()).is_ok_and(|len| len == rows_max);
        while let Some(row) = rows.next()? {
            bytes += payload_bytes(row)?;
            if bytes > max.bytes && !records.is_empty() {
                return Ok(Some(records));
            }
            let HistoryRecord { recorded, .. } = session.told(row)?;
            dense.next(&recorded)?;
            events += recorded.wire_events();
            if events > max.items && !records.is_empty() {
                return Ok(Some(records));
            }
            records.push(recorded);
        }
        if !is_full(&records) {
            dense.reaches(session.head)?;
        }
        Ok(Some(records))
    }

    pub(super) fn read_back(
        &self,
        session_id: SessionId,
        before: Seq,
        max: PageMax,
    ) -> Result<Option<Vec<HistoryRecord>>, ReadError> {
        let Some(session) = self.session(session_id)? else {
            return Ok(None);
        };
        // Record that follows the newest record of the page. Queried first, because appends meanwhile come after both.
        let follows: Option<i64> = self
            .connection
            .prepare_cached("SELECT first_seq FROM commands WHERE sid = ?1 AND seq >= ?2 ORDER BY seq LIMIT 1")?
            .query_row(params![session.sid, sql(before)], |row| row.get(0))
            .optional()?;
        let query = format!("{RECORD} WHERE sid = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3");
        let mut statement = self.connection.prepare_cached(&query)?;
        let limit = i64::try_from(max.items).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![session.sid, sql(before), limit])?;
        let mut told: Vec<HistoryRecord> = Vec::new();
        let (mut begins, mut bytes): (Option<Seq>, usize) = (None, 0);
        while let Some(row) = rows.next()? {
            bytes += payload_bytes(row)?;
            if bytes > max.bytes && !told.is_empty() {
                return Ok(Some(told));
            }
            let command = session.told(row)?;
            let seq = command.recorded.seq();
            let is_next = match (begins, follows) {
                (Some(begins), _) => seq.plus(1) == begins,
                (None, Some(follows)) => sql(seq.plus(1)) == follows,
                (None, None) => seq >= session.head,
            };
            if !is_next {
                return Err(gap(seq, begins.unwrap_or(session.head)));
            }
            begins = Some(command.recorded.first_seq);
            told.push(command);
        }
        // The last page ends with the first record, or is empty.
        let oldest = begins.unwrap_or_else(|| follows.map_or(session.head.plus(1), unsigned));
        if i64::try_from(told.len()).is_ok_and(|len| len < limit) && oldest != Seq(1) {
            return Err(gap(Seq::ZERO, oldest));
        }
        Ok(Some(told))
    }

    pub(super) fn find(
        &self,
        session_id: SessionId,
        commands: &[CommandId],
    ) -> Result<Vec<Arc<CommandRecord>>, ReadError> {
        let Some(session) = self.session(session_id)? else {
            return Ok(Vec::new());
        };
        let query = format!("{RECORD} WHERE sid = ?1 AND command_id = ?2");
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut found = Vec::new();
        for &command in commands {
            let mut rows = statement.query(params![session.sid, command.uuid().as_bytes()])?;
            if let Some(row) = rows.next()? {
                let HistoryRecord { recorded, .. } = session.told(row)?;
                if recorded.command_id != command {
                    let text = format!(
                        "the index of command ids names the row at {} for {command}",
                        recorded.seq()
                    );
                    return Err(LogError::Corrupt(text).into());
                }
                found.push(recorded);
            }
        }
        Ok(found)
    }

    /// Reads ids from the index alone, in its order, and no rows.
    pub(super) fn command_ids(
        &self,
        session_id: SessionId,
        after: Option<CommandId>,
        ids_max: usize,
    ) -> Result<Option<Vec<CommandId>>, ReadError> {
        let Some(session) = self.session(session_id)? else {
            return Ok(None);
        };
        let mut statement = self.connection.prepare_cached(COMMAND_IDS)?;
        let after = after.map(|id| id.uuid().into_bytes());
        // The empty blob sorts before every id.
        let after = after.as_ref().map_or(&[][..], |bytes| &bytes[..]);
        let limit = i64::try_from(ids_max).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![session.sid, after, limit])?;
        let mut ids = Vec::new();
        while let Some(row) = rows.next()? {
            ids.push(command_id(row, 0)?);
        }
        Ok(Some(ids))
    }

    pub(super) fn list(&self) -> Result<Vec<StoredHead>, ReadError> {
        let all = AllSessions::read(&self.connection)?;
        // All sessions are listed once, at the start, and their pages need not stay in memory.
        self.connection.execute_batch("PRAGMA shrink_memory")?;
        Ok(all.rows.into_iter().map(|row| row.head).collect())
    }

    fn session(&self, session_id: SessionId) -> Result<Option<Session>, ReadError> {
        if let Some(reason) = self.damaged.get(&session_id) {
            return Err(LogError::Corrupt(reason.clone()).into());
        }
        let found = SessionRow::find(&self.connection, session_id)?;
        Ok(found.map(|SessionRow { sid, head, .. }| Session {
            id: session_id,
            sid,
            head: head.seq,
            header: head.header,
        }))
    }

    /// Returns the latest readable snapshot at or before `at`. An unreadable snapshot costs only a longer replay.
    fn snapshot(&self, session: &Session, at: Seq) -> Result<Option<Snapshot>, ReadError> {
        let mut statement = self.connection.prepare_cached(SNAPSHOTS)?;
        let mut rows = statement.query(params![session.sid, sql(at)])?;
        while let Some(row) = rows.next()? {
            match session.snapshot(row) {
                Ok(Some(snapshot)) => return Ok(Some(snapshot)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(session_id = %session.id, %error, "a snapshot cannot be read and is passed over");
                }
            }
        }
        Ok(None)
    }

    /// Reads the records after `from` that begin at or before `to`, page by page.
    fn records(&self, session: &Session, from: Seq, to: Seq) -> Result<Vec<Arc<CommandRecord>>, ReadError> {
        let query = format!("{RECORD} WHERE sid = ?1 AND seq > ?2 AND first_seq <= ?3 ORDER BY seq LIMIT ?4");
        let mut statement = self.connection.prepare_cached(&query)?;
        let (mut records, mut after, mut dense) = (Vec::new(), from, Dense::after(from));
        loop {
            let before = records.len();
            let mut rows = statement.query(params![session.sid, sql(after), sql(to), PAGE_ROWS])?;
            while let Some(row) = rows.next()? {
                let HistoryRecord { recorded, .. } = session.told(row)?;
                dense.next(&recorded)?;
                after = recorded.seq();
                records.push(recorded);
            }
            let page = i64::try_from(records.len() - before).unwrap_or(i64::MAX);
            if page < PAGE_ROWS {
                dense.reaches(to.min(session.head))?;
                return Ok(records);
            }
        }
    }
}

impl Session {
    /// Decodes a command, and checks its checksum and its `seq` against the row.
    fn told(&self, row: &Row<'_>) -> Result<HistoryRecord, ReadError> {
        let (version, payload) = (row.get(0)?, row.get_ref(1)?.as_str().map_err(unreadable)?);
        let (first_seq, seq) = (unsigned(row.get(2)?), unsigned(row.get(3)?));
        let (undone, command_id) = (row.get(4)?, command_id(row, 5)?);
        let is_sound = match row.get::<_, Option<i64>>(6)? {
            Some(checksum) => {
                let sum = checksum::of_command(self.id, (first_seq, seq), command_id, version, payload);
                checksum == checksum::with_flag(sum, undone)
            }
            None => version < CHECKED_VERSION,
        };
        if !is_sound {
            return Err(self.corrupt(format_args!("the row at {seq} does not match its checksum")));
        }
        let recorded = codec::decode_record(version, payload)?;
        if (recorded.first_seq, recorded.seq(), recorded.command_id) == (first_seq, seq, command_id) {
            return Ok(HistoryRecord { recorded, undone });
        }
        Err(self.corrupt(format_args!(
            "the payload of the row at {seq} says that it is at {}",
            recorded.seq()
        )))
    }

    /// Decodes a snapshot; `None` for a format that this hub does not know.
    fn snapshot(&self, row: &Row<'_>) -> Result<Option<Snapshot>, ReadError> {
        let (format, seq) = (row.get(1)?, unsigned(row.get(2)?));
        let data = row.get_ref(0)?.as_blob().map_err(unreadable)?;
        let is_sound = match format {
            codec::SNAPSHOT_FORMAT => {
                row.get::<_, Option<i64>>(3)? == Some(checksum::of_snapshot(self.id, seq, format, data))
            }
            codec::UNCHECKED_SNAPSHOT_FORMAT => true,
            _ => return Ok(None),
        };
        if !is_sound {
            return Err(self.corrupt(format_args!("the snapshot at {seq} does not match its checksum")));
        }
        let snapshot = codec::decode_snapshot(data).map_err(|error| LogError::Corrupt(error.to_string()))?;
        if snapshot.seq == seq {
            return Ok(Some(snapshot));
        }
        Err(self.corrupt(format_args!(
            "the snapshot at {seq} says that it is at {}",
            snapshot.seq
        )))
    }

    fn corrupt(&self, what: std::fmt::Arguments<'_>) -> ReadError {
        LogError::Corrupt(format!("session {}: {what}", self.id)).into()
    }
}

/// Check that records follow each other without a gap.
struct Dense {
    begun: bool,
    at: Seq,
}

impl Dense {
    /// Creates a check whose first record may begin at `seq` or before, and has to end after `seq`.
    const fn after(at: Seq) -> Self {
        Self { begun: false, at }
    }

    fn next(&mut self, recorded: &CommandRecord) -> Result<(), ReadError> {
        let (wanted, first) = (self.at.plus(1), recorded.first_seq);
        if if self.begun { first == wanted } else { first <= wanted } {
            self.begun = true;
            self.at = recorded.seq();
            return Ok(());
        }
        Err(gap(self.at, first))
    }

    fn reaches(&self, end: Seq) -> Result<(), ReadError> {
        if self.at >= end { Ok(()) } else { Err(gap(self.at, end)) }
    }
}

fn gap(after: Seq, found: Seq) -> ReadError {
    LogError::Corrupt(format!("records are missing between {after} and {found}")).into()
}

fn command_id(row: &Row<'_>, column: usize) -> Result<CommandId, ReadError> {
    let id = Uuid::from_slice(row.get_ref(column)?.as_blob().map_err(unreadable)?);
    let id = id.map_err(|error| LogError::Corrupt(format!("a command's id is none: {error}")))?;
    Ok(CommandId::new(id))
}

/// Converts an integer of SQLite. No hub writes a negative number, and the checks of its row detect one.
fn unsigned(number: i64) -> Seq {
    Seq(u64::try_from(number).unwrap_or_default())
}

/// Returns the encoded size of a record in bytes.
fn payload_bytes(row: &Row<'_>) -> Result<usize, ReadError> {
    Ok(row.get_ref(1)?.as_str().map_err(unreadable)?.len())
}

#[expect(clippy::needless_pass_by_value, reason = "what maps errors gives them away")]
pub(super) fn unreadable(error: rusqlite::types::FromSqlError) -> LogError {
    LogError::Corrupt(error.to_string())
}
