//! CORS: origins that may use the API, on success and on failure.

use serde_json::json;

use crate::{
    calls::{Whole, whole},
    support::TestHub,
};

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// Returns requests of a page to every part of the server, valid and invalid.
fn requests(hub: &TestHub, session: &str) -> Vec<(u16, reqwest::RequestBuilder)> {
    let http = hub.http();
    let json = |path: &str, text: &str| {
        http.post(hub.api(path))
            .header("content-type", "application/json")
            .body(text.to_owned())
    };
    vec![
        (200, http.get(hub.api("/health"))),
        (201, json("/sessions", "{}")),
        (204, http.delete(hub.api(&format!("/sessions/{session}")))),
        (
            304,
            http.get(hub.api(&format!("/sessions/{session}/graph")))
                .header("if-none-match", "*"),
        ),
        (400, json("/commands/execute", "{")),
        (404, http.get(hub.api("/sessions/nobody/info"))),
        (404, http.get(format!("{}/nothing", hub.url))),
        (405, http.put(hub.api("/sessions"))),
        (413, json("/sessions", &" ".repeat(2_000))),
        (415, http.post(hub.api("/commands/execute")).body("x")),
        (
            503,
            json(
                "/projects",
                r#"{"template_id": "novel", "project_name": "One too many"}"#,
            ),
        ),
        (200, http.get(format!("{}/metrics", hub.url))),
        (200, http.get(format!("{}/socket.io/?EIO=4&transport=polling", hub.url))),
        (
            400,
            http.get(format!("{}/socket.io/?EIO=4&transport=nonsense", hub.url)),
        ),
    ]
}

fn changes(request: &reqwest::RequestBuilder) -> bool {
    let request = request.try_clone().and_then(|request| request.build().ok());
    let request = request.expect("a request");
    request.method() != reqwest::Method::GET || request.url().path().starts_with("/socket.io")
}

async fn hub(listed: &[&str], allow_localhost: bool) -> TestHub {
    let origins = listed.iter().map(ToString::to_string).collect();
    TestHub::with(|config| {
        config.cors.origins = origins;
        config.cors.allow_localhost = allow_localhost;
        config.server.body_bytes_max = 1_000;
        config.limits.sessions_max = 2;
    })
    .await
}

/// An allowed page can read every response, errors of every part included; other pages get no CORS header. `Vary` names
/// the origin.
#[tokio::test]
async fn cors_headers_are_on_every_answer() {
    for (listed, allow_localhost, origin, allowed) in [
        (&[][..], true, "http://localhost:5173", true),
        (&[], true, "https://127.0.0.1:1", true),
        (&[], true, "http://[::1]", true),
        (&[], true, "http://localhost.evil.example", false),
        (&[], true, "https://evil.example", false),
        (&[], true, "null", false),
        (&[], false, "http://localhost:5173", false),
        (&["https://tracker.example"], false, "https://tracker.example", true),
        (&["https://tracker.example"], false, "http://tracker.example", false),
        (&["https://tracker.example"], true, "http://localhost:80", true),
    ] {
        let hub = hub(listed, allow_localhost).await;
        let session = hub.session().await;
        let mut requests = requests(&hub, &session);
        // The session must exist until the last request.
        let deletion = requests.remove(2);
        requests.push(deletion);
        for (number, (status, request)) in requests.into_iter().enumerate() {
            // A foreign page is refused where a request changes something, because the page need not read the response.
            let status = if changes(&request) && !allowed { 403 } else { status };
            let answer = whole(request.header("origin", origin)).await;
            let case = (origin, number, &answer.text);
            assert_eq!(answer.status, status, "{case:?}");
            assert_eq!(answer.header(ALLOW_ORIGIN), allowed.then_some(origin), "{case:?}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{case:?}");
            let vary: Vec<&str> = answer.header_lines("vary").flat_map(|line| line.split(',')).collect();
            assert!(vary.iter().any(|name| name.trim() == "origin"), "{case:?}: {vary:?}");
        }
    }
}

/// A page can read the exposed headers: the graph's ETag, the location, the retry time, the request id.
#[tokio::test]
async fn cors_exposes_the_api_headers() {
    let hub = hub(&[], true).await;
    let session = hub.session().await;
    let read = hub
        .http()
        .get(hub.api(&format!("/sessions/{session}/graph")))
        .header("origin", "http://localhost");
    let answer = whole(read).await;
    let mut exposed: Vec<&str> = answer
        .header("access-control-expose-headers")
        .expect("some")
        .split(',')
        .collect();
    exposed.sort_unstable();
    assert_eq!(exposed, ["etag", "location", "retry-after", "x-request-id"]);
}

async fn preflight(hub: &TestHub, path: &str, origin: &str, method: &str, headers: &str) -> Whole {
    let request = hub
        .http()
        .request(reqwest::Method::OPTIONS, format!("{}{path}", hub.url));
    let request = request
        .header("origin", origin)
        .header("access-control-request-method", method);
    whole(request.header("access-control-request-headers", headers)).await
}

/// A preflight allows every method and header of the API, on every path.
#[tokio::test]
async fn cors_preflight_allows_methods_and_headers_of_the_api() {
    let hub = hub(&["https://tracker.example"], true).await;
    for origin in ["http://localhost:3000", "https://tracker.example"] {
        for (path, method) in [
            ("/api/v1/commands/execute", "POST"),
            ("/api/v1/sessions/x", "DELETE"),
            ("/api/v1/sessions/x/graph", "GET"),
            ("/nothing", "POST"),
        ] {
            let answer = preflight(&hub, path, origin, method, "content-type,x-client-id,if-none-match").await;
            assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{path}");
            assert_eq!(answer.header(ALLOW_ORIGIN), Some(origin), "{path}");
            let methods = answer.header("access-control-allow-methods").expect("methods");
            assert!(methods.split(',').any(|allowed| allowed == method), "{path}: {methods}");
            let headers = answer.header("access-control-allow-headers");
            assert_eq!(headers, Some("content-type,x-client-id,if-none-match"), "{path}");
            assert_eq!(answer.header("access-control-max-age"), Some("3600"), "{path}");
        }
    }
    let foreign = preflight(
        &hub,
        "/api/v1/commands/execute",
        "https://evil.example",
        "POST",
        "content-type",
    )
    .await;
    assert_eq!(foreign.header(ALLOW_ORIGIN), None);
}

/// A foreign page cannot open a socket over long polling, although the page need not read the response.
#[tokio::test]
async fn cors_refuses_sockets_of_foreign_pages() {
    let hub = hub(&["https://tracker.example"], true).await;
    let url = format!("{}/socket.io/?EIO=4&transport=polling", hub.url);
    let refused = whole(hub.http().get(&url).header("origin", "https://evil.example")).await;
    assert_eq!(refused.refused(), (403, "ORIGIN_NOT_ALLOWED".to_owned()));
    for origin in ["https://tracker.example", "http://localhost:1", hub.url.as_str()] {
        assert_eq!(
            whole(hub.http().get(&url).header("origin", origin)).await.status,
            200,
            "{origin}"
        );
    }
    assert_eq!(whole(hub.http().get(&url)).await.status, 200, "no origin");
}

/// A request without an origin gets the same answer without CORS headers.
#[tokio::test]
async fn cors_ignores_requests_without_origin() {
    let hub = hub(&[], true).await;
    let answer = whole(hub.http().get(hub.api("/health"))).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})));
    assert_eq!(answer.header(ALLOW_ORIGIN), None);
}
