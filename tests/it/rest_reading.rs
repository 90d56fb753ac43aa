//! Reads: the graph and its ETag, waits for a `seq`, pages of events.

use serde_json::{Value, json};

use crate::{
    calls::{Poller, in_time, until, whole},
    support::TestHub,
};

/// The graph's ETag is the session's position. An unchanged graph is answered with 304, for every spelling of
/// `If-None-Match`.
#[tokio::test]
async fn etag_match_returns_304() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    hub.create_node(&session, None, "node").await;
    let path = format!("/sessions/{session}/graph");
    let first = hub.get_whole(&path).await;
    let body = first.json();
    assert_eq!((&body["session_id"], &body["seq"]), (&json!(session), &json!(2)));
    let tag = first.header("etag").expect("a tag").to_owned();
    assert_eq!(tag, format!("\"{}-2\"", body["epoch"].as_str().expect("an epoch")));
    let ask = async |asked: &str| whole(hub.http().get(hub.api(&path)).header("if-none-match", asked)).await;
    for asked in [
        tag.clone(),
        format!("W/{tag}"),
        "*".to_owned(),
        format!("\"other\", {tag}"),
        format!(" {tag} ,\"x\""),
    ] {
        let same = ask(&asked).await;
        assert_eq!((same.status, same.text.as_str()), (304, ""), "{asked}");
        assert_eq!(same.header("etag"), Some(tag.as_str()), "{asked}");
    }
    let capitals = tag.to_uppercase();
    let others = ["\"other\"", "\"a b\"", "", "\"", &capitals, tag.trim_matches('"')];
    // An epoch of digits only has no capitals.
    for asked in others.into_iter().filter(|asked| *asked != tag) {
        assert_eq!(ask(asked).await.status, 200, "{asked}");
    }
    hub.create_node(&session, None, "another").await;
    let changed = ask(&tag).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
}

/// A reached `min_seq` is answered at once. An unreached one is refused after the wait, with the current `seq`.
#[tokio::test]
async fn min_seq_not_reached_in_time_is_refused_with_the_current_seq() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    hub.create_node(&session, None, "node").await;
    for reached in [0, 1, 2] {
        let read = hub
            .get(&format!("/sessions/{session}/graph?min_seq={reached}"))
            .await
            .ok();
        assert_eq!(read["seq"], 2, "{reached}");
    }
    let (dir, _) = hub.stop().await;
    let hub = TestHub::on(dir, |config| config.rest.min_seq_wait_ms = 20).await;
    for ahead in [3, u64::MAX] {
        let refused = hub.get(&format!("/sessions/{session}/graph?min_seq={ahead}")).await;
        assert_eq!(refused.refused(), (409, "SEQ_NOT_REACHED"));
        assert_eq!(refused.body["error"]["current_seq"], 2);
    }
}

/// `min_seq` waits until the session reaches the `seq`, and the answer contains that `seq`.
#[tokio::test]
async fn min_seq_waits_until_the_seq_is_reached() {
    let hub = TestHub::with(|config| config.rest.min_seq_wait_ms = 600_000).await;
    let session = hub.session().await;
    let read = hub.http().get(hub.api(&format!("/sessions/{session}/graph?min_seq=3")));
    let reading = tokio::spawn(whole(read));
    hub.create_node(&session, None, "first").await;
    assert!(!reading.is_finished(), "the session is at 2");
    hub.create_node(&session, None, "second").await;
    let answer = in_time("the reader", reading).await.expect("no panic").json();
    assert_eq!(
        (&answer["seq"], &answer["graph"]["roots"][1]["name"]),
        (&json!(4), &json!("second"))
    );
}

/// A waiting reader is answered at once when its session is deleted.
#[tokio::test]
async fn min_seq_wait_ends_with_the_session() {
    let hub = TestHub::with(|config| {
        config.limits.in_flight_per_session_max = 1;
        config.rest.min_seq_wait_ms = 600_000;
        config.server.request_timeout_ms = 600_000;
    })
    .await;
    let session = hub.session().await;
    let reading = hub.occupy(&session);
    let info = format!("/sessions/{session}/info");
    until("the reader waits", async || hub.get(&info).await.status == 503).await;
    assert_eq!(hub.delete(&format!("/sessions/{session}")).await.status, 204);
    let answer = in_time("the reader", reading).await.expect("no panic");
    assert_eq!(answer.refused(), (404, "INVALID_SESSION".to_owned()));
}

/// P1, P2: pages of events meet without gaps or duplicates, also within a command.
#[tokio::test]
async fn event_pages_have_no_gap_within_a_command() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let create = |name: &str| json!({"command_type": "CreateNode", "data": {"blueprint_type_id": "t", "name": name}});
    hub.create_node(&session, None, "single").await;
    let batch: Vec<Value> = ["a", "b", "c", "d", "e"].map(create).to_vec();
    hub.execute(&session, "Batch", json!({"commands": batch})).await.ok();
    hub.create_node(&session, None, "last").await;
    let all = hub.events(&session, 0).await;
    let seqs: Vec<u64> = all
        .iter()
        .map(|(_, data)| data["seq"].as_u64().expect("a seq"))
        .collect();
    assert_eq!(seqs, (1..=10).collect::<Vec<u64>>(), "dense from 1");
    for limit in 1..=11 {
        let (mut seen, mut after, mut more) = (Vec::new(), 0, true);
        while more {
            let page = hub
                .get(&format!("/sessions/{session}/events?after={after}&limit={limit}"))
                .await
                .ok();
            let events = page["events"].as_array().expect("a list");
            assert!(
                !events.is_empty() && events.len() <= limit,
                "{limit}: {} at {after}",
                events.len()
            );
            seen.extend(events.iter().map(|listed| {
                (
                    listed["event"].as_str().expect("a name").to_owned(),
                    listed["data"].clone(),
                )
            }));
            after = page["next_after"].as_u64().expect("a seq");
            assert_eq!(
                events.last().map(|last| &last["data"]["seq"]),
                Some(&json!(after)),
                "{limit}"
            );
            more = page["more"].as_bool().expect("a flag");
        }
        assert_eq!(seen, all, "{limit}");
    }
    for (after, next_after) in [(10, 10), (11, 11), (5_000, 5_000)] {
        let page = hub.get(&format!("/sessions/{session}/events?after={after}")).await.ok();
        assert_eq!(
            (&page["events"], &page["next_after"], &page["more"]),
            (&json!([]), &json!(next_after), &json!(false))
        );
    }
}

/// The listed events equal the events that a socket received, and reach back beyond the replay window to the first
/// event.
#[tokio::test]
async fn listed_events_equal_the_events_of_a_socket() {
    let hub = TestHub::with(|config| config.limits.replay_window_events = 1).await;
    let session = hub.session().await;
    let poller = Poller::join(&hub.url, &session).await;
    let mut received = Vec::new();
    for name in ["one", "two"] {
        hub.create_node(&session, None, name).await;
    }
    while received.len() < 4 {
        for packet in poller.poll().await {
            let Some(text) = packet.strip_prefix("42/graph,") else {
                continue;
            };
            let (name, data): (String, Value) = serde_json::from_str(text).expect(text);
            if data.get("seq").is_some() {
                received.push((name, data));
            }
        }
    }
    assert_eq!(hub.events(&session, 0).await, received);
    let envelope = &received[0].1;
    assert_eq!(
        (&envelope["session_id"], &envelope["project_id"]),
        (&json!(session), &Value::Null)
    );
    assert_eq!(envelope["origin"], json!({}));
}

/// P3: every kind of read after the answer to a command contains the command.
#[tokio::test]
async fn reads_contain_acknowledged_commands() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    for number in 1..=50 {
        let data = json!({"blueprint_type_id": "t"});
        let answer = hub.execute(&session, "CreateNode", data).await.ok();
        assert_eq!(answer["seq"], 2 * number);
        let (graph, events, info, history) = (
            hub.get(&format!("/sessions/{session}/graph")).await.ok(),
            hub.get(&format!("/sessions/{session}/events?after={}", 2 * number - 1))
                .await
                .ok(),
            hub.get(&format!("/sessions/{session}/info")).await.ok(),
            hub.get(&format!("/sessions/{session}/history?limit=1")).await.ok(),
        );
        assert_eq!(graph["seq"], answer["seq"]);
        assert_eq!(events["next_after"], answer["seq"]);
        assert_eq!((&info["seq"], &info["node_count"]), (&answer["seq"], &json!(number)));
        assert_eq!(history["commands"][0]["command_id"], answer["command_id"]);
    }
}
