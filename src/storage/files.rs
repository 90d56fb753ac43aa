//! The files of a data directory: the database, the lock, copies.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek as _, Write},
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
        match File::open(with_ending(database, ending)) {
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

/// Makes a folder with those that it is in. The names of new ones are flushed: without its folder's name a database that
/// is on the disk would be lost to a power cut (P3).
fn make(folder: &Path) -> io::Result<()> {
    let new: Vec<&Path> = folder.ancestors().take_while(|ancestor| !exists(ancestor)).collect();
    fs::create_dir_all(folder)?;
    new.into_iter().try_for_each(|folder| {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    })
}

/// The empty path stands for where the process is.
fn exists(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.exists()
}

/// The lock in a data directory.
pub(super) fn lock_path(dir: &Path) -> PathBuf {
    dir.join("hub.lock")
}

/// The right to use a data directory: two hubs on one log would each believe to be the only one. Given back when the
/// process ends, however it ends.
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
        // For whoever wonders who has it.
        file.set_len(0).map_err(unusable)?;
        writeln!(file, "{}", std::process::id()).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

/// Device and inode of a file, which another file of the same name does not have.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Existence is all that can be told here.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<(u64, u64)> {
    path.exists().then_some((0, 0))
}

/// The files of an open database. SQLite goes on with a file that was removed or replaced, and what it writes there is gone
/// with the process: before an answer it is made sure that the names still lead to the same files.
pub(super) struct Watched(Vec<(PathBuf, Option<(u64, u64)>)>);

impl Watched {
    pub(super) fn new(database: &Path) -> Self {
        let paths = ["", "-wal"].map(|ending| with_ending(database, ending));
        Self(paths.into_iter().map(|path| (path.clone(), identity(&path))).collect())
    }

    /// The reason to believe that writing has become useless, if there is one.
    pub(super) fn change(&mut self) -> Option<String> {
        for (path, known) in &mut self.0 {
            let now = identity(path);
            if known.is_none() {
                // The write-ahead log begins with the first commit.
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

/// Bytes that [`is_full`] writes.
const TRIAL_BYTES: usize = 64 * 1024;

/// Tells a full disk from a failing one, which SQLite reports alike unless the system says `ENOSPC`: a used-up quota and a
/// limit on the size of files are told by writing, as far into a file as the database is, and flushing.
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

/// A file of a database beside its main one.
pub(super) fn with_ending(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(ending);
    path.into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_with_those_that_it_is_in() {
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
