//! P9: every part of a request has a limit. Beyond a limit, the answer names the limit and nothing has changed.

use serde_json::{Value, json};

use crate::{
    calls::{Raw, Whole},
    support::TestHub,
};

/// Asserts that an answer refuses a request beyond a limit.
fn assert_limit(answer: &Whole, limit: &str, max: u64, case: &dyn std::fmt::Debug) {
    let body = answer.json();
    assert_eq!(answer.refused(), (400, "LIMIT_EXCEEDED".to_owned()), "{case:?}: {body}");
    assert_eq!(
        (&body["error"]["limit"], &body["error"]["max"]),
        (&json!(limit), &json!(max)),
        "{case:?}: {body}"
    );
}

/// Returns nested lists with a number of levels.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, _| json!([inner]))
}

/// Starts a hub with low limits.
async fn small_hub() -> TestHub {
    TestHub::with(|config| {
        let limits = &mut config.limits;
        limits.name_chars_max = 10;
        limits.value_bytes_max = 200;
        limits.properties_per_node_max = 2;
        limits.depth_max = 3;
        limits.nodes_per_session_max = 5;
        limits.batch_commands_max = 2;
        limits.json_depth_max = 100;
    })
    .await
}

/// Creates a session with a chain of three nodes of the maximal depth and a second root, and returns the four ids.
async fn small_session(hub: &TestHub) -> (String, [String; 4]) {
    let session = hub.session().await;
    let top = hub.create_node(&session, None, "Top").await;
    let middle = hub.create_node(&session, Some(&top), "Middle").await;
    let deepest = hub.create_node(&session, Some(&middle), "Deepest").await;
    let beside = hub.create_node(&session, None, "Beside").await;
    (session, [top, middle, deepest, beside])
}

/// Each limit of the graph applies in every command that can exceed it. Values within the limits are accepted.
#[tokio::test]
async fn command_beyond_a_limit_names_the_limit_and_changes_nothing() {
    let hub = small_hub().await;
    let (session, [top, middle, deepest, beside]) = small_session(&hub).await;
    let before = hub.graph(&session).await;
    let create = |rest: Value| {
        let mut data = json!({"blueprint_type_id": "t"});
        data.as_object_mut()
            .expect("an object")
            .extend(rest.as_object().expect("an object").clone());
        data
    };
    let set = |property_id: &str, value: Value| json!({"node_id": top, "property_id": property_id, "new_value": value});
    let (long_name, large) = ("elf Zeichen", "x".repeat(199));
    for (command_type, data, limit, max) in [
        ("CreateNode", create(json!({"name": long_name})), "name_chars_max", 10),
        (
            "CreateNode",
            create(json!({"properties": {"name": long_name}})),
            "name_chars_max",
            10,
        ),
        ("UpdateProperty", set("name", json!(long_name)), "name_chars_max", 10),
        (
            "CreateNode",
            create(json!({"properties": {"p": large}})),
            "value_bytes_max",
            200,
        ),
        ("UpdateProperty", set("p", json!(large)), "value_bytes_max", 200),
        ("UpdateProperty", set("p", json!([large])), "value_bytes_max", 200),
        ("UpdateProperty", set("p", nested(65)), "value_depth_max", 64),
        (
            "CreateNode",
            create(json!({"properties": {"p": nested(65)}})),
            "value_depth_max",
            64,
        ),
        (
            "CreateNode",
            create(json!({"properties": {"p": 1, "q": 2, "r": 3}})),
            "properties_per_node_max",
            2,
        ),
        ("CreateNode", create(json!({"parent_id": deepest})), "depth_max", 3),
        (
            "LinkNode",
            json!({"parent_id": deepest, "child_id": beside}),
            "depth_max",
            3,
        ),
        (
            "MoveNode",
            json!({"node_id": beside, "new_parent_id": deepest}),
            "depth_max",
            3,
        ),
        (
            "MoveNode",
            json!({"node_id": middle, "new_parent_id": null, "index": 3}),
            "",
            0,
        ),
        (
            "MoveNode",
            json!({"node_id": top, "new_parent_id": beside}),
            "depth_max",
            3,
        ),
    ] {
        let answer = hub.execute_with(&session, command_type, data.clone(), json!({})).await;
        if limit.is_empty() {
            // Control: an error of another kind, which the table must tell apart.
            assert_eq!(answer.refused().1, "INDEX_OUT_OF_RANGE");
            continue;
        }
        assert_limit(&answer, limit, max, &(command_type, data.to_string().get(..200)));
    }
    // Written as text, because building and dropping the JSON in the test would need the stack that the hub must not
    // need.
    for levels in [127, 128, 129, 5_000, 200_000] {
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let update = format!(r#"{{"node_id": "{top}", "property_id": "p", "new_value": {deep}}}"#);
        let create = format!(r#"{{"blueprint_type_id": "t", "properties": {{"p": {deep}}}}}"#);
        for (command_type, data) in [("UpdateProperty", update), ("CreateNode", create)] {
            let body = format!(r#"{{"session_id": "{session}", "command_type": "{command_type}", "data": {data}}}"#);
            let answer = hub.post_text("/commands/execute", body).await;
            assert_limit(&answer, "value_depth_max", 64, &(command_type, levels));
        }
    }
    let batch = |count: usize| json!({"commands": vec![json!({"command_type": "DeleteNode", "data": {"node_id": beside}}); count]});
    assert_limit(
        &hub.execute_with(&session, "Batch", batch(3), json!({})).await,
        "batch_commands_max",
        2,
        &"a batch",
    );
    let in_batch = json!({"commands": [
        {"command_type": "CreateNode", "data": create(json!({}))},
        {"command_type": "CreateNode", "data": create(json!({}))},
    ]});
    let answer = hub.execute_with(&session, "Batch", in_batch, json!({})).await;
    assert_limit(&answer, "nodes_per_session_max", 5, &"the second of a batch");
    assert_eq!(answer.json()["error"]["index"], 1);
    assert_eq!(hub.graph(&session).await, before, "P5: unchanged");

    let within = json!({"name": "zehn ÄÖÜß€", "properties": {"p": "x".repeat(198), "q": nested(64)}});
    hub.execute(&session, "CreateNode", create(within)).await.ok();
    let answer = hub
        .execute_with(&session, "CreateNode", create(json!({})), json!({}))
        .await;
    assert_limit(&answer, "nodes_per_session_max", 5, &"one node more");
}

/// Loaded graphs have the same limits, and the answer has the path in the graph.
#[tokio::test]
async fn graph_beyond_a_limit_names_limit_and_path_and_changes_nothing() {
    let hub = small_hub().await;
    let (session, _) = small_session(&hub).await;
    let before = hub.graph(&session).await;
    let path = format!("/sessions/{session}/load-graph");
    let node = |id: usize, rest: Value| {
        let mut node = json!({"id": id.to_string(), "type": "t", "name": "x"});
        node.as_object_mut()
            .expect("an object")
            .extend(rest.as_object().expect("an object").clone());
        node
    };
    let chain =
        |levels: usize| (1..levels).fold(node(0, json!({})), |below, id| node(id, json!({"children": [below]})));
    for (roots, limit, max, place) in [
        (
            json!([node(1, json!({"name": "elf Zeichen"}))]),
            "name_chars_max",
            10,
            "roots[0].name",
        ),
        (
            json!([node(1, json!({"properties": {"p": "x".repeat(199)}}))]),
            "value_bytes_max",
            200,
            "roots[0].properties.p",
        ),
        (
            json!([node(1, json!({"properties": {"p": nested(65)}}))]),
            "value_depth_max",
            64,
            "roots[0].properties.p",
        ),
        (
            json!([node(1, json!({"properties": {"p": 1, "q": 2, "r": 3}}))]),
            "properties_per_node_max",
            2,
            "roots[0].properties",
        ),
        (
            json!([chain(4)]),
            "depth_max",
            3,
            "roots[0].children[0].children[0].children[0]",
        ),
        (
            (0..6).map(|id| node(id, json!({}))).collect(),
            "nodes_per_session_max",
            5,
            "roots[5]",
        ),
    ] {
        let answer = hub
            .post_text(&path, json!({"graph": {"roots": roots}}).to_string())
            .await;
        assert_limit(&answer, limit, max, &place);
        assert_eq!(answer.json()["error"]["path"], place);
    }
    for levels in [101, 5_000, 300_000] {
        let text = format!("{{\"graph\": {}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert_limit(&hub.post_text(&path, text).await, "json_depth_max", 100, &levels);
    }
    assert_eq!(hub.graph(&session).await, before, "P5: unchanged");
    hub.post(
        &path,
        &json!({"graph": {"roots": [chain(3), node(4, json!({})), node(5, json!({}))]}}),
    )
    .await
    .ok();
}

/// A project's name is the name of its root and is checked before anything is created.
#[tokio::test]
async fn invalid_project_name_is_refused() {
    let hub = small_hub().await;
    let create = |name: &str| json!({"template_id": "novel", "project_name": name, "project_id": "p"}).to_string();
    let answer = hub.post_text("/projects", create("elf Zeichen")).await;
    assert_limit(&answer, "name_chars_max", 10, &"a long name");
    for name in ["", "  ", "a\nb", "\u{2003}"] {
        let answer = hub.post_text("/projects", create(name)).await;
        assert_eq!(answer.refused(), (400, "INVALID_VALUE".to_owned()), "{name:?}");
        assert_eq!(answer.json()["error"]["field"], "project_name");
    }
    assert_eq!(hub.get("/sessions").await.ok()["total"], 0);
}

/// Deep nesting in unknown fields is accepted and exhausts no stack.
#[tokio::test]
async fn deep_json_in_unknown_fields_is_accepted() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let body = format!(
        r#"{{"x": {deep}, "session_id": "{session}", "command_type": "CreateNode", "data": {{"blueprint_type_id": "t", "x": {deep}}}}}"#
    );
    assert_eq!(hub.post_text("/commands/execute", body).await.status, 200);
    assert_eq!(
        hub.post_text("/sessions", format!(r#"{{"x": {deep}}}"#)).await.status,
        201
    );
}

/// A body beyond its limit, declared or chunked, is refused with 413. The client receives the answer while it still
/// sends, and its connection stays usable.
#[tokio::test]
async fn oversized_body_is_refused_and_the_connection_stays_usable() {
    const BODY_BYTES: usize = 8_000_000;
    let hub = TestHub::with(|config| {
        config.server.body_bytes_max = 1_000;
        config.limits.graph_bytes_max = 2_000;
    })
    .await;
    let session = hub.session().await;
    let large = "x".repeat(BODY_BYTES);
    let length = format!("content-length: {BODY_BYTES}\r\n\r\n{large}");
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{BODY_BYTES:x}\r\n{large}\r\n0\r\n\r\n");
    let graph = ("graph_bytes_max", 2_000);
    for (path, (limit, max)) in [
        ("/commands/execute".to_owned(), ("body_bytes_max", 1_000)),
        ("/sessions".to_owned(), ("body_bytes_max", 1_000)),
        (format!("/sessions/{session}/load-graph"), graph),
    ] {
        for body in [&length, &chunked] {
            let mut raw = Raw::to(&hub.url).await;
            raw.send(format!(
                "POST /api/v1{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{body}"
            ))
            .await;
            let answer = raw.answer().await;
            assert_eq!(answer.refused(), (413, "PAYLOAD_TOO_LARGE".to_owned()), "{path}");
            let error = &answer.json()["error"];
            assert_eq!((&error["limit"], &error["max"]), (&json!(limit), &json!(max)), "{path}");
            raw.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            assert_eq!(raw.answer().await.status, 200, "{path}");
        }
    }
    assert_eq!(hub.get("/sessions").await.ok()["total"], 1, "unchanged");
}

/// A client that expects `100-continue`, or declares an absurd length, is refused before the body is sent.
#[tokio::test]
async fn oversized_body_is_refused_before_it_is_sent() {
    let hub = TestHub::start().await;
    for (declared, expect) in [("2000000", "expect: 100-continue\r\n"), ("999999999999", "")] {
        let mut raw = Raw::to(&hub.url).await;
        raw.send("POST /api/v1/sessions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
            .await;
        raw.send(format!("{expect}content-length: {declared}\r\n\r\n")).await;
        assert_eq!(
            raw.answer().await.refused(),
            (413, "PAYLOAD_TOO_LARGE".to_owned()),
            "{declared}"
        );
    }
}

/// A body of exactly the limit is read, and a body of one byte more is not.
#[tokio::test]
async fn body_of_exactly_the_limit_is_read() {
    let hub = TestHub::with(|config| config.server.body_bytes_max = 1_000).await;
    let padded = |bytes: usize| format!("{{{}}}", " ".repeat(bytes - 2));
    assert_eq!(hub.post_text("/sessions", padded(1_000)).await.status, 201);
    assert_eq!(hub.post_text("/sessions", padded(1_001)).await.refused().0, 413);
}

/// The number of sessions is limited, and a deletion frees a permit.
#[tokio::test]
async fn session_count_is_limited() {
    let hub = TestHub::with(|config| config.limits.sessions_max = 2).await;
    let first = hub.session().await;
    hub.session().await;
    for (path, body) in [
        ("/sessions", json!({})),
        ("/projects", json!({"template_id": "novel", "project_name": "Book"})),
    ] {
        let answer = hub.post_text(path, body.to_string()).await;
        assert_eq!(answer.refused(), (503, "OVERLOADED".to_owned()), "{path}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{path}");
        let error = &answer.json()["error"];
        assert_eq!(
            (&error["limit"], &error["max"]),
            (&json!("sessions_max"), &json!(2)),
            "{path}"
        );
    }
    assert_eq!(hub.delete(&format!("/sessions/{first}")).await.status, 204);
    hub.session().await;
}

/// Exactly `undo_depth_max` commands can be undone.
#[tokio::test]
async fn undo_depth_is_exact() {
    let hub = TestHub::with(|config| config.limits.undo_depth_max = 3).await;
    let session = hub.session().await;
    for name in ["1", "2", "3", "4", "5"] {
        hub.create_node(&session, None, name).await;
    }
    let undo = format!("/sessions/{session}/undo");
    let available = |answer: &Value| answer["undo_available"].as_bool().expect("a flag");
    for left in [true, true, false] {
        assert_eq!(available(&hub.post(&undo, &json!({})).await.ok()), left);
    }
    assert_eq!(hub.post(&undo, &json!({})).await.refused(), (409, "NOTHING_TO_UNDO"));
    assert_eq!(hub.outline(&session).await, ["1", "2"]);
}

/// A project file beyond its limit is neither shown nor opened, and is unchanged.
#[tokio::test]
async fn oversized_project_file_is_not_read() {
    let hub = TestHub::with(|config| config.projects.file_bytes_max = 2_000).await;
    let file = hub.dir.path().join("projects/large.json");
    std::fs::write(
        &file,
        json!({"graph": {"roots": []}, "x": "x".repeat(2_000)}).to_string(),
    )
    .expect("written");
    let opened = hub.post_text("/projects/large/open", "").await;
    assert_limit(&opened, "file_bytes_max", 2_000, &"open");
    assert_limit(
        &hub.get_whole("/projects/large").await,
        "file_bytes_max",
        2_000,
        &"show",
    );
    assert!(file.exists());
    assert_eq!(hub.get("/sessions").await.ok()["total"], 0);
}
