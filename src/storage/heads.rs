//! Where each session's log is, as the writer knows it without asking the database.

use std::collections::HashMap;

use talus_actors::domain::ids::{Seq, SessionId, Timestamp};

use super::{checksum::GenesisSum, sessions::SessionRow};

/// A session's row and its last `seq`, and what the sum of the row is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) sid: i64,
    pub(super) seq: Seq,
    pub(super) sum: GenesisSum,
    pub(super) last_activity: Timestamp,
}

/// The heads that are durable, and over them those of the group that is being written. If the group fails, what was
/// over them is forgotten.
#[derive(Debug, Default)]
pub(super) struct Heads {
    durable: HashMap<SessionId, Head>,
    /// `None`: deleted.
    pending: HashMap<SessionId, Option<Head>>,
}

impl Heads {
    pub(super) fn of(rows: &[SessionRow]) -> Self {
        let head = |row: &SessionRow| Head {
            sid: row.sid,
            seq: row.head.seq,
            sum: row.sum,
            last_activity: row.head.last_activity,
        };
        Self {
            durable: rows
                .iter()
                .map(|row| (row.head.genesis.session_id, head(row)))
                .collect(),
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

    /// The group is on the disk.
    pub(super) fn commit(&mut self) {
        for (session_id, head) in self.pending.drain() {
            match head {
                Some(head) => self.durable.insert(session_id, head),
                None => self.durable.remove(&session_id),
            };
        }
    }

    /// The group is not on the disk.
    pub(super) fn roll_back(&mut self) {
        self.pending.clear();
    }
}
