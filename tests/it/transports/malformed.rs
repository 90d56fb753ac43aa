//! Events whose JSON is malformed.

use serde_json::Value;

use super::{polled::Polled, raw::RawSocket, soon};
use crate::support::TestHub;

/// Payloads that are no JSON, as serializers of some languages write them.
const MALFORMED: [&str; 8] = [
    r#"{"a":NaN}"#,
    "-Infinity",
    "01",
    r#"{"a":1,}"#,
    "[1,]",
    "undefined",
    "{'a':1}",
    r#"{"a":1"#,
];

/// Events with a payload.
const EVENTS: [&str; 6] = [
    "command:execute",
    "command:undo",
    "command:redo",
    "presence:update",
    "join_session",
    "leave_session",
];

fn check(answer: &Value, packet: &str) {
    assert_eq!(answer["success"], false, "{packet}: {answer}");
    assert_eq!(answer["error"]["code"], "INVALID_REQUEST", "{packet}: {answer}");
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("malformed JSON: "), "{packet}: {message}");
}

/// P9: malformed JSON in any event is acknowledged with an error, and the websocket stays open.
#[tokio::test]
async fn malformed_json_over_a_websocket_is_answered() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut socket = RawSocket::join(&hub.url, &session).await;
    for event in EVENTS {
        for payload in MALFORMED {
            let packet = format!("42/graph,5[\"{event}\",{payload}]");
            socket.send(&packet).await;
            check(&soon(&packet, socket.ack(5)).await, &packet);
        }
    }
    // Without an acknowledgement there is no answer.
    socket.send("42/graph,[\"session:resync\",{\"seq\":NaN}]").await;
    socket.send("42/graph,[\"command:execute\",NaN]").await;
    hub.create_node(&session, None, "a").await;
    soon("an event", socket.executed()).await;
}

/// P9: malformed JSON in a post is acknowledged with an error, also beside other packets of the same post.
#[tokio::test]
async fn malformed_json_in_a_post_is_answered() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut polled = Polled::join(&hub, &session).await;
    for payload in MALFORMED {
        let packet = format!("42/graph,5[\"command:execute\",{payload}]");
        let good = r#"42/graph,6["presence:update",{"state":1}]"#;
        let (status, body) = polled.post(format!("{packet}\u{1e}{good}")).await;
        assert_eq!((status, &*body), (200, "ok"));
        let mut answers = [Value::Null, Value::Null];
        while answers.contains(&Value::Null) {
            let packet = soon(&packet, polled.packet()).await;
            for (answer, prefix) in answers.iter_mut().zip(["43/graph,5[", "43/graph,6["]) {
                if let Some(text) = packet.strip_prefix(prefix) {
                    *answer = serde_json::from_str(text.strip_suffix(']').expect("a list")).expect("JSON");
                }
            }
        }
        check(&answers[0], &packet);
        assert_eq!(answers[1]["success"], true);
    }
    hub.create_node(&session, None, "a").await;
    soon("an event", polled.executed()).await;
}
