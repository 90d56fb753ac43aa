//! Undo, redo and history over REST.

use serde_json::{Value, json};

use crate::{calls::whole, support::TestHub};

/// Returns a page of the history as `(command_type, undone)`, newest first.
fn types_and_flags(page: &Value) -> Vec<(&str, bool)> {
    let commands = page["commands"].as_array().expect("a list").iter();
    commands
        .map(|command| {
            (
                command["command_type"].as_str().expect("a type"),
                command["undone"].as_bool().expect("a flag"),
            )
        })
        .collect()
}

/// Undo and redo walk the same states back and forth. A new command clears the undone steps. Both ends refuse.
#[tokio::test]
async fn undo_and_redo_walk_the_same_states() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let step = |word: &str| {
        let path = format!("/sessions/{session}/{word}");
        async { hub.post(&{ path }, &json!({})).await }
    };
    assert_eq!(step("undo").await.refused(), (409, "NOTHING_TO_UNDO"));
    assert_eq!(step("redo").await.refused(), (409, "NOTHING_TO_REDO"));
    let mut states = vec![hub.graph(&session).await];
    let root = hub.create_node(&session, None, "root").await;
    states.push(hub.graph(&session).await);
    hub.create_node(&session, Some(&root), "child").await;
    states.push(hub.graph(&session).await);
    hub.execute(
        &session,
        "UpdateProperty",
        json!({"node_id": root, "property_id": "p", "new_value": 1}),
    )
    .await
    .ok();
    states.push(hub.graph(&session).await);
    for (index, state) in states[..3].iter().enumerate().rev() {
        let answer = step("undo").await.ok();
        assert_eq!(
            (&answer["undo_available"], &answer["redo_available"]),
            (&json!(index > 0), &json!(true))
        );
        assert_eq!(&hub.graph(&session).await, state, "undone to {index}");
    }
    assert_eq!(step("undo").await.refused(), (409, "NOTHING_TO_UNDO"));
    for (index, state) in states[1..].iter().enumerate() {
        let answer = step("redo").await.ok();
        assert_eq!(
            (&answer["undo_available"], &answer["redo_available"]),
            (&json!(true), &json!(index < 2))
        );
        assert_eq!(&hub.graph(&session).await, state, "redone {index}");
    }
    assert_eq!(step("redo").await.refused(), (409, "NOTHING_TO_REDO"));
    step("undo").await.ok();
    hub.create_node(&session, None, "another way").await;
    assert_eq!(step("redo").await.refused(), (409, "NOTHING_TO_REDO"));
}

/// The closing event of an undo or redo names the undone or redone command, under its own id.
#[tokio::test]
async fn undo_and_redo_events_name_their_target() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let id = |number: u32| format!("aaaaaaaa-0000-4000-8000-00000000000{number}");
    hub.execute_with(
        &session,
        "CreateNode",
        json!({"blueprint_type_id": "t"}),
        json!({"command_id": id(1)}),
    )
    .await;
    let undone = hub
        .post(&format!("/sessions/{session}/undo"), &json!({"command_id": id(2)}))
        .await
        .ok();
    let redone = hub
        .post(
            &format!("/sessions/{session}/redo"),
            &json!({"command_id": id(3), "scope": null}),
        )
        .await
        .ok();
    assert_eq!((&undone["command_id"], &undone["seq"]), (&json!(id(2)), &json!(4)));
    assert_eq!((&redone["command_id"], &redone["seq"]), (&json!(id(3)), &json!(6)));
    let events = hub.events(&session, 2).await;
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "graph:node-deleted",
            "command:undo",
            "graph:node-created",
            "command:redo"
        ]
    );
    for (event, own, key) in [(1, 2, "undone_command_id"), (3, 3, "redone_command_id")] {
        let data = &events[event].1;
        assert_eq!((&data["command_id"], &data[key]), (&json!(id(own)), &json!(id(1))));
        assert_eq!(data["command_type"], "CreateNode");
    }
    assert!(
        events
            .iter()
            .take(2)
            .all(|(_, data)| data["command_id"] == json!(id(2)))
    );
}

/// The history lists every effective command, newest first, with its origin and its `undone` flag.
#[tokio::test]
async fn history_flags_undone_commands() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let path = format!("/sessions/{session}/history");
    assert_eq!(hub.get(&path).await.ok(), json!({"commands": [], "more": false}));
    let command = json!({"session_id": session, "command_type": "CreateNode", "data": {"blueprint_type_id": "t"}});
    let send = || {
        hub.http()
            .post(hub.api("/commands/execute"))
            .header("x-client-id", "tester")
            .json(&command)
    };
    let first = whole(send()).await.json();
    whole(send()).await;
    hub.execute(&session, "DeleteNode", json!({"node_id": session})).await;
    let step = async |word: &str| hub.post(&format!("/sessions/{session}/{word}"), &json!({})).await.ok();
    step("undo").await;
    step("undo").await;
    step("redo").await;
    let page = hub.get(&path).await.ok();
    let expected = [
        ("Redo", false),
        ("Undo", false),
        ("Undo", false),
        ("CreateNode", true),
        ("CreateNode", false),
    ];
    assert_eq!(types_and_flags(&page), expected);
    let oldest = &page["commands"][4];
    assert_eq!(oldest["command_id"], first["command_id"]);
    assert_eq!(oldest["origin"], json!({"client_id": "tester"}));
    assert_eq!((&oldest["first_seq"], &oldest["seq"]), (&json!(1), &json!(2)));
    let timestamp = oldest["timestamp"].as_str().expect("a time");
    assert!(
        timestamp.len() == 24 && timestamp.ends_with('Z'),
        "RFC 3339 with milliseconds: {timestamp}"
    );
    assert_eq!(page["commands"][0]["origin"], json!({}));
}

/// Pages of the history meet without gaps or duplicates.
#[tokio::test]
async fn history_pages_have_no_gap() {
    let hub = TestHub::with(|config| config.rest.page_items_default = 2).await;
    let session = hub.session().await;
    let mut ids = Vec::new();
    for number in 0..7 {
        let id = format!("aaaaaaaa-0000-4000-8000-00000000000{number}");
        let commands = vec![json!({"command_type": "CreateNode", "data": {"blueprint_type_id": "t"}}); number + 1];
        hub.execute_with(
            &session,
            "Batch",
            json!({"commands": commands}),
            json!({"command_id": id}),
        )
        .await;
        ids.push(id);
    }
    for (query, sizes) in [
        ("", vec![2, 2, 2, 1]),
        ("&limit=3", vec![3, 3, 1]),
        ("&limit=7", vec![7]),
    ] {
        let (mut seen, mut pages, mut before) = (Vec::new(), Vec::new(), u64::MAX);
        loop {
            let page = hub
                .get(&format!("/sessions/{session}/history?before={before}{query}"))
                .await
                .ok();
            let commands = page["commands"].as_array().expect("a list");
            pages.push(commands.len());
            seen.extend(
                commands
                    .iter()
                    .map(|command| command["command_id"].as_str().expect("an id").to_owned()),
            );
            before = commands.last().expect("no page is empty")["first_seq"]
                .as_u64()
                .expect("a seq");
            if page["more"] == json!(false) {
                break;
            }
        }
        assert_eq!(pages, sizes, "{query}");
        assert_eq!(seen, ids.iter().rev().cloned().collect::<Vec<_>>(), "{query}");
    }
    let none = hub.get(&format!("/sessions/{session}/history?before=0")).await.ok();
    assert_eq!(none, json!({"commands": [], "more": false}));
}
