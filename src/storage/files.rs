//! Files of a data directory: database, lock, backups.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek as _, Write},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use super::OpenError;

/// Returns the path of the database in a data directory.
#[must_use]
pub fn database_path(dir: &Path) -> PathBuf {
    dir.join("hub.sqlite")
}

/// Flushes the files of a database. A hub that was killed between writing a commit and flushing it leaves a commit that
/// SQLite reads as whole and does not flush. Without this flush, a power cut could lose the commit after a client has
/// seen it (P3).
pub(super) fn flush(database: &Path) -> io::Result<()> {
    for ending in ["", "-wal"] {
        match File::open(with_ending(database, ending)) {
            Ok(file) => file.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // The names of the files are entries of the folder.
    database
        .parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Creates a folder with its ancestors, and flushes the entries of new folders. A power cut could otherwise lose the
/// folder of a database, and with it the database (P3).
fn make(folder: &Path) -> io::Result<()> {
    let new: Vec<&Path> = folder.ancestors().take_while(|ancestor| !exists(ancestor)).collect();
    fs::create_dir_all(folder)?;
    new.into_iter().try_for_each(|folder| {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    })
}

/// Returns true if a path exists. The empty path is the working directory.
fn exists(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.exists()
}

/// Returns the path of the lock in a data directory.
pub(super) fn lock_path(dir: &Path) -> PathBuf {
    dir.join("hub.lock")
}

/// Exclusive lock of a data directory, which keeps a second hub from the log. The system releases the lock when the
/// process ends.
#[derive(Debug)]
pub(super) struct DataLock {
    _file: File,
}

impl DataLock {
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        make(dir).map_err(|error| OpenError::Io {
            path: dir.to_owned(),
            error,
        })?;
        let path = lock_path(dir);
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
        // Tells an operator which process holds the lock.
        file.set_len(0).map_err(unusable)?;
        writeln!(file, "{}", std::process::id()).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

/// Returns device and inode of a file, which differ for another file of the same name.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Returns equal values for all existing files, because this system has no identity of files.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<(u64, u64)> {
    path.exists().then_some((0, 0))
}

/// Identities of the files of an open database. SQLite continues to write to a file that was removed or replaced, and
/// those writes are lost when the process ends. Therefore the identities are compared before each answer.
pub(super) struct Watched(Vec<(PathBuf, Option<(u64, u64)>)>);

impl Watched {
    pub(super) fn new(database: &Path) -> Self {
        let paths = ["", "-wal"].map(|ending| with_ending(database, ending));
        Self(paths.into_iter().map(|path| (path.clone(), identity(&path))).collect())
    }

    /// Returns a description of a removed or replaced file; `None` if the files are unchanged.
    pub(super) fn change(&mut self) -> Option<String> {
        for (path, known) in &mut self.0 {
            let now = identity(path);
            if known.is_none() {
                // SQLite creates the write-ahead log with the first commit.
                *known = now;
            }
            if *known != now {
                let what = if now.is_none() { "removed" } else { "replaced" };
                return Some(format!("{} was {what} while the hub runs", path.display()));
            }
        }
        None
    }
}

/// Bytes of the trial write of [`is_full`]: 64 KiB.
const TRIAL_BYTES: usize = 64 * 1024;

/// Returns true if the disk is full rather than failing. SQLite reports both alike unless the system returns `ENOSPC`.
/// A trial write at the offset of the database's size, with a flush, finds a used-up quota and a limit on the size of
/// files.
pub(super) fn is_full(database: &Path) -> bool {
    let length = |ending| fs::metadata(with_ending(database, ending)).map_or(0, |metadata| metadata.len());
    let trial = database.with_extension("trial");
    let written = write_trial(&trial, length("").max(length("-wal")));
    let _ = fs::remove_file(&trial);
    matches!(
        written.map_err(|error| error.kind()),
        Err(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
    )
}

fn write_trial(path: &Path, at: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.seek(io::SeekFrom::Start(at))?;
    file.write_all(&[1; TRIAL_BYTES])?;
    file.sync_all()
}

/// Returns the path of a file that SQLite keeps beside the database.
pub(super) fn with_ending(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Reason why a backup failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data directory has no database.
    #[error("{0} does not exist")]
    NoDatabase(PathBuf),
    /// The target exists. A backup overwrites nothing.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The copy cannot be written, or the database cannot be read.
    #[error("the backup failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// The backup cannot be flushed or renamed.
    #[error("the backup failed: {0}")]
    Io(#[from] io::Error),
}

/// Copies the database of a data directory to a new file, with all records that were acknowledged when the copy began.
/// A hub may run on the directory meanwhile, and only the reading slows it down.
///
/// # Errors
/// If there is no database, the target exists, or one of the files cannot be used.
pub fn backup(dir: &Path, target: &Path) -> Result<(), BackupError> {
    let path = database_path(dir);
    if !path.exists() {
        return Err(BackupError::NoDatabase(path));
    }
    if target.exists() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    // Not read-only, because readers of a write-ahead log write to its shared index.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags)?;
    connection.busy_timeout(super::schema::BUSY_TIMEOUT)?;
    // Renamed after the flush, so that an interrupted copy does not look like a backup.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_is_created_with_its_ancestors() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let deep = dir.path().join("a/b/../b/c");
        make(&deep).expect("it can be made");
        make(&deep).expect("it is there");
        assert!(dir.path().join("a/b/c").is_dir());
        make(Path::new("src")).expect("a relative one");
        fs::write(dir.path().join("file"), "").expect("a file");
        make(&dir.path().join("file/below")).expect_err("a file is no folder");
    }
}
