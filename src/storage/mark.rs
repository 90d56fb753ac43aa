//! The head mark: how far each session was when its clients were told, in a file beside the database (P12).
//!
//! The write-ahead log ends where its checksums end: SQLite takes a bit that flipped in it for the torn tail of a commit
//! that nobody was told of, and everything behind it is gone without a word. The mark tells the two apart. It is a lower
//! bound: what it says was flushed to the log before. So a mark that is torn, or older than the log, claims less, and
//! never raises a false alarm; a log that has less than the mark says has lost what was acknowledged.
//!
//! The file is a row of entries of 32 bytes, each with its own checksum; the last one of a session counts. One write
//! appends those of a group, after the flush of the log and before any answer. It is not flushed by itself: `kill -9`
//! leaves it whole, and a power cut leaves an older mark.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use talus_actors::domain::ids::{Epoch, Seq, SessionId};
use uuid::Uuid;

/// Bytes of an entry: session, `seq`, epoch, CRC-32 of these.
const ENTRY_BYTES: usize = 32;

/// Entries that the file may have before it is written anew with one for each session: 1 MiB, or twice as many entries as
/// there are sessions.
const ENTRIES_MAX: usize = 32_768;

/// How often a mark that cannot be written is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// `seq` of the entry of a session that was deleted.
const DELETED: u64 = u64::MAX;

/// How far a session was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
}

/// The mark in a data directory.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("hub.heads")
}

/// Reads a mark; `None`: there is none. Entries that are torn or damaged are passed over.
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
    // A file that lost its content to a power cut reads as zeros, and the sum of zeros is none.
    Some((SessionId::new(Uuid::from_bytes(*id)), marked))
}

/// The mark, open for writing. See the [module](self).
pub(super) struct Mark {
    path: PathBuf,
    /// `None`: writing failed, and the mark is written anew with the next group.
    file: Option<File>,
    entries: usize,
    /// When it was last written anew, or should have been.
    tried: Option<Instant>,
}

impl Mark {
    /// A mark of which nothing is written until it is written anew.
    pub(super) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            entries: 0,
            tried: None,
        }
    }

    /// Whether the last try to write failed, or there was none.
    pub(super) const fn is_broken(&self) -> bool {
        self.file.is_none()
    }

    /// Whether it is time for [`Self::rewrite`]: the file has grown, or could not be written a while ago.
    pub(super) fn is_due(&self, sessions: usize) -> bool {
        match self.file {
            Some(_) => self.entries > ENTRIES_MAX.max(2 * sessions),
            None => self.tried.is_none_or(|tried| tried.elapsed() >= RETRY_INTERVAL),
        }
    }

    /// Writes one entry for each session, beside the file, and puts it in its place, flushed.
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

    /// Appends what a group changed; `None`: the session is deleted.
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
            // Half an entry would put those behind it out of step.
            self.file = None;
        }
        written
    }

    /// Flushes it: a deletion that the log has and the mark lost would look like a session that the log lost.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.as_ref().map_or(Ok(()), File::sync_data);
        if flushed.is_err() {
            // What was not flushed may be gone, and another flush would not say so.
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

    /// P12: the last entry of a session counts, and one that is torn, damaged or blank claims nothing.
    #[test]
    fn a_damaged_mark_claims_less_and_never_more() {
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
