//! Log whose calls all fail, except `list`.

use std::sync::Arc;

use futures_util::{FutureExt, future::ready};
use talus_actors::{
    domain::{
        ids::{CommandId, Seq, SessionId},
        record::CommandRecord,
        session::{SessionHeader, Snapshot},
    },
    log::{Append, EventLog, HistoryRecord, LogError, LogFuture, PageMax, Stored, StoredHead},
};
use tokio::{sync::mpsc, time::Instant};

/// Answers immediately on the calling thread. Nothing else has to be waited for, so the test can use the paused clock.
#[derive(Default)]
pub struct ClosedLog {
    /// Listed session.
    pub session: Option<SessionHeader>,
    /// Receives the time of each call of `open`.
    pub opened: Option<mpsc::UnboundedSender<Instant>>,
}

impl ClosedLog {
    pub fn error() -> LogError {
        LogError::Io("the log is closed".to_owned())
    }
}

impl EventLog for ClosedLog {
    fn create(&self, _: SessionHeader) -> LogFuture<()> {
        ready(Err(Self::error())).boxed()
    }

    fn append(&self, append: Append) {
        drop(append);
    }

    fn open(&self, _: SessionId, _: usize) -> LogFuture<Option<Stored>> {
        if let Some(opened) = &self.opened {
            opened.send(Instant::now()).expect("listened to");
        }
        ready(Err(Self::error())).boxed()
    }

    fn open_at(&self, _: SessionId, _: Seq) -> LogFuture<Option<Stored>> {
        ready(Err(Self::error())).boxed()
    }

    fn read(&self, _: SessionId, _: Seq, _: PageMax) -> LogFuture<Option<Vec<Arc<CommandRecord>>>> {
        ready(Err(Self::error())).boxed()
    }

    fn read_back(&self, _: SessionId, _: Seq, _: PageMax) -> LogFuture<Option<Vec<HistoryRecord>>> {
        ready(Err(Self::error())).boxed()
    }

    fn find(&self, _: SessionId, _: Vec<CommandId>) -> LogFuture<Vec<Arc<CommandRecord>>> {
        ready(Err(Self::error())).boxed()
    }

    fn command_ids(&self, _: SessionId, _: Option<CommandId>, _: usize) -> LogFuture<Option<Vec<CommandId>>> {
        ready(Err(Self::error())).boxed()
    }

    fn keep_snapshot(&self, _: SessionId, _: Snapshot) {}

    fn list(&self) -> LogFuture<Vec<StoredHead>> {
        ready(Ok(self.session.iter().cloned().map(StoredHead::new).collect())).boxed()
    }

    fn delete(&self, _: SessionId) -> LogFuture<()> {
        ready(Err(Self::error())).boxed()
    }
}
