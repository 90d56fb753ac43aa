//! Floods: the latency of a well-behaved neighbour, and the memory of the hub, before, during and after each flood.
//!
//! The neighbour is a session with a sender of commands at a fixed rate and one websocket. Attackers and neighbour run
//! in this process, on threads of their own and on the same processors as the hub: the measured cost of a flood
//! includes the cost of making it. `HUB_BINARY` names another hub to measure. `FLOODS` lists names of floods to run,
//! separated by commas.

mod attackers;
mod neighbour;

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::Value as Json;
use tokio::{runtime::Runtime, time::sleep};

use self::{
    attackers::{Counts, Flood},
    neighbour::{Neighbour, Record},
};
use crate::{table::Table, world::Process};

const WARM_UP: Duration = Duration::from_secs(2);
const BEFORE: Duration = Duration::from_secs(5);
const DURING: Duration = Duration::from_secs(15);
/// Longest time for a flood with a fixed number of connections.
const DURING_MAX: Duration = Duration::from_secs(60);
const AFTER: Duration = Duration::from_secs(10);
/// Limit of the hub's open files: few enough that attackers can ask for more.
const OPEN_FILES: u32 = 2_048;
const MIB: u64 = 1_024;

/// Part of a run.
struct Phase {
    /// Start, in time since the start of the neighbour.
    from: Duration,
    to: Duration,
    /// Resident memory in KiB, at the end and at the peak. `None` if the process is gone.
    memory: Option<(u64, u64)>,
}

pub async fn measure() -> Table {
    let mut table = Table::new(
        "floods: before / during / after; ms from the intended start of a command to its event (200 commands/s)",
        &[
            "flood",
            "open",
            "p50 ms",
            "p99 ms",
            "max ms",
            "without event",
            "sent late p99 ms",
            "newcomers not served",
            "RSS MiB",
            "sockets left",
            "hub",
        ],
    );
    let chosen = std::env::var("FLOODS").unwrap_or_default();
    for flood in Flood::ALL {
        if chosen.is_empty() || chosen.split(',').any(|name| name == flood.name()) {
            table.row(&row(flood).await);
        }
    }
    table
}

async fn row(flood: Flood) -> [String; 11] {
    let dir = tempfile::tempdir().expect("a folder");
    // Attackers use an address other than loopback, since loopback has no limit of connections.
    let settings = [("TALUS_HUB_SERVER__HOST", "0.0.0.0")];
    let mut hub = Process::start_with(dir.path(), &settings, Some(OPEN_FILES)).await;
    hub.url = hub.url.replace("0.0.0.0", "127.0.0.1");
    let pid = hub.child.id().expect("the process runs");
    let http = reqwest::Client::new();
    let requests = flood.prepare(&hub, &http, dir.path()).await;
    let neighbour = Neighbour::start(&hub, &http).await;
    sleep(WARM_UP).await;

    let mut phases = Vec::new();
    phases.push(phase(&neighbour, pid, sleep(BEFORE)).await);
    let (runtime, counts) = (one_thread(), Counts::default());
    flood.start(runtime.handle(), &requests, &counts);
    phases.push(phase(&neighbour, pid, flooding(flood, &counts)).await);
    let open = counts.seen(flood);
    // The connections of the attackers end with their runtime.
    runtime.shutdown_background();
    phases.push(phase(&neighbour, pid, sleep(AFTER)).await);

    let left = sockets(&http, &hub.ops_url).await;
    let left = left.map_or("no answer".to_owned(), |count| count.saturating_sub(1).to_string());
    let ended = hub.child.try_wait().expect("a child");
    let state = ended.map_or("serves".to_owned(), |status| format!("dead: {status}"));
    let record = neighbour.stop().await;
    let each = |cell: &dyn Fn(&Phase) -> String| phases.iter().map(cell).collect::<Vec<_>>().join(" / ");
    [
        flood.name().to_owned(),
        open,
        each(&|phase| quantile(&heard(&record, phase), 0.5)),
        each(&|phase| quantile(&heard(&record, phase), 0.99)),
        each(&|phase| quantile(&heard(&record, phase), 1.0)),
        each(&|phase| without_event(&record, phase).to_string()),
        each(&|phase| quantile(&late(&record, phase), 0.99)),
        each(&|phase| not_served(&record, phase)),
        memory(&phases),
        left,
        state,
    ]
}

/// Starts a runtime with one thread, so that attackers leave the hub half of a machine with two processors.
fn one_thread() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime")
}

async fn phase(neighbour: &Neighbour, pid: u32, passes: impl Future<Output = ()>) -> Phase {
    let from = neighbour.elapsed();
    // Resets the peak of resident memory.
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
    passes.await;
    Phase {
        from,
        to: neighbour.elapsed(),
        memory: resident(pid),
    }
}

async fn flooding(flood: Flood, counts: &Counts) {
    let began = Instant::now();
    while began.elapsed() < DURING || (!counts.is_done(flood) && began.elapsed() < DURING_MAX) {
        sleep(Duration::from_millis(100)).await;
    }
}

/// Returns `VmRSS` and `VmHWM` of a process, in KiB.
fn resident(pid: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |key| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some((kib("VmRSS:")?, kib("VmHWM:")?))
}

/// Returns the number of sockets that the operators' listener reports: those of the hub, or the members of its sessions
/// if they are more.
async fn sockets(http: &reqwest::Client, ops_url: &str) -> Option<u64> {
    let request = http.get(format!("{ops_url}/ops/actors")).timeout(neighbour::PATIENCE);
    let tree: Json = request.send().await.ok()?.json().await.ok()?;
    let members = tree["sessions"]
        .as_array()?
        .iter()
        .filter_map(|it| it["sockets"].as_u64());
    Some(tree["root"]["sockets"].as_u64()?.max(members.sum()))
}

fn is_in(phase: &Phase, start: Duration) -> bool {
    (phase.from..phase.to).contains(&start)
}

fn heard(record: &Record, phase: &Phase) -> Histogram<u64> {
    let heard = record.heard.iter();
    histogram(heard.filter(|(start, _)| is_in(phase, *start)).map(|(_, took)| *took))
}

fn late(record: &Record, phase: &Phase) -> Histogram<u64> {
    let sent = record.sent.iter();
    histogram(sent.filter(|(start, _)| is_in(phase, *start)).map(|(_, late)| *late))
}

fn without_event(record: &Record, phase: &Phase) -> u64 {
    let sent = record.sent.iter().filter(|(start, _)| is_in(phase, *start)).count() as u64;
    sent - heard(record, phase).len()
}

fn not_served(record: &Record, phase: &Phase) -> String {
    let came = record.newcomers.iter().filter(|(start, _)| is_in(phase, *start));
    let served: Vec<bool> = came.map(|(_, served)| *served).collect();
    let refused = served.iter().filter(|served| !**served).count();
    format!("{refused} of {}", served.len())
}

/// Returns resident memory in MiB: at the end of the first phase, at the peak of the second, at the end of the last.
fn memory(phases: &[Phase]) -> String {
    let mib = |kib: Option<u64>| kib.map_or("gone".to_owned(), |kib| (kib / MIB).to_string());
    let cells = phases.iter().enumerate().map(|(number, phase)| {
        let (rss, most) = phase.memory.unzip();
        mib(if number == 1 { most } else { rss })
    });
    cells.collect::<Vec<_>>().join(" / ")
}

/// Returns a histogram of times in whole microseconds.
fn histogram(times: impl Iterator<Item = Duration>) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).expect("three digits are few");
    for time in times {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        histogram.record(us).expect("the histogram grows");
    }
    histogram
}

fn quantile(times: &Histogram<u64>, quantile: f64) -> String {
    if times.is_empty() {
        return "–".to_owned();
    }
    format!("{:.2}", times.value_at_quantile(quantile) as f64 / 1e3)
}
