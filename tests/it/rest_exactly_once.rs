//! Duplicates are applied once (P4), and commands with an outdated `expected_seq` are refused.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::TestHub;

const ID: &str = "aaaaaaaa-0000-4000-8000-000000000001";

/// Returns an answer with the mark of a duplicate.
fn as_duplicate(mut answer: Value) -> Value {
    answer["duplicate"] = json!(true);
    answer
}

/// P4: a duplicate gets the first outcome without an event, also after later commands, and in any order of JSON
/// members.
#[tokio::test]
async fn duplicate_gets_the_first_outcome() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let data = json!({"blueprint_type_id": "t", "name": "once", "properties": {"a": 1, "b": 2}});
    let send = || hub.execute_with(&session, "CreateNode", data.clone(), json!({"command_id": ID}));
    let first = send().await.json();
    assert_eq!(first.get("duplicate"), None);
    hub.execute(&session, "DeleteNode", json!({"node_id": first["node_id"]}))
        .await
        .ok();
    let events = hub.events(&session, 0).await;
    assert_eq!(send().await.json(), as_duplicate(first.clone()));
    let reordered = format!(
        r#"{{"command_id": "{}", "data": {{"properties": {{"b": 2, "a": 1}}, "name": "once", "blueprint_type_id": "t"}},
            "command_type": "CreateNode", "session_id": "{session}"}}"#,
        ID.to_uppercase()
    );
    assert_eq!(
        hub.post_text("/commands/execute", reordered).await.json(),
        as_duplicate(first)
    );
    assert_eq!(hub.events(&session, 0).await, events);
    assert_eq!(hub.graph(&session).await, json!({"roots": []}));
}

/// P4: twenty concurrent copies of a command are applied once, and all copies get the same outcome.
#[tokio::test]
async fn concurrent_duplicates_are_applied_once() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let send = |_| {
        hub.execute_with(
            &session,
            "CreateNode",
            json!({"blueprint_type_id": "t"}),
            json!({"command_id": ID}),
        )
    };
    let answers = join_all((0..20).map(send)).await;
    let (mut firsts, duplicates): (Vec<Value>, Vec<Value>) = answers
        .iter()
        .map(super::calls::Whole::json)
        .partition(|answer| answer.get("duplicate").is_none());
    assert_eq!((firsts.len(), duplicates.len()), (1, 19));
    let first = as_duplicate(firsts.remove(0));
    assert!(duplicates.iter().all(|duplicate| *duplicate == first), "{duplicates:?}");
    assert_eq!(hub.graph(&session).await["roots"].as_array().map(Vec::len), Some(1));
}

/// P4: duplicates of every command type are recognized, including undo, redo and load.
#[tokio::test]
async fn duplicates_of_every_command_type_are_recognized() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let of_session = |word: &str| format!("/sessions/{session}/{word}");
    hub.create_node(&session, None, "first").await;
    hub.create_node(&session, None, "second").await;
    let batch = json!({"session_id": session, "command_type": "Batch", "data": {"commands": [
        {"command_type": "CreateNode", "data": {"blueprint_type_id": "t"}},
    ]}});
    for (number, (path, body)) in [
        (of_session("undo"), json!({})),
        (of_session("redo"), json!({"scope": "session"})),
        ("/commands/execute".to_owned(), batch),
        (
            of_session("load-graph"),
            json!({"graph": {"roots": [{"id": "n", "type": "t", "name": "loaded"}]}}),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = body;
        body["command_id"] = json!(format!("aaaaaaaa-0000-4000-8000-00000000000{number}"));
        let first = hub.post(&path, &body).await.ok();
        let events = hub.events(&session, 0).await;
        let mut again = hub.post(&path, &body).await.ok();
        if let Some(orphans) = again.get("orphans") {
            assert_eq!(orphans, &first["orphans"]);
            again["orphans"] = first["orphans"].clone();
        }
        assert_eq!(again, as_duplicate(first), "{path}");
        assert_eq!(hub.events(&session, 0).await, events, "{path}");
    }
    assert_eq!(hub.outline(&session).await, ["loaded"]);
}

/// P4: a used `command_id` is refused for every other command, and each session has its own ids.
#[tokio::test]
async fn command_id_is_refused_for_another_command() {
    let hub = TestHub::start().await;
    let (session, other) = (hub.session().await, hub.session().await);
    let more = json!({"command_id": ID});
    let create = |name: &str| json!({"blueprint_type_id": "t", "name": name});
    let node = hub
        .execute_with(&session, "CreateNode", create("one"), more.clone())
        .await
        .json()["node_id"]
        .clone();
    for (command_type, data) in [
        ("CreateNode", create("two")),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "name": "one", "index": 0}),
        ),
        ("DeleteNode", json!({"node_id": node})),
        (
            "Batch",
            json!({"commands": [{"command_type": "CreateNode", "data": create("one")}]}),
        ),
    ] {
        let refused = hub.execute_with(&session, command_type, data, more.clone()).await;
        assert_eq!(
            refused.refused(),
            (409, "COMMAND_ID_REUSED".to_owned()),
            "{command_type}"
        );
        assert_eq!(refused.json()["error"]["command_id"], ID);
    }
    for word in ["undo", "redo"] {
        let refused = hub.post(&format!("/sessions/{session}/{word}"), &more).await;
        assert_eq!(refused.refused(), (409, "COMMAND_ID_REUSED"), "{word}");
    }
    assert_eq!(hub.outline(&session).await, ["one"]);
    let elsewhere = hub.execute_with(&other, "CreateNode", create("two"), more).await;
    assert_eq!((elsewhere.status, elsewhere.json().get("duplicate")), (200, None), "P7");
}

/// A refused command may be sent again under its id and is decided anew. The same applies to a command without effect.
#[tokio::test]
async fn refused_command_can_be_sent_again_under_its_id() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let node = "bbbbbbbb-0000-4000-8000-000000000001";
    let send = |data: Value| hub.execute_with(&session, "DeleteNode", data, json!({"command_id": ID}));
    assert_eq!(send(json!({"node_id": node})).await.refused().1, "NODE_NOT_FOUND");
    assert_eq!(send(json!({"node_id": node})).await.refused().1, "NODE_NOT_FOUND");
    hub.execute(
        &session,
        "CreateNode",
        json!({"blueprint_type_id": "t", "node_id": node}),
    )
    .await
    .ok();
    let done = send(json!({"node_id": node})).await;
    assert_eq!((done.status, done.json().get("duplicate")), (200, None));

    hub.execute(
        &session,
        "CreateNode",
        json!({"blueprint_type_id": "t", "name": "same", "node_id": node}),
    )
    .await
    .ok();
    let more = json!({"command_id": "aaaaaaaa-0000-4000-8000-000000000002"});
    for (name, changes) in [("same", false), ("other", true)] {
        let data = json!({"node_id": node, "property_id": "name", "new_value": name});
        let answer = hub
            .execute_with(&session, "UpdateProperty", data, more.clone())
            .await
            .json();
        assert_eq!(
            (answer.get("first_seq").is_some(), answer.get("duplicate")),
            (changes, None),
            "{name}"
        );
    }
}

/// `expected_seq` refuses a command only if a touched node changed since: the node itself, or a parent whose list of
/// children is involved.
#[tokio::test]
async fn expected_seq_compares_only_touched_nodes() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let [root, other] = [
        hub.create_node(&session, None, "root").await,
        hub.create_node(&session, None, "other").await,
    ];
    let child = hub.create_node(&session, Some(&root), "child").await;
    let quiet = hub.create_node(&session, Some(&other), "quiet").await;
    let seen = hub.get(&format!("/sessions/{session}/info")).await.ok()["seq"].clone();
    let rename = |node: &str, name: &str| json!({"node_id": node, "property_id": "name", "new_value": name});
    // Another client adds a child to `root` and changes `child`.
    hub.create_node(&session, Some(&root), "new").await;
    hub.execute(&session, "UpdateProperty", rename(&child, "changed"))
        .await
        .ok();
    let current = hub.get(&format!("/sessions/{session}/info")).await.ok()["seq"].clone();
    for (command_type, data) in [
        ("UpdateProperty", rename(&child, "mine")),
        ("DeleteProperty", json!({"node_id": child, "property_id": "p"})),
        ("DeleteNode", json!({"node_id": child})),
        ("CreateNode", json!({"blueprint_type_id": "t", "parent_id": root})),
        ("ReorderNode", json!({"node_id": child, "new_index": 0})),
        ("MoveNode", json!({"node_id": quiet, "new_parent_id": root})),
        ("MoveNode", json!({"node_id": child, "new_parent_id": other})),
        ("LinkNode", json!({"parent_id": root, "child_id": other})),
        ("UnlinkNode", json!({"parent_id": root, "child_id": child})),
        (
            "Batch",
            json!({"commands": [{"command_type": "UpdateProperty", "data": rename(&child, "mine")}]}),
        ),
    ] {
        let refused = hub
            .execute_with(&session, command_type, data.clone(), json!({"expected_seq": seen}))
            .await;
        assert_eq!(refused.refused(), (409, "CONFLICT".to_owned()), "{command_type} {data}");
        let error = &refused.json()["error"];
        assert_eq!(
            (&error["current_seq"], &error["expected_seq"]),
            (&current, &seen),
            "{command_type}"
        );
        assert!(error["changed_seq"].as_u64() > seen.as_u64(), "{error}");
        assert!(
            error["blocked_by"]["seq"].as_u64() >= error["changed_seq"].as_u64(),
            "{error}"
        );
        assert!(error["blocked_by"]["command_id"].is_string(), "{error}");
    }
    for word in ["undo", "redo"] {
        let refused = hub
            .post(&format!("/sessions/{session}/{word}"), &json!({"expected_seq": seen}))
            .await;
        assert_eq!(refused.refused(), (409, "CONFLICT"), "{word}");
    }
    for (command_type, data) in [
        ("UpdateProperty", rename(&quiet, "mine")),
        (
            "CreateNode",
            json!({"blueprint_type_id": "t", "parent_id": other, "name": "mine"}),
        ),
        ("CreateNode", json!({"blueprint_type_id": "t", "name": "my root"})),
    ] {
        let answer = hub
            .execute_with(&session, command_type, data.clone(), json!({"expected_seq": seen}))
            .await;
        assert_eq!(answer.status, 200, "{command_type} {data}: {}", answer.text);
    }
    let up_to_date = json!({"expected_seq": current});
    let answer = hub
        .execute_with(&session, "UpdateProperty", rename(&child, "mine"), up_to_date)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let ahead = json!({"expected_seq": u64::MAX});
    let answer = hub
        .execute_with(&session, "UpdateProperty", rename(&child, "ahead"), ahead)
        .await;
    assert_eq!(
        answer.status, 200,
        "no node changed after a future seq: {}",
        answer.text
    );
}

/// P4: a duplicate is recognized before `expected_seq` is compared.
#[tokio::test]
async fn expected_seq_does_not_refuse_duplicates() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let node = hub.create_node(&session, None, "node").await;
    let data = json!({"node_id": node, "property_id": "p", "new_value": 1});
    let send = || {
        hub.execute_with(
            &session,
            "UpdateProperty",
            data.clone(),
            json!({"command_id": ID, "expected_seq": 2}),
        )
    };
    let first = send().await.json();
    assert_eq!(first["success"], true);
    assert_eq!(send().await.json(), as_duplicate(first));
}

/// P5: a batch applies whole or not at all and is one step of undo. Later commands see earlier ones. The answer lists
/// the created nodes, and a refusal names the command.
#[tokio::test]
async fn batch_applies_whole_or_not_at_all() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let top = "bbbbbbbb-0000-4000-8000-000000000001";
    let create = |parent: Option<&str>, name: &str, node_id: Option<&str>| {
        let data = json!({"blueprint_type_id": "t", "name": name, "parent_id": parent, "node_id": node_id});
        json!({"command_type": "CreateNode", "data": data})
    };
    let rename = json!({"command_type": "UpdateProperty", "data": {"node_id": top, "property_id": "name", "new_value": "renamed"}});
    let good = vec![create(None, "top", Some(top)), create(Some(top), "below", None), rename];
    let mut bad = good.clone();
    bad.push(json!({"command_type": "LinkNode", "data": {"parent_id": top, "child_id": top}}));
    bad.push(json!({"command_type": "Nonsense"}));
    let malformed = hub.execute(&session, "Batch", json!({"commands": bad})).await;
    assert_eq!(malformed.refused(), (400, "INVALID_COMMAND"));
    assert_eq!(
        malformed.body["error"]["index"], 4,
        "malformed commands are refused first"
    );
    bad.pop();
    let refused = hub.execute(&session, "Batch", json!({"commands": bad})).await;
    assert_eq!(refused.refused(), (400, "CYCLE"));
    assert_eq!(
        (&refused.body["error"]["index"], &refused.body["error"]["node_id"]),
        (&json!(3), &json!(top))
    );
    assert_eq!(hub.graph(&session).await, json!({"roots": []}));

    let done = hub.execute(&session, "Batch", json!({"commands": good})).await.ok();
    assert_eq!(
        (&done["first_seq"], &done["seq"], done.get("node_id")),
        (&json!(1), &json!(4), None)
    );
    let created = done["node_ids"].as_array().expect("a list");
    assert_eq!((created.len(), &created[0]), (2, &json!(top)));
    assert_eq!(hub.outline(&session).await, ["renamed", " below"]);
    let names: Vec<String> = hub
        .events(&session, 0)
        .await
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            "graph:node-created",
            "graph:node-created",
            "graph:property-changed",
            "command:executed"
        ]
    );
    let undone = hub.post(&format!("/sessions/{session}/undo"), &json!({})).await.ok();
    assert_eq!(
        (&undone["undo_available"], &undone["redo_available"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(hub.graph(&session).await, json!({"roots": []}));
    hub.post(&format!("/sessions/{session}/redo"), &json!({})).await.ok();
    assert_eq!(hub.outline(&session).await, ["renamed", " below"]);
}
