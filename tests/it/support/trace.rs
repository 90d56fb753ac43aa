//! Calls of a process on its files and sockets, in order, read from a trace of `strace`.
//!
//! A call that overlaps other calls has two lines, for its beginning and its end. A sent message counts from the
//! beginning of its call and a flush from its end, so that the trace never shows a safer order than the real order.

use std::{collections::BTreeMap, path::PathBuf};

/// Options of `strace` for a trace that [`read`] understands: all threads, every byte in hexadecimal.
pub const OPTIONS: &[&str] = &[
    "-f",
    "-qq",
    "-y",
    "-xx",
    "-s",
    "10000000",
    "--seccomp-bpf",
    "-e",
    "signal=none",
    "-e",
    "trace=openat,unlink,rename,ftruncate,pwrite64,write,writev,sendto,fsync,fdatasync",
];

/// Successful call of a process.
#[derive(Debug, Clone)]
pub enum Call {
    /// Creates a file unless the file exists.
    Creates(PathBuf),
    Removes(PathBuf),
    Renames {
        from: PathBuf,
        to: PathBuf,
    },
    /// Writes at the end of a file, or at the end of the write before.
    Appends {
        path: PathBuf,
        bytes: Vec<u8>,
    },
    Writes {
        path: PathBuf,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncates {
        path: PathBuf,
        length: usize,
    },
    /// Begins to flush a file or a folder.
    BeginsFlush {
        thread: String,
        path: PathBuf,
    },
    /// Ends the flush that the thread began.
    EndsFlush {
        thread: String,
        path: PathBuf,
    },
    /// Begins to send bytes on a socket.
    Sends {
        socket: PathBuf,
        bytes: Vec<u8>,
    },
}

/// Contents of a trace.
#[derive(Debug, Default)]
pub struct Trace {
    pub calls: Vec<Call>,
    /// Calls on files that the kill interrupted: each is done, partly done, or not done.
    pub interrupted: Vec<Call>,
}

/// Parses a trace.
pub fn read(text: &str) -> Trace {
    let (mut trace, mut open) = (Trace::default(), BTreeMap::new());
    for line in text.lines() {
        let (thread, line) = line.split_once(' ').expect("a thread and a call");
        let line = line.trim_start();
        if let Some((_, rest)) = line.strip_prefix("<... ").and_then(|line| line.split_once(" resumed>")) {
            let begun = open.remove(thread).expect("the call began");
            trace.end(thread, &format!("{begun}{rest}"));
        } else if let Some((begun, _)) = line.split_once(" <") {
            // `<unfinished ...>`, or another reason why `strace` does not show the end of the call.
            trace.calls.extend(begin(thread, begun));
            open.insert(thread, begun);
        } else {
            trace.calls.extend(begin(thread, line));
            trace.end(thread, line);
        }
    }
    trace
        .interrupted
        .extend(open.iter().filter_map(|(thread, begun)| effect(thread, begun)));
    trace.interrupted.retain(|call| !matches!(call, Call::EndsFlush { .. }));
    trace
}

impl Trace {
    /// Records a call with its result, which is `?` if the process was killed during the call.
    fn end(&mut self, thread: &str, line: &str) {
        let Some((line, result)) = line.rsplit_once(" = ") else {
            return;
        };
        let Some(mut call) = effect(thread, line) else { return };
        if result.starts_with('?') {
            self.interrupted.push(call);
        } else if !result.starts_with('-') {
            if let Call::Writes { bytes, .. } | Call::Appends { bytes, .. } = &mut call {
                bytes.truncate(result.parse().expect("so many bytes"));
            }
            let emptied = match &call {
                Call::Creates(path) if line.contains("O_TRUNC") => Some(path.clone()),
                _ => None,
            };
            self.calls.push(call);
            self.calls
                .extend(emptied.map(|path| Call::Truncates { path, length: 0 }));
        }
    }
}

/// Returns the effect of the beginning of a call.
fn begin(thread: &str, line: &str) -> Option<Call> {
    let (name, arguments) = line.split_once('(')?;
    match name {
        "fsync" | "fdatasync" => Some(Call::BeginsFlush {
            thread: thread.to_owned(),
            path: descriptor(arguments)?,
        }),
        "write" | "writev" | "sendto" => {
            let socket = descriptor(arguments).filter(|path| path.to_string_lossy().starts_with("socket:"))?;
            let bytes = texts(arguments).flat_map(bytes).collect();
            Some(Call::Sends { socket, bytes })
        }
        _ => None,
    }
}

/// Returns the effect of a call that succeeds.
fn effect(thread: &str, line: &str) -> Option<Call> {
    let (name, arguments) = line.split_once('(')?;
    match name {
        "openat" if arguments.contains("O_CREAT") => Some(Call::Creates(named(arguments)?)),
        "unlink" => Some(Call::Removes(named(arguments)?)),
        "rename" => {
            let mut names = texts(arguments).map(path_of);
            let (from, to) = (names.next()?, names.next()?);
            Some(Call::Renames { from, to })
        }
        "write" => {
            let path = descriptor(arguments).filter(|path| path.is_absolute())?;
            let bytes = texts(arguments).flat_map(bytes).collect();
            Some(Call::Appends { path, bytes })
        }
        "pwrite64" => Some(Call::Writes {
            path: descriptor(arguments)?,
            offset: last_number(arguments)?,
            bytes: bytes(texts(arguments).next()?),
        }),
        "ftruncate" => Some(Call::Truncates {
            path: descriptor(arguments)?,
            length: last_number(arguments)?,
        }),
        "fsync" | "fdatasync" => Some(Call::EndsFlush {
            thread: thread.to_owned(),
            path: descriptor(arguments)?,
        }),
        _ => None,
    }
}

/// Returns the path of a descriptor, such as `7<path>`.
fn descriptor(arguments: &str) -> Option<PathBuf> {
    let (_, rest) = arguments.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    Some(path_of(path))
}

/// Returns the first path argument.
fn named(arguments: &str) -> Option<PathBuf> {
    texts(arguments).next().map(path_of)
}

fn path_of(hexadecimal: &str) -> PathBuf {
    String::from_utf8(bytes(hexadecimal)).expect("a path in UTF-8").into()
}

/// Returns the quoted arguments. The arguments contain no quotation marks.
fn texts(arguments: &str) -> impl Iterator<Item = &str> {
    arguments.split('"').skip(1).step_by(2)
}

fn last_number(arguments: &str) -> Option<usize> {
    let (_, last) = arguments.rsplit_once(", ")?;
    last.trim_end().trim_end_matches(')').parse().ok()
}

/// Value of each hexadecimal digit.
const DIGITS: [u8; 128] = {
    let (mut digits, mut value) = ([0; 128], 0);
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

/// Decodes bytes such as `\x2f\x74`.
fn bytes(hexadecimal: &str) -> Vec<u8> {
    let (digits, mut bytes, mut at) = (hexadecimal.as_bytes(), vec![0; hexadecimal.len() / 4], 0);
    // A loop and a table: traces are large, and iterators are slow where nothing is optimized.
    while at < bytes.len() {
        bytes[at] = DIGITS[digits[4 * at + 2] as usize] << 4 | DIGITS[digits[4 * at + 3] as usize];
        at += 1;
    }
    bytes
}
