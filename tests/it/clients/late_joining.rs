//! Sockets that join and leave sessions while connected, and may be in several (`realtime.late_join`).

use serde_json::{Value, json};

use super::{
    connections,
    driver::{Connect, Driver, Observation, Transport},
    on_both_transports,
};
use crate::support::TestHub;

on_both_transports!(
    socket_may_be_in_several_sessions,
    deleted_session_leaves_its_socket_the_others,
    disconnected_socket_leaves_all_sessions,
    sessions_per_socket_are_limited,
    quarantined_session_is_no_invalid_session,
    pipelined_joins_and_leaves_keep_their_order,
);

async fn late() -> TestHub {
    TestHub::with(|config| config.realtime.late_join = true).await
}

/// Connects without a session.
async fn connect(hub: &TestHub, driver: &mut Driver, name: &str, transport: Transport) {
    let how = Connect::to(&hub.url, "", transport).bare(json!({"client_id": name}));
    driver.connect(name, &how).await;
    driver.expect(name, "connected").await;
}

fn of(session: &str) -> Value {
    json!({"session_id": session})
}

fn create(session: &str) -> Value {
    json!({"session_id": session, "command_type": "CreateNode", "data": {"blueprint_type_id": "task"}})
}

/// P7: a socket in several sessions gets the sync and the events of each of them, and of no other. A command names its
/// session.
async fn socket_may_be_in_several_sessions(transport: Transport) {
    let hub = late().await;
    let (first, second) = (hub.session().await, hub.session().await);
    let mut js = Driver::javascript();
    connect(&hub, &mut js, "ann", transport).await;
    let nowhere = js
        .ask(
            "ann",
            "command:execute",
            json!({"command_type": "DeleteNode", "data": {"node_id": first}}),
        )
        .await;
    assert_eq!(nowhere["error"]["field"], "session_id");
    let joined = js.ask("ann", "join_session", of(&first)).await;
    assert_eq!(
        joined,
        json!({"success": true, "session_id": first, "client_id": "ann"})
    );
    assert_eq!(
        js.ask("ann", "join_session", of(&first)).await,
        joined,
        "coming twice is coming once"
    );
    assert_eq!(js.ask("ann", "join_session", of(&second)).await["success"], true);
    connections(&hub, 2).await;
    let ambiguous = js.ask("ann", "command:undo", json!({})).await;
    assert_eq!(
        (&ambiguous["error"]["code"], &ambiguous["error"]["field"]),
        (&json!("INVALID_REQUEST"), &json!("session_id"))
    );
    for session in [&first, &second] {
        assert_eq!(js.ask("ann", "command:execute", create(session)).await["seq"], 2);
    }
    assert_eq!(js.ask("ann", "leave_session", of(&first)).await["success"], true);
    assert_eq!(
        js.ask("ann", "leave_session", of(&first)).await["success"],
        true,
        "nor is going twice an error"
    );
    connections(&hub, 1).await;
    hub.create_node(&first, None, "unheard").await;
    // A command of a socket in one session may leave the session out.
    let last = json!({"command_type": "CreateNode", "data": {"blueprint_type_id": "task"}});
    js.emit("ann", "command:execute", last).await;
    let observed = js
        .until_that("ann", |observed| {
            observed.event().is_some_and(|(_, data)| data["seq"] == 4)
        })
        .await;
    let unheard = observed
        .iter()
        .filter_map(Observation::event)
        .filter(|(_, data)| data["name"] == "unheard");
    assert_eq!(unheard.count(), 0, "no event of a session that the socket has left");
    let back = json!({"session_id": first, "epoch": "00000000", "seq": 1});
    assert_eq!(js.ask("ann", "join_session", back).await["success"], true);
    let observed = js.until("ann", "session:sync").await;
    let (_, sync) = observed.last().and_then(Observation::event).expect("an event");
    assert_eq!(sync["reason"], "epoch_changed", "the position is of another session");
    let gone = js
        .ask("ann", "join_session", of("67e55044-10b1-426f-9247-bb680e5fe0c8"))
        .await;
    assert_eq!(gone["error"]["code"], "INVALID_SESSION");
    for wrong in [
        json!({}),
        json!({"session_id": 7}),
        json!({"session_id": "x"}),
        json!("x"),
    ] {
        let answer = js.ask("ann", "join_session", wrong.clone()).await;
        assert_eq!(answer["error"]["code"], "INVALID_REQUEST", "{wrong}");
    }
}

/// A socket gets `session:disconnected` for a deleted session, and stays connected in its other one.
async fn deleted_session_leaves_its_socket_the_others(transport: Transport) {
    let hub = late().await;
    let (first, second) = (hub.session().await, hub.session().await);
    let mut js = Driver::javascript();
    connect(&hub, &mut js, "ann", transport).await;
    for session in [&first, &second] {
        js.ask("ann", "join_session", of(session)).await;
    }
    hub.delete(&format!("/sessions/{first}")).await;
    let observed = js.until("ann", "session:disconnected").await;
    let (_, data) = observed.last().and_then(Observation::event).expect("an event");
    assert_eq!(data["reason"], "session_deleted");
    let refused = js.ask("ann", "command:execute", create(&first)).await;
    assert_eq!(refused["error"]["code"], "INVALID_SESSION");
    assert_eq!(js.ask("ann", "command:execute", create(&second)).await["success"], true);
}

/// A socket that disconnects leaves all of its sessions, and is announced to the subscribers of each.
async fn disconnected_socket_leaves_all_sessions(transport: Transport) {
    let hub = late().await;
    let (first, second) = (hub.session().await, hub.session().await);
    let (mut js, mut python) = (Driver::javascript(), Driver::python());
    for (name, session) in [("one", &first), ("two", &second)] {
        python.settle(name, &Connect::to(&hub.url, session, transport)).await;
    }
    connect(&hub, &mut js, "ann", transport).await;
    for session in [&first, &second] {
        js.ask("ann", "join_session", of(session)).await;
    }
    connections(&hub, 4).await;
    js.disconnect("ann").await;
    for name in ["one", "two"] {
        let observed = python.until(name, "session:disconnected").await;
        assert_eq!(
            observed.last().and_then(Observation::event).expect("an event").1["client_id"],
            "ann"
        );
    }
    connections(&hub, 2).await;
}

/// P9: a socket that joins more than `sessions_per_socket_max` sessions is refused.
async fn sessions_per_socket_are_limited(transport: Transport) {
    let hub = TestHub::with(|config| {
        config.realtime.late_join = true;
        config.realtime.sessions_per_socket_max = 2;
        config.realtime.connections_max = 3;
    });
    let hub = hub.await;
    let mut js = Driver::javascript();
    connect(&hub, &mut js, "ann", transport).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        let session = hub.session().await;
        answers.push(js.ask("ann", "join_session", of(&session)).await);
    }
    assert_eq!(answers[1]["success"], true);
    assert_eq!(
        (&answers[2]["error"]["code"], &answers[2]["error"]["limit"]),
        (&json!("LIMIT_EXCEEDED"), &json!("sessions_per_socket_max"))
    );
}

/// P8: a quarantined session may come back, so that requests for it are refused with `SESSION_QUARANTINED` and never
/// with `INVALID_SESSION`.
async fn quarantined_session_is_no_invalid_session(transport: Transport) {
    let hub = late().await;
    let (well, ill) = (hub.session().await, hub.session().await);
    let mut js = Driver::javascript();
    connect(&hub, &mut js, "ann", transport).await;
    for session in [&well, &ill] {
        assert_eq!(js.ask("ann", "join_session", of(session)).await["success"], true);
    }
    hub.operate(&format!("/sessions/{ill}/quarantine"), &json!({}))
        .await
        .ok();
    connections(&hub, 1).await;
    for again in 0..2 {
        for (event, payload) in [
            ("command:execute", create(&ill)),
            ("command:undo", of(&ill)),
            ("presence:update", json!({"session_id": ill, "state": 1})),
            ("session:resync", of(&ill)),
        ] {
            let answer = js.ask("ann", event, payload).await;
            assert_eq!(
                answer["error"]["code"], "SESSION_QUARANTINED",
                "{again} {event}: {answer}"
            );
        }
        let answer = js.ask("ann", "join_session", of(&ill)).await;
        assert_eq!(answer["error"]["code"], "SESSION_QUARANTINED", "{answer}");
    }
    assert_eq!(js.ask("ann", "command:execute", create(&well)).await["success"], true);
    hub.operate(&format!("/sessions/{ill}/release"), &json!({})).await.ok();
    assert_eq!(js.ask("ann", "join_session", of(&ill)).await["success"], true);
    assert_eq!(js.ask("ann", "command:execute", create(&ill)).await["success"], true);
    assert_eq!(js.ask("ann", "leave_session", of(&ill)).await["success"], true);
    let answer = js.ask("ann", "command:execute", create(&ill)).await;
    assert_eq!(answer["error"]["code"], "INVALID_SESSION", "{answer}");
    let nowhere = "0de00000-0000-4000-8000-000000000000";
    let answer = js.ask("ann", "join_session", of(nowhere)).await;
    assert_eq!(answer["error"]["code"], "INVALID_SESSION", "{answer}");
}

/// P1: joins and leaves that a client sends without waiting happen in the order sent. A component that is unmounted and
/// mounted again leaves and joins at once, and must then be in the room once.
async fn pipelined_joins_and_leaves_keep_their_order(transport: Transport) {
    let hub = late().await;
    let session = hub.session().await;
    let mut js = Driver::javascript();
    connect(&hub, &mut js, "ann", transport).await;
    for _ in 0..20 {
        js.emit("ann", "join_session", of(&session)).await;
        js.emit("ann", "leave_session", of(&session)).await;
    }
    assert_eq!(js.ask("ann", "join_session", of(&session)).await["success"], true);
    connections(&hub, 1).await;
    hub.create_node(&session, None, "once").await;
    let observed = js.until("ann", "command:executed").await;
    let named = |observed: &&Observation| observed.event().is_some_and(|(_, data)| data["name"] == "once");
    assert_eq!(observed.iter().filter(named).count(), 1);
    let left: Vec<&Value> = observed
        .iter()
        .filter_map(Observation::event)
        .filter(|(event, _)| *event == "session:disconnected")
        .map(|(_, data)| &data["reason"])
        .collect();
    assert!(left.iter().all(|reason| **reason == "left_session"), "{left:?}");
    for _ in 0..20 {
        js.emit("ann", "leave_session", of(&session)).await;
        js.emit("ann", "join_session", of(&session)).await;
    }
    assert_eq!(js.ask("ann", "leave_session", of(&session)).await["success"], true);
    connections(&hub, 0).await;
}
