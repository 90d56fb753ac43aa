//! Process of the binary: start, exit codes, refused starts.

use std::{fs, net::TcpListener};

use serde_json::{Value, json};

use crate::{
    binary::{Ended, Process, command, end, run},
    calls::{Poller, Raw, whole},
};

/// Asserts that a process did not start: its exit code, an empty standard output, and one line with the reason.
fn assert_refused_start(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word} is missing: {ended:?}");
    }
}

/// The greeting names the clients' URL, the data directory, the operators' URL and the page to open, all of which are
/// correct.
#[tokio::test]
async fn greeting_names_urls_and_data_directory() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let hub = Process::start(command(&dir).args(["--data-dir", "own data"])).await;
    let url = hub.url.clone();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let [listening, data, operators, open] = hub.greeting.as_slice() else {
        unreachable!("{:?}", hub.greeting);
    };
    assert_eq!(*listening, format!("talus-hub listening on {url}"));
    assert_eq!(data, "data in own data");
    assert_eq!(*open, format!("open {url}/"));
    let page = whole(reqwest::Client::new().get(format!("{url}/"))).await;
    assert!(
        page.status == 200 && page.text.contains("<h1>Talus Hub</h1>"),
        "{page:?}"
    );
    let operators = operators.strip_prefix("operators at ").expect(operators);
    assert!(operators.starts_with("http://127.0.0.1:"), "{operators}");
    assert_eq!(whole(reqwest::Client::new().get(operators)).await.status, 200);
    let health = whole(reqwest::Client::new().get(format!("{url}/api/v1/health"))).await;
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
    assert!(dir.path().join("own data/projects").is_dir());
    let ended = hub.stop().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
}

/// Each signal ends the hub with code 0 and closes all connections: silent ones, ones within a head or a body, ones
/// that wait for an answer, and sockets.
#[tokio::test]
async fn signals_end_the_hub_and_close_all_connections() {
    for signal in ["TERM", "INT", "HUP"] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let hub = Process::start(&mut command(&dir)).await;
        let http = reqwest::Client::new();
        let made = whole(http.post(format!("{}/api/v1/sessions", hub.url))).await.json();
        let session = made["session_id"].as_str().expect("an id").to_owned();
        let mut silent = Raw::to(&hub.url).await;
        let mut idle = Raw::to(&hub.url).await;
        idle.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert_eq!(idle.answer().await.status, 200);
        let mut head = Raw::to(&hub.url).await;
        head.send("GET /healthz HTTP/1.1\r\nhost: h").await;
        let mut body = Raw::to(&hub.url).await;
        body.send("POST /api/v1/sessions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
            .await;
        body.send("content-length: 10\r\n\r\n{").await;
        let mut waiting = Raw::to(&hub.url).await;
        waiting
            .send(format!(
                "GET /api/v1/sessions/{session}/graph?min_seq=9 HTTP/1.1\r\nhost: localhost\r\n\r\n"
            ))
            .await;
        let poller = Poller::join(&hub.url, &session).await;
        let (drained, polling) = tokio::join!(hub.signal(signal), poller.wait_for("session:draining"));
        assert_eq!(drained, ());
        assert!(polling.contains("reconnect_in_ms"), "{polling}");
        let ended = hub.ended().await;
        assert_eq!(ended.code, Some(0), "{signal}: {ended:?}");
        for connection in [&mut silent, &mut idle, &mut head, &mut body] {
            assert_eq!(connection.until_closed().await, "", "{signal}");
        }
        let answer = waiting.until_closed().await;
        assert!(answer.is_empty() || answer.contains("DRAINING"), "{signal}: {answer}");
    }
}

/// A signal right after the greeting ends the hub with code 0.
#[tokio::test]
async fn signal_right_after_start_ends_the_hub_in_order() {
    for _ in 0..3 {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let hub = Process::start(&mut command(&dir)).await;
        let ended = hub.stop().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

/// A project that was saved before the end of the process is there after a restart.
#[tokio::test]
async fn saved_project_outlives_the_process() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let http = reqwest::Client::new();
    let hub = Process::start(&mut command(&dir)).await;
    let body = json!({"template_id": "novel", "project_name": "Book"});
    let made = whole(http.post(format!("{}/api/v1/projects", hub.url)).json(&body))
        .await
        .json();
    let save = format!(
        "{}/api/v1/sessions/{}/save",
        hub.url,
        made["session_id"].as_str().expect("an id")
    );
    assert_eq!(whole(http.post(save)).await.status, 200);
    assert_eq!(hub.stop().await.code, Some(0));
    let hub = Process::start(&mut command(&dir)).await;
    let shown: Value = whole(http.get(format!("{}/api/v1/projects/book", hub.url)))
        .await
        .json();
    assert_eq!(shown["graph"], made["graph"]);
    assert_eq!(hub.stop().await.code, Some(0));
}

/// A port in use ends the start with code 4, and the address is named.
#[tokio::test]
async fn port_in_use_exits_with_4() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    assert_refused_start(
        &run(&["--port", &port]).await,
        4,
        &["cannot listen on 127.0.0.1:", &port],
    );
    assert_refused_start(&run(&["--host", "192.0.2.1", "--port", "0"]).await, 4, &["192.0.2.1:0"]);
}

/// A hub on all interfaces names an address that a browser can open.
#[tokio::test]
async fn greeting_names_a_connectable_address() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let hub = Process::start(command(&dir).args(["--host", "0.0.0.0"])).await;
    let port = hub.url.rsplit(':').next().expect("a port").to_owned();
    assert_eq!(hub.greeting[3], format!("open http://127.0.0.1:{port}/"));
    hub.stop().await;
}

/// A second hub chooses another address for operators and names it. A configured address that is in use ends the start
/// with code 4, and the key is named.
#[tokio::test]
async fn ops_address_in_use_exits_with_4() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let hubs = dirs.each_ref().map(|dir| {
        let mut binary = command(dir);
        binary.env("TALUS_HUB_OPS__LISTEN", "auto");
        binary
    });
    let mut addresses = Vec::new();
    let mut running = Vec::new();
    for mut binary in hubs {
        let hub = Process::start(&mut binary).await;
        let operators = hub.greeting[2].strip_prefix("operators at ").expect("their address");
        assert_eq!(whole(reqwest::Client::new().get(operators)).await.status, 200);
        addresses.push(operators.to_owned());
        running.push(hub);
    }
    assert_ne!(addresses[0], addresses[1]);
    let taken = addresses[0]
        .trim_start_matches("http://")
        .trim_end_matches("/ops/actors");
    let ended = end(command(&dirs[0]).args(["--data-dir", "other", "--port", "0", "--ops-listen", taken])).await;
    assert_refused_start(&ended, 4, &["ops.listen", taken]);
    for hub in running {
        assert_eq!(hub.stop().await.code, Some(0));
    }
}

/// A configured templates directory must exist: code 5, and the path is named.
#[tokio::test]
async fn unreadable_templates_dir_exits_with_5() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("file"), "x").expect("written");
    for templates in ["nowhere", "file"] {
        let ended = end(command(&dir).env("TALUS_HUB_TEMPLATES__DIR", templates)).await;
        assert_refused_start(&ended, 5, &["templates.dir", templates]);
    }
}

/// An unreadable template is a line in the log and an entry with an error. The hub starts, and other templates can
/// be used.
#[tokio::test]
async fn unreadable_template_files_do_not_prevent_the_start() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let templates = dir.path().join("own");
    fs::create_dir(&templates).expect("made");
    std::os::unix::fs::symlink("nowhere", templates.join("novel.yaml")).expect("linked");
    fs::create_dir(templates.join("folder.yaml")).expect("made");
    fs::write(
        templates.join("shelf.yml"),
        "name: Shelf\nnode_types: [{id: t, label: T}]\n",
    )
    .expect("written");
    let fifo = std::process::Command::new("mkfifo")
        .arg(templates.join("fifo.yaml"))
        .status();
    assert!(fifo.expect("mkfifo runs").success());
    let hub = Process::start(command(&dir).env("TALUS_HUB_TEMPLATES__DIR", "own")).await;
    let http = reqwest::Client::new();
    let list = whole(http.get(format!("{}/api/v1/templates", hub.url))).await.json();
    let expected = json!([
        {"id": "fifo", "error": "it is a fifo, not a file"},
        {"id": "folder", "error": "it is a directory, not a file"},
        {"id": "novel", "error": "it is a link to a file that does not exist"},
        {"id": "shelf", "uuid": null, "name": "Shelf", "version": "1.0", "description": null},
    ]);
    assert_eq!(list["templates"], expected);
    for id in ["fifo", "folder", "novel"] {
        let refused = whole(http.get(format!("{}/api/v1/templates/{id}/schema", hub.url))).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (400, &json!("TEMPLATE_INVALID"))
        );
    }
    let ended = hub.stop().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for id in ["fifo", "folder", "novel"] {
        let is_logged = |line: &str| line.contains("a template cannot be used") && line.contains(id);
        assert!(ended.stderr.lines().any(is_logged), "{id}: {ended:?}");
    }
}

/// The binary needs no files: in an empty folder the hub has the built-in templates, and a default templates directory
/// adds to these.
#[tokio::test]
async fn builtin_templates_need_no_files() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let http = reqwest::Client::new();
    let ids = async |hub: &Process| -> Vec<Value> {
        let list = whole(http.get(format!("{}/api/v1/templates", hub.url))).await.json();
        let templates = list["templates"].as_array().expect("a list").clone();
        assert!(
            templates.iter().all(|template| template.get("error").is_none()),
            "{list}"
        );
        templates.into_iter().map(|template| template["id"].clone()).collect()
    };
    let hub = Process::start(command(&dir).env_remove("TALUS_HUB_TEMPLATES__DIR")).await;
    assert_eq!(ids(&hub).await, ["novel", "software_project", "vehicle_restoration"]);
    let body = json!({"template_id": "novel", "project_name": "Book"});
    let made = whole(http.post(format!("{}/api/v1/projects", hub.url)).json(&body)).await;
    assert_eq!((made.status, &made.json()["project_id"]), (201, &json!("book")));
    assert_eq!(hub.stop().await.code, Some(0));

    let own = dir.path().join("config/templates");
    fs::create_dir_all(&own).expect("made");
    for (name, text) in [
        ("novel.yaml", "name: Mine\nnode_types: [{id: t, label: T}]\n"),
        ("a.yml", "name: A\nnode_types: [{id: t, label: T}]\n"),
    ] {
        fs::write(own.join(name), text).expect("written");
    }
    let hub = Process::start(command(&dir).env_remove("TALUS_HUB_TEMPLATES__DIR")).await;
    assert_eq!(
        ids(&hub).await,
        ["a", "novel", "software_project", "vehicle_restoration"]
    );
    let schema = whole(http.get(format!("{}/api/v1/templates/novel/schema", hub.url)))
        .await
        .json();
    assert_eq!(schema["name"], "Mine");
    assert_eq!(hub.stop().await.code, Some(0));
}

/// An unusable data directory ends the start with code 6, and the path is named.
#[tokio::test]
async fn unusable_data_directory_exits_with_6() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("file"), "x").expect("written");
    for data in ["file", "file/below", "/proc/nothing"] {
        assert_refused_start(
            &end(command(&dir).args(["--data-dir", data])).await,
            6,
            &["data.dir", data],
        );
    }
    fs::create_dir(dir.path().join("data")).expect("made");
    fs::write(dir.path().join("data/projects"), "x").expect("written");
    assert_refused_start(&end(&mut command(&dir)).await, 6, &["data.dir", "projects"]);
}
