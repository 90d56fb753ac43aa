//! Storm of clients that disconnect as soon as they are admitted: none of them stays in a room.

use serde_json::json;
use tokio::{task::JoinSet, time::timeout};

use super::{connections, driver::DEADLINE};
use crate::support::{TestHub, websocket::WebSocket};

/// Number of concurrent clients.
const AT_ONCE: usize = 6;

/// Value of `connections_max`. Some connections may be on their way out.
const CONNECTIONS_MAX: usize = 4 * AT_ONCE;

/// Number of connections over websockets, which close at the acknowledgement of the join.
const WEBSOCKETS: usize = 1_200;

/// Number of connections over long polling.
const POLLS: usize = 120;

/// P9: a client that disconnects as soon as it is admitted is in no room afterwards, and in no count. The hub then
/// admits as many clients as before, and the session may passivate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quick_connects_leave_no_ghost() {
    let hub = TestHub::with(|config| {
        config.realtime.connections_max = CONNECTIONS_MAX;
        // A client that only the sweep finds was missed.
        config.realtime.sweep_interval_ms = 3_600_000;
        config.sessions.idle_timeout_ms = 1;
    });
    let hub = hub.await;
    let session = hub.session().await;
    let mut storm = JoinSet::new();
    for number in 0..AT_ONCE {
        let (url, session) = (hub.url.clone(), session.clone());
        let auth = json!({ "session_id": session });
        let http = hub.http().clone();
        storm.spawn(async move {
            for round in 0..WEBSOCKETS / AT_ONCE {
                let mut websocket = WebSocket::open(&url, None).await;
                websocket.send(format!("40/graph,{auth}")).await;
                while websocket
                    .packet()
                    .await
                    .is_some_and(|packet| !packet.starts_with("40") && !packet.starts_with("44"))
                {}
                if (round + number) % 2 == 0 {
                    websocket.close().await;
                }
            }
            for _ in 0..POLLS / AT_ONCE {
                let begin = format!("{url}/socket.io/?EIO=4&transport=polling");
                let opened = http.get(&begin).send().await.expect("served").text().await;
                let opened: serde_json::Value =
                    serde_json::from_str(&opened.expect("text")[1..]).expect("the open packet is JSON");
                let poll = format!("{begin}&sid={}", opened["sid"].as_str().expect("an id"));
                let join = http.post(&poll).body(format!("40/graph,{auth}")).send();
                join.await.expect("served");
                http.get(&poll).send().await.expect("served");
                http.post(&poll).body("1").send().await.expect("served");
            }
        });
    }
    storm.join_all().await;
    connections(&hub, 0).await;
    let asleep = async { while hub.ops(&format!("/sessions/{session}")).await.ok()["state"] != "asleep" {} };
    timeout(DEADLINE, asleep).await.expect("the session passivates");
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let joined = timeout(DEADLINE, WebSocket::join(&hub.url, &session, None)).await;
        all.push(joined.expect("there is room for as many as ever"));
    }
    connections(&hub, CONNECTIONS_MAX as u64).await;
}
