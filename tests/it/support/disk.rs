//! A disk, and what a power cut leaves on it.
//!
//! What was flushed is there. Of what was not, anything may be: each sector of each write, each new length, each name
//! that came or went. A name is flushed with its folder, as POSIX has it; most file systems are kinder.

use std::{collections::BTreeMap, path::PathBuf};

use super::trace::Call;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

type Names = BTreeMap<PathBuf, usize>;

/// The files of a folder.
#[derive(Debug, Default)]
pub struct Disk {
    files: Vec<File>,
    /// Which file a name stands for: as the process sees it, and as far as it is flushed.
    names: Names,
    flushed_names: Names,
    /// What each thread is flushing.
    flushing: BTreeMap<String, Flush>,
}

#[derive(Debug, Default)]
struct File {
    flushed: Vec<u8>,
    unflushed: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug)]
enum Flush {
    /// So many changes of a file.
    File(usize, usize),
    Names(Names),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => content.resize(*length, 0),
        }
    }

    /// The parts of it that come to the disk by themselves.
    fn sectors(&self) -> Vec<Self> {
        let Self::Write { offset, bytes } = self else {
            return vec![self.clone()];
        };
        let (mut sectors, mut done) = (Vec::new(), 0);
        while done < bytes.len() {
            let at = offset + done;
            let end = bytes.len().min(done + SECTOR_BYTES - at % SECTOR_BYTES);
            sectors.push(Self::Write {
                offset: at,
                bytes: bytes[done..end].to_vec(),
            });
            done = end;
        }
        sectors
    }
}

impl Disk {
    /// Does what a process did.
    pub fn apply(&mut self, call: &Call) {
        match call {
            Call::Creates(path) => {
                if !self.names.contains_key(path) {
                    self.names.insert(path.clone(), self.files.len());
                    self.files.push(File::default());
                }
            }
            Call::Removes(path) => {
                self.names.remove(path);
            }
            Call::Writes { path, offset, bytes } => {
                let (offset, bytes) = (*offset, bytes.clone());
                self.change(path, Change::Write { offset, bytes });
            }
            Call::Truncates { path, length } => self.change(path, Change::Length(*length)),
            Call::BeginsFlush { thread, path } => {
                let flush = match self.names.get(path) {
                    Some(file) => Flush::File(*file, self.files[*file].unflushed.len()),
                    None => Flush::Names(self.names.clone()),
                };
                self.flushing.insert(thread.clone(), flush);
            }
            Call::EndsFlush { thread, .. } => match self.flushing.remove(thread) {
                Some(Flush::File(file, changes)) => self.files[file].flush(changes),
                Some(Flush::Names(names)) => self.flushed_names = names,
                None => {}
            },
            Call::Sends { .. } => {}
        }
    }

    fn change(&mut self, path: &PathBuf, change: Change) {
        if let Some(file) = self.names.get(path) {
            self.files[*file].unflushed.push(change);
        }
    }

    /// What is there after a power cut. Of what is not flushed, `luck` says each time whether it is.
    pub fn after_power_cut(&self, mut luck: impl FnMut() -> bool) -> BTreeMap<PathBuf, Vec<u8>> {
        let all = self.names.keys().chain(self.flushed_names.keys());
        let mut left = BTreeMap::new();
        for name in all {
            let (new, old) = (self.names.get(name), self.flushed_names.get(name));
            let file = if new == old || luck() { new } else { old };
            if let Some(file) = file.filter(|_| !left.contains_key(name)) {
                left.insert(name.clone(), self.files[*file].after_power_cut(&mut luck));
            }
        }
        left
    }
}

impl File {
    fn flush(&mut self, changes: usize) {
        for change in self.unflushed.drain(..changes) {
            change.apply(&mut self.flushed);
        }
    }

    fn after_power_cut(&self, luck: &mut impl FnMut() -> bool) -> Vec<u8> {
        let mut content = self.flushed.clone();
        for part in self.unflushed.iter().flat_map(Change::sectors) {
            if luck() {
                part.apply(&mut content);
            }
        }
        content
    }
}
