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

/// What a hub did, and what became of it.
struct Story {
    calls: Vec<Call>,
    /// The commands that somebody was told of.
    acknowledged: BTreeSet<Uuid>,
    /// The files of the database as they are.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

/// Three lives of a hub: one that is killed while several write and one listens; one that finds what that left, and
/// ends in order, which folds the write-ahead log in; and one more that is killed.
async fn story(dir: &Path) -> Story {
    let data = dir.join("data");
    let settings = [("TALUS_HUB_SESSIONS__SNAPSHOT_EVENTS", "40")];
    let traces = ["first", "second", "third"].map(|life| dir.join(life));
    let hub = ChildHub::traced(&data, &settings, &traces[0]).await;
    let (session_id, _) = session(&hub.url).await;
    let mut writers = Writers::new(WRITERS, &session_id);
    let listening = listen(&hub.url, &session_id).await;
    writers.start(&hub.url);
    writers.answered(ANSWERS).await;
    hub.kill().await;
    writers.stopped().await;
    listening.await.expect("no panic");

    let hub = ChildHub::traced(&data, &settings, &traces[1]).await;
    for _ in 0..5 {
        writers.send_once(&hub.url).await;
    }
    assert_eq!(hub.terminate().await, Some(0));

    let hub = ChildHub::traced(&data, &settings, &traces[2]).await;
    writers.start(&hub.url);
    writers.answered(ANSWERS).await;
    hub.kill().await;
    writers.stopped().await;

    let traces = traces.map(|trace| fs::read_to_string(trace).expect("strace has written it"));
    let all = traces.iter().flat_map(|trace| trace::read(trace));
    let database = data.join("hub.sqlite");
    let names = ["hub.sqlite", "hub.sqlite-wal"].map(|name| data.join(name));
    Story {
        calls: all.filter(|call| concerns(call, &database)).collect(),
        acknowledged: writers.acknowledged().collect(),
        files: names
            .map(|name| (name.clone(), fs::read(name).expect("it is there")))
            .into(),
    }
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
    let mut disk = Disk::default();
    story.calls.iter().for_each(|call| disk.apply(call));
    assert!(
        disk.after_power_cut(|| true) == story.files,
        "without a power cut, the disk has what the files have: nothing was overlooked"
    );

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
