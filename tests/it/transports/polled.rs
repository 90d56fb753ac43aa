//! Polling session, request by request.

use std::collections::VecDeque;

use reqwest::Client;
use serde_json::{Value, json};

use super::raw::RawSocket;
use crate::support::TestHub;

/// Prefix of an event in the namespace `/graph`.
const EVENT: &str = "42/graph,";

/// Polling session of a test. See the [module](self).
pub struct Polled {
    http: Client,
    url: String,
    hub_url: String,
    /// Engine.IO id of the session.
    pub sid: String,
    waiting: VecDeque<String>,
    /// Number of polls so far.
    pub polls: usize,
}

impl Polled {
    /// Opens a polling session.
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

    /// Opens a polling session, and joins the room of a session.
    pub async fn join(hub: &TestHub, session_id: &str) -> Self {
        let mut polled = Self::open(hub).await;
        let auth = json!({ "session_id": session_id });
        assert_eq!(polled.post(format!("40/graph,{auth}")).await.0, 200);
        while polled.event().await.0 != "session:sync" {}
        polled
    }

    /// Posts packets, and returns status and body of the answer.
    pub async fn post(&self, packets: impl Into<reqwest::Body>) -> (u16, String) {
        let answer = self.http.post(&self.url).body(packets).send().await;
        let answer = answer.expect("the hub answers");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    /// Polls once, and returns status and body of the answer.
    pub async fn poll(&mut self) -> (u16, String) {
        self.polls += 1;
        let answer = self.http.get(&self.url).send().await.expect("the hub answers");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    /// Returns the next packet. Pings are answered and left out.
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

    /// Returns name and payload of the next event.
    pub async fn event(&mut self) -> (String, Value) {
        loop {
            if let Some(event) = self.packet().await.strip_prefix(EVENT) {
                return serde_json::from_str(event).expect("a name and a payload");
            }
        }
    }

    /// Waits for the next `command:executed`, and returns its `seq`.
    pub async fn executed(&mut self) -> u64 {
        loop {
            let (event, data) = self.event().await;
            if event == "command:executed" {
                return data["seq"].as_u64().expect("a seq");
            }
        }
    }

    /// Opens a websocket for the session.
    pub async fn websocket(&self) -> RawSocket {
        RawSocket::upgrade(&self.hub_url, &self.sid).await.expect("a websocket")
    }

    /// Opens a websocket for the session. A refusal is returned as its status.
    pub async fn try_websocket(&self) -> Result<RawSocket, u16> {
        RawSocket::upgrade(&self.hub_url, &self.sid).await
    }
}
