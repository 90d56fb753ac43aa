//! Reading, on threads and connections of its own: the writer never waits for a reader, and a reader never for the
//! writer.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use rusqlite::{Connection, Row, params};
use talus_actors::{
    domain::{
        ids::{CommandId, Seq, SessionId, Timestamp},
        recorded::Recorded,
        session::{Genesis, Snapshot},
    },
    log::{Answer, LogError, Stored, StoredHead, Told},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{answered, codec, schema, writer::sql};

/// Threads that read. Reads are short, and more threads than cores would only wait for each other.
const THREADS: usize = 2;

/// Reads that may wait for a thread.
const WAITING_MAX: usize = 4_096;

/// Rows that are read in one go: a reader that is at it for long would keep the write-ahead log from being folded in.
const PAGE_ROWS: i64 = 1_000;

type Job = Box<dyn FnOnce(&Reader) + Send>;

/// The threads, taken in turn.
pub(super) struct Readers {
    threads: Vec<mpsc::SyncSender<Job>>,
    next: AtomicUsize,
}

impl Readers {
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let mut threads = Vec::new();
        for number in 0..THREADS {
            let connection = schema::open_for_reading(path).map_err(io::Error::other)?;
            let (jobs, inbox) = mpsc::sync_channel::<Job>(WAITING_MAX);
            let reader = Reader { connection };
            // Ends when the log is dropped.
            let work = move || inbox.into_iter().for_each(|job| job(&reader));
            std::thread::Builder::new()
                .name(format!("log-reader-{number}"))
                .spawn(work)?;
            threads.push(jobs);
        }
        Ok(Self {
            threads,
            next: AtomicUsize::new(0),
        })
    }

    pub(super) fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |reader| {
            let _ = reply.send(read(reader).map_err(LogError::from));
        });
        let thread = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        if self.threads[thread].try_send(job).is_err() {
            let busy = LogError::Io(format!("{WAITING_MAX} reads wait for the log already"));
            return Box::pin(std::future::ready(Err(busy)));
        }
        answered(answer)
    }
}

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<ReadError> for LogError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Sqlite(error) => Self::Io(error.to_string()),
            ReadError::Log(error) => error,
        }
    }
}

/// One thread's way to read.
pub(super) struct Reader {
    connection: Connection,
}

/// A session's row.
struct Session {
    sid: i64,
    head: Seq,
    genesis: Genesis,
}

const RECORD: &str = "SELECT schema_version, payload, first_seq, seq, undone FROM commands";

pub(super) const COMMAND_IDS: &str =
    "SELECT command_id FROM commands WHERE sid = ?1 AND command_id > ?2 ORDER BY command_id LIMIT ?3";

impl Reader {
    pub(super) fn open(&self, session_id: SessionId, window_events: usize) -> Result<Option<Stored>, ReadError> {
        let Some(Session { sid, head, genesis }) = self.session(session_id)? else {
            return Ok(None);
        };
        let snapshot = self.snapshot(sid, head)?;
        let from = match &snapshot {
            None => Seq::ZERO,
            Some(snapshot) => snapshot.seq.min(Seq(head.0.saturating_sub(window_events as u64))),
        };
        let records = self.records(sid, from, head)?;
        Ok(Some(Stored {
            genesis,
            snapshot,
            records,
        }))
    }

    pub(super) fn open_at(&self, session_id: SessionId, at: Seq) -> Result<Option<Stored>, ReadError> {
        let Some(Session { sid, genesis, .. }) = self.session(session_id)? else {
            return Ok(None);
        };
        let snapshot = self.snapshot(sid, at)?;
        let from = snapshot.as_ref().map_or(Seq::ZERO, |snapshot| snapshot.seq);
        let records = self.records(sid, from, at)?;
        Ok(Some(Stored {
            genesis,
            snapshot,
            records,
        }))
    }

    pub(super) fn read(
        &self,
        session_id: SessionId,
        after: Seq,
        events_max: usize,
    ) -> Result<Option<Vec<Arc<Recorded>>>, ReadError> {
        let Some(Session { sid, .. }) = self.session(session_id)? else {
            return Ok(None);
        };
        let query = format!("{RECORD} WHERE sid = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3");
        let mut statement = self.connection.prepare_cached(&query)?;
        let rows_max = i64::try_from(events_max).unwrap_or(i64::MAX).clamp(1, PAGE_ROWS);
        let mut rows = statement.query(params![sid, sql(after), rows_max])?;
        let (mut records, mut events) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let record = recorded(row)?;
            events += record.len_on_wire();
            if events > events_max && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        Ok(Some(records))
    }

    pub(super) fn read_back(
        &self,
        session_id: SessionId,
        before: Seq,
        records_max: usize,
    ) -> Result<Option<Vec<Told>>, ReadError> {
        let Some(Session { sid, .. }) = self.session(session_id)? else {
            return Ok(None);
        };
        let query = format!("{RECORD} WHERE sid = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3");
        let mut statement = self.connection.prepare_cached(&query)?;
        let limit = i64::try_from(records_max).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![sid, sql(before), limit])?;
        let mut told = Vec::new();
        while let Some(row) = rows.next()? {
            told.push(Told {
                recorded: recorded(row)?,
                undone: row.get(4)?,
            });
        }
        Ok(Some(told))
    }

    pub(super) fn find(&self, session_id: SessionId, commands: &[CommandId]) -> Result<Vec<Arc<Recorded>>, ReadError> {
        let Some(Session { sid, .. }) = self.session(session_id)? else {
            return Ok(Vec::new());
        };
        let query = format!("{RECORD} WHERE sid = ?1 AND command_id = ?2");
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut found = Vec::new();
        for command in commands {
            let mut rows = statement.query(params![sid, command.uuid().as_bytes()])?;
            if let Some(row) = rows.next()? {
                found.push(recorded(row)?);
            }
        }
        Ok(found)
    }

    /// Looks at the index of ids only, in its order: no row is read.
    pub(super) fn command_ids(
        &self,
        session_id: SessionId,
        after: Option<CommandId>,
        ids_max: usize,
    ) -> Result<Option<Vec<CommandId>>, ReadError> {
        let Some(Session { sid, .. }) = self.session(session_id)? else {
            return Ok(None);
        };
        let mut statement = self.connection.prepare_cached(COMMAND_IDS)?;
        let after = after.map(|id| id.uuid().into_bytes());
        // Nothing is less than no bytes.
        let after = after.as_ref().map_or(&[][..], |bytes| &bytes[..]);
        let limit = i64::try_from(ids_max).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![sid, after, limit])?;
        let mut ids = Vec::new();
        while let Some(row) = rows.next()? {
            let id = Uuid::from_slice(row.get_ref(0)?.as_blob().map_err(unreadable)?);
            let id = id.map_err(|error| LogError::Corrupt(format!("a command's id is none: {error}")))?;
            ids.push(CommandId::new(id));
        }
        Ok(Some(ids))
    }

    pub(super) fn list(&self) -> Result<Vec<StoredHead>, ReadError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT schema_version, genesis, head_seq, node_count, last_activity_ms FROM sessions
             WHERE ext_id IS NOT NULL ORDER BY sid",
        )?;
        let mut rows = statement.query([])?;
        let mut heads = Vec::new();
        while let Some(row) = rows.next()? {
            heads.push(StoredHead {
                genesis: codec::decode_genesis(row.get(0)?, row.get_ref(1)?.as_str().map_err(unreadable)?)?,
                seq: seq(row, 2)?,
                node_count: usize::try_from(row.get::<_, i64>(3)?).unwrap_or_default(),
                last_activity: Timestamp(row.get(4)?),
            });
        }
        // The pages of all sessions are read once, when the hub starts, and need not stay in memory.
        self.connection.execute_batch("PRAGMA shrink_memory")?;
        Ok(heads)
    }

    fn session(&self, session_id: SessionId) -> Result<Option<Session>, ReadError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT sid, head_seq, schema_version, genesis FROM sessions WHERE ext_id = ?1")?;
        let mut rows = statement.query([session_id.to_string()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some(Session {
            sid: row.get(0)?,
            head: seq(row, 1)?,
            genesis: codec::decode_genesis(row.get(2)?, row.get_ref(3)?.as_str().map_err(unreadable)?)?,
        }))
    }

    /// The latest snapshot that is not later than `at` and can be read. One that cannot costs a longer replay, no more.
    fn snapshot(&self, sid: i64, at: Seq) -> Result<Option<Snapshot>, ReadError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT data FROM snapshots WHERE sid = ?1 AND seq <= ?2 AND format = ?3 ORDER BY seq DESC",
        )?;
        let mut rows = statement.query(params![sid, sql(at), codec::SNAPSHOT_FORMAT])?;
        while let Some(row) = rows.next()? {
            match codec::decode_snapshot(row.get_ref(0)?.as_blob().map_err(unreadable)?) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(error) => tracing::warn!(sid, %error, "a snapshot cannot be read and is passed over"),
            }
        }
        Ok(None)
    }

    /// The records after `from` that begin at or before `to`, page by page.
    fn records(&self, sid: i64, from: Seq, to: Seq) -> Result<Vec<Arc<Recorded>>, ReadError> {
        let query = format!("{RECORD} WHERE sid = ?1 AND seq > ?2 AND first_seq <= ?3 ORDER BY seq LIMIT ?4");
        let mut statement = self.connection.prepare_cached(&query)?;
        let (mut records, mut after) = (Vec::new(), from);
        loop {
            let before = records.len();
            let mut rows = statement.query(params![sid, sql(after), sql(to), PAGE_ROWS])?;
            while let Some(row) = rows.next()? {
                after = seq(row, 3)?;
                records.push(recorded(row)?);
            }
            let page = i64::try_from(records.len() - before).unwrap_or(i64::MAX);
            if page < PAGE_ROWS {
                return Ok(records);
            }
        }
    }
}

/// A record, which has to be where its row says.
fn recorded(row: &Row<'_>) -> Result<Arc<Recorded>, ReadError> {
    let record = codec::decode_record(row.get(0)?, row.get_ref(1)?.as_str().map_err(unreadable)?)?;
    let (first, last) = (seq(row, 2)?, seq(row, 3)?);
    if (record.first_seq, record.seq()) == (first, last) {
        return Ok(record);
    }
    let text = format!("the payload of the row at {last} says that it is at {}", record.seq());
    Err(LogError::Corrupt(text).into())
}

fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    row.get::<_, i64>(column)
        .map(|number| Seq(u64::try_from(number).unwrap_or_default()))
}

#[expect(clippy::needless_pass_by_value, reason = "what maps errors gives them away")]
fn unreadable(error: rusqlite::types::FromSqlError) -> LogError {
    LogError::Corrupt(error.to_string())
}
