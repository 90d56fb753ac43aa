//! Where each session's log is, as the writer knows it without asking the database.

use std::collections::HashMap;

use rusqlite::Connection;
use talus_actors::domain::ids::{Seq, SessionId};

/// A session's row and its last `seq`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) sid: i64,
    pub(super) seq: Seq,
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
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement =
            connection.prepare("SELECT ext_id, sid, head_seq FROM sessions WHERE ext_id IS NOT NULL")?;
        let rows = statement.query_map([], |row| {
            let (ext_id, sid, head_seq): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((ext_id, sid, Seq(u64::try_from(head_seq).unwrap_or_default())))
        })?;
        let mut durable = HashMap::new();
        for row in rows {
            let (ext_id, sid, seq) = row?;
            // A name that is no id was not written by a hub.
            if let Ok(session_id) = ext_id.parse() {
                durable.insert(session_id, Head { sid, seq });
            }
        }
        Ok(Self {
            durable,
            pending: HashMap::new(),
        })
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
