//! Session events as a stream for readers without Socket.IO.

use serde_json::{Value, json};

use crate::{
    calls::in_time,
    support::{
        TestHub,
        events::{EventStream, StreamEvent},
    },
};

async fn follow(hub: &TestHub, session_id: &str, query: &str, last_event_id: Option<&str>) -> EventStream {
    let mut request = hub
        .http()
        .get(hub.api(&format!("/sessions/{session_id}/events{query}")));
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    EventStream::open(request).await
}

fn seqs(events: &[StreamEvent]) -> Vec<u64> {
    events
        .iter()
        .map(|event| event.data["seq"].as_u64().expect("a seq"))
        .collect()
}

/// P1, P2: a stream has the past events, then the live ones, in one order, each once and with an id for the resume.
#[tokio::test]
async fn stream_has_past_events_then_live_events() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    let root = hub.create_node(&session_id, None, "a").await;
    let mut stream = follow(&hub, &session_id, "", None).await;
    let first = stream.take(2).await;
    assert_eq!(first[0].event, "graph:node-created");
    assert_eq!(first[0].data["node_id"], root);
    hub.create_node(&session_id, Some(&root), "b").await;
    let refused = hub.execute(
        &session_id,
        "DeleteNode",
        json!({"node_id": "00000000-0000-4000-8000-000000000000"}),
    );
    assert_eq!(refused.await.refused(), (404, "NODE_NOT_FOUND"));
    hub.create_node(&session_id, Some(&root), "c").await;
    let live = stream.take(4).await;
    assert_eq!(seqs(&live), [3, 4, 5, 6], "sequenced events only");
    let listed = hub.get(&format!("/sessions/{session_id}/events")).await.ok();
    let sent: Vec<Value> = first
        .iter()
        .chain(&live)
        .map(|event| json!({"event": event.event, "data": event.data}))
        .collect();
    assert_eq!(json!(sent), listed["events"], "the stream equals the list");
    let epoch = listed["epoch"].as_str().expect("an epoch");
    assert_eq!(live[3].id.as_deref(), Some(format!("{epoch}-6").as_str()));
}

/// P2: a reader that resumes with its last event id misses no event, also within a command. A position that the log
/// cannot continue gets a sync with the graph and the reason.
#[tokio::test]
async fn stream_resumes_by_last_event_id_or_sends_a_sync() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    for name in ["a", "b", "c"] {
        hub.create_node(&session_id, None, name).await;
    }
    let epoch = hub.get(&format!("/sessions/{session_id}/info")).await.ok()["epoch"].take();
    let epoch = epoch.as_str().expect("an epoch");
    let mut stream = follow(&hub, &session_id, "?after=1", Some(&format!("{epoch}-3"))).await;
    assert_eq!(seqs(&stream.take(3).await), [4, 5, 6], "the header wins");
    let mut stream = follow(&hub, &session_id, "?after=4", None).await;
    assert_eq!(seqs(&stream.take(2).await), [5, 6]);

    for (id, reason) in [
        ("00000000-2".to_owned(), "epoch_changed"),
        (format!("{epoch}-99"), "ahead_of_log"),
    ] {
        let mut stream = follow(&hub, &session_id, "", Some(&id)).await;
        let sync = stream.next().await.expect("a sync");
        assert_eq!(
            (sync.event.as_str(), &sync.data["reason"]),
            ("session:sync", &json!(reason))
        );
        assert_eq!(sync.data["graph"], hub.graph(&session_id).await);
        let seq = sync.data["seq"].as_u64().expect("a seq");
        hub.create_node(&session_id, None, "d").await;
        assert_eq!(seqs(&stream.take(2).await), [seq + 1, seq + 2]);
    }
    let request = hub.http().get(hub.api(&format!("/sessions/{session_id}/events")));
    let request = request
        .header("accept", "text/event-stream")
        .header("last-event-id", "nonsense");
    assert_eq!(hub.send(request).await.refused(), (400, "INVALID_REQUEST"));
}

/// P8: a stream continues after a failure of the session actor, and ends with the session.
#[tokio::test]
async fn stream_outlives_the_session_actor_and_ends_with_the_session() {
    let hub = TestHub::with(|config| config.ops.fault_injection = true).await;
    let session_id = hub.session().await;
    let mut stream = follow(&hub, &session_id, "", None).await;
    hub.create_node(&session_id, None, "a").await;
    assert_eq!(seqs(&stream.take(2).await), [1, 2]);
    hub.operate(&format!("/sessions/{session_id}/restart"), &json!({}))
        .await
        .ok();
    hub.create_node(&session_id, None, "b").await;
    assert_eq!(seqs(&stream.take(2).await), [3, 4]);
    hub.delete(&format!("/sessions/{session_id}")).await;
    assert_eq!(stream.next().await, None);
}

/// P9: the number of streams is limited.
#[tokio::test]
async fn streams_are_limited() {
    let hub = TestHub::with(|config| config.rest.streams_max = 1).await;
    let session_id = hub.session().await;
    let mut stream = follow(&hub, &session_id, "", None).await;
    let request = || {
        hub.http()
            .get(hub.api(&format!("/sessions/{session_id}/events")))
            .header("accept", "text/event-stream")
    };
    assert_eq!(hub.send(request()).await.refused(), (503, "OVERLOADED"));
    // A silent stream holds its permit, and does not delay a stop.
    let (_dir, stopped) = hub.stop().await;
    stopped.expect("in time");
    assert_eq!(stream.next().await, None);
}

/// P1: a stream arrives without delay, also through a proxy that buffers or compresses: the headers forbid both, and
/// the stream begins with a comment.
#[tokio::test]
async fn stream_opens_with_a_comment_and_forbids_buffering() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    for url in [
        hub.api(&format!("/sessions/{session_id}/events")),
        format!("{}/ops/events", hub.ops_url),
    ] {
        let request = hub.http().get(&url).header("accept", "text/event-stream");
        let mut stream = in_time("the head", request.send()).await.expect("served");
        assert_eq!(stream.headers()["x-accel-buffering"], "no", "{url}");
        assert_eq!(stream.headers()["cache-control"], "no-cache, no-transform", "{url}");
        let first = in_time("a comment", stream.chunk()).await.expect("open");
        assert!(first.expect("bytes").starts_with(b":"), "{url}");
    }
}
