//! P1, P3, P4, P12: rounds of `kill -9` while sessions begin and end and clients send commands of several kinds, undo
//! and redo. Some rounds restore a backup or truncate the write-ahead log.
//!
//! A seed decides the requests and the number of answers before the kill of a round. `KILL_SEED` and `KILL_ROUNDS`
//! override seed and rounds; a failing run prints its seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::OpenOptions,
    path::Path,
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};
use uuid::Uuid;

use crate::{
    binary::run,
    clients::Random,
    support::{
        child::{ChildHub, kill_rounds},
        writer::{all_events, get},
    },
};

/// Default of `KILL_ROUNDS`.
const ROUNDS: usize = 12;

/// Default of `KILL_SEED`.
const SEED: u64 = 1;

/// Clients that send at the same time, each to its own sessions.
const WORKERS: usize = 4;

/// Sessions of a worker, at most.
const SESSIONS_MAX: usize = 4;

/// Answers before the hub is killed, at most.
const ANSWERS_MAX: usize = 120;

/// Sessions of one page of the list.
const LIST_MAX: usize = 100;

const SETTINGS: &[(&str, &str)] = &[("TALUS_HUB_SESSIONS__SNAPSHOT_EVENTS", "20")];

/// Session as its worker knows it.
#[derive(Debug, Default)]
struct Known {
    epoch: Value,
    /// Last `seq` of each acknowledged command.
    acknowledged: BTreeMap<Uuid, u64>,
    /// Command without an answer.
    open: Option<Uuid>,
    is_open_deletion: bool,
    nodes: Vec<Value>,
}

struct Worker {
    number: usize,
    random: Random,
    sent: u64,
    sessions: BTreeMap<String, Known>,
    deleted: BTreeSet<String>,
    is_open_creation: bool,
}

impl Worker {
    fn new(number: usize, seed: u64) -> Self {
        Self {
            number,
            random: Random::new(seed * 1_000 + number as u64),
            sent: 0,
            sessions: BTreeMap::new(),
            deleted: BTreeSet::new(),
            is_open_creation: false,
        }
    }

    /// Sends requests until the hub is gone.
    async fn work(mut self, url: String, answers: watch::Sender<usize>) -> Self {
        let http = Client::new();
        while self.step(&http, &url).await.is_some() {
            answers.send_modify(|count| *count += 1);
        }
        self
    }

    /// Sends one request; `None` if the hub is gone.
    async fn step(&mut self, http: &Client, url: &str) -> Option<()> {
        let begins = self.random.below(100) < 6 && self.sessions.len() < SESSIONS_MAX;
        if begins || self.sessions.is_empty() {
            self.is_open_creation = true;
            let (status, made) = send(http, Method::POST, format!("{url}/api/v1/sessions"), &json!({})).await?;
            self.is_open_creation = false;
            assert_eq!(status, 201, "{made}");
            let known = Known {
                epoch: made["epoch"].clone(),
                ..Known::default()
            };
            self.sessions.insert(text(&made["session_id"]), known);
            return Some(());
        }
        let chosen = self.random.below(self.sessions.len());
        let session_id = self.sessions.keys().nth(chosen).expect("below the length").clone();
        let known = self.sessions.get_mut(&session_id).expect("present");
        let kind = self.random.below(100);
        if kind < 3 {
            known.is_open_deletion = true;
            let path = format!("{url}/api/v1/sessions/{session_id}");
            let (status, body) = send(http, Method::DELETE, path, &json!({})).await?;
            assert_eq!(status, 204, "{body}");
            self.sessions.remove(&session_id);
            self.deleted.insert(session_id);
            return Some(());
        }
        self.sent += 1;
        let id = Uuid::from_u64_pair(self.number as u64 + 1, self.sent);
        known.open = Some(id);
        let name = format!("{} {}", self.number, self.sent);
        let node = (!known.nodes.is_empty()).then(|| known.nodes[self.random.below(known.nodes.len())].clone());
        let (path, body) = match (kind, node) {
            (..20, _) => (format!("sessions/{session_id}/undo"), json!({"command_id": id})),
            (20..30, _) => (format!("sessions/{session_id}/redo"), json!({"command_id": id})),
            (30..60, Some(node)) => {
                let data = json!({"node_id": node, "property_id": "name", "new_value": name});
                (
                    "commands/execute".to_owned(),
                    command(&session_id, id, "UpdateProperty", &data),
                )
            }
            _ => {
                let data = json!({"blueprint_type_id": "task", "name": name});
                (
                    "commands/execute".to_owned(),
                    command(&session_id, id, "CreateNode", &data),
                )
            }
        };
        let (status, answer) = send(http, Method::POST, format!("{url}/api/v1/{path}"), &body).await?;
        known.open = None;
        // An undo has removed the node, or the history is empty.
        if (400..500).contains(&status) {
            return Some(());
        }
        assert_eq!(status, 200, "{answer}");
        known.acknowledged.insert(id, answer["seq"].as_u64().expect("a seq"));
        known
            .nodes
            .extend(answer.get("node_id").filter(|node| node.is_string()).cloned());
        Some(())
    }
}

fn command(session_id: &str, id: Uuid, kind: &str, data: &Value) -> Value {
    json!({"session_id": session_id, "command_type": kind, "command_id": id, "data": data})
}

/// Sends a request and returns status and body; `None` if the hub is gone.
async fn send(http: &Client, method: Method, url: String, body: &Value) -> Option<(u16, Value)> {
    let answer = http.request(method, url).json(body).send().await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.bytes().await.ok()?;
    Some((status, serde_json::from_slice(&body).unwrap_or_default()))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Acknowledged data that a round leaves.
#[derive(Debug)]
enum Kept {
    /// All acknowledged data, in the same epochs.
    All,
    /// A backup: at least the data acknowledged before the backup, in new epochs.
    Backup(Before),
    /// A truncated log: at least the records in the database. A session that lost records has a new epoch.
    Part(Before),
}

/// Last `seq` of each session at an earlier time.
type Before = BTreeMap<String, u64>;

struct Crowd {
    idle: Vec<Worker>,
    working: JoinSet<Worker>,
    answers: watch::Sender<usize>,
}

impl Crowd {
    fn start(&mut self, url: &str) {
        self.answers.send_replace(0);
        for worker in self.idle.drain(..) {
            self.working.spawn(worker.work(url.to_owned(), self.answers.clone()));
        }
    }

    async fn answered(&self, enough: usize) {
        let mut answers = self.answers.subscribe();
        answers
            .wait_for(|count| *count >= enough)
            .await
            .expect("the workers hold the sender");
    }

    async fn stopped(&mut self) {
        while let Some(worker) = self.working.join_next().await {
            self.idle.push(worker.expect("no panic"));
        }
        self.idle.sort_by_key(|worker| worker.number);
    }

    fn now(&self) -> Before {
        let sessions = self.idle.iter().flat_map(|worker| &worker.sessions);
        let last = |known: &Known| known.acknowledged.values().max().copied().unwrap_or_default();
        sessions.map(|(id, known)| (id.clone(), last(known))).collect()
    }

    fn acknowledged(&self) -> usize {
        let sessions = self.idle.iter().flat_map(|worker| worker.sessions.values());
        sessions.map(|known| known.acknowledged.len()).sum()
    }

    /// Compares the hub with the acknowledged data, and adopts the hub's state. Returns the number of sessions that
    /// have lost data.
    async fn check(&mut self, url: &str, kept_data: &Kept) -> usize {
        let list = get(url, &format!("/sessions?limit={LIST_MAX}")).await;
        let listed = list["sessions"].as_array().expect("a list").iter();
        let mut listed: BTreeSet<_> = listed.map(|session| text(&session["session_id"])).collect();
        assert_eq!(list["total"], listed.len());
        let (mut losing, mut unknown_max) = (0, 0);
        for worker in &mut self.idle {
            unknown_max += usize::from(std::mem::take(&mut worker.is_open_creation));
            let (before, is_backup) = match kept_data {
                Kept::All => (None, false),
                Kept::Backup(before) => (Some(before), true),
                Kept::Part(before) => (Some(before), false),
            };
            for session_id in std::mem::take(&mut worker.deleted) {
                // The deletion itself may be lost; then the session is adopted.
                unknown_max += usize::from(before.is_some());
                assert!(
                    before.is_some() || !listed.contains(&session_id),
                    "{session_id} was deleted"
                );
            }
            for (session_id, mut known) in std::mem::take(&mut worker.sessions) {
                let kept = before.map_or(Some(u64::MAX), |before| before.get(&session_id).copied());
                if !listed.remove(&session_id) {
                    assert!(known.is_open_deletion || kept.is_none(), "{session_id} is lost");
                    continue;
                }
                let (epoch, found) = found(url, &session_id).await;
                let mut is_losing = false;
                for (id, seq) in &known.acknowledged {
                    match found.get(id) {
                        Some(place) => assert_eq!(place, seq, "{session_id}: {id} is at its seq"),
                        None if kept.is_none_or(|kept| *seq > kept) => is_losing = true,
                        None => unreachable!("{session_id}: {id} at {seq} is lost: {kept_data:?}"),
                    }
                }
                for id in found.keys().filter(|id| !known.acknowledged.contains_key(id)) {
                    assert_eq!(Some(*id), known.open, "{session_id}: other commands are unanswered");
                }
                if is_backup || is_losing {
                    assert_ne!(epoch, known.epoch, "{session_id}: new epoch");
                } else if matches!(kept_data, Kept::All) {
                    assert_eq!(epoch, known.epoch, "{session_id}: same epoch");
                }
                losing += usize::from(is_losing);
                (known.epoch, known.acknowledged, known.open, known.is_open_deletion) = (epoch, found, None, false);
                worker.sessions.insert(session_id, known);
            }
        }
        assert!(listed.len() <= unknown_max, "unknown sessions: {listed:?}");
        for session_id in listed {
            let (epoch, acknowledged) = found(url, &session_id).await;
            let known = Known {
                epoch,
                acknowledged,
                ..Known::default()
            };
            self.idle[0].sessions.insert(session_id, known);
        }
        losing
    }
}

/// Returns the epoch of a session and the last `seq` of each command. Asserts that `seq` has no gaps and that the
/// events of a command are contiguous.
async fn found(url: &str, session_id: &str) -> (Value, BTreeMap<Uuid, u64>) {
    let mut found_seqs: BTreeMap<Uuid, u64> = BTreeMap::new();
    for (event, seq) in all_events(url, session_id).await.iter().zip(1_u64..) {
        assert_eq!(event["data"]["seq"], seq, "no gap in seq");
        let id = text(&event["data"]["command_id"]).parse().expect("an id");
        let before = found_seqs.insert(id, seq);
        assert!(before.is_none_or(|before| before + 1 == seq), "applied once: {event}");
    }
    (
        get(url, &format!("/sessions/{session_id}/info")).await["epoch"].clone(),
        found_seqs,
    )
}

/// Truncates the write-ahead log, as damage does. SQLite takes the rest for a complete log.
fn truncate_wal(data: &Path, random: &mut Random) {
    let log = OpenOptions::new().write(true).open(data.join("hub.sqlite-wal"));
    let log = log.expect("present");
    let length = log.metadata().expect("metadata").len();
    let shorter = length / 2 + random.below(usize::try_from(length / 2).expect("small") + 1) as u64;
    log.set_len(shorter).expect("cut");
}

fn seed() -> u64 {
    std::env::var("KILL_SEED").map_or(SEED, |text| text.parse().expect("KILL_SEED is a number"))
}

/// P3, P4, P12: after `kill -9` every acknowledged command is stored and every deleted session is gone; a restored
/// backup has all data acknowledged before the backup; a log that lost records gets a new epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "the seed of a run that fails")]
async fn kill_9_rounds_keep_every_acknowledged_command() {
    let (rounds, seed) = (kill_rounds(ROUNDS), seed());
    eprintln!("KILL_SEED={seed} KILL_ROUNDS={rounds}");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dir.path().join("data");
    let data_dir = data.display().to_string();
    let backup = dir.path().join("backup.sqlite").display().to_string();
    let mut random = Random::new(seed);
    let mut crowd = Crowd {
        idle: (0..WORKERS).map(|number| Worker::new(number, seed)).collect(),
        working: JoinSet::new(),
        answers: watch::Sender::new(0),
    };
    let (mut losing, mut acknowledged) = (0, 0);
    let mut hub = ChildHub::start(&data, SETTINGS).await;
    for round in 0..rounds {
        if round % 4 == 3 {
            // Folds the write-ahead log into the database, so that the truncation loses only this round's records.
            assert_eq!(hub.terminate().await, Some(0));
            hub = ChildHub::start(&data, SETTINGS).await;
        }
        let before = crowd.now();
        crowd.start(&hub.url);
        crowd.answered(random.below(ANSWERS_MAX)).await;
        if round % 4 == 2 {
            let made = run(&["--data-dir", &data_dir, "backup", &backup]).await;
            assert_eq!(made.code, Some(0), "round {round}: {}", made.stderr);
        }
        hub.kill().await;
        crowd.stopped().await;
        acknowledged += crowd.acknowledged();
        let kept_data = match round % 4 {
            2 => {
                let restored = run(&["--data-dir", &data_dir, "restore", &backup]).await;
                assert_eq!(restored.code, Some(0), "round {round}: {}", restored.stderr);
                std::fs::remove_file(&backup).expect("present");
                Kept::Backup(before)
            }
            3 => {
                truncate_wal(&data, &mut random);
                Kept::Part(before)
            }
            _ => Kept::All,
        };
        if matches!(kept_data, Kept::Part(_)) {
            let verified = run(&["--data-dir", &data_dir, "verify"]).await;
            if verified.stderr.contains("is not in the log") {
                let refused = run(&["--data-dir", &data_dir]).await;
                assert_eq!(refused.code, Some(6), "round {round}: {}", refused.stderr);
                let database = data.join("hub.sqlite").display().to_string();
                let accepted = run(&["--data-dir", &data_dir, "restore", &database]).await;
                assert_eq!(accepted.code, Some(0), "round {round}: {}", accepted.stderr);
            }
        }
        hub = ChildHub::start(&data, SETTINGS).await;
        losing += crowd.check(&hub.url, &kept_data).await;
    }
    assert_eq!(hub.terminate().await, Some(0));
    let verified = run(&["--data-dir", &data_dir, "verify"]).await;
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    eprintln!("{acknowledged} commands checked, {losing} sessions lost records to a truncated log");
    assert!(acknowledged > rounds, "{acknowledged} commands were acknowledged");
}
