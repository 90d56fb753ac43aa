//! Access control of web pages: rebound host names and foreign origins, on both listeners, for every kind of request.

use serde_json::json;
use talus_hub::config::Config;

use crate::{
    calls::{Raw, Whole, whole},
    support::TestHub,
};

fn refused_host() -> (u16, String) {
    (421, "HOST_NOT_ALLOWED".to_owned())
}

fn refused_origin() -> (u16, String) {
    (403, "ORIGIN_NOT_ALLOWED".to_owned())
}

/// Starts a hub with a host name and one allowed origin.
async fn hub() -> TestHub {
    hub_with(|_| {}).await
}

async fn hub_with(change: impl FnOnce(&mut Config)) -> TestHub {
    TestHub::with(|config| {
        config.server.hosts = vec!["hub.example".to_owned()];
        config.cors.origins = vec!["https://tracker.example".to_owned()];
        config.cors.allow_localhost = false;
        change(config);
    })
    .await
}

/// Sends a request with the given headers.
async fn ask(hub: &TestHub, method: &str, url: &str, headers: &[(&str, &str)]) -> Whole {
    let method = method.parse().expect("a method");
    let request = hub.http().request(method, url);
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    whole(request).await
}

/// Returns every kind of request as method and URL.
fn requests(hub: &TestHub, session_id: &str) -> Vec<(&'static str, String)> {
    let session = |path: &str| hub.api(&format!("/sessions/{session_id}{path}"));
    let ops = |path: &str| format!("{}{path}", hub.ops_url);
    let socket = |transport: &str| format!("{}/socket.io/?EIO=4&transport={transport}", hub.url);
    vec![
        ("GET", hub.api("/health")),
        ("GET", session("/graph")),
        ("GET", session("/events")),
        ("HEAD", hub.api("/sessions")),
        ("POST", hub.api("/sessions")),
        ("POST", hub.api("/commands/execute")),
        ("POST", hub.api("/projects")),
        ("POST", hub.api("/sessions/cleanup")),
        ("POST", session("/undo")),
        ("POST", session("/redo")),
        ("POST", session("/save")),
        ("POST", session("/load-graph")),
        ("DELETE", session("")),
        ("PUT", session("")),
        ("OPTIONS", session("")),
        ("GET", format!("{}/", hub.url)),
        ("GET", format!("{}/healthz", hub.url)),
        ("GET", format!("{}/metrics", hub.url)),
        ("POST", format!("{}/nothing", hub.url)),
        ("GET", socket("polling")),
        ("POST", socket("polling")),
        ("GET", socket("websocket")),
        ("GET", ops("/ops/actors")),
        ("GET", ops("/ops/events")),
        ("GET", ops(&format!("/ops/sessions/{session_id}/log"))),
        ("POST", ops(&format!("/ops/sessions/{session_id}/restart"))),
        ("POST", ops(&format!("/ops/sessions/{session_id}/quarantine"))),
        ("POST", ops(&format!("/ops/sessions/{session_id}/release"))),
        ("POST", ops(&format!("/ops/sessions/{session_id}/passivate"))),
        ("POST", ops(&format!("/ops/sessions/{session_id}/fault"))),
        ("POST", ops("/ops/drain")),
        ("GET", ops("/metrics")),
        ("OPTIONS", ops("/ops/drain")),
        ("POST", ops("/nothing")),
    ]
}

/// Asserts that the hub still runs, with one session and without changes.
async fn assert_untouched(hub: &TestHub, session_id: &str) {
    assert_eq!(
        hub.get("/sessions").await.ok()["sessions"].as_array().map(Vec::len),
        Some(1)
    );
    let tree = hub.ops("/actors").await.ok();
    assert_eq!(tree["root"]["state"], "running");
    assert_eq!(tree["sessions"][0]["restarts"], 0);
    hub.create_node(session_id, None, "well").await;
}

/// P9: a page whose host name was rebound to this machine sends its own name as `Host`. Every path refuses the request.
#[tokio::test]
async fn rebound_hosts_are_refused_on_every_path_of_both_listeners() {
    let hub = hub().await;
    let session_id = hub.session().await;
    for (method, url) in requests(&hub, &session_id) {
        let port = url.split([':', '/']).nth(4).expect("a port").to_owned();
        let host = format!("a.example:{port}");
        let origin = format!("http://{host}");
        for headers in [
            &[("host", host.as_str())][..],
            &[("host", &host), ("origin", &origin)],
            &[("host", &host), ("origin", &origin), ("sec-fetch-site", "same-origin")],
            &[("host", &host), ("origin", "https://tracker.example")],
            &[("host", &host), ("x-forwarded-host", "127.0.0.1")],
        ] {
            let answer = ask(&hub, method, &url, headers).await;
            if method == "HEAD" {
                assert_eq!(answer.status, 421, "{url}");
            } else {
                assert_eq!(answer.refused(), refused_host(), "{method} {url} {headers:?}");
            }
            assert_eq!(answer.header("access-control-allow-origin"), None, "{url}");
        }
    }
    assert_untouched(&hub, &session_id).await;
}

/// P9: a host that only resembles one of the hub's names is refused.
#[tokio::test]
async fn host_lookalikes_are_refused() {
    let hub = hub().await;
    for host in [
        "localhost.a.example",
        "notlocalhost",
        "127.0.0.1.a.example",
        "x.hub.example",
        "hub.example.a.example",
        "hub.example@a.example",
        "a.example@hub.example",
        "hub.example, a.example",
        "a.example#hub.example",
        "hub.example:80:80",
        "hub%2eexample",
        "http://hub.example",
        "::1",
    ] {
        let answer = ask(&hub, "GET", &hub.api("/health"), &[("host", host)]).await;
        // Some values are not hosts at all, which is checked before the names are compared.
        let is_refused = [refused_host(), (400, "INVALID_REQUEST".to_owned())].contains(&answer.refused());
        assert!(is_refused, "{host}: {:?}", answer.refused());
    }
}

/// P9: addresses are served, because an address cannot be rebound and health checks use addresses. Ports are ignored,
/// because a port mapping changes them.
#[tokio::test]
async fn own_hosts_and_addresses_are_served_at_any_port() {
    let hub = hub().await;
    for host in [
        "127.0.0.1",
        "127.0.0.1:1",
        "192.0.2.7:8080",
        "[::1]:5000",
        "[2001:db8::7]",
        "localhost",
        "LocalHost:9",
        "hub.example",
        "HUB.example:443",
        "hub.example.:8443",
        "tracker.example",
    ] {
        for url in [hub.api("/health"), format!("{}/ops/actors", hub.ops_url)] {
            let answer = ask(&hub, "GET", &url, &[("host", host)]).await;
            assert_eq!(answer.status, 200, "{host} at {url}");
        }
    }
}

/// P9: a target in absolute form names a host as well, and every named host must be allowed.
#[tokio::test]
async fn absolute_targets_are_refused_for_any_foreign_host() {
    let hub = hub().await;
    for url in [&hub.url, &hub.ops_url] {
        for (target, host, status) in [
            ("http://a.example/healthz", "127.0.0.1", 421),
            ("http://a.example:5000/healthz", "a.example:5000", 421),
            ("http://hub.example/healthz", "a.example", 421),
            ("http://hub.example@a.example/healthz", "hub.example", 421),
            ("http://hub.example/healthz", "hub.example", 200),
            ("http://127.0.0.1/healthz", "localhost", 200),
        ] {
            let mut raw = Raw::to(url).await;
            raw.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            assert_eq!(raw.answer().await.status, status, "{target} with {host}");
        }
    }
}

/// P9: a foreign page changes nothing, with or without a body, opens no socket, and reads no operators' page.
#[tokio::test]
async fn foreign_pages_change_nothing_with_or_without_a_body() {
    let hub = hub().await;
    let session_id = hub.session().await;
    let own = hub.url.clone();
    let foreign: Vec<Vec<(&str, &str)>> = vec![
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
        vec![("origin", "")],
        vec![("origin", "http://localhost:5173")],
        vec![("origin", "http://tracker.example")],
        vec![("origin", "https://tracker.example.evil.example")],
        vec![
            ("origin", "https://tracker.example"),
            ("origin", "https://evil.example"),
        ],
        vec![("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")],
        // The same host with another scheme, as the browser reports it.
        vec![("origin", own.as_str()), ("sec-fetch-site", "cross-site")],
        vec![("origin", own.as_str()), ("x-forwarded-proto", "https")],
    ];
    for (method, url) in requests(&hub, &session_id) {
        let reads_only = matches!(method, "GET" | "HEAD" | "OPTIONS");
        let is_api = url.starts_with(&hub.url) && !url.contains("/socket.io/");
        // CORS decides whether a page may read the response to a safe method.
        if (reads_only && is_api) || method == "OPTIONS" {
            continue;
        }
        for headers in &foreign {
            // The own origin of one listener is foreign to the other.
            let answer = ask(&hub, method, &url, headers).await;
            assert_eq!(answer.refused(), refused_origin(), "{method} {url} {headers:?}");
            let request = hub
                .http()
                .request(method.parse().expect("a method"), &url)
                .json(&json!({}));
            let request = headers
                .iter()
                .fold(request, |request, (name, value)| request.header(*name, *value));
            assert_eq!(
                whole(request).await.refused(),
                refused_origin(),
                "{method} {url} {headers:?}"
            );
        }
    }
    assert_untouched(&hub, &session_id).await;
}

/// The hub's own pages, listed origins, programs without an origin, and followed links are served.
#[tokio::test]
async fn own_and_listed_origins_and_programs_are_accepted() {
    let hub = hub().await;
    let sessions = hub.api("/sessions");
    let own = hub.url.clone();
    for headers in [
        &[][..],
        &[("origin", own.as_str())],
        &[("origin", &own), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin")],
        &[("origin", "https://tracker.example"), ("sec-fetch-site", "cross-site")],
        &[("origin", "HTTPS://Tracker.Example:443")],
    ] {
        assert_eq!(ask(&hub, "POST", &sessions, headers).await.status, 201, "{headers:?}");
    }
    let actors = format!("{}/ops/actors", hub.ops_url);
    let followed = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    assert_eq!(ask(&hub, "GET", &actors, &followed).await.status, 200);
    let own_ops = [("origin", hub.ops_url.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(ask(&hub, "GET", &actors, &own_ops).await.status, 200);
}

/// Behind a proxy, a page of the hub's own name has its own origin: with or without a port or TLS, in upper or lower
/// case.
#[tokio::test]
async fn own_origin_is_recognized_behind_a_proxy() {
    let hub = hub().await;
    let sessions = hub.api("/sessions");
    for (host, origin, allowed) in [
        ("hub.example", "https://hub.example", true),
        ("hub.example", "http://hub.example", true),
        ("hub.example:443", "https://hub.example", true),
        ("HUB.example:443", "https://Hub.Example", true),
        ("hub.example:80", "http://hub.example", true),
        ("hub.example:8443", "https://hub.example:8443", true),
        // The proxy dropped the port.
        ("hub.example", "https://hub.example:8443", true),
        ("hub.example:443", "http://hub.example", false),
        ("hub.example:80", "https://hub.example", false),
        ("hub.example:443", "http://hub.example:443", false),
        ("hub.example:8443", "https://hub.example", false),
        ("hub.example:8443", "https://hub.example:8444", false),
        ("hub.example", "https://x.hub.example", false),
        ("hub.example", "https://example", false),
        ("127.0.0.1", "https://hub.example", false),
    ] {
        let answer = ask(&hub, "POST", &sessions, &[("host", host), ("origin", origin)]).await;
        assert_eq!(answer.status, if allowed { 201 } else { 403 }, "{origin} at {host}");
        let socket = format!("{}/socket.io/?EIO=4&transport=polling", hub.url);
        let answer = ask(&hub, "GET", &socket, &[("host", host), ("origin", origin)]).await;
        assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{origin} at {host}");
    }
}

/// P9: `[cors]` applies to clients only. No key lets a page of another origin, or of another port of the same machine,
/// use the operators' listener.
#[tokio::test]
async fn ops_listener_accepts_only_its_own_origin() {
    let hub = hub_with(|config| config.cors.allow_localhost = true).await;
    let drain = format!("{}/ops/drain", hub.ops_url);
    let actors = format!("{}/ops/actors", hub.ops_url);
    for origin in [
        "http://localhost:5173",
        "http://127.0.0.1:1",
        "http://[::1]",
        "https://tracker.example",
        hub.url.as_str(),
    ] {
        for (method, url) in [("POST", &drain), ("GET", &actors)] {
            let answer = ask(&hub, method, url, &[("origin", origin)]).await;
            assert_eq!(answer.refused(), refused_origin(), "{method} {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        }
        let asked = [("origin", origin), ("access-control-request-method", "POST")];
        let preflight = ask(&hub, "OPTIONS", &drain, &asked).await;
        assert_eq!(preflight.header("access-control-allow-origin"), None, "{origin}");
        // A host without a port means the default port, not any port.
        let unported = [("origin", "http://localhost:5173"), ("host", "localhost")];
        assert_eq!(ask(&hub, "POST", &drain, &unported).await.refused(), refused_origin());
    }
    let own = [("origin", hub.ops_url.as_str())];
    assert_eq!(ask(&hub, "GET", &actors, &own).await.status, 200);
    assert_eq!(ask(&hub, "POST", &drain, &own).await.status, 202);
}
