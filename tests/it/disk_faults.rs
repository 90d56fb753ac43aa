//! P3, P9, P12: a disk that fails in a call of the real binary. `strace` makes the call return the error without
//! executing the call; the files, SQLite and the hub are real.
//!
//! `strace` counts calls by thread. The log's writer makes about fifty calls before its first fault, threads that open
//! the log fewer.

use std::{collections::BTreeMap, path::Path};

use futures_util::future::join_all;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    binary::run,
    support::{
        child::ChildHub,
        writer::{all_events, get, session},
    },
};

/// Sessions that are written at the same time.
const SESSIONS: usize = 3;

/// Sessions to delete. Each attempt is a transaction, so their number exceeds the number of faults.
const SPARE_SESSIONS: usize = 13;

/// Commands of a session before a fault, at most.
const ROUNDS_MAX: usize = 60;

/// Hub on a failing disk, with the commands that the hub acknowledged.
struct Failing {
    dir: TempDir,
    hub: ChildHub,
    http: Client,
    sessions: Vec<String>,
    /// Session index and `seq` of each command, by id.
    acknowledged: BTreeMap<Uuid, (usize, u64)>,
    sent: u128,
}

/// Session index, command, and the answer: status and body, or none.
type Sent = (usize, Value, Option<(u16, Value)>);

impl Failing {
    async fn start(files: &[&str], injected: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let hub = ChildHub::on_failing_disk(&dir.path().join("data"), files, injected).await;
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            sessions.push(session(&hub.url).await.0);
        }
        Self {
            dir,
            hub,
            http: Client::new(),
            sessions,
            acknowledged: BTreeMap::new(),
            sent: 0,
        }
    }

    fn command(&mut self, session: usize) -> Value {
        self.sent += 1;
        json!({
            "session_id": self.sessions[session], "command_type": "CreateNode", "command_id": Uuid::from_u128(self.sent),
            "data": {"blueprint_type_id": "task", "name": self.sent.to_string()},
        })
    }

    /// Sends commands at the same time and records the acknowledged ones.
    async fn send(&mut self, commands: Vec<(usize, Value)>) -> Vec<Sent> {
        let url = format!("{}/api/v1/commands/execute", self.hub.url);
        let sent = join_all(commands.into_iter().map(|(session, command)| {
            let request = self.http.post(&url).json(&command);
            async move {
                let Ok(answer) = request.send().await else {
                    return (session, command, None);
                };
                let status = answer.status().as_u16();
                (
                    session,
                    command,
                    answer.json::<Value>().await.ok().map(|body| (status, body)),
                )
            }
        }));
        let sent = sent.await;
        for (session, command, answer) in &sent {
            if let Some((200, body)) = answer {
                let id = command["command_id"].as_str().expect("chosen").parse().expect("an id");
                let seq = body["seq"].as_u64().expect("a seq");
                let before = self.acknowledged.insert(id, (*session, seq));
                assert_eq!(before, None, "one answer for each command");
            }
        }
        sent
    }

    /// Sends commands to all sessions at the same time until some fail, and returns those.
    async fn write_until_failure(&mut self) -> Vec<Sent> {
        for _ in 0..ROUNDS_MAX {
            let commands = (0..SESSIONS).map(|session| (session, self.command(session))).collect();
            let sent = self.send(commands).await;
            let failed: Vec<_> = sent
                .into_iter()
                .filter(|(.., answer)| !matches!(answer, Some((200, _))))
                .collect();
            if !failed.is_empty() {
                return failed;
            }
        }
        unreachable!("the disk fails in time");
    }

    /// Sends failed commands again and asserts that all are acknowledged.
    async fn send_again(&mut self, failed: Vec<Sent>) {
        let commands = failed.into_iter().map(|(session, command, _)| (session, command));
        let sent = self.send(commands.collect()).await;
        assert!(
            sent.iter().all(|(.., answer)| matches!(answer, Some((200, _)))),
            "{sent:?}"
        );
    }

    async fn request(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let answer = self
            .http
            .request(method, format!("{}{path}", self.hub.url))
            .send()
            .await;
        let answer = answer.expect("the hub answers");
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }
}

/// Asserts that the log has each acknowledged command once, at its `seq`, and no other command.
async fn check(url: &str, sessions: &[String], acknowledged: &BTreeMap<Uuid, (usize, u64)>) {
    let mut found = BTreeMap::new();
    for (session, session_id) in sessions.iter().enumerate() {
        for (event, seq) in all_events(url, session_id).await.iter().zip(1_u64..) {
            assert_eq!(event["data"]["seq"], seq, "no gap in seq");
            if event["event"] == "command:executed" {
                let id: Uuid = event["data"]["command_id"]
                    .as_str()
                    .expect("an id")
                    .parse()
                    .expect("an id");
                assert_eq!(found.insert(id, (session, seq)), None, "applied once");
            }
        }
    }
    assert_eq!(found, *acknowledged);
}

/// P3, P9: asserts the behaviour of a full disk, whichever call reports the error: unflushed commands are not
/// acknowledged, further commands are refused, readiness reports the state, and reads succeed. With room again, the
/// same process accepts commands, including those without an outcome. A kill afterwards loses nothing.
async fn assert_refusal_and_recovery(name: &str, files: &[&str], injected: &[&str]) {
    let mut failing = Failing::start(files, injected).await;
    let mut spare = Vec::new();
    for _ in 0..SPARE_SESSIONS {
        spare.push(session(&failing.hub.url).await.0);
    }
    let failed = failing.write_until_failure().await;
    let mut unknown = 0;
    for (_, _, answer) in &failed {
        let (status, body) = answer.as_ref().expect("the hub is still there");
        assert_eq!(*status, 503, "{name}: {body}");
        match body["error"]["code"].as_str() {
            Some("OUTCOME_UNKNOWN") => unknown += 1,
            Some("OVERLOADED") => assert_eq!(body["error"]["limit"], "storage", "{name}: {body}"),
            _ => unreachable!("{name}: {body}"),
        }
    }
    assert!(unknown > 0, "{name}: a command was in flight");

    let (status, body) = failing.request(Method::GET, "/readyz").await;
    assert_eq!(
        (status.as_u16(), &body["status"]),
        (503, &json!("log_refuses")),
        "{name}: {body}"
    );
    let refused = failing.command(0);
    let refused = failing.send(vec![(0, refused)]).await;
    let Some((503, body)) = &refused[0].2 else {
        unreachable!("{name}: {refused:?}")
    };
    assert_eq!(body["error"]["code"], "OVERLOADED", "{name}");
    assert_eq!(body["error"]["limit"], "storage", "{name}");
    check(&failing.hub.url, &failing.sessions, &failing.acknowledged).await;

    let mut deleted = None;
    for (number, session_id) in spare.iter().enumerate() {
        let (status, body) = failing
            .request(Method::DELETE, &format!("/api/v1/sessions/{session_id}"))
            .await;
        if status == StatusCode::NO_CONTENT {
            deleted = Some(number);
            break;
        }
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{name}: {body}");
        assert_eq!(body["error"]["code"], "INTERNAL_ERROR", "{name}");
    }
    let deleted = deleted.unwrap_or_else(|| unreachable!("{name}: the fault goes away"));
    assert!(deleted > 0, "{name}: the first is refused");
    let (status, body) = failing.request(Method::GET, "/readyz").await;
    assert_eq!((status.as_u16(), &body["status"]), (200, &json!("ready")), "{name}");
    failing.send_again(failed).await;
    failing.send_again(refused).await;
    for session in 0..SESSIONS {
        let command = failing.command(session);
        failing.send_again(vec![(session, command, None)]).await;
    }
    let data = failing.data();
    let Failing {
        dir,
        hub,
        sessions,
        acknowledged,
        ..
    } = failing;
    hub.kill().await;
    let hub = ChildHub::start(&data, &[]).await;
    check(&hub.url, &sessions, &acknowledged).await;
    let listed = get(&hub.url, "/sessions").await;
    assert_eq!(
        listed["total"],
        SESSIONS + SPARE_SESSIONS - 1,
        "{name}: one was deleted"
    );
    assert_eq!(hub.terminate().await, Some(0));
    assert_sound(&data).await;
    drop(dir);
}

/// P3: asserts the behaviour of a failure after which memory and disk may differ: the process ends with code 8 and does
/// not repeat the flush. The next hub has every acknowledged command, and accepts the others.
async fn assert_process_ends(name: &str, files: &[&str], injected: &[&str]) {
    let mut failing = Failing::start(files, injected).await;
    let failed = failing.write_until_failure().await;
    for (_, _, answer) in &failed {
        if let Some((status, body)) = answer {
            assert_eq!(*status, 503, "{name}: {body}");
        }
    }
    let data = failing.data();
    let next = |data: &Path| {
        let data = data.to_owned();
        async move { ChildHub::start(&data, &[]).await }
    };
    let Failing {
        dir,
        hub,
        http,
        sessions,
        acknowledged,
        sent,
    } = failing;
    assert_eq!(hub.ended().await, Some(8), "{name}");
    let hub = next(&data).await;
    let mut failing = Failing {
        dir,
        hub,
        http,
        sessions,
        acknowledged,
        sent,
    };
    failing.send_again(failed).await;
    check(&failing.hub.url, &failing.sessions, &failing.acknowledged).await;
    assert_eq!(failing.hub.terminate().await, Some(0));
    assert_sound(&data).await;
}

async fn assert_sound(data: &Path) {
    let verified = run(&["--data-dir", &data.display().to_string(), "verify"]).await;
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
}

const LOG: &str = "hub.sqlite-wal";
const TRIAL: &str = "hub.trial";

#[tokio::test]
async fn enospc_at_flush_refuses_commands_and_recovers() {
    let fault = "fsync:error=ENOSPC:when=25..48";
    assert_refusal_and_recovery("ENOSPC at the flush", &[LOG, TRIAL], &[fault]).await;
}

#[tokio::test]
async fn edquot_at_flush_refuses_commands_and_recovers() {
    let fault = "fsync:error=EDQUOT:when=25..48";
    assert_refusal_and_recovery("EDQUOT at the flush", &[LOG, TRIAL], &[fault]).await;
}

#[tokio::test]
async fn edquot_at_write_refuses_commands_and_recovers() {
    let faults = ["pwrite64:error=EDQUOT:when=140..151", "write:error=EDQUOT"];
    assert_refusal_and_recovery("EDQUOT at a write", &[LOG, TRIAL], &faults).await;
}

#[tokio::test]
async fn empty_write_refuses_commands_and_recovers() {
    let fault = "pwrite64:retval=0:when=140..151";
    assert_refusal_and_recovery("nothing written", &[LOG], &[fault]).await;
}

#[tokio::test]
async fn eio_at_flush_ends_the_process() {
    assert_process_ends("EIO at the flush", &[LOG], &["fsync:error=EIO:when=12"]).await;
}

#[tokio::test]
async fn eio_at_write_ends_the_process() {
    assert_process_ends("EIO at a write", &[LOG], &["pwrite64:error=EIO:when=70"]).await;
}

/// P3: a flush that fails with `ENOSPC` while a trial write succeeds counts as a failed flush.
#[tokio::test]
async fn enospc_at_flush_with_free_space_ends_the_process() {
    assert_process_ends("ENOSPC once", &[LOG], &["fsync:error=ENOSPC:when=12"]).await;
}

/// P12: a deletion that the head mark cannot record is refused, and the head mark still names the session.
#[tokio::test]
async fn head_mark_keeps_session_of_failed_deletion() {
    let failing = Failing::start(&["hub.heads"], &["fdatasync:error=EIO:when=1"]).await;
    let (status, body) = failing
        .request(Method::DELETE, &format!("/api/v1/sessions/{}", failing.sessions[0]))
        .await;
    assert!(status.is_server_error(), "{status} {body}");
    let data = failing.data();
    failing.hub.kill().await;
    let kept = tempfile::tempdir().expect("a temporary folder");
    std::fs::rename(data.join("hub.sqlite"), kept.path().join("hub.sqlite")).expect("moved away");
    let refused = run(&["--data-dir", &data.display().to_string()]).await;
    assert_eq!(refused.code, Some(6), "{}", refused.stderr);
    assert!(
        refused.stderr.contains(&format!("there were {SESSIONS} sessions")),
        "{}",
        refused.stderr
    );
}
