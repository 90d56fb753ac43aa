//! Operators' pages and actions. A failing session does not disturb other sessions (P7, P8).

use serde_json::{Value, json};

use crate::support::{Reply, TestHub, events::EventStream};

async fn hub_with_faults() -> TestHub {
    TestHub::with(|config| {
        config.ops.fault_injection = true;
        config.sessions.restarts_max = 2;
        config.sessions.restart_backoff_ms = 1;
    })
    .await
}

impl TestHub {
    async fn inject(&self, session_id: &str, fault: Value) {
        self.operate(&format!("/sessions/{session_id}/fault"), &fault)
            .await
            .ok();
    }

    async fn inspect(&self, session_id: &str) -> Value {
        self.ops(&format!("/sessions/{session_id}")).await.ok()
    }

    async fn supervision(&self) -> EventStream {
        EventStream::open(self.http().get(format!("{}/ops/events", self.ops_url))).await
    }

    async fn rename(&self, session_id: &str, node: &str, name: &str, id: &str) -> crate::support::Reply {
        let command = json!({
            "session_id": session_id, "command_type": "UpdateProperty", "command_id": id,
            "data": {"node_id": node, "property_id": "name", "new_value": name},
        });
        self.post("/commands/execute", &command).await
    }
}

#[tokio::test]
async fn actor_tree_shows_sessions_asleep_and_running() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    let asleep = hub.ops("/actors").await.ok();
    assert_eq!(asleep["sessions"][0]["state"], "asleep", "{asleep}");
    let root = hub.create_node(&session_id, None, "a").await;
    hub.create_node(&session_id, Some(&root), "b").await;
    let tree = hub.ops("/actors?limit=10").await.ok();
    assert_eq!(
        (&tree["root"]["state"], &tree["root"]["log"]["state"]),
        (&json!("running"), &json!("writing"))
    );
    assert_eq!(
        (&tree["total"], &tree["root"]["sessions_loaded"]),
        (&json!(1), &json!(1))
    );
    let session = &tree["sessions"][0];
    assert_eq!(session, &hub.inspect(&session_id).await);
    for (field, value) in [
        ("state", json!("running")),
        ("seq", json!(4)),
        ("durable_seq", json!(4)),
        ("nodes", json!(2)),
        ("sockets", json!(0)),
        ("restarts", json!(0)),
        ("last_failure", Value::Null),
        ("append_in_flight", json!(false)),
        ("undo_depth", json!(2)),
    ] {
        assert_eq!(session[field], value, "{field}");
    }
    assert!(
        session["memory_bytes"].as_u64() > Some(800) && session["session_actor"].is_u64(),
        "{session}"
    );
    let unknown = hub.ops("/sessions/00000000-0000-4000-8000-000000000000").await;
    assert_eq!(unknown.refused(), (404, "INVALID_SESSION"));
}

/// P8, P4: a fault during a command answers `OUTCOME_UNKNOWN` at once. The session continues at the position of the
/// log, and the repeated command is answered correctly.
#[tokio::test]
async fn faults_answer_outcome_unknown_and_lose_nothing() {
    for (kind, kept) in [
        ("panic_decide", false),
        ("panic_apply", false),
        ("append_error", false),
        ("append_conflict", false),
        ("append_unknown", true),
    ] {
        let hub = hub_with_faults().await;
        let (session_id, other) = (hub.session().await, hub.session().await);
        let node = hub.create_node(&session_id, None, "before").await;
        let epoch = hub.get(&format!("/sessions/{session_id}/info")).await.ok()["epoch"].take();
        let mut events = hub.supervision().await;
        hub.inject(&session_id, json!({"kind": kind})).await;
        let id = "22222222-2222-4222-8222-222222222222";
        let lost = hub.rename(&session_id, &node, "after", id).await;
        assert_eq!(lost.refused(), (503, "OUTCOME_UNKNOWN"), "{kind}");
        let again = hub.rename(&session_id, &node, "after", id).await.ok();
        assert_eq!(again["duplicate"] == true, kept, "{kind}: {again}");
        assert_eq!(
            (&again["seq"], &again["epoch"]),
            (&json!(4), &epoch),
            "{kind}: seq and epoch continue"
        );
        assert_eq!(hub.graph(&session_id).await["roots"][0]["name"], "after", "{kind}");

        let failed = events.until("failed").await;
        assert_eq!(failed.data["session_id"], session_id, "{kind}");
        let restarted = events.until("restarted").await;
        assert!(restarted.data["recovery_ms"].is_f64(), "{kind}: {restarted:?}");
        let inspected = hub.inspect(&session_id).await;
        assert_eq!(
            (&inspected["state"], &inspected["restarts"]),
            (&json!("running"), &json!(1)),
            "{kind}"
        );
        assert!(inspected["last_failure"]["reason"].is_string(), "{kind}: {inspected}");
        assert_eq!(hub.inspect(&other).await["restarts"], 0, "{kind}");
        hub.create_node(&other, None, "undisturbed").await;
    }
}

/// An append on a slow disk is visible to operators and succeeds.
#[tokio::test]
async fn slow_append_is_visible_to_operators_and_succeeds() {
    let hub = hub_with_faults().await;
    let session_id = hub.session().await;
    hub.create_node(&session_id, None, "a").await;
    hub.inject(&session_id, json!({"kind": "append_delay_ms", "ms": 300}))
        .await;
    let slow = hub.create_node(&session_id, None, "slow");
    let seen = async {
        loop {
            let inspected = hub.inspect(&session_id).await;
            if inspected["append_in_flight"] == true {
                return inspected;
            }
        }
    };
    let (_, seen) = tokio::join!(slow, seen);
    assert_eq!((&seen["seq"], &seen["durable_seq"]), (&json!(4), &json!(2)));
    assert!(
        seen["outbox"].as_u64() > Some(0) && seen["in_flight"].as_u64() > Some(0),
        "{seen}"
    );
}

/// P8, P7: a session that fails too often is quarantined with an event, remains readable and exportable for operators,
/// and serves again after its release. Other sessions are not disturbed.
#[tokio::test]
async fn failing_session_is_quarantined_exported_and_released() {
    let hub = hub_with_faults().await;
    let (session_id, other) = (hub.session().await, hub.session().await);
    let node = hub.create_node(&session_id, None, "a").await;
    let mut events = hub.supervision().await;
    for _ in 0..3 {
        hub.inject(&session_id, json!({"kind": "panic_decide"})).await;
        let lost = hub
            .rename(&session_id, &node, "b", "33333333-3333-4333-8333-333333333333")
            .await;
        assert_eq!(lost.refused(), (503, "OUTCOME_UNKNOWN"));
    }
    let quarantined = events.until("quarantined").await;
    assert!(
        quarantined.data["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("PanicDecide"))
    );
    for path in ["info", "graph", "dirty"] {
        let refused = hub.get(&format!("/sessions/{session_id}/{path}")).await;
        assert_eq!(refused.refused(), (423, "SESSION_QUARANTINED"), "{path}");
    }
    assert_eq!(hub.ops("/actors").await.ok()["root"]["sessions_quarantined"], 1);
    assert_eq!(hub.inspect(&session_id).await["state"], "quarantined");
    hub.create_node(&other, None, "undisturbed").await;

    let log = hub
        .http()
        .get(format!("{}/ops/sessions/{session_id}/log", hub.ops_url))
        .send()
        .await;
    let lines = log.expect("answered").text().await.expect("complete");
    let records: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["command_type"], "CreateNode");

    hub.operate(&format!("/sessions/{session_id}/release"), &json!({}))
        .await
        .ok();
    events.until("released").await;
    assert_eq!(hub.graph(&session_id).await["roots"][0]["name"], "a");
    // The release resets the restart budget.
    hub.inject(&session_id, json!({"kind": "panic_decide"})).await;
    let lost = hub
        .rename(&session_id, &node, "b", "33333333-3333-4333-8333-333333333333")
        .await;
    assert_eq!(lost.refused(), (503, "OUTCOME_UNKNOWN"));
    hub.rename(&session_id, &node, "b", "33333333-3333-4333-8333-333333333333")
        .await
        .ok();
}

#[tokio::test]
async fn session_is_restarted_passivated_and_quarantined_by_operators() {
    let hub = hub_with_faults().await;
    let session_id = hub.session().await;
    hub.create_node(&session_id, None, "a").await;
    let mut events = hub.supervision().await;
    hub.operate(&format!("/sessions/{session_id}/restart"), &json!({}))
        .await
        .ok();
    events.until("restarted").await;
    assert_eq!(hub.graph(&session_id).await["roots"][0]["name"], "a");

    let slept = hub
        .operate(&format!("/sessions/{session_id}/passivate"), &json!({}))
        .await
        .ok();
    assert_eq!(slept["state"], "asleep");
    events.until("passivated").await;
    assert_eq!(hub.inspect(&session_id).await["state"], "asleep");
    let again = hub
        .operate(&format!("/sessions/{session_id}/passivate"), &json!({}))
        .await;
    assert_eq!(again.ok()["state"], "asleep", "a second passivate succeeds");
    assert_eq!(
        hub.graph(&session_id).await["roots"][0]["name"],
        "a",
        "the next read loads the session"
    );

    let request = hub.http().get(hub.api(&format!("/sessions/{session_id}/events")));
    let _stream = EventStream::open(request).await;
    let busy = hub
        .operate(&format!("/sessions/{session_id}/passivate"), &json!({}))
        .await;
    assert_eq!(
        busy.refused(),
        (409, "SESSION_BUSY"),
        "an event stream follows the session"
    );

    for _ in 0..2 {
        hub.operate(&format!("/sessions/{session_id}/quarantine"), &json!({}))
            .await
            .ok();
        events.until("quarantined").await;
        let refused = hub.get(&format!("/sessions/{session_id}/info")).await;
        assert_eq!(refused.refused(), (423, "SESSION_QUARANTINED"));
        let restart = hub
            .operate(&format!("/sessions/{session_id}/restart"), &json!({}))
            .await;
        assert_eq!(
            restart.refused(),
            (423, "SESSION_QUARANTINED"),
            "a quarantined session needs a release"
        );
        // The second quarantine meets a passivated session.
        hub.operate(&format!("/sessions/{session_id}/release"), &json!({}))
            .await
            .ok();
        events.until("released").await;
    }
}

/// Session restarts and recovery times are in the metrics.
#[tokio::test]
async fn recovery_is_counted_in_the_metrics() {
    let hub = hub_with_faults().await;
    let session_id = hub.session().await;
    hub.create_node(&session_id, None, "a").await;
    let mut events = hub.supervision().await;
    // An operator's restart counts as a recovery and not as a failure, so that no alert fires.
    hub.operate(&format!("/sessions/{session_id}/restart"), &json!({}))
        .await
        .ok();
    events.until("restarted").await;
    let inspected = hub.inspect(&session_id).await;
    assert_eq!(
        (&inspected["restarts"], &inspected["last_failure"]),
        (&json!(0), &json!(null))
    );
    hub.operate(
        &format!("/sessions/{session_id}/fault"),
        &json!({"kind": "append_error"}),
    )
    .await
    .ok();
    hub.execute(&session_id, "CreateNode", json!({"blueprint_type_id": "task"}))
        .await;
    events.until("restarted").await;
    loop {
        let text = hub.http().get(format!("{}/metrics", hub.ops_url)).send().await;
        let text = text.expect("answered").text().await.expect("complete");
        assert!(text.contains("hub_session_restarts_total 1"), "{text}");
        // A separate listener records the recovery shortly after the event.
        if text.contains("hub_session_recovery_seconds_count 2") {
            return;
        }
    }
}

/// The clients' listener has no operators' path, and fault injection is off by default.
#[tokio::test]
async fn ops_paths_are_private_and_fault_injection_is_off() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    for path in ["/ops/actors", "/ops/events", "/api/v1/ops/actors"] {
        let request = hub.http().get(format!("{}{path}", hub.url));
        assert_eq!(hub.send(request).await.refused(), (404, "NOT_FOUND"), "{path}");
    }
    let fault = hub
        .operate(
            &format!("/sessions/{session_id}/fault"),
            &json!({"kind": "panic_decide"}),
        )
        .await;
    assert_eq!(fault.refused(), (404, "NOT_FOUND"));
    hub.create_node(&session_id, None, "well").await;

    let hub = hub_with_faults().await;
    let session_id = hub.session().await;
    for (body, field) in [
        (json!({}), "kind"),
        (json!({"kind": "explode"}), "kind"),
        (json!({"kind": "append_delay_ms"}), "ms"),
        (json!({"kind": "append_delay_ms", "ms": 99_999_999}), "ms"),
    ] {
        let refused = hub.operate(&format!("/sessions/{session_id}/fault"), &body).await;
        assert_eq!(refused.refused(), (400, "INVALID_REQUEST"), "{body}");
        assert_eq!(refused.body["error"]["field"], field, "{body}");
    }
}

/// Operators' pages refuse requests of foreign origins: a web page in an operator's browser reaches listeners of the
/// same machine, and a request without a body needs no CORS preflight.
#[tokio::test]
async fn ops_paths_refuse_foreign_origins() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    for path in ["/drain".to_owned(), format!("/sessions/{session_id}/quarantine")] {
        let request = hub.http().post(format!("{}/ops{path}", hub.ops_url));
        let refused = hub.send(request.header("origin", "https://evil.example")).await;
        assert_eq!(refused.refused(), (403, "ORIGIN_NOT_ALLOWED"), "{path}");
    }
    hub.create_node(&session_id, None, "well").await;
    let own = hub.http().get(format!("{}/ops/actors", hub.ops_url));
    let tree = hub.send(own.header("origin", &hub.ops_url)).await.ok();
    assert_eq!(tree["root"]["state"], "running");
    assert_eq!(tree["sessions"][0]["state"], "running");
}

/// An operator's drain stops the hub as a signal does.
#[tokio::test]
async fn drain_by_an_operator_stops_the_hub() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    hub.create_node(&session_id, None, "a").await;
    let mut events = hub.supervision().await;
    let answer = hub.operate("/drain", &json!({})).await;
    assert_eq!((answer.status, &answer.body["status"]), (202, &json!("draining")));
    assert_eq!(events.next().await, None, "a drain ends the streams");
    let (dir, stopped) = hub.stop().await;
    stopped.expect("in time");
    let hub = TestHub::on(dir, |_| {}).await;
    assert_eq!(hub.graph(&session_id).await["roots"][0]["name"], "a");
}

/// P9: the number of event streams is limited, and a closed stream frees its place.
#[tokio::test]
async fn ops_event_streams_are_limited() {
    let hub = TestHub::with(|config| config.ops.listeners_max = 1).await;
    let first = hub.supervision().await;
    let second = hub.http().get(format!("{}/ops/events", hub.ops_url));
    let refused = hub.send(second).await;
    assert_eq!(refused.refused(), (503, "OVERLOADED"));
    assert_eq!(refused.body["error"]["limit"], "listeners_max");
    drop(first);
    // The hub notices the closed connection at the next write, which an event causes.
    let session_id = hub.session().await;
    loop {
        hub.create_node(&session_id, None, "a").await;
        hub.operate(&format!("/sessions/{session_id}/restart"), &json!({}))
            .await;
        let again = hub.http().get(format!("{}/ops/events", hub.ops_url)).send().await;
        if again.expect("answered").status().as_u16() == 200 {
            return;
        }
    }
}

/// P9: a hub whose log refuses appends reports the reason as not ready, and is ready again when the log can be written.
#[tokio::test]
async fn readyz_follows_the_state_of_the_log() {
    let hub = TestHub::start().await;
    let session_id = hub.session().await;
    let ready = async || {
        let request = hub.http().get(format!("{}/readyz", hub.ops_url));
        let Reply { status, body } = hub.send(request).await;
        (status, body["status"].clone())
    };
    assert_eq!(ready().await, (200, json!("ready")));
    // Another connection holds the write lock for longer than the writer waits.
    let other = rusqlite::Connection::open(hub.dir.path().join("hub.sqlite")).expect("the database opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
    let refused = hub
        .execute(&session_id, "CreateNode", json!({"blueprint_type_id": "task"}))
        .await;
    assert_eq!(refused.refused(), (503, "OUTCOME_UNKNOWN"));
    assert_eq!(ready().await, (503, json!("log_refuses")));
    other.execute_batch("ROLLBACK").expect("the lock is held");
    while ready().await != (200, json!("ready")) {}
    hub.create_node(&session_id, None, "again").await;
}
