//! Time limits: requests are bounded, live streams are not, and waiting readers hold no permit for ever.

use serde_json::json;

use crate::{
    calls::{Poller, Raw, until},
    support::TestHub,
};

/// A long poll waits for the next packet without a limit, because the request timeout is for requests of the API. With
/// the timeout, clients on long polling would lose their connection whenever a session is quiet.
#[tokio::test]
async fn long_poll_outlives_the_request_timeout() {
    let hub = TestHub::with(|config| {
        config.server.request_timeout_ms = 50;
        config.realtime.ping_interval_ms = 500;
    })
    .await;
    let poller = Poller::open(&hub.url).await;
    let mut pings = 0;
    // The first ping comes at once, the second after the ping interval of 0.5 s.
    while pings < 2 {
        pings += poller.poll().await.iter().filter(|packet| *packet == "2").count();
    }
}

/// P9: a read beyond the request timeout is refused as overloaded, with a retry time.
#[tokio::test]
async fn read_beyond_the_request_timeout_is_overloaded() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let (dir, _) = hub.stop().await;
    let hub = TestHub::on(dir, |config| config.server.request_timeout_ms = 50).await;
    let answer = hub.get_whole(&format!("/sessions/{session}/graph?min_seq=1")).await;
    assert_eq!(answer.refused(), (503, "OVERLOADED".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

/// P9: an incomplete request holds no handler for ever. No command begins before its request is complete, so the answer
/// is 408 and not an unknown outcome.
#[tokio::test]
async fn incomplete_request_times_out() {
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

/// P7, P9: readers that gave up waiting for a `seq` release their permits, here all permits of the session.
#[tokio::test]
async fn permits_return_when_readers_give_up_waiting() {
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

/// P7, P9: waiting readers count towards the session's permits. Further requests are refused with a retry time, and
/// other sessions are served.
#[tokio::test]
async fn session_permits_are_limited_and_other_sessions_are_served() {
    let hub = TestHub::with(|config| config.limits.in_flight_per_session_max = 1).await;
    let (full, other) = (hub.session().await, hub.session().await);
    let waiting = hub.occupy(&full);
    let info = format!("/sessions/{full}/info");
    until("the reader holds the permit", async || {
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
    until("the permit is free again", async || hub.get(&info).await.status == 200).await;
}

/// P9: the permits of the hub are limited in the same way.
#[tokio::test]
async fn hub_permits_are_limited() {
    let hub = TestHub::with(|config| config.limits.in_flight_max = 1).await;
    let (waited_for, other) = (hub.session().await, hub.session().await);
    let waiting = hub.occupy(&waited_for);
    let info = format!("/sessions/{other}/info");
    until("the reader holds the permit", async || {
        hub.get(&info).await.status == 503
    })
    .await;
    let refused = hub.post("/sessions", &json!({})).await;
    assert_eq!(refused.refused(), (503, "OVERLOADED"));
    assert_eq!(refused.body["error"]["limit"], "in_flight_max");
    waiting.abort();
    until("the permit is free again", async || hub.get(&info).await.status == 200).await;
}

/// P9: a socket can leave a session without free permits. It would otherwise be counted, and written to, until the
/// session ends.
#[tokio::test]
async fn socket_leaves_a_session_without_free_permits() {
    let hub = TestHub::with(|config| config.limits.in_flight_per_session_max = 1).await;
    let session = hub.session().await;
    let poller = Poller::join(&hub.url, &session).await;
    let waiting = hub.occupy(&session);
    let info = format!("/sessions/{session}/info");
    until("the reader holds the permit", async || {
        hub.get(&info).await.status == 503
    })
    .await;
    poller.close().await;
    until("the room is empty", async || hub.metric("hub_connections").await == "0").await;
    waiting.abort();
}
