//! Hubs to measure: one in this process without HTTP, and the real binary in a process of its own.

use std::{collections::BTreeMap, path::Path, process::Stdio, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use serde_json::{Value as Json, json};
use talus_actors::{
    clock::now,
    domain::{
        blueprint::Blueprint,
        command::{Author, Command, Context, CreateNode},
        ids::{CommandId, NodeId, SessionId, TemplateId},
        limits::Limits,
        value::Value,
    },
    hub::{Hub, HubError, HubParts, HubSettings, NewSession, RoomSettings},
    log::{EventLog, MemoryLog},
    random::new_command_id,
    session_actor::{BlueprintSource, Submitted},
    session_supervisor::SupervisionSettings,
    stats::Stats,
};
use talus_hub::{
    storage::{Options, SqliteLog},
    wire::room::{ClientLimits, WireEncoder},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command as Program},
};
use tracing::Span;
use uuid::Uuid;

/// Duration that exceeds any run.
const NEVER: Duration = Duration::from_secs(86_400);

/// Commands in flight while a session is filled: enough for large groups, below the session's limit.
const FILLING: usize = 256;

struct NoBlueprints;

impl BlueprintSource for NoBlueprints {
    fn blueprint(&self, _: &TemplateId) -> BoxFuture<'static, Option<Arc<Blueprint>>> {
        std::future::ready(None).boxed()
    }
}

/// Starts a hub with the binary's limits, except that it never quarantines a session, restarts without backoff, and
/// accepts graphs of more than 100,000 nodes.
pub async fn hub(log: Arc<dyn EventLog>, snapshot_events: u64) -> Hub {
    let reconnect_ms = (500, 5_000);
    let settings = HubSettings {
        limits: Limits {
            nodes_max: 200_000,
            ..Limits::default()
        },
        supervision: SupervisionSettings {
            restarts_max: 1_000_000,
            restart_window: NEVER,
            restart_backoff: Duration::ZERO,
            idle_timeout: NEVER,
            sessions_max: 100_000,
            in_flight_per_session_max: 1_024,
            reconnect_ms,
        },
        room: RoomSettings {
            tick_interval: Duration::from_secs(5),
            events_packet_bytes_max: 65_536,
            sync_bytes_in_flight_max: 67_108_864,
            presence_interval: Duration::from_millis(100),
            presence_clients_max: 1_000,
            deliveries_waiting_max: 16_384,
        },
        in_flight_max: 65_536,
        group_commands_max: 256,
        snapshot_events,
        sockets_per_session_max: 10_000,
        command_filter_bytes_max: 1_048_576,
    };
    let parts = HubParts {
        log,
        blueprints: Arc::new(NoBlueprints),
        encoder: Some(Arc::new(WireEncoder {
            reconnect_ms,
            limits: ClientLimits::DEFAULT,
        })),
        stats: Arc::new(Stats::default()),
    };
    Hub::start(settings, parts).await.expect("the log can be read")
}

pub fn memory() -> Arc<dyn EventLog> {
    Arc::new(MemoryLog::start().expect("a thread"))
}

#[expect(clippy::print_stderr, reason = "a bench has no log")]
pub fn sqlite(dir: &Path) -> SqliteLog {
    let fatal = Box::new(|reason: &str| eprintln!("the disk failed: {reason}"));
    SqliteLog::open(dir, &Options::default(), fatal).expect("the log opens")
}

pub async fn session(hub: &Hub) -> SessionId {
    let (header, _) = hub.create(NewSession::default()).await.expect("created");
    header.session_id
}

pub fn node_id() -> NodeId {
    NodeId::new(Uuid::new_v4())
}

pub fn create(node_id: NodeId, parent_id: Option<NodeId>) -> Command {
    Command::CreateNode(CreateNode {
        node_type: "task".into(),
        name: Some("A task like others".into()),
        parent_id,
        index: None,
        properties: BTreeMap::new(),
        node_id: Some(node_id),
    })
}

/// Returns a command that always changes something: two events.
pub fn update(node_id: NodeId) -> Command {
    Command::UpdateProperty {
        node_id,
        property: "description".into(),
        new_value: Value::text(format!(
            "{} is what this task is about, in a line of text",
            Uuid::new_v4()
        )),
    }
}

pub async fn submit_as(hub: &Hub, id: SessionId, as_id: CommandId, command: Command) -> Result<Submitted, HubError> {
    let context = Context {
        command_id: as_id,
        author: Author::default(),
        now: now(),
        expected_seq: None,
    };
    hub.submit(id, Arc::new(command), context, Span::none()).await
}

pub async fn submit(hub: &Hub, id: SessionId, command: Command) -> Submitted {
    let submitted = submit_as(hub, id, new_command_id(), command).await;
    submitted.expect("accepted")
}

/// Creates a session with one node and `events` events.
pub async fn session_with_history(hub: &Hub, events: usize) -> (SessionId, NodeId) {
    let (id, node) = (session(hub).await, node_id());
    submit(hub, id, create(node, None)).await;
    let rest = stream::iter(1..events / 2).map(|_| submit(hub, id, update(node)));
    rest.buffer_unordered(FILLING).for_each(|_| async {}).await;
    (id, node)
}

/// Running binary on a data directory. `HUB_BINARY` names the path of another binary.
pub struct Process {
    pub url: String,
    /// Address of the operators' listener.
    pub ops_url: String,
    pub child: Child,
}

impl Process {
    pub async fn start(data: &Path) -> Self {
        Self::start_with(data, &[], None).await
    }

    /// Starts the binary with settings as environment variables, and with a limit of open files.
    pub async fn start_with(data: &Path, settings: &[(&str, &str)], open_files: Option<u32>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let binary = std::env::var_os("HUB_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_talus-hub").into());
        let mut command = match open_files {
            None => Program::new(binary),
            Some(open_files) => {
                let mut shell = Program::new("sh");
                let script = format!("ulimit -n {open_files} && exec \"$0\" \"$@\"");
                shell.args(["-c", &script]).arg(binary);
                shell
            }
        };
        let mut child = command
            .arg("--data-dir")
            .arg(data)
            .env("TALUS_HUB_SERVER__PORT", "0")
            .env("TALUS_HUB_OPS__LISTEN", "127.0.0.1:0")
            .env("TALUS_HUB_TEMPLATES__DIR", root.join("config/templates"))
            .env("TALUS_HUB_LOG__LEVEL", "error")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut said = async |what: &str| loop {
            let line = output.next_line().await.expect("readable").expect("a line");
            if let Some(rest) = line.strip_prefix(what) {
                break rest.to_owned();
            }
        };
        let url = said("talus-hub listening on ").await;
        let ops = said("operators at ").await;
        let ops_url = ops.strip_suffix("/ops/actors").expect("an address").to_owned();
        // Reads on, because a full or closed pipe would disturb the hub.
        tokio::spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
        Self { url, ops_url, child }
    }

    pub async fn post(&self, http: &reqwest::Client, path: &str, body: &Json) -> Json {
        let request = http.post(format!("{}/api/v1{path}", self.url)).json(body);
        let answer = request.send().await.expect("the hub answers");
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.json().await.expect("JSON")
    }

    pub async fn session(&self, http: &reqwest::Client) -> String {
        let made = self.post(http, "/sessions", &json!({})).await;
        made["session_id"].as_str().expect("an id").to_owned()
    }

    pub async fn execute(&self, http: &reqwest::Client, session_id: &str, command_type: &str, data: Json) -> Json {
        let body = json!({"session_id": session_id, "command_type": command_type, "data": data});
        self.post(http, "/commands/execute", &body).await
    }
}
