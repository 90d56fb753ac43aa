//! Web pages that the hub serves beside its API.

use std::fs;

use serde_json::json;
use talus_hub::{app::App, config::Config};

use crate::{
    calls::{Raw, whole},
    support::TestHub,
};

async fn hub_with_pages() -> TestHub {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let pages = dir.path().join("pages");
    fs::create_dir_all(pages.join("assets")).expect("writable");
    fs::write(pages.join("index.html"), "<!doctype html><title>Live</title>").expect("writable");
    fs::write(pages.join("assets/live.js"), "export {};").expect("writable");
    fs::write(dir.path().join("secret"), "not a page").expect("writable");
    TestHub::on(dir, |config| config.server.pages_dir = pages).await
}

/// The index is served at `/` and other files by name, each with a strict content security policy.
#[tokio::test]
async fn pages_are_served_with_a_content_security_policy() {
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

/// Missing files, paths outside the directory, and methods other than reading get the same answers as without pages.
#[tokio::test]
async fn pages_leave_other_paths_unchanged() {
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
async fn default_page_has_no_scripts() {
    let hub = TestHub::start().await;
    let reply = hub.send(hub.http().get(format!("{}/index.html", hub.url))).await;
    assert_eq!(reply.refused(), (404, "NOT_FOUND"));
    let page = hub.http().get(format!("{}/", hub.url)).send().await.expect("answered");
    let policy = page.headers()["content-security-policy"].to_str().expect("text");
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("script-src"),
        "{policy}"
    );
    let text = page.text().await.expect("complete");
    for link in text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        if !link.starts_with("data:") {
            let there = hub
                .http()
                .get(format!("{}/{link}", hub.url))
                .send()
                .await
                .expect("answered");
            assert_eq!(there.status(), 200, "{link}");
        }
    }
}

/// A missing front end stops the start, instead of failing at the first visit.
#[tokio::test]
async fn pages_dir_without_index_stops_the_start() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut config = Config::default();
    config.data.dir = dir.path().to_owned();
    config.server.pages_dir = dir.path().join("dist");
    let error = App::start(config).await.err().expect("the start fails");
    let message = error.to_string();
    assert!(
        message.starts_with("server.pages_dir: ") && message.contains("index.html"),
        "{message}"
    );
}

/// P9: only regular pages within the directory are served, with any other contents and any spelling of the path.
#[cfg(unix)]
#[tokio::test]
async fn pages_serve_no_dot_files_pipes_or_outside_links() {
    use std::os::unix::fs::symlink;

    let hub = hub_with_pages().await;
    let pages = hub.dir.path().join("pages");
    fs::create_dir_all(pages.join(".git")).expect("writable");
    fs::create_dir_all(hub.dir.path().join("elsewhere")).expect("writable");
    for secret in [".env", ".git/config", "assets/.env", "../elsewhere/index.html"] {
        fs::write(pages.join(secret), "not a page").expect("writable");
    }
    fs::create_dir_all(pages.join("below")).expect("writable");
    for (link, target) in [
        ("out.txt", "../secret"),
        ("absolute.txt", hub.dir.path().join("secret").to_str().expect("text")),
        ("linked", "../elsewhere"),
        ("assets/up", "../.."),
        ("below/index.html", "../../secret"),
        ("env.txt", ".env"),
        ("dangling", "nothing"),
        ("circle", "circle"),
    ] {
        symlink(target, pages.join(link)).expect("writable");
    }
    let pipe = std::process::Command::new("mkfifo").arg(pages.join("pipe")).status();
    assert!(pipe.expect("mkfifo is installed").success());
    let mut raw = Raw::to(&hub.url).await;
    for path in [
        "/.env",
        "/%2eenv",
        "/%2Eenv",
        "/.git/config",
        "/%2egit/config",
        "/.git/",
        "/.git",
        "/assets/.env",
        "/assets%2f.env",
        "/assets/%2eenv",
        "/./.env",
        "//.env",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/assets/..%2f..%2fsecret",
        "/../secret",
        "/assets/../../secret",
        "/out.txt",
        "/absolute.txt",
        "/linked",
        "/linked/",
        "/linked/index.html",
        "/assets/up/secret",
        "/below/",
        "/below/index.html",
        "/env.txt",
        "/dangling",
        "/circle",
        "/pipe",
        &format!("/{}", "a".repeat(5_000)),
        "/index.html%00.js",
    ] {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
            .await;
        let answer = raw.answer().await;
        assert_eq!(answer.refused(), (404, "NOT_FOUND".to_owned()), "{path}");
    }
}

/// The directory may be a link, which a release replaces, and links within the directory lead to pages.
#[cfg(unix)]
#[tokio::test]
async fn pages_follow_links_to_and_within_the_directory() {
    use std::os::unix::fs::symlink;

    let dir = tempfile::tempdir().expect("a temporary folder");
    for release in ["one", "two"] {
        fs::create_dir_all(dir.path().join(release)).expect("writable");
        fs::write(dir.path().join(release).join("index.html"), release).expect("writable");
        symlink("index.html", dir.path().join(release).join("start.html")).expect("writable");
    }
    let current = dir.path().join("current");
    symlink("one", &current).expect("writable");
    let pages = current.clone();
    let hub = TestHub::on(dir, |config| config.server.pages_dir = pages).await;
    for release in ["one", "two"] {
        for path in ["/", "/start.html"] {
            let page = whole(hub.http().get(format!("{}{path}", hub.url))).await;
            assert_eq!((page.status, page.text.as_str()), (200, release), "{path}");
        }
        fs::remove_file(&current).expect("writable");
        symlink("two", &current).expect("writable");
    }
}
