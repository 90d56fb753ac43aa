//! Test hubs, each with its own port, data and limits, and the programs that drive them.

pub mod child;
pub mod crash;
pub mod disk;
pub mod events;
pub mod trace;
pub mod websocket;
pub mod writer;

use std::{path::PathBuf, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};
use talus_actors::{
    domain::{blueprint::Blueprint, ids::TemplateId},
    session_actor::BlueprintSource,
};
use talus_hub::{
    app::{App, ServeError},
    config::Config,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Folder of the package.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Hub that serves on a free port in the test's process.
pub struct TestHub {
    /// Base URL of the clients' listener.
    pub url: String,
    /// Base URL of the operators' listener.
    pub ops_url: String,
    /// Data directory, removed with the hub.
    pub dir: TempDir,
    http: reqwest::Client,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

/// Response to an HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// JSON body; null if the response has none.
    pub body: Value,
}

impl Reply {
    /// Returns the body and asserts that the request succeeded.
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        self.body
    }

    /// Returns status and error code of a refused request.
    pub fn refused(&self) -> (u16, &str) {
        let code = self.body["error"]["code"].as_str();
        (self.status, code.unwrap_or("no code in the body"))
    }
}

impl TestHub {
    /// Starts a hub with the default configuration.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a hub with a changed configuration.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self::on(dir, change).await
    }

    /// Starts a hub on an existing data directory.
    pub async fn on(dir: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.server.port = 0;
        config.ops.listen = "127.0.0.1:0".to_owned();
        config.data.dir = dir.path().to_owned();
        config.templates.dir = PathBuf::from(ROOT).join("config/templates");
        change(&mut config);
        let app = App::start(config).await.expect("the hub starts");
        let url = format!("http://{}", app.address());
        let ops_url = format!("http://{}", app.ops_address().expect("the operators' listener is on"));
        let stop = CancellationToken::new();
        let served = tokio::spawn(app.serve(stop.clone().cancelled_owned()));
        Self {
            url,
            ops_url,
            dir,
            http: reqwest::Client::new(),
            stop,
            served,
        }
    }

    /// Returns the client that sends the hub's requests, for requests that no method below covers.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Returns the URL of an API path.
    pub fn api(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.url)
    }

    /// Sends a request and reads the JSON body of the response.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let response = request.send().await.expect("the hub answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("the answer is complete");
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).expect(&text)
        };
        Reply { status, body }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.http.get(self.api(path))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.http.post(self.api(path)).json(body)).await
    }

    /// Reads a page of the operators' listener.
    pub async fn ops(&self, path: &str) -> Reply {
        self.send(self.http.get(format!("{}/ops{path}", self.ops_url))).await
    }

    /// Posts a request to the operators' listener.
    pub async fn operate(&self, path: &str, body: &Value) -> Reply {
        self.send(self.http.post(format!("{}/ops{path}", self.ops_url)).json(body))
            .await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.http.delete(self.api(path))).await
    }

    /// Creates a session without a template and returns its id.
    pub async fn session(&self) -> String {
        let made = self.post("/sessions", &json!({})).await.ok();
        made["session_id"].as_str().expect("an id").to_owned()
    }

    /// Sends a command and returns the reply, successful or not.
    pub async fn execute(&self, session_id: &str, command_type: &str, data: Value) -> Reply {
        let command = json!({"session_id": session_id, "command_type": command_type, "data": data});
        self.post("/commands/execute", &command).await
    }

    /// Creates a node and returns its id.
    pub async fn create_node(&self, session_id: &str, parent_id: Option<&str>, name: &str) -> String {
        let data = json!({"blueprint_type_id": "task", "name": name, "parent_id": parent_id});
        let created = self.execute(session_id, "CreateNode", data).await.ok();
        created["node_id"].as_str().expect("an id").to_owned()
    }

    /// Returns the graph as `GET /graph` serves the graph.
    pub async fn graph(&self, session_id: &str) -> Value {
        self.get(&format!("/sessions/{session_id}/graph")).await.ok()["graph"].take()
    }

    /// Stops the hub as a signal would, and returns the outcome.
    pub async fn stop(self) -> (TempDir, Result<(), ServeError>) {
        self.stop.cancel();
        let ended = self.served.await.expect("serving does not panic");
        (self.dir, ended)
    }
}

/// Source without templates.
pub struct NoBlueprints;

impl BlueprintSource for NoBlueprints {
    fn blueprint(&self, _: &TemplateId) -> BoxFuture<'static, Option<Arc<Blueprint>>> {
        std::future::ready(None).boxed()
    }
}
