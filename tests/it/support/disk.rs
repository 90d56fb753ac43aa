//! Model of a disk, and of the contents that a power cut leaves.
//!
//! Flushed data is on the disk. Of unflushed data any part may be on the disk: each sector of each write, each new
//! length, each name that was created or removed. A flush of the folder flushes a name, as POSIX requires; most file
//! systems give stronger guarantees.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::trace::Call;

/// Bytes that a disk writes atomically.
const SECTOR_BYTES: usize = 512;

type Names = BTreeMap<PathBuf, usize>;

/// Files of a folder.
#[derive(Debug, Default)]
pub struct Disk {
    files: Vec<File>,
    /// File index of each name: as the process sees the name, and as last flushed.
    names: Names,
    flushed_names: Names,
    /// Flush in progress, by thread.
    flushing: BTreeMap<String, Flush>,
    /// Count of changes to all files, which numbers the changes in order.
    changes: usize,
}

#[derive(Debug, Default)]
struct File {
    flushed: Vec<u8>,
    /// Changes with their numbers.
    unflushed: Vec<(usize, Change)>,
    /// Length as the process sees the file.
    length: usize,
}

/// Smallest part of the unflushed data that a power cut keeps or drops independently.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// Name that was created, removed, or moved to another file.
    Name,
    /// Sector of a change, or a new length.
    Sector {
        /// Number of the change.
        change: usize,
    },
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug)]
enum Flush {
    /// File index, and the number of changes that the flush covers.
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

    /// Splits a change into parts that reach the disk independently.
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
    /// Applies a call of a process.
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
            Call::Renames { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Call::Appends { path, bytes } => {
                if let Some(file) = self.names.get(path) {
                    let (offset, bytes) = (self.files[*file].length, bytes.clone());
                    self.change(path, Change::Write { offset, bytes });
                }
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
            let file = &mut self.files[*file];
            file.length = match &change {
                Change::Write { offset, bytes } => file.length.max(offset + bytes.len()),
                Change::Length(length) => *length,
            };
            file.unflushed.push((self.changes, change));
            self.changes += 1;
        }
    }

    /// Returns the numbers of the unflushed changes, in order.
    pub fn unflushed(&self) -> Vec<usize> {
        let files: BTreeSet<_> = self.names.values().chain(self.flushed_names.values()).collect();
        let changes = files.into_iter().flat_map(|file| &self.files[*file].unflushed);
        let mut numbers: Vec<_> = changes.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Returns the indexes in [`Self::unflushed`] of the changes of each file that has unflushed changes.
    pub fn unflushed_by_file(&self) -> Vec<Vec<usize>> {
        let (numbers, mut files) = (self.unflushed(), Vec::new());
        for file in &self.files {
            let changes = file.unflushed.iter();
            let places: Vec<_> = changes
                .filter_map(|(number, _)| numbers.binary_search(number).ok())
                .collect();
            if !places.is_empty() {
                files.push(places);
            }
        }
        files
    }

    /// Returns true if a name is not flushed.
    pub fn has_unflushed_names(&self) -> bool {
        self.names != self.flushed_names
    }

    /// Returns the files that a power cut leaves. `stays` decides for each unflushed part whether the part is on the
    /// disk.
    pub fn after_power_cut(&self, mut stays: impl FnMut(Part) -> bool) -> BTreeMap<PathBuf, Vec<u8>> {
        let all = self.names.keys().chain(self.flushed_names.keys());
        let mut left = BTreeMap::new();
        for name in all {
            let (new, old) = (self.names.get(name), self.flushed_names.get(name));
            let file = if new == old || stays(Part::Name) { new } else { old };
            if let Some(file) = file.filter(|_| !left.contains_key(name)) {
                left.insert(name.clone(), self.files[*file].after_power_cut(&mut stays));
            }
        }
        left
    }
}

impl File {
    fn flush(&mut self, changes: usize) {
        for (_, change) in self.unflushed.drain(..changes) {
            change.apply(&mut self.flushed);
        }
    }

    fn after_power_cut(&self, stays: &mut impl FnMut(Part) -> bool) -> Vec<u8> {
        let mut content = self.flushed.clone();
        for (change, whole) in &self.unflushed {
            for part in whole.sectors() {
                if stays(Part::Sector { change: *change }) {
                    part.apply(&mut content);
                }
            }
        }
        content
    }
}
