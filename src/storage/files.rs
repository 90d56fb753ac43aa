//! The files of a data directory: the database, the lock, copies.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use super::OpenError;

/// The database in a data directory.
#[must_use]
pub fn database_path(dir: &Path) -> PathBuf {
    dir.join("hub.sqlite")
}

/// Flushes the files of a database as they are. A hub that was killed between writing a commit and flushing it leaves one
/// that SQLite takes for whole and does not flush: whoever is told of it then could lose it to a power cut (P3).
pub(super) fn flush(database: &Path) -> io::Result<()> {
    for ending in ["", "-wal"] {
        let mut path = database.as_os_str().to_owned();
        path.push(ending);
        match File::open(path) {
            Ok(file) => file.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // Their names are the folder's.
    database
        .parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// The right to use a data directory: two hubs on one log would each believe to be the only one. Given back when the
/// process ends, however it ends.
#[derive(Debug)]
pub(super) struct DataLock {
    _file: File,
}

impl DataLock {
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(dir).map_err(|error| OpenError::Io {
            path: dir.to_owned(),
            error,
        })?;
        let path = dir.join("hub.lock");
        let unusable = |error| OpenError::Io {
            path: path.clone(),
            error,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path }),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        // For whoever wonders who has it.
        file.set_len(0).map_err(unusable)?;
        writeln!(file, "{}", std::process::id()).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is nothing to copy.
    #[error("{0} does not exist")]
    NoDatabase(PathBuf),
    /// A copy must not overwrite anything.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The copy cannot be written, or the database cannot be read.
    #[error("the backup failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// The copy cannot be put on the disk.
    #[error("the backup failed: {0}")]
    Io(#[from] io::Error),
}

/// Copies the database of a data directory to a new file: everything that was acknowledged when it began. A hub may run
/// on it meanwhile; it is neither stopped nor slowed down but for the reading.
///
/// # Errors
/// If there is no database, the file exists, or either cannot be used.
pub fn backup(dir: &Path, target: &Path) -> Result<(), BackupError> {
    let path = database_path(dir);
    if !path.exists() {
        return Err(BackupError::NoDatabase(path));
    }
    if target.exists() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    // Not read-only: a reader of a write-ahead log takes part in its bookkeeping.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags)?;
    connection.busy_timeout(super::schema::BUSY_TIMEOUT)?;
    // Written beside and renamed, so that a backup that was interrupted does not look like one.
    let unfinished = target.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_file(&unfinished)?;
    }
    connection.execute("VACUUM INTO ?1", [unfinished.to_string_lossy()])?;
    File::open(&unfinished)?.sync_all()?;
    fs::rename(&unfinished, target)?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}
