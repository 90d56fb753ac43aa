//! A command that is sent again is applied once (P4), and one that acts on what has changed meanwhile is refused.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::TestHub;

const ID: &str = "aaaaaaaa-0000-4000-8000-000000000001";

/// The same answer, but for the mark of a duplicate.
fn marked(mut answer: Value) -> Value {
    answer["duplicate"] = json!(true);
    answer
}

/// P4: the same `command_id` again answers with the first outcome, also when the state has moved on, and leaves no
/// event; whether the JSON is written in another order does not matter.
#[tokio::test]
async fn a_command_sent_again_is_answered_with_its_first_outcome() {
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
    assert_eq!(send().await.json(), marked(first.clone()));
    let reordered = format!(
        r#"{{"command_id": "{}", "data": {{"properties": {{"b": 2, "a": 1}}, "name": "once", "blueprint_type_id": "t"}},
            "command_type": "CreateNode", "session_id": "{session}"}}"#,
        ID.to_uppercase()
    );
    assert_eq!(
        hub.post_text("/commands/execute", reordered).await.json(),
        marked(first)
    );
    assert_eq!(hub.events(&session, 0).await, events);
    assert_eq!(hub.graph(&session).await, json!({"roots": []}));
}

/// P4: twenty copies of a command at the same time are one command, and all copies hear the same.
#[tokio::test]
async fn copies_of_a_command_at_the_same_time_are_one_command() {
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
    let first = marked(firsts.remove(0));
    assert!(duplicates.iter().all(|duplicate| *duplicate == first), "{duplicates:?}");
    assert_eq!(hub.graph(&session).await["roots"].as_array().map(Vec::len), Some(1));
}

/// P4: every kind of command is recognised, undo and redo and loading included.
#[tokio::test]
async fn every_kind_of_command_is_recognised_when_it_comes_again() {
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
        assert_eq!(again, marked(first), "{path}");
        assert_eq!(hub.events(&session, 0).await, events, "{path}");
    }
    assert_eq!(hub.outline(&session).await, ["loaded"]);
}

/// P4: an id that was used for one command is not for another, of whatever kind; and an id is one session's own.
#[tokio::test]
async fn a_command_id_is_for_one_command_of_one_session() {
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

/// A refused command leaves no trace: the same id may be sent again, and is decided anew. So is one that changed
/// nothing.
#[tokio::test]
async fn a_refused_command_may_be_sent_again_under_its_id() {
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

/// `expected_seq` refuses what acts on a node that changed since, and only that: the node itself, and the parents whose
/// lists of children are involved.
#[tokio::test]
async fn expected_seq_looks_at_what_the_command_touches() {
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
    // Somebody else: a new child of `root`, and a change to `child`.
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
        "nothing changed after a place that has not come yet: {}",
        answer.text
    );
}

/// P4 before anything else: a retry is a retry, also if what it touched has changed since.
#[tokio::test]
async fn a_retry_with_an_expected_seq_is_no_conflict() {
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
    assert_eq!(send().await.json(), marked(first));
}

/// P5: a batch is all or nothing and one step of undo; later commands see what earlier ones made; the answer names the
/// nodes it created, and a refusal says which command it was.
#[tokio::test]
async fn a_batch_is_all_or_nothing() {
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
    assert_eq!(malformed.body["error"]["index"], 4, "what makes no sense is told first");
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
