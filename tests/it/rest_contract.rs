//! HTTP contract beyond the bodies: idempotency keys, encodings, headers.

use std::path::Path;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{Reply, TestHub};

const PROJECT: &str = "software_project";

fn keyed(request: RequestBuilder, key: &str) -> RequestBuilder {
    request.header("idempotency-key", key)
}

fn post(hub: &TestHub, path: &str, body: &Value) -> RequestBuilder {
    hub.http().post(hub.api(path)).json(body)
}

async fn keyed_post(hub: &TestHub, path: &str, body: &Value, key: &str) -> Reply {
    hub.send(keyed(post(hub, path, body), key)).await
}

async fn answered(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().expect("text"))
}

/// P4: an idempotency key of any form is the command's id. The repeated request changes nothing and gets the first
/// answer. Another request with the same key is refused.
#[tokio::test]
async fn idempotency_key_is_the_command_id() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    let command = |name: &str| json!({"session_id": session_id, "command_type": "CreateNode", "data": {"blueprint_type_id": "t", "name": name}});
    for key in ["order-1", "11111111-2222-4333-8444-555555555555", "\"quoted\""] {
        let first = keyed_post(&hub, "/commands/execute", &command(key), key).await.ok();
        let again = keyed_post(&hub, "/commands/execute", &command(key), key).await.ok();
        assert_eq!(again["duplicate"], true, "{key}");
        assert_eq!(
            (&again["node_id"], &again["seq"]),
            (&first["node_id"], &first["seq"]),
            "{key}"
        );
        let other = keyed_post(&hub, "/commands/execute", &command("other"), key).await;
        assert_eq!(other.refused(), (409, "COMMAND_ID_REUSED"), "{key}");
    }
    let uuid = "11111111-2222-4333-8444-555555555555";
    let mut named = command(uuid);
    named["command_id"] = json!(uuid);
    assert_eq!(
        keyed_post(&hub, "/commands/execute", &named, uuid).await.ok()["command_id"],
        uuid
    );
    let differs = keyed_post(&hub, "/commands/execute", &named, "order-1").await;
    assert_eq!(differs.refused(), (400, "INVALID_REQUEST"));
    assert_eq!(differs.body["error"]["field"], "Idempotency-Key");
    for key in ["a b", "", &"k".repeat(256)] {
        let refused = keyed_post(&hub, "/commands/execute", &command("x"), key).await;
        assert_eq!(refused.refused(), (400, "INVALID_REQUEST"), "{key:?}");
    }
    let undo = format!("/sessions/{session_id}/undo");
    let undone = keyed_post(&hub, &undo, &json!({}), "undo-1").await.ok();
    let again = keyed_post(&hub, &undo, &json!({}), "undo-1").await.ok();
    assert_eq!((&again["seq"], &again["duplicate"]), (&undone["seq"], &json!(true)));
    let redo = format!("/sessions/{session_id}/redo");
    let redone = keyed_post(&hub, &redo, &json!({}), "redo-1").await.ok();
    assert_eq!(
        keyed_post(&hub, &redo, &json!({}), "redo-1").await.ok()["seq"],
        redone["seq"]
    );
    let load = format!("/sessions/{session_id}/load-graph");
    let graph = json!({"graph": {"roots": []}});
    let loaded = keyed_post(&hub, &load, &graph, "load-1").await.ok();
    let again = keyed_post(&hub, &load, &graph, "load-1").await.ok();
    assert_eq!((&again["seq"], &again["duplicate"]), (&loaded["seq"], &json!(true)));
    let save = format!("/sessions/{session_id}/save");
    let saved = keyed_post(&hub, &save, &json!({}), "save-1").await.ok();
    let again = keyed_post(&hub, &save, &json!({}), "save-1").await.ok();
    assert_eq!((&again["path"], &again["seq"]), (&saved["path"], &saved["seq"]));
    assert_eq!(
        keyed_post(&hub, &save, &json!({}), "load-1").await.refused(),
        (409, "COMMAND_ID_REUSED")
    );
}

/// P4: a repeated request creates one session or project, also across a restart. The key is refused for another
/// request, and each client has its own keys.
#[tokio::test]
async fn idempotency_key_creates_one_resource() {
    let hub = TestHub::start().await;
    let session = keyed_post(&hub, "/sessions", &json!({}), "s-1").await;
    assert_eq!(session.status, 201);
    let project = json!({"template_id": PROJECT, "project_name": "Lighthouse", "project_id": "lighthouse"});
    let made = keyed_post(&hub, "/projects", &project, "p-1").await;
    assert_eq!(made.status, 201, "{}", made.body);
    let (dir, stopped) = hub.stop().await;
    stopped.expect("in time");
    let hub = TestHub::on(dir, |_| {}).await;
    assert_eq!(keyed_post(&hub, "/sessions", &json!({}), "s-1").await, session);
    assert_eq!(keyed_post(&hub, "/projects", &project, "p-1").await, made);
    let renamed = json!({"template_id": PROJECT, "project_name": "Windmill", "project_id": "windmill"});
    for (path, body, key) in [
        ("/projects", &renamed, "p-1"),
        ("/projects", &renamed, "s-1"),
        ("/sessions", &json!({}), "p-1"),
    ] {
        let refused = keyed_post(&hub, path, body, key).await;
        assert_eq!(refused.refused(), (409, "COMMAND_ID_REUSED"), "{path} {key}");
    }
    let other = keyed(post(&hub, "/sessions", &json!({})), "s-1").header("x-client-id", "bob");
    assert_ne!(hub.send(other).await.ok()["session_id"], session.body["session_id"]);
    let both = tokio::join!(
        keyed_post(&hub, "/projects", &renamed, "p-2"),
        keyed_post(&hub, "/projects", &renamed, "p-2")
    );
    let (one, other) = (both.0.status, both.1.status);
    assert!(one == 201 || other == 201, "{one} {other}");
    assert!(
        [one, other].iter().all(|status| [201, 503].contains(status)),
        "{one} {other}"
    );
    assert_eq!(hub.get("/sessions").await.ok()["total"], 4);
}

/// A created resource can be read at its `Location`.
#[tokio::test]
async fn location_names_the_created_resource() {
    let hub = TestHub::start().await;
    let project = json!({"template_id": PROJECT, "project_name": "Lighthouse", "project_id": "lighthouse"});
    let created = [post(&hub, "/sessions", &json!({})), post(&hub, "/projects", &project)];
    for request in created {
        let response = answered(request).await;
        assert_eq!(response.status(), 201);
        let location = header(&response, "location").to_owned();
        let found = answered(hub.http().get(format!("{}{location}", hub.url))).await;
        assert_eq!(found.status(), 200, "{location}");
    }
    let session_id = hub.get("/projects").await.ok()["projects"][0]["session_id"].clone();
    let session_id = session_id.as_str().expect("an id");
    hub.post(&format!("/sessions/{session_id}/save"), &json!({})).await.ok();
    hub.delete(&format!("/sessions/{session_id}")).await;
    let opened = answered(post(&hub, "/projects/lighthouse/open", &json!({}))).await;
    assert_eq!(opened.status(), 201);
    assert!(header(&opened, "location").ends_with("/info"));
}

/// Every response names its request, by the client's `X-Request-Id` if that is valid.
#[tokio::test]
async fn request_id_is_in_every_answer() {
    let hub = TestHub::start().await;
    let given = answered(hub.http().get(hub.api("/health")).header("x-request-id", "req-42")).await;
    assert_eq!(header(&given, "x-request-id"), "req-42");
    for request in [
        hub.http().get(hub.api("/health")),
        hub.http().get(hub.api("/nothing")),
        hub.http().get(hub.api("/health")).header("x-request-id", "not an id"),
    ] {
        let generated = answered(request).await;
        assert!(header(&generated, "x-request-id").parse::<uuid::Uuid>().is_ok());
    }
}

/// P9: an encoded body is refused with the accepted encodings, before any decoding.
#[tokio::test]
async fn encoded_bodies_are_refused_with_accepted_encodings() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    let load = format!("/sessions/{session_id}/load-graph");
    for path in ["/commands/execute", "/sessions", "/projects", load.as_str()] {
        for encoding in ["gzip", "br", "zstd", "deflate, gzip"] {
            let request = hub
                .http()
                .post(hub.api(path))
                .header("content-type", "application/json");
            let request = request
                .header("content-encoding", encoding)
                .body(vec![0x1f, 0x8b, 8, 0]);
            let response = answered(request).await;
            assert_eq!(response.status(), 415, "{path} {encoding}");
            assert_eq!(header(&response, "accept-encoding"), "identity");
            let body: Value = response.json().await.expect("JSON");
            assert_eq!(body["error"]["code"], "UNSUPPORTED_MEDIA_TYPE");
        }
    }
    let plain = post(&hub, "/sessions", &json!({})).header("content-encoding", "Identity");
    assert_eq!(answered(plain).await.status(), 201);
}

/// A wrong method is answered with the allowed methods. `HEAD` is `GET` without a body.
#[tokio::test]
async fn wrong_methods_are_answered_with_allow() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    for (method, path, allowed) in [
        (Method::PUT, "/sessions".to_owned(), &["GET", "HEAD", "POST"][..]),
        (Method::GET, "/commands/execute".to_owned(), &["POST"]),
        (Method::GET, format!("/sessions/{session_id}"), &["DELETE"]),
    ] {
        let response = answered(hub.http().request(method, hub.api(&path))).await;
        assert_eq!(response.status(), 405, "{path}");
        let mut listed: Vec<_> = header(&response, "allow").split(',').map(str::trim).collect();
        listed.sort_unstable();
        assert_eq!(listed, allowed, "{path}");
    }
    for path in ["/health".to_owned(), format!("/sessions/{session_id}/graph")] {
        let get = answered(hub.http().get(hub.api(&path))).await;
        let head = answered(hub.http().head(hub.api(&path))).await;
        assert_eq!(head.status(), 200, "{path}");
        for name in ["content-type", "content-length", "etag"] {
            assert_eq!(header(&head, name), header(&get, name), "{path} {name}");
        }
        assert!(head.bytes().await.expect("no body").is_empty());
    }
}

/// A graph from `GET …/graph` can be loaded, beyond the limit of other bodies, up to its own limit.
#[tokio::test]
async fn loaded_graphs_have_their_own_size_limit() {
    let hub = TestHub::with(|config| {
        config.server.body_bytes_max = 10_000;
        config.limits.graph_bytes_max = 500_000;
    })
    .await;
    let session_id = hub.session().await;
    let nodes = |count: usize| -> Vec<Value> {
        let node = |number| json!({"id": format!("00000000-0000-4000-8000-{number:012}"), "name": format!("node {number}"), "blueprint_type_id": "task", "properties": {}, "children": []});
        (0..count).map(node).collect()
    };
    let load = format!("/sessions/{session_id}/load-graph");
    hub.post(&load, &json!({"graph": {"roots": nodes(1_000)}})).await.ok();
    let graph = hub.graph(&session_id).await;
    assert!(graph.to_string().len() > 100_000);
    hub.post(&load, &json!({"graph": graph})).await.ok();
    assert_eq!(hub.graph(&session_id).await, graph);
    let refused = hub.post(&load, &json!({"graph": {"roots": nodes(5_000)}})).await;
    assert_eq!(refused.refused(), (413, "PAYLOAD_TOO_LARGE"));
    assert_eq!(refused.body["error"]["limit"], "graph_bytes_max");
}

/// P9: entries of the projects folder that are not regular files are ignored.
#[tokio::test]
async fn irregular_project_files_are_not_found() {
    let hub = TestHub::start().await;
    let folder = hub.dir.path().join("projects");
    let make = |name: &str| folder.join(format!("{name}.json"));
    std::fs::create_dir(make("folder")).expect("made");
    std::os::unix::fs::symlink(Path::new("/nowhere"), make("dangling")).expect("made");
    let pipe = std::process::Command::new("mkfifo").arg(make("pipe")).status();
    assert!(pipe.expect("mkfifo is installed").success());
    assert_eq!(hub.get("/projects").await.ok(), json!({"projects": [], "total": 0}));
    for name in ["folder", "dangling", "pipe"] {
        let path = format!("/projects/{name}");
        assert_eq!(hub.get(&path).await.refused(), (404, "PROJECT_NOT_FOUND"), "{name}");
        assert_eq!(
            hub.post(&format!("{path}/open"), &json!({})).await.refused(),
            (404, "PROJECT_NOT_FOUND")
        );
        assert_eq!(hub.delete(&path).await.refused(), (404, "PROJECT_NOT_FOUND"), "{name}");
    }
}

/// P9: a large graph is compressed for requests that accept gzip, with the same content.
#[tokio::test]
async fn large_answers_are_compressed_on_request() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    let text = "x".repeat(60_000);
    for number in 0..6 {
        let data = json!({"blueprint_type_id": "t", "name": format!("{number}"), "properties": {"text": text}});
        hub.execute(&session_id, "CreateNode", data).await.ok();
    }
    let graph = hub.api(&format!("/sessions/{session_id}/graph"));
    let asked = |coding: &'static str| answered(hub.http().get(&graph).header("accept-encoding", coding));

    let plain = asked("br, gzip;q=0").await;
    assert_eq!((plain.status().as_u16(), header(&plain, "content-encoding")), (200, ""));
    assert!(varies_by_coding(&plain));
    let strong = header(&plain, "etag").to_owned();
    let body = plain.bytes().await.expect("the whole body");

    let encoded = asked("gzip").await;
    assert_eq!(header(&encoded, "content-encoding"), "gzip");
    assert!(varies_by_coding(&encoded));
    let weak = header(&encoded, "etag").to_owned();
    assert_eq!(weak, format!("W/{strong}"));
    let bytes = encoded.bytes().await.expect("the whole body");
    assert!(bytes.len() < body.len() / 10, "{} of {}", bytes.len(), body.len());
    assert_eq!(gunzip(&bytes), body);

    for tag in [&strong, &weak] {
        let request = hub.http().get(&graph).header("accept-encoding", "gzip");
        let unchanged = answered(request.header("if-none-match", tag)).await;
        assert_eq!((unchanged.status().as_u16(), header(&unchanged, "etag")), (304, &*weak));
        assert!(varies_by_coding(&unchanged));
    }
    for nothing in ["*;q=0", "identity;q=0", "compress", ""] {
        let answer = asked(nothing).await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "content-encoding")),
            (200, ""),
            "{nothing}"
        );
    }
}

/// A command's answer with a graph is compressed. Small answers and streams are not.
#[tokio::test]
async fn compression_skips_small_answers_and_streams() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    let accepting = |request: RequestBuilder| answered(request.header("accept-encoding", "gzip, deflate, br"));
    let data = json!({"blueprint_type_id": "t", "name": "n", "properties": {"text": "x".repeat(5_000)}});
    let body = json!({"session_id": session_id, "command_type": "CreateNode", "data": data});
    let with_graph = hub.http().post(hub.api("/commands/execute?graph=true")).json(&body);
    let answer = accepting(with_graph).await;
    assert_eq!(header(&answer, "content-encoding"), "gzip");
    let text = gunzip(&answer.bytes().await.expect("the whole body"));
    let answer: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert!(answer["graph"].is_object());

    for path in ["/health", "/templates/none/schema"] {
        let small = accepting(hub.http().get(hub.api(path))).await;
        assert_eq!(
            (header(&small, "content-encoding"), varies_by_coding(&small)),
            ("", false),
            "{path}"
        );
    }
    let events = hub.api(&format!("/sessions/{session_id}/events"));
    let stream = accepting(hub.http().get(&events).header("accept", "text/event-stream")).await;
    assert_eq!(header(&stream, "content-encoding"), "");
    let page = accepting(hub.http().get(&events)).await;
    assert_eq!(header(&page, "content-encoding"), "gzip");
}

fn varies_by_coding(response: &Response) -> bool {
    let values = response.headers().get_all("vary").iter();
    let mut names = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','));
    names.any(|name| name.trim().eq_ignore_ascii_case("accept-encoding"))
}

/// Decodes with the system's `gzip`.
fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut file, bytes).expect("written");
    std::io::Seek::rewind(&mut file).expect("rewound");
    let output = std::process::Command::new("gzip")
        .arg("-dc")
        .stdin(file)
        .output()
        .expect("gzip runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
