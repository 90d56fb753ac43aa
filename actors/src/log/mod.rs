//! Port of the event log. The log is the source of truth; an actor caches the state of its session.
//!
//! An append is a compare-and-set: it names the `seq` that the writer believes to be last, so the writer need not be
//! the only one. The outcome of an append may be unknown. No decision of a session leaves the process before its append
//! has succeeded (P3).

#[cfg(feature = "testing")]
pub mod conformance;
mod memory;
#[cfg(feature = "testing")]
pub mod planned;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::domain::{
    ids::{CommandId, Seq, SessionId, Timestamp},
    record::CommandRecord,
    session::{SessionHeader, Snapshot},
};

pub use memory::MemoryLog;

/// Error of an append.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Another writer appended first.
    #[error("the log ends at {actual}, not at {expected}")]
    Conflict {
        /// Last `seq`, as expected by the writer.
        expected: Seq,
        /// Last `seq` of the log.
        actual: Seq,
    },
    /// The session has no log, or its log was deleted.
    #[error("there is no log of this session")]
    NoSuchLog,
    /// The log refuses appends at the moment: the disk is full, or too many appends are queued. Nothing was appended.
    #[error("the log refuses appends: {0}")]
    Refused(String),
    /// Writing failed. Nothing was appended, as far as the log can tell.
    #[error("the log cannot be written: {0}")]
    Io(String),
    /// The writer ended without an answer. The records may be in the log or not.
    #[error("the outcome is unknown")]
    Unknown,
}

/// Error of reading or creating a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The session has a log already.
    #[error("session {0} exists already")]
    Exists(SessionId),
    /// The log cannot be read or written.
    #[error("{0}")]
    Io(String),
    /// The log's content is damaged.
    #[error("{0}")]
    Corrupt(String),
}

/// Group of records that is appended as a whole or not at all.
pub struct Append {
    /// Session of the log.
    pub session_id: SessionId,
    /// Last `seq` of the log, as far as the writer knows.
    pub expected: Seq,
    /// Records to append, in order.
    pub records: Vec<Arc<CommandRecord>>,
    /// Nodes of the session after the group, for listings.
    pub node_count: usize,
    /// Callback for the outcome.
    pub done: AppendCallback,
}

/// Completion callback of an append. Dropping the callback without a call reports [`AppendError::Unknown`].
pub struct AppendCallback(Option<Callback>);

type Callback = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

impl AppendCallback {
    /// Creates a callback that calls `tell` once. The log may call `tell` from any thread, so `tell` must not block.
    pub fn new(tell: impl FnOnce(Result<(), AppendError>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Returns a callback that reports [`AppendError::Unknown`] for any outcome.
    pub(crate) fn lost(self) -> Self {
        Self::new(move |_| drop(self))
    }

    /// Reports the outcome.
    pub fn tell(mut self, result: Result<(), AppendError>) {
        if let Some(tell) = self.0.take() {
            tell(result);
        }
    }
}

impl Drop for AppendCallback {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Err(AppendError::Unknown));
        }
    }
}

/// Content of a log from which a session is replayed.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Header of the session.
    pub header: SessionHeader,
    /// State from which the replay starts; `None` to replay from the first record.
    pub snapshot: Option<Snapshot>,
    /// All records after the snapshot, oldest first, and possibly some earlier ones.
    pub records: Vec<Arc<CommandRecord>>,
}

/// Command in the history of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRecord {
    /// Record of the command.
    pub recorded: Arc<CommandRecord>,
    /// True if the command is undone and was not redone since.
    pub undone: bool,
}

/// Summary of a log, available without reading the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHead {
    /// Header of the session.
    pub header: SessionHeader,
    /// Last `seq`.
    pub seq: Seq,
    /// Number of nodes at the last `seq`.
    pub node_count: usize,
    /// Time of receipt of the last command; the time of creation before the first command.
    pub last_activity: Timestamp,
}

impl StoredHead {
    /// Returns the head of a session without commands.
    #[must_use]
    pub const fn new(header: SessionHeader) -> Self {
        let last_activity = header.created_at;
        Self {
            header,
            seq: Seq::ZERO,
            node_count: 0,
            last_activity,
        }
    }
}

/// Bounds of a page. A page ends before the item that would exceed a bound, but contains at least one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageMax {
    /// Maximum of items.
    pub items: usize,
    /// Maximum of bytes in the log's encoding: an estimate of the memory and time that reading the page takes.
    pub bytes: usize,
}

impl From<usize> for PageMax {
    /// Bounds the items and leaves the bytes unbounded.
    fn from(items: usize) -> Self {
        Self {
            items,
            bytes: usize::MAX,
        }
    }
}

/// Future of a log's answer.
pub type LogFuture<T> = BoxFuture<'static, Result<T, LogError>>;

/// Storage of session logs. `None` in an answer means that the session has no log.
pub trait EventLog: Send + Sync + 'static {
    /// Creates a session's log.
    fn create(&self, header: SessionHeader) -> LogFuture<()>;

    /// Appends a group. Returns at once; `append.done` is called once the group is durable or has failed.
    fn append(&self, append: Append);

    /// Reads the content for a replay: the latest snapshot, all records after it, and at least the latest records that
    /// hold `window_events` events.
    fn open(&self, session_id: SessionId, window_events: usize) -> LogFuture<Option<Stored>>;

    /// Reads the content for a replay up to `at`: the latest snapshot not after `at`, and the records from there up to
    /// the record that holds `at`.
    fn open_at(&self, session_id: SessionId, at: Seq) -> LogFuture<Option<Stored>>;

    /// Reads the records that hold the events after `after`, oldest first, up to `max`, which counts events. Returns at
    /// least one record, unless none follows.
    fn read(&self, session_id: SessionId, after: Seq, max: PageMax) -> LogFuture<Option<Vec<Arc<CommandRecord>>>>;

    /// Reads records that end before `before`, newest first, up to `max`, which counts records. Returns at least one
    /// record if there are any, unless `max.items` is 0.
    fn read_back(&self, session_id: SessionId, before: Seq, max: PageMax) -> LogFuture<Option<Vec<HistoryRecord>>>;

    /// Returns the records of those commands that the log has, in any order (P4).
    fn find(&self, session_id: SessionId, commands: Vec<CommandId>) -> LogFuture<Vec<Arc<CommandRecord>>>;

    /// Reads the ids of a session's commands after `after` in ascending order, up to `ids_max`. Paging with the last id
    /// returns every id that was in the log at the first call. Ids that are appended in the meantime may be included.
    fn command_ids(
        &self,
        session_id: SessionId,
        after: Option<CommandId>,
        ids_max: usize,
    ) -> LogFuture<Option<Vec<CommandId>>>;

    /// Stores a snapshot for later replays. A log may keep only the latest snapshots or none: a snapshot saves time and
    /// contains nothing beyond the records. The log reports a failure itself.
    fn keep_snapshot(&self, session_id: SessionId, snapshot: Snapshot);

    /// Returns all sessions in order of creation.
    fn list(&self) -> LogFuture<Vec<StoredHead>>;

    /// Deletes a session's log. Deleting a log that does not exist is not an error.
    fn delete(&self, session_id: SessionId) -> LogFuture<()>;

    /// Returns the reason why the log refuses appends, for example a full disk; `None` if the log accepts appends.
    /// Asked before a command is admitted.
    fn refusal_reason(&self) -> Option<Arc<str>> {
        None
    }
}
