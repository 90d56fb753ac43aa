//! P3 at a power cut: an acknowledged command was flushed before its acknowledgement.
//!
//! No power is cut. The hub runs under `strace`, which records its writes, flushes and messages in order. The trace
//! determines the crash states of every moment ([`crash`]), and the hub's own log reads each state. A power cut of a
//! real disk shows one state a round, and cannot order an acknowledgement and the cut; the trace orders both.

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

/// Writers of the second test, and their answers before the hub is killed.
const WRITERS: usize = 3;
const ANSWERS: usize = 60;

/// Sessions that are written at the same time, each by its own writer.
const SESSIONS: usize = 16;

/// Answers of one session between two checks of the write-ahead log.
const ANSWERS_STEP: usize = 10;

/// Bytes of text in a node. SQLite checkpoints the write-ahead log after 4,000 pages of 4 KiB, and each crash state is
/// read anew.
const TEXT_BYTES: usize = 200;

/// Crash states of a hub under load that the test examines: default of `POWER_STATES`. Spread over all classes, then
/// moments, then files.
const STATES: usize = 120;

/// Crash states of the negative control.
const CONTROL_STATES: usize = 30;

/// One of this many crash states is read from the first command on.
const WHOLE_EVERY: usize = 8;

/// Commands of a session, at most.
const COMMANDS_MAX: usize = 100_000;

/// Bytes of a write-ahead log's header that count its restarts.
const RESTARTS: std::ops::Range<usize> = 12..16;

/// Text before the id of a command in every message of the hub.
const COMMAND_ID: &[u8] = b"\"command_id\":\"";

const ID_CHARS: usize = 36;

/// Smallest unit of a write: a process that is killed during a write has written whole pages.
const PAGE_BYTES: usize = 4_096;

/// Recorded calls of a hub.
#[derive(Default)]
struct Recording {
    calls: Vec<Call>,
    acknowledged: BTreeSet<Uuid>,
}

/// Runs a hub three times: under load, until a checkpoint restarts the write-ahead log and the hub is killed; on the
/// files left, until an orderly end checkpoints and truncates the log; and once more until a kill.
async fn recording(dir: &Path) -> Recording {
    let (data, mut recording) = (dir.join("data"), Recording::default());
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
        assert!(answers < 5_000, "the write-ahead log restarts in time");
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
    recording.add_run(&trace, &data);

    let hub = ChildHub::traced(&data, &settings, &trace).await;
    for writer in &mut writers {
        writer.send_once(&hub.url).await;
    }
    assert_eq!(hub.terminate().await, Some(0));
    recording.add_run(&trace, &data);

    let hub = ChildHub::traced(&data, &settings, &trace).await;
    writers.iter_mut().for_each(|writer| writer.start(&hub.url));
    writers[0].answered(ANSWERS_STEP).await;
    hub.kill().await;
    for writer in &mut writers {
        writer.stopped().await;
    }
    recording.add_run(&trace, &data);
    recording.acknowledged = writers.iter().flat_map(Writers::acknowledged).collect();
    recording
}

impl Recording {
    /// Adds the calls of a run, and asserts that the replayed disk equals the real files. The trace therefore misses no
    /// write.
    fn add_run(&mut self, trace: &Path, data: &Path) {
        let trace = trace::read(&fs::read_to_string(trace).expect("strace writes a trace"));
        let calls = trace.calls.into_iter();
        self.calls.extend(calls.filter(|call| concerns(call, data)));
        let entries = fs::read_dir(data).expect("present");
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
        self.calls.extend(ending.expect("the replayed disk equals the files"));
    }
}

/// Returns the possible outcomes of a call that the kill interrupted.
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

/// Joins a subscriber to a session, so that the hub also sends the events of every command.
async fn listen(url: &str, session_id: &str) -> tokio::task::JoinHandle<()> {
    let socket = WebSocket::join(url, session_id, None).await;
    tokio::spawn(socket.until_closed())
}

/// Returns true for files of the data directory except the index of the write-ahead log (`-shm`), which SQLite rebuilds
/// when it opens the database.
fn is_kept(path: &Path, data: &Path) -> bool {
    path.parent() == Some(data) && !path.to_string_lossy().ends_with("-shm")
}

/// Returns true for messages, and for calls on the data directory or its files.
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

/// Losses of the examined crash states.
#[derive(Debug, Default)]
struct Costs {
    /// Commands that the hub has sent in a message.
    announced: BTreeSet<Uuid>,
    plan: Plan,
    /// Crash states examined, and those that lost an acknowledged command or could not be read.
    states: usize,
    losing: usize,
    /// First announced commands that are missing, and other damage.
    losses: Vec<String>,
}

/// Losses in the report, at most.
const LOSSES_REPORTED: usize = 5;

impl Costs {
    /// Examines up to `states_max` of the crash states that a trace allows after its first `settled` calls.
    async fn of(calls: Arc<Vec<Call>>, settled: usize, states_max: usize) -> Self {
        let runtime = Handle::current();
        let examined = spawn_blocking(move || Self::examine_all(&calls, settled, states_max, &runtime)).await;
        examined.expect("no panic")
    }

    fn examine_all(calls: &[Call], settled: usize, states_max: usize, runtime: &Handle) -> Self {
        let mut costs = Self {
            plan: Plan::of(calls, settled, states_max),
            ..Self::default()
        };
        let mut unfinished = BTreeMap::new();
        crash::replay(calls, settled, |step| match step {
            Step::Call(Call::Sends { socket, bytes }) => {
                let announced: &mut Vec<u8> = unfinished.entry(socket.clone()).or_default();
                announced.extend_from_slice(bytes);
                costs.announced.extend(command_ids(announced));
                announced.drain(..announced.len().saturating_sub(COMMAND_ID.len() + ID_CHARS));
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
                let lost: Vec<_> = self.announced.difference(&there).collect();
                (!lost.is_empty()).then(|| format!("{} commands, {} the first", lost.len(), lost[0]))
            }
            Err(damage) => Some(damage),
        };
        if let Some(loss) = loss {
            self.losing += 1;
            if self.losses.len() < LOSSES_REPORTED {
                self.losses.push(format!("moment {moment}, {state:?}: {loss}"));
            }
        }
    }

    #[expect(clippy::print_stderr, reason = "figures of the run")]
    fn report(&self, name: &str) {
        let allowed: usize = self.plan.allowed.values().sum();
        let (moments, states, losing, announced) = (self.plan.moments, self.states, self.losing, self.announced.len());
        eprintln!(
            "{name}: {announced} commands, {moments} moments, {states} of {allowed} crash states, {losing} with losses: {:?}",
            self.plan.allowed
        );
    }
}

fn command_ids(announced: &[u8]) -> impl Iterator<Item = Uuid> {
    let places = announced.windows(COMMAND_ID.len() + ID_CHARS);
    let ids = places.filter_map(|place| place.strip_prefix(COMMAND_ID));
    ids.map(|id| Uuid::try_parse_ascii(id).expect("an id"))
}

/// Returns the commands that a hub reads from the files of its data directory, or the damage. Every session is read as
/// at its start, or, if `whole`, from the first command on, which compares each row with its checksum. A database
/// without tables has no commands.
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
        let stored = log.open(session_id, window_events).await?.expect("a listed session");
        let there = log.command_ids(session_id, None, COMMANDS_MAX).await?;
        let there: BTreeSet<_> = there
            .expect("a listed session")
            .into_iter()
            .map(CommandId::uuid)
            .collect();
        let read = stored.records.iter().map(|record| record.command_id.uuid());
        assert!(read.clone().all(|id| there.contains(&id)), "the index has every record");
        assert!(!whole || read.count() == there.len(), "every record was read");
        ids.extend(there);
    }
    Ok(ids)
}

/// Creates a folder for one crash state, in memory if the system has such a folder, because the files need not last.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    tempfile::tempdir_in(folder).expect("a temporary folder")
}

/// Returns the number of crash states to examine.
fn states_max() -> usize {
    std::env::var("POWER_STATES").map_or(STATES, |text| text.parse().expect("POWER_STATES is a number"))
}

/// Returns the trace that `synchronous=NORMAL` would leave. SQLite then flushes the write-ahead log before a checkpoint
/// copies the log, and the log's header at a restart, but flushes nothing at commits.
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

/// P3: every crash state of every moment contains every command that the hub has announced, by an answer or an event.
/// The negative control: crash states of `synchronous=NORMAL` lose commands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cut_keeps_every_acknowledged_command_in_every_crash_state() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let recording = recording(dir.path()).await;
    let unflushed = Arc::new(without_commit_flushes(&recording.calls));
    let calls = Arc::new(recording.calls);
    let (costs, unflushed) = tokio::join!(
        Costs::of(Arc::clone(&calls), 0, states_max()),
        Costs::of(unflushed, 0, CONTROL_STATES.max(states_max() / 5))
    );
    costs.report("flushed");
    unflushed.report("as with synchronous=NORMAL");
    assert!(
        costs.announced.is_superset(&recording.acknowledged),
        "the trace has every answer"
    );
    assert!(
        costs.states >= states_max().min(STATES),
        "{} states examined",
        costs.states
    );
    assert_eq!(costs.losses, [""; 0]);
    assert!(unflushed.losing > 0, "a log without flushes at commits loses commands");
}

/// P3: a killed hub may leave a commit that was written and not flushed. The next hub flushes the commit before a
/// client can see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_hubs_log_is_flushed_before_clients_see_it() {
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
    // The hub flushed the database when it created the database. In the worst case none of the write-ahead log was
    // flushed.
    let mut calls = Vec::new();
    for path in [&database, &data.join("hub.sqlite-wal")] {
        calls.extend(written(path));
    }
    calls.extend([&database, &data].into_iter().flat_map(|path| flushed(path)));

    let settled = calls.len();

    let hub = ChildHub::traced(&data, &[], &trace).await;
    writers.check(&hub.url, &epoch).await;
    hub.kill().await;
    let trace = trace::read(&fs::read_to_string(trace).expect("strace writes a trace"));
    calls.extend(trace.calls.into_iter().filter(|call| concerns(call, &data)));
    let costs = Costs::of(Arc::new(calls), settled, usize::MAX).await;
    costs.report("left by a killed hub");
    assert!(costs.announced.len() >= ANSWERS, "the hub announces every command");
    assert_eq!(costs.losses, [""; 0]);
}

/// Returns the calls that create a file without a flush.
fn written(path: &Path) -> [Call; 2] {
    let (path, offset, bytes) = (path.to_owned(), 0, fs::read(path).expect("present"));
    [Call::Creates(path.clone()), Call::Writes { path, offset, bytes }]
}

/// Returns the calls of an earlier flush.
fn flushed(path: &Path) -> [Call; 2] {
    let (thread, path) = (String::new(), path.to_owned());
    let begins = Call::BeginsFlush {
        thread: thread.clone(),
        path: path.clone(),
    };
    [begins, Call::EndsFlush { thread, path }]
}
