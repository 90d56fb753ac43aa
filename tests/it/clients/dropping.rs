//! Connections that break at random bytes, also within a packet, under load.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    driver::{Connect, Driver, Observation, Transport},
    hub_that_pings_often,
    load::{Random, storm},
    on_both_transports, received, rounded,
};

on_both_transports!(random_drops_lose_no_event);

/// Names of the clients. The last two have batched delivery.
const CLIENTS: [&str; 4] = ["ann", "bob", "cid", "dan"];

/// Number of times that each of the four clients loses its transport: 100 in total.
const DROPS_EACH: usize = 25;

/// Largest number of bytes before a connection breaks: the events of about ten commands.
const BYTES_MAX: usize = 20_000;

/// Link of one client to a hub, which breaks after a number of bytes from the hub.
struct FrailLink {
    url: String,
    /// Bytes left before the break.
    left: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

/// Value of `left` for a link that does not break.
const SOUND: usize = usize::MAX;

impl FrailLink {
    async fn to(hub_url: &str) -> Self {
        let hub = hub_url.strip_prefix("http://").expect("an http address").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let left = Arc::new(AtomicUsize::new(SOUND));
        let accepting = tokio::spawn({
            let left = Arc::clone(&left);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, hub.clone(), Arc::clone(&left)));
                }
            }
        });
        Self { url, left, accepting }
    }

    /// Breaks the connection that carries the byte after this many more. The next connection does not break.
    fn break_after(&self, bytes: usize) {
        self.left.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for FrailLink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, hub: String, left: Arc<AtomicUsize>) {
    let Ok(hub) = TcpStream::connect(hub).await else { return };
    for stream in [&client, &hub] {
        stream.set_nodelay(true).expect("a socket has this option");
    }
    let (mut from_client, to_client) = client.into_split();
    let (from_hub, mut to_hub) = hub.into_split();
    // The end of one direction closes both.
    tokio::select! {
        _ = copy(&mut from_client, &mut to_hub) => {}
        () = carry_to_client(from_hub, to_client, &left) => {}
    }
}

async fn carry_to_client(mut hub: OwnedReadHalf, mut client: OwnedWriteHalf, left: &AtomicUsize) {
    let mut buffer = vec![0; 16_384];
    while let Ok(length @ 1..) = hub.read(&mut buffer).await {
        let after = |left: usize| match left.checked_sub(length) {
            Some(rest) if left != SOUND => rest,
            _ => SOUND,
        };
        let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(after(left)));
        let passed = length.min(before.unwrap_or(SOUND));
        if client.write_all(&buffer[..passed]).await.is_err() || passed < length {
            return;
        }
    }
}

/// P1, P2: four clients lose their transports 100 times in total, at bytes that a seed decides, under a load of
/// commands of every type. Two of them have batched delivery. Each client reconnects by itself every time, gets every
/// event exactly once and in order, never a graph, and ends with the graph of the hub.
async fn random_drops_lose_no_event(transport: Transport) {
    let hub = Arc::new(hub_that_pings_often().await);
    let session = hub.session().await;
    let (mut js, mut random) = (Driver::javascript(), Random::new(11));
    let (mut links, mut observed) = (Vec::new(), Vec::new());
    for client in CLIENTS {
        let link = FrailLink::to(&hub.url).await;
        let connect = Connect::to(&link.url, &session, transport);
        let connect = if ["cid", "dan"].contains(&client) {
            connect.batched()
        } else {
            connect
        };
        js.connect(client, &connect).await;
        observed.push(js.until(client, "session:sync").await);
        links.push(link);
    }
    let enough = CancellationToken::new();
    let load = tokio::spawn({
        let (hub, session, enough) = (Arc::clone(&hub), session.clone(), enough.clone());
        async move {
            for seed in 0.. {
                if enough.is_cancelled() {
                    break;
                }
                storm(&hub, &session, seed, 2, 5).await;
            }
        }
    });
    for _ in 0..DROPS_EACH {
        for link in &links {
            link.break_after(random.below(BYTES_MAX));
        }
        for (client, observed) in CLIENTS.iter().zip(&mut observed) {
            observed.extend(js.until_that(client, |observed| observed.kind == "disconnected").await);
        }
        for (client, observed) in CLIENTS.iter().zip(&mut observed) {
            observed.extend(js.until(client, "session:sync").await);
        }
    }
    enough.cancel();
    load.await.expect("no panic");
    hub.create_node(&session, None, "last").await;
    let read = hub.get(&format!("/sessions/{session}/graph")).await.ok();
    let seq = read["seq"].as_u64().expect("a seq");
    for (client, mut observed) in CLIENTS.iter().zip(observed) {
        observed.extend(js.until_seq(client, seq).await);
        assert_eq!(received(&observed), (1..=seq).collect::<Vec<_>>(), "{client}");
        assert_eq!(resync_reasons(&observed), ["resumed"], "{client}");
        let replica = js.replica(client).await;
        assert_eq!(replica.applied, (1..=seq).collect::<Vec<_>>(), "{client}");
        assert_eq!(rounded(&replica.graph), rounded(&read["graph"]), "{client}");
    }
}

/// Returns the reasons of all syncs after the first, without adjacent repeats.
fn resync_reasons(observed: &[Observation]) -> Vec<&Value> {
    let events = observed.iter().filter_map(Observation::event);
    let syncs = events.filter(|(event, _)| *event == "session:sync").skip(1);
    let mut reasons: Vec<&Value> = syncs.map(|(_, sync)| &sync["reason"]).collect();
    reasons.dedup();
    reasons
}
