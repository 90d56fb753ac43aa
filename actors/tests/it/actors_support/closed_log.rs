//! A log that can be listed and nothing else.

use std::sync::Arc;

use futures_util::{
    FutureExt,
    future::{BoxFuture, ready},
};
use talus_actors::{
    domain::{
        ids::{Seq, SessionId},
        recorded::Recorded,
        session::Genesis,
    },
    log::{Append, EventLog, LogError, Stored, StoredHead},
};
use tokio::{sync::mpsc, time::Instant};

/// Answers at once, and on the thread that asks: with nothing else to wait for, time may be virtual.
#[derive(Default)]
pub struct ClosedLog {
    /// What is listed.
    pub session: Option<Genesis>,
    /// Where it is noted when somebody tries to open it.
    pub opened: Option<mpsc::UnboundedSender<Instant>>,
}

impl ClosedLog {
    pub fn error() -> LogError {
        LogError::Io("the log is closed".to_owned())
    }
}

impl EventLog for ClosedLog {
    fn create(&self, _: Genesis) -> BoxFuture<'static, Result<(), LogError>> {
        ready(Err(Self::error())).boxed()
    }

    fn append(&self, append: Append) {
        drop(append);
    }

    fn open(&self, _: SessionId) -> BoxFuture<'static, Result<Option<Stored>, LogError>> {
        if let Some(opened) = &self.opened {
            opened.send(Instant::now()).expect("listened to");
        }
        ready(Err(Self::error())).boxed()
    }

    fn read(&self, _: SessionId, _: Seq, _: usize) -> BoxFuture<'static, Result<Option<Vec<Arc<Recorded>>>, LogError>> {
        ready(Err(Self::error())).boxed()
    }

    fn read_back(
        &self,
        _: SessionId,
        _: Seq,
        _: usize,
    ) -> BoxFuture<'static, Result<Option<Vec<Arc<Recorded>>>, LogError>> {
        ready(Err(Self::error())).boxed()
    }

    fn list(&self) -> BoxFuture<'static, Result<Vec<StoredHead>, LogError>> {
        let head = |genesis: &Genesis| StoredHead {
            genesis: genesis.clone(),
            seq: Seq(0),
        };
        ready(Ok(self.session.iter().map(head).collect())).boxed()
    }

    fn delete(&self, _: SessionId) -> BoxFuture<'static, Result<(), LogError>> {
        ready(Err(Self::error())).boxed()
    }
}
