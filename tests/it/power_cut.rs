//! P3 at a power cut: what was said is on the disk, flushed, before it is said.
//!
//! Nobody has to cut the power for that. The hub runs under `strace`, which tells what it wrote, flushed and sent, in
//! order. From that follows what would be on the disk at any moment if the power went then ([`Disk`]), and SQLite says
//! what that database holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use uuid::Uuid;

use crate::{
    clients::Random,
    support::{
        child::ChildHub,
        disk::Disk,
        trace::{self, Call},
        websocket::WebSocket,
        writer::{Writers, session},
    },
};

/// Who writes at the same time.
const WRITERS: usize = 3;

/// Answers before the hub is killed, each of the two times.
const ANSWERS: usize = 60;

/// What comes before the id of a command in everything that the hub says about it.
const COMMAND_ID: &[u8] = b"\"command_id\":\"";

/// The length of an id.
const ID_CHARS: usize = 36;

/// What a process writes at once, at least: one that is killed in between has written so far.
const PAGE_BYTES: usize = 4_096;

/// What a hub did.
#[derive(Default)]
struct Story {
    calls: Vec<Call>,
    /// The commands that somebody was told of.
    acknowledged: BTreeSet<Uuid>,
}

/// Three lives of a hub: one that is killed while several write and one listens; one that finds what that left, and
/// ends in order, which folds the write-ahead log in; and one more that is killed.
async fn story(dir: &Path) -> Story {
    let (data, mut story) = (dir.join("data"), Story::default());
    let settings = [("TALUS_HUB_SESSIONS__SNAPSHOT_EVENTS", "40")];
    let trace = dir.join("trace");
    let hub = ChildHub::traced(&data, &settings, &trace).await;
    let (session_id, _) = session(&hub.url).await;
    let mut writers = Writers::new(WRITERS, &session_id);
    let listening = listen(&hub.url, &session_id).await;
    writers.start(&hub.url);
    writers.answered(ANSWERS).await;
    hub.kill().await;
    writers.stopped().await;
    listening.await.expect("no panic");
    story.goes_on(&trace, &data);

    let hub = ChildHub::traced(&data, &settings, &trace).await;
    for _ in 0..5 {
        writers.send_once(&hub.url).await;
    }
    assert_eq!(hub.terminate().await, Some(0));
    story.goes_on(&trace, &data);

    let hub = ChildHub::traced(&data, &settings, &trace).await;
    writers.start(&hub.url);
    writers.answered(ANSWERS).await;
    hub.kill().await;
    writers.stopped().await;
    story.goes_on(&trace, &data);
    story.acknowledged = writers.acknowledged().collect();
    story
}

impl Story {
    /// Adds what a life of the hub did, and checks that without a power cut the disk would have what the files have:
    /// nothing was overlooked.
    fn goes_on(&mut self, trace: &Path, data: &Path) {
        let database = data.join("hub.sqlite");
        let trace = trace::read(&fs::read_to_string(trace).expect("strace has written it"));
        let calls = trace.calls.into_iter();
        self.calls.extend(calls.filter(|call| concerns(call, &database)));
        let names = ["hub.sqlite", "hub.sqlite-journal", "hub.sqlite-wal"].map(|name| data.join(name));
        let files = names
            .into_iter()
            .filter_map(|name| Some((name.clone(), fs::read(name).ok()?)));
        let files: BTreeMap<_, _> = files.collect();
        let mut interrupted = trace.interrupted.into_iter().filter(|call| concerns(call, &database));
        let endings = interrupted.next().map_or_else(|| vec![None], |call| endings(&call));
        assert!(interrupted.next().is_none(), "one thread writes");
        let ending = endings.into_iter().find(|ending| {
            let mut disk = Disk::default();
            let calls = self.calls.iter().chain(ending);
            calls.for_each(|call| disk.apply(call));
            disk.after_power_cut(|| true) == files
        });
        self.calls.extend(ending.expect("the disk has what the files have"));
    }
}

/// How a call may have ended that was under way when its process was killed.
fn endings(call: &Call) -> Vec<Option<Call>> {
    let mut endings = vec![None, Some(call.clone())];
    if let Call::Writes { path, offset, bytes } = call {
        let first = PAGE_BYTES - offset % PAGE_BYTES;
        endings.extend((first..bytes.len()).step_by(PAGE_BYTES).map(|length| {
            Some(Call::Writes {
                path: path.clone(),
                offset: *offset,
                bytes: bytes[..length].to_vec(),
            })
        }));
    }
    endings
}

/// Has somebody listen who is told of every command by its events too.
async fn listen(url: &str, session_id: &str) -> tokio::task::JoinHandle<()> {
    let socket = WebSocket::join(url, session_id, None).await;
    tokio::spawn(socket.until_closed())
}

/// What is said, and what is done to the files that hold the database or to their folder. The index of the write-ahead
/// log (`-shm`) is none of them: it is made anew when the database is opened.
fn concerns(call: &Call, database: &Path) -> bool {
    let of_database = |path: &Path| {
        let path = path.to_string_lossy();
        let rest = path.strip_prefix(&*database.to_string_lossy());
        rest.is_some_and(|rest| rest != "-shm")
    };
    match call {
        Call::Sends { .. } => true,
        Call::BeginsFlush { path, .. } | Call::EndsFlush { path, .. } => {
            of_database(path) || Some(path.as_path()) == database.parent()
        }
        Call::Creates(path) | Call::Removes(path) | Call::Writes { path, .. } | Call::Truncates { path, .. } => {
            of_database(path)
        }
    }
}

/// What a power cut would cost.
#[derive(Debug, Default)]
struct Costs {
    /// The commands that the hub said something about.
    said: BTreeSet<Uuid>,
    /// How many moments were looked at.
    moments: usize,
    /// Commands that were spoken of and are not there, and databases that are damaged.
    losses: Vec<String>,
}

impl Costs {
    /// Lets the power go at every moment that makes a difference: when something new is said, with nothing on the disk
    /// but what is flushed; and just before each flush, when most is at stake, with a part of it by chance.
    fn of<'a>(calls: impl Iterator<Item = &'a Call>) -> Self {
        let (mut disk, mut costs, mut random) = (Disk::default(), Self::default(), Random::new(5));
        let mut unfinished = BTreeMap::new();
        for call in calls {
            disk.apply(call);
            match call {
                Call::Sends { socket, bytes } => {
                    let said = unfinished.entry(socket).or_insert_with(Vec::new);
                    said.extend_from_slice(bytes);
                    let before = costs.said.len();
                    costs.said.extend(command_ids(said));
                    said.drain(..said.len().saturating_sub(COMMAND_ID.len() + ID_CHARS));
                    if costs.said.len() > before {
                        costs.look(&disk.after_power_cut(|| false));
                    }
                }
                Call::BeginsFlush { .. } => costs.look(&disk.after_power_cut(|| random.below(2) == 0)),
                _ => {}
            }
        }
        costs
    }

    fn look(&mut self, files: &BTreeMap<PathBuf, Vec<u8>>) {
        self.moments += 1;
        match commands_in(files) {
            Ok(there) => {
                let lost = self.said.iter().filter(|id| !there.contains(id));
                self.losses.extend(lost.map(Uuid::to_string));
            }
            Err(damage) => self.losses.push(damage),
        }
    }
}

fn command_ids(said: &[u8]) -> impl Iterator<Item = Uuid> {
    let places = said.windows(COMMAND_ID.len() + ID_CHARS);
    let ids = places.filter_map(|place| place.strip_prefix(COMMAND_ID));
    ids.map(|id| Uuid::try_parse_ascii(id).expect("an id"))
}

/// The commands in a database, or what is wrong with it. Before its tables are made there are none.
fn commands_in(files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<BTreeSet<Uuid>, String> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (path, content) in files {
        let name = path.file_name().expect("a file");
        fs::write(dir.path().join(name), content).expect("written");
    }
    let database = dir.path().join("hub.sqlite");
    let (verdict, ids) = read(&database).map_err(|error| error.to_string())?;
    if verdict == "ok" { Ok(ids) } else { Err(verdict) }
}

/// What SQLite thinks of a database, and the commands in it.
fn read(database: &Path) -> rusqlite::Result<(String, BTreeSet<Uuid>)> {
    let database = Connection::open(database)?;
    let verdict = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if !database.table_exists(None, "commands")? {
        return Ok((verdict, BTreeSet::new()));
    }
    let mut query = database.prepare("SELECT command_id FROM commands")?;
    let ids = query.query_map([], |row| row.get(0).map(Uuid::from_bytes))?;
    Ok((verdict, ids.collect::<rusqlite::Result<_>>()?))
}

/// P3: at whatever moment the power is cut, every command that the hub has said a word about, by an answer or an event,
/// is in what is left on the disk, and that is sound. The same look finds losses when the write-ahead log is not flushed
/// at each commit, which is what `synchronous=NORMAL` would save.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_that_a_power_cut_could_take_back() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let story = story(dir.path()).await;
    let costs = Costs::of(story.calls.iter());
    assert!(costs.said.is_superset(&story.acknowledged), "every answer was seen");
    assert!(costs.moments > 2 * ANSWERS, "{} moments were looked at", costs.moments);
    assert_eq!(costs.losses, [""; 0]);

    let is_commit = |call: &&Call| match call {
        Call::BeginsFlush { path, .. } | Call::EndsFlush { path, .. } => path.to_string_lossy().ends_with("-wal"),
        _ => false,
    };
    let careless = Costs::of(story.calls.iter().filter(|call| !is_commit(call)));
    assert!(!careless.losses.is_empty(), "who does not flush loses something");
}

/// P3: a hub that was killed may leave a commit that was written and not flushed. The next one finds it, and says nothing
/// of it before it is on the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_hub_left_is_flushed_before_it_is_spoken_of() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (data, trace) = (dir.path().join("data"), dir.path().join("trace"));
    let hub = ChildHub::start(&data, &[]).await;
    let (session_id, epoch) = session(&hub.url).await;
    let mut writers = Writers::new(WRITERS, &session_id);
    writers.start(&hub.url);
    writers.answered(ANSWERS).await;
    hub.kill().await;
    writers.stopped().await;
    let database = data.join("hub.sqlite");
    // The database itself was flushed when it was made; the worst is that nothing of the write-ahead log was.
    let mut calls = Vec::new();
    for path in [&database, &data.join("hub.sqlite-wal")] {
        calls.extend(written(path));
    }
    calls.extend([&database, &data].into_iter().flat_map(|path| flushed(path)));

    let hub = ChildHub::traced(&data, &[], &trace).await;
    writers.check(&hub.url, &epoch).await;
    hub.kill().await;
    let trace = trace::read(&fs::read_to_string(trace).expect("strace has written it"));
    calls.extend(trace.calls.into_iter().filter(|call| concerns(call, &database)));
    let costs = Costs::of(calls.iter());
    assert!(costs.said.len() >= ANSWERS, "it speaks of every command");
    assert_eq!(costs.losses, [""; 0]);
}

/// A file as it is, none of it flushed.
fn written(path: &Path) -> [Call; 2] {
    let (path, offset, bytes) = (path.to_owned(), 0, fs::read(path).expect("it is there"));
    [Call::Creates(path.clone()), Call::Writes { path, offset, bytes }]
}

/// A flush by somebody before.
fn flushed(path: &Path) -> [Call; 2] {
    let (thread, path) = (String::new(), path.to_owned());
    let begins = Call::BeginsFlush {
        thread: thread.clone(),
        path: path.clone(),
    };
    [begins, Call::EndsFlush { thread, path }]
}
