//! Standard error that fails or stalls: the hub loses log lines and continues to serve (P8, P9).

use std::{fs::File, process::Stdio};

use serde_json::json;

use crate::{
    binary::{Process, command},
    calls::whole,
};

/// Sends commands until `enough` returns true, and asserts that each is answered. Each command logs a line or more.
async fn send_commands(url: &str, mut enough: impl AsyncFnMut() -> bool) {
    let http = reqwest::Client::new();
    let made = whole(http.post(format!("{url}/api/v1/sessions"))).await.json();
    while !enough().await {
        let body =
            json!({"session_id": made["session_id"], "command_type": "CreateNode", "data": {"blueprint_type_id": "t"}});
        let answer = whole(http.post(format!("{url}/api/v1/commands/execute")).json(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

async fn lines_lost(url: &str) -> u64 {
    let metrics = whole(reqwest::Client::new().get(format!("{url}/metrics"))).await.text;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("hub_log_lines_lost_total "));
    let value = line
        .and_then(|line| line.rsplit(' ').next())
        .expect("the metric exists");
    value.parse().expect("a number")
}

/// P8: with a broken pipe or a full device as standard error, the hub answers commands, drains with code 0, and counts
/// the lost lines.
#[tokio::test]
async fn stderr_failure_loses_only_log_lines() {
    let (reader, closed_pipe) = std::io::pipe().expect("a pipe");
    drop(reader);
    let full = File::options().write(true).open("/dev/full").expect("/dev/full exists");
    for stderr in [Stdio::from(closed_pipe), Stdio::from(full)] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut binary = command(&dir);
        let hub = Process::start_with(binary.env("TALUS_HUB_LOG__LEVEL", "debug"), stderr).await;
        let mut left = 10;
        send_commands(&hub.url, async || {
            left -= 1;
            left == 0
        })
        .await;
        assert!(lines_lost(&hub.url).await > 10);
        let ended = hub.stop().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

/// P9: an unread pipe is full after 64 KiB. The waiting lines are bounded, no command waits for the pipe, and the hub
/// can end.
#[tokio::test]
async fn stderr_stall_delays_no_command() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (reader, stalled) = std::io::pipe().expect("a pipe");
    let mut binary = command(&dir);
    binary
        .env("TALUS_HUB_LOG__LEVEL", "trace")
        .env("TALUS_HUB_LOG__WAITING_BYTES_MAX", "65536");
    let hub = Process::start_with(&mut binary, Stdio::from(stalled)).await;
    let url = hub.url.clone();
    send_commands(&url, async || lines_lost(&url).await > 0).await;
    let ended = hub.stop().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    drop(reader);
}

/// P8: without the root of the actors no session can be started again. The process therefore logs a line and exits with
/// code 1, instead of answering 503 while claiming to be ready.
#[tokio::test]
async fn supervisor_failure_ends_the_process() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut binary = command(&dir);
    let hub = Process::start(binary.env("TALUS_HUB_OPS__FAULT_INJECTION", "true")).await;
    let http = reqwest::Client::new();
    let made = whole(http.post(format!("{}/api/v1/sessions", hub.url))).await.json();
    let session = made["session_id"].as_str().expect("an id").to_owned();
    let operators = hub.greeting[2]
        .strip_prefix("operators at ")
        .expect("the operators' URL");
    let operators = operators.strip_suffix("/ops/actors").expect("the path").to_owned();
    let fault = http
        .post(format!("{operators}/ops/sessions/{session}/fault"))
        .json(&json!({"kind": "panic_supervisor"}));
    assert_eq!(whole(fault).await.status, 200);
    let ended = hub.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("the supervisor of all sessions failed"),
        "{ended:?}"
    );
    // Acknowledged sessions are there after a restart.
    let hub = Process::start(&mut command(&dir)).await;
    let info = whole(http.get(format!("{}/api/v1/sessions/{session}/info", hub.url))).await;
    assert_eq!(info.status, 200, "{}", info.text);
}
