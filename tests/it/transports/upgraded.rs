//! Upgrades of polling sessions: complete, failed in every way, many at once.

use futures_util::{SinkExt, future::join_all};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use super::{metric, polled::Polled, raw::RawSocket, soon, until_metric};
use crate::{
    clients::driver::{Connect, Driver, Transport},
    support::TestHub,
};

/// Metric of failed upgrades.
const GIVEN_UP: &str = "hub_upgrades_given_up_total";

/// Largest number of polls during a failed upgrade and until the next event. A client whose polls return at once makes
/// far more.
const POLLS_MAX: usize = 30;

/// Failures of an upgrade.
#[derive(Debug, Clone, Copy)]
enum Failure {
    ClosesAtOnce,
    BreaksAtOnce,
    Silent,
    Nonsense,
    Binary,
    UpgradesUnprobed,
    ClosesAfterProbe,
    BreaksAfterProbe,
    SilentAfterProbe,
    NonsenseAfterProbe,
    ProbesTwice,
    MalformedFrame,
    EndlessPings,
}

const FAILURES: [Failure; 13] = [
    Failure::ClosesAtOnce,
    Failure::BreaksAtOnce,
    Failure::Silent,
    Failure::Nonsense,
    Failure::Binary,
    Failure::UpgradesUnprobed,
    Failure::ClosesAfterProbe,
    Failure::BreaksAfterProbe,
    Failure::SilentAfterProbe,
    Failure::NonsenseAfterProbe,
    Failure::ProbesTwice,
    Failure::MalformedFrame,
    Failure::EndlessPings,
];

impl Failure {
    /// Makes an upgrade fail. Returns the websocket where the hub must abandon the upgrade.
    async fn run(self, mut socket: RawSocket) -> Option<RawSocket> {
        let probes = matches!(
            self,
            Self::ClosesAfterProbe
                | Self::BreaksAfterProbe
                | Self::SilentAfterProbe
                | Self::NonsenseAfterProbe
                | Self::ProbesTwice
        );
        if probes {
            socket.send("2probe").await;
            assert_eq!(socket.packet().await, "3probe");
        }
        match self {
            Self::ClosesAtOnce | Self::ClosesAfterProbe => socket.0.close(None).await.expect("the hub reads"),
            Self::BreaksAtOnce | Self::BreaksAfterProbe => return None,
            Self::Silent | Self::SilentAfterProbe => {}
            Self::Nonsense | Self::NonsenseAfterProbe => socket.send("hello").await,
            Self::Binary => socket
                .0
                .send(Message::binary(b"2probe".to_vec()))
                .await
                .expect("the hub reads"),
            Self::UpgradesUnprobed => socket.send("5").await,
            Self::ProbesTwice => socket.send("2probe").await,
            Self::MalformedFrame => {
                let stream = socket.0.get_mut();
                stream.write_all(&[0xff; 20]).await.expect("the hub reads");
            }
            Self::EndlessPings => {
                while socket.0.send(Message::Ping(vec![0; 100].into())).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            }
        }
        Some(socket)
    }
}

/// P2, P7: a session whose upgrade fails continues to poll: the next event arrives, no event is lost, and polls wait
/// for events as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_upgrades_leave_polling_sessions_alive() {
    let hub = TestHub::with(|config| config.realtime.upgrade_timeout_ms = 500).await;
    let session = hub.session().await;
    let mut polled = Polled::join(&hub, &session).await;
    for (index, failure) in FAILURES.into_iter().enumerate() {
        let socket = polled.websocket().await;
        polled.polls = 0;
        let (hub, session) = (&hub, &session);
        let failing = async move {
            let socket = soon("the failure happens", failure.run(socket)).await;
            // A poll waits during the failure.
            until_metric(hub, GIVEN_UP, |count| count > index as u64).await;
            let node = hub.create_node(session, None, "a").await;
            drop(socket);
            node
        };
        let (_, seq) = tokio::join!(failing, polled.executed());
        assert_eq!(metric(hub, GIVEN_UP).await, index as u64 + 1, "{failure:?}");
        let graph = hub.get(&format!("/sessions/{session}/graph")).await.ok();
        assert_eq!(graph["seq"], json!(seq), "{failure:?}");
        assert!(polled.polls <= POLLS_MAX, "{failure:?}: {} polls", polled.polls);
    }
    // A later upgrade succeeds.
    let mut socket = polled.websocket().await;
    socket.send("2probe").await;
    assert_eq!(socket.packet().await, "3probe");
    socket.send("5").await;
    hub.create_node(&session, None, "b").await;
    soon("an event", socket.executed()).await;
    assert_eq!(metric(&hub, "hub_connections").await, 1);
}

/// P9: a websocket for an unknown session is refused before the handshake, and so is a second one for a session with a
/// websocket.
#[tokio::test]
async fn impossible_upgrades_are_refused() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let unknown = RawSocket::upgrade(&hub.url, "AAAAAAAAAAAAAAHs").await;
    assert_eq!(unknown.err(), Some(400));
    let mut polled = Polled::join(&hub, &session).await;
    let mut first = polled.websocket().await;
    assert_eq!(polled.try_websocket().await.err(), Some(400), "one at a time");
    first.send("2probe").await;
    assert_eq!(first.packet().await, "3probe");
    assert_eq!(polled.try_websocket().await.err(), Some(400), "also after the probe");
    first.send("5").await;
    hub.create_node(&session, None, "a").await;
    soon("an event", first.executed()).await;
    assert_eq!(polled.try_websocket().await.err(), Some(400), "and one in all");
    assert_eq!(polled.poll().await.0, 400, "an upgraded session has no polls");
    assert_eq!(polled.post("3").await.0, 400);
    hub.create_node(&session, None, "b").await;
    soon("an event", first.executed()).await;
}

/// P1, P2: events that wait at the end of an upgrade come over the websocket, all of them, in order, and before later
/// events. The answer to a poll holds few events, so that the poll has read further events without room for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_during_an_upgrade_are_delivered_in_order() {
    const COMMANDS: usize = 40;
    let hub = TestHub::with(|config| config.realtime.message_bytes_max = 4_096).await;
    let session = hub.session().await;
    let mut polled = Polled::join(&hub, &session).await;
    let mut socket = polled.websocket().await;
    socket.send("2probe").await;
    assert_eq!(socket.packet().await, "3probe");
    for number in 0..COMMANDS {
        hub.create_node(&session, None, &format!("{number}")).await;
    }
    let (status, packets) = polled.poll().await;
    assert_eq!(status, 200);
    let by_poll = packets.matches("command:executed").count();
    assert!((1..COMMANDS).contains(&by_poll), "{by_poll} of {COMMANDS} fit in");
    socket.send("5").await;
    hub.create_node(&session, None, "last").await;
    let graph = hub.get(&format!("/sessions/{session}/graph")).await.ok();
    let last = graph["seq"].as_u64().expect("a seq");
    let mut seqs = vec![soon("an event", socket.executed()).await];
    while seqs.last() != Some(&last) {
        seqs.push(soon("an event", socket.executed()).await);
    }
    assert_eq!(seqs.len(), COMMANDS + 1 - by_poll, "{seqs:?}");
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
}

/// P7: 100 sessions upgrade at once under load. Each upgrade succeeds, and each session gets every event exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_upgrades_all_succeed() {
    const SESSIONS: usize = 100;
    const COMMANDS: usize = 30;
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let joined = join_all((0..SESSIONS).map(|_| Polled::join(&hub, &session))).await;
    let upgrading = joined.into_iter().map(|mut polled| async move {
        let mut socket = polled.websocket().await;
        socket.send("2probe").await;
        let mut executed = 0;
        let mut count = |packets: &str| executed += packets.matches("[\"command:executed\"").count();
        // As in client libraries, the waiting poll is answered before the upgrade ends.
        let (pong, (status, packets)) = tokio::join!(socket.packet(), polled.poll());
        assert_eq!((pong.as_str(), status), ("3probe", 200), "{packets}");
        count(&packets);
        socket.send("5").await;
        while executed < COMMANDS {
            executed += usize::from(socket.event().await.0 == "command:executed");
        }
        assert_eq!(executed, COMMANDS);
        socket
    });
    let pouring = async {
        for number in 0..COMMANDS {
            hub.create_node(&session, None, &format!("{number}")).await;
        }
    };
    let (sockets, ()) = soon("all upgrade", async { tokio::join!(join_all(upgrading), pouring) }).await;
    assert_eq!(metric(&hub, GIVEN_UP).await, 0);
    assert_eq!(metric(&hub, "hub_connections").await, sockets.len() as u64);
}

/// P1, P7: real clients upgrade by themselves, and get events in order before and after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_clients_upgrade_by_themselves() {
    let hub = TestHub::start().await;
    let session = hub.session().await;
    let connect = Connect::to(&hub.url, &session, Transport::Upgrading);
    for mut driver in [Driver::javascript(), Driver::python()] {
        let clients: Vec<String> = (0..10).map(|number| format!("client-{number}")).collect();
        for client in &clients {
            driver.connect(client, &connect).await;
        }
        for client in &clients {
            driver.until(client, "session:sync").await;
        }
        let mut last = 0;
        for number in 0..20 {
            let data = json!({"blueprint_type_id": "task", "name": format!("{number}")});
            last = hub.execute(&session, "CreateNode", data).await.ok()["seq"]
                .as_u64()
                .expect("a seq");
        }
        for client in &clients {
            driver.until_seq(client, last).await;
            let replica = driver.replica(client).await;
            assert!(
                replica.applied.windows(2).all(|pair| pair[0] < pair[1]),
                "{:?}",
                replica.applied
            );
        }
    }
    assert_eq!(metric(&hub, GIVEN_UP).await, 0);
}
