//! Project files on disk: one JSON file each, named after the project's id.
//!
//! A file is replaced atomically: written to a temporary file, flushed to the disk, renamed over the old file. A crash
//! at any time leaves the old file or the new file.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use talus_actors::domain::ids::ProjectId;

/// Prefix of temporary files. No project's id begins with a dot.
const TEMP_PREFIX: &str = ".unfinished-";

/// Directory of project files. Its functions block, so they run on a blocking thread.
#[derive(Debug, Clone)]
pub struct ProjectStore {
    dir: PathBuf,
    file_bytes_max: usize,
}

/// Reason why a project file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The project has no file.
    #[error("the project file does not exist")]
    NotFound,
    /// The file is larger than the limit.
    #[error("the project file is larger than {max} bytes")]
    TooLarge {
        /// Limit in bytes, from `projects.file_bytes_max`.
        max: usize,
    },
    /// The system refuses to open or read the file.
    #[error("the project file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reason why a project file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file would be larger than the limit, so it could not be opened again.
    #[error("the project file would be larger than {max} bytes")]
    TooLarge {
        /// Limit in bytes, from `projects.file_bytes_max`.
        max: usize,
    },
    /// The disk refuses the write.
    #[error("the project file cannot be written: {0}")]
    Io(#[from] io::Error),
}

impl ProjectStore {
    /// Opens a directory, creates it if it is missing, and removes temporary files left by a crash.
    ///
    /// # Errors
    /// Returns an error that names the path if the directory cannot be used.
    pub fn open(dir: PathBuf, file_bytes_max: usize) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{} cannot be used: {error}", dir.display()));
        fs::create_dir_all(&dir).map_err(named)?;
        for entry in fs::read_dir(&dir).map_err(named)? {
            let path = entry.map_err(named)?.path();
            if path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(TEMP_PREFIX))
            {
                fs::remove_file(path).map_err(named)?;
            }
        }
        // A test write reports a directory without write permission at the start, and not at the first save.
        tempfile::Builder::new()
            .prefix(TEMP_PREFIX)
            .tempfile_in(&dir)
            .map_err(named)?;
        Ok(Self { dir, file_bytes_max })
    }

    /// Writes a project's file and returns its name. The file is on the disk when the function returns.
    ///
    /// # Errors
    /// Returns an error if the file is too large to be read again, or if the disk refuses. The old file remains in both
    /// cases.
    pub fn write(&self, project_id: &ProjectId, bytes: &[u8]) -> Result<String, WriteError> {
        let max = self.file_bytes_max;
        if bytes.len() > max {
            return Err(WriteError::TooLarge { max });
        }
        let name = file_name(project_id);
        let mut file = tempfile::Builder::new().prefix(TEMP_PREFIX).tempfile_in(&self.dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(self.dir.join(&name)).map_err(io::Error::from)?;
        self.sync_dir()?;
        Ok(name)
    }

    /// Reads a project's file.
    ///
    /// # Errors
    /// Returns an error if the file does not exist, is too large, or cannot be read.
    pub fn read(&self, project_id: &ProjectId) -> Result<Vec<u8>, ReadError> {
        let path = self.path(project_id);
        // Opening a pipe would block until a process writes to it, and a directory opens but cannot be read.
        if !is_file(&path) {
            return Err(ReadError::NotFound);
        }
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::NotFound,
            io::ErrorKind::PermissionDenied => {
                tracing::warn!(path = %path.display(), %error, "a project file without read permission is skipped");
                ReadError::NotFound
            }
            _ => ReadError::Io(error),
        })?;
        let max = self.file_bytes_max;
        let mut bytes = Vec::new();
        file.take(max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > max {
            Err(ReadError::TooLarge { max })
        } else {
            Ok(bytes)
        }
    }

    /// Returns true if a project has a file, or if another entry (a directory, a pipe) has the name of its file.
    #[must_use]
    pub fn exists(&self, project_id: &ProjectId) -> bool {
        self.path(project_id).symlink_metadata().is_ok()
    }

    /// Lists the projects that have files, in ascending order. Files whose name is not a project's id are skipped;
    /// files of the predecessor may have to be renamed. Entries that are not files (a directory, a pipe, a dangling
    /// link) are skipped too.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<ProjectId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if !is_file(&entry.path()) {
                continue;
            }
            let name = entry.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".json"));
            ids.extend(stem.and_then(|stem| stem.parse::<ProjectId>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes a project's file. Returns false if the project has no file.
    ///
    /// # Errors
    /// Returns an error if the disk refuses.
    pub fn remove(&self, project_id: &ProjectId) -> io::Result<bool> {
        let path = self.path(project_id);
        if !is_file(&path) {
            return Ok(false);
        }
        match fs::remove_file(path) {
            Ok(()) => self.sync_dir().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn path(&self, project_id: &ProjectId) -> PathBuf {
        self.dir.join(file_name(project_id))
    }

    /// Flushes the directory: a new name is durable only after its directory is flushed.
    fn sync_dir(&self) -> io::Result<()> {
        File::open(Path::new(&self.dir))?.sync_all()
    }
}

/// Returns true if a path leads to a regular file, over links too.
fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn file_name(project_id: &ProjectId) -> String {
    format!("{project_id}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ProjectId {
        text.parse().expect(text)
    }

    #[test]
    fn project_store_writes_reads_lists_and_removes() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = ProjectStore::open(dir.path().join("new/projects"), 10).expect("made");
        assert_eq!(store.write(&id("b"), b"12345").expect("written"), "b.json");
        store.write(&id("a"), b"1").expect("written");
        store.write(&id("a"), b"22").expect("replaced");
        assert_eq!(store.read(&id("a")).expect("there"), b"22");
        fs::write(dir.path().join("new/projects/Not A Slug.json"), "{}").expect("writes");
        assert_eq!(store.list().expect("readable"), [id("a"), id("b")]);
        assert!(store.exists(&id("a")) && !store.exists(&id("c")));
        assert!(store.remove(&id("a")).expect("removed") && !store.remove(&id("a")).expect("gone already"));
        assert!(matches!(store.read(&id("a")), Err(ReadError::NotFound)));
        let refused = store.write(&id("b"), &[0; 11]);
        assert!(matches!(refused, Err(WriteError::TooLarge { max: 10 })));
        assert_eq!(store.read(&id("b")).expect("the old one"), b"12345");
        fs::write(dir.path().join("new/projects/b.json"), [0; 11]).expect("writes");
        assert!(matches!(store.read(&id("b")), Err(ReadError::TooLarge { max: 10 })));
    }

    /// P9: an entry that is not a file fails no list, blocks no reader, and cannot be read.
    #[cfg(unix)]
    #[test]
    fn project_store_skips_entries_that_are_not_files() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = ProjectStore::open(dir.path().to_owned(), 10).expect("opens");
        store.write(&id("good"), b"{}").expect("written");
        fs::create_dir(dir.path().join("folder.json")).expect("made");
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling.json")).expect("made");
        std::os::unix::fs::symlink("good.json", dir.path().join("linked.json")).expect("made");
        std::os::unix::net::UnixListener::bind(dir.path().join("socket.json")).expect("made");
        let pipe = std::process::Command::new("mkfifo")
            .arg(dir.path().join("pipe.json"))
            .status();
        assert!(pipe.expect("it runs").success());
        assert_eq!(store.list().expect("readable"), [id("good"), id("linked")]);
        assert_eq!(store.read(&id("linked")).expect("there"), b"{}");
        for other in ["folder", "dangling", "socket", "pipe"] {
            assert!(matches!(store.read(&id(other)), Err(ReadError::NotFound)), "{other}");
            assert!(!store.remove(&id(other)).expect("left alone"), "{other}");
            assert!(store.exists(&id(other)), "the name is taken: {other}");
        }
    }

    #[test]
    fn project_store_removes_only_temporary_files() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for name in [".unfinished-x1", "a.json", ".other"] {
            fs::write(dir.path().join(name), "{}").expect("writes");
        }
        ProjectStore::open(dir.path().to_owned(), 10).expect("opens");
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .expect("readable")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".other", "a.json"]);
    }

    #[test]
    fn project_store_error_names_the_directory() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let error = ProjectStore::open(file.path().to_owned(), 10).expect_err("a file is no folder");
        assert!(
            error.to_string().contains(&file.path().display().to_string()),
            "{error}"
        );
    }
}
