//! Putting a log in the place of another.

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

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory, the file or the log in it cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file is damaged.
    #[error("{path} is damaged in {count} places, and nothing was changed; the first: {first}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
        /// The first of them.
        first: Finding,
    },
    /// The file is a log without a session: most likely a copy that was made without `-wal`.
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

/// A log that was put in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Sessions, each with a new epoch.
    pub sessions: usize,
    /// Commands in them.
    pub commands: usize,
    /// Where the database is that was there before, if there was one and it was not the same.
    pub replaced: Option<PathBuf>,
}

/// Puts a log in the place of that of a data directory: verifies it, gives every session a new epoch, since clients know
/// another log, and writes the head mark anew. The database that was there is kept beside it. The directory's own database
/// may be the file: it stays, with new epochs, and a loss that its head mark tells of is accepted.
///
/// # Errors
/// If a hub runs on the directory, or the file is damaged or no log. Nothing is changed then.
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

/// Copies a log beside the database, with what its own write-ahead log has.
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

/// Folds the write-ahead log in and closes, so that the database is one file.
fn close(connection: Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)
}

/// Puts the new database in the place of the old one, which is kept with its write-ahead log: an old one beside a new
/// database would be applied to it. Interrupted, it leaves a directory that the head mark has a hub refuse.
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
