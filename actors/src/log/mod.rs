//! The port of the log: the truth, of which an actor is a cache.
//!
//! A log is appended to with the `seq` that the writer believes to be last (compare-and-set), so that it need not be
//! the only writer, and an append may end in "unknown". Nothing that a session decided leaves the process before its
//! append has succeeded (P3).

#[cfg(feature = "testing")]
pub mod conformance;
mod memory;
#[cfg(feature = "testing")]
pub mod planned;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::domain::{
    ids::{CommandId, Seq, SessionId, Timestamp},
    recorded::Recorded,
    session::{Genesis, Snapshot},
};

pub use memory::MemoryLog;

/// Why an append did not happen, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Somebody else appended first.
    #[error("the log is at {actual}, not at {expected}")]
    Conflict {
        /// What the writer believed.
        expected: Seq,
        /// Where the log is.
        actual: Seq,
    },
    /// There is no such log, or no longer.
    #[error("there is no log of this session")]
    NoSuchLog,
    /// The log takes nothing now: there is no room, or too much waits already. Nothing was appended.
    #[error("the log takes nothing now: {0}")]
    Refused(String),
    /// Writing failed. Nothing was appended, as far as the log can tell.
    #[error("the log cannot be written: {0}")]
    Io(String),
    /// The writer went away without an answer.
    #[error("the outcome is unknown")]
    Unknown,
}

/// Why a log cannot be read or begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is one already.
    #[error("session {0} exists already")]
    Exists(SessionId),
    /// It cannot be read or written.
    #[error("{0}")]
    Io(String),
    /// What it holds makes no sense.
    #[error("{0}")]
    Corrupt(String),
}

/// A group of records to be appended together or not at all.
pub struct Append {
    /// Whose log.
    pub session_id: SessionId,
    /// The `seq` that is last there now, as far as the writer knows.
    pub expected: Seq,
    /// What to append, in order.
    pub records: Vec<Arc<Recorded>>,
    /// The nodes that the session has after it, for lists of sessions.
    pub node_count: usize,
    /// Whom to tell.
    pub done: Done,
}

/// Tells the writer how an append ended; dropped without an answer, that nobody knows.
pub struct Done(Option<Tell>);

type Tell = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

impl Done {
    /// Calls `tell` once, from whatever thread the log works on: it must not block.
    pub fn new(tell: impl FnOnce(Result<(), AppendError>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// One whose answer gets lost: whatever it is told, nobody knows.
    pub(crate) fn lost(self) -> Self {
        Self::new(move |_| drop(self))
    }

    /// Says how it ended.
    pub fn tell(mut self, result: Result<(), AppendError>) {
        if let Some(tell) = self.0.take() {
            tell(result);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Err(AppendError::Unknown));
        }
    }
}

/// A session as its log has it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// How it began.
    pub genesis: Genesis,
    /// A later state to begin with; `None`: begin at the beginning.
    pub snapshot: Option<Snapshot>,
    /// Everything since that state, oldest first, and perhaps some of what was before it.
    pub records: Vec<Arc<Recorded>>,
}

/// A command as its log tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The command.
    pub recorded: Arc<Recorded>,
    /// Whether it is undone: taken back, and not done again since.
    pub undone: bool,
}

/// What a log says of a session without reading all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHead {
    /// How it began.
    pub genesis: Genesis,
    /// The last `seq`.
    pub seq: Seq,
    /// Its nodes then.
    pub node_count: usize,
    /// When its last command was received; before the first, when it began.
    pub last_activity: Timestamp,
}

impl StoredHead {
    /// That of a session before its first command.
    #[must_use]
    pub const fn new(genesis: Genesis) -> Self {
        let last_activity = genesis.created_at;
        Self {
            genesis,
            seq: Seq::ZERO,
            node_count: 0,
            last_activity,
        }
    }
}

/// Bounds of a page. It ends before the item with which it would exceed either; its first item it has in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageMax {
    /// Items, at most.
    pub items: usize,
    /// Bytes, at most, as the log keeps them: about what reading the page takes of memory and time.
    pub bytes: usize,
}

impl From<usize> for PageMax {
    /// Bounds the items only.
    fn from(items: usize) -> Self {
        Self {
            items,
            bytes: usize::MAX,
        }
    }
}

/// What a log answers with.
pub type Answer<T> = BoxFuture<'static, Result<T, LogError>>;

/// Where sessions are kept. `None` in an answer: there is no such session.
pub trait EventLog: Send + Sync + 'static {
    /// Begins a session's log.
    fn create(&self, genesis: Genesis) -> Answer<()>;

    /// Appends. Returns at once; `append.done` is told when it is durable.
    fn append(&self, append: Append);

    /// What a session is replayed from: its latest snapshot, everything after it, and at least the latest records that
    /// hold `window_events` events.
    fn open(&self, session_id: SessionId, window_events: usize) -> Answer<Option<Stored>>;

    /// What a session is replayed from as it was at a `seq`: the latest snapshot that is not later, and the records after
    /// it up to the one that has that `seq`.
    fn open_at(&self, session_id: SessionId, at: Seq) -> Answer<Option<Stored>>;

    /// The records that hold the events after `after`, oldest first: at least one if there is one, and no more than
    /// `max` allows, whose items are events.
    fn read(&self, session_id: SessionId, after: Seq, max: PageMax) -> Answer<Option<Vec<Arc<Recorded>>>>;

    /// Records that end before `before`, newest first: no more than `max` allows, whose items are records, but one if there
    /// is one and it may be.
    fn read_back(&self, session_id: SessionId, before: Seq, max: PageMax) -> Answer<Option<Vec<Told>>>;

    /// Those of these commands that the log has, in any order (P4).
    fn find(&self, session_id: SessionId, commands: Vec<CommandId>) -> Answer<Vec<Arc<Recorded>>>;

    /// The ids of a session's commands that come after `after` in the order of ids: the first `ids_max` of them, or all
    /// that there are. What is in the log when the first page is asked for is in one of the pages; what is appended
    /// meanwhile may be.
    fn command_ids(
        &self,
        session_id: SessionId,
        after: Option<CommandId>,
        ids_max: usize,
    ) -> Answer<Option<Vec<CommandId>>>;

    /// Keeps a snapshot for later replays. A log may keep only the latest ones, or none: they save time, and hold nothing
    /// that the records do not. A failure is the log's to tell of.
    fn keep_snapshot(&self, session_id: SessionId, snapshot: Snapshot);

    /// All sessions, in the order they were created.
    fn list(&self) -> Answer<Vec<StoredHead>>;

    /// Ends a session's log for good. No error if there is none.
    fn delete(&self, session_id: SessionId) -> Answer<()>;

    /// Why the log takes nothing now, if it does not: a full disk, say. Asked before a command is let in.
    fn refuses(&self) -> Option<Arc<str>> {
        None
    }
}
