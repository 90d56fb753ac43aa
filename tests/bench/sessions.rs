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
        ids::{NodeId, SessionId},
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

/// Time to ready and resident memory of a hub with 10,000 stored sessions, before, while and after 1,000 of them are used.
pub async fn measure() -> Table {
    let mut table = Table::new(
        "sessions: 10000 stored, 1000 of them of 200 nodes (each made by a command of its own) loaded, then put to sleep",
        &["moment", "ms", "RSS KiB", "KiB/session"],
    );
    let dir = tempfile::tempdir().expect("a folder");
    let large = fill(dir.path()).await;
    let http = reqwest::Client::new();
    // Once for the system's caches.
    ready(&http, dir.path()).await.child.kill().await.expect("it ends");

    let began = Instant::now();
    let process = ready(&http, dir.path()).await;
    let idle = note(&mut table, "ready", began, &process, None);
    tokio::time::sleep(SETTLE).await;
    note(&mut table, "idle", began, &process, None);

    let began = Instant::now();
    read_all(&http, &process, &large).await;
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
    read_all(&http, &process, &large).await;
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

async fn read_all(http: &reqwest::Client, process: &Process, sessions: &[SessionId]) {
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
async fn fill(data: &Path) -> Vec<SessionId> {
    let log = world::sqlite(data);
    let hub = world::hub(Arc::new(log.clone()), 4_000).await;
    let large: Vec<SessionId> = fill_all(&hub, LARGE, LARGE_NODES).await;
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
