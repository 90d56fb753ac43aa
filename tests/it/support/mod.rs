//! A hub of one's own for each test: its own port, its own data, its own limits.

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

/// The folder of the package.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A hub that serves on a free port, in this process.
pub struct TestHub {
    /// Where it is, without a path.
    pub url: String,
    /// Where operators are listened to.
    pub ops_url: String,
    /// Its data. Goes with it.
    pub dir: TempDir,
    http: reqwest::Client,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

/// What an HTTP request came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The JSON body; null if there is none.
    pub body: Value,
}

impl Reply {
    /// The body of an answer that has to be a success.
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        self.body
    }

    /// Status and code of an answer that has to be a failure.
    pub fn refused(&self) -> (u16, &str) {
        let code = self.body["error"]["code"].as_str();
        (self.status, code.unwrap_or("no code in the body"))
    }
}

impl TestHub {
    /// A hub with the defaults.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A hub with some of the configuration changed.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self::on(dir, change).await
    }

    /// A hub on data that is there already.
    pub async fn on(dir: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.server.port = 0;
        config.ops.listen = "127.0.0.1:0".to_owned();
        config.data.dir = dir.path().to_owned();
        config.templates.dir = PathBuf::from(ROOT).join("config/templates");
        change(&mut config);
        let app = App::start(config).await.expect("the hub starts");
        let url = format!("http://{}", app.address());
        let ops_url = format!("http://{}", app.ops_address().expect("it listens to operators"));
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

    /// The client that requests go by, for what the shortcuts below do not cover.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The address of a path of the API.
    pub fn api(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.url)
    }

    /// Sends a request and reads the JSON of its answer.
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

    /// Reads a page of the operators'.
    pub async fn ops(&self, path: &str) -> Reply {
        self.send(self.http.get(format!("{}/ops{path}", self.ops_url))).await
    }

    /// Does something that operators do.
    pub async fn operate(&self, path: &str, body: &Value) -> Reply {
        self.send(self.http.post(format!("{}/ops{path}", self.ops_url)).json(body))
            .await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.http.delete(self.api(path))).await
    }

    /// A session without a template.
    pub async fn session(&self) -> String {
        let made = self.post("/sessions", &json!({})).await.ok();
        made["session_id"].as_str().expect("an id").to_owned()
    }

    /// Sends a command, whatever comes of it.
    pub async fn execute(&self, session_id: &str, command_type: &str, data: Value) -> Reply {
        let command = json!({"session_id": session_id, "command_type": command_type, "data": data});
        self.post("/commands/execute", &command).await
    }

    /// Creates a node and tells its id.
    pub async fn create_node(&self, session_id: &str, parent_id: Option<&str>, name: &str) -> String {
        let data = json!({"blueprint_type_id": "task", "name": name, "parent_id": parent_id});
        let created = self.execute(session_id, "CreateNode", data).await.ok();
        created["node_id"].as_str().expect("an id").to_owned()
    }

    /// The graph as `GET /graph` tells it.
    pub async fn graph(&self, session_id: &str) -> Value {
        self.get(&format!("/sessions/{session_id}/graph")).await.ok()["graph"].take()
    }

    /// Stops it as a signal would, and tells how that went.
    pub async fn stop(self) -> (TempDir, Result<(), ServeError>) {
        self.stop.cancel();
        let ended = self.served.await.expect("serving does not panic");
        (self.dir, ended)
    }
}

/// There are no templates.
pub struct NoBlueprints;

impl BlueprintSource for NoBlueprints {
    fn blueprint(&self, _: &TemplateId) -> BoxFuture<'static, Option<Arc<Blueprint>>> {
        std::future::ready(None).boxed()
    }
}
