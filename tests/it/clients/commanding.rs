//! Commands over the socket: acknowledged as over REST, and applied in the order in which they were sent
//! (docs/PROTOCOL.md, section 3).

use serde_json::{Value, json};

use super::{
    driver::{Connect, Driver, Transport},
    on_both_transports,
};
use crate::support::TestHub;

on_both_transports!(
    acknowledgement_equals_rest_answer,
    pipelined_commands_are_applied_in_order,
    malformed_payloads_are_acknowledged_with_a_code,
    undo_and_redo_work_over_the_socket,
    in_flight_limit_refuses_each_command_beyond_it,
);

fn create(name: &str) -> Value {
    json!([{"command_type": "CreateNode", "data": {"blueprint_type_id": "task", "name": name}}])
}

/// P4: the acknowledgement of a command is the body of REST's answer. The sender gets the events of its own command
/// too, with the id of the command and its own client id.
async fn acknowledgement_equals_rest_answer(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, transport).named("ann"))
        .await;
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let command = json!({
        "command_type": "CreateNode", "command_id": id,
        "data": {"blueprint_type_id": "task", "name": "A", "properties": {"effort": 3}},
    });
    js.ask_all("ann", "command:execute", &[json!([command.clone()])]).await;
    let answer = js.ask("ann", "command:execute", command.clone()).await;
    let mut over_rest = command;
    over_rest["session_id"] = json!(session);
    let rest = hub.post("/commands/execute", &over_rest).await.ok();
    assert_eq!(answer, rest, "both are the first outcome");
    assert_eq!((&answer["success"], &answer["duplicate"]), (&json!(true), &json!(true)));
    let history = hub.get(&format!("/sessions/{session}/history")).await.ok();
    assert_eq!(history["commands"][0]["origin"]["client_id"], "ann");
    // The command may name the session of its socket or leave it out.
    let named = json!({"session_id": session, "command_type": "DeleteNode", "data": {"node_id": answer["node_id"]}});
    assert_eq!(js.ask("ann", "command:execute", named).await["success"], true);
    let observed = js.until_seq("ann", 4).await;
    let created = observed
        .iter()
        .filter_map(super::driver::Observation::event)
        .find(|(event, _)| *event == "graph:node-deleted");
    assert_eq!(created.expect("the event was received").1["origin"]["client_id"], "ann");
}

/// P1: commands of one client are applied in the order in which they were sent, with 1,000 of them in flight.
async fn pipelined_commands_are_applied_in_order(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    for mut driver in [Driver::javascript(), Driver::python()] {
        driver.settle("ann", &Connect::to(&hub.url, &session, transport)).await;
        let before = hub.graph(&session).await["roots"].as_array().map_or(0, Vec::len);
        let asked: Vec<Value> = (0..1_000).map(|number| create(&format!("N{number}"))).collect();
        let answers = driver.ask_all("ann", "command:execute", &asked).await;
        let seqs: Vec<u64> = answers.iter().filter_map(|answer| answer["seq"].as_u64()).collect();
        assert_eq!(
            seqs.len(),
            1_000,
            "each is answered: {:?}",
            answers.iter().find(|answer| answer["success"] != true)
        );
        assert!(seqs.is_sorted());
        let graph = hub.graph(&session).await;
        let names: Vec<&str> = graph["roots"].as_array().expect("a list")[before..]
            .iter()
            .filter_map(|node| node["name"].as_str())
            .collect();
        let sent: Vec<String> = (0..1_000).map(|number| format!("N{number}")).collect();
        assert_eq!(names, sent);
    }
}

/// Malformed payloads are acknowledged with a code and the field at fault, and the socket stays connected.
async fn malformed_payloads_are_acknowledged_with_a_code(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let other = hub.session().await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, transport)).await;
    for (event, args, code, field) in [
        ("command:execute", json!([]), "INVALID_REQUEST", "command_type"),
        ("command:execute", json!([null]), "INVALID_REQUEST", "command_type"),
        ("command:execute", json!(["x"]), "INVALID_REQUEST", "body"),
        ("command:execute", json!([7]), "INVALID_REQUEST", "body"),
        ("command:execute", json!([[1, 2]]), "INVALID_REQUEST", "body"),
        (
            "command:execute",
            json!([{"command_type": 7}]),
            "INVALID_REQUEST",
            "command_type",
        ),
        (
            "command:execute",
            json!([{"command_type": "Explode"}]),
            "INVALID_COMMAND",
            "",
        ),
        (
            "command:execute",
            json!([{"command_type": "CreateNode", "data": []}]),
            "INVALID_REQUEST",
            "data",
        ),
        (
            "command:execute",
            json!([{"command_type": "CreateNode", "data": {}}]),
            "INVALID_REQUEST",
            "data.blueprint_type_id",
        ),
        (
            "command:execute",
            json!([{"command_type": "DeleteNode", "data": {"node_id": "x"}}]),
            "INVALID_REQUEST",
            "data.node_id",
        ),
        (
            "command:execute",
            json!([{"command_type": "DeleteNode", "data": {"node_id": other}}]),
            "NODE_NOT_FOUND",
            "",
        ),
        (
            "command:execute",
            json!([{"session_id": "x"}]),
            "INVALID_REQUEST",
            "session_id",
        ),
        (
            "command:execute",
            json!([{"session_id": other, "command_type": "DeleteNode", "data": {"node_id": other}}]),
            "INVALID_SESSION",
            "",
        ),
        ("command:undo", json!([]), "NOTHING_TO_UNDO", ""),
        ("command:undo", json!(["x"]), "INVALID_REQUEST", "body"),
        ("command:undo", json!([{"scope": "all"}]), "INVALID_REQUEST", "scope"),
        (
            "command:undo",
            json!([{"command_id": "x"}]),
            "INVALID_REQUEST",
            "command_id",
        ),
        ("command:redo", json!([{"session_id": other}]), "INVALID_SESSION", ""),
        ("command:redo", json!([{}]), "NOTHING_TO_REDO", ""),
        ("join_session", json!([{"session_id": other}]), "INVALID_REQUEST", ""),
        ("leave_session", json!([{"session_id": session}]), "INVALID_REQUEST", ""),
    ] {
        let answer = js.ask_all("ann", event, std::slice::from_ref(&args)).await.remove(0);
        assert_eq!(answer["success"], false, "{event} {args}: {answer}");
        assert_eq!(answer["error"]["code"], code, "{event} {args}: {answer}");
        assert_eq!(
            answer["error"]["field"].as_str().unwrap_or_default(),
            field,
            "{event} {args}: {answer}"
        );
    }
    // A malformed event without an acknowledgement changes nothing either.
    js.emit("ann", "command:execute", json!("x")).await;
    assert_eq!(
        js.ask_all("ann", "command:execute", &[create("A")]).await[0]["success"],
        true
    );
}

/// Undo and redo go over the socket, of the whole session and with `scope: "mine"`, which means the commands of this
/// client id.
async fn undo_and_redo_work_over_the_socket(transport: Transport) {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let mut js = Driver::javascript();
    let mut python = Driver::python();
    js.settle("ann", &Connect::to(&hub.url, &session, transport).named("ann"))
        .await;
    python
        .settle("bob", &Connect::to(&hub.url, &session, transport).named("bob"))
        .await;
    let mine = js.ask_all("ann", "command:execute", &[create("A")]).await.remove(0);
    python.ask_all("bob", "command:execute", &[create("B")]).await;
    let undone = js.ask("ann", "command:undo", json!({"scope": "mine"})).await;
    assert_eq!(undone["success"], true, "{undone}");
    let observed = js.until("ann", "command:undo").await;
    let (_, data) = observed
        .last()
        .and_then(super::driver::Observation::event)
        .expect("an event");
    assert_eq!(data["undone_command_id"], mine["command_id"]);
    assert_eq!(
        js.ask("ann", "command:undo", json!({"scope": "mine"})).await["error"]["code"],
        "NOTHING_TO_UNDO"
    );
    assert_eq!(
        js.ask("ann", "command:redo", json!({"scope": "mine"})).await["success"],
        true
    );
    let whole = python.ask_all("bob", "command:undo", &[json!([])]).await.remove(0);
    assert_eq!(whole["success"], true, "the last of the session: {whole}");
}

/// P9: commands beyond `in_flight_per_session_max` are refused with `OVERLOADED`, and every admitted command is
/// acknowledged.
async fn in_flight_limit_refuses_each_command_beyond_it(transport: Transport) {
    let hub = TestHub::with(|config| config.limits.in_flight_per_session_max = 8).await;
    let session = hub.session().await;
    let mut js = Driver::javascript();
    js.settle("ann", &Connect::to(&hub.url, &session, transport)).await;
    let asked: Vec<Value> = (0..200).map(|number| create(&format!("N{number}"))).collect();
    let answers = js.ask_all("ann", "command:execute", &asked).await;
    let applied = answers.iter().filter(|answer| answer["success"] == true).count();
    let refused = answers
        .iter()
        .filter(|answer| answer["error"]["code"] == "OVERLOADED")
        .count();
    assert_eq!(applied + refused, 200, "{answers:?}");
    assert!(applied >= 8, "{applied}");
    let graph = hub.graph(&session).await;
    assert_eq!(graph["roots"].as_array().map(Vec::len), Some(applied));
}
