//! Many stored sessions: time to ready of their hub, and memory of loaded and of passivated sessions.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use talus_actors::{
    domain::{
        command::{Command, CreateNode},
        content::NodeContent,
        graph::Graph,
        ids::{NodeId, PropertyId, SessionId, TypeId},
        siblings::Siblings,
        value::Value,
    },
    hub::Hub,
};

use crate::{
    process::{ready, rss_kib},
    table::{Table, ms},
    world::{self, Process},
};

const STORED: usize = 10_000;
const LARGE: usize = 1_000;
const LARGE_NODES: usize = 200;
const SMALL_NODES: usize = 5;

/// Number of children of each node: 200 nodes are four levels deep.
const CHILDREN: usize = 6;

/// Number of sessions that are filled, and of requests that are made, at a time.
const AT_A_TIME: usize = 64;

/// Time for effects that follow an answer: actors end, and pages are returned.
const SETTLE: Duration = Duration::from_secs(2);

/// Time for which the memory of passivated sessions is watched: an allocator returns memory gradually.
const WATCH: Duration = Duration::from_secs(15);

/// Source of the nodes of large sessions.
#[derive(Clone, Copy)]
enum NodeSource {
    /// One command for each node, each of which can be undone.
    Commands,
    /// A project file with all nodes.
    File,
}

/// Measures sessions that remember a command for each of their nodes. See [`measure`].
pub async fn made_by_commands() -> Table {
    let title = "sessions: 10000 stored, 1000 of them of 200 nodes (each made by a command of its own) loaded, then put to sleep";
    measure(title, NodeSource::Commands).await
}

/// Measures sessions that remember only the load of a file. See [`measure`].
pub async fn from_files() -> Table {
    let title = "from_files: the same, the 200 nodes from a project file";
    measure(title, NodeSource::File).await
}

/// Measures time to ready and resident memory of a hub with 10,000 stored sessions, before, during and after the use of
/// 1,000 of them.
async fn measure(title: &'static str, source: NodeSource) -> Table {
    let mut table = Table::new(title, &["moment", "ms", "RSS KiB", "KiB/session"]);
    let dir = tempfile::tempdir().expect("a folder");
    let large = fill(dir.path(), source).await;
    let http = reqwest::Client::new();
    // Fills the system's caches.
    ready(&http, dir.path())
        .await
        .child
        .kill()
        .await
        .expect("the process ends");

    let began = Instant::now();
    let process = ready(&http, dir.path()).await;
    let idle = note(&mut table, "ready", began, &process, None);
    tokio::time::sleep(SETTLE).await;
    note(&mut table, "idle", began, &process, None);

    let began = Instant::now();
    read_all(&process, &large).await;
    note(&mut table, "all read", began, &process, Some(idle));
    tokio::time::sleep(SETTLE).await;
    note(&mut table, "awake", began, &process, Some(idle));

    let began = Instant::now();
    let url = |id| format!("{}/ops/sessions/{id}/passivate", process.ops_url);
    each(large.iter().map(|id| http.post(url(id))).collect()).await;
    note(&mut table, "put to sleep", began, &process, Some(idle));
    tokio::time::sleep(WATCH).await;
    note(&mut table, "asleep", began, &process, Some(idle));

    let began = Instant::now();
    read_all(&process, &large).await;
    tokio::time::sleep(SETTLE).await;
    note(&mut table, "awake again", began, &process, Some(idle));
    table
}

/// Adds a row, and returns the resident memory in KiB.
fn note(table: &mut Table, moment: &str, began: Instant, process: &Process, idle: Option<usize>) -> usize {
    let rss = rss_kib(&process.child);
    let each = idle.map(|idle| rss.saturating_sub(idle) as f64 / LARGE as f64);
    let each = each.map_or_else(String::new, |each| format!("{each:.1}"));
    table.row(&[moment.to_owned(), ms(began.elapsed()), rss.to_string(), each]);
    rss
}

/// Reads sessions over connections of its own, which end with the call: the hub's memory for connections is not counted
/// as the sessions'.
async fn read_all(process: &Process, sessions: &[SessionId]) {
    let http = reqwest::Client::new();
    let url = |id| format!("{}/api/v1/sessions/{id}/graph", process.url);
    each(sessions.iter().map(|id| http.get(url(id))).collect()).await;
}

async fn each(requests: Vec<reqwest::RequestBuilder>) {
    let asked = requests.into_iter().map(async |request| {
        let answer = request.send().await.expect("the hub answers");
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.bytes().await.expect("a whole answer");
    });
    stream::iter(asked)
        .buffer_unordered(AT_A_TIME)
        .for_each(|()| async {})
        .await;
}

/// Fills a data directory, and returns the large sessions.
async fn fill(data: &Path, source: NodeSource) -> Vec<SessionId> {
    let log = world::sqlite(data);
    let hub = world::hub(Arc::new(log.clone()), 4_000).await;
    let large = match source {
        NodeSource::Commands => fill_all(&hub, LARGE, LARGE_NODES).await,
        NodeSource::File => load_all(&hub, LARGE, LARGE_NODES).await,
    };
    fill_all(&hub, STORED - LARGE, SMALL_NODES).await;
    hub.drain().await;
    log.close().await;
    large
}

async fn fill_all(hub: &Hub, sessions: usize, nodes: usize) -> Vec<SessionId> {
    let filling = (0..sessions).map(async |_| {
        let id = world::session(hub).await;
        let mut made: Vec<NodeId> = Vec::new();
        for number in 0..nodes {
            let parent = number.checked_sub(1).map(|before| made[before / CHILDREN]);
            made.push(world::node_id());
            world::submit(hub, id, task(made[number], parent, number)).await;
        }
        hub.passivate(id).await.expect("the session exists");
        id
    });
    stream::iter(filling).buffer_unordered(AT_A_TIME).collect().await
}

async fn load_all(hub: &Hub, sessions: usize, nodes: usize) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for _ in 0..sessions {
        let id = world::session(hub).await;
        let load = Command::LoadGraph {
            graph: graph(nodes),
            extras: None,
            from_file: true,
            template_id: None,
        };
        world::submit(hub, id, load).await;
        hub.passivate(id).await.expect("the session exists");
        ids.push(id);
    }
    ids
}

/// Returns the graph that the commands of [`fill_all`] create.
fn graph(nodes: usize) -> Graph {
    let mut graph = Graph::default();
    let mut made: Vec<NodeId> = Vec::new();
    for number in 0..nodes {
        let parent = number.checked_sub(1).map(|before| made[before / CHILDREN]);
        made.push(world::node_id());
        let Command::CreateNode(create) = task(made[number], parent, number) else {
            unreachable!("a task is a creation");
        };
        let properties = create.properties.into_iter();
        let properties = properties.map(|(key, value)| (PropertyId::new(key), value));
        let content = NodeContent {
            name: create.name.expect("a task has a name"),
            type_id: TypeId::new(create.node_type),
            properties: properties.collect(),
            metadata: None,
        };
        let end = graph.children(parent).map_or(0, Siblings::len);
        graph.insert(made[number], content, parent, end).expect("it fits");
    }
    graph
}

/// Returns a command that creates a node as in a task tracker.
fn task(node_id: NodeId, parent_id: Option<NodeId>, number: usize) -> Command {
    let states = ["open", "in progress", "blocked", "done"];
    let properties = [
        ("status", Value::text(states[number % states.len()])),
        ("assignee", Value::text(format!("user-{}", number % 7))),
        ("estimate", Value::text(format!("{} days", number % 13))),
        (
            "description",
            Value::text(format!(
                "What has to be done about part {number}, in about a line and a half of text."
            )),
        ),
    ];
    let properties = properties.map(|(key, value)| (key.into(), value));
    Command::CreateNode(CreateNode {
        node_type: "task".into(),
        name: Some(format!("Part {number} of the work that is to be done").into()),
        parent_id,
        index: None,
        properties: BTreeMap::from(properties),
        node_id: Some(node_id),
    })
}
