//! The server's REST API, as far as a load needs it.

use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::workload::{Opened, node_data};

/// How long a command may take. Longer than a server's own limit, whose answer says more.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server, by connections that are kept.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) http: reqwest::Client,
    url: String,
}

/// What a command came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was carried out, and its last event has this place.
    Accepted(u64),
    /// It was refused with this status.
    Refused(u16),
    /// Nobody knows.
    Unanswered,
}

#[derive(Deserialize)]
struct Made {
    session_id: String,
}

#[derive(Deserialize)]
struct Outcome {
    seq: u64,
    node_id: Option<String>,
}

impl Server {
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    /// Opens a session with some nodes.
    pub(crate) async fn open(&self, nodes: u32) -> anyhow::Result<Opened> {
        let made: Made = self.post("/sessions", &json!({})).await?;
        let mut opened = Opened {
            session_id: made.session_id,
            nodes: Vec::new(),
            seq: 0,
        };
        for number in 0..nodes {
            let parent = opened.nodes.first().map(String::as_str);
            let body = json!({
                "session_id": opened.session_id, "command_type": "CreateNode",
                "data": node_data(parent, number.into()),
            });
            let outcome: Outcome = self.post("/commands/execute", &body).await?;
            opened.seq = outcome.seq;
            let node = outcome.node_id.context("the answer to CreateNode has a node_id")?;
            opened.nodes.push(node);
        }
        Ok(opened)
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

    async fn post<T: for<'de> Deserialize<'de>>(&self, path: &str, body: &Value) -> anyhow::Result<T> {
        let url = self.api(path);
        let answer = self.http.post(&url).json(body).send().await?.error_for_status()?;
        answer.json().await.context(url)
    }

    fn api(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.url)
    }
}
