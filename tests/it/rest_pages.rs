//! Web pages that the hub serves beside its API.

use std::fs;

use serde_json::json;
use talus_hub::{app::App, config::Config};

use crate::support::TestHub;

async fn hub_with_pages() -> TestHub {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let pages = dir.path().join("pages");
    fs::create_dir_all(pages.join("assets")).expect("writable");
    fs::write(pages.join("index.html"), "<!doctype html><title>Live</title>").expect("writable");
    fs::write(pages.join("assets/live.js"), "export {};").expect("writable");
    fs::write(dir.path().join("secret"), "not a page").expect("writable");
    TestHub::on(dir, |config| config.server.pages_dir = pages).await
}

/// The index at `/`, the rest by its name, each with a policy that lets it do nothing elsewhere.
#[tokio::test]
async fn pages_are_served_with_a_policy() {
    let hub = hub_with_pages().await;
    for (path, kind, text) in [
        ("/", "text/html", "<!doctype html><title>Live</title>"),
        ("/?session=1", "text/html", "<!doctype html><title>Live</title>"),
        ("/assets/live.js", "text/javascript", "export {};"),
    ] {
        let page = hub
            .http()
            .get(format!("{}{path}", hub.url))
            .send()
            .await
            .expect("served");
        let header = |name: &str| page.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(header("content-type"), kind, "{path}");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains('*') && !policy.contains("unsafe"), "{policy}");
        assert_eq!(
            (header("x-content-type-options"), header("cache-control")),
            ("nosniff".to_owned(), "no-cache".to_owned())
        );
        assert_eq!(page.text().await.expect("text"), text, "{path}");
    }
}

/// What is not there, what is not in the directory, and what is no reading, is answered as without pages.
#[tokio::test]
async fn beside_the_pages_everything_is_as_without_them() {
    let hub = hub_with_pages().await;
    for path in [
        "/nothing",
        "/%2e%2e/secret",
        "/assets/%2e%2e/%2e%2e/secret",
        "/api/v1/nothing",
        "/api/v2",
    ] {
        let reply = hub.send(hub.http().get(format!("{}{path}", hub.url))).await;
        assert_eq!(reply.refused(), (404, "NOT_FOUND"), "{path}");
    }
    let written = hub
        .send(hub.http().post(format!("{}/", hub.url)).json(&json!({})))
        .await;
    assert_eq!(written.refused(), (404, "NOT_FOUND"));
    let wrong = hub.send(hub.http().put(hub.api("/sessions"))).await;
    assert_eq!(wrong.refused(), (405, "METHOD_NOT_ALLOWED"));
    assert_eq!(hub.get("/health").await.ok(), json!({"status": "ok"}));
    hub.session().await;
}

#[tokio::test]
async fn without_the_key_there_are_no_pages() {
    let hub = TestHub::start().await;
    let reply = hub.send(hub.http().get(format!("{}/", hub.url))).await;
    assert_eq!(reply.refused(), (404, "NOT_FOUND"));
}

/// A front end that was not built is found out at the start, and not by whoever opens the page.
#[tokio::test]
async fn a_directory_without_pages_stops_the_start() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut config = Config::default();
    config.data.dir = dir.path().to_owned();
    config.server.pages_dir = dir.path().join("dist");
    let error = App::start(config).await.err().expect("it does not start");
    let said = error.to_string();
    assert!(
        said.starts_with("server.pages_dir: ") && said.contains("index.html"),
        "{said}"
    );
}
