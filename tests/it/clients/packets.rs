//! Packets that no client library sends, or not in such numbers: each is acknowledged and the socket stays, or the
//! connection ends.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    connections,
    driver::{Connect, DEADLINE, Driver, Transport},
};
use crate::support::{TestHub, websocket::WebSocket};

/// Events with a payload, all of them.
const EVENTS: [&str; 7] = [
    "command:execute",
    "command:undo",
    "command:redo",
    "presence:update",
    "session:resync",
    "join_session",
    "leave_session",
];

async fn answer(websocket: &mut WebSocket, number: u64) -> Value {
    let answer = timeout(DEADLINE, websocket.answer(number)).await;
    answer.expect("an acknowledgement in time")
}

/// Asserts that an acknowledgement is `INVALID_REQUEST` about a field.
fn assert_refused(answer: &Value, field: &str, what: &str) {
    assert_eq!(
        (&answer["success"], &answer["error"]["code"], &answer["error"]["field"]),
        (&json!(false), &json!("INVALID_REQUEST"), &json!(field)),
        "{what}: {answer}"
    );
}

/// P5: binary attachments are refused in every event, with their placeholders at any place of the payload or at none. A
/// refused event changes no graph, and the socket stays connected.
#[tokio::test]
async fn attachments_are_refused_in_every_event() {
    let hub = TestHub::with(|config| config.realtime.late_join = true).await;
    let session = hub.session().await;
    let mut websocket = WebSocket::join(&hub.url, &session, None).await;
    let mut number = 0;
    let placeholder = |at: usize| json!({"_placeholder": true, "num": at});
    for event in EVENTS {
        let command =
            |value: Value| json!({"session_id": session, "command_type": "CreateNode", "state": 1, "data": value});
        for (payload, attachments) in [
            (placeholder(0), 1),
            (command(placeholder(0)), 1),
            (
                command(json!({"blueprint_type_id": "t", "properties": {"f": placeholder(0)}})),
                1,
            ),
            (
                command(
                    json!({"blueprint_type_id": "t", "properties": {"f": [{"g": placeholder(1)}, placeholder(0)]}}),
                ),
                2,
            ),
            // More attachments than placeholders.
            (command(json!({"blueprint_type_id": "t"})), 1),
            (
                command(json!({"blueprint_type_id": "t", "properties": {"f": placeholder(0)}})),
                3,
            ),
        ] {
            number += 1;
            let packet = json!([event, payload]);
            websocket.send(format!("45{attachments}-/graph,{number}{packet}")).await;
            for _ in 0..attachments {
                websocket.send_binary(vec![0, 159, 146, 150]).await;
            }
            assert_refused(&answer(&mut websocket, number).await, "body", event);
        }
    }
    assert_eq!(hub.graph(&session).await["roots"], json!([]), "nothing was stored");
    connections(&hub, 1).await;

    // A placeholder without attachments is an ordinary object.
    let data = json!({"blueprint_type_id": "t", "properties": {"f": placeholder(0)}});
    let packet = json!(["command:execute", {"command_type": "CreateNode", "data": data}]);
    websocket.send(format!("42/graph,900{packet}")).await;
    assert_eq!(answer(&mut websocket, 900).await["success"], true);
    let stored = hub.graph(&session).await;
    assert_eq!(stored["roots"][0]["properties"]["f"], placeholder(0), "{stored}");
}

/// P5: binary attachments are refused over long polling, where they come as text.
#[tokio::test]
async fn attachments_are_refused_over_polling() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let poll = Poll::join(&hub, &session).await;
    let data = json!({"blueprint_type_id": "t", "properties": {"f": {"_placeholder": true, "num": 0}}});
    let packet = json!(["command:execute", {"command_type": "CreateNode", "data": data}]);
    poll.post(format!("451-/graph,7{packet}\u{1e}bAAEC")).await;
    let packet = poll.until("43/graph,7[").await;
    let answer: Vec<Value> = serde_json::from_str(packet.strip_prefix("43/graph,7").expect("an answer")).expect("JSON");
    assert_refused(&answer[0], "body", "polling");
    let packet = json!(["command:execute", {"command_type": "CreateNode", "data": data}]);
    poll.post(format!("42/graph,8{packet}")).await;
    let packet = poll.until("43/graph,8[").await;
    assert!(packet.contains("\"success\":true"), "{packet}");
}

/// An event that asks for an acknowledgement gets one, also an unknown event, a malformed payload and a resync.
#[tokio::test]
async fn requests_for_an_acknowledgement_all_get_one() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut websocket = WebSocket::join(&hub.url, &session, None).await;
    for (number, (packet, field)) in [
        (json!(["no:such_event", {}]), "event"),
        (json!(["message"]), "event"),
        (json!(["session:resync", "nonsense"]), "body"),
        (json!(["session:resync", {"seq": -1}]), "seq"),
        (json!(["session:resync", {"session_id": "x"}]), "session_id"),
        (json!(["presence:update", 7]), "body"),
        (json!(["command:undo", []]), "body"),
    ]
    .into_iter()
    .enumerate()
    {
        websocket.send(format!("42/graph,{number}{packet}")).await;
        assert_refused(&answer(&mut websocket, number as u64).await, field, &packet.to_string());
    }
    websocket
        .send(r#"42/graph,50["session:resync",{"reason":"divergence"}]"#.to_owned())
        .await;
    assert_eq!(answer(&mut websocket, 50).await, json!({"success": true}));
    websocket.send(r#"42/graph,["no:such_event",{}]"#.to_owned()).await;
    websocket
        .send(r#"42/graph,51["presence:update",{"state":1}]"#.to_owned())
        .await;
    assert_eq!(answer(&mut websocket, 51).await, json!({"success": true}));
}

/// Commands sent at once: many times the limit in flight and the packets of a queue.
const FLOOD: u64 = 6_000;

/// P9: every command of a client that exceeds the limit in flight is acknowledged, with its outcome or with
/// `OVERLOADED`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_commands_is_all_acknowledged() {
    let hub = TestHub::with(|config| {
        config.realtime.slow_consumer_retry_ms = 5;
        config.realtime.outgoing_packets_per_socket_max = 64;
        config.limits.in_flight_per_session_max = 16;
    });
    let hub = hub.await;
    let session = hub.session().await;
    let mut websocket = WebSocket::join(&hub.url, &session, Some(4_096)).await;
    let command = json!(["command:execute", {"command_type": "CreateNode", "data": {"blueprint_type_id": "task"}}]);
    for number in 0..FLOOD {
        websocket.send(format!("42/graph,{number}{command}")).await;
    }
    let (mut left, mut refused): (BTreeSet<u64>, u64) = ((0..FLOOD).collect(), 0);
    while !left.is_empty() {
        let packet = timeout(DEADLINE, websocket.packet())
            .await
            .expect("an acknowledgement in time");
        let packet = packet.expect("the websocket stays open");
        if packet == "2" {
            websocket.send("3".to_owned()).await;
        }
        let Some(answer) = packet.strip_prefix("43/graph,") else {
            continue;
        };
        let (number, answer) = answer.split_at(answer.find('[').expect("a list"));
        assert!(left.remove(&number.parse().expect("a number")), "{number} twice");
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        if answer[0]["success"] == false {
            assert_eq!(answer[0]["error"]["code"], "OVERLOADED", "{answer}");
            refused += 1;
        }
    }
    assert!((1..FLOOD).contains(&refused), "{refused}");
}

/// P7, P9: a client that reads no acknowledgements and sends on is disconnected once more than `refusals_waiting_max`
/// refusals wait. The client beside it is not affected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_reads_no_refusals_is_disconnected() {
    let hub = TestHub::with(|config| {
        config.realtime.outgoing_packets_per_socket_max = 1;
        config.limits.in_flight_per_session_max = 1;
        config.realtime.refusals_waiting_max = 100;
    });
    let hub = hub.await;
    let session = hub.session().await;
    let mut beside = WebSocket::join(&hub.url, &session, None).await;
    let mut flooding = WebSocket::join(&hub.url, &session, Some(4_096)).await;
    connections(&hub, 2).await;
    let command = json!(["command:undo", {}]);
    let flood = async {
        for number in 0.. {
            if flooding.try_send(format!("42/graph,{number}{command}")).await.is_err() {
                return;
            }
        }
    };
    timeout(DEADLINE, flood).await.expect("the connection ends");
    connections(&hub, 1).await;
    let command = json!(["command:execute", {"command_type": "CreateNode", "data": {"blueprint_type_id": "task"}}]);
    beside.send(format!("42/graph,1{command}")).await;
    assert_eq!(answer(&mut beside, 1).await["success"], true);
}

/// P7, P9: a polling client that reads no acknowledgements is disconnected, and reconnects by itself.
#[tokio::test]
async fn polling_clients_that_read_no_refusals_reconnect() {
    let hub = TestHub::with(|config| {
        config.realtime.slow_consumer_retry_ms = 5;
        config.realtime.outgoing_packets_per_socket_max = 1;
        config.limits.in_flight_per_session_max = 1;
        config.realtime.refusals_waiting_max = 100;
    });
    let hub = hub.await;
    let session = hub.session().await;
    let connect = Connect::to(&hub.url, &session, Transport::Polling);
    for mut driver in [Driver::javascript(), Driver::python()] {
        driver.settle("ann", &connect).await;
        driver
            .begin_to_ask("ann", "command:undo", &vec![json!([{}]); 2_000])
            .await;
        let gone = driver
            .until_that("ann", |observed| observed.kind == "disconnected")
            .await;
        let gone = &gone.last().expect("the client is disconnected").fields;
        assert_ne!(gone["reason"], "io server disconnect", "{gone}");
        assert_ne!(gone["reason"], "server disconnect", "{gone}");
        driver.until("ann", "session:sync").await;
    }
}

/// P9: resyncs that come during a sync are answered by one sync, and each is acknowledged.
#[tokio::test]
async fn resync_burst_gets_few_syncs() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    hub.create_node(&session, None, "N").await;
    let mut websocket = WebSocket::join(&hub.url, &session, None).await;
    const BURST: u64 = 200;
    for number in 0..BURST {
        websocket
            .send(format!(r#"42/graph,{number}["session:resync",{{}}]"#))
            .await;
    }
    websocket.send(r#"42/graph,999["command:undo",{}]"#.to_owned()).await;
    let (mut answered, mut syncs) = (0, 0);
    loop {
        let packet = timeout(DEADLINE, websocket.packet())
            .await
            .expect("in time")
            .expect("the websocket stays open");
        if packet.starts_with(r#"42/graph,["session:sync""#) {
            syncs += 1;
        } else if packet.starts_with("43/graph,999[") {
            break;
        } else if packet.starts_with("43/graph,") {
            assert!(packet.contains(r#"{"success":true}"#), "{packet}");
            answered += 1;
        }
    }
    assert_eq!(answered, BURST);
    assert!((1..=BURST).contains(&syncs), "{syncs}");
}

/// Errors of the transport have `code` and `message`, which Engine.IO clients read, and the `error` of the contract.
#[tokio::test]
async fn transport_errors_have_the_contract_error() {
    let hub = TestHub::start().await;
    let post = reqwest::Method::POST;
    let get = reqwest::Method::GET;
    for (method, query, code, field) in [
        (&get, "", 0, json!("transport")),
        (&get, "?EIO=4&transport=carrier", 0, json!("transport")),
        (&get, "?EIO=4&transport=polling&sid=none", 1, json!("sid")),
        (&get, "?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA", 1, json!("sid")),
        (&post, "?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA", 1, json!("sid")),
        (&post, "?EIO=4&transport=polling", 2, Value::Null),
        (&get, "?EIO=4&transport=websocket", 3, Value::Null),
        (&get, "?EIO=3&transport=polling", 5, json!("EIO")),
        (&get, "?transport=polling", 5, json!("EIO")),
    ] {
        let request = hub
            .http()
            .request(method.clone(), format!("{}/socket.io/{query}", hub.url));
        let reply = hub.send(request).await;
        assert_eq!(reply.refused(), (400, "INVALID_REQUEST"), "{query}: {}", reply.body);
        assert_eq!(
            (&reply.body["code"], &reply.body["error"]["field"]),
            (&json!(code), &field),
            "{query}"
        );
        assert!(reply.body["message"].is_string(), "{query}: {}", reply.body);
    }
}

/// Polling client without a library.
struct Poll {
    http: reqwest::Client,
    url: String,
}

impl Poll {
    async fn join(hub: &TestHub, session: &str) -> Self {
        let begin = format!("{}/socket.io/?EIO=4&transport=polling", hub.url);
        let opened = hub.http().get(&begin).send().await.expect("served").text().await;
        let opened: Value = serde_json::from_str(&opened.expect("text")[1..]).expect("the open packet is JSON");
        let url = format!("{begin}&sid={}", opened["sid"].as_str().expect("an id"));
        let poll = Self {
            http: hub.http().clone(),
            url,
        };
        poll.post(format!("40/graph,{}", json!({ "session_id": session })))
            .await;
        poll.until("42/graph,[\"session:sync\"").await;
        poll
    }

    async fn post(&self, packets: String) {
        let answer = self.http.post(&self.url).body(packets).send().await.expect("served");
        assert_eq!(answer.status(), 200);
    }

    /// Polls until a packet with this beginning, and returns the packet.
    async fn until(&self, begin: &str) -> String {
        let found = async {
            loop {
                let answer = self.http.get(&self.url).send().await.expect("served");
                let text = answer.text().await.expect("text");
                for packet in text.split('\u{1e}') {
                    if packet == "2" {
                        self.post("3".to_owned()).await;
                    }
                    if packet.starts_with(begin) {
                        return packet.to_owned();
                    }
                }
            }
        };
        timeout(DEADLINE, found).await.expect(begin)
    }
}
