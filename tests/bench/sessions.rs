//! Many stored sessions: how soon a hub serves that has them, and what they cost asleep and awake.

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

/// Children of a node, so that 200 nodes are four levels deep.
const CHILDREN: usize = 6;

/// Sessions that are filled, and requests that are made, at one time.
const AT_A_TIME: usize = 64;

/// How long what happens after an answer is given: actors end, pages go back.
const SETTLE: Duration = Duration::from_secs(2);

/// How long the memory of sessions that sleep is watched: an allocator gives it back little by little.
const WATCH: Duration = Duration::from_secs(15);

/// How the large sessions came to their nodes.
#[derive(Clone, Copy)]
enum Origin {
    /// Each node by a command of its own: all that can be undone.
    Commands,
    /// All of them from a project file.
    File,
}

/// Sessions that remember a command for each of their nodes. See [`measure`].
pub async fn made_by_commands() -> Table {
    let title = "sessions: 10000 stored, 1000 of them of 200 nodes (each made by a command of its own) loaded, then put to sleep";
    measure(title, Origin::Commands).await
}

/// Sessions that remember that a file was loaded. See [`measure`].
pub async fn from_files() -> Table {
    let title = "from_files: the same, the 200 nodes from a project file";
    measure(title, Origin::File).await
}

/// Time to ready and resident memory of a hub with 10,000 stored sessions, before, while and after 1,000 of them are used.
async fn measure(title: &'static str, origin: Origin) -> Table {
    let mut table = Table::new(title, &["moment", "ms", "RSS KiB", "KiB/session"]);
    let dir = tempfile::tempdir().expect("a folder");
    let large = fill(dir.path(), origin).await;
    let http = reqwest::Client::new();
    // Once for the system's caches.
    ready(&http, dir.path()).await.child.kill().await.expect("it ends");

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

/// A row, and the memory that it tells of.
fn note(table: &mut Table, moment: &str, began: Instant, process: &Process, idle: Option<usize>) -> usize {
    let rss = rss_kib(&process.child);
    let each = idle.map(|idle| rss.saturating_sub(idle) as f64 / LARGE as f64);
    let each = each.map_or_else(String::new, |each| format!("{each:.1}"));
    table.row(&[moment.to_owned(), ms(began.elapsed()), rss.to_string(), each]);
    rss
}

/// By connections of its own, which end with it: what the hub keeps for them is none of the sessions'.
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

/// Fills a data directory; the large sessions.
async fn fill(data: &Path, origin: Origin) -> Vec<SessionId> {
    let log = world::sqlite(data);
    let hub = world::hub(Arc::new(log.clone()), 4_000).await;
    let large = match origin {
        Origin::Commands => fill_all(&hub, LARGE, LARGE_NODES).await,
        Origin::File => load_all(&hub, LARGE, LARGE_NODES).await,
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
        hub.passivate(id).await.expect("it is there");
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
        hub.passivate(id).await.expect("it is there");
        ids.push(id);
    }
    ids
}

/// What the commands of [`fill_all`] come to.
fn graph(nodes: usize) -> Graph {
    let mut graph = Graph::default();
    let mut made: Vec<NodeId> = Vec::new();
    for number in 0..nodes {
        let parent = number.checked_sub(1).map(|before| made[before / CHILDREN]);
        made.push(world::node_id());
        let Command::CreateNode(create) = task(made[number], parent, number) else {
            unreachable!("a task is made by a command that creates it");
        };
        let properties = create.properties.into_iter();
        let properties = properties.map(|(key, value)| (PropertyId::new(key), value));
        let content = NodeContent {
            name: create.name.expect("it has one"),
            type_id: TypeId::new(create.node_type),
            properties: properties.collect(),
            metadata: None,
        };
        let end = graph.children(parent).map_or(0, Siblings::len);
        graph.insert(made[number], content, parent, end).expect("it fits");
    }
    graph
}

/// A node as a tracker of tasks has them.
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
