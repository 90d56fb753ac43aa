//! Reads files that an operator provides: regular files only, of bounded size.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

/// Reason why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFileError {
    /// The path has no directory entry.
    #[error("there is no such file")]
    NotFound,
    /// The path is a symbolic link whose target does not exist.
    #[error("it is a link to a file that does not exist")]
    Dangling,
    /// The path is a directory, fifo, socket or device, as named.
    #[error("it is {0}, not a file")]
    NotAFile(&'static str),
    /// The file is larger than the limit.
    #[error("the file is larger than {max} bytes")]
    TooLarge {
        /// Limit in bytes.
        max: u64,
    },
    /// The system refuses to open or read the file.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads a regular file of at most `bytes_max` bytes. Symbolic links are followed.
///
/// Never waits for another process: a fifo without a writer, a device or a socket is refused before it is read.
///
/// # Errors
/// Returns an error if the path does not exist, is not a regular file, is larger than `bytes_max`, or cannot be read.
pub fn read_regular(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadFileError> {
    let found = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if fs::symlink_metadata(path).is_ok() => ReadFileError::Dangling,
        io::ErrorKind::NotFound => ReadFileError::NotFound,
        _ => ReadFileError::Io(error),
    })?;
    check_regular(&found)?;
    // The entry may have been replaced after the first check. A non-blocking open does not wait for a writer, and the
    // opened file is checked again.
    let non_blocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file: File = OpenOptions::new().read(true).custom_flags(non_blocking).open(path)?;
    check_regular(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ReadFileError::TooLarge { max: bytes_max });
    }
    Ok(bytes)
}

fn check_regular(metadata: &fs::Metadata) -> Result<(), ReadFileError> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    Err(ReadFileError::NotAFile(match kind {
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a fifo",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// P9: only regular files of bounded size are read. Paths on which a read could wait without end are refused.
    #[test]
    fn read_regular_refuses_other_entries_and_large_files() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "12345").expect("written");
        symlink("file", path("link")).expect("linked");
        symlink("nowhere", path("dangling")).expect("linked");
        symlink("loop", path("loop")).expect("linked");
        fs::create_dir(path("dir")).expect("made");
        symlink("dir", path("link to dir")).expect("linked");
        symlink("/dev/zero", path("device")).expect("linked");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("made");
        let told = |name: &str, max| read_regular(&path(name), max).map_err(|error| error.to_string());
        assert_eq!(told("file", 5), Ok(b"12345".to_vec()));
        assert_eq!(told("link", 5), Ok(b"12345".to_vec()));
        let refused = |name: &str, reason: &str| {
            let found = told(name, 4).expect_err(name);
            assert!(found.contains(reason), "{name}: {found}");
        };
        refused("file", "larger than 4 bytes");
        refused("dangling", "a link to a file that does not exist");
        refused("loop", "cannot be read");
        refused("dir", "a directory");
        refused("link to dir", "a directory");
        refused("device", "a device");
        refused("fifo", "a fifo");
        refused("nothing", "no such file");
    }
}
