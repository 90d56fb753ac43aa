//! Numbers are returned as they were received, digit by digit.

use serde_json::{Value, json};

use crate::{calls::whole, support::TestHub};

/// Numbers that a conversion to a float or to 64 bits would change. Each has a single spelling here.
const NUMBERS: [&str; 12] = [
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "123456789012345678901234567890",
    "1.10",
    "1.0",
    "-0",
    "0.1000000000000000055511151231257827",
    "1e+400",
    "3.141592653589793238462643383279",
    "2.50e-7",
];

/// A number in a property is the same in the graph, in events, in the project file, after opening that file, and after
/// an undo.
#[tokio::test]
async fn numbers_keep_every_digit() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let list = format!("[{}]", NUMBERS.join(","));
    let body = format!(
        r#"{{"session_id": "{session}", "command_type": "CreateNode",
            "data": {{"blueprint_type_id": "t", "properties": {{"numbers": {list}, "price": 1.10}}}}}}"#
    );
    let created = hub.post_text("/commands/execute?graph=true", body).await;
    let holds = |text: &str, place: &str| {
        assert!(text.contains(&list), "{place}: {text}");
        assert!(text.contains(r#""price":1.10"#), "{place}: {text}");
    };
    holds(&created.text, "the answer");
    let of_session = |word: &str| format!("/sessions/{session}/{word}");
    holds(&hub.get_whole(&of_session("graph")).await.text, "the graph");
    holds(&hub.get_whole(&of_session("events")).await.text, "the events");

    let node = &created.json()["node_id"];
    hub.execute(&session, "DeleteNode", json!({"node_id": node})).await.ok();
    hub.post(&of_session("undo"), &json!({})).await.ok();
    holds(
        &hub.get_whole(&of_session("graph")).await.text,
        "the graph after an undo",
    );

    let saved = hub.post(&of_session("save"), &json!({})).await.ok();
    let file = hub
        .dir
        .path()
        .join("projects")
        .join(saved["path"].as_str().expect("a name"));
    let file: String = std::fs::read_to_string(file).expect("the file");
    let dense: String = file.chars().filter(|c| !c.is_whitespace()).collect();
    holds(&dense, "the file");
    hub.delete(&format!("/sessions/{session}")).await;
    let opened = whole(hub.http().post(hub.api(&format!("/projects/{session}/open")))).await;
    holds(&opened.text, "the opened file");
}

/// Numbers that are equal only as floats are different values: setting one after the other is a change, and repeating
/// it is none.
#[tokio::test]
async fn numbers_equal_only_as_floats_differ() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let node = hub.create_node(&session, None, "node").await;
    for [one, other] in [
        ["1", "1.0"],
        ["9007199254740992", "9007199254740993"],
        ["0.1", "0.10"],
        ["0", "-0"],
    ] {
        for (number, changes) in [(one, true), (other, true), (other, false)] {
            let value: Value = serde_json::from_str(number).expect(number);
            let data = json!({"node_id": node, "property_id": "n", "new_value": value});
            let answer = hub.execute(&session, "UpdateProperty", data).await.ok();
            assert_eq!(answer.get("first_seq").is_some(), changes, "{one} {other}: {number}");
        }
    }
}
