//! Heads of all sessions in the writer's memory, so that appends need no query.

use std::collections::HashMap;

use talus_actors::domain::ids::{Epoch, Seq, SessionId, Timestamp};

use super::{checksum::HeaderSum, mark::Marked, sessions::SessionRow};

/// Row id and last `seq` of a session, with the values for the checksum of its row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) sid: i64,
    pub(super) seq: Seq,
    pub(super) sum: HeaderSum,
    pub(super) last_activity: Timestamp,
    pub(super) epoch: Epoch,
}

impl From<Head> for Marked {
    fn from(head: Head) -> Self {
        Self {
            epoch: head.epoch,
            seq: head.seq,
        }
    }
}

/// Durable heads, overlaid by the heads of the group in progress. A failed group discards the overlay.
#[derive(Debug, Default)]
pub(super) struct Heads {
    durable: HashMap<SessionId, Head>,
    /// `None` for a session that the group deletes.
    pending: HashMap<SessionId, Option<Head>>,
}

impl Heads {
    pub(super) fn of(rows: &[SessionRow]) -> Self {
        let head = |row: &SessionRow| Head {
            sid: row.sid,
            seq: row.head.seq,
            sum: row.sum,
            last_activity: row.head.last_activity,
            epoch: row.head.header.epoch,
        };
        Self {
            durable: rows.iter().map(|row| (row.head.header.session_id, head(row))).collect(),
            pending: HashMap::new(),
        }
    }

    pub(super) fn get(&self, session_id: SessionId) -> Option<Head> {
        match self.pending.get(&session_id) {
            Some(pending) => *pending,
            None => self.durable.get(&session_id).copied(),
        }
    }

    pub(super) fn set(&mut self, session_id: SessionId, head: Head) {
        self.pending.insert(session_id, Some(head));
    }

    pub(super) fn remove(&mut self, session_id: SessionId) {
        self.pending.insert(session_id, None);
    }

    pub(super) fn len(&self) -> usize {
        self.durable.len()
    }

    /// Returns the durable heads for the head mark.
    pub(super) fn marks(&self) -> impl Iterator<Item = (SessionId, Marked)> {
        self.durable.iter().map(|(&id, &head)| (id, head.into()))
    }

    /// Returns the heads that the group changes; `None` for a deleted session.
    pub(super) fn pending_marks(&self) -> impl Iterator<Item = (SessionId, Option<Marked>)> {
        self.pending.iter().map(|(&id, head)| (id, head.map(Marked::from)))
    }

    /// Makes the heads of the group durable, after its flush.
    pub(super) fn commit(&mut self) {
        for (session_id, head) in self.pending.drain() {
            match head {
                Some(head) => self.durable.insert(session_id, head),
                None => self.durable.remove(&session_id),
            };
        }
    }

    /// Discards the heads of the group, after its failure.
    pub(super) fn roll_back(&mut self) {
        self.pending.clear();
    }
}
