//! REST client for the routes that a load needs.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{StatusCode, header::RETRY_AFTER};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::workload::{Opened, node_data};

/// Timeout of a command. It is longer than the timeout of a server, whose error is more specific.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Nodes of one session that are created at one time, so that the server can flush them together.
const CREATE_CONCURRENCY: usize = 8;

/// Maximum number of attempts to create a session or a node on an overloaded server.
const ATTEMPTS_MAX: u32 = 30;

/// Maximum wait between two attempts.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Handle to a server with a pool of connections.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) http: reqwest::Client,
    url: String,
}

/// Outcome of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The command was accepted. Carries the sequence number of its last event.
    Accepted(u64),
    /// The command was refused. Carries the HTTP status.
    Refused(u16),
    /// The outcome is unknown.
    Unanswered,
}

#[derive(Deserialize)]
struct CreatedSession {
    session_id: String,
}

#[derive(Deserialize)]
struct Outcome {
    seq: u64,
    node_id: Option<String>,
}

/// Returns the wait that an overloaded server asks for, [`WAIT_MAX`] at most. `None`: the answer is not 503.
fn retry_after(answer: &reqwest::Response) -> Option<Duration> {
    if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse();
    seconds.ok().map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX))
}

impl Server {
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    /// Opens a session with `nodes` nodes.
    pub(crate) async fn open(&self, nodes: u32) -> anyhow::Result<Opened> {
        let made: CreatedSession = self.post("/sessions", &json!({})).await?;
        let mut opened = Opened {
            session_id: made.session_id,
            nodes: Vec::new(),
            seq: 0,
        };
        // The first node is the parent of the others.
        for numbers in [0..1, 1..nodes] {
            let (parent, id) = (opened.nodes.first().cloned(), opened.session_id.clone());
            let making = numbers.map(|number| self.create_node(&id, parent.as_deref(), number));
            let mut made = stream::iter(making).buffered(CREATE_CONCURRENCY);
            while let Some((node, seq)) = made.try_next().await? {
                opened.nodes.push(node);
                opened.seq = seq.max(opened.seq);
            }
        }
        Ok(opened)
    }

    /// Creates a node. Returns its id and the sequence number of its event.
    async fn create_node(&self, session_id: &str, parent: Option<&str>, number: u32) -> anyhow::Result<(String, u64)> {
        let data = node_data(parent, number.into());
        // The command id makes a retry idempotent.
        let id = Uuid::new_v4();
        let body = json!({"session_id": session_id, "command_type": "CreateNode", "command_id": id, "data": data});
        let outcome: Outcome = self.post("/commands/execute", &body).await?;
        let node = outcome.node_id.context("the answer to CreateNode has a node_id")?;
        Ok((node, outcome.seq))
    }

    /// Sends a command.
    pub(crate) async fn execute(&self, body: &Value) -> Answer {
        let request = self.http.post(self.api("/commands/execute")).json(body);
        let Ok(response) = request.send().await else {
            return Answer::Unanswered;
        };
        let status = response.status();
        if !status.is_success() {
            return Answer::Refused(status.as_u16());
        }
        let outcome = response.json::<Outcome>().await;
        outcome.map_or(Answer::Unanswered, |outcome| Answer::Accepted(outcome.seq))
    }

    /// Posts a request, with retries while the server is overloaded. Used before the load only. A retry may create a
    /// second session, which stays unused.
    async fn post<T: for<'de> Deserialize<'de>>(&self, path: &str, body: &Value) -> anyhow::Result<T> {
        let url = self.api(path);
        let mut attempts = 1;
        loop {
            let answer = self.http.post(&url).json(body).send().await?;
            match retry_after(&answer).filter(|_| attempts < ATTEMPTS_MAX) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return answer.error_for_status()?.json().await.context(url),
            }
            attempts += 1;
        }
    }

    fn api(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.url)
    }
}
