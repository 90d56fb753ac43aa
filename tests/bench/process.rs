//! The binary as a process: time to ready, and memory.

use std::{path::Path, time::Instant};

use serde_json::json;
use tokio::process::Child;

use crate::{
    table::{Table, ms, percentile},
    world::Process,
};

const STARTS: usize = 10;
const SESSIONS: usize = 1_000;
const NODES: usize = 10;

/// Size of a memory page in KiB, on every machine that was measured.
const PAGE_KIB: usize = 4;

/// Measures the time from the start of the process to the first 200 of `/readyz`.
pub async fn start() -> Table {
    let mut table = Table::new(
        "start: from the start of the process to the first 200 of /readyz (10 starts)",
        &["data", "p50 ms", "max ms"],
    );
    let (mut fresh, mut used) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let dir = tempfile::tempdir().expect("a folder");
        for times in [&mut fresh, &mut used] {
            let http = reqwest::Client::new();
            let began = Instant::now();
            let mut process = ready(&http, dir.path()).await;
            times.push(began.elapsed());
            process.child.kill().await.expect("the process ends");
        }
    }
    for (name, mut times) in [("new", fresh), ("after a kill", used)] {
        let (p50, max) = (percentile(&mut times, 50), percentile(&mut times, 100));
        table.row(&[name.to_owned(), ms(p50), ms(max)]);
    }
    table
}

/// Starts the binary and waits for the first 200 of `/readyz`.
pub async fn ready(http: &reqwest::Client, data: &Path) -> Process {
    let process = Process::start(data).await;
    loop {
        let answer = http.get(format!("{}/readyz", process.url)).send().await;
        if answer.is_ok_and(|it| it.status().is_success()) {
            return process;
        }
    }
}

/// Measures resident memory without connections.
pub async fn idle() -> Table {
    let mut table = Table::new(
        "idle: resident memory of the process",
        &["sessions", "RSS KiB", "KiB/session"],
    );
    let dir = tempfile::tempdir().expect("a folder");
    let process = Process::start(dir.path()).await;
    let before = rss_kib(&process.child);
    table.row(&["0".to_owned(), before.to_string(), String::new()]);
    let http = reqwest::Client::new();
    let create = json!({"command_type": "CreateNode", "data": {"blueprint_type_id": "task", "name": "A task"}});
    for _ in 0..SESSIONS {
        let session = process.session(&http).await;
        let commands = vec![create.clone(); NODES];
        process
            .execute(&http, &session, "Batch", json!({"commands": commands}))
            .await;
    }
    let after = rss_kib(&process.child);
    let each = after.saturating_sub(before) as f64 / SESSIONS as f64;
    table.row(&[SESSIONS.to_string(), after.to_string(), format!("{each:.1}")]);
    table
}

pub fn rss_kib(child: &Child) -> usize {
    let path = format!("/proc/{}/statm", child.id().expect("the process runs"));
    let statm = std::fs::read_to_string(path).expect("Linux");
    let pages = statm.split(' ').nth(1).expect("a second field");
    pages.parse::<usize>().expect("a number") * PAGE_KIB
}
