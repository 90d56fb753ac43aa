//! Presence of real clients: an update reaches the other clients, also those that join later, and a client that leaves
//! is removed.

use serde_json::{Value, json};

use super::{
    driver::{Connect, Driver, Observation, Transport},
    faulty_link::FaultyLink,
    on_both_transports,
};
use crate::support::TestHub;

on_both_transports!(
    presence_updates_reach_the_other_clients,
    presence_of_python_clients_is_the_same,
    malformed_or_large_presence_is_refused,
    presence_of_a_socket_differs_between_its_sessions,
);

/// Waits for the next `presence:diff` of a client, and returns it without its envelope.
async fn diff(driver: &mut Driver, client: &str) -> Value {
    let observed = driver.until(client, "presence:diff").await;
    let (_, diff) = observed.last().and_then(Observation::event).expect("an event");
    assert_eq!(diff.get("seq"), None, "presence has no seq");
    json!({"joins": diff["joins"], "updates": diff["updates"], "leaves": diff["leaves"]})
}

/// Sends a `presence:update`, and asserts that it is accepted.
async fn update_presence(driver: &mut Driver, client: &str, state: Value) {
    let answer = driver.ask(client, "presence:update", json!({"state": state})).await;
    assert_eq!(answer, json!({"success": true}));
}

/// Connects a client, and returns its `presence:state`.
async fn join(driver: &mut Driver, client: &str, how: &Connect) -> Value {
    driver.connect(client, &how.clone().named(client)).await;
    driver.expect(client, "connected").await;
    driver.event(client, "session:sync").await;
    let here = driver.event(client, "presence:state").await;
    driver.event(client, "session:connected").await;
    here
}

fn updated(client: &str, state: &Value) -> Value {
    json!({"joins": [], "updates": [{"client_id": client, "state": state}], "leaves": []})
}

/// Presence of a client reaches a client in the room as a diff, and a later one as the state. A client that leaves is
/// removed. `GET …/info` has the same list.
async fn presence_updates_reach_the_other_clients(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let how = Connect::to(&hub.url, &session, transport);
    let mut js = Driver::javascript();
    join(&mut js, "ann", &how).await;
    let here = join(&mut js, "bob", &how).await;
    let silent = json!([{"client_id": "ann", "state": null}, {"client_id": "bob", "state": null}]);
    assert_eq!(
        (&here["clients"], &here["total"], &here["session_id"]),
        (&silent, &json!(2), &json!(session))
    );

    let looks_at = json!({"node_id": "0de00000-0000-4000-8000-000000000001", "cursor": [1.5, 2]});
    update_presence(&mut js, "ann", looks_at.clone()).await;
    assert_eq!(diff(&mut js, "bob").await, updated("ann", &looks_at));
    let here = join(&mut js, "cat", &how).await;
    let said = json!([
        {"client_id": "ann", "state": looks_at}, {"client_id": "bob", "state": null},
        {"client_id": "cat", "state": null},
    ]);
    assert_eq!(here["clients"], said);
    let joined = json!({"joins": [{"client_id": "cat", "state": null}], "updates": [], "leaves": []});
    assert_eq!(diff(&mut js, "bob").await, joined);
    let info = hub.get(&format!("/sessions/{session}/info")).await.ok();
    assert_eq!((&info["clients"], &info["active_clients"]), (&said, &json!(3)));

    js.disconnect("ann").await;
    let left = json!({"joins": [], "updates": [], "leaves": ["ann"]});
    assert_eq!(diff(&mut js, "bob").await, left);
    assert_eq!(info["seq"], 0, "presence takes no seq");
    let info = hub.get(&format!("/sessions/{session}/info")).await.ok();
    assert_eq!(
        (info["clients"].as_array().map(Vec::len), &info["seq"]),
        (Some(2), &json!(0))
    );
}

/// A client whose connection breaks is removed. After a reconnect its presence is null until the client sends it anew.
#[tokio::test]
async fn presence_ends_with_the_connection() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let link = FaultyLink::to(&hub.url).await;
    let mut js = Driver::javascript();
    join(&mut js, "bob", &Connect::to(&hub.url, &session, Transport::Websocket)).await;
    join(&mut js, "ann", &Connect::to(&link.url, &session, Transport::Websocket)).await;
    update_presence(&mut js, "ann", json!("here")).await;
    assert_eq!(diff(&mut js, "bob").await, updated("ann", &json!("here")));
    link.cut();
    let left = json!({"joins": [], "updates": [], "leaves": ["ann"]});
    assert_eq!(diff(&mut js, "bob").await, left);
    link.release();
    let joined = json!({"joins": [{"client_id": "ann", "state": null}], "updates": [], "leaves": []});
    assert_eq!(diff(&mut js, "bob").await, joined);
}

async fn presence_of_python_clients_is_the_same(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let how = Connect::to(&hub.url, &session, transport);
    let (mut js, mut python) = (Driver::javascript(), Driver::python());
    join(&mut js, "ann", &how).await;
    let here = join(&mut python, "bob", &how).await;
    assert_eq!(here["total"], 2);
    update_presence(&mut python, "bob", json!({"looks": "around"})).await;
    assert_eq!(diff(&mut js, "ann").await, updated("bob", &json!({"looks": "around"})));
    diff(&mut python, "bob").await;
    update_presence(&mut js, "ann", json!([1, 2.5])).await;
    assert_eq!(diff(&mut python, "bob").await, updated("ann", &json!([1, 2.5])));
    update_presence(&mut js, "ann", Value::Null).await;
    assert_eq!(diff(&mut python, "bob").await, updated("ann", &Value::Null));
    python.disconnect("bob").await;
    assert_eq!(
        diff(&mut js, "ann").await["leaves"],
        json!([]),
        "the first update of ann"
    );
    assert_eq!(
        diff(&mut js, "ann").await["leaves"],
        json!([]),
        "the second update of ann"
    );
    assert_eq!(diff(&mut js, "ann").await["leaves"], json!(["bob"]));
}

/// P9: malformed and too large presence is refused with a code, changes no presence, and closes no connection.
async fn malformed_or_large_presence_is_refused(transport: Transport) {
    let hub = TestHub::with(|config| config.realtime.presence_state_bytes_max = 100).await;
    let session = hub.session().await;
    let how = Connect::to(&hub.url, &session, transport);
    let mut js = Driver::javascript();
    join(&mut js, "ann", &how).await;
    join(&mut js, "bob", &how).await;
    let other = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let mut deep = json!(1);
    for _ in 0..70 {
        deep = json!([deep]);
    }
    let cases = [
        (json!([]), "INVALID_REQUEST", "field", json!("state")),
        (json!([null]), "INVALID_REQUEST", "field", json!("state")),
        (json!([{}]), "INVALID_REQUEST", "field", json!("state")),
        (json!(["text"]), "INVALID_REQUEST", "field", json!("body")),
        (json!([[1]]), "INVALID_REQUEST", "field", json!("body")),
        (
            json!([{"state": 1, "session_id": 7}]),
            "INVALID_REQUEST",
            "field",
            json!("session_id"),
        ),
        (
            json!([{"state": 1, "session_id": other}]),
            "INVALID_SESSION",
            "field",
            Value::Null,
        ),
        (
            json!([{"state": "x".repeat(99)}]),
            "LIMIT_EXCEEDED",
            "limit",
            json!("presence_state_bytes_max"),
        ),
        (json!([{"state": "x".repeat(99)}]), "LIMIT_EXCEEDED", "max", json!(100)),
        (
            json!([{"state": deep}]),
            "LIMIT_EXCEEDED",
            "limit",
            json!("value_depth_max"),
        ),
    ];
    let asked: Vec<Value> = cases.iter().map(|(args, ..)| args.clone()).collect();
    let answers = js.ask_all("ann", "presence:update", &asked).await;
    for ((args, code, detail, value), answer) in cases.iter().zip(&answers) {
        let error = &answer["error"];
        assert_eq!(
            (&answer["success"], &error["code"], &error[*detail]),
            (&json!(false), &json!(code), value),
            "{args}"
        );
    }
    // A malformed update without an acknowledgement changes nothing either.
    js.emit("ann", "presence:update", json!("text")).await;
    update_presence(&mut js, "ann", json!("x".repeat(98))).await;
    assert_eq!(diff(&mut js, "bob").await, updated("ann", &json!("x".repeat(98))));
}

/// P7: a socket in two sessions has a presence in each, and names the session of an update.
async fn presence_of_a_socket_differs_between_its_sessions(transport: Transport) {
    let hub = TestHub::with(|config| config.realtime.late_join = true).await;
    let (one, other) = (hub.session().await, hub.session().await);
    let mut js = Driver::javascript();
    js.connect(
        "ann",
        &Connect::to(&hub.url, "", transport).bare(json!({"client_id": "ann"})),
    )
    .await;
    js.expect("ann", "connected").await;
    for session in [&one, &other] {
        js.ask("ann", "join_session", json!({"session_id": session})).await;
    }
    let nowhere = js.ask("ann", "presence:update", json!({"state": 1})).await;
    assert_eq!(nowhere["error"]["field"], "session_id");
    for (session, state) in [(&one, 1), (&other, 2)] {
        let update = json!({"state": state, "session_id": session});
        assert_eq!(js.ask("ann", "presence:update", update).await["success"], true);
    }
    for (session, state) in [(&one, 1), (&other, 2)] {
        let info = hub.get(&format!("/sessions/{session}/info")).await.ok();
        assert_eq!(info["clients"], json!([{"client_id": "ann", "state": state}]));
    }
}
