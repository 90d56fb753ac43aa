//! Commands acknowledged per second, on disk and in memory.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::json;
use talus_actors::{
    domain::ids::{NodeId, SessionId},
    hub::Hub,
};

use crate::{
    table::{Table, median, ms, percentile},
    world::{self, Process},
};

const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(1_200);

/// Commands per second of each round, and the time to each answer.
#[derive(Default)]
struct Measured {
    rates: Vec<f64>,
    times: Vec<Duration>,
}

pub async fn measure() -> Table {
    let mut table = Table::new(
        "durable: commands acknowledged per second (median of 3 rounds)",
        &["by", "log", "sessions", "in flight", "commands/s", "p50 ms", "p99 ms"],
    );
    let dir = tempfile::tempdir().expect("a folder");
    let hubs = [
        (
            "sqlite",
            world::hub(std::sync::Arc::new(world::sqlite(dir.path())), 4_000).await,
        ),
        ("memory", world::hub(world::memory(), 4_000).await),
    ];
    for sessions in [1, 100] {
        for in_flight in [1, 8, 64, 512] {
            let mut measured = [Measured::default(), Measured::default()];
            for _ in 0..ROUNDS {
                for ((_, hub), measured) in hubs.iter().zip(&mut measured) {
                    round(hub, sessions, in_flight, measured).await;
                }
            }
            for ((name, _), measured) in hubs.iter().zip(&mut measured) {
                add(&mut table, ["hub", name], sessions, in_flight, measured);
            }
        }
    }
    for (_, hub) in &hubs {
        hub.drain().await;
    }
    over_http(&mut table).await;
    table
}

fn add(table: &mut Table, [by, log]: [&str; 2], sessions: usize, in_flight: usize, measured: &mut Measured) {
    table.row(&[
        by.to_owned(),
        log.to_owned(),
        sessions.to_string(),
        in_flight.to_string(),
        format!("{:.0}", median(&mut measured.rates)),
        ms(percentile(&mut measured.times, 50)),
        ms(percentile(&mut measured.times, 99)),
    ]);
}

async fn round(hub: &Hub, sessions: usize, in_flight: usize, measured: &mut Measured) {
    let mut targets: Vec<(SessionId, NodeId)> = Vec::new();
    for _ in 0..sessions {
        targets.push(world::session_with_history(hub, 2).await);
    }
    let next = AtomicUsize::new(0);
    let (began, targets, next) = (Instant::now(), &targets, &next);
    let workers = (0..in_flight).map(|_| {
        let hub = hub.clone();
        async move {
            let mut times = Vec::new();
            while began.elapsed() < ROUND {
                let (id, node) = targets[next.fetch_add(1, Ordering::Relaxed) % targets.len()];
                let sent = Instant::now();
                world::submit(&hub, id, world::update(node)).await;
                times.push(sent.elapsed());
            }
            times
        }
    });
    let times: Vec<Duration> = join_all(workers).await.into_iter().flatten().collect();
    measured.rates.push(times.len() as f64 / began.elapsed().as_secs_f64());
    measured.times.extend(times);
}

/// Measures the same through the real binary, over HTTP with kept connections.
async fn over_http(table: &mut Table) {
    let dir = tempfile::tempdir().expect("a folder");
    let process = Process::start(Path::new(dir.path())).await;
    let http = reqwest::Client::new();
    let session = process.session(&http).await;
    let made = process
        .execute(&http, &session, "CreateNode", json!({"blueprint_type_id": "task"}))
        .await;
    let node = made["node_id"].as_str().expect("an id");
    for in_flight in [1, 64] {
        let mut measured = Measured::default();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let (process, http, session) = (&process, &http, &session);
            let workers = (0..in_flight).map(|_| async move {
                let mut times = Vec::new();
                while began.elapsed() < ROUND {
                    let data = json!({"node_id": node, "property_id": "description",
                        "new_value": format!("{} is what this task is about, in a line of text", uuid::Uuid::new_v4())});
                    let sent = Instant::now();
                    process.execute(http, session, "UpdateProperty", data).await;
                    times.push(sent.elapsed());
                }
                times
            });
            let times: Vec<Duration> = join_all(workers).await.into_iter().flatten().collect();
            measured.rates.push(times.len() as f64 / began.elapsed().as_secs_f64());
            measured.times.extend(times);
        }
        add(table, ["HTTP", "sqlite"], 1, in_flight, &mut measured);
    }
}
