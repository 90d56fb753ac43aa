//! P3, P4: what was acknowledged is there, once, whatever became of the process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{TestHub, child::ChildHub};

/// Who writes at the same time.
const WRITERS: usize = 4;

/// How often the hub is killed. `KILL_ROUNDS` says otherwise.
const ROUNDS: usize = 20;

/// Somebody who sends commands, and remembers what he was told.
struct Writer {
    number: usize,
    sent: usize,
    /// The command that he has no answer to.
    open: Option<Value>,
    /// What he was told of each command: its place, and whether it had been there before.
    told: BTreeMap<String, u64>,
}

impl Writer {
    fn next(&mut self, session_id: &str) -> Value {
        if let Some(open) = &self.open {
            return open.clone();
        }
        let id = Uuid::from_u128(((self.number as u128 + 1) << 64) + self.sent as u128);
        self.sent += 1;
        let command = json!({
            "session_id": session_id, "command_type": "CreateNode", "command_id": id,
            "data": {"blueprint_type_id": "task", "name": format!("{} {}", self.number, self.sent)},
        });
        self.open = Some(command.clone());
        command
    }

    /// Sends until the hub is gone.
    async fn write(mut self, url: String, session_id: String, answers: Arc<AtomicUsize>) -> Self {
        let http = reqwest::Client::new();
        loop {
            let command = self.next(&session_id);
            let sent = http
                .post(format!("{url}/api/v1/commands/execute"))
                .json(&command)
                .send();
            let Ok(response) = sent.await else { return self };
            let Ok(answer) = response.json::<Value>().await else {
                return self;
            };
            assert_eq!(answer["success"], true, "{answer}");
            let id = command["command_id"].as_str().expect("chosen").to_owned();
            let seq = answer["seq"].as_u64().expect("a place");
            assert!(self.told.insert(id, seq).is_none(), "one answer for each command");
            self.open = None;
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn get(url: &str, path: &str) -> Value {
    let response = reqwest::get(format!("{url}/api/v1{path}"))
        .await
        .expect("the hub answers");
    response.json().await.expect("JSON")
}

/// Every event of a session, page by page.
async fn all_events(url: &str, session_id: &str) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let page = get(url, &format!("/sessions/{session_id}/events?after={after}&limit=1000")).await;
        events.extend(page["events"].as_array().expect("a list").iter().cloned());
        after = page["next_after"].as_u64().expect("a place");
        if page["more"] == false {
            return events;
        }
    }
}

/// Kills the hub again and again while several clients write, and then looks whether everything that any of them was
/// told is there: once, in the place that was named, without a hole, in the same log.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    let rounds = std::env::var("KILL_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("KILL_ROUNDS is a number"));
    let data = tempfile::tempdir().expect("a temporary folder");
    let hub = ChildHub::start(data.path(), &[]).await;
    let made = reqwest::Client::new()
        .post(format!("{}/api/v1/sessions", hub.url))
        .send()
        .await;
    let made: Value = made.expect("answered").json().await.expect("JSON");
    let (session_id, epoch) = (
        made["session_id"].as_str().expect("an id").to_owned(),
        made["epoch"].clone(),
    );
    hub.kill().await;

    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer {
            number,
            sent: 0,
            open: None,
            told: BTreeMap::new(),
        })
        .collect();
    for round in 0..rounds {
        let hub = ChildHub::start(data.path(), &[("TALUS_HUB_SESSIONS__SNAPSHOT_EVENTS", "50")]).await;
        let answers = Arc::new(AtomicUsize::new(0));
        let mut writing = JoinSet::new();
        for writer in writers.drain(..) {
            writing.spawn(writer.write(hub.url.clone(), session_id.clone(), Arc::clone(&answers)));
        }
        // At another moment each time: sometimes before anybody has an answer, sometimes in the thick of it.
        let enough = round * 37 % 90;
        while answers.load(Ordering::Relaxed) < enough {
            tokio::task::yield_now().await;
        }
        hub.kill().await;
        writers = writing.join_all().await;
    }

    let hub = ChildHub::start(data.path(), &[]).await;
    let events = all_events(&hub.url, &session_id).await;
    for (event, seq) in events.iter().zip(1_u64..) {
        assert_eq!(event["data"]["seq"], seq, "dense");
        assert_eq!(event["data"]["epoch"], epoch, "one log");
    }
    let mut places = BTreeMap::new();
    for event in events.iter().filter(|event| event["event"] == "command:executed") {
        let id = event["data"]["command_id"].as_str().expect("an id").to_owned();
        let seq = event["data"]["seq"].as_u64().expect("a place");
        assert!(places.insert(id, seq).is_none(), "applied once: {event}");
    }
    let told: BTreeMap<_, _> = writers.iter().flat_map(|writer| writer.told.clone()).collect();
    assert!(told.len() > rounds, "{} commands were acknowledged", told.len());
    for (id, seq) in &told {
        assert_eq!(
            places.get(id),
            Some(seq),
            "what was acknowledged is there, where it was said to be"
        );
    }
    let open: BTreeSet<_> = writers
        .iter()
        .filter_map(|writer| writer.open.as_ref()?["command_id"].as_str())
        .collect();
    for id in places.keys().filter(|id| !told.contains_key(*id)) {
        assert!(
            open.contains(id.as_str()),
            "only what nobody has an answer to is there beside it"
        );
    }
    let graph = get(&hub.url, &format!("/sessions/{session_id}/graph")).await;
    assert_eq!(graph["graph"]["roots"].as_array().expect("a list").len(), places.len());
    assert_eq!(hub.terminate().await, Some(0));
}

/// A hub that is stopped and started again goes on where it was: sessions, projects, undo, answers to old commands.
#[tokio::test]
async fn everything_comes_back_after_a_restart() {
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
    assert_eq!(listed["sessions"][0]["seq"], saved["seq"], "known without waking it");
    let tree = hub.ops("/actors").await.ok();
    assert_eq!(tree["sessions"][0]["state"], "asleep", "loaded on first access only");
    assert_eq!(hub.get(&format!("/sessions/{session_id}/info")).await.ok(), before);
    let exists = hub.post("/projects", &project).await;
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
    assert_eq!(then["graph"]["roots"][0]["name"], "Kept", "and as it was then");
}

/// P4 at any age: a command that is far beyond the replay window is found in the log, while new ones go by.
#[tokio::test]
async fn a_command_of_long_ago_is_answered_as_it_was_then() {
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

    // Many at once, old and new, each sent twice: every answer belongs to its command.
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
    assert!(answers.values().all(|told| told.len() == 1), "{answers:?}");
    assert_eq!(
        hub.graph(&session_id).await["roots"].as_array().expect("a list").len(),
        100
    );
}
