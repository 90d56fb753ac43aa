//! Hub that is killed and started again, and clients that reconnect by themselves.

use serde_json::Value;

use super::{
    driver::{Connect, Driver, Observation, Transport},
    load::Random,
    metric_of, received, rounded,
};
use crate::support::{
    child::{ChildHub, kill_rounds, port_to_keep},
    writer::{Writers, get, session},
};

/// Number of kills, unless `KILL_ROUNDS` says otherwise.
const ROUNDS: usize = 16;

/// Number of concurrent writers.
const WRITERS: usize = 3;

const JAVASCRIPT: &[(&str, Transport)] = &[
    ("js web", Transport::Websocket),
    ("js poll", Transport::Polling),
    ("js upgrade", Transport::Upgrading),
];

const PYTHON: &[(&str, Transport)] = &[("py web", Transport::Websocket), ("py poll", Transport::Polling)];

/// Connected clients of both languages.
struct Crowd {
    drivers: [(Driver, &'static [(&'static str, Transport)]); 2],
}

impl Crowd {
    /// Joins every client to a session without events.
    async fn join(url: &str, session_id: &str) -> Self {
        let mut drivers = [(Driver::javascript(), JAVASCRIPT), (Driver::python(), PYTHON)];
        for (driver, clients) in &mut drivers {
            for (client, transport) in *clients {
                driver.connect(client, &Connect::to(url, session_id, *transport)).await;
                let observed = driver.until(client, "session:sync").await;
                assert!(syncs(&observed).all(|sync| sync["seq"] == 0), "{client}");
            }
        }
        Self { drivers }
    }

    fn len(&self) -> u64 {
        self.drivers.iter().map(|(_, clients)| clients.len() as u64).sum()
    }

    /// Waits until each client has everything up to `seq`, and checks its observations and its replica.
    async fn check(&mut self, seq: u64, epoch: &Value, graph: &Value) {
        for (driver, clients) in &mut self.drivers {
            for (client, _) in *clients {
                let observed = driver.until_seq(client, seq).await;
                assert_eq!(received(&observed), (1..=seq).collect::<Vec<_>>(), "{client}");
                let resumed = syncs(&observed).inspect(|sync| {
                    assert_eq!(
                        (&sync["reason"], &sync["epoch"]),
                        (&"resumed".into(), epoch),
                        "{client}"
                    );
                });
                assert!(resumed.count() > 1, "{client} was connected in between");
                let replica = driver.replica(client).await;
                assert_eq!(replica.applied, (1..=seq).collect::<Vec<_>>(), "{client}");
                assert_eq!(rounded(&replica.graph), *graph, "{client}");
            }
        }
    }
}

fn syncs(observed: &[Observation]) -> impl Iterator<Item = &Value> {
    let events = observed.iter().filter_map(Observation::event);
    events
        .filter(|(event, _)| *event == "session:sync")
        .map(|(_, data)| data)
}

/// P1 to P4: the hub is killed at random moments during concurrent commands and started again at the same address,
/// while clients of both languages stay. Each client reconnects by itself, gets every event once and in order over all
/// lives of the hub, all of one epoch, and ends with the graph of the hub. Writers repeat each command that got no
/// answer, and each command is in the log once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_outlive_repeated_kills_of_the_hub() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let port = port_to_keep().to_string();
    let settings = [
        ("TALUS_HUB_SERVER__PORT", port.as_str()),
        ("TALUS_HUB_SESSIONS__SNAPSHOT_EVENTS", "100"),
        // A client whose connection breaks during an upgrade notices only a missing ping.
        ("TALUS_HUB_REALTIME__PING_INTERVAL_MS", "1000"),
        ("TALUS_HUB_REALTIME__PING_TIMEOUT_MS", "1000"),
    ];
    let mut hub = ChildHub::start(data.path(), &settings).await;
    let url = hub.url.clone();
    let (session_id, epoch) = session(&url).await;
    let mut crowd = Crowd::join(&url, &session_id).await;

    let rounds = kill_rounds(ROUNDS);
    let mut random = Random::new(9);
    let mut writers = Writers::new(WRITERS, &session_id);
    for round in 0..rounds {
        writers.start(&url);
        // The kill of every other round comes with all clients connected, and the others with some still on their way.
        if round % 2 == 0 {
            metric_of(&url, "hub_connections", |count| count == crowd.len()).await;
        }
        writers.answered(random.below(100)).await;
        hub.kill().await;
        writers.stopped().await;
        hub = ChildHub::start(data.path(), &settings).await;
        assert_eq!(hub.url, url, "the address stays");
    }

    writers.send_once(&url).await;
    let acknowledged = writers.check(&url, &epoch).await;
    assert!(acknowledged > rounds, "{acknowledged} commands were acknowledged");
    let read = get(&url, &format!("/sessions/{session_id}/graph")).await;
    let seq = read["seq"].as_u64().expect("a seq");
    crowd.check(seq, &epoch, &rounded(&read["graph"])).await;
    assert_eq!(hub.terminate().await, Some(0));
}
