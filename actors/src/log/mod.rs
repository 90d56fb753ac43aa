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
    ids::{Seq, SessionId},
    recorded::Recorded,
    session::Genesis,
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
    /// The log cannot be written to.
    #[error("{0}")]
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
    /// Everything since, oldest first.
    pub records: Vec<Arc<Recorded>>,
}

/// What a log says of a session without reading all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHead {
    /// How it began.
    pub genesis: Genesis,
    /// The last `seq`.
    pub seq: Seq,
}

/// Where sessions are kept.
pub trait EventLog: Send + Sync + 'static {
    /// Begins a session's log.
    fn create(&self, genesis: Genesis) -> BoxFuture<'static, Result<(), LogError>>;

    /// Appends. Returns at once; `append.done` is told when it is durable.
    fn append(&self, append: Append);

    /// Everything of a session; `None` if there is no such session.
    fn open(&self, session_id: SessionId) -> BoxFuture<'static, Result<Option<Stored>, LogError>>;

    /// The records that hold the events after `after`, oldest first: at least one if there is one, and no more than
    /// hold `events_max` events or one record. `None` if there is no such session.
    fn read(
        &self,
        session_id: SessionId,
        after: Seq,
        events_max: usize,
    ) -> BoxFuture<'static, Result<Option<Vec<Arc<Recorded>>>, LogError>>;

    /// Up to `records_max` records that end before `before`, newest first. `None` if there is no such session.
    fn read_back(
        &self,
        session_id: SessionId,
        before: Seq,
        records_max: usize,
    ) -> BoxFuture<'static, Result<Option<Vec<Arc<Recorded>>>, LogError>>;

    /// All sessions, in the order they were created.
    fn list(&self) -> BoxFuture<'static, Result<Vec<StoredHead>, LogError>>;

    /// Ends a session's log for good. No error if there is none.
    fn delete(&self, session_id: SessionId) -> BoxFuture<'static, Result<(), LogError>>;
}
