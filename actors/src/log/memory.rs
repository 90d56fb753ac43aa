//! In-memory log, for tests and for a hub whose sessions need not survive the process.
//!
//! One thread owns the logs and handles requests in order, as the writer of any log does. No lock is shared.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::{Arc, mpsc},
};

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::{Append, AppendError, EventLog, HistoryRecord, LogError, LogFuture, PageMax, Stored, StoredHead};
use crate::domain::{
    command::CommandType,
    ids::{CommandId, Seq, SessionId},
    record::CommandRecord,
    session::{SessionHeader, Snapshot},
};

/// Log that ends with the process. Clones share the log.
#[derive(Clone)]
pub struct MemoryLog {
    requests: mpsc::Sender<Request>,
}

type Request = Box<dyn FnOnce(&mut Logs) + Send>;

#[derive(Default)]
struct Logs {
    sessions: BTreeMap<SessionId, Log>,
    /// Session ids in order of creation.
    order: Vec<SessionId>,
}

struct Log {
    header: SessionHeader,
    records: Vec<Arc<CommandRecord>>,
    by_command: BTreeMap<CommandId, usize>,
    undone: BTreeSet<CommandId>,
    node_count: usize,
    /// Latest snapshots, oldest first.
    snapshots: VecDeque<Snapshot>,
}

/// Snapshots kept per session: the latest, and the previous one for reads of an earlier `seq`.
const SNAPSHOTS_MAX: usize = 2;

impl MemoryLog {
    /// Starts an empty log.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start() -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<Request>();
        let work = move || {
            let mut logs = Logs::default();
            // The loop ends when the last handle is dropped.
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
    ) -> LogFuture<T> {
        let (reply, answer) = oneshot::channel();
        let request = Box::new(move |logs: &mut Logs| {
            let _ = reply.send(request(logs));
        });
        let _ = self.requests.send(request);
        let stopped = || LogError::Io("the log's thread has ended".to_owned());
        async move { answer.await.unwrap_or_else(|_| Err(stopped())) }.boxed()
    }
}

impl Log {
    fn seq(&self) -> Seq {
        self.records.last().map_or(Seq::ZERO, |record| record.seq())
    }

    fn append(
        &mut self,
        expected: Seq,
        records: Vec<Arc<CommandRecord>>,
        node_count: usize,
    ) -> Result<(), AppendError> {
        let actual = self.seq();
        if actual != expected {
            return Err(AppendError::Conflict { expected, actual });
        }
        self.node_count = node_count;
        for record in records {
            match (record.command_type, record.target) {
                (CommandType::Undo, Some(target)) => self.undone.insert(target.command_id),
                (CommandType::Redo, Some(target)) => self.undone.remove(&target.command_id),
                _ => false,
            };
            self.by_command.insert(record.command_id, self.records.len());
            self.records.push(record);
        }
        Ok(())
    }

    fn stored(&self, snapshot: Option<&Snapshot>, records: &[Arc<CommandRecord>]) -> Stored {
        Stored {
            header: self.header.clone(),
            snapshot: snapshot.cloned(),
            records: records.to_vec(),
        }
    }

    fn open(&self, window_events: usize) -> Stored {
        let Some(snapshot) = self.snapshots.back() else {
            return self.stored(None, &self.records);
        };
        let window = Seq(self.seq().0.saturating_sub(window_events as u64));
        let start = self.index_after(window.min(snapshot.seq));
        self.stored(Some(snapshot), &self.records[start..])
    }

    fn open_at(&self, at: Seq) -> Stored {
        let snapshot = self.snapshots.iter().rfind(|snapshot| snapshot.seq <= at);
        let start = self.index_after(snapshot.map_or(Seq::ZERO, |snapshot| snapshot.seq));
        let end = self.records.partition_point(|record| record.first_seq <= at);
        self.stored(snapshot, &self.records[start..end.max(start)])
    }

    /// Returns the index of the first record that ends after `seq`.
    fn index_after(&self, seq: Seq) -> usize {
        self.records.partition_point(|record| record.seq() <= seq)
    }

    fn after(&self, after: Seq, max: PageMax) -> Vec<Arc<CommandRecord>> {
        let start = self.index_after(after);
        let records = self.records[start..].iter();
        records
            .take_while(page_filter(max, CommandRecord::wire_events))
            .cloned()
            .collect()
    }

    fn before(&self, before: Seq, max: PageMax) -> Vec<HistoryRecord> {
        let end = self.records.partition_point(|record| record.seq() < before);
        let told = |recorded: &Arc<CommandRecord>| HistoryRecord {
            recorded: Arc::clone(recorded),
            undone: self.undone.contains(&recorded.command_id),
        };
        let records = self.records[..end].iter().rev().take(max.items);
        records.take_while(page_filter(max, |_| 1)).map(told).collect()
    }

    fn find(&self, commands: &[CommandId]) -> Vec<Arc<CommandRecord>> {
        let indices = commands.iter().filter_map(|id| self.by_command.get(id));
        indices.map(|&index| Arc::clone(&self.records[index])).collect()
    }

    fn command_ids(&self, after: Option<CommandId>, ids_max: usize) -> Vec<CommandId> {
        let beyond = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.by_command.range((beyond, Bound::Unbounded));
        ids.map(|(&id, _)| id).take(ids_max).collect()
    }
}

/// Returns a predicate that accepts consecutive records as long as they fit into a page.
fn page_filter(max: PageMax, items_of: impl Fn(&CommandRecord) -> usize) -> impl FnMut(&&Arc<CommandRecord>) -> bool {
    let (mut items, mut bytes) = (0_usize, 0_usize);
    move |record| {
        let first = items == 0;
        items += items_of(record);
        bytes += record.weight_bytes();
        first || (items <= max.items && bytes <= max.bytes)
    }
}

impl EventLog for MemoryLog {
    fn create(&self, header: SessionHeader) -> LogFuture<()> {
        self.ask(move |logs| {
            let session_id = header.session_id;
            if logs.sessions.contains_key(&session_id) {
                return Err(LogError::Exists(session_id));
            }
            let log = Log {
                header,
                records: Vec::new(),
                by_command: BTreeMap::new(),
                undone: BTreeSet::new(),
                node_count: 0,
                snapshots: VecDeque::new(),
            };
            logs.sessions.insert(session_id, log);
            logs.order.push(session_id);
            Ok(())
        })
    }

    fn append(&self, append: Append) {
        let Append {
            session_id,
            expected,
            records,
            node_count,
            done,
        } = append;
        // If the thread has ended, dropping the request drops `done`, which reports an unknown outcome.
        let _ = self.requests.send(Box::new(move |logs: &mut Logs| {
            let log = logs.sessions.get_mut(&session_id).ok_or(AppendError::NoSuchLog);
            done.tell(log.and_then(|log| log.append(expected, records, node_count)));
        }));
    }

    fn open(&self, session_id: SessionId, window_events: usize) -> LogFuture<Option<Stored>> {
        self.ask(move |logs| Ok(logs.sessions.get(&session_id).map(|log| log.open(window_events))))
    }

    fn open_at(&self, session_id: SessionId, at: Seq) -> LogFuture<Option<Stored>> {
        self.ask(move |logs| Ok(logs.sessions.get(&session_id).map(|log| log.open_at(at))))
    }

    fn read(&self, session_id: SessionId, after: Seq, max: PageMax) -> LogFuture<Option<Vec<Arc<CommandRecord>>>> {
        self.ask(move |logs| Ok(logs.sessions.get(&session_id).map(|log| log.after(after, max))))
    }

    fn read_back(&self, session_id: SessionId, before: Seq, max: PageMax) -> LogFuture<Option<Vec<HistoryRecord>>> {
        self.ask(move |logs| {
            let log = logs.sessions.get(&session_id);
            Ok(log.map(|log| log.before(before, max)))
        })
    }

    fn find(&self, session_id: SessionId, commands: Vec<CommandId>) -> LogFuture<Vec<Arc<CommandRecord>>> {
        self.ask(move |logs| {
            let log = logs.sessions.get(&session_id);
            Ok(log.map(|log| log.find(&commands)).unwrap_or_default())
        })
    }

    fn command_ids(
        &self,
        session_id: SessionId,
        after: Option<CommandId>,
        ids_max: usize,
    ) -> LogFuture<Option<Vec<CommandId>>> {
        self.ask(move |logs| {
            let log = logs.sessions.get(&session_id);
            Ok(log.map(|log| log.command_ids(after, ids_max)))
        })
    }

    fn keep_snapshot(&self, session_id: SessionId, snapshot: Snapshot) {
        let _ = self.requests.send(Box::new(move |logs: &mut Logs| {
            let Some(log) = logs.sessions.get_mut(&session_id) else {
                return;
            };
            log.snapshots.push_back(snapshot);
            if log.snapshots.len() > SNAPSHOTS_MAX {
                log.snapshots.pop_front();
            }
        }));
    }

    fn list(&self) -> LogFuture<Vec<StoredHead>> {
        self.ask(|logs| {
            let head = |id| {
                let log = logs.sessions.get(id)?;
                let last = log.records.last();
                Some(StoredHead {
                    header: log.header.clone(),
                    seq: log.seq(),
                    node_count: log.node_count,
                    last_activity: last.map_or(log.header.created_at, |record| record.timestamp),
                })
            };
            Ok(logs.order.iter().filter_map(head).collect())
        })
    }

    fn delete(&self, session_id: SessionId) -> LogFuture<()> {
        self.ask(move |logs| {
            logs.sessions.remove(&session_id);
            logs.order.retain(|&id| id != session_id);
            Ok(())
        })
    }
}
