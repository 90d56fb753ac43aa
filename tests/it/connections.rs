//! Life of a connection: buffers, limits, timeouts, and the ways in which a connection ends.

use std::net::{IpAddr, UdpSocket};

use serde_json::json;
use tokio::net::TcpSocket;

use crate::{
    calls::{Poller, Raw, Whole, in_time, until, whole},
    support::{TestHub, child::ChildHub, events::EventStream, websocket::WebSocket},
};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Returns the head of a command whose body is not sent.
fn head_of_body(bytes: usize) -> String {
    format!(
        "POST /api/v1/commands/execute HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: \
         {bytes}\r\n\r\n"
    )
}

/// Reads the metrics until they have a line. A request may itself run into a timeout.
async fn until_metric(hub: &TestHub, line: &str) {
    until(line, async || {
        let page = hub.http().get(format!("{}/metrics", hub.url)).send().await;
        let Ok(page) = page else { return false };
        page.text().await.is_ok_and(|text| text.lines().any(|it| it == line))
    })
    .await;
}

/// Asserts that both listeners close a connection without an answer and count the timeout.
async fn assert_closed(hub: &TestHub, kind: &str, begin: &str) {
    for (listener, url) in [("clients", &hub.url), ("operators", &hub.ops_url)] {
        let mut raw = Raw::to(url).await;
        raw.send(begin).await;
        assert_eq!(raw.until_closed().await, "", "{listener}");
        let line = format!(r#"hub_connections_timed_out_total{{listener="{listener}",kind="{kind}"}} 1"#);
        until_metric(hub, &line).await;
    }
}

/// P9: a connection without any received byte is closed.
#[tokio::test]
async fn silent_connections_time_out() {
    let hub = TestHub::with(|config| config.server.first_byte_timeout_ms = 500).await;
    assert_closed(&hub, "first_byte", "").await;
}

/// P9: an incomplete head does not keep a connection open.
#[tokio::test]
async fn incomplete_heads_time_out() {
    let hub = TestHub::with(|config| config.server.head_timeout_ms = 500).await;
    assert_closed(&hub, "head", "GET /healthz HTTP/1.1\r\nhost: h").await;
}

/// P9: a head that arrives byte by byte gets no more time than any other head.
#[tokio::test]
async fn trickled_heads_time_out() {
    let hub = TestHub::with(|config| config.server.head_timeout_ms = 500).await;
    for url in [&hub.url, &hub.ops_url] {
        let mut raw = Raw::to(url).await;
        raw.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ").await;
        in_time("the connection is closed", async {
            // One byte for each answer to another client.
            while raw.try_send("x").await {
                assert_eq!(hub.get("/health").await.status, 200);
            }
        })
        .await;
    }
}

/// P9: an idle connection is closed after its keep-alive time, and a connection with further requests stays open.
#[tokio::test]
async fn idle_connections_time_out() {
    let hub = TestHub::with(|config| config.server.keep_alive_timeout_ms = 1_000).await;
    for (listener, url) in [("clients", &hub.url), ("operators", &hub.ops_url)] {
        let (mut idle, mut busy) = (Raw::to(url).await, Raw::to(url).await);
        idle.send(HEALTH).await;
        assert_eq!(idle.answer().await.status, 200);
        let closed = tokio::spawn(async move { idle.until_closed().await });
        while !closed.is_finished() {
            busy.send(HEALTH).await;
            assert_eq!(busy.answer().await.status, 200);
        }
        assert_eq!(closed.await.expect("no panic"), "");
        let line = format!(r#"hub_connections_timed_out_total{{listener="{listener}",kind="keep_alive"}} 1"#);
        until_metric(&hub, &line).await;
    }
}

/// Asserts that a request with an incomplete body is answered with 408 and that its connection ends: on both listeners
/// and over long polling.
async fn assert_bodies_time_out(hub: &TestHub, trickle: &str) {
    let session = hub.session().await;
    let poller = Poller::join(&hub.url, &session).await;
    let polled = poller.path();
    // More bytes than can trickle in within the timeout.
    let length = 1_000_000;
    for (listener, url, path, count) in [
        ("clients", &hub.url, "/api/v1/commands/execute", 1),
        ("clients", &hub.url, polled, 2),
        ("operators", &hub.ops_url, &format!("/ops/sessions/{session}/fault"), 1),
    ] {
        let mut raw = Raw::to(url).await;
        raw.send(format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{{"
        ))
        .await;
        while !trickle.is_empty() && !raw.has_answer().await && raw.try_send(trickle).await {
            assert_eq!(hub.get("/health").await.status, 200);
        }
        let answer = raw.answer().await;
        assert_eq!(answer.refused(), (408, "REQUEST_TIMEOUT".to_owned()), "{path}");
        assert_eq!(answer.header("connection"), Some("close"), "{path}");
        assert_eq!(raw.until_closed().await, "", "{path}");
        let line = format!(r#"hub_connections_timed_out_total{{listener="{listener}",kind="body"}} {count}"#);
        until_metric(hub, &line).await;
    }
}

/// P9: a body that stops arriving ends its request and its connection, long polling included, where the library reads
/// the body.
#[tokio::test]
async fn stalled_bodies_time_out() {
    let hub = TestHub::with(|config| {
        config.server.body_stall_timeout_ms = 500;
        config.ops.fault_injection = true;
    })
    .await;
    assert_bodies_time_out(&hub, "").await;
}

/// P9: a body that arrives byte by byte gets no more time than the limit for the whole body.
#[tokio::test]
async fn trickled_bodies_time_out() {
    let hub = TestHub::with(|config| {
        config.server.body_timeout_ms = 500;
        config.ops.fault_injection = true;
    })
    .await;
    assert_bodies_time_out(&hub, " ").await;
}

/// A slow upload within the body's time limits is read to the end: the time of a request begins when the request is
/// complete.
#[tokio::test]
async fn slow_uploads_within_time_limits_are_read() {
    let hub = TestHub::with(|config| config.server.request_timeout_ms = 300).await;
    let quick = TestHub::with(|config| config.server.first_byte_timeout_ms = 400).await;
    let session = hub.session().await;
    let body = json!({"session_id": session, "command_type": "CreateNode", "data": {"blueprint_type_id": "task"}});
    let body = body.to_string();
    let mut raw = Raw::to(&hub.url).await;
    raw.send(head_of_body(body.len())).await;
    for piece in body.as_bytes().chunks(body.len() / 2 + 1) {
        raw.send(piece).await;
        // This wait is longer than a request may take.
        Raw::to(&quick.url).await.until_closed().await;
    }
    assert_eq!(raw.answer().await.status, 200);
}

/// Event streams, long polls and websockets may stay silent, and outlive every timeout of a connection.
#[tokio::test]
async fn live_connections_outlive_all_timeouts() {
    let hub = TestHub::with(|config| {
        config.server.first_byte_timeout_ms = 1_000;
        config.server.head_timeout_ms = 1_000;
        config.server.keep_alive_timeout_ms = 1_000;
        config.server.write_stall_timeout_ms = 1_000;
        config.server.body_stall_timeout_ms = 1_000;
    })
    .await;
    let session = hub.session().await;
    let stream = hub.http().get(hub.api(&format!("/sessions/{session}/events")));
    let mut stream = EventStream::open(stream).await;
    let mut operators = EventStream::open(hub.http().get(format!("{}/ops/events", hub.ops_url))).await;
    let mut websocket = WebSocket::join(&hub.url, &session, None).await;
    let poller = Poller::join(&hub.url, &session).await;
    let polling = tokio::spawn(async move { poller.wait_for("graph:node-created").await });
    for _ in 0..3 {
        Raw::to(&hub.url).await.until_closed().await;
    }
    hub.create_node(&session, None, "still there").await;
    assert_eq!(stream.until("graph:node-created").await.data["name"], "still there");
    in_time("the websocket receives the event", async {
        while websocket.event().await.0 != "graph:node-created" {}
    })
    .await;
    let polled = in_time("the poll is answered", polling).await;
    assert!(polled.expect("no panic").contains("still there"));
    hub.operate(&format!("/sessions/{session}/restart"), &json!({}))
        .await
        .ok();
    operators.until("restarted").await;
}

/// P9: a client that sends requests and reads no answers is disconnected, so that unread answers do not accumulate.
#[tokio::test]
async fn unread_answers_end_the_connection() {
    let hub = TestHub::with(|config| config.server.write_stall_timeout_ms = 500).await;
    for (listener, url) in [("clients", &hub.url), ("operators", &hub.ops_url)] {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("the option is available");
        let address = url.strip_prefix("http://").expect("plain HTTP");
        let mut stream = socket
            .connect(address.parse().expect("an address"))
            .await
            .expect("the hub accepts");
        let ask = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
        in_time("the connection is cut", async {
            while tokio::io::AsyncWriteExt::write_all(&mut stream, ask.as_bytes())
                .await
                .is_ok()
            {}
        })
        .await;
        let line = format!(r#"hub_connections_timed_out_total{{listener="{listener}",kind="write"}} 1"#);
        until_metric(&hub, &line).await;
    }
}

/// Returns the answer to a connection that the hub refused before any request.
async fn refused(url: &str) -> Whole {
    let mut raw = Raw::to(url).await;
    let answer = raw.answer().await;
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(raw.until_closed().await, "");
    answer
}

/// P9: connections beyond the limit are answered with the limit and closed. Each listener has its own limit.
#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let hub = TestHub::with(|config| {
        config.server.connections_max = 2;
        config.ops.connections_max = 2;
    })
    .await;
    for (listener, url, other) in [
        ("clients", &hub.url, &hub.ops_url),
        ("operators", &hub.ops_url, &hub.url),
    ] {
        let (mut first, mut second) = (Raw::to(url).await, Raw::to(url).await);
        for raw in [&mut first, &mut second] {
            raw.send(HEALTH).await;
            assert_eq!(raw.answer().await.status, 200, "{listener}");
        }
        let answer = refused(url).await;
        assert_eq!(answer.refused(), (503, "OVERLOADED".to_owned()), "{listener}");
        assert_eq!(answer.json()["error"]["limit"], "connections_max");
        assert_eq!(answer.header("retry-after"), Some("1"));
        let mut raw = Raw::to(other).await;
        raw.send("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await;
        let metrics = raw.until_closed().await;
        for line in [
            format!(r#"hub_connections_refused_total{{listener="{listener}",limit="connections_max"}} 1"#),
            format!(r#"hub_open_connections{{listener="{listener}"}} 2"#),
        ] {
            assert!(metrics.contains(&line), "{line}: {metrics}");
        }
        drop(first);
        until("the permit is free again", async || {
            let mut raw = Raw::to(url).await;
            raw.try_send(HEALTH).await && raw.answer().await.status == 200
        })
        .await;
        drop(second);
        until("all permits are free", async || {
            let mut raw = Raw::to(other).await;
            raw.send("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .await;
            let metrics = raw.until_closed().await;
            metrics.contains(&format!(r#"hub_open_connections{{listener="{listener}"}} 0"#))
        })
        .await;
    }
}

/// Returns an address of this machine outside the loopback, if the machine has one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: connecting a UDP socket only selects the local address.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// P9: the connections of one address are limited, except for trusted proxies and the loopback.
#[tokio::test]
async fn connections_of_one_address_are_limited() {
    // A machine without a network has exempt addresses only.
    let own = own_address();
    for trusted in [false, true] {
        let hub = TestHub::with(|config| {
            config.server.host = "0.0.0.0".to_owned();
            config.server.connections_per_address_max = 1;
            config.server.trusted_proxies = own.filter(|_| trusted).map(|own| own.to_string()).into_iter().collect();
        })
        .await;
        let port = hub.url.rsplit(':').next().expect("a port");
        for (host, is_limited) in [
            ("127.0.0.1".to_owned(), false),
            (
                own.unwrap_or([127, 0, 0, 1].into()).to_string(),
                own.is_some() && !trusted,
            ),
        ] {
            let url = format!("http://{host}:{port}");
            let mut first = Raw::to(&url).await;
            first.send(HEALTH.replace("localhost", "127.0.0.1")).await;
            assert_eq!(first.answer().await.status, 200, "{host}");
            if is_limited {
                let limit = refused(&url).await.json()["error"]["limit"].take();
                assert_eq!(limit, "connections_per_address_max");
            } else {
                let mut second = Raw::to(&url).await;
                second.send(HEALTH.replace("localhost", "127.0.0.1")).await;
                assert_eq!(second.answer().await.status, 200, "{host}");
            }
        }
    }
}

/// Returns true if a new connection is served.
async fn is_served(url: &str) -> bool {
    let mut raw = Raw::to(url).await;
    raw.try_send("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    raw.until_closed().await.starts_with("HTTP/1.1 200 ")
}

/// Opens silent connections until no connection permit is left.
async fn fill(url: &str) -> Vec<Raw> {
    let (mut idle, mut refused) = (Vec::new(), 0);
    in_time("all permits are taken", async {
        // A connection that was served just before may still hold its permit.
        while refused < 8 {
            idle.push(Raw::to(url).await);
            refused = if is_served(url).await { 0 } else { refused + 1 };
        }
    })
    .await;
    idle
}

/// P9: with few file descriptors, idle connections of clients take no descriptor of the operators' listener or of the
/// log, and idle connections of operators none of the clients' listener.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_listener_answers_while_clients_hold_all_connections() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let hour = "3600000";
    let settings = [("TALUS_HUB_SERVER__FIRST_BYTE_TIMEOUT_MS", hour)];
    let hub = ChildHub::with_descriptors(data.path(), &settings, 256).await;
    // A pooled client may open a second connection, because the pool takes the first one back with a delay.
    let mut client = Raw::to(&hub.url).await;
    let made = client.post("/api/v1/sessions", &json!({})).await.json();
    let session = made["session_id"].as_str().expect("an id").to_owned();
    let idle = fill(&hub.url).await;
    assert!(idle.len() > 100, "{} of 256", idle.len());
    let operators = reqwest::Client::new();
    for path in ["/readyz", "/ops/actors", &format!("/ops/sessions/{session}/log")] {
        let answer = whole(operators.get(format!("{}{path}", hub.ops_url))).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    // An open connection is still served: the hub can open files and write the log.
    let command = json!({"session_id": session, "command_type": "CreateNode", "data": {"blueprint_type_id": "task"}});
    assert_eq!(client.post("/api/v1/commands/execute", &command).await.status, 200);
    let project = json!({"template_id": "novel", "project_name": "Book"});
    let created = client.post("/api/v1/projects", &project).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let session = created.json()["session_id"].as_str().expect("an id").to_owned();
    let saved = client
        .post(&format!("/api/v1/sessions/{session}/save"), &json!({}))
        .await;
    assert_eq!(saved.status, 200, "{}", saved.text);
    drop(idle);
    until("clients are served again", async || is_served(&hub.url).await).await;
    let idle = fill(&hub.ops_url).await;
    let answer = whole(reqwest::Client::new().get(format!("{}/healthz", hub.url))).await;
    assert_eq!(answer.status, 200, "with {} idle connections of operators", idle.len());
    drop(idle);
    assert_eq!(hub.terminate().await, Some(0));
}

/// P9: idle connections that hold every permit time out, and new clients are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_permits_return_after_timeouts() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let settings = [
        ("TALUS_HUB_SERVER__FIRST_BYTE_TIMEOUT_MS", "3000"),
        ("TALUS_HUB_SERVER__CONNECTIONS_MAX", "16"),
    ];
    let hub = ChildHub::with_descriptors(data.path(), &settings, 256).await;
    let idle = fill(&hub.url).await;
    until("clients are served again", async || is_served(&hub.url).await).await;
    drop(idle);
    assert_eq!(hub.terminate().await, Some(0));
}

/// P7, P9: unfinished bodies share a budget of bytes. A large body beyond the budget is refused, bodies of ordinary
/// commands pass, and released bytes can be used again.
#[tokio::test]
async fn unfinished_bodies_share_one_budget() {
    let hub = TestHub::with(|config| config.server.receiving_bytes_max = 100_000).await;
    let session = hub.session().await;
    let poller = Poller::join(&hub.url, &session).await;
    let piece = " ".repeat(30_000);
    let mut unfinished = Vec::new();
    for path in ["/api/v1/commands/execute", "/api/v1/sessions", poller.path()] {
        let mut raw = Raw::to(&hub.url).await;
        raw.send(format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: \
             40000\r\n\r\n{piece}"
        ))
        .await;
        unfinished.push(raw);
        let least = unfinished.len() * 25_000;
        until("the hub has received the bytes", async || {
            let received = hub.metric("hub_receiving_bytes").await;
            received.parse::<usize>().expect("a number") >= least
        })
        .await;
    }
    let large = json!({"session_id": session, "command_type": "CreateNode",
        "data": {"blueprint_type_id": "task", "properties": {"text": "x".repeat(40_000)}}});
    let (mut raw, body) = (Raw::to(&hub.url).await, large.to_string());
    let mut refused = None;
    // The refused body was read off, so the connection can carry the next request.
    for _ in 0..3 {
        raw.send(head_of_body(body.len()) + &body).await;
        let answer = raw.answer().await;
        assert_eq!(answer.header("connection"), None, "{}", answer.text);
        raw.send(HEALTH).await;
        assert_eq!(raw.answer().await.status, 200);
        refused = Some(answer);
    }
    let refused = refused.expect("three times");
    assert_eq!(refused.refused(), (503, "OVERLOADED".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let error = refused.json()["error"].take();
    assert_eq!(
        (&error["limit"], &error["max"]),
        (&json!("receiving_bytes_max"), &json!(100_000))
    );
    let mut polled = Raw::to(&hub.url).await;
    polled
        .send(format!(
            "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 30001\r\n\r\n4{piece}",
            poller.path()
        ))
        .await;
    let polled = polled.answer().await;
    assert_eq!(polled.refused(), (503, "OVERLOADED".to_owned()));
    hub.create_node(&session, None, "an ordinary command").await;
    drop(unfinished);
    until("the budget is free again", async || {
        hub.metric("hub_receiving_bytes").await == "0"
    })
    .await;
    let executed = hub.post_text("/commands/execute", large.to_string()).await;
    assert_eq!(executed.status, 200, "{}", executed.text);
}

/// P9: incomplete heads count towards the same budget.
#[tokio::test]
async fn unfinished_heads_share_the_budget_of_bodies() {
    let hub = TestHub::with(|config| config.server.receiving_bytes_max = 100_000).await;
    let head = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}", "y".repeat(40_000));
    let (mut first, mut second) = (Raw::to(&hub.url).await, Raw::to(&hub.url).await);
    for (raw, least) in [(&mut first, 30_000), (&mut second, 60_000)] {
        raw.send(&head).await;
        until("the hub has received the bytes", async || {
            let received = hub.metric("hub_receiving_bytes").await;
            received.parse::<usize>().expect("a number") >= least
        })
        .await;
    }
    let mut third = Raw::to(&hub.url).await;
    third.try_send(&head).await;
    third.try_send(&head).await;
    assert_eq!(third.until_closed().await, "");
    let line = r#"hub_connections_refused_total{listener="clients",limit="receiving_bytes_max"} 1"#;
    until_metric(&hub, line).await;
    first.send("\r\n\r\n").await;
    assert_eq!(first.answer().await.status, 200);
}

/// A request without exactly one valid host is refused, because a proxy could interpret the request differently.
#[tokio::test]
async fn requests_without_exactly_one_host_are_refused() {
    let hub = TestHub::start().await;
    for url in [&hub.url, &hub.ops_url] {
        for (head, status) in [
            ("HTTP/1.1\r\n", 400),
            ("HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n", 400),
            ("HTTP/1.1\r\nhost: localhost\r\nHost: other\r\n", 400),
            ("HTTP/1.1\r\nhost: localhost, other\r\n", 400),
            ("HTTP/1.1\r\nhost: http://hub\r\n", 400),
            ("HTTP/1.1\r\nhost: user@hub\r\n", 400),
            ("HTTP/1.1\r\nhost:\r\n", 400),
            ("HTTP/1.0\r\nhost: localhost\r\nhost: localhost\r\n", 400),
            ("HTTP/1.0\r\n", 200),
            ("HTTP/1.1\r\nhost: localhost\r\n", 200),
        ] {
            let mut raw = Raw::to(url).await;
            raw.send(format!("GET /healthz {head}\r\n")).await;
            let answer = raw.answer().await;
            assert_eq!(answer.status, status, "{head:?}");
            if status == 400 {
                assert_eq!(answer.refused().1, "INVALID_REQUEST", "{head:?}");
                assert_eq!(answer.json()["error"]["field"], "Host", "{head:?}");
            }
        }
    }
    let body = "{}";
    let mut raw = Raw::to(&hub.url).await;
    raw.send(format!(
        "POST /api/v1/sessions HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}{HEALTH}",
        body.len()
    ))
    .await;
    assert_eq!(raw.answer().await.status, 400);
    assert_eq!(
        raw.answer().await.status,
        200,
        "the next request is parsed from its first byte"
    );
    assert_eq!(hub.get("/sessions").await.ok()["total"], 0);
}

/// The `Connection` header is correct, also if the hub did not read the request's body: the connection continues after
/// the body was read off, or ends with an announcement.
#[tokio::test]
async fn connection_header_is_correct_for_unread_bodies() {
    let hub = TestHub::with(|config| config.server.body_bytes_max = 1_000).await;
    let body = "x".repeat(5_000);
    for (line, status) in [
        ("POST /api/v1/nowhere", 404),
        ("PUT /api/v1/sessions", 405),
        ("POST /api/v1/health", 405),
        (
            "POST /api/v1/commands/execute HTTP/1.1\r\ncontent-type: text/plain",
            415,
        ),
        ("POST /api/v1/sessions HTTP/1.1\r\ncontent-type: application/json", 413),
        ("POST /socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA", 400),
        ("POST /socket.io/?EIO=4&transport=nonsense", 400),
    ] {
        let line = if line.contains("HTTP/1.1") {
            line.to_owned()
        } else {
            format!("{line} HTTP/1.1")
        };
        let mut raw = Raw::to(&hub.url).await;
        raw.send(format!(
            "{line}\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}{HEALTH}",
            body.len()
        ))
        .await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, status, "{line}: {}", answer.text);
        assert_eq!(answer.header("connection"), None, "{line}");
        assert_eq!(raw.answer().await.json(), json!({"status": "ok"}), "{line}");
        for unsent in [
            "content-length: 99999999999\r\n",
            "expect: 100-continue\r\ncontent-length: 5000\r\n",
        ] {
            let mut raw = Raw::to(&hub.url).await;
            raw.send(format!("{line}\r\nhost: localhost\r\n{unsent}\r\n")).await;
            let answer = raw.answer().await;
            assert_eq!(answer.status, status, "{line} {unsent:?}: {}", answer.text);
            assert_eq!(answer.header("connection"), Some("close"), "{line} {unsent:?}");
            assert_eq!(raw.until_closed().await, "", "{line} {unsent:?}");
        }
    }
}

/// A malformed request is answered with 400 and ends its connection, so that no later bytes count as a request.
#[tokio::test]
async fn malformed_requests_end_their_connection() {
    let hub = TestHub::start().await;
    for url in [&hub.url, &hub.ops_url] {
        for nonsense in [
            "nonsense\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nno header\r\n\r\n",
            "\u{1}\u{2}\r\n\r\n",
        ] {
            let mut raw = Raw::to(url).await;
            raw.send(format!("{nonsense}{HEALTH}")).await;
            let answer = raw.until_closed().await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{nonsense:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{nonsense:?}: {answer}");
        }
    }
}
