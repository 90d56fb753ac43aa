//! The log in memory: for tests, and for a hub whose sessions need not outlive it.
//!
//! One thread owns the logs and takes requests in order, as every log's writer does: no lock is shared with anybody.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::oneshot;

use super::{Append, AppendError, EventLog, LogError, Stored, StoredHead};
use crate::domain::{
    ids::{Seq, SessionId},
    recorded::Recorded,
    session::Genesis,
};

/// A log that lives and dies with the process. Clones share it.
#[derive(Clone)]
pub struct MemoryLog {
    requests: mpsc::Sender<Request>,
}

type Request = Box<dyn FnOnce(&mut Logs) + Send>;

#[derive(Default)]
struct Logs {
    sessions: BTreeMap<SessionId, Log>,
    /// Sessions in the order they were created.
    order: Vec<SessionId>,
}

struct Log {
    genesis: Genesis,
    records: Vec<Arc<Recorded>>,
}

impl MemoryLog {
    /// An empty log.
    ///
    /// # Errors
    /// If its thread cannot be started.
    pub fn start() -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<Request>();
        let work = move || {
            let mut logs = Logs::default();
            // Ends when the last handle is dropped.
            for request in inbox {
                request(&mut logs);
            }
        };
        std::thread::Builder::new().name("memory-log".to_owned()).spawn(work)?;
        Ok(Self { requests })
    }

    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut Logs) -> Result<T, LogError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, LogError>> {
        let (reply, answer) = oneshot::channel();
        let request = Box::new(move |logs: &mut Logs| {
            let _ = reply.send(request(logs));
        });
        let _ = self.requests.send(request);
        let gone = || LogError::Io("the log's thread has ended".to_owned());
        async move { answer.await.unwrap_or_else(|_| Err(gone())) }.boxed()
    }
}

impl Log {
    fn seq(&self) -> Seq {
        self.records.last().map_or(Seq::ZERO, |record| record.seq())
    }

    fn append(&mut self, expected: Seq, records: Vec<Arc<Recorded>>) -> Result<(), AppendError> {
        let actual = self.seq();
        if actual != expected {
            return Err(AppendError::Conflict { expected, actual });
        }
        self.records.extend(records);
        Ok(())
    }

    fn after(&self, after: Seq, events_max: usize) -> Vec<Arc<Recorded>> {
        let start = self.records.partition_point(|record| record.seq() <= after);
        let mut events = 0;
        let fits = |record: &&Arc<Recorded>| {
            let first = events == 0;
            events += record.len_on_wire();
            first || events <= events_max
        };
        self.records[start..].iter().take_while(fits).cloned().collect()
    }

    fn before(&self, before: Seq, records_max: usize) -> Vec<Arc<Recorded>> {
        let end = self.records.partition_point(|record| record.seq() < before);
        self.records[..end].iter().rev().take(records_max).cloned().collect()
    }
}

impl EventLog for MemoryLog {
    fn create(&self, genesis: Genesis) -> BoxFuture<'static, Result<(), LogError>> {
        self.ask(move |logs| {
            let session_id = genesis.session_id;
            if logs.sessions.contains_key(&session_id) {
                return Err(LogError::Exists(session_id));
            }
            logs.sessions.insert(
                session_id,
                Log {
                    genesis,
                    records: Vec::new(),
                },
            );
            logs.order.push(session_id);
            Ok(())
        })
    }

    fn append(&self, append: Append) {
        let Append {
            session_id,
            expected,
            records,
            done,
        } = append;
        // If the thread is gone the request is dropped, and with it `done`, which then says so.
        let _ = self.requests.send(Box::new(move |logs: &mut Logs| {
            let log = logs.sessions.get_mut(&session_id).ok_or(AppendError::NoSuchLog);
            done.tell(log.and_then(|log| log.append(expected, records)));
        }));
    }

    fn open(&self, session_id: SessionId) -> BoxFuture<'static, Result<Option<Stored>, LogError>> {
        self.ask(move |logs| {
            let stored = |log: &Log| Stored {
                genesis: log.genesis.clone(),
                records: log.records.clone(),
            };
            Ok(logs.sessions.get(&session_id).map(stored))
        })
    }

    fn read(
        &self,
        session_id: SessionId,
        after: Seq,
        events_max: usize,
    ) -> BoxFuture<'static, Result<Option<Vec<Arc<Recorded>>>, LogError>> {
        self.ask(move |logs| Ok(logs.sessions.get(&session_id).map(|log| log.after(after, events_max))))
    }

    fn read_back(
        &self,
        session_id: SessionId,
        before: Seq,
        records_max: usize,
    ) -> BoxFuture<'static, Result<Option<Vec<Arc<Recorded>>>, LogError>> {
        self.ask(move |logs| {
            Ok(logs
                .sessions
                .get(&session_id)
                .map(|log| log.before(before, records_max)))
        })
    }

    fn list(&self) -> BoxFuture<'static, Result<Vec<StoredHead>, LogError>> {
        self.ask(|logs| {
            let head = |id| {
                let log = logs.sessions.get(id)?;
                Some(StoredHead {
                    genesis: log.genesis.clone(),
                    seq: log.seq(),
                })
            };
            Ok(logs.order.iter().filter_map(head).collect())
        })
    }

    fn delete(&self, session_id: SessionId) -> BoxFuture<'static, Result<(), LogError>> {
        self.ask(move |logs| {
            logs.sessions.remove(&session_id);
            logs.order.retain(|&id| id != session_id);
            Ok(())
        })
    }
}
