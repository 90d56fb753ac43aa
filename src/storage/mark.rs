//! Head mark: the acknowledged head `seq` of each session, in a file beside the database (P12).
//!
//! The write-ahead log ends at the first frame with a wrong checksum. SQLite takes a flipped bit for the torn tail of
//! an unanswered commit, and silently drops all later frames. The mark distinguishes the two cases. It is a lower
//! bound: its heads were flushed to the log before. A mark that is torn, or older than the log, claims less and never
//! raises a false alarm. A log that has less than the mark claims has lost acknowledged commands.
//!
//! The file is a sequence of entries of 32 bytes, each with its own checksum. The last entry of a session counts. One
//! write appends the entries of a group, after the flush of the log and before any answer. That write is not flushed:
//! `kill -9` leaves it whole, and a power cut leaves an older mark.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use talus_actors::domain::ids::{Epoch, Seq, SessionId};
use uuid::Uuid;

/// Bytes of an entry: session (16), `seq` (8), epoch (4), CRC-32 of these (4).
const ENTRY_BYTES: usize = 32;

/// Entries in the file, 1 MiB of them, after which it is written anew with one entry for each session. With many
/// sessions the limit is twice their number.
const ENTRIES_MAX: usize = 32_768;

/// Interval between tries to write a mark after an error.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// `seq` of the entry of a session that was deleted.
const DELETED: u64 = u64::MAX;

/// Position of a session's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
}

/// Returns the path of the mark in a data directory.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("hub.heads")
}

/// Reads a mark; `None` if there is no file. Torn and damaged entries are skipped.
pub(super) fn read(path: &Path) -> io::Result<Option<BTreeMap<SessionId, Marked>>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut marks, mut damaged) = (BTreeMap::new(), 0_usize);
    for entry in bytes.chunks(ENTRY_BYTES) {
        match decode(entry) {
            Some((session_id, None)) => drop(marks.remove(&session_id)),
            Some((session_id, Some(marked))) => drop(marks.insert(session_id, marked)),
            None => damaged += 1,
        }
    }
    if damaged > 0 {
        tracing::warn!(
            damaged,
            "entries of the head mark cannot be read: it claims less than it could"
        );
    }
    Ok(Some(marks))
}

fn encode(session_id: SessionId, marked: Option<Marked>) -> [u8; ENTRY_BYTES] {
    let Marked { epoch, seq } = marked.unwrap_or(Marked {
        epoch: Epoch::new(0),
        seq: Seq(DELETED),
    });
    let mut entry = [0; ENTRY_BYTES];
    entry[..16].copy_from_slice(session_id.uuid().as_bytes());
    entry[16..24].copy_from_slice(&seq.0.to_le_bytes());
    entry[24..28].copy_from_slice(&epoch.number().to_le_bytes());
    let sum = crc32fast::hash(&entry[..28]);
    entry[28..].copy_from_slice(&sum.to_le_bytes());
    entry
}

fn decode(entry: &[u8]) -> Option<(SessionId, Option<Marked>)> {
    let entry: &[u8; ENTRY_BYTES] = entry.try_into().ok()?;
    let (id, rest) = entry.split_first_chunk::<16>()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (epoch, sum) = rest.split_first_chunk::<4>()?;
    if crc32fast::hash(&entry[..28]).to_le_bytes() != *sum {
        return None;
    }
    let (seq, epoch) = (u64::from_le_bytes(*seq), u32::from_le_bytes(*epoch));
    let marked = (seq != DELETED).then(|| Marked {
        epoch: Epoch::new(epoch),
        seq: Seq(seq),
    });
    // A file that lost its content to a power cut reads as zeros, whose checksum does not match.
    Some((SessionId::new(Uuid::from_bytes(*id)), marked))
}

/// [Head mark](self), open for writing.
pub(super) struct Mark {
    path: PathBuf,
    /// `None` after a failed write, and before the first one: the mark has to be written anew.
    file: Option<File>,
    entries: usize,
    /// Time of the last try to write the mark anew.
    tried: Option<Instant>,
}

impl Mark {
    /// Creates a mark that ignores appends until its first [`Self::rewrite`].
    pub(super) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            entries: 0,
            tried: None,
        }
    }

    /// Returns true if the last write failed, or there was no write.
    pub(super) const fn is_broken(&self) -> bool {
        self.file.is_none()
    }

    /// Returns true if [`Self::rewrite`] is due: the file has too many entries, or the last failure is
    /// [`RETRY_INTERVAL`] ago.
    pub(super) fn is_due(&self, sessions: usize) -> bool {
        match self.file {
            Some(_) => self.entries > ENTRIES_MAX.max(2 * sessions),
            None => self.tried.is_none_or(|tried| tried.elapsed() >= RETRY_INTERVAL),
        }
    }

    /// Writes one entry for each session to a new file, flushes it, and renames it to the mark.
    pub(super) fn rewrite(&mut self, heads: impl Iterator<Item = (SessionId, Marked)>) -> io::Result<()> {
        self.file = None;
        self.tried = Some(Instant::now());
        let mut bytes = Vec::new();
        self.entries = 0;
        for (session_id, marked) in heads {
            bytes.extend(encode(session_id, Some(marked)));
            self.entries += 1;
        }
        let new = self.path.with_extension("heads.new");
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        if let Some(dir) = self.path.parent() {
            File::open(dir)?.sync_all()?;
        }
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        Ok(())
    }

    /// Appends the heads that a group changed; `None` for a deleted session.
    pub(super) fn append(&mut self, changed: impl Iterator<Item = (SessionId, Option<Marked>)>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = Vec::new();
        for (session_id, marked) in changed {
            bytes.extend(encode(session_id, marked));
            self.entries += 1;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let written = file.write_all(&bytes);
        if written.is_err() {
            // After a partial entry, later entries would be misaligned.
            self.file = None;
        }
        written
    }

    /// Flushes the mark. If the mark lost a deletion that the log has, the session would look lost by the log.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.as_ref().map_or(Ok(()), File::sync_data);
        if flushed.is_err() {
            // The kernel may have dropped the unflushed bytes, and another flush would not report the loss.
            self.file = None;
        }
        flushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> SessionId {
        SessionId::new(Uuid::from_u128(number))
    }

    fn at(seq: u64) -> Marked {
        Marked {
            epoch: Epoch::new(7),
            seq: Seq(seq),
        }
    }

    /// P12: the last entry of a session counts, and a torn, damaged or blank entry claims nothing.
    #[test]
    fn damaged_mark_claims_less_and_never_more() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = path(dir.path());
        assert_eq!(read(&path).expect("readable"), None);
        let mut mark = Mark::new(path.clone());
        mark.rewrite([(id(1), at(2)), (id(2), at(4))].into_iter())
            .expect("written");
        mark.append([(id(1), Some(at(6))), (id(2), None), (id(3), Some(at(0)))].into_iter())
            .expect("appended");
        let whole = BTreeMap::from([(id(1), at(6)), (id(3), at(0))]);
        assert_eq!(read(&path).expect("readable"), Some(whole));
        let bytes = fs::read(&path).expect("readable");
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &damaged).expect("written");
            let claimed = read(&path).expect("readable").expect("there");
            assert!(
                claimed.get(&id(1)).is_none_or(|marked| [at(2), at(6)].contains(marked)),
                "bit {bit}"
            );
            assert!(
                claimed.keys().all(|known| [id(1), id(2), id(3)].contains(known)),
                "bit {bit}"
            );
        }
        fs::write(&path, &bytes[..bytes.len() - 5]).expect("torn");
        assert_eq!(read(&path).expect("readable"), Some(BTreeMap::from([(id(1), at(6))])));
        fs::write(&path, [0; 320]).expect("blank");
        assert_eq!(read(&path).expect("readable"), Some(BTreeMap::new()));
    }
}
