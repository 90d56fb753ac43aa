//! Errors have one shape, a stable code and the field at fault. Each test is a table.

use serde_json::{Value, json};

use crate::{
    calls::{Whole, whole},
    support::TestHub,
};

/// Id of no session, node or command.
const UNKNOWN_ID: &str = "00000000-0000-4000-8000-000000000000";

/// Asserts status and code of a refusal, the documented shape of the error body, and the named field.
fn assert_refused(answer: &Whole, status: u16, code: &str, field: Option<&str>, case: &dyn std::fmt::Debug) {
    let body = answer.json();
    assert_eq!(answer.refused(), (status, code.to_owned()), "{case:?}: {body}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{case:?}");
    assert_eq!(body["error"]["field"].as_str(), field, "{case:?}: {body}");
    let message = body["error"]["message"].as_str().expect("a message");
    assert!(
        !message.is_empty() && !message.ends_with('.') && !message.contains('\n'),
        "{case:?}: {message:?}"
    );
    assert!(
        field.is_none_or(|field| message.starts_with(field)),
        "{case:?}: {message:?} begins with the field"
    );
}

/// Returns every path that takes JSON, for an existing session.
fn paths_with_a_body(session: &str) -> Vec<String> {
    let of_session = ["undo", "redo", "save", "load-graph"].map(|word| format!("/sessions/{session}/{word}"));
    let others = [
        "/commands/execute",
        "/sessions",
        "/sessions/cleanup",
        "/projects",
        "/projects/some/open",
    ];
    of_session.into_iter().chain(others.map(str::to_owned)).collect()
}

/// Malformed JSON is refused on every path, also where the body is optional.
#[tokio::test]
async fn malformed_json_is_refused_on_every_path() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let malformed: [&[u8]; 12] = [
        b"{",
        b"{\"a\": 1,}",
        b"{} {}",
        b"{}x",
        b"{'a': 1}",
        b"{a: 1}",
        b"{\"a\": NaN}",
        b"{\"a\": 01}",
        b"{\"a\": \"\\u12\"}",
        b"{\"a\": \"line\nbreak\"}",
        b"{\"a\": \"\xff\"}",
        b"\xfe\xff\x00{\x00}",
    ];
    for path in paths_with_a_body(&session) {
        for text in malformed {
            let case = (&path, String::from_utf8_lossy(text));
            assert_refused(&hub.post_text(&path, text).await, 400, "INVALID_REQUEST", None, &case);
        }
    }
    assert_eq!(hub.get("/sessions").await.ok()["total"], 1, "unchanged");
    assert_eq!(hub.get(&format!("/sessions/{session}/info")).await.ok()["seq"], 0);
}

/// A JSON body that is not an object is refused: a list does not count as an object with its fields in order.
#[tokio::test]
async fn body_must_be_an_object() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    for path in paths_with_a_body(&session) {
        for body in ["[]", "[null, null, null]", "null", "7", "\"text\"", "true", " [{}]"] {
            assert_refused(
                &hub.post_text(&path, body).await,
                400,
                "INVALID_REQUEST",
                Some("body"),
                &(&path, body),
            );
        }
    }
    let as_list = json!([session, "CreateNode", {"blueprint_type_id": "task"}, null, null]);
    let answer = hub.post_text("/commands/execute", as_list.to_string()).await;
    assert_refused(&answer, 400, "INVALID_REQUEST", Some("body"), &as_list);
    for (command_type, data, field) in [
        ("CreateNode", json!(["task", null, null, null, {}, null]), "data"),
        ("DeleteNode", json!([UNKNOWN_ID]), "data"),
        ("Batch", json!([[]]), "data"),
        (
            "Batch",
            json!({"commands": [["CreateNode", {"blueprint_type_id": "task"}]]}),
            "data.commands[0]",
        ),
        (
            "Batch",
            json!({"commands": [{"command_type": "DeleteNode", "data": [UNKNOWN_ID]}]}),
            "data.commands[0].data",
        ),
    ] {
        let answer = hub.execute_with(&session, command_type, data.clone(), json!({})).await;
        assert_refused(&answer, 400, "INVALID_REQUEST", Some(field), &(command_type, data));
    }
    assert_eq!(hub.graph(&session).await, json!({"roots": []}));
}

/// A missing field, a field of the wrong type and an invalid id are named with their path.
#[tokio::test]
async fn command_errors_name_the_field() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let node = hub.create_node(&session, None, "Node").await;
    for (command_type, data, field) in [
        ("CreateNode", json!({}), "data.blueprint_type_id"),
        (
            "CreateNode",
            json!({"blueprint_type_id": null}),
            "data.blueprint_type_id",
        ),
        ("CreateNode", json!({"blueprint_type_id": 7}), "data.blueprint_type_id"),
        ("CreateNode", json!({"blueprint_type_id": ""}), "data.blueprint_type_id"),
        ("CreateNode", json!({"blueprint_type_id": "t", "name": 7}), "data.name"),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "parent_id": "root"}),
            "data.parent_id",
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "parent_id": 7}),
            "data.parent_id",
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "node_id": "x"}),
            "data.node_id",
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "node_id": node.replace('-', "")}),
            "data.node_id",
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "index": "0"}),
            "data.index",
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "index": 0.5}),
            "data.index",
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "properties": []}),
            "data.properties",
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "properties": "x"}),
            "data.properties",
        ),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "properties": {"": 1}}),
            "data.properties",
        ),
        ("DeleteNode", json!({}), "data.node_id"),
        ("DeleteNode", json!({"node_id": "nonsense"}), "data.node_id"),
        ("DeleteNode", json!({"node_id": {}}), "data.node_id"),
        ("DeleteNode", Value::Null, "data.node_id"),
        ("DeleteNode", json!("x"), "data"),
        ("LinkNode", json!({"parent_id": node}), "data.child_id"),
        ("LinkNode", json!({"child_id": node}), "data.parent_id"),
        (
            "LinkNode",
            json!({"parent_id": node, "child_id": node, "index": true}),
            "data.index",
        ),
        ("UnlinkNode", json!({"child_id": node}), "data.parent_id"),
        (
            "UnlinkNode",
            json!({"parent_id": node, "child_id": []}),
            "data.child_id",
        ),
        ("MoveNode", json!({"node_id": node}), "data.new_parent_id"),
        ("MoveNode", json!({"new_parent_id": null}), "data.node_id"),
        (
            "MoveNode",
            json!({"node_id": node, "new_parent_id": "x"}),
            "data.new_parent_id",
        ),
        (
            "MoveNode",
            json!({"node_id": node, "new_parent_id": 7}),
            "data.new_parent_id",
        ),
        ("ReorderNode", json!({"node_id": node}), "data.new_index"),
        (
            "ReorderNode",
            json!({"node_id": node, "new_index": null}),
            "data.new_index",
        ),
        (
            "ReorderNode",
            json!({"node_id": node, "new_index": "1"}),
            "data.new_index",
        ),
        ("ReorderNode", json!({"new_index": 0}), "data.node_id"),
        (
            "UpdateProperty",
            json!({"node_id": node, "new_value": 1}),
            "data.property_id",
        ),
        (
            "UpdateProperty",
            json!({"node_id": node, "property_id": 5, "new_value": 1}),
            "data.property_id",
        ),
        (
            "UpdateProperty",
            json!({"node_id": node, "property_id": "", "new_value": 1}),
            "data.property_id",
        ),
        (
            "UpdateProperty",
            json!({"node_id": node, "property_id": "p"}),
            "data.new_value",
        ),
        (
            "UpdateProperty",
            json!({"property_id": "p", "new_value": 1}),
            "data.node_id",
        ),
        ("DeleteProperty", json!({"node_id": node}), "data.property_id"),
        ("DeleteProperty", json!({"property_id": "p"}), "data.node_id"),
        ("Batch", json!({}), "data.commands"),
        ("Batch", json!({"commands": {}}), "data.commands"),
        ("Batch", json!({"commands": [7]}), "data.commands[0]"),
        ("Batch", json!({"commands": [{}]}), "data.commands[0].command_type"),
        (
            "Batch",
            json!({"commands": [{"command_type": 7}]}),
            "data.commands[0].command_type",
        ),
        (
            "Batch",
            json!({"commands": [{"command_type": "DeleteNode"}]}),
            "data.commands[0].data.node_id",
        ),
        (
            "Batch",
            json!({"commands": [{"command_type": "Batch", "data": {}}]}),
            "data.commands[0].command_type",
        ),
    ] {
        let answer = hub.execute_with(&session, command_type, data.clone(), json!({})).await;
        assert_refused(&answer, 400, "INVALID_REQUEST", Some(field), &(command_type, data));
    }
    for (more, field) in [
        (json!({"command_id": "x"}), "command_id"),
        (json!({"command_id": 7}), "command_id"),
        (json!({"command_id": ""}), "command_id"),
        (json!({"expected_seq": -1}), "expected_seq"),
        (json!({"expected_seq": 1.5}), "expected_seq"),
        (json!({"expected_seq": "1"}), "expected_seq"),
        (json!({"session_id": null}), "session_id"),
        (json!({"session_id": "x"}), "session_id"),
        (json!({"session_id": 7}), "session_id"),
        (json!({"command_type": null}), "command_type"),
        (json!({"command_type": 7}), "command_type"),
    ] {
        let answer = hub
            .execute_with(&session, "DeleteNode", json!({"node_id": node}), more.clone())
            .await;
        assert_refused(&answer, 400, "INVALID_REQUEST", Some(field), &more);
    }
    assert_eq!(hub.outline(&session).await, ["Node"], "P5: unchanged");
}

/// Other requests with a body name the field at fault too.
#[tokio::test]
async fn request_errors_name_the_field() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let of_session = |word: &str| format!("/sessions/{session}/{word}");
    let project = |rest: Value| {
        let mut body = json!({"template_id": "novel", "project_name": "Book"});
        body.as_object_mut()
            .expect("an object")
            .extend(rest.as_object().expect("an object").clone());
        body
    };
    for (path, body, field) in [
        (of_session("undo"), json!({"scope": "everybody"}), "scope"),
        (of_session("undo"), json!({"scope": 7}), "scope"),
        (of_session("redo"), json!({"scope": ""}), "scope"),
        (of_session("undo"), json!({"command_id": "x"}), "command_id"),
        (of_session("redo"), json!({"command_id": []}), "command_id"),
        (of_session("undo"), json!({"expected_seq": "1"}), "expected_seq"),
        (of_session("load-graph"), json!({}), "graph"),
        (
            of_session("load-graph"),
            json!({"graph": {"roots": []}, "command_id": "x"}),
            "command_id",
        ),
        (
            of_session("load-graph"),
            json!({"graph": {"roots": []}, "command_id": 7}),
            "command_id",
        ),
        ("/sessions/cleanup".to_owned(), json!({}), "max_inactive_hours"),
        (
            "/sessions/cleanup".to_owned(),
            json!({"max_inactive_hours": "1"}),
            "max_inactive_hours",
        ),
        (
            "/sessions/cleanup".to_owned(),
            json!({"max_inactive_hours": -1}),
            "max_inactive_hours",
        ),
        (
            "/sessions/cleanup".to_owned(),
            json!({"max_inactive_hours": 1e300}),
            "max_inactive_hours",
        ),
        (
            "/projects".to_owned(),
            project(json!({"template_id": null})),
            "template_id",
        ),
        (
            "/projects".to_owned(),
            project(json!({"template_id": 7})),
            "template_id",
        ),
        (
            "/projects".to_owned(),
            project(json!({"project_name": null})),
            "project_name",
        ),
        (
            "/projects".to_owned(),
            project(json!({"project_name": []})),
            "project_name",
        ),
        ("/projects".to_owned(), project(json!({"project_id": 7})), "project_id"),
        ("/projects".to_owned(), project(json!({"project_id": ""})), "project_id"),
        (
            "/projects".to_owned(),
            project(json!({"project_id": "Capitals"})),
            "project_id",
        ),
        (
            "/projects".to_owned(),
            project(json!({"project_id": "../up"})),
            "project_id",
        ),
        (
            "/projects".to_owned(),
            project(json!({"project_id": ".hidden"})),
            "project_id",
        ),
        (
            "/projects".to_owned(),
            project(json!({"project_id": "a/b"})),
            "project_id",
        ),
        (
            "/projects".to_owned(),
            project(json!({"project_id": "x".repeat(65)})),
            "project_id",
        ),
        (
            "/projects".to_owned(),
            project(json!({"project_name": "!?"})),
            "project_id",
        ),
    ] {
        let answer = hub.post_text(&path, body.to_string()).await;
        assert_refused(&answer, 400, "INVALID_REQUEST", Some(field), &(path, body));
    }
    assert_eq!(hub.get("/projects").await.ok(), json!({"projects": [], "total": 0}));
}

/// An unknown command type has its own code and is named.
#[tokio::test]
async fn unknown_command_type_is_named() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    for command_type in [
        "",
        "createnode",
        "Undo",
        "Redo",
        "LoadGraph",
        "SaveProject",
        "CreateProject",
        "DROP TABLE",
    ] {
        let answer = hub.execute_with(&session, command_type, json!({}), json!({})).await;
        assert_refused(&answer, 400, "INVALID_COMMAND", None, &command_type);
        assert_eq!(answer.json()["error"]["command_type"], command_type);
    }
    let in_batch = json!({"commands": [{"command_type": "Undo"}]});
    let answer = hub.execute_with(&session, "Batch", in_batch, json!({})).await;
    assert_refused(&answer, 400, "INVALID_COMMAND", None, &"in a batch");
    assert_eq!(answer.json()["error"]["index"], 0);
}

/// An index outside the siblings is `INDEX_OUT_OF_RANGE`, also beyond 64 bits.
#[tokio::test]
async fn index_outside_the_siblings_is_out_of_range() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let root = hub.create_node(&session, None, "Root").await;
    hub.create_node(&session, Some(&root), "Child").await;
    for index in [
        "2",
        "-1",
        "9007199254740993",
        "-9223372036854775808",
        "9223372036854775808",
        "123456789012345678901234567890",
        "-123456789012345678901234567890",
    ] {
        let index: Value = serde_json::from_str(index).expect(index);
        for (command_type, data) in [
            (
                "CreateNode",
                json!({"blueprint_type_id": "t", "parent_id": root, "index": index}),
            ),
            (
                "MoveNode",
                json!({"node_id": root, "new_parent_id": null, "index": index}),
            ),
            ("ReorderNode", json!({"node_id": root, "new_index": index})),
        ] {
            let answer = hub.execute_with(&session, command_type, data.clone(), json!({})).await;
            assert_refused(&answer, 400, "INDEX_OUT_OF_RANGE", None, &(command_type, &data));
            let max = if command_type == "CreateNode" { 1 } else { 0 };
            assert_eq!(answer.json()["error"]["max"], max, "{command_type}");
        }
    }
    assert_eq!(hub.outline(&session).await, ["Root", " Child"]);
}

/// Every path with a body requires a JSON media type.
#[tokio::test]
async fn media_type_other_than_json_is_unsupported() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    for path in paths_with_a_body(&session) {
        for media_type in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data; boundary=x"),
            Some("application/jsonp"),
            Some("text/json"),
            Some("application"),
            Some(""),
            Some("application/json\u{e9}"),
        ] {
            let mut request = hub.http().post(hub.api(&path)).body("{}");
            if let Some(media_type) = media_type {
                request = request.header("content-type", media_type);
            }
            assert_refused(
                &whole(request).await,
                415,
                "UNSUPPORTED_MEDIA_TYPE",
                None,
                &(&path, media_type),
            );
        }
    }
    for media_type in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.api+json",
    ] {
        let request = hub
            .http()
            .post(hub.api("/sessions"))
            .header("content-type", media_type)
            .body("{}");
        assert_eq!(whole(request).await.status, 201, "{media_type}");
    }
    let bodiless = whole(hub.http().post(hub.api("/sessions"))).await;
    assert_eq!(bodiless.status, 201, "no body needs no type");
}

/// An unknown path is answered with 404 in JSON, and leads to no file.
#[tokio::test]
async fn unknown_path_is_not_found() {
    let hub = TestHub::start().await;
    for path in [
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/health",
        "/api/v1/Health",
        "/api/v1/health/",
        "/api/v1//health",
        "/api/v1/sessions/",
        "/api/v1/sessions/x/y/z",
        "/api/v1/%2e%2e/health",
        "/api/v1/..%2fhealth",
        "/api/v1/%00",
        "/api/v1/%ff",
        "/api/v1/\u{1f600}",
        "/favicon.ico",
        "/.git/config",
        "/config/default.toml",
        "/metrics/x",
    ] {
        assert_refused(
            &whole(hub.http().get(format!("{}{path}", hub.url))).await,
            404,
            "NOT_FOUND",
            None,
            &path,
        );
    }
}

/// A wrong method is answered with the methods of the path.
#[tokio::test]
async fn wrong_method_is_answered_with_the_allowed_ones() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut cases = vec![
        ("/healthz".to_owned(), "GET"),
        ("/readyz".to_owned(), "GET"),
        ("/metrics".to_owned(), "GET"),
    ];
    for (path, methods) in [
        ("/health", "GET"),
        ("/commands/execute", "POST"),
        ("/sessions", "GET POST"),
        ("/sessions/cleanup", "POST"),
        ("/sessions/{}", "DELETE"),
        ("/sessions/{}/info", "GET"),
        ("/sessions/{}/dirty", "GET"),
        ("/sessions/{}/graph", "GET"),
        ("/sessions/{}/events", "GET"),
        ("/sessions/{}/history", "GET"),
        ("/sessions/{}/undo", "POST"),
        ("/sessions/{}/redo", "POST"),
        ("/sessions/{}/save", "POST"),
        ("/sessions/{}/load-graph", "POST"),
        ("/projects", "GET POST"),
        ("/projects/x", "DELETE GET"),
        ("/projects/x/open", "POST"),
        ("/templates", "GET"),
        ("/templates/x/schema", "GET"),
    ] {
        cases.push((format!("/api/v1{}", path.replace("{}", &session)), methods));
    }
    for (path, methods) in cases {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "BREW", "get"] {
            if methods.split(' ').any(|known| known == method) {
                continue;
            }
            let method = method.parse().expect("a method");
            let answer = whole(hub.http().request(method, format!("{}{path}", hub.url))).await;
            let case = (&path, methods);
            assert_refused(&answer, 405, "METHOD_NOT_ALLOWED", None, &case);
            let mut allowed: Vec<&str> = answer
                .header("allow")
                .expect("Allow")
                .split(',')
                .map(str::trim)
                .collect();
            allowed.retain(|method| *method != "HEAD");
            allowed.sort_unstable();
            assert_eq!(allowed.join(" "), methods, "{case:?}");
        }
    }
    assert_eq!(hub.get("/sessions").await.ok()["total"], 1, "unchanged");
}

/// An unknown or malformed session id is answered with `INVALID_SESSION` and the message that front ends compare.
#[tokio::test]
async fn unknown_session_is_invalid() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let without_hyphens = session.replace('-', "");
    for id in [
        UNKNOWN_ID,
        "x",
        "%ff",
        "%00",
        "..%2f..",
        "{}",
        "'%20OR%201=1",
        &without_hyphens,
        &format!("%7B{session}%7D"),
        &"9".repeat(5_000),
    ] {
        for (method, word) in [
            ("DELETE", ""),
            ("GET", "/info"),
            ("GET", "/dirty"),
            ("GET", "/graph"),
            ("GET", "/graph?min_seq=1"),
            ("GET", "/events"),
            ("GET", "/history"),
            ("POST", "/undo"),
            ("POST", "/redo"),
            ("POST", "/save"),
            ("POST", "/load-graph"),
        ] {
            let method = method.parse().expect("a method");
            let mut request = hub.http().request(method, hub.api(&format!("/sessions/{id}{word}")));
            if word == "/load-graph" {
                request = request.json(&json!({"graph": {"roots": []}}));
            }
            let answer = whole(request).await;
            assert_refused(&answer, 404, "INVALID_SESSION", None, &(id, word));
            assert_eq!(answer.json()["error"]["message"], "Session not found");
        }
    }
    let answer = hub
        .execute_with(UNKNOWN_ID, "CreateNode", json!({"blueprint_type_id": "t"}), json!({}))
        .await;
    assert_refused(&answer, 404, "INVALID_SESSION", None, &"execute");
    assert_eq!(
        hub.get(&format!("/sessions/{}/info", session.to_uppercase()))
            .await
            .status,
        200,
        "ids ignore case"
    );
}

/// Ids of projects and templates are names and not paths: no file outside their folders is read, written or reported.
#[tokio::test]
async fn project_and_template_ids_stay_in_their_folders() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(dir.path().join("templates")).expect("made");
    std::fs::write(
        dir.path().join("secret.yaml"),
        "name: Secret\nnode_types: [{id: root, label: Root}]\n",
    )
    .expect("written");
    std::fs::write(dir.path().join("secret.json"), "{\"graph\": {\"roots\": []}}").expect("written");
    let templates = dir.path().join("templates");
    let hub = TestHub::on(dir, |config| config.templates.dir = templates).await;
    for id in [
        "..%2fsecret",
        "%2e%2e%2fsecret",
        "..%5csecret",
        "%2e",
        "..",
        "secret%00",
        "%ff",
        "projects%2f..%2fsecret",
        "SECRET",
        ".secret",
    ] {
        for (method, path, code) in [
            ("GET", format!("/projects/{id}"), "PROJECT_NOT_FOUND"),
            ("DELETE", format!("/projects/{id}"), "PROJECT_NOT_FOUND"),
            ("POST", format!("/projects/{id}/open"), "PROJECT_NOT_FOUND"),
            ("GET", format!("/templates/{id}/schema"), "TEMPLATE_NOT_FOUND"),
        ] {
            // Sent raw, because an HTTP client would normalize dots in a path.
            let mut raw = crate::calls::Raw::to(&hub.url).await;
            raw.send(format!(
                "{method} /api/v1{path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
            ))
            .await;
            assert_refused(&raw.answer().await, 404, code, None, &(method, path));
        }
    }
    for template_id in ["../secret", "/etc/passwd", "..", "a/../../secret", "secret\0", ""] {
        let body = json!({"template_id": template_id, "project_name": "Book"}).to_string();
        assert_refused(
            &hub.post_text("/projects", body).await,
            404,
            "TEMPLATE_NOT_FOUND",
            None,
            &template_id,
        );
    }
    assert!(hub.dir.path().join("secret.json").exists());
}

/// An invalid query parameter is named, and an unknown one is ignored.
#[tokio::test]
async fn invalid_query_parameter_is_named() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let cases = [
        ("/sessions", "limit=0", "limit"),
        ("/sessions", "limit=1001", "limit"),
        ("/sessions", "limit=-1", "limit"),
        ("/sessions", "limit=ten", "limit"),
        ("/sessions", "limit=", "limit"),
        ("/sessions", "limit=%ff", "limit"),
        ("/sessions", "limit=1.0", "limit"),
        ("/sessions", "limit=99999999999999999999999999", "limit"),
        ("/sessions", "limit=1&limit=2", "query"),
        ("/sessions", "offset=-1", "offset"),
        ("/projects", "limit=0", "limit"),
        ("/projects", "offset=x", "offset"),
        ("/sessions/{}/graph", "min_seq=-1", "min_seq"),
        ("/sessions/{}/graph", "min_seq=now", "min_seq"),
        ("/sessions/{}/events", "after=-1", "after"),
        ("/sessions/{}/events", "after=18446744073709551616", "after"),
        ("/sessions/{}/events", "limit=0", "limit"),
        ("/sessions/{}/history", "before=x", "before"),
        ("/sessions/{}/history", "limit=1001", "limit"),
    ];
    for (path, query, field) in cases {
        let answer = hub
            .get_whole(&format!("{}?{query}", path.replace("{}", &session)))
            .await;
        assert_refused(&answer, 400, "INVALID_REQUEST", Some(field), &(path, query));
    }
    for graph in ["graph=yes", "graph=1", "graph=", "graph=TRUE"] {
        for path in ["/commands/execute".to_owned(), format!("/sessions/{session}/undo")] {
            let answer = hub.post_text(&format!("{path}?{graph}"), "{}").await;
            assert_refused(&answer, 400, "INVALID_REQUEST", Some("graph"), &(path, graph));
        }
    }
    for query in [
        "",
        "unknown=1",
        "limit=1000",
        "limit[]=3",
        "offset=18446744073709551615",
        "%00=%00",
        "&&&=&",
    ] {
        assert_eq!(hub.get(&format!("/sessions?{query}")).await.status, 200, "{query}");
    }
    let far = hub
        .get(&format!("/sessions/{session}/events?after=18446744073709551615"))
        .await
        .ok();
    assert_eq!((&far["events"], &far["more"]), (&json!([]), &json!(false)));
}

/// A client id must be a valid name.
#[tokio::test]
async fn invalid_client_id_is_refused() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let send = |client_id: reqwest::header::HeaderValue| {
        let command = json!({"session_id": session, "command_type": "CreateNode", "data": {"blueprint_type_id": "t"}});
        whole(
            hub.http()
                .post(hub.api("/commands/execute"))
                .header("x-client-id", client_id)
                .json(&command),
        )
    };
    let bytes: [&[u8]; 6] = [b"", b"a b", b"a/b", b"caf\xc3\xa9", b"\xff", &[b'x'; 65]];
    for value in bytes {
        let answer = send(reqwest::header::HeaderValue::from_bytes(value).expect("a value")).await;
        assert_refused(
            &answer,
            400,
            "INVALID_REQUEST",
            Some("X-Client-Id"),
            &String::from_utf8_lossy(value),
        );
    }
    let longest = "x".repeat(64);
    for value in ["a", "A-Z_09", longest.as_str()] {
        assert_eq!(send(value.parse().expect("a value")).await.status, 200, "{value}");
    }
    let history = hub.get(&format!("/sessions/{session}/history")).await.ok();
    let origins: Vec<&Value> = history["commands"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|command| &command["origin"])
        .collect();
    assert_eq!(
        origins,
        [
            &json!({"client_id": longest}),
            &json!({"client_id": "A-Z_09"}),
            &json!({"client_id": "a"})
        ]
    );
}
