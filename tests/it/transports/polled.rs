//! A session that polls, request by request.

use std::collections::VecDeque;

use reqwest::Client;
use serde_json::{Value, json};

use super::raw::RawSocket;
use crate::support::TestHub;

/// Prefix of an event of the namespace.
const EVENT: &str = "42/graph,";

/// See the [module](self).
pub struct Polled {
    http: Client,
    url: String,
    hub_url: String,
    /// Id of the session.
    pub sid: String,
    waiting: VecDeque<String>,
    /// Polls so far.
    pub polls: usize,
}

impl Polled {
    /// Opens a session of Engine.IO.
    pub async fn open(hub: &TestHub) -> Self {
        let http = hub.http().clone();
        let url = format!("{}/socket.io/?EIO=4&transport=polling", hub.url);
        let opened = http.get(&url).send().await.expect("the hub answers");
        let opened = opened.text().await.expect("text");
        let open: Value = serde_json::from_str(opened.strip_prefix('0').expect(&opened)).expect("JSON");
        let sid = open["sid"].as_str().expect("an id").to_owned();
        Self {
            http,
            url: format!("{url}&sid={sid}"),
            hub_url: hub.url.clone(),
            sid,
            waiting: VecDeque::new(),
            polls: 0,
        }
    }

    /// Opens one and joins a session's room.
    pub async fn join(hub: &TestHub, session_id: &str) -> Self {
        let mut polled = Self::open(hub).await;
        let auth = json!({ "session_id": session_id });
        assert_eq!(polled.post(format!("40/graph,{auth}")).await.0, 200);
        while polled.event().await.0 != "session:sync" {}
        polled
    }

    /// Posts packets: status and body of the answer.
    pub async fn post(&self, packets: impl Into<reqwest::Body>) -> (u16, String) {
        let answer = self.http.post(&self.url).body(packets).send().await;
        let answer = answer.expect("the hub answers");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    /// Polls once: status and body of the answer.
    pub async fn poll(&mut self) -> (u16, String) {
        self.polls += 1;
        let answer = self.http.get(&self.url).send().await.expect("the hub answers");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    /// Next packet. Pings are answered.
    pub async fn packet(&mut self) -> String {
        loop {
            if let Some(packet) = self.waiting.pop_front() {
                match &*packet {
                    "2" => assert_eq!(self.post("3").await.0, 200),
                    "6" => {}
                    _ => return packet,
                }
                continue;
            }
            let (status, packets) = self.poll().await;
            assert_eq!(status, 200, "{packets}");
            self.waiting.extend(packets.split('\u{1e}').map(str::to_owned));
        }
    }

    /// Next event: its name and its payload.
    pub async fn event(&mut self) -> (String, Value) {
        loop {
            if let Some(event) = self.packet().await.strip_prefix(EVENT) {
                return serde_json::from_str(event).expect("a name and a payload");
            }
        }
    }

    /// Next event that has a place in the session, which it gives.
    pub async fn executed(&mut self) -> u64 {
        loop {
            let (event, data) = self.event().await;
            if event == "command:executed" {
                return data["seq"].as_u64().expect("a place");
            }
        }
    }

    /// Opens a websocket for the session.
    pub async fn websocket(&self) -> RawSocket {
        RawSocket::upgrade(&self.hub_url, &self.sid).await.expect("a websocket")
    }

    /// The same; a refusal is its status.
    pub async fn try_websocket(&self) -> Result<RawSocket, u16> {
        RawSocket::upgrade(&self.hub_url, &self.sid).await
    }
}
