//! Tables, migrations and settings of connections.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::Options;

/// Time that a connection waits for a lock of another connection: a backup, or an operator's `sqlite3`.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Migrations of the schema, each from the version of its index to the next. Released migrations never change.
const MIGRATIONS: &[&str] = &[
    // Payloads are JSON text, which any tool can read. A row is a command with all its changes: atomic, and in the
    // order of `pos` over all sessions. The two unique indexes are the last defence against a second writer and against
    // a command that is applied twice. Clustering rows by session instead would write four times as much.
    "CREATE TABLE sessions (
         sid INTEGER PRIMARY KEY,
         ext_id TEXT UNIQUE,             -- NULL: deleted, its rows are on their way out
         head_seq INTEGER NOT NULL,
         node_count INTEGER NOT NULL,
         created_ms INTEGER NOT NULL,
         last_activity_ms INTEGER NOT NULL,
         schema_version INTEGER NOT NULL,
         genesis TEXT NOT NULL
     ) STRICT;
     CREATE TABLE commands (
         pos INTEGER PRIMARY KEY,
         sid INTEGER NOT NULL REFERENCES sessions (sid),
         first_seq INTEGER NOT NULL,
         seq INTEGER NOT NULL,
         command_id BLOB NOT NULL,       -- 16 bytes
         undone INTEGER NOT NULL DEFAULT 0,
         schema_version INTEGER NOT NULL,
         payload TEXT NOT NULL
     ) STRICT;
     CREATE UNIQUE INDEX commands_by_seq ON commands (sid, seq);
     CREATE UNIQUE INDEX commands_by_id ON commands (sid, command_id);
     CREATE TABLE snapshots (
         sid INTEGER NOT NULL REFERENCES sessions (sid),
         seq INTEGER NOT NULL,
         format INTEGER NOT NULL,
         data BLOB NOT NULL,
         PRIMARY KEY (sid, seq)
     ) STRICT;
     CREATE TABLE probes (id INTEGER PRIMARY KEY, count INTEGER NOT NULL) STRICT;",
    // Adds checksums. Existing rows have none, which their schema_version or format indicates. They are not rewritten,
    // so that a large database migrates as fast as a small one.
    "ALTER TABLE sessions ADD COLUMN checksum INTEGER;
     ALTER TABLE commands ADD COLUMN checksum INTEGER;
     ALTER TABLE snapshots ADD COLUMN checksum INTEGER;",
];

/// Reason why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SchemaError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("pragma {pragma} is {found:?} and cannot be set to {wanted:?}")]
    Pragma {
        pragma: &'static str,
        wanted: &'static str,
        found: String,
    },
    #[error("it has version {found} of the schema, and this hub knows up to {known}: start a newer hub")]
    TooNew { found: u32, known: usize },
}

/// Pragmas of the writer's connection: name, value, and the value that a query returns. Each is queried after it is
/// set, so that a build or a file system that ignores a pragma is detected.
const WRITER_PRAGMAS: &[(&str, &str, &str)] = &[
    ("journal_mode", "WAL", "wal"),
    // 2: the write-ahead log is flushed before a commit is acknowledged. With NORMAL a power cut loses commits.
    ("synchronous", "FULL", "2"),
    ("wal_autocheckpoint", "4000", "4000"),
    ("journal_size_limit", "268435456", "268435456"),
    ("cache_size", "-32768", "-32768"),
    ("temp_store", "MEMORY", "2"),
    ("foreign_keys", "ON", "1"),
];

/// Opens the database, makes or migrates its tables.
pub(super) fn open_for_writing(path: &Path, options: &Options) -> Result<Connection, SchemaError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    for (pragma, value, answer) in WRITER_PRAGMAS {
        set_pragma(&connection, pragma, value, answer)?;
    }
    if let Some(pages) = options.pages_max {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    migrate(&mut connection)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Opens the database for queries only.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, SchemaError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    set_pragma(&connection, "query_only", "ON", "1")?;
    Ok(connection)
}

fn set_pragma(
    connection: &Connection,
    pragma: &'static str,
    value: &'static str,
    answer: &'static str,
) -> Result<(), SchemaError> {
    // Some pragmas return the new value and some return nothing. A query returns the value of each.
    connection.pragma_update(None, pragma, value)?;
    let found: String = connection.pragma_query_value(None, pragma, |row| {
        row.get::<_, String>(0)
            .or_else(|_| row.get::<_, i64>(0).map(|number| number.to_string()))
    })?;
    if found == answer {
        Ok(())
    } else {
        Err(SchemaError::Pragma {
            pragma,
            wanted: value,
            found,
        })
    }
}

fn migrate(connection: &mut Connection) -> Result<(), SchemaError> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let steps = MIGRATIONS.get(found as usize..);
    let Some(steps) = steps else {
        let known = MIGRATIONS.len();
        return Err(SchemaError::TooNew { found, known });
    };
    for (step, version) in steps.iter().zip(found + 1..) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.commit()?;
    Ok(())
}
