//! Requests that no honest client sends. The hub answers or disconnects, never confuses two requests, and continues to
//! serve.

use serde_json::json;

use crate::{calls::Raw, support::TestHub};

const JSON: &str = "POST /api/v1/sessions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

async fn sessions(hub: &TestHub) -> u64 {
    hub.get("/sessions").await.ok()["total"].as_u64().expect("a number")
}

/// A request with an ambiguous end is refused and ends its connection, so that no later bytes count as a request.
#[tokio::test]
async fn ambiguous_request_end_is_refused_and_ends_the_connection() {
    let hub = TestHub::start().await;
    let smuggled = "POST /api/v1/sessions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    for head in [
        "content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "content-length: 2, 3\r\n\r\n{}",
        "content-length: +2\r\n\r\n{}",
        "content-length: -2\r\n\r\n{}",
        "content-length: 0x2\r\n\r\n{}",
        "content-length: 2 2\r\n\r\n{}",
        "content-length: 99999999999999999999999999\r\n\r\n{}",
        "content-length : 2\r\n\r\n{}",
        "transfer-encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "transfer-encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "x: y\r\n folded\r\ncontent-length: 2\r\n\r\n{}",
        "x\0y: z\r\ncontent-length: 2\r\n\r\n{}",
        "x: y\0z\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        let mut raw = Raw::to(&hub.url).await;
        raw.send(format!("{JSON}{head}{smuggled}")).await;
        let answer = raw.until_closed().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?}: {answer}");
    }
    assert_eq!(sessions(&hub).await, 0);
}

/// A chunked body ends with its last chunk, also against `Content-Length`, and the next request begins there.
#[tokio::test]
async fn chunked_encoding_overrides_content_length() {
    let hub = TestHub::start().await;
    for both in [
        "content-length: 200\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
    ] {
        let before = sessions(&hub).await;
        let mut raw = Raw::to(&hub.url).await;
        raw.send(format!("{JSON}{both}\r\n2\r\n{{}}\r\n0\r\n\r\n")).await;
        assert_eq!(raw.answer().await.status, 201, "{both:?}");
        assert_eq!(sessions(&hub).await, before + 1);
    }
}

/// An invalid or truncated chunked body is refused without effect.
#[tokio::test]
async fn truncated_body_is_refused() {
    let hub = TestHub::start().await;
    for (rest, ends) in [
        ("transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", false),
        ("transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n", false),
        (
            "transfer-encoding: chunked\r\n\r\nffffffffffffffff0\r\n{}\r\n0\r\n\r\n",
            false,
        ),
        ("transfer-encoding: chunked\r\n\r\n2\r\n{}", true),
        ("content-length: 20\r\n\r\n{}", true),
    ] {
        let mut raw = Raw::to(&hub.url).await;
        raw.send(format!("{JSON}{rest}")).await;
        if ends {
            raw.finish().await;
        }
        assert_eq!(
            raw.answer().await.refused(),
            (400, "INVALID_REQUEST".to_owned()),
            "{rest:?}"
        );
    }
    assert_eq!(sessions(&hub).await, 0);
}

/// The body of a `GET` is skipped and is not the next request.
#[tokio::test]
async fn get_body_is_not_the_next_request() {
    let hub = TestHub::start().await;
    let inner = "POST /api/v1/sessions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    let mut raw = Raw::to(&hub.url).await;
    raw.send(format!(
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{inner}",
        inner.len()
    ))
    .await;
    assert_eq!(raw.answer().await.json(), json!({"status": "ok"}));
    raw.send("GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(raw.answer().await.json(), json!({"status": "ready"}));
    assert_eq!(sessions(&hub).await, 0);
}

/// Pipelined requests are answered in order.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let hub = TestHub::start().await;
    let mut raw = Raw::to(&hub.url).await;
    let mut all = String::new();
    for number in 0..100 {
        all += &format!("GET /api/v1/nothing/{number} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    }
    raw.send(all).await;
    for number in 0..100 {
        let answer = raw.answer().await;
        let message = answer.json()["error"]["message"]
            .as_str()
            .expect("a message")
            .to_owned();
        assert!(message.ends_with(&format!("/nothing/{number}")), "{message}");
    }
}

/// Odd request lines get an answer, and none is an internal error.
#[tokio::test]
async fn odd_request_lines_are_answered() {
    let hub = TestHub::start().await;
    let long = |count: usize| "a=1&".repeat(count);
    for (line, status) in [
        ("CONNECT evil.example:80 HTTP/1.1".to_owned(), 421),
        ("OPTIONS * HTTP/1.1".to_owned(), 200),
        ("GET * HTTP/1.1".to_owned(), 404),
        ("GET http://evil.example/healthz HTTP/1.1".to_owned(), 421),
        ("GET http://localhost/api/v1/nothing HTTP/1.1".to_owned(), 404),
        ("TRACE /healthz HTTP/1.1".to_owned(), 405),
        ("GET /healthz HTTP/1.0".to_owned(), 200),
        ("GET /healthz? HTTP/1.1".to_owned(), 200),
        ("GET /healthz?%zz=%&=&&;;%00 HTTP/1.1".to_owned(), 200),
        (format!("GET /api/v1/sessions?{} HTTP/1.1", long(15_000)), 200),
        (
            format!("GET /api/v1/sessions?limit=1{} HTTP/1.1", "0".repeat(60_000)),
            400,
        ),
        (
            format!("GET /api/v1/sessions/{}/info HTTP/1.1", "%2f".repeat(20_000)),
            404,
        ),
        (
            format!("GET /api/v1/projects/{} HTTP/1.1", "%2e%2e%2f".repeat(7_000)),
            404,
        ),
        (format!("GET /healthz?{} HTTP/1.1", long(20_000)), 414),
        ("GET /healthz HTTP/3.0".to_owned(), 400),
        ("GET healthz HTTP/1.1".to_owned(), 421),
        ("GET /health\tz HTTP/1.1".to_owned(), 400),
        ("GET  /healthz HTTP/1.1".to_owned(), 400),
        ("nonsense".to_owned(), 400),
    ] {
        let mut raw = Raw::to(&hub.url).await;
        raw.send(format!("{line}\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
            .await;
        let case = line.get(..100).unwrap_or(&line);
        assert_eq!(raw.answer().await.status, status, "{case}");
    }
    assert_eq!(hub.get("/health").await.status, 200);
}

/// Oversized headers are refused, and the hub continues to serve.
#[tokio::test]
async fn oversized_headers_are_refused() {
    let hub = TestHub::start().await;
    let many: String = (0..1_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(600_000));
    for headers in [many, long] {
        let mut raw = Raw::to(&hub.url).await;
        raw.send(format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"))
            .await;
        let answer = raw.until_closed().await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert_eq!(hub.get("/health").await.status, 200);
}

/// An error quotes a bounded part of a request and is valid JSON.
#[tokio::test]
async fn error_quotes_are_bounded() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let huge = "\u{1f600}\"\\".repeat(100_000);
    for (command_type, data, more) in [
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "parent_id": huge}),
            json!({}),
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "index": huge}),
            json!({}),
        ),
        ("CreateNode", json!({"blueprint_type_id": "t", "name": huge}), json!({})),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "properties": {"name": {(huge.as_str()): 1}}}),
            json!({}),
        ),
        ("DeleteNode", json!({"node_id": huge}), json!({})),
        ("DeleteNode", json!({"node_id": session}), json!({"command_id": huge})),
        ("DeleteNode", json!({"node_id": session}), json!({"expected_seq": huge})),
        (
            "DeleteProperty",
            json!({"node_id": session, "property_id": huge}),
            json!({}),
        ),
        (huge.as_str(), json!({}), json!({})),
    ] {
        let answer = hub.execute_with(&session, command_type, data, more).await;
        assert!((400..500).contains(&answer.status), "{}", answer.status);
        assert!(
            answer.text.len() < 50_000,
            "{} bytes: {}",
            answer.text.len(),
            answer.text.get(..300).unwrap_or_default()
        );
        answer.refused();
    }
    for body in [
        json!({"template_id": huge, "project_name": "x"}),
        json!({"template_id": "novel", "project_name": "x", "project_id": huge}),
    ] {
        let answer = hub.post_text("/projects", body.to_string()).await;
        assert!(
            (400..500).contains(&answer.status) && answer.text.len() < 50_000,
            "{} bytes",
            answer.text.len()
        );
    }
    let scope = hub
        .post_text(&format!("/sessions/{session}/undo"), json!({"scope": huge}).to_string())
        .await;
    assert!(
        scope.status == 400 && scope.text.len() < 50_000,
        "{} bytes",
        scope.text.len()
    );
}
