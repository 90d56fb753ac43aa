//! Hub behind nginx, HAProxy and Caddy, each a real process with the configuration of `docs/proxies`: over TLS, at `/`
//! and below a path.

mod proxy;

use std::fs;

use serde_json::{Value, json};

use self::proxy::{Kind, Proxy, replaced};
use crate::{
    clients::driver::{Connect, Driver, Transport},
    support::TestHub,
};

/// Makes a test for each proxy of each function with a parameter for the proxy.
macro_rules! behind_each_proxy {
    ($($test:ident),+ $(,)?) => {
        mod nginx {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Kind::Nginx).await;
            })+
        }
        mod haproxy {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Kind::HaProxy).await;
            })+
        }
        mod caddy {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Kind::Caddy).await;
            })+
        }
    };
}

behind_each_proxy!(
    sockets_upgrade_at_every_path,
    event_streams_arrive_at_once,
    hub_pages_are_of_the_same_origin,
);

/// Starts a hub that serves a page, and admits no origin but its own.
async fn hub() -> TestHub {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let pages = dir.path().join("pages");
    fs::create_dir_all(&pages).expect("writable");
    fs::write(pages.join("index.html"), "<!doctype html><title>Live</title>").expect("writable");
    TestHub::on(dir, |config| {
        config.server.pages_dir = pages;
        config.cors.allow_localhost = false;
    })
    .await
}

/// P1, P2: clients begin with polling, upgrade to a websocket, and get events, at `/` and below a path.
async fn sockets_upgrade_at_every_path(kind: Kind) {
    let hub = hub().await;
    let proxy = Proxy::start(kind, &hub).await;
    let session = hub.session().await;
    let mut js = Driver::javascript_trusting(&proxy.certificate);
    for path in ["/socket.io/", "/hub/socket.io/"] {
        for transport in [Transport::Upgrading, Transport::Websocket, Transport::Polling] {
            let client = format!("{path} {transport:?}");
            let connect = Connect::to(&proxy.url, &session, transport).at_path(path);
            js.connect(&client, &connect.at_origin(&proxy.url)).await;
            let observed = js.until(&client, "session:connected").await;
            let upgrades = transport == Transport::Upgrading;
            if upgrades && !observed.iter().any(|observed| observed.kind == "upgraded") {
                js.until_that(&client, |observed| observed.kind == "upgraded").await;
            }
            hub.create_node(&session, None, "a").await;
            js.until(&client, "graph:node-created").await;
        }
    }
}

/// P1: a proxy passes each event of a stream on at once, without waiting for the next one.
async fn event_streams_arrive_at_once(kind: Kind) {
    let hub = hub().await;
    let proxy = Proxy::start(kind, &hub).await;
    let session = hub.session().await;
    let mut js = Driver::javascript_trusting(&proxy.certificate);
    for path in ["", "/hub"] {
        let url = format!("{}{path}/api/v1/sessions/{session}/events", proxy.url);
        let headers = json!({"Accept": "text/event-stream", "Accept-Encoding": "gzip, br, zstd"});
        let head = js.request(path, "GET", &url, headers, None).await;
        assert_eq!(head["status"], 200);
        assert_eq!(head["headers"]["content-encoding"], Value::Null);
        let first = js.expect(path, "chunk").await;
        assert!(
            first["text"].as_str().is_some_and(|text| text.starts_with(':')),
            "{first}"
        );
        hub.create_node(&session, None, "a").await;
        js.until_that(path, |observed| {
            observed.fields["text"]
                .as_str()
                .is_some_and(|text| text.contains("graph:node-created"))
        })
        .await;
    }
}

/// P9: a page of the hub may change things, also behind a proxy, where port and scheme of the hub differ from those of
/// the browser. A page of the same host at another port may not.
async fn hub_pages_are_of_the_same_origin(kind: Kind) {
    let hub = hub().await;
    let proxy = Proxy::start(kind, &hub).await;
    let mut js = Driver::javascript_trusting(&proxy.certificate);
    for path in ["", "/hub"] {
        let head = js
            .request("page", "GET", &format!("{}{path}/", proxy.url), json!({}), None)
            .await;
        assert_eq!(head["status"], 200, "{path}");
        assert!(js.body("page").await.contains("<title>Live</title>"));
        let sessions = format!("{}{path}/api/v1/sessions", proxy.url);
        let plain = proxy.url.replace("https", "http");
        for (origin, site, status) in [
            (proxy.url.as_str(), "same-origin", 201),
            ("https://localhost:1", "same-site", 403),
            (&plain, "cross-site", 403),
        ] {
            let headers = json!({"Origin": origin, "Sec-Fetch-Site": site, "Content-Type": "application/json"});
            let head = js.request("page", "POST", &sessions, headers, Some(&json!({}))).await;
            let said = js.body("page").await;
            assert_eq!(head["status"], status, "{origin}: {said}");
        }
    }
}

/// Pages of the hub keep their origin where a proxy leaves the port out of `Host`, for sockets too.
#[tokio::test]
async fn nginx_without_the_port_keeps_the_origin() {
    let hub = hub().await;
    let without_port = replaced(&Kind::Nginx.file(), "Host $http_host;", "Host $host;");
    let proxy = Proxy::with(Kind::Nginx, &hub, &without_port).await;
    let session = hub.session().await;
    let mut js = Driver::javascript_trusting(&proxy.certificate);
    let sessions = format!("{}/api/v1/sessions", proxy.url);
    let head = js
        .request("page", "POST", &sessions, json!({"Origin": proxy.url}), None)
        .await;
    assert_eq!(head["status"], 201);
    for transport in [Transport::Polling, Transport::Websocket] {
        let connect = Connect::to(&proxy.url, &session, transport).at_origin(&proxy.url);
        js.join(&format!("{transport:?}"), &connect).await;
    }
}

/// P1: clients that cannot upgrade continue to poll, and miss no event.
#[tokio::test]
async fn nginx_without_upgrades_leaves_clients_polling() {
    let hub = hub().await;
    let file = Kind::Nginx.file();
    let file = replaced(&file, "proxy_set_header Upgrade $http_upgrade;", "");
    let file = replaced(&file, "proxy_set_header Connection $hub_connection;", "");
    let proxy = Proxy::with(Kind::Nginx, &hub, &file).await;
    let session = hub.session().await;
    let mut js = Driver::javascript_trusting(&proxy.certificate);
    let connect = Connect::to(&proxy.url, &session, Transport::Upgrading).at_origin(&proxy.url);
    js.settle("ann", &connect).await;
    for name in ["a", "b", "c"] {
        hub.create_node(&session, None, name).await;
        let observed = js.until("ann", "graph:node-created").await;
        assert!(observed.iter().all(|observed| observed.kind == "event"), "{observed:?}");
    }
}
