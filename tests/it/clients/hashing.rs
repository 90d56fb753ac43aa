//! P6: a client proves that its replica is the hub's. The hub and the listing of docs/PROTOCOL.md have the hashes that
//! the test vectors there say, and a client that runs the listing agrees with the hub whatever happens.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    driver::{Connect, Driver, Told, Transport},
    examples::{blocks, program, section},
    install,
    load::{one_of_each, storm},
    metric, on_both_transports,
};
use crate::support::TestHub;

on_both_transports!(
    a_replica_has_the_hash_of_the_hub_whatever_happens,
    a_replica_that_went_wrong_is_found_out_and_healed,
    a_divergence_whose_sync_has_to_wait_is_counted_once,
);

/// The section that specifies the hash.
fn specification() -> String {
    section("The state hash")
}

/// The listing of the specification, as a file.
fn listing() -> PathBuf {
    program(install::node(), &specification(), "js", "state_hash.mjs")
}

/// The test vectors, numbers as they are written.
#[derive(Deserialize)]
struct Vectors {
    records: Vec<RecordVector>,
    graphs: Vec<GraphVector>,
}

#[derive(Deserialize)]
struct RecordVector {
    hash: String,
}

#[derive(Deserialize)]
struct GraphVector {
    state_hash: String,
    graph: Box<RawValue>,
}

fn vectors_text(specification: &str) -> &str {
    let found = blocks(specification, "json");
    assert_eq!(found.len(), 1, "there is one block of test vectors");
    found[0]
}

/// The hub, given a graph to load, answers with the hash that the vector says, and shows it when the graph is read.
#[tokio::test]
async fn the_hub_has_the_hashes_of_the_specification() {
    let specification = specification();
    let vectors: Vectors = serde_json::from_str(vectors_text(&specification)).expect("JSON");
    assert!(vectors.graphs.len() > 5);
    let hub = TestHub::start().await;
    let session = hub.session().await;
    for GraphVector { state_hash, graph } in &vectors.graphs {
        let path = hub.api(&format!("/sessions/{session}/load-graph"));
        let body = format!(r#"{{"graph":{graph}}}"#);
        let request = hub
            .http()
            .post(path)
            .header("content-type", "application/json")
            .body(body);
        assert_eq!(hub.send(request).await.ok()["state_hash"], **state_hash, "{graph}");
        let read = hub.get(&format!("/sessions/{session}/graph")).await.ok();
        assert_eq!(read["state_hash"], **state_hash);
    }
}

/// So does the listing, word for word.
#[test]
fn the_listing_has_the_hashes_of_the_specification() {
    let (specification, module) = (specification(), listing());
    let vectors: Vectors = serde_json::from_str(vectors_text(&specification)).expect("JSON");
    let mut node = Command::new("node")
        .arg("vectors.mjs")
        .arg(module)
        .current_dir(install::node())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is there");
    let mut stdin = node.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, vectors_text(&specification).as_bytes()).expect("it reads");
    drop(stdin);
    let output = node.wait_with_output().expect("it ends");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let records: Vec<_> = vectors.records.iter().map(|vector| &vector.hash).collect();
    let graphs: Vec<_> = vectors.graphs.iter().map(|vector| &vector.state_hash).collect();
    assert_eq!(told, json!({"records": records, "graphs": graphs}));
}

/// A hub whose sessions say very often where they are.
async fn hub_that_ticks_often() -> Arc<TestHub> {
    Arc::new(TestHub::with(|config| config.realtime.tick_interval_ms = 10).await)
}

/// The comparisons that a client made at the `seq` of a tick or a sync: how many there were. None may differ.
fn agreements(told: &[Told], event: &str) -> usize {
    let compared = told
        .iter()
        .filter(|told| told.got == "hash" && told.more["event"] == event)
        .filter(|told| told.more["seq"] == told.more["at"]);
    let mut count = 0;
    for told in compared {
        assert_eq!(told.more["of_replica"], told.more["of_hub"], "{}", told.more);
        count += 1;
    }
    count
}

/// P6: a client that hears a storm of commands of every type has the hash of each tick, and in the end that of the
/// graph; one that comes late has that of its sync.
async fn a_replica_has_the_hash_of_the_hub_whatever_happens(transport: Transport) {
    let hub = hub_that_ticks_often().await;
    let session = hub.session().await;
    let connect = Connect::to(&hub.url, &session, transport).hashing_with(&listing());
    let mut js = Driver::javascript();
    js.join("ann", &connect).await;
    one_of_each(&hub, &session).await;
    storm(&hub, &session, 11, 3, 40).await;
    js.connect("bob", &connect).await;
    let late = js.until_that("bob", |told| told.got == "hash").await;
    assert_eq!(agreements(&late, "session:sync"), 1);
    let answer = hub
        .execute(&session, "CreateNode", json!({"blueprint_type_id": "task"}))
        .await
        .ok();
    let is_last = |told: &Told| told.got == "hash" && told.more["seq"] == answer["seq"];
    let told = js.until_that("ann", is_last).await;
    assert!(agreements(&told, "session:tick") > 3, "it compared again and again");
    let last = &told.last().expect("the last").more;
    let read = hub.get(&format!("/sessions/{session}/graph")).await.ok();
    assert_eq!(
        [&last["of_replica"], &last["of_hub"], &read["state_hash"]],
        [&answer["state_hash"]; 3]
    );
}

/// P6: a client with a bug sees at the next tick that its replica is wrong, and asks for the graph; that is counted.
async fn a_replica_that_went_wrong_is_found_out_and_healed(transport: Transport) {
    let hub = hub_that_ticks_often().await;
    let session = hub.session().await;
    hub.create_node(&session, None, "Root").await;
    let connect = Connect::to(&hub.url, &session, transport).hashing_with(&listing());
    let mut js = Driver::javascript();
    js.join("ann", &connect).await;
    js.until_that("ann", |told| told.got == "hash").await;
    js.spoil("ann").await;
    hub.create_node(&session, None, "Other").await;
    let told = js
        .until_that("ann", |told| told.got == "hash" && told.more["at"] == 4)
        .await;
    let compared = &told.last().expect("the last").more;
    assert_ne!(compared["of_replica"], compared["of_hub"]);
    js.emit("ann", "session:resync", json!({"reason": "divergence"})).await;
    let told = js
        .until_that("ann", |told| told.got == "hash" && told.more["event"] == "session:sync")
        .await;
    assert_eq!(agreements(&told[told.len() - 1..], "session:sync"), 1);
    metric(&hub, "hub_divergences_total", |count| count == 1).await;
}

/// P9: the same if somebody else's large sync is on its way: the client waits for its turn, and has said it once.
async fn a_divergence_whose_sync_has_to_wait_is_counted_once(transport: Transport) {
    let hub = TestHub::with(|config| config.realtime.sync_bytes_in_flight_max = 1).await;
    let session = hub.session().await;
    hub.create_node(&session, None, "Root").await;
    let mut js = Driver::javascript();
    js.join("ann", &Connect::to(&hub.url, &session, transport)).await;
    // Nobody can tell when a client that polls has its sync: others are kept waiting for a while.
    js.join("bob", &Connect::to(&hub.url, &session, Transport::Polling))
        .await;
    js.emit("ann", "session:resync", json!({"reason": "divergence"})).await;
    let told = js.until("ann", "session:sync").await;
    let (_, sync) = told.last().and_then(Told::event).expect("an event");
    assert_eq!(sync["reason"], "divergence");
    metric(&hub, "hub_divergences_total", |count| count == 1).await;
}
