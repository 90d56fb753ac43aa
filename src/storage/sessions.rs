//! Rows of `sessions`, with the checks of a read.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use talus_actors::{
    domain::{
        ids::{Epoch, Seq, SessionId, Timestamp},
        session::SessionHeader,
    },
    log::{LogError, StoredHead},
};

use super::{
    checksum::HeaderSum,
    codec::{self, CHECKED_VERSION},
    mark::Marked,
    reader::{ReadError, unreadable},
    writer::sql,
};

/// Columns for [`SessionRow::read`], in its order.
const COLUMNS: &str =
    "sid, ext_id, head_seq, node_count, created_ms, last_activity_ms, schema_version, genesis, checksum";

/// Row of a session that passed its checks.
pub(super) struct SessionRow {
    pub(super) sid: i64,
    pub(super) head: StoredHead,
    /// Checksum of the columns that an append does not change.
    pub(super) sum: HeaderSum,
}

impl SessionRow {
    pub(super) const fn id(&self) -> SessionId {
        self.head.header.session_id
    }

    /// Returns the session's entry of the head mark.
    pub(super) const fn marked(&self) -> Marked {
        Marked {
            epoch: self.head.header.epoch,
            seq: self.head.seq,
        }
    }

    /// Gives the session a new epoch.
    pub(super) fn renew_epoch(&mut self, connection: &Connection, epoch: Epoch) -> rusqlite::Result<()> {
        let header = &mut self.head.header;
        header.epoch = epoch;
        let text =
            codec::encode_header(header).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let version = codec::SCHEMA_VERSION;
        self.sum = HeaderSum::of(&header.session_id.to_string(), header.created_at.0, version, &text);
        let (head_seq, last_activity) = (sql(self.head.seq), self.head.last_activity.0);
        let node_count = i64::try_from(self.head.node_count).unwrap_or(i64::MAX);
        connection
            .prepare_cached("UPDATE sessions SET genesis = ?2, schema_version = ?3, checksum = ?4 WHERE sid = ?1")?
            .execute(params![
                self.sid,
                text,
                version,
                self.sum.of_row(head_seq, node_count, last_activity)
            ])?;
        Ok(())
    }

    /// Reads the row of a session, if there is one.
    pub(super) fn find(connection: &Connection, session_id: SessionId) -> Result<Option<Self>, ReadError> {
        let query = format!("SELECT {COLUMNS} FROM sessions WHERE ext_id = ?1");
        let mut statement = connection.prepare_cached(&query)?;
        let mut rows = statement.query([session_id.to_string()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let found = Self::read(row)?;
        if found.head.header.session_id == session_id {
            return Ok(Some(found));
        }
        Err(damaged(session_id).into())
    }

    fn read(row: &Row<'_>) -> Result<Self, ReadError> {
        let text = |column| {
            row.get_ref(column)?
                .as_str()
                .map_err(|error| ReadError::from(unreadable(error)))
        };
        let (ext_id, header_text) = (text(1)?, text(7)?);
        let (head_seq, node_count): (i64, i64) = (row.get(2)?, row.get(3)?);
        let (created_ms, last_activity_ms): (i64, i64) = (row.get(4)?, row.get(5)?);
        let (version, checksum): (i64, Option<i64>) = (row.get(6)?, row.get(8)?);
        let sum = HeaderSum::of(ext_id, created_ms, version, header_text);
        let is_sound = match checksum {
            Some(checksum) => checksum == sum.of_row(head_seq, node_count, last_activity_ms),
            None => version < CHECKED_VERSION,
        };
        let header = codec::decode_header(version, header_text)?;
        if !is_sound || header.session_id.to_string() != ext_id {
            return Err(damaged(header.session_id).into());
        }
        Ok(Self {
            sid: row.get(0)?,
            head: StoredHead {
                header,
                seq: seq(head_seq),
                node_count: usize::try_from(node_count).unwrap_or_default(),
                last_activity: Timestamp(last_activity_ms),
            },
            // The next append writes the row in this version.
            sum: HeaderSum::of(ext_id, created_ms, codec::SCHEMA_VERSION, header_text),
        })
    }
}

/// All sessions in the order of their creation. A damaged row is listed with its readable columns, so that its session
/// is known and refused rather than missing. The damage is listed by session id.
#[derive(Default)]
pub(super) struct AllSessions {
    pub(super) rows: Vec<SessionRow>,
    pub(super) damaged: BTreeMap<SessionId, String>,
}

impl AllSessions {
    pub(super) fn read(connection: &Connection) -> Result<Self, ReadError> {
        let query = format!("SELECT {COLUMNS} FROM sessions WHERE ext_id IS NOT NULL ORDER BY sid");
        let mut statement = connection.prepare(&query)?;
        let mut rows = statement.query([])?;
        let mut all = Self::default();
        while let Some(row) = rows.next()? {
            match SessionRow::read(row) {
                Ok(row) => all.rows.push(row),
                Err(error @ ReadError::Sqlite(rusqlite::Error::SqliteFailure(..))) => return Err(error),
                Err(error) => {
                    let error = LogError::from(error);
                    let Some(salvaged) = salvage(row) else {
                        return Err(error.into());
                    };
                    let session_id = salvaged.head.header.session_id;
                    tracing::error!(%session_id, %error, "the row of a session is damaged");
                    all.damaged.insert(session_id, error.to_string());
                    all.rows.push(salvaged);
                }
            }
        }
        Ok(all)
    }
}

/// Recovers the readable columns of a damaged row, the id at least.
fn salvage(row: &Row<'_>) -> Option<SessionRow> {
    let header_text: String = row.get(7).unwrap_or_default();
    let header = codec::decode_header(codec::SCHEMA_VERSION, &header_text).ok();
    let ext_id: Option<SessionId> = row.get::<_, String>(1).ok().and_then(|text| text.parse().ok());
    let number = |column| row.get::<_, i64>(column).unwrap_or_default();
    let (head_seq, node_count, created_ms, last_activity_ms) = (number(2), number(3), number(4), number(5));
    let checksum: Option<i64> = row.get(8).ok();
    let sum_with = |id: SessionId| {
        let sum = HeaderSum::of(&id.to_string(), created_ms, number(6), &header_text);
        Some(sum.of_row(head_seq, node_count, last_activity_ms)) == checksum
    };
    // Of two different ids, the checksum matches the id that was written.
    let in_header = header.as_ref().map(|header| header.session_id);
    let session_id = in_header.filter(|&id| sum_with(id)).or(ext_id).or(in_header)?;
    let unknown = SessionHeader {
        session_id,
        epoch: Epoch::new(0),
        created_at: Timestamp(created_ms),
        project: None,
    };
    let header = header.map_or(unknown, |header| SessionHeader { session_id, ..header });
    Some(SessionRow {
        sid: row.get(0).ok()?,
        head: StoredHead {
            header,
            seq: seq(head_seq),
            node_count: usize::try_from(node_count).unwrap_or_default(),
            last_activity: Timestamp(last_activity_ms),
        },
        sum: HeaderSum::of(&session_id.to_string(), created_ms, codec::SCHEMA_VERSION, &header_text),
    })
}

fn damaged(session_id: SessionId) -> LogError {
    LogError::Corrupt(format!("the row of session {session_id} does not match its checksum"))
}

fn seq(number: i64) -> Seq {
    Seq(u64::try_from(number).unwrap_or_default())
}

/// Rebuilds the index of session ids if it contradicts the table, whose rows have checksums. With a wrong index a
/// session would be listed and could not be found.
pub(super) fn mend_index(connection: &Connection) -> rusqlite::Result<()> {
    let verdict: String = connection.query_row("PRAGMA integrity_check(sessions)", [], |row| row.get(0))?;
    if verdict != "ok" {
        tracing::error!(%verdict, "the table of sessions or its index is damaged; the index is made anew");
        connection.execute_batch("REINDEX sessions")?;
    }
    Ok(())
}
