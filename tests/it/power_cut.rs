//! P3 at a power cut: an acknowledged command was flushed before it was acknowledged.
//!
//! No power is cut. The hub runs under `strace`, which tells what it wrote, flushed and sent, in order. From that follow
//! the crash states of every moment ([`crash`]), and the hub's own log says what it finds in each of them. A cut of a real
//! disk shows one state a round, and cannot tell a command that was acknowledged before the cut from one that was
//! acknowledged while it was under way; the trace orders both.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use talus_actors::{
    domain::ids::CommandId,
    log::{EventLog as _, LogError},
};
use talus_hub::storage::{Options, SqliteLog};
use tempfile::TempDir;
use tokio::{runtime::Handle, task::spawn_blocking};
use uuid::Uuid;

use crate::support::{
    child::ChildHub,
    crash::{self, Files, Plan, State, Step},
    disk::Disk,
    trace::{self, Call},
    websocket::WebSocket,
    writer::{Writers, session},
};

/// Writers of the second test, and answers that they get before the hub is killed.
const WRITERS: usize = 3;
const ANSWERS: usize = 60;

/// Sessions that are written to at the same time, each by a writer of its own.
const SESSIONS: usize = 16;

/// Answers of one session between two looks at the write-ahead log.
const ANSWERS_STEP: usize = 10;

/// Bytes of text in a node: the write-ahead log is folded in after 4,000 pages of 4 KiB, and what is looked at is read anew
/// in each state.
const TEXT_BYTES: usize = 200;

/// Crash states of a hub under load that are looked at, unless `POWER_STATES` says otherwise: spread over all kinds, then
/// moments, then files.
const STATES: usize = 120;

/// Crash states of the negative control.
const CONTROL_STATES: usize = 30;

/// One of so many crash states is read from the first command on.
const WHOLE_EVERY: usize = 8;

/// Commands of a session, at most.
const COMMANDS_MAX: usize = 100_000;

/// The part of the header of a write-ahead log that counts how often it was begun anew.
const RESTARTS: std::ops::Range<usize> = 12..16;

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

/// Three lives of a hub: one under load that is killed after the write-ahead log was folded in and begun anew; one that
/// finds what that left, and ends in order, which folds the log in and truncates it; and one more that is killed.
async fn story(dir: &Path) -> Story {
    let (data, mut story) = (dir.join("data"), Story::default());
    let settings = [("TALUS_HUB_SESSIONS__SNAPSHOT_EVENTS", "40")];
    let trace = dir.join("trace");
    let hub = ChildHub::traced(&data, &settings, &trace).await;
    let (mut writers, mut listening) = (Vec::new(), Vec::new());
    for number in 0..SESSIONS {
        let (session_id, _) = session(&hub.url).await;
        listening.push(listen(&hub.url, &session_id).await);
        writers.push(Writers::one(number, &session_id, TEXT_BYTES));
    }
    writers.iter_mut().for_each(|writer| writer.start(&hub.url));
    let wal = data.join("hub.sqlite-wal");
    let restarts = || fs::read(&wal).ok()?.get(RESTARTS).map(<[u8]>::to_vec);
    let (first, mut answers) = (restarts(), 0);
    while restarts() == first {
        answers += ANSWERS_STEP;
        assert!(answers < 5_000, "the write-ahead log is begun anew at some time");
        writers[0].answered(answers).await;
    }
    writers[1].answered(answers + ANSWERS_STEP).await;
    hub.kill().await;
    for writer in &mut writers {
        writer.stopped().await;
    }
    for listener in listening {
        listener.await.expect("no panic");
    }
    story.goes_on(&trace, &data);

    let hub = ChildHub::traced(&data, &settings, &trace).await;
    for writer in &mut writers {
        writer.send_once(&hub.url).await;
    }
    assert_eq!(hub.terminate().await, Some(0));
    story.goes_on(&trace, &data);

    let hub = ChildHub::traced(&data, &settings, &trace).await;
    writers.iter_mut().for_each(|writer| writer.start(&hub.url));
    writers[0].answered(ANSWERS_STEP).await;
    hub.kill().await;
    for writer in &mut writers {
        writer.stopped().await;
    }
    story.goes_on(&trace, &data);
    story.acknowledged = writers.iter().flat_map(Writers::acknowledged).collect();
    story
}

impl Story {
    /// Adds what a life of the hub did, and checks that without a power cut the disk would have what the files have:
    /// nothing was overlooked.
    fn goes_on(&mut self, trace: &Path, data: &Path) {
        let trace = trace::read(&fs::read_to_string(trace).expect("strace has written it"));
        let calls = trace.calls.into_iter();
        self.calls.extend(calls.filter(|call| concerns(call, data)));
        let entries = fs::read_dir(data).expect("it is there");
        let files = entries.map(|entry| entry.expect("readable").path());
        let files = files.filter(|path| path.is_file() && is_kept(path, data));
        let files: Files = files
            .map(|path| (path.clone(), fs::read(&path).expect("readable")))
            .collect();
        let mut interrupted = trace.interrupted.into_iter().filter(|call| concerns(call, data));
        let endings = interrupted.next().map_or_else(|| vec![None], |call| endings(&call));
        assert!(interrupted.next().is_none(), "one thread writes");
        let ending = endings.into_iter().find(|ending| {
            let mut disk = Disk::default();
            let calls = self.calls.iter().chain(ending);
            calls.for_each(|call| disk.apply(call));
            disk.after_power_cut(|_| true) == files
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

/// Files of the data directory. The index of the write-ahead log (`-shm`) is none of them: it is made anew when the
/// database is opened.
fn is_kept(path: &Path, data: &Path) -> bool {
    path.parent() == Some(data) && !path.to_string_lossy().ends_with("-shm")
}

/// What is said, and what is done to the files of the data directory or to itself.
fn concerns(call: &Call, data: &Path) -> bool {
    match call {
        Call::Sends { .. } => true,
        Call::BeginsFlush { path, .. } | Call::EndsFlush { path, .. } => is_kept(path, data) || path == data,
        Call::Renames { from, .. } => is_kept(from, data),
        Call::Creates(path)
        | Call::Removes(path)
        | Call::Appends { path, .. }
        | Call::Writes { path, .. }
        | Call::Truncates { path, .. } => is_kept(path, data),
    }
}

/// What a power cut would cost.
#[derive(Debug, Default)]
struct Costs {
    /// The commands that the hub said something about.
    said: BTreeSet<Uuid>,
    plan: Plan,
    /// Crash states that were looked at, and those that lost an acknowledged command or could not be read.
    states: usize,
    losing: usize,
    /// The first commands that were spoken of and are not there, and what else is wrong.
    losses: Vec<String>,
}

/// Losses that are told of.
const LOSSES_TOLD: usize = 5;

impl Costs {
    /// Looks at up to `states_max` of the crash states that a trace allows, after the first `settled` of its calls.
    async fn of(calls: Arc<Vec<Call>>, settled: usize, states_max: usize) -> Self {
        let runtime = Handle::current();
        let looked = spawn_blocking(move || Self::look_at_all(&calls, settled, states_max, &runtime)).await;
        looked.expect("no panic")
    }

    fn look_at_all(calls: &[Call], settled: usize, states_max: usize, runtime: &Handle) -> Self {
        let mut costs = Self {
            plan: Plan::of(calls, settled, states_max),
            ..Self::default()
        };
        let mut unfinished = BTreeMap::new();
        crash::replay(calls, settled, |step| match step {
            Step::Call(Call::Sends { socket, bytes }) => {
                let said: &mut Vec<u8> = unfinished.entry(socket.clone()).or_default();
                said.extend_from_slice(bytes);
                costs.said.extend(command_ids(said));
                said.drain(..said.len().saturating_sub(COMMAND_ID.len() + ID_CHARS));
            }
            Step::Call(_) => {}
            Step::Moment(moment, disk) => {
                for state in costs.plan.chosen.remove(&moment).unwrap_or_default() {
                    let found = runtime.block_on(commands_in(
                        &state.files(disk, moment),
                        costs.states.is_multiple_of(WHOLE_EVERY),
                    ));
                    costs.compare(moment, state, found);
                }
            }
        });
        costs
    }

    fn compare(&mut self, moment: usize, state: State, found: Result<BTreeSet<Uuid>, String>) {
        self.states += 1;
        let loss = match found {
            Ok(there) => {
                let lost: Vec<_> = self.said.difference(&there).collect();
                (!lost.is_empty()).then(|| format!("{} commands, {} the first", lost.len(), lost[0]))
            }
            Err(damage) => Some(damage),
        };
        if let Some(loss) = loss {
            self.losing += 1;
            if self.losses.len() < LOSSES_TOLD {
                self.losses.push(format!("moment {moment}, {state:?}: {loss}"));
            }
        }
    }

    #[expect(clippy::print_stderr, reason = "figures for whoever runs the test")]
    fn tell(&self, name: &str) {
        let allowed: usize = self.plan.allowed.values().sum();
        let (moments, states, losing, said) = (self.plan.moments, self.states, self.losing, self.said.len());
        eprintln!(
            "{name}: {said} commands, {moments} moments, {states} of {allowed} crash states, {losing} of them lose: {:?}",
            self.plan.allowed
        );
    }
}

fn command_ids(said: &[u8]) -> impl Iterator<Item = Uuid> {
    let places = said.windows(COMMAND_ID.len() + ID_CHARS);
    let ids = places.filter_map(|place| place.strip_prefix(COMMAND_ID));
    ids.map(|id| Uuid::try_parse_ascii(id).expect("an id"))
}

/// The commands that a hub finds in the files of its data directory, or what is wrong. Every session is read as its start
/// reads it, or, if `whole`, from its first command on, so that each row is compared with its checksum. Before the tables
/// are made there are no commands.
async fn commands_in(files: &Files, whole: bool) -> Result<BTreeSet<Uuid>, String> {
    let dir = scratch();
    for (path, content) in files {
        let name = path.file_name().expect("a file");
        fs::write(dir.path().join(name), content).expect("written");
    }
    let log = SqliteLog::open(dir.path(), &Options::default(), Box::new(|_| {})).map_err(|error| error.to_string())?;
    let ids = ids_in(&log, whole).await;
    log.close().await;
    ids.map_err(|error| error.to_string())
}

async fn ids_in(log: &SqliteLog, whole: bool) -> Result<BTreeSet<Uuid>, LogError> {
    let window_events = if whole { usize::MAX } else { 0 };
    let mut ids = BTreeSet::new();
    for session in log.list().await? {
        let session_id = session.header.session_id;
        let stored = log.open(session_id, window_events).await?.expect("it is listed");
        let there = log.command_ids(session_id, None, COMMANDS_MAX).await?;
        let there: BTreeSet<_> = there.expect("it is listed").into_iter().map(CommandId::uuid).collect();
        let read = stored.records.iter().map(|record| record.command_id.uuid());
        assert!(read.clone().all(|id| there.contains(&id)), "the index has every record");
        assert!(!whole || read.count() == there.len(), "every record was read");
        ids.extend(there);
    }
    Ok(ids)
}

/// A folder for one crash state, in memory if there is such a place: what is done there need not be kept.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    tempfile::tempdir_in(folder).expect("a temporary folder")
}

/// How many crash states a test looks at.
fn states_max() -> usize {
    std::env::var("POWER_STATES").map_or(STATES, |text| text.parse().expect("POWER_STATES is a number"))
}

/// The trace that `synchronous=NORMAL` would leave. It flushes the write-ahead log before a checkpoint copies it, and its
/// header when it begins anew, but not at commits.
fn without_commit_flushes(calls: &[Call]) -> Vec<Call> {
    let is_wal = |path: &Path| path.to_string_lossy().ends_with("-wal");
    let (mut kept, mut commits, mut header_only) = (Vec::new(), BTreeSet::new(), false);
    for (index, call) in calls.iter().enumerate() {
        match call {
            Call::Writes { path, offset, bytes } if is_wal(path) => header_only = *offset == 0 && bytes.len() == 32,
            Call::BeginsFlush { thread, path } if is_wal(path) => {
                let mut later = calls[index + 1..].iter();
                let next = later.find(|call| !matches!(call, Call::Sends { .. } | Call::EndsFlush { .. }));
                let is_checkpoint = matches!(next, Some(Call::Writes { path, .. }) if path.ends_with("hub.sqlite"));
                if !is_checkpoint && !header_only {
                    commits.insert(thread.clone());
                    continue;
                }
            }
            Call::EndsFlush { thread, path } if is_wal(path) && commits.remove(thread) => continue,
            _ => {}
        }
        kept.push(call.clone());
    }
    kept
}

/// P3: whatever a power cut leaves at whatever moment, every command that the hub has said a word about, by an answer or
/// an event, is read from it. The same look finds losses in what `synchronous=NORMAL` would have flushed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cut_keeps_every_acknowledged_command_in_every_crash_state() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let story = story(dir.path()).await;
    let careless = Arc::new(without_commit_flushes(&story.calls));
    let calls = Arc::new(story.calls);
    let (costs, careless) = tokio::join!(
        Costs::of(Arc::clone(&calls), 0, states_max()),
        Costs::of(careless, 0, CONTROL_STATES.max(states_max() / 5))
    );
    costs.tell("flushed");
    careless.tell("as with synchronous=NORMAL");
    assert!(costs.said.is_superset(&story.acknowledged), "every answer was seen");
    assert!(
        costs.states >= states_max().min(STATES),
        "{} states were looked at",
        costs.states
    );
    assert_eq!(costs.losses, [""; 0]);
    assert!(careless.losing > 0, "a log that is not flushed at commits loses some");
}

/// P3: a hub that was killed may leave a commit that was written and not flushed. The next one finds it, and says nothing
/// of it before it is on the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_hubs_log_is_flushed_before_it_is_spoken_of() {
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

    let settled = calls.len();

    let hub = ChildHub::traced(&data, &[], &trace).await;
    writers.check(&hub.url, &epoch).await;
    hub.kill().await;
    let trace = trace::read(&fs::read_to_string(trace).expect("strace has written it"));
    calls.extend(trace.calls.into_iter().filter(|call| concerns(call, &data)));
    let costs = Costs::of(Arc::new(calls), settled, usize::MAX).await;
    costs.tell("left by a killed hub");
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
