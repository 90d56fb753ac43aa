//! Packets as no client library would send them, or not in such numbers: each is answered, and the socket stays, or its
//! connection ends.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    connections,
    driver::{Connect, DEADLINE, Driver, Transport},
};
use crate::support::{TestHub, websocket::WebSocket};

/// Every event that has a payload.
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
    answer.expect("it is answered")
}

/// `INVALID_REQUEST` about this field.
fn assert_refused(answer: &Value, field: &str, what: &str) {
    assert_eq!(
        (&answer["success"], &answer["error"]["code"], &answer["error"]["field"]),
        (&json!(false), &json!("INVALID_REQUEST"), &json!(field)),
        "{what}: {answer}"
    );
}

/// P5: bytes are no JSON, wherever in the payload of whichever event their placeholders stand, and if none stands there.
/// They are refused, nothing is changed, and the socket stays.
#[tokio::test]
async fn bytes_are_refused_in_every_event() {
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
            // More than there are places for.
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

    // Without bytes it is an object like any other.
    let data = json!({"blueprint_type_id": "t", "properties": {"f": placeholder(0)}});
    let packet = json!(["command:execute", {"command_type": "CreateNode", "data": data}]);
    websocket.send(format!("42/graph,900{packet}")).await;
    assert_eq!(answer(&mut websocket, 900).await["success"], true);
    let stored = hub.graph(&session).await;
    assert_eq!(stored["roots"][0]["properties"]["f"], placeholder(0), "{stored}");
}

/// The same over long polling, where bytes come as text.
#[tokio::test]
async fn bytes_are_refused_over_polling() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let poll = Poll::join(&hub, &session).await;
    let data = json!({"blueprint_type_id": "t", "properties": {"f": {"_placeholder": true, "num": 0}}});
    let packet = json!(["command:execute", {"command_type": "CreateNode", "data": data}]);
    poll.post(format!("451-/graph,7{packet}\u{1e}bAAEC")).await;
    let told = poll.until("43/graph,7[").await;
    let answer: Vec<Value> = serde_json::from_str(told.strip_prefix("43/graph,7").expect("an answer")).expect("JSON");
    assert_refused(&answer[0], "body", "polling");
    let packet = json!(["command:execute", {"command_type": "CreateNode", "data": data}]);
    poll.post(format!("42/graph,8{packet}")).await;
    let told = poll.until("43/graph,8[").await;
    assert!(told.contains("\"success\":true"), "{told}");
}

/// A client that waits for an answer before it sends on is told, whatever it sent: an event that there is not, a payload
/// that is none, a resync.
#[tokio::test]
async fn whoever_asks_is_answered_whatever_it_asks() {
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

/// Commands at one time, many times what may be under way and what a queue has room for.
const FLOOD: u64 = 6_000;

/// P9: a client that sends more than may be under way is refused, and hears of each command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_a_flood_is_answered() {
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
        let packet = timeout(DEADLINE, websocket.packet()).await.expect("it is answered");
        let packet = packet.expect("it stays");
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

/// P7, P9: a client that takes no answers and asks on is let go once more refusals wait than may. The one beside it goes
/// on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_refusals_is_let_go() {
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
    timeout(DEADLINE, flood).await.expect("its connection ends");
    connections(&hub, 1).await;
    let command = json!(["command:execute", {"command_type": "CreateNode", "data": {"blueprint_type_id": "task"}}]);
    beside.send(format!("42/graph,1{command}")).await;
    assert_eq!(answer(&mut beside, 1).await["success"], true);
}

/// P7, P9: the same for clients that poll, which come back by themselves and are not told to stay away.
#[tokio::test]
async fn polling_clients_that_take_no_refusals_come_back() {
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
        let gone = driver.until_that("ann", |told| told.got == "disconnected").await;
        let gone = &gone.last().expect("it is gone").more;
        assert_ne!(gone["reason"], "io server disconnect", "{gone}");
        assert_ne!(gone["reason"], "server disconnect", "{gone}");
        driver.until("ann", "session:sync").await;
    }
}

/// P9: requests for a sync that come while one is being answered are answered together, and each that wants an answer gets
/// one.
#[tokio::test]
async fn a_burst_of_resyncs_gets_few_syncs() {
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
            .expect("it stays");
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

/// Errors of the transport have what Engine.IO clients read, `code` and `message`, and the contract's `error`.
#[tokio::test]
async fn errors_of_the_transport_are_the_contracts_too() {
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

/// A client that polls, by hand.
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

    /// The next packet that begins so.
    async fn until(&self, begin: &str) -> String {
        let told = async {
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
        timeout(DEADLINE, told).await.expect(begin)
    }
}
