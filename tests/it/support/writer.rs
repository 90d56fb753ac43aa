//! Clients that send commands to a hub that may be killed, and record the acknowledgements.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Client, Error};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};
use uuid::Uuid;

/// Client that writes to one session and records the acknowledgements.
pub struct Writer {
    number: usize,
    sent: usize,
    /// Command without an answer.
    unanswered: Option<Value>,
    /// `seq` of each acknowledged command, by id.
    acknowledged: BTreeMap<String, u64>,
    /// Bytes of text in each node.
    text_bytes: usize,
}

/// Writers of one session.
pub struct Writers {
    session_id: String,
    idle: Vec<Writer>,
    writing: JoinSet<Writer>,
    answers: watch::Sender<usize>,
}

impl Writer {
    const fn new(number: usize) -> Self {
        Self {
            number,
            sent: 0,
            unanswered: None,
            acknowledged: BTreeMap::new(),
            text_bytes: 0,
        }
    }

    /// Returns the unanswered command again, or else a new one.
    fn next(&mut self, session_id: &str) -> Value {
        if let Some(unanswered) = &self.unanswered {
            return unanswered.clone();
        }
        let id = Uuid::from_u128(((self.number as u128 + 1) << 64) + self.sent as u128);
        self.sent += 1;
        let mut command = json!({
            "session_id": session_id, "command_type": "CreateNode", "command_id": id,
            "data": {"blueprint_type_id": "task", "name": format!("{} {}", self.number, self.sent)},
        });
        if self.text_bytes > 0 {
            command["data"]["properties"] = json!({"notes": "n".repeat(self.text_bytes)});
        }
        self.unanswered = Some(command.clone());
        command
    }

    /// Sends one command. Fails if the hub is gone.
    async fn send(&mut self, http: &Client, url: &str, session_id: &str) -> Result<(), Error> {
        let command = self.next(session_id);
        let request = http.post(format!("{url}/api/v1/commands/execute")).json(&command);
        let answer = request.send().await?.json::<Value>().await?;
        assert_eq!(answer["success"], true, "{answer}");
        let id = command["command_id"].as_str().expect("chosen").to_owned();
        let seq = answer["seq"].as_u64().expect("a seq");
        assert!(
            self.acknowledged.insert(id, seq).is_none(),
            "one answer for each command"
        );
        self.unanswered = None;
        Ok(())
    }

    /// Sends commands until the hub is gone.
    async fn write(mut self, url: String, session_id: String, answers: watch::Sender<usize>) -> Self {
        let http = Client::new();
        while self.send(&http, &url, &session_id).await.is_ok() {
            answers.send_modify(|count| *count += 1);
        }
        self
    }
}

impl Writers {
    /// Creates `count` writers of a session.
    pub fn new(count: usize, session_id: &str) -> Self {
        Self {
            session_id: session_id.to_owned(),
            idle: (0..count).map(Writer::new).collect(),
            writing: JoinSet::new(),
            answers: watch::Sender::new(0),
        }
    }

    /// Creates a single writer. The number makes the command ids unique, and each node has `text_bytes` of text.
    pub fn one(number: usize, session_id: &str, text_bytes: usize) -> Self {
        let mut writers = Self::new(0, session_id);
        let writer = Writer::new(number);
        writers.idle.push(Writer { text_bytes, ..writer });
        writers
    }

    /// Starts all writers, which write until the hub is gone.
    pub fn start(&mut self, url: &str) {
        self.answers.send_replace(0);
        for writer in self.idle.drain(..) {
            let writing = writer.write(url.to_owned(), self.session_id.clone(), self.answers.clone());
            self.writing.spawn(writing);
        }
    }

    /// Waits until the writers have `enough` answers since their start.
    pub async fn answered(&self, enough: usize) {
        let mut answers = self.answers.subscribe();
        let reached = answers.wait_for(|count| *count >= enough).await;
        reached.expect("the writers hold the sender");
    }

    /// Waits until each writer has noticed that the hub is gone.
    pub async fn stopped(&mut self) {
        while let Some(writer) = self.writing.join_next().await {
            self.idle.push(writer.expect("no panic"));
        }
    }

    /// Sends one command of each writer, an unanswered command first.
    pub async fn send_once(&mut self, url: &str) {
        let http = Client::new();
        for writer in &mut self.idle {
            let sent = writer.send(&http, url, &self.session_id).await;
            sent.expect("the hub answers");
        }
    }

    /// Returns the ids of all acknowledged commands.
    pub fn acknowledged(&self) -> impl Iterator<Item = Uuid> {
        let ids = self.idle.iter().flat_map(|writer| writer.acknowledged.keys());
        ids.map(|id| id.parse().expect("an id"))
    }

    /// Asserts that the session has each acknowledged command once, at the acknowledged `seq`, and otherwise only
    /// unanswered commands; that `seq` has no gaps; and that the epoch is unchanged. Returns the number of acknowledged
    /// commands.
    pub async fn check(&self, url: &str, epoch: &Value) -> usize {
        let events = all_events(url, &self.session_id).await;
        for (event, seq) in events.iter().zip(1_u64..) {
            assert_eq!(event["data"]["seq"], seq, "no gap in seq");
            assert_eq!(event["data"]["epoch"], *epoch, "same epoch");
        }
        let mut found = BTreeMap::new();
        for event in events.iter().filter(|event| event["event"] == "command:executed") {
            let id = event["data"]["command_id"].as_str().expect("an id").to_owned();
            let seq = event["data"]["seq"].as_u64().expect("a seq");
            assert!(found.insert(id, seq).is_none(), "applied once: {event}");
        }
        let acknowledged: BTreeMap<_, _> = self.idle.iter().flat_map(|writer| &writer.acknowledged).collect();
        for (id, seq) in &acknowledged {
            let place = found.get(*id);
            assert_eq!(place, Some(*seq), "an acknowledged command is at its seq");
        }
        let unanswered = self.idle.iter().filter_map(|writer| writer.unanswered.as_ref());
        let unanswered: BTreeSet<_> = unanswered
            .filter_map(|command| command["command_id"].as_str())
            .collect();
        for id in found.keys().filter(|id| !acknowledged.contains_key(id)) {
            assert!(unanswered.contains(id.as_str()), "other commands are unanswered");
        }
        let graph = get(url, &format!("/sessions/{}/graph", self.session_id)).await;
        assert_eq!(graph["graph"]["roots"].as_array().expect("a list").len(), found.len());
        acknowledged.len()
    }
}

/// Reads an API path of a hub in any process.
pub async fn get(url: &str, path: &str) -> Value {
    let response = reqwest::get(format!("{url}/api/v1{path}"))
        .await
        .expect("the hub answers");
    response.json().await.expect("JSON")
}

/// Creates a session and returns its id and epoch.
pub async fn session(url: &str) -> (String, Value) {
    let made = Client::new().post(format!("{url}/api/v1/sessions")).send().await;
    let mut made: Value = made.expect("answered").json().await.expect("JSON");
    (
        made["session_id"].as_str().expect("an id").to_owned(),
        made["epoch"].take(),
    )
}

/// Reads every event of a session, page by page.
pub async fn all_events(url: &str, session_id: &str) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let page = get(url, &format!("/sessions/{session_id}/events?after={after}&limit=1000")).await;
        events.extend(page["events"].as_array().expect("a list").iter().cloned());
        after = page["next_after"].as_u64().expect("a seq");
        if page["more"] == false {
            return events;
        }
    }
}
