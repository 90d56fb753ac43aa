//! What may take how long: requests are bounded, live streams are not, and who waits takes up nobody's place.

use serde_json::json;

use crate::{
    calls::{Poller, Raw, until},
    support::TestHub,
};

/// A poll waits for the next packet, however long that takes: the request timeout is for requests of the API. With it,
/// clients on long polling would lose their connection whenever a session is quiet.
#[tokio::test]
async fn a_long_poll_outlives_the_request_timeout() {
    let hub = TestHub::with(|config| {
        config.server.request_timeout_ms = 50;
        config.realtime.ping_interval_ms = 500;
    })
    .await;
    let poller = Poller::open(&hub.url).await;
    let mut pings = 0;
    // The first ping comes at once, the second half a second later and with nothing before it.
    while pings < 2 {
        pings += poller.poll().await.iter().filter(|packet| *packet == "2").count();
    }
}

/// P9: a read that takes too long ends, and says that it may be tried again.
#[tokio::test]
async fn a_request_that_only_reads_ends_overloaded_when_its_time_is_up() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let (dir, _) = hub.stop().await;
    let hub = TestHub::on(dir, |config| config.server.request_timeout_ms = 50).await;
    let answer = hub.get_whole(&format!("/sessions/{session}/graph?min_seq=1")).await;
    assert_eq!(answer.refused(), (503, "OVERLOADED".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

/// P9: a client that never finishes its request does not hold a handler for ever. Nothing has begun before a request is
/// whole, so the answer says that nothing was done, and not that the outcome is unknown.
#[tokio::test]
async fn a_request_that_never_arrives_whole_is_refused_as_such() {
    let hub = TestHub::with(|config| {
        config.server.request_timeout_ms = 50;
        config.server.body_stall_timeout_ms = 200;
    })
    .await;
    let mut slow = Raw::to(&hub.url).await;
    slow.send("POST /api/v1/sessions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
        .await;
    slow.send("content-length: 100\r\n\r\n{").await;
    let answer = slow.answer().await;
    assert_eq!(answer.refused(), (408, "REQUEST_TIMEOUT".to_owned()));
    assert_eq!(answer.header("connection"), Some("close"));
    let (dir, _) = hub.stop().await;
    assert_eq!(TestHub::on(dir, |_| {}).await.get("/sessions").await.ok()["total"], 0);
}

/// P7, P9: readers that waited for a `seq` and gave up leave their place to others. Here they take up every place that
/// the session has.
#[tokio::test]
async fn readers_that_gave_up_waiting_do_not_block_a_session() {
    let hub = TestHub::with(|config| {
        config.limits.in_flight_per_session_max = 2;
        config.rest.min_seq_wait_ms = 50;
    })
    .await;
    let session = hub.session().await;
    let path = format!("/sessions/{session}/graph?min_seq=99");
    for _ in 0..3 {
        let (one, other) = tokio::join!(hub.get(&path), hub.get(&path));
        assert_eq!(one.refused(), (409, "SEQ_NOT_REACHED"), "{}", one.body);
        assert_eq!(other.refused(), (409, "SEQ_NOT_REACHED"), "{}", other.body);
    }
    hub.create_node(&session, None, "still served").await;
}

/// P9: the places of a session are counted, also those of readers that wait; the one too many is told to come back, and
/// another session does not notice (P7).
#[tokio::test]
async fn a_session_that_is_full_says_so_and_others_are_served() {
    let hub = TestHub::with(|config| config.limits.in_flight_per_session_max = 1).await;
    let (full, other) = (hub.session().await, hub.session().await);
    let waiting = hub.occupy(&full);
    let info = format!("/sessions/{full}/info");
    until("the reader takes the place", async || {
        hub.get(&info).await.status == 503
    })
    .await;
    let refused = hub.get_whole(&info).await;
    assert_eq!(refused.refused(), (503, "OVERLOADED".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let error = &refused.json()["error"];
    assert_eq!(
        (&error["limit"], &error["max"]),
        (&json!("in_flight_per_session_max"), &json!(1))
    );
    hub.create_node(&other, None, "not disturbed").await;
    waiting.abort();
    until("its place is free again", async || hub.get(&info).await.status == 200).await;
}

/// P9: the same for the hub as a whole.
#[tokio::test]
async fn a_hub_that_is_full_says_so() {
    let hub = TestHub::with(|config| config.limits.in_flight_max = 1).await;
    let (waited_for, other) = (hub.session().await, hub.session().await);
    let waiting = hub.occupy(&waited_for);
    let info = format!("/sessions/{other}/info");
    until("the reader takes the place", async || {
        hub.get(&info).await.status == 503
    })
    .await;
    let refused = hub.post("/sessions", &json!({})).await;
    assert_eq!(refused.refused(), (503, "OVERLOADED"));
    assert_eq!(refused.body["error"]["limit"], "in_flight_max");
    waiting.abort();
    until("its place is free again", async || hub.get(&info).await.status == 200).await;
}

/// P9: a socket that goes while its session is full is gone all the same: it must not be counted, and written to, until
/// the session ends.
#[tokio::test]
async fn a_socket_leaves_also_a_full_session() {
    let hub = TestHub::with(|config| config.limits.in_flight_per_session_max = 1).await;
    let session = hub.session().await;
    let poller = Poller::join(&hub.url, &session).await;
    let waiting = hub.occupy(&session);
    let info = format!("/sessions/{session}/info");
    until("the reader takes the place", async || {
        hub.get(&info).await.status == 503
    })
    .await;
    poller.close().await;
    until("the room is empty", async || hub.metric("hub_connections").await == "0").await;
    waiting.abort();
}
