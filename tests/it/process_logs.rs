//! Log of the binary: one line for each occurrence, as text or as JSON.

use serde_json::{Value, json};

use crate::{
    binary::{Process, command},
    calls::{Poller, whole},
};

const ID: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const REFUSED_ID: &str = "aaaaaaaa-0000-4000-8000-000000000002";

/// Runs a hub with an executed and a refused command that a socket receives, and returns the hub's log.
async fn log(level: &str, format: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut binary = command(&dir);
    let hub = Process::start(binary.args(["--log-format", format]).env("TALUS_HUB_LOG__LEVEL", level)).await;
    let http = reqwest::Client::new();
    let api = format!("{}/api/v1", hub.url);
    let made = whole(http.post(format!("{api}/sessions"))).await.json();
    let session = made["session_id"].as_str().expect("an id");
    let socket = Poller::join(&hub.url, session).await;
    for (id, command_type, data, status) in [
        (
            ID,
            "CreateNode",
            json!({"blueprint_type_id": "t", "name": "a private name", "properties": {"p": "a secret"}}),
            200,
        ),
        (REFUSED_ID, "DeleteNode", json!({"node_id": session}), 404),
    ] {
        let body = json!({"session_id": session, "command_type": command_type, "data": data, "command_id": id});
        let answer = whole(http.post(format!("{api}/commands/execute")).json(&body)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        socket.wait_for(id).await;
    }
    let ended = hub.stop().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stderr
}

fn lines(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// On a pipe every line is one JSON object with time, level, module and message. Start and end of the process are
/// logged.
#[tokio::test]
async fn log_lines_on_a_pipe_are_json() {
    let log = log("info", "auto").await;
    let lines = lines(&log);
    for line in &lines {
        for key in ["timestamp", "level", "target", "message"] {
            assert!(line[key].is_string(), "{key} is missing in {line}");
        }
    }
    let messages: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    for message in ["listening", "SIGTERM", "draining", "stopped"] {
        assert!(messages.contains(&message), "{message} is missing in {messages:?}");
    }
    // P9: lines that clients can cause at any rate are logged at `debug`.
    for message in ["fan-out", "session started"] {
        assert!(!messages.contains(&message), "{message} is among {messages:?}");
    }
}

/// A command's id marks its log lines from the request to the sockets, in one span. Names and properties are never
/// logged.
#[tokio::test]
async fn command_id_marks_log_lines_from_request_to_sockets() {
    let log = log("debug", "json").await;
    let lines = lines(&log);
    let of = |id: &str| {
        let is_it = |span: &Value| span["name"] == "command" && span["command_id"] == id;
        let of_command = lines
            .iter()
            .filter(|line| line["spans"].as_array().is_some_and(|spans| spans.iter().any(is_it)));
        of_command.cloned().collect::<Vec<Value>>()
    };
    let of_one = of(ID);
    for message in ["command applied", "fan-out"] {
        let found: Vec<&Value> = of_one.iter().filter(|line| line["message"] == message).collect();
        assert_eq!(found.len(), 1, "{message}: {of_one:?}");
        let spans = found[0]["spans"].as_array().expect("a list");
        let names: Vec<&str> = spans.iter().filter_map(|span| span["name"].as_str()).collect();
        assert_eq!(names, ["request", "command"], "{message}");
        assert_eq!(spans[0]["http.route"], "/api/v1/commands/execute");
        assert_eq!(spans[1]["command_type"], "CreateNode");
        assert!(spans[1]["session_id"].is_string());
    }
    let applied = of_one
        .iter()
        .find(|line| line["message"] == "command applied")
        .expect("applied");
    assert_eq!((&applied["first_seq"], &applied["seq"]), (&json!(1), &json!(2)));
    let fan_out = of_one
        .iter()
        .find(|line| line["message"] == "fan-out")
        .expect("fanned out");
    assert_eq!((&fan_out["packets"], &fan_out["members"]), (&json!(3), &json!(1)));
    let refused = of(REFUSED_ID)
        .into_iter()
        .find(|line| line["message"] == "command refused")
        .expect("refused");
    assert_eq!(refused["code"], "NODE_NOT_FOUND");
    for private in ["a private name", "a secret"] {
        assert!(!log.contains(private), "{private} is in the log");
    }
}

/// Text lines have no JSON, and no escape codes without a terminal.
#[tokio::test]
async fn text_lines_have_no_json_and_no_escape_codes() {
    let log = log("info", "text").await;
    assert!(
        log.lines()
            .any(|line| line.contains("INFO") && line.contains("listening address=127.0.0.1:")),
        "{log}"
    );
    assert!(
        !log.contains('\u{1b}') && log.lines().all(|line| !line.starts_with('{')),
        "{log}"
    );
}

#[tokio::test]
async fn log_level_off_writes_nothing() {
    assert_eq!(log("off", "json").await, "");
}

/// P9: sessions that clients begin, use, leave and delete write no log line, so that the size of the log does not
/// depend on their number.
#[tokio::test]
async fn session_starts_and_ends_write_no_log_lines() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut binary = command(&dir);
    let hub = Process::start(
        binary
            .args(["--log-format", "json"])
            .env("TALUS_HUB_LOG__LEVEL", "info"),
    )
    .await;
    let http = reqwest::Client::new();
    let api = format!("{}/api/v1", hub.url);
    for _ in 0..20 {
        let made = whole(http.post(format!("{api}/sessions"))).await;
        let session = made.json()["session_id"].as_str().expect("an id").to_owned();
        let read = whole(http.get(format!("{api}/sessions/{session}/graph"))).await;
        assert_eq!(read.status, 200, "{}", read.text);
        let deleted = whole(http.delete(format!("{api}/sessions/{session}"))).await;
        assert_eq!(deleted.status, 204, "{}", deleted.text);
    }
    let ended = hub.stop().await;
    let written = lines(&ended.stderr);
    assert!(written.len() < 10, "{written:?}");
}
