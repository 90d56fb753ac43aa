//! P6: a client proves that its replica is equal to the hub's graph. The hub and the listing of docs/PROTOCOL.md
//! compute the hashes of the test vectors, and a client that runs the listing agrees with the hub under load.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    driver::{Connect, Driver, Observation, Transport},
    examples::{blocks, program, section},
    install,
    load::{one_of_each, storm},
    metric, on_both_transports,
};
use crate::support::TestHub;

on_both_transports!(
    replica_hash_equals_the_hub_under_load,
    diverged_replica_is_found_and_repaired,
    divergence_with_a_waiting_sync_is_counted_once,
);

/// Returns the section that specifies the hash.
fn specification() -> String {
    section("The state hash")
}

/// Writes the listing of the specification to a file, and returns the path.
fn listing() -> PathBuf {
    program(install::node(), &specification(), "js", "state_hash.mjs")
}

/// Test vectors. Numbers keep their spelling.
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

/// The hub that loads the graph of a test vector answers with the vector's hash, and shows the hash when the graph is
/// read.
#[tokio::test]
async fn hub_computes_the_specified_hashes() {
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

/// The listing of the specification, word for word, computes the hashes of the test vectors.
#[test]
fn listing_computes_the_specified_hashes() {
    let (specification, module) = (specification(), listing());
    let vectors: Vectors = serde_json::from_str(vectors_text(&specification)).expect("JSON");
    let mut node = Command::new("node")
        .arg("vectors.mjs")
        .arg(module)
        .current_dir(install::node())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut stdin = node.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, vectors_text(&specification).as_bytes()).expect("node reads");
    drop(stdin);
    let output = node.wait_with_output().expect("node ends");
    let computed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let records: Vec<_> = vectors.records.iter().map(|vector| &vector.hash).collect();
    let graphs: Vec<_> = vectors.graphs.iter().map(|vector| &vector.state_hash).collect();
    assert_eq!(computed, json!({"records": records, "graphs": graphs}));
}

/// Starts a hub whose sessions send a tick every 10 ms.
async fn hub_that_ticks_often() -> Arc<TestHub> {
    Arc::new(TestHub::with(|config| config.realtime.tick_interval_ms = 10).await)
}

/// Returns the number of comparisons that a client made at the `seq` of a tick or a sync, and asserts that none
/// differs.
fn agreements(observed: &[Observation], event: &str) -> usize {
    let compared = observed
        .iter()
        .filter(|observed| observed.kind == "hash" && observed.fields["event"] == event)
        .filter(|observed| observed.fields["seq"] == observed.fields["at"]);
    let mut count = 0;
    for observed in compared {
        assert_eq!(
            observed.fields["of_replica"], observed.fields["of_hub"],
            "{}",
            observed.fields
        );
        count += 1;
    }
    count
}

/// P6: a client under a load of commands of every type has the hash of each tick, and at the end the hash of the graph.
/// A client that joins late has the hash of its sync.
async fn replica_hash_equals_the_hub_under_load(transport: Transport) {
    let hub = hub_that_ticks_often().await;
    let session = hub.session().await;
    let connect = Connect::to(&hub.url, &session, transport).hashing_with(&listing());
    let mut js = Driver::javascript();
    js.join("ann", &connect).await;
    one_of_each(&hub, &session).await;
    storm(&hub, &session, 11, 3, 40).await;
    js.connect("bob", &connect).await;
    let late = js.until_that("bob", |observed| observed.kind == "hash").await;
    assert_eq!(agreements(&late, "session:sync"), 1);
    let answer = hub
        .execute(&session, "CreateNode", json!({"blueprint_type_id": "task"}))
        .await
        .ok();
    let is_last = |observed: &Observation| observed.kind == "hash" && observed.fields["seq"] == answer["seq"];
    let observed = js.until_that("ann", is_last).await;
    assert!(agreements(&observed, "session:tick") > 3, "several ticks were compared");
    let last = &observed.last().expect("the last").fields;
    let read = hub.get(&format!("/sessions/{session}/graph")).await.ok();
    assert_eq!(
        [&last["of_replica"], &last["of_hub"], &read["state_hash"]],
        [&answer["state_hash"]; 3]
    );
}

/// P6: a client with a bug finds at the next tick that its replica is wrong, and asks for the graph. The metric of
/// divergences counts one.
async fn diverged_replica_is_found_and_repaired(transport: Transport) {
    let hub = hub_that_ticks_often().await;
    let session = hub.session().await;
    hub.create_node(&session, None, "Root").await;
    let connect = Connect::to(&hub.url, &session, transport).hashing_with(&listing());
    let mut js = Driver::javascript();
    js.join("ann", &connect).await;
    js.until_that("ann", |observed| observed.kind == "hash").await;
    js.spoil("ann").await;
    hub.create_node(&session, None, "Other").await;
    let observed = js
        .until_that("ann", |observed| observed.kind == "hash" && observed.fields["at"] == 4)
        .await;
    let compared = &observed.last().expect("the last").fields;
    assert_ne!(compared["of_replica"], compared["of_hub"]);
    js.emit("ann", "session:resync", json!({"reason": "divergence"})).await;
    let observed = js
        .until_that("ann", |observed| {
            observed.kind == "hash" && observed.fields["event"] == "session:sync"
        })
        .await;
    assert_eq!(agreements(&observed[observed.len() - 1..], "session:sync"), 1);
    metric(&hub, "hub_divergences_total", |count| count == 1).await;
}

/// P9: a divergence whose sync waits for another client's large sync is counted once.
async fn divergence_with_a_waiting_sync_is_counted_once(transport: Transport) {
    let hub = TestHub::with(|config| config.realtime.sync_bytes_in_flight_max = 1).await;
    let session = hub.session().await;
    hub.create_node(&session, None, "Root").await;
    let mut js = Driver::javascript();
    js.join("ann", &Connect::to(&hub.url, &session, transport)).await;
    // The hub does not see the moment in which a polling client has its sync, so that other clients wait for a while.
    js.join("bob", &Connect::to(&hub.url, &session, Transport::Polling))
        .await;
    js.emit("ann", "session:resync", json!({"reason": "divergence"})).await;
    let observed = js.until("ann", "session:sync").await;
    let (_, sync) = observed.last().and_then(Observation::event).expect("an event");
    assert_eq!(sync["reason"], "divergence");
    metric(&hub, "hub_divergences_total", |count| count == 1).await;
}
