//! Stateful fuzzer of everything that is reachable from outside: REST, Socket.IO over both transports, event streams,
//! raw HTTP, and the operators' listener of a hub in a process of its own.
//!
//! Sessions and clients live for a whole run, so that the run goes deep. Most inputs are valid for the current graph,
//! and replicas that are built from events alone are compared with `GET /graph` and `state_hash` throughout. The other
//! inputs are malformed, in every layer. Faults are injected into actors, sessions are quarantined and passivated, the
//! hub is stopped and killed.
//!
//! The seed decides a run. A failure names the seed, and `FUZZ_SEED` repeats it. `FUZZ_STEPS` is the length of a run,
//! and `FUZZ_SECONDS` adds runs with further seeds for that long.

mod fuzzed_hub;
mod malformed;
mod parsers;
mod plan;
mod process;
mod random;
mod replica_client;

use std::time::{Duration, Instant};

use serde_json::Value;

use self::{
    fuzzed_hub::{Counts, FuzzedHub},
    process::Hub,
    replica_client::ReplicaClient,
};

/// Steps of a run, unless `FUZZ_STEPS` says otherwise.
const STEPS: usize = 400;

/// Seed of a run, unless `FUZZ_SEED` says otherwise.
const SEED: u64 = 1;

/// Smallest share of accepted inputs, in percent. A fuzzer whose inputs are mostly refused tests refusals only.
const ACCEPTED_PERCENT_MIN: usize = 70;

/// Steps after which the share is meaningful.
const STEPS_MIN: usize = 200;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| unreachable!("{name} is a number")))
}

#[expect(clippy::print_stderr, reason = "figures of a run, and the seed that repeats it")]
fn report(line: &str) {
    eprintln!("{line}");
}

/// Prints how to repeat a run that fails.
struct Run {
    seed: u64,
    step: usize,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, step } = self;
            report(&format!("failed at step {step}; FUZZ_SEED={seed} runs it again"));
        }
    }
}

async fn run(seed: u64, steps: usize) -> Counts {
    let mut run = Run { seed, step: 0 };
    let mut fuzzed_hub = FuzzedHub::start(seed).await;
    for step in 1..=steps {
        run.step = step;
        fuzzed_hub.step().await;
    }
    let counts = fuzzed_hub.finish().await;
    report(&format!("seed {seed}, {steps} steps: {counts:?}"));
    counts
}

/// Joins of the next test. The library does not let the hub send to the socket yet at about one join in ten.
const LATE_JOINS: usize = 100;

/// P2: a client that joins a session right after its connect packet gets its sync.
#[tokio::test]
async fn late_joins_right_after_the_connect_are_synced() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let hub = Hub::start(dir.path()).await;
    let made = reqwest::Client::new().post(format!("{}/api/v1/sessions", hub.url));
    let made = made.body("{}").header("content-type", "application/json").send().await;
    let made: Value = serde_json::from_str(&made.expect("an answer").text().await.expect("a text")).expect("JSON");
    let mut client = ReplicaClient::late(made["session_id"].as_str().expect("an id"));
    for _ in 0..LATE_JOINS {
        client.join(&hub.url).await.expect("the client is admitted");
        client.leave(true).await;
    }
}

/// P1–P4, P7–P9: the hub serves during traffic of every kind in random order, and its clients have its graph.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hub_survives_traffic_of_every_kind() {
    let steps = number("FUZZ_STEPS").map_or(STEPS, |steps| usize::try_from(steps).expect("a number of steps"));
    let duration = Duration::from_secs(number("FUZZ_SECONDS").unwrap_or_default());
    let began = Instant::now();
    let mut seed = number("FUZZ_SEED").unwrap_or(SEED);
    let mut all = Counts::default();
    loop {
        let counts = run(seed, steps).await;
        if steps >= STEPS_MIN {
            let share = counts.accepted * 100 / counts.inputs.max(1);
            assert!(
                share >= ACCEPTED_PERCENT_MIN,
                "seed {seed}: {share} % accepted of {counts:?}"
            );
        }
        all += counts;
        if began.elapsed() >= duration {
            break;
        }
        seed += 1;
    }
    report(&format!("fuzzed: {all:?}"));
}
