//! Handling of a log that lost acknowledged commands, at the start (P12).

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use talus_actors::{domain::ids::SessionId, random::new_epoch};

use super::{
    mark::Marked,
    reader::ReadError,
    sessions::{AllSessions, SessionRow},
};

/// Counts of what a start found to be lost or damaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Sessions whose log had less than was acknowledged. Each goes on in a new epoch.
    pub sessions: usize,
    /// Acknowledged events that these had lost.
    pub events: u64,
    /// Sessions whose row is damaged. Each is refused.
    pub damaged: usize,
}

/// Reason why a hub does not start on a log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Loss {
    #[error(
        "hub.heads says that there were {sessions} sessions, and there is no hub.sqlite: put it back, restore a backup \
         with `talus-hub restore FILE`, or remove hub.heads to begin anew"
    )]
    Database { sessions: usize },
    #[error(
        "{count} sessions that hub.heads knows of are not in it, {example} among them: it was replaced, or its write-ahead \
         log is lost or damaged. Restore a backup with `talus-hub restore FILE`, or accept the loss with \
         `talus-hub restore` and the path of this file"
    )]
    Sessions { count: usize, example: SessionId },
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<rusqlite::Error> for Loss {
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(error.into())
    }
}

/// Compares a log with the head mark. A session that is behind gets a new epoch, so that no client takes what comes
/// next for what it has seen, and a line, and is counted; sessions that are gone are no log to start on.
pub(super) fn check(
    connection: &mut Connection,
    marks: &BTreeMap<SessionId, Marked>,
    all: &mut AllSessions,
) -> Result<Losses, Loss> {
    let mut losses = Losses {
        damaged: all.damaged.len(),
        ..Losses::default()
    };
    let place: BTreeMap<SessionId, usize> = (0..).zip(&all.rows).map(|(at, row)| (row.id(), at)).collect();
    let mut missing = marks.keys().filter(|id| !place.contains_key(id));
    if let Some(&example) = missing.next() {
        let count = missing.count() + 1;
        return Err(Loss::Sessions { count, example });
    }
    let mut behind = Vec::new();
    for (session_id, marked) in marks {
        let row = &all.rows[place[session_id]];
        // Another epoch means another log, which an operator put in place by hand. A damaged row is quarantined.
        let is_same = row.head.header.epoch == marked.epoch && !all.damaged.contains_key(session_id);
        if is_same && row.head.seq < marked.seq {
            behind.push((place[session_id], marked.seq));
        }
    }
    if behind.is_empty() {
        return Ok(losses);
    }
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for &(at, acknowledged) in &behind {
        let row = &mut all.rows[at];
        let (session_id, was) = (row.id(), row.head.header.epoch);
        row.renew_epoch(&transaction, new_epoch())?;
        losses.sessions += 1;
        losses.events += acknowledged.0 - row.head.seq.0;
        tracing::error!(
            %session_id, acknowledged = acknowledged.0, found = row.head.seq.0, %was, epoch = %row.head.header.epoch,
            "the log has lost acknowledged commands of a session, which goes on in a new epoch"
        );
    }
    transaction.commit()?;
    Ok(losses)
}

/// Gives every session a new epoch, because a restored log differs from the log that clients know.
pub(super) fn renew_all(connection: &mut Connection, rows: &mut [SessionRow]) -> rusqlite::Result<()> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for row in rows {
        row.renew_epoch(&transaction, new_epoch())?;
    }
    transaction.commit()
}

/// Refuses a data directory whose mark names sessions and whose database is missing. Logs a warning if the mark or the
/// database of a used directory is missing.
pub(super) fn check_presence(
    database: &Path,
    is_new: bool,
    was_used: bool,
    marks: Option<&BTreeMap<SessionId, Marked>>,
) -> Result<(), Loss> {
    match marks {
        Some(marks) if is_new && !marks.is_empty() => Err(Loss::Database { sessions: marks.len() }),
        _ => {
            if is_new && was_used {
                tracing::warn!(
                    database = %database.display(),
                    "the directory was used by a hub and has no database: a new one is begun"
                );
            }
            if !is_new && marks.is_none() {
                tracing::warn!("there is no head mark: a loss before this start cannot be noticed");
            }
            Ok(())
        }
    }
}
