//! Event log on disk: one SQLite file with one writer.
//!
//! SQLite is the format because operators can open, query and back it up with common tools, and because it opens fast
//! after a crash, whatever its size. Acknowledged records are on the disk (`synchronous=FULL`): there is no other
//! setting.
//!
//! ```text
//!  sessions ──append──▶ a bounded channel ──▶ the writer's thread: all queued requests, one transaction, one flush,
//!                                             then all answers              (group commit over all sessions)
//!  reads ─────────────▶ a bounded channel ──▶ readers' threads, each with a connection of its own
//! ```
//!
//! The writer never waits for a group to fill: the next group queues while one is being flushed.

mod checksum;
mod codec;
mod files;
mod heads;
mod losses;
mod mark;
mod reader;
mod restore;
mod schema;
mod sessions;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use talus_actors::{
    domain::{
        ids::{CommandId, Seq, SessionId},
        record::CommandRecord,
        session::{SessionHeader, Snapshot},
    },
    log::{Append, AppendError, EventLog, HistoryRecord, LogError, LogFuture, PageMax, Stored, StoredHead},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::{
    files::{DataLock, Watched},
    mark::Mark,
    reader::{Lane, Readers},
    sessions::AllSessions,
    writer::{OpenFiles, Request, Rows, Writer},
};

pub use files::{BackupError, backup, database_path};
pub use losses::Losses;
pub use restore::{RestoreError, Restored, restore};
pub use verify::{Finding, Verified, verify, verify_file};

/// Capacity of the writer's queue in requests. A session has at most one append in flight, so that a full queue takes
/// as many busy sessions. Then the disk does not keep up, and further requests are refused.
pub const WAITING_MAX: usize = 4_096;

/// Options of an opened log.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Upper limit of the database's size in pages of 4 KiB; `None`: limited by the disk.
    pub pages_max: Option<u32>,
    /// Upper limit of the bytes of records before its snapshot that opening a session reads; `None`: limited only by
    /// the events of the replay window. Records that a session would not keep are not read.
    pub window_bytes_max: Option<usize>,
}

/// Reason why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another hub uses the directory.
    #[error("{path} is locked: another hub uses this directory")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The directory or a file in it cannot be used.
    #[error("{path} cannot be used: {error}")]
    Io {
        /// File or directory with the error.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// The database cannot be used.
    #[error("{path} cannot be used: {reason}")]
    Database {
        /// Database file.
        path: PathBuf,
        /// Reason, for operators.
        reason: String,
    },
}

/// Callback for a disk failure after which memory and disk may differ, called once with the reason. The process has to
/// end. Acknowledged records are on the disk.
pub type OnFatal = Box<dyn FnOnce(&str) + Send>;

/// Event log in an SQLite database. Clones share the log, and dropping the last clone closes it.
#[derive(Clone)]
pub struct SqliteLog(Arc<Shared>);

struct Shared {
    requests: mpsc::SyncSender<Request>,
    readers: Readers,
    refusal_reason: RefusalReason,
    writer_ended: CancellationToken,
    losses: Losses,
}

/// Reason why the log refuses writes; empty while it accepts them. Only the writer sets it.
pub(crate) type RefusalReason = Arc<ArcSwapOption<String>>;

impl SqliteLog {
    /// Opens the log in a directory, and creates the directory if it is missing.
    ///
    /// # Errors
    /// If another hub uses the directory, or a file in it cannot be used.
    pub fn open(dir: &Path, options: &Options, on_fatal: OnFatal) -> Result<Self, OpenError> {
        let was_used = files::lock_path(dir).exists();
        let lock = DataLock::take(dir)?;
        let path = database_path(dir);
        let unusable = |error: &dyn std::fmt::Display| OpenError::Database {
            path: path.clone(),
            reason: error.to_string(),
        };
        let mark_path = mark::path(dir);
        let marks = mark::read(&mark_path).map_err(|error| OpenError::Io {
            path: mark_path.clone(),
            error,
        })?;
        let is_new = !path.exists();
        losses::check_presence(&path, is_new, was_used, marks.as_ref()).map_err(|error| unusable(&error))?;
        files::flush(&path).map_err(|error| unusable(&error))?;
        let mut connection = schema::open_for_writing(&path, options).map_err(|error| unusable(&error))?;
        sessions::mend_index(&connection).map_err(|error| unusable(&error))?;
        let mut stored = AllSessions::read(&connection).map_err(|error| unusable(&error))?;
        let losses = losses::check(&mut connection, &marks.unwrap_or_default(), &mut stored);
        let losses = losses.map_err(|error| unusable(&error))?;
        let (requests, inbox) = mpsc::sync_channel(WAITING_MAX);
        let refusal_reason = RefusalReason::default();
        let files = OpenFiles {
            watched: Watched::new(&path),
            database: path.clone(),
            mark: Mark::new(mark_path),
        };
        let writer = Writer::new(connection, files, inbox, &stored, Arc::clone(&refusal_reason), on_fatal)
            .map_err(|error| unusable(&error))?;
        let readers = Readers::start(
            &path,
            &Arc::new(stored.damaged),
            options.window_bytes_max.unwrap_or(usize::MAX),
        )
        .map_err(|error| unusable(&error))?;
        let writer_ended = CancellationToken::new();
        let ended = writer_ended.clone();
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                // Cancelled when the thread ends, by a panic too.
                let _ended = ended.drop_guard();
                writer.run(lock);
            })
            .map_err(|error| OpenError::Io { path, error })?;
        Ok(Self(Arc::new(Shared {
            requests,
            readers,
            refusal_reason,
            writer_ended,
            losses,
        })))
    }

    /// Counts of what opening found to be lost or damaged.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.0.losses
    }

    /// Waits until the writer's thread has ended: after [`Self::close`], or after a panic. Then nothing can be written.
    pub async fn writer_ended(&self) {
        self.0.writer_ended.cancelled().await;
    }

    /// Finishes queued requests, runs a checkpoint of the write-ahead log, and stops the writer. Later requests are
    /// answered with an error.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        let requests = self.0.requests.clone();
        // Sending blocks while the channel is full, which needs a thread of the blocking pool.
        let sent = tokio::task::spawn_blocking(move || requests.send(Request::Close(reply)).is_ok()).await;
        if matches!(sent, Ok(true)) {
            let _ = closed.await;
        }
    }

    fn request<T: Send + 'static>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Request,
    ) -> LogFuture<T> {
        let (reply, answer) = oneshot::channel();
        if self.0.requests.try_send(request(reply)).is_err() {
            let busy = LogError::Io("too much waits for the log already".to_owned());
            return std::future::ready(Err(busy)).boxed();
        }
        answered(answer)
    }
}

/// Returns a future for the answer of a thread of the log.
fn answered<T: Send + 'static>(answer: oneshot::Receiver<Result<T, LogError>>) -> LogFuture<T> {
    let gone = || LogError::Io("the log is closed".to_owned());
    async move { answer.await.unwrap_or_else(|_| Err(gone())) }.boxed()
}

impl EventLog for SqliteLog {
    fn create(&self, header: SessionHeader) -> LogFuture<()> {
        self.request(|reply| Request::Create(header, reply))
    }

    /// Encodes the records on the caller's thread, so that the writer's thread only writes.
    fn append(&self, append: Append) {
        let rows = match Rows::encode(append) {
            Ok(rows) => rows,
            Err((done, error)) => return done.tell(Err(AppendError::Io(error))),
        };
        match self.0.requests.try_send(Request::Append(rows)) {
            Ok(()) => {}
            Err(mpsc::TrySendError::Full(Request::Append(rows))) => {
                let reason = format!("{WAITING_MAX} requests wait for it");
                rows.done.tell(Err(AppendError::Refused(reason)));
            }
            // Dropping the request answers with an unknown outcome. Nothing was appended, and the hub is stopping
            // anyway.
            Err(_) => {}
        }
    }

    fn open(&self, session_id: SessionId, window_events: usize) -> LogFuture<Option<Stored>> {
        self.0
            .readers
            .ask(Lane::Sessions, move |reader| reader.open(session_id, window_events))
    }

    fn open_at(&self, session_id: SessionId, at: Seq) -> LogFuture<Option<Stored>> {
        self.0
            .readers
            .ask(Lane::Clients, move |reader| reader.open_at(session_id, at))
    }

    fn read(&self, session_id: SessionId, after: Seq, max: PageMax) -> LogFuture<Option<Vec<Arc<CommandRecord>>>> {
        self.0
            .readers
            .ask(Lane::Clients, move |reader| reader.read(session_id, after, max))
    }

    fn read_back(&self, session_id: SessionId, before: Seq, max: PageMax) -> LogFuture<Option<Vec<HistoryRecord>>> {
        self.0
            .readers
            .ask(Lane::Clients, move |reader| reader.read_back(session_id, before, max))
    }

    fn find(&self, session_id: SessionId, commands: Vec<CommandId>) -> LogFuture<Vec<Arc<CommandRecord>>> {
        self.0
            .readers
            .ask(Lane::Sessions, move |reader| reader.find(session_id, &commands))
    }

    fn command_ids(
        &self,
        session_id: SessionId,
        after: Option<CommandId>,
        ids_max: usize,
    ) -> LogFuture<Option<Vec<CommandId>>> {
        self.0.readers.ask(Lane::Sessions, move |reader| {
            reader.command_ids(session_id, after, ids_max)
        })
    }

    fn keep_snapshot(&self, session_id: SessionId, snapshot: Snapshot) {
        let log = self.clone();
        // Encoding is linear in the graph, and therefore runs on the blocking pool.
        tokio::task::spawn_blocking(move || {
            let seq = snapshot.seq;
            let data = match codec::encode_snapshot(&snapshot) {
                Ok(data) => data,
                Err(error) => return tracing::error!(%session_id, %error, "a snapshot could not be encoded"),
            };
            let checksum = checksum::of_snapshot(session_id, seq, codec::SNAPSHOT_FORMAT, &data);
            let request = Request::Snapshot {
                session_id,
                seq,
                data,
                checksum,
            };
            if log.0.requests.try_send(request).is_err() {
                tracing::warn!(%session_id, seq = seq.0, "a snapshot was skipped: too much waits for the log");
            }
        });
    }

    fn list(&self) -> LogFuture<Vec<StoredHead>> {
        self.0.readers.ask(Lane::Sessions, reader::Reader::list)
    }

    fn delete(&self, session_id: SessionId) -> LogFuture<()> {
        self.request(|reply| Request::Delete(session_id, reply))
    }

    fn refusal_reason(&self) -> Option<Arc<str>> {
        self.0
            .refusal_reason
            .load()
            .as_deref()
            .map(|reason| reason.as_str().into())
    }
}
