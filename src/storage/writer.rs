//! Writer thread of the log: commits queued requests in one transaction, flushes once, and answers each request.

mod request;
mod statements;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, ffi};
use tokio::sync::oneshot;

use self::{
    request::Verdict,
    statements::{Appends, is_taken, purge, write},
};
pub(super) use self::{
    request::{Request, Rows},
    statements::sql,
};
use super::{
    OnFatal, RefusalReason,
    files::{DataLock, Watched, is_full},
    heads::Heads,
    mark::Mark,
    sessions::AllSessions,
};

/// Upper limit of events in a transaction. A larger group makes the flush a smaller part of the work, and a smaller
/// group is answered sooner.
const GROUP_EVENTS_MAX: usize = 1_024;

/// Upper limit of payload bytes in a transaction: 1 MiB.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// Interval between trial writes of a log that refuses, while no request arrives. Also the interval of the file checks.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Meaning of a failed transaction, of which nothing is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The disk is full, or another connection holds the database. A later try may succeed.
    Refused(String),
    /// Unexpected error of this group alone.
    Failed(String),
    /// The disk failed, or the file is damaged. After a failed flush, the kernel's page cache and the disk may differ,
    /// and a second flush could acknowledge data that is not on the disk. The process has to end.
    Fatal(String),
}

impl Failure {
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Refused(text),
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen,
            ) => Self::Fatal(text),
            _ => Self::Failed(text),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Refused(text) | Self::Failed(text) | Self::Fatal(text) => text,
        }
    }
}

/// Returns true for errors of writing, flushing or growing a file, which a full disk may cause.
fn may_be_full(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return false;
    };
    matches!(
        failure.extended_code,
        ffi::SQLITE_IOERR_WRITE
            | ffi::SQLITE_IOERR_FSYNC
            | ffi::SQLITE_IOERR_DIR_FSYNC
            | ffi::SQLITE_IOERR_TRUNCATE
            | ffi::SQLITE_IOERR_SHMSIZE
    )
}

/// Files that the writer maintains beside its connection.
pub(super) struct OpenFiles {
    pub(super) database: PathBuf,
    pub(super) watched: Watched,
    pub(super) mark: Mark,
}

/// State of the [writer thread](self).
pub(super) struct Writer {
    connection: Connection,
    files: OpenFiles,
    requests: mpsc::Receiver<Request>,
    heads: Heads,
    refusal_reason: RefusalReason,
    on_fatal: Option<OnFatal>,
    /// Row ids of deleted sessions that still have rows.
    purging: VecDeque<i64>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        files: OpenFiles,
        requests: mpsc::Receiver<Request>,
        stored: &AllSessions,
        refusal_reason: RefusalReason,
        on_fatal: OnFatal,
    ) -> rusqlite::Result<Self> {
        let heads = Heads::of(&stored.rows);
        // Removals that the last process did not finish are resumed.
        let purging = connection
            .prepare("SELECT sid FROM sessions WHERE ext_id IS NULL")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        // Opening has read the rows of all sessions, and their pages need not stay in memory.
        connection.execute_batch("PRAGMA shrink_memory")?;
        let mut writer = Self {
            connection,
            files,
            requests,
            heads,
            refusal_reason,
            on_fatal: Some(on_fatal),
            purging,
        };
        // Replaces a torn or foreign mark.
        writer.rewrite_mark();
        Ok(writer)
    }

    /// Handles requests until a close request, or until all senders are dropped. Then releases the data directory's
    /// lock.
    pub(super) fn run(mut self, lock: DataLock) {
        loop {
            let Some(first) = self.next() else { break };
            let (group, closing) = self.gather(first);
            if !group.is_empty() {
                self.commit(group);
            }
            self.purge();
            if let Some(reply) = closing {
                self.close();
                drop(lock);
                let _ = reply.send(());
                return;
            }
        }
        self.close();
    }

    /// Returns the next request. While the queue is empty, removes rows of deleted sessions and probes a log that
    /// refuses.
    fn next(&mut self) -> Option<Request> {
        loop {
            let refuses = self.refusal_reason.load().is_some();
            if refuses || self.purging.is_empty() {
                match self.requests.recv_timeout(PROBE_INTERVAL) {
                    Ok(request) => return Some(request),
                    Err(mpsc::RecvTimeoutError::Timeout) if refuses => self.probe(),
                    Err(mpsc::RecvTimeoutError::Timeout) => self.idle(),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                }
            } else {
                match self.requests.try_recv() {
                    Ok(request) => return Some(request),
                    Err(mpsc::TryRecvError::Empty) => self.purge(),
                    Err(mpsc::TryRecvError::Disconnected) => return None,
                }
            }
        }
    }

    /// Collects queued requests up to the limits of a group. Returns the reply channel of a close request that
    /// followed.
    fn gather(&self, first: Request) -> (Vec<Request>, Option<oneshot::Sender<()>>) {
        let (mut group, mut events, mut bytes) = (Vec::new(), 0, 0);
        let mut next = Some(first);
        while let Some(request) = next {
            if let Request::Close(reply) = request {
                return (group, Some(reply));
            }
            let (more_events, more_bytes) = request.weight();
            events += more_events;
            bytes += more_bytes;
            group.push(request);
            let full = events >= GROUP_EVENTS_MAX || bytes >= GROUP_BYTES_MAX;
            next = if full { None } else { self.requests.try_recv().ok() };
        }
        (group, None)
    }

    fn commit(&mut self, group: Vec<Request>) {
        match self.write_durably(&group) {
            Ok(verdicts) => {
                self.recovered();
                for (request, verdict) in group.into_iter().zip(verdicts) {
                    request.answer(verdict);
                }
            }
            Err(failure) => {
                self.heads.roll_back();
                let failure = self.fail(failure);
                for request in group {
                    request.fail(&failure);
                }
            }
        }
    }

    /// Writes and flushes a group, and appends the heads of its sessions to the head mark. Both precede any answer.
    fn write_durably(&mut self, group: &[Request]) -> Result<Vec<Verdict>, Failure> {
        let deletes = self.mark_deletions(group)?;
        let verdicts = match self.write(group) {
            Ok(verdicts) => verdicts,
            Err(error) => {
                if deletes {
                    self.rewrite_mark();
                }
                return Err(self.failure(&error));
            }
        };
        if let Some(change) = self.files.watched.change() {
            return Err(Failure::Fatal(change));
        }
        if let Err(error) = self.files.mark.append(self.heads.pending_marks()) {
            tracing::error!(%error, "the head mark cannot be written: a loss from now on may go unnoticed");
        }
        self.heads.commit();
        if self.files.mark.is_due(self.heads.len()) {
            self.rewrite_mark();
        }
        Ok(verdicts)
    }

    /// Records the deletions of a group in the head mark and flushes the mark, before the log deletes the sessions.
    /// Returns true if the group has deletions.
    fn mark_deletions(&mut self, group: &[Request]) -> Result<bool, Failure> {
        let deleted: Vec<_> = group.iter().filter_map(Request::deletes).map(|id| (id, None)).collect();
        if deleted.is_empty() {
            return Ok(false);
        }
        let OpenFiles { mark, .. } = &mut self.files;
        let marked = if mark.is_broken() {
            mark.rewrite(self.heads.marks())
        } else {
            Ok(())
        };
        let marked = marked
            .and_then(|()| mark.append(deleted.into_iter()))
            .and_then(|()| mark.flush());
        match marked {
            Ok(()) => Ok(true),
            Err(error) => {
                // The log keeps these sessions.
                self.rewrite_mark();
                Err(Failure::Refused(format!("the head mark cannot be written: {error}")))
            }
        }
    }

    fn rewrite_mark(&mut self) {
        if let Err(error) = self.files.mark.rewrite(self.heads.marks()) {
            tracing::error!(%error, "the head mark cannot be written: a loss from now on may go unnoticed");
        }
    }

    /// Checks the files while no request arrives.
    fn idle(&mut self) {
        if let Some(change) = self.files.watched.change() {
            self.fail(Failure::Fatal(change));
        }
    }

    fn write(&mut self, group: &[Request]) -> rusqlite::Result<Vec<Verdict>> {
        match self.try_write(group, Appends::Together) {
            Err(error) if is_taken(&error) => {
                self.heads.roll_back();
                self.try_write(group, Appends::EachByItself)
            }
            written => written,
        }
    }

    fn try_write(&mut self, group: &[Request], appends: Appends) -> rusqlite::Result<Vec<Verdict>> {
        let Self {
            connection,
            heads,
            purging,
            ..
        } = self;
        write(connection, heads, purging, group, appends)
    }

    fn recovered(&self) {
        if self.refusal_reason.load().is_some() {
            tracing::info!("the log can be written again");
            self.refusal_reason.store(None);
        }
    }

    /// Classifies an error of the database. A used-up quota and a limit on the size of files count as full disks, which
    /// SQLite does not distinguish from failing disks.
    fn failure(&self, error: &rusqlite::Error) -> Failure {
        match Failure::of(error) {
            Failure::Fatal(reason) if may_be_full(error) && is_full(&self.files.database) => Failure::Refused(reason),
            failure => failure,
        }
    }

    fn failed(&mut self, error: &rusqlite::Error) -> Failure {
        let failure = self.failure(error);
        self.fail(failure)
    }

    fn fail(&mut self, failure: Failure) -> Failure {
        match &failure {
            Failure::Refused(reason) => {
                if self.refusal_reason.load().is_none() {
                    tracing::error!(%reason, "the log takes nothing: the hub refuses commands until it does");
                }
                self.refusal_reason.store(Some(Arc::new(reason.clone())));
            }
            Failure::Failed(reason) => tracing::error!(%reason, "a group could not be written"),
            Failure::Fatal(reason) => {
                tracing::error!(%reason, "the disk failed");
                self.refusal_reason.store(Some(Arc::new(reason.clone())));
                if let Some(on_fatal) = self.on_fatal.take() {
                    on_fatal(reason);
                }
            }
        }
        failure
    }

    /// Makes a trial write, and ends the refusal if it succeeds. A log whose disk has failed is not probed.
    fn probe(&mut self) {
        if self.on_fatal.is_none() {
            return;
        }
        let probe = "INSERT INTO probes (id, count) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET count = count + 1";
        match self.connection.execute(probe, []) {
            Ok(_) => self.recovered(),
            Err(error) => {
                self.failed(&error);
            }
        }
    }

    /// Removes a batch of rows of a deleted session.
    fn purge(&mut self) {
        let Some(&sid) = self.purging.front() else { return };
        match purge(&mut self.connection, sid) {
            Ok(true) => {
                self.purging.pop_front();
            }
            Ok(false) => {}
            Err(error) => {
                self.failed(&error);
                // No retry in this process: the next start resumes the removal.
                self.purging.pop_front();
            }
        }
    }

    fn close(&mut self) {
        // Durability does not need this checkpoint. It empties the write-ahead log, so that the database is one file.
        let folded = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .optional();
        if let Err(error) = folded {
            tracing::warn!(%error, "the write-ahead log could not be folded in; the next start does it");
        }
    }
}
