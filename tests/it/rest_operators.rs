//! Health, readiness and metrics, and the answers of a draining hub.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::Request, response::Response};
use serde_json::json;
use talus_actors::{
    domain::limits::Limits,
    hub::{Hub, HubParts, HubSettings, NewSession, RoomSettings},
    log::MemoryLog,
    permits::Permits,
    session_supervisor::SupervisionSettings,
};
use talus_hub::{
    config::Config,
    http::routes,
    http_kit::{AppContext, AppState, Compression, Reading},
    metrics::Metrics,
    projects::{ProjectService, ProjectStore},
    storage::Losses,
    templates::TemplateStore,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    calls::{Poller, Whole, in_time, until, whole},
    support::{NoBlueprints, TestHub},
};

/// Health, liveness and readiness have short JSON answers.
#[tokio::test]
async fn serving_hub_is_healthy_and_ready() {
    let hub = TestHub::start().await;
    for (path, body) in [
        ("/api/v1/health", json!({"status": "ok"})),
        ("/healthz", json!({"status": "ok"})),
        ("/readyz", json!({"status": "ready"})),
    ] {
        let answer = whole(hub.http().get(format!("{}{path}", hub.url))).await;
        assert_eq!((answer.status, answer.json()), (200, body), "{path}");
        let head = whole(hub.http().head(format!("{}{path}", hub.url))).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
    }
}

/// Returns the samples on a page of metrics that begin with a name.
fn samples<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    page.lines()
        .filter(|line| line.starts_with(name) && !line.starts_with('#'))
        .collect()
}

/// P9: metrics count commands by type and outcome, requests by route and status, sessions and sockets. No label is of a
/// client's choosing.
#[tokio::test]
async fn metrics_count_commands_requests_sessions_and_sockets() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let more = json!({"command_id": "aaaaaaaa-0000-4000-8000-000000000001"});
    for _ in 0..2 {
        hub.execute_with(&session, "CreateNode", json!({"blueprint_type_id": "t"}), more.clone())
            .await;
    }
    hub.execute(&session, "DeleteNode", json!({"node_id": session})).await;
    hub.execute(&session, "invented-by-a-client", json!({})).await;
    hub.get("/invented-by-a-client").await;
    hub.send(
        hub.http()
            .request("INVENTED".parse().expect("a method"), hub.api("/sessions")),
    )
    .await;
    let poller = Poller::join(&hub.url, &session).await;
    let answer = whole(hub.http().get(format!("{}/metrics", hub.url))).await;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(media_type)));
    let page = &answer.text;
    assert!(page.ends_with("# EOF\n"));
    for line in [
        r#"hub_commands_total{command_type="CreateNode",outcome="ok"} 1"#,
        r#"hub_commands_total{command_type="CreateNode",outcome="duplicate"} 1"#,
        r#"hub_commands_total{command_type="DeleteNode",outcome="NODE_NOT_FOUND"} 1"#,
        r#"hub_command_seconds_count{command_type="CreateNode"} 2"#,
        r#"hub_http_requests_total{method="POST",route="/api/v1/commands/execute",status="200"} 2"#,
        r#"hub_http_requests_total{method="POST",route="/api/v1/commands/execute",status="400"} 1"#,
        r#"hub_http_requests_total{method="POST",route="/api/v1/commands/execute",status="404"} 1"#,
        r#"hub_http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
        r#"hub_http_requests_total{method="other",route="/api/v1/sessions",status="405"} 1"#,
        "hub_sessions 1",
        "hub_connections 1",
        "hub_sessions_quarantined 0",
        "hub_events_published_total 2",
        "hub_session_restarts_total 0",
        "hub_append_failures_total 0",
    ] {
        assert!(page.lines().any(|found| found == line), "no {line} in\n{page}");
    }
    assert!(
        !page.contains("invented") && !page.contains("INVENTED") && !page.contains(&session),
        "{page}"
    );
    assert_eq!(
        samples(page, "hub_commands_total").len(),
        3,
        "an unknown command type is not counted"
    );
    poller.close().await;
    until("the socket has left", async || {
        hub.metric("hub_connections").await == "0"
    })
    .await;
    hub.delete(&format!("/sessions/{session}")).await;
    assert_eq!(hub.metric("hub_sessions").await, "0");
}

/// Starts a router over its own hub without a listener, because a draining listener admits no new connection.
async fn api() -> (Router, Hub, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let settings = HubSettings {
        limits: Limits::default(),
        supervision: SupervisionSettings {
            restarts_max: 0,
            restart_window: Duration::from_secs(1),
            restart_backoff: Duration::ZERO,
            idle_timeout: Duration::from_secs(1_000),
            sessions_max: 10,
            in_flight_per_session_max: 10,
            reconnect_ms: (1, 2),
        },
        room: RoomSettings {
            tick_interval: Duration::from_secs(1_000),
            events_packet_bytes_max: usize::MAX,
            sync_bytes_in_flight_max: usize::MAX,
            presence_interval: Duration::from_secs(1_000),
            presence_clients_max: 1_000,
            deliveries_waiting_max: 16_384,
        },
        in_flight_max: 10,
        group_commands_max: 10,
        snapshot_events: 1_000,
        sockets_per_session_max: 10,
        command_filter_bytes_max: 1_048_576,
    };
    let parts = HubParts {
        log: Arc::new(MemoryLog::start().expect("a thread")),
        blueprints: Arc::new(NoBlueprints),
        encoder: None,
        stats: Arc::default(),
    };
    let hub = Hub::start(settings, parts).await.expect("an empty log can be read");
    let config = Arc::new(Config::default());
    let (limits, reading) = (Arc::new(Limits::default()), Reading::new(&config.rest));
    let templates = Arc::new(TemplateStore::new(dir.path().to_owned()));
    let projects = ProjectService {
        hub: hub.clone(),
        store: Arc::new(ProjectStore::open(dir.path().to_owned(), 1_000_000).expect("a folder")),
        templates: Arc::clone(&templates),
        documents: reading.documents(),
        limits: Arc::clone(&limits),
        config: Arc::clone(&config),
        metrics: Metrics::default(),
    };
    let state = AppState::new(AppContext {
        losses: Losses::default(),
        compression: Compression::new(&config.rest),
        reading,
        hub: hub.clone(),
        config,
        limits,
        templates,
        projects,
        metrics: Metrics::default(),
        receiving: talus_hub::permits::Permits::new(1 << 20),
        streams: Permits::new(10),
        listeners: Permits::new(10),
        stop: CancellationToken::new(),
        started: Instant::now(),
    });
    (routes(state), hub, dir)
}

async fn ask(api: &Router, method: &str, path: &str, body: &serde_json::Value) -> Whole {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json");
    let request = request.body(Body::from(body.to_string())).expect("a request");
    let response: Response = api.clone().oneshot(request).await.expect("a router always answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("a body");
    Whole {
        status,
        headers,
        text: String::from_utf8(bytes.to_vec()).expect("UTF-8"),
    }
}

/// A draining hub is alive and not ready, and refuses every request that needs a session, known or unknown, with a
/// retry time.
#[tokio::test]
async fn draining_hub_is_not_ready_and_refuses() {
    let (api, hub, _dir) = api().await;
    let (header, _) = hub.create(NewSession::default()).await.expect("the first session");
    let session = header.session_id;
    let empty = json!({});
    assert_eq!(
        ask(&api, "GET", &format!("/api/v1/sessions/{session}/info"), &empty)
            .await
            .status,
        200
    );
    assert_eq!(ask(&api, "GET", "/readyz", &empty).await.status, 200);
    hub.drain().await;
    let ready = ask(&api, "GET", "/readyz", &empty).await;
    assert_eq!((ready.status, ready.json()), (503, json!({"status": "draining"})));
    assert_eq!(ask(&api, "GET", "/healthz", &empty).await.status, 200);
    assert_eq!(ask(&api, "GET", "/metrics", &empty).await.status, 200);
    let command = json!({"session_id": session, "command_type": "CreateNode", "data": {"blueprint_type_id": "t"}});
    let graph = json!({"graph": {"roots": []}});
    for (method, path, body) in [
        ("POST", "/commands/execute".to_owned(), &command),
        ("POST", "/sessions".to_owned(), &empty),
        ("GET", format!("/sessions/{session}/info"), &empty),
        ("GET", format!("/sessions/{session}/graph?min_seq=5"), &empty),
        (
            "GET",
            "/sessions/00000000-0000-4000-8000-000000000000/graph".to_owned(),
            &empty,
        ),
        ("GET", format!("/sessions/{session}/events"), &empty),
        ("POST", format!("/sessions/{session}/undo"), &empty),
        ("POST", format!("/sessions/{session}/save"), &empty),
        ("POST", format!("/sessions/{session}/load-graph"), &graph),
    ] {
        let refused = ask(&api, method, &format!("/api/v1{path}"), body).await;
        assert_eq!(refused.status, 503, "{method} {path}: {}", refused.text);
        assert_eq!(refused.refused(), (503, "DRAINING".to_owned()), "{method} {path}");
        assert_eq!(refused.header("retry-after"), Some("1"), "{method} {path}");
    }
}

/// A waiting request is answered when the hub drains, instead of losing its connection without an answer.
#[tokio::test]
async fn waiting_request_is_answered_when_the_hub_drains() {
    for _ in 0..10 {
        let hub = TestHub::with(|config| {
            config.limits.in_flight_per_session_max = 1;
            config.rest.min_seq_wait_ms = 600_000;
        })
        .await;
        let session = hub.session().await;
        let reading = hub.occupy(&session);
        let info = format!("/sessions/{session}/info");
        until("the reader waits", async || hub.get(&info).await.status == 503).await;
        let (_, stopped) = in_time("the end of the hub", hub.stop()).await;
        stopped.expect("in time");
        let answer = in_time("the reader", reading).await.expect("an answer");
        assert_eq!(answer.refused(), (503, "DRAINING".to_owned()));
    }
}
