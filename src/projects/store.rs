//! Project files on disk: one JSON file each, whose name is the project's id.
//!
//! A file is replaced as a whole: written beside, flushed to the disk, renamed over the old one. Whenever the machine
//! stops, there is the old file or the new one.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use talus_actors::domain::ids::ProjectId;

/// What files that are being written begin with. No project's id begins with a dot.
const UNFINISHED: &str = ".unfinished-";

/// The folder of project files. Its functions block: they are for a thread that may wait.
#[derive(Debug, Clone)]
pub struct ProjectStore {
    dir: PathBuf,
    file_bytes_max: usize,
}

/// Why a project file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("the project file does not exist")]
    NotFound,
    /// It is larger than the hub reads.
    #[error("the project file is larger than {max} bytes")]
    TooLarge {
        /// What the hub reads.
        max: usize,
    },
    /// It cannot be read.
    #[error("the project file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Why a project file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It is larger than the hub reads: it could not be opened again.
    #[error("the project file would be larger than {max} bytes")]
    TooLarge {
        /// What the hub reads.
        max: usize,
    },
    /// The disk refuses.
    #[error("the project file cannot be written: {0}")]
    Io(#[from] io::Error),
}

impl ProjectStore {
    /// Opens a folder, which is made if it is not there, and clears away what a crash left half written.
    ///
    /// # Errors
    /// Names the path if it cannot be used.
    pub fn open(dir: PathBuf, file_bytes_max: usize) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{} cannot be used: {error}", dir.display()));
        fs::create_dir_all(&dir).map_err(named)?;
        for entry in fs::read_dir(&dir).map_err(named)? {
            let path = entry.map_err(named)?.path();
            if path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(UNFINISHED))
            {
                fs::remove_file(path).map_err(named)?;
            }
        }
        // That the folder can be written to is found out now, and not by the first who saves.
        tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&dir)
            .map_err(named)?;
        Ok(Self { dir, file_bytes_max })
    }

    /// Writes a project's file and returns its name. When it returns, the file is on the disk.
    ///
    /// # Errors
    /// If it is too large to be read again, or the disk refuses. The old file is still there then.
    pub fn write(&self, project_id: &ProjectId, bytes: &[u8]) -> Result<String, WriteError> {
        let max = self.file_bytes_max;
        if bytes.len() > max {
            return Err(WriteError::TooLarge { max });
        }
        let name = file_name(project_id);
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(self.dir.join(&name)).map_err(io::Error::from)?;
        self.sync_dir()?;
        Ok(name)
    }

    /// Reads a project's file.
    ///
    /// # Errors
    /// If it is not there, too large, or not readable.
    pub fn read(&self, project_id: &ProjectId) -> Result<Vec<u8>, ReadError> {
        let path = self.path(project_id);
        // Opening a pipe waits for somebody to write to it, and a folder opens and cannot be read.
        if !is_file(&path) {
            return Err(ReadError::NotFound);
        }
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::NotFound,
            io::ErrorKind::PermissionDenied => {
                tracing::warn!(path = %path.display(), %error, "a project file may not be read and is passed over");
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

    /// Whether a project has a file, or the name of its file is taken by something else.
    #[must_use]
    pub fn exists(&self, project_id: &ProjectId) -> bool {
        self.path(project_id).symlink_metadata().is_ok()
    }

    /// The projects that have files, in order. A file whose name is no project's id is left alone and not listed; the
    /// predecessor's files may have to be renamed. So is what is no file: a folder, a pipe, a link to nothing.
    ///
    /// # Errors
    /// If the folder cannot be read.
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

    /// Removes a project's file; false if there was none.
    ///
    /// # Errors
    /// If the disk refuses.
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

    /// A new name is on the disk only when its folder is.
    fn sync_dir(&self) -> io::Result<()> {
        File::open(Path::new(&self.dir))?.sync_all()
    }
}

/// Whether a path leads to a file, over links too.
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
    fn a_file_is_written_read_listed_and_removed() {
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

    /// P9: what is no file neither fails a list nor holds anybody up, and is not there to be read.
    #[cfg(unix)]
    #[test]
    fn project_files_are_files() {
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
    fn what_a_crash_left_half_written_is_cleared_away_and_no_more() {
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
    fn a_folder_that_cannot_be_used_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let error = ProjectStore::open(file.path().to_owned(), 10).expect_err("a file is no folder");
        assert!(
            error.to_string().contains(&file.path().display().to_string()),
            "{error}"
        );
    }
}
