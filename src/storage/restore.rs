//! Restore of a backup in place of a log.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    OpenError, Options,
    files::{self, DataLock, with_ending},
    losses,
    mark::{self, Mark},
    schema,
    sessions::AllSessions,
    verify::{self, Finding, unusable},
};

/// Reason why a restore was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory, the file or the log in it cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The backup is damaged.
    #[error("{path} is damaged in {count} places, and nothing was changed; the first: {first}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Number of faults.
        count: usize,
        /// First fault.
        first: Finding,
    },
    /// The file is a log without a session, most likely a copy without its `-wal`.
    #[error(
        "{0} holds no session, and nothing was changed. A copy of hub.sqlite without its hub.sqlite-wal looks like this: \
         use `talus-hub backup`"
    )]
    Empty(PathBuf),
    /// A file cannot be written or moved.
    #[error("{path} cannot be used: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// Result of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Number of sessions, each with a new epoch.
    pub sessions: usize,
    /// Number of commands in the sessions.
    pub commands: usize,
    /// Path of the former database; `None` if there was none, or if it was the restored file.
    pub replaced: Option<PathBuf>,
}

/// Restores a log into a data directory. Verifies the log, gives every session a new epoch, because clients know
/// another log, and writes the head mark anew. The former database is kept beside the restored one. If the file is the
/// directory's own database, it stays, with new epochs, and a loss that the head mark shows is accepted.
///
/// # Errors
/// If a hub runs on the directory, or the file is damaged or no log. Then nothing is changed.
pub fn restore(dir: &Path, file: &Path, progress: impl FnMut(usize, usize)) -> Result<Restored, RestoreError> {
    if !file.exists() {
        return Err(verify::missing(file).into());
    }
    let _lock = DataLock::take(dir)?;
    let database = files::database_path(dir);
    let verified = verify::verify_file(file, progress)?;
    if let Some(first) = verified.findings.first() {
        return Err(RestoreError::Damaged {
            path: file.to_owned(),
            count: verified.findings.len(),
            first: first.clone(),
        });
    }
    if verified.sessions == 0 {
        return Err(RestoreError::Empty(file.to_owned()));
    }
    let is_own = fs::canonicalize(&database).is_ok_and(|own| fs::canonicalize(file).is_ok_and(|file| file == own));
    let new = if is_own {
        database.clone()
    } else {
        copy(file, &database)?
    };
    let mut connection = schema::open_for_writing(&new, &Options::default()).map_err(|error| unusable(&new, &error))?;
    let mut stored = AllSessions::read(&connection).map_err(|error| unusable(&new, &error))?;
    losses::renew_all(&mut connection, &mut stored.rows).map_err(|error| unusable(&new, &error))?;
    close(connection).map_err(|error| unusable(&new, &error))?;
    let replaced = if is_own { None } else { swap(&new, &database)? };
    let mark_path = mark::path(dir);
    let mut mark = Mark::new(mark_path.clone());
    mark.rewrite(stored.rows.iter().map(|row| (row.id(), row.marked())))
        .map_err(|error| RestoreError::Io { path: mark_path, error })?;
    Ok(Restored {
        sessions: verified.sessions,
        commands: verified.commands,
        replaced,
    })
}

/// Copies a log with its write-ahead log to a file beside the database.
fn copy(file: &Path, database: &Path) -> Result<PathBuf, RestoreError> {
    let new = database.with_extension("restoring");
    for ending in ["", "-wal", "-shm"] {
        remove(&with_ending(&new, ending))?;
    }
    let connection = schema::open_for_reading(file).map_err(|error| unusable(file, &error))?;
    connection
        .pragma_update(None, "query_only", "OFF")
        .and_then(|()| connection.execute("VACUUM INTO ?1", [new.to_string_lossy()]))
        .map_err(|error| unusable(&new, &error))?;
    Ok(new)
}

/// Runs a checkpoint of the write-ahead log and closes the database, which is one file then.
fn close(connection: Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)
}

/// Replaces the old database, which is kept with its write-ahead log: SQLite would apply an old write-ahead log to the
/// new database. After an interruption, the head mark keeps a hub from starting on the directory.
fn swap(new: &Path, database: &Path) -> Result<Option<PathBuf>, RestoreError> {
    let kept = database.with_extension("replaced");
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| RestoreError::Io { path, error }
    };
    File::open(new).and_then(|file| file.sync_all()).map_err(io(new))?;
    let had_one = database.exists();
    for ending in ["-wal", "-shm", ""] {
        let (old, kept) = (with_ending(database, ending), with_ending(&kept, ending));
        remove(&kept)?;
        if old.exists() {
            fs::rename(&old, &kept).map_err(io(&old))?;
        }
    }
    fs::rename(new, database).map_err(io(new))?;
    for ending in ["-wal", "-shm"] {
        remove(&with_ending(new, ending))?;
    }
    if let Some(dir) = database.parent() {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io(dir))?;
    }
    Ok(had_one.then_some(kept))
}

fn remove(path: &Path) -> Result<(), RestoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RestoreError::Io {
            path: path.to_owned(),
            error,
        }),
        _ => Ok(()),
    }
}
