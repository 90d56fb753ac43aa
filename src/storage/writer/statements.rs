//! SQL statements of a transaction, by request.

use std::collections::VecDeque;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use talus_actors::domain::{
    ids::{Seq, SessionId},
    session::SessionHeader,
};

use super::request::{Request, Rows, Verdict};
use crate::storage::{
    checksum::{self, HeaderSum},
    codec,
    heads::{Head, Heads},
};

/// Upper limit of rows of a deleted session that are removed in one transaction, between two groups.
const PURGE_ROWS_MAX: i64 = 1_000;

/// Snapshots of a session that are kept: the latest, and the one before it in case the latest is unreadable.
const SNAPSHOTS_MAX: i64 = 2;

/// Sets the flag of a command that is undone or redone, and adjusts the row's checksum if the flag changes. A row
/// without a checksum keeps none.
const TURN: &str = "UPDATE commands SET undone = ?3,
     checksum = CASE undone WHEN ?3 THEN checksum ELSE (checksum | ?4) - (checksum & ?4) END
     WHERE sid = ?1 AND command_id = ?2";

/// Handling of an append that violates a constraint.
#[derive(Clone, Copy)]
pub(super) enum Appends {
    /// The whole transaction fails. The heads in memory reject conflicts beforehand, so that a violation means that
    /// another process wrote to the file. This mode saves the savepoint of each append.
    Together,
    /// Only the append is rolled back, to its savepoint.
    EachByItself,
}

/// Returns true if a command or its `seq` is in the database already, because another process wrote to the file.
pub(super) fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

/// Writes a group in one transaction, which is flushed when the function returns.
pub(super) fn write(
    connection: &mut Connection,
    heads: &mut Heads,
    purging: &mut VecDeque<i64>,
    group: &[Request],
    appends: Appends,
) -> rusqlite::Result<Vec<Verdict>> {
    let mut transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let mut verdicts = Vec::with_capacity(group.len());
    let mut deleted = Vec::new();
    for request in group {
        verdicts.push(match request {
            Request::Create(header, _) => create(&transaction, heads, header)?,
            Request::Append(rows) => append(&mut transaction, heads, rows, appends)?,
            Request::Snapshot {
                session_id,
                seq,
                data,
                checksum,
            } => snapshot(&transaction, heads, *session_id, *seq, (data, *checksum))?,
            Request::Delete(session_id, _) => {
                if let Some(head) = heads.get(*session_id) {
                    transaction
                        .prepare_cached("UPDATE sessions SET ext_id = NULL WHERE sid = ?1")?
                        .execute([head.sid])?;
                    heads.remove(*session_id);
                    deleted.push(head.sid);
                }
                Verdict::Done
            }
            Request::Close(_) => Verdict::Done,
        });
    }
    transaction.commit()?;
    purging.extend(deleted);
    Ok(verdicts)
}

fn create(transaction: &Transaction<'_>, heads: &mut Heads, header: &SessionHeader) -> rusqlite::Result<Verdict> {
    if heads.get(header.session_id).is_some() {
        return Ok(Verdict::Exists);
    }
    let payload = codec::encode_header(header).map_err(unencodable)?;
    let (ext_id, created_ms) = (header.session_id.to_string(), header.created_at.0);
    let sum = HeaderSum::of(&ext_id, created_ms, codec::SCHEMA_VERSION, &payload);
    transaction
        .prepare_cached(
            "INSERT INTO sessions
             (ext_id, head_seq, node_count, created_ms, last_activity_ms, schema_version, genesis, checksum)
             VALUES (?1, 0, 0, ?2, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            ext_id,
            created_ms,
            codec::SCHEMA_VERSION,
            payload,
            sum.of_row(0, 0, created_ms)
        ])?;
    let head = Head {
        sid: transaction.last_insert_rowid(),
        seq: Seq::ZERO,
        sum,
        last_activity: header.created_at,
        epoch: header.epoch,
    };
    heads.set(header.session_id, head);
    Ok(Verdict::Done)
}

/// Inserts all rows of an append, or none if the append does not follow the session's head.
fn append(
    transaction: &mut Transaction<'_>,
    heads: &mut Heads,
    rows: &Rows,
    appends: Appends,
) -> rusqlite::Result<Verdict> {
    let Some(head) = heads.get(rows.session_id) else {
        return Ok(Verdict::NoSuchLog);
    };
    let actual = head.seq;
    let expected = rows.expected;
    let conflict = Verdict::Conflict { expected, actual };
    let follows = rows
        .rows
        .iter()
        .try_fold(expected, |seq, row| (row.first_seq == seq.plus(1)).then_some(row.seq));
    let Some(seq) = follows.filter(|_| expected == actual) else {
        return Ok(conflict);
    };
    let head = Head {
        seq,
        last_activity: rows.last_activity.unwrap_or(head.last_activity),
        ..head
    };
    match appends {
        Appends::Together => insert(transaction, &head, rows)?,
        Appends::EachByItself => {
            let savepoint = transaction.savepoint()?;
            match insert(&savepoint, &head, rows) {
                Ok(()) => savepoint.commit()?,
                // The savepoint is rolled back, and the rest of the group is kept.
                Err(error) if is_taken(&error) => return Ok(conflict),
                Err(error) => return Err(error),
            }
        }
    }
    heads.set(rows.session_id, head);
    Ok(Verdict::Done)
}

fn insert(connection: &Connection, head: &Head, rows: &Rows) -> rusqlite::Result<()> {
    let sid = head.sid;
    let mut statement = connection.prepare_cached(
        "INSERT INTO commands (sid, first_seq, seq, command_id, schema_version, payload, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for row in &rows.rows {
        statement.execute(params![
            sid,
            sql(row.first_seq),
            sql(row.seq),
            row.command_id.uuid().as_bytes(),
            codec::SCHEMA_VERSION,
            row.payload,
            row.checksum
        ])?;
        if let Some((command_id, undone)) = row.turns {
            connection.prepare_cached(TURN)?.execute(params![
                sid,
                command_id.uuid().as_bytes(),
                undone,
                checksum::UNDONE_MASK
            ])?;
        }
    }
    let node_count = i64::try_from(rows.node_count).unwrap_or(i64::MAX);
    let (head_seq, last_activity) = (sql(head.seq), head.last_activity.0);
    connection
        .prepare_cached(
            "UPDATE sessions SET head_seq = ?2, node_count = ?3, last_activity_ms = ?4, schema_version = ?5, checksum = ?6
             WHERE sid = ?1",
        )?
        .execute(params![
            sid,
            head_seq,
            node_count,
            last_activity,
            codec::SCHEMA_VERSION,
            head.sum.of_row(head_seq, node_count, last_activity)
        ])?;
    Ok(())
}

fn snapshot(
    transaction: &Transaction<'_>,
    heads: &Heads,
    session_id: SessionId,
    seq: Seq,
    (data, checksum): (&[u8], i64),
) -> rusqlite::Result<Verdict> {
    // A snapshot shows durable records only. A session that was deleted meanwhile needs none.
    let Some(head) = heads.get(session_id).filter(|head| seq <= head.seq) else {
        return Ok(Verdict::NoSuchLog);
    };
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO snapshots (sid, seq, format, data, checksum) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![head.sid, sql(seq), codec::SNAPSHOT_FORMAT, data, checksum])?;
    transaction
        .prepare_cached(
            "DELETE FROM snapshots WHERE sid = ?1 AND seq NOT IN
             (SELECT seq FROM snapshots WHERE sid = ?1 ORDER BY seq DESC LIMIT ?2)",
        )?
        .execute(params![head.sid, SNAPSHOTS_MAX])?;
    Ok(Verdict::Done)
}

/// Removes a batch of rows of a deleted session. Returns true after the last batch.
pub(super) fn purge(connection: &mut Connection, sid: i64) -> rusqlite::Result<bool> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    transaction
        .prepare_cached("DELETE FROM snapshots WHERE sid = ?1")?
        .execute([sid])?;
    let removed = transaction
        .prepare_cached("DELETE FROM commands WHERE pos IN (SELECT pos FROM commands WHERE sid = ?1 LIMIT ?2)")?
        .execute([sid, PURGE_ROWS_MAX])?;
    let last = i64::try_from(removed).unwrap_or(i64::MAX) < PURGE_ROWS_MAX;
    if last {
        transaction
            .prepare_cached("DELETE FROM sessions WHERE sid = ?1")?
            .execute([sid])?;
    }
    transaction.commit()?;
    Ok(last)
}

/// Converts a `seq` to SQLite's signed integer. No session reaches 2⁶³ events.
pub(in crate::storage) fn sql(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

fn unencodable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
