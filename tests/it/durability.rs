//! P3, P4: every acknowledged command is stored, once, after any end of the process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    binary::run,
    support::{
        TestHub,
        child::{ChildHub, kill_rounds},
        writer::{Writers, session},
    },
};

/// Clients that write at the same time.
const WRITERS: usize = 4;

/// Default of `KILL_ROUNDS`.
const ROUNDS: usize = 20;

/// P3, P4: after repeated `kill -9` under load every acknowledged command is in the log: once, at its `seq`, without
/// gaps, in the same epoch.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commands_survive_kill_9_exactly_once() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let hub = ChildHub::start(data.path(), &[]).await;
    let (session_id, epoch) = session(&hub.url).await;
    hub.kill().await;

    let rounds = kill_rounds(ROUNDS);
    let mut writers = Writers::new(WRITERS, &session_id);
    for round in 0..rounds {
        let hub = ChildHub::start(data.path(), &[("TALUS_HUB_SESSIONS__SNAPSHOT_EVENTS", "50")]).await;
        writers.start(&hub.url);
        // A different moment each round: sometimes before the first answer, sometimes under full load.
        writers.answered(round * 37 % 90).await;
        hub.kill().await;
        writers.stopped().await;
    }

    let hub = ChildHub::start(data.path(), &[]).await;
    let acknowledged = writers.check(&hub.url, &epoch).await;
    assert!(acknowledged > rounds, "{acknowledged} commands were acknowledged");
    assert_eq!(hub.terminate().await, Some(0));
}

/// P3, P4: a restarted hub continues with its sessions, projects and undo steps, and with the answers to earlier
/// commands.
#[tokio::test]
async fn sessions_projects_and_undo_survive_a_restart() {
    let hub = TestHub::start().await;
    let project = json!({"template_id": "software_project", "project_name": "Keep me"});
    let made = hub.post("/projects", &project).await.ok();
    let session_id = made["session_id"].as_str().expect("an id").to_owned();
    let root = made["graph"]["roots"][0]["id"].clone();
    let id = "11111111-1111-4111-8111-111111111111";
    let rename = json!({
        "session_id": session_id, "command_type": "UpdateProperty", "command_id": id,
        "data": {"node_id": root, "property_id": "name", "new_value": "Kept"},
    });
    let first = hub.post("/commands/execute", &rename).await.ok();
    let saved = hub.post(&format!("/sessions/{session_id}/save"), &json!({})).await.ok();
    let before = hub.get(&format!("/sessions/{session_id}/info")).await.ok();
    let (dir, stopped) = hub.stop().await;
    stopped.expect("in time");

    let hub = TestHub::on(dir, |_| {}).await;
    let listed = hub.get("/sessions").await.ok();
    assert_eq!(listed["total"], 1);
    assert_eq!(
        listed["sessions"][0]["seq"], saved["seq"],
        "listed without loading the session"
    );
    let tree = hub.ops("/actors").await.ok();
    assert_eq!(tree["sessions"][0]["state"], "asleep", "loaded on first access only");
    assert_eq!(hub.get(&format!("/sessions/{session_id}/info")).await.ok(), before);
    let mut same_id = project.clone();
    same_id["project_id"] = listed["sessions"][0]["project_id"].clone();
    let exists = hub.post("/projects", &same_id).await;
    assert_eq!(exists.refused(), (409, "PROJECT_EXISTS"));

    let mut again = hub.post("/commands/execute", &rename).await.ok();
    assert_eq!(again["duplicate"].take(), true);
    again.as_object_mut().expect("an object").remove("duplicate");
    assert_eq!(again, first, "the first outcome (P4)");
    let mut other = rename.clone();
    other["data"]["new_value"] = json!("Other");
    assert_eq!(
        hub.post("/commands/execute", &other).await.refused(),
        (409, "COMMAND_ID_REUSED")
    );

    hub.post(&format!("/sessions/{session_id}/undo"), &json!({})).await.ok();
    assert_eq!(hub.graph(&session_id).await["roots"][0]["name"], "Keep me");
    let then = hub
        .get(&format!("/sessions/{session_id}/graph?at_seq={}", first["seq"]))
        .await
        .ok();
    assert_eq!(then["graph"]["roots"][0]["name"], "Kept", "the past graph");
}

/// P4: a duplicate far older than the replay window gets the first outcome from the log, while new commands are
/// executed.
#[tokio::test]
async fn duplicate_beyond_replay_window_gets_first_outcome() {
    let hub = TestHub::with(|config| {
        config.limits.replay_window_events = 10;
        config.sessions.snapshot_events = 20;
    })
    .await;
    let session_id = hub.session().await;
    let command = |number: u128| {
        json!({
            "session_id": session_id, "command_type": "CreateNode", "command_id": Uuid::from_u128(number),
            "data": {"blueprint_type_id": "task", "name": number.to_string()},
        })
    };
    let mut first = Vec::new();
    for number in 1..=60 {
        first.push(hub.post("/commands/execute", &command(number)).await.ok());
    }
    for number in [1_u128, 30, 60] {
        let again = hub.post("/commands/execute", &command(number)).await.ok();
        assert_eq!(again["duplicate"], true, "{number}");
        let index = usize::try_from(number - 1).expect("small");
        assert_eq!(
            (&again["seq"], &again["node_id"]),
            (&first[index]["seq"], &first[index]["node_id"])
        );
    }
    let mut other = command(2);
    other["data"]["name"] = json!("another");
    assert_eq!(
        hub.post("/commands/execute", &other).await.refused(),
        (409, "COMMAND_ID_REUSED")
    );
    assert_eq!(
        hub.graph(&session_id).await["roots"].as_array().expect("a list").len(),
        60
    );

    // Old and new commands at once, each sent twice: every answer belongs to its command.
    let mut sent = JoinSet::new();
    for number in (1..=40).chain(101..=140) {
        for _ in 0..2 {
            let request = hub.http().post(hub.api("/commands/execute")).json(&command(number));
            sent.spawn(async move {
                let answer: Value = request.send().await.expect("answered").json().await.expect("JSON");
                (
                    number,
                    answer["node_id"].as_str().expect("a node").to_owned(),
                    answer["seq"].as_u64(),
                )
            });
        }
    }
    let mut answers: BTreeMap<u128, BTreeSet<_>> = BTreeMap::new();
    for (number, node, seq) in sent.join_all().await {
        answers.entry(number).or_default().insert((node, seq));
    }
    assert!(answers.values().all(|outcomes| outcomes.len() == 1), "{answers:?}");
    assert_eq!(
        hub.graph(&session_id).await["roots"].as_array().expect("a list").len(),
        100
    );
}

/// P9: a limit on the file size is a full disk (`EFBIG`, as `EDQUOT` would be). Commands are refused and reads succeed;
/// when there is room again, the same process accepts commands.
#[tokio::test]
async fn file_size_limit_refuses_commands_and_recovers() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let hub = ChildHub::start(data.path(), &[]).await;
    let (session_id, _) = session(&hub.url).await;
    let http = reqwest::Client::new();
    let execute = |name: usize| {
        let command = json!({
            "session_id": session_id, "command_type": "CreateNode",
            "data": {"blueprint_type_id": "task", "name": name.to_string().repeat(50)},
        });
        let request = http.post(format!("{}/api/v1/commands/execute", hub.url)).json(&command);
        async move {
            let answer = request.send().await.expect("the hub answers");
            let status = answer.status().as_u16();
            (status, answer.json::<Value>().await.expect("JSON"))
        }
    };
    assert_eq!(execute(1).await.0, 200);
    let wal = data.path().join("hub.sqlite-wal");
    let length = std::fs::metadata(&wal).expect("the log is written").len();
    hub.limit_file_size(Some(length + 50_000));
    let mut refused = None;
    for number in 2..100 {
        let (status, body) = execute(number).await;
        if body["error"]["limit"] == "storage" {
            refused = Some(status);
            break;
        }
    }
    assert_eq!(refused, Some(503));
    let graph = crate::support::writer::get(&hub.url, &format!("/sessions/{session_id}/graph")).await;
    assert!(
        !graph["graph"]["roots"]
            .as_array()
            .expect("reads succeed on a full disk")
            .is_empty()
    );

    hub.limit_file_size(None);
    let accepted = async {
        while execute(100).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), accepted)
        .await
        .expect("accepted again");
    assert_eq!(hub.terminate().await, Some(0));
}

/// P12: the binary reports the damage of a log, and restores a backup under a new epoch.
#[tokio::test]
async fn binary_verifies_damage_and_restores_a_backup() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dir.path().join("data");
    let (data_dir, backup) = (
        data.display().to_string(),
        dir.path().join("backup.sqlite").display().to_string(),
    );
    let hub = ChildHub::start(&data, &[]).await;
    let (session_id, epoch) = session(&hub.url).await;
    let mut writers = Writers::new(1, &session_id);
    writers.start(&hub.url);
    writers.answered(20).await;
    let busy = run(&["--data-dir", &data_dir, "verify"]).await;
    assert_eq!(busy.code, Some(6), "{}", busy.stderr);
    let made = run(&["--data-dir", &data_dir, "backup", &backup]).await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    hub.kill().await;
    writers.stopped().await;

    for args in [&["--data-dir", &data_dir, "verify"][..], &["verify", &backup][..]] {
        let sound = run(args).await;
        assert_eq!(sound.code, Some(0), "{}", sound.stderr);
        assert!(sound.stdout.starts_with("1 sessions with"), "{}", sound.stdout);
    }
    let database = rusqlite::Connection::open(data.join("hub.sqlite")).expect("opens");
    let damage = "UPDATE commands SET payload = replace(payload, 'task', 'tusk') WHERE seq = 10";
    assert_eq!(database.execute(damage, []), Ok(1));
    drop(database);
    let damaged = run(&["--data-dir", &data_dir, "verify"]).await;
    assert_eq!(damaged.code, Some(6));
    assert!(
        damaged.stderr.contains(&format!("session {session_id}")),
        "{}",
        damaged.stderr
    );
    assert!(damaged.stderr.contains("the row at 10"), "{}", damaged.stderr);
    let hub = ChildHub::start(&data, &[]).await;
    let refused = crate::support::writer::get(&hub.url, &format!("/sessions/{session_id}/graph")).await;
    assert_eq!(refused["error"]["code"], "SESSION_QUARANTINED", "{refused}");
    assert_eq!(hub.terminate().await, Some(0));

    let restored = run(&["--data-dir", &data_dir, "restore", &backup]).await;
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    assert!(
        restored.stdout.starts_with("restored 1 sessions"),
        "{}",
        restored.stdout
    );
    let hub = ChildHub::start(&data, &[]).await;
    let graph = crate::support::writer::get(&hub.url, &format!("/sessions/{session_id}/graph")).await;
    assert!(graph["graph"]["roots"].as_array().expect("a list").len() >= 19);
    assert_ne!(graph["epoch"], epoch);
    assert_eq!(hub.terminate().await, Some(0));
}

/// P12: the losses that a start finds are in the metrics and on the operators' page.
#[tokio::test]
async fn log_losses_are_reported_to_operators() {
    let hub = TestHub::start().await;
    let (lost, well) = (hub.session().await, hub.session().await);
    hub.create_node(&well, None, "a").await;
    let (dir, stopped) = hub.stop().await;
    stopped.expect("the hub stops in time");
    let database = dir.path().join("hub.sqlite");
    let older = dir.path().join("older.sqlite");
    fs::copy(&database, &older).expect("copied");
    let hub = TestHub::on(dir, |_| {}).await;
    let none = hub.ops("/actors").await.ok();
    assert_eq!(
        none["root"]["log"]["losses"],
        json!({"sessions": 0, "events": 0, "damaged": 0})
    );
    let before = seq(&hub, &lost).await;
    for _ in 0..3 {
        hub.create_node(&lost, None, "b").await;
    }
    let events = seq(&hub, &lost).await - before;
    let (dir, stopped) = hub.stop().await;
    stopped.expect("the hub stops in time");
    fs::rename(&older, &database).expect("renamed");
    let hub = TestHub::on(dir, |_| {}).await;
    let page = hub.ops("/actors").await.ok();
    assert_eq!(
        page["root"]["log"]["losses"],
        json!({"sessions": 1, "events": events, "damaged": 0})
    );
    let metrics = hub.http().get(format!("{}/metrics", hub.url)).send().await;
    let metrics = metrics.expect("served").text().await.expect("text");
    for line in [
        "hub_log_loss_sessions 1".to_owned(),
        format!("hub_log_loss_events {events}"),
        "hub_log_damaged_sessions 0".to_owned(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
}

async fn seq(hub: &TestHub, session: &str) -> u64 {
    let graph = hub.get(&format!("/sessions/{session}/graph")).await.ok();
    graph["seq"].as_u64().expect("a seq")
}
