//! Client that lives for a whole run: a connection, and a replica that is built from events alone.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::{calls::in_time, hub_model::replica::Replica};

const NAMESPACE: &str = "/graph,";

/// Connection of a client.
enum Link {
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Polling { url: String, read: VecDeque<String> },
}

/// Error of a closed connection.
#[derive(Debug)]
pub struct Closed;

/// Client of a session. See the [module](self).
pub struct ReplicaClient {
    pub name: String,
    polling: bool,
    batched: bool,
    /// True for a client that connects without a session and then joins one.
    late: bool,
    http: reqwest::Client,
    link: Option<Link>,
    pub replica: Replica,
    pub position: Option<(String, u64)>,
    /// Last received state hash, and its `seq`.
    pub hash: Option<(u64, String)>,
    /// Number of syncs so far.
    pub syncs: usize,
    session: String,
    acks: u64,
}

/// Opens a websocket that is in no namespace yet.
pub async fn dial(url: &str) -> WebSocketStream<TcpStream> {
    let address = url.strip_prefix("http://").expect("an http address");
    let stream = in_time("a connection", TcpStream::connect(address))
        .await
        .expect("the hub accepts");
    let request = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (stream, _) = in_time("a websocket", client_async(request, stream))
        .await
        .expect("a websocket");
    stream
}

impl Link {
    async fn open(url: &str, polling: bool, http: &reqwest::Client) -> Self {
        if !polling {
            return Self::WebSocket(Box::new(dial(url).await));
        }
        let url = format!("{url}/socket.io/?EIO=4&transport=polling");
        let opened = in_time("a handshake", http.get(&url).send()).await.expect("an answer");
        let text = opened.text().await.expect("a text");
        let handshake: Value = serde_json::from_str(text.trim_start_matches('0')).expect(&text);
        Self::Polling {
            url: format!("{url}&sid={}", handshake["sid"].as_str().expect("an id")),
            read: VecDeque::new(),
        }
    }

    async fn send(&mut self, packet: String, http: &reqwest::Client) -> Result<(), Closed> {
        match self {
            Self::WebSocket(stream) => in_time("the hub to read", stream.send(Message::text(packet)))
                .await
                .map_err(|_| Closed),
            Self::Polling { url, .. } => {
                let sent = in_time("an answer", http.post(&*url).body(packet).send()).await;
                let sent = sent.map_err(|_| Closed)?;
                if sent.status().is_success() {
                    Ok(())
                } else {
                    Err(Closed)
                }
            }
        }
    }

    async fn read(&mut self, http: &reqwest::Client) -> Result<String, Closed> {
        loop {
            let packet = match self {
                Self::WebSocket(stream) => {
                    let message = in_time("a packet", stream.next()).await.ok_or(Closed)?;
                    match message.map_err(|_| Closed)? {
                        Message::Text(text) => text.to_string(),
                        Message::Close(_) => return Err(Closed),
                        _ => continue,
                    }
                }
                Self::Polling { url, read } => {
                    if read.is_empty() {
                        let polled = in_time("packets", http.get(&*url).send()).await.map_err(|_| Closed)?;
                        if !polled.status().is_success() {
                            return Err(Closed);
                        }
                        let text = polled.text().await.map_err(|_| Closed)?;
                        read.extend(text.split('\u{1e}').map(str::to_owned));
                    }
                    read.pop_front().unwrap_or_default()
                }
            };
            match packet.as_str() {
                "2" => self.send("3".to_owned(), http).await?,
                "1" => return Err(Closed),
                _ => return Ok(packet),
            }
        }
    }
}

impl ReplicaClient {
    pub fn new(number: usize, session: &str) -> Self {
        Self {
            name: format!("mate-{number}"),
            polling: number % 3 == 1,
            batched: number % 2 == 1,
            late: number % 4 == 3,
            http: reqwest::Client::new(),
            link: None,
            replica: Replica::default(),
            position: None,
            hash: None,
            syncs: 0,
            session: session.to_owned(),
            acks: 0,
        }
    }

    /// Returns a client that connects a websocket without a session and then joins the session.
    pub fn late(session: &str) -> Self {
        Self::new(3, session)
    }

    /// Moves the client to another session, without a position.
    pub fn follow(&mut self, session: &str) {
        session.clone_into(&mut self.session);
        (self.position, self.link) = (None, None);
        self.replica = Replica::default();
    }

    /// Connects with the client's position, unless the client is connected.
    pub async fn join(&mut self, url: &str) -> Result<(), Closed> {
        if self.link.is_some() {
            return Ok(());
        }
        self.link = Some(Link::open(url, self.polling, &self.http).await);
        let frames = if self.batched { "batched" } else { "single" };
        let mut auth = json!({"client_id": self.name, "frames": frames});
        let mut place = json!({"session_id": self.session});
        if let Some((epoch, seq)) = &self.position {
            (place["epoch"], place["seq"]) = (json!(epoch), json!(seq));
        }
        if !self.late {
            auth.as_object_mut()
                .expect("an object")
                .extend(place.as_object().expect("an object").clone());
        }
        let before = self.syncs;
        self.send(format!("40{NAMESPACE}{auth}")).await?;
        // Events that are sent before the namespace is connected are lost.
        while !self.read().await?.starts_with("40/graph") {}
        if self.late {
            self.ask("join_session", &place).await?;
        }
        self.read_until("a sync", |client| client.syncs > before).await
    }

    /// Closes the connection with or without a packet. The hub finds a silent polling client only after the ping
    /// timeout.
    pub async fn leave(&mut self, politely: bool) {
        if !politely {
            self.link = None;
            return;
        }
        let _ = self.send(format!("41{NAMESPACE}")).await;
        match self.link.take() {
            Some(Link::WebSocket(mut stream)) => drop(stream.close().await),
            Some(mut polling) => drop(polling.send("1".to_owned(), &self.http).await),
            None => {}
        }
    }

    pub const fn is_polling(&self) -> bool {
        self.polling
    }

    async fn send(&mut self, packet: String) -> Result<(), Closed> {
        let link = self.link.as_mut().ok_or(Closed)?;
        let sent = link.send(packet, &self.http).await;
        if sent.is_err() {
            self.link = None;
        }
        sent
    }

    /// Sends an event without an acknowledgement.
    pub async fn tell(&mut self, event: &str, payload: &Value) -> Result<(), Closed> {
        self.send(format!("42{NAMESPACE}{}", json!([event, payload]))).await
    }

    /// Sends an event, and reads up to its acknowledgement.
    pub async fn ask(&mut self, event: &str, payload: &Value) -> Result<Value, Closed> {
        let mut payload = payload.clone();
        if self.late && event != "join_session" && payload.get("session_id").is_none() && payload.is_object() {
            payload["session_id"] = json!(self.session);
        }
        self.acks += 1;
        let ack = format!("43{NAMESPACE}{}", self.acks);
        self.send(format!("42{NAMESPACE}{}{}", self.acks, json!([event, payload])))
            .await?;
        loop {
            let packet = self.read().await?;
            if let Some(answer) = packet.strip_prefix(&ack) {
                let answer: Vec<Value> = serde_json::from_str(answer).expect(answer);
                return Ok(answer.into_iter().next().expect("an answer"));
            }
        }
    }

    /// Asks for a sync, and reads up to it.
    pub async fn resync(&mut self, diverged: bool) -> Result<(), Closed> {
        let mut payload = match &self.position {
            _ if diverged => json!({"reason": "divergence"}),
            Some((epoch, seq)) => json!({"epoch": epoch, "seq": seq}),
            None => json!({}),
        };
        payload["session_id"] = json!(self.session);
        let before = self.syncs;
        self.tell("session:resync", &payload).await?;
        self.read_until("a sync", |client| client.syncs > before).await
    }

    /// Reads until the position is at `seq`.
    pub async fn reach(&mut self, seq: u64) -> Result<(), Closed> {
        self.read_until("an event", |client| {
            client.position.as_ref().is_some_and(|(_, at)| *at >= seq)
        })
        .await
    }

    /// Reads until `is` holds. Pings keep an idle connection open, so that all reads together have a deadline.
    async fn read_until(&mut self, what: &str, is: impl Fn(&Self) -> bool) -> Result<(), Closed> {
        in_time(what, async {
            while !is(self) {
                self.read().await?;
            }
            Ok(())
        })
        .await
    }

    /// Reads a packet, applies its event, and returns the packet.
    async fn read(&mut self) -> Result<String, Closed> {
        let link = self.link.as_mut().ok_or(Closed)?;
        let read = link.read(&self.http).await;
        let Ok(packet) = read else {
            self.link = None;
            return Err(Closed);
        };
        if packet.starts_with("41") || packet.starts_with("44") {
            self.link = None;
            return Err(Closed);
        }
        if let Some(event) = packet.strip_prefix("42/graph,") {
            let (event, data): (String, Value) = serde_json::from_str(event).expect(event);
            self.receive(&event, &data);
        }
        Ok(packet)
    }

    /// P1, P2: receives an event. A sequenced event must be the next one, unless a sync says how to go on.
    fn receive(&mut self, event: &str, data: &Value) {
        assert_eq!(data["session_id"], self.session, "{event} is of this session");
        if event == "session:sync" {
            return self.sync(data);
        }
        if event == "session:events" {
            for event in data["events"].as_array().expect("a list") {
                self.receive(event["event"].as_str().expect("a name"), &event["data"]);
            }
            return;
        }
        if event == "session:tick" {
            self.note_hash(data);
        }
        let sequenced = !event.starts_with("session:");
        let Some(seq) = data["seq"].as_u64().filter(|_| sequenced) else {
            return;
        };
        let (_, at) = self.position.as_mut().expect("a sync came first");
        // A command without changes carries the `seq` of the event before.
        if event == "command:executed" && seq == *at {
            return;
        }
        assert_eq!(seq, *at + 1, "{} gets the next event: {event} {data}", self.name);
        *at = seq;
        self.replica.apply(event, data);
    }

    fn sync(&mut self, data: &Value) {
        self.note_hash(data);
        let (epoch, seq) = (
            data["epoch"].as_str().expect("an epoch"),
            data["seq"].as_u64().expect("a seq"),
        );
        if data.get("graph").is_some() {
            self.replica = Replica::of(&data["graph"]);
        } else {
            let mut at = self
                .position
                .as_ref()
                .expect("a client without a position gets a graph")
                .1;
            for entry in data["events"].as_array().expect("events") {
                let place = entry["data"]["seq"].as_u64().expect("a seq");
                if place <= at {
                    continue;
                }
                assert_eq!(place, at + 1, "the sync has exactly the missing events: {data}");
                at = place;
                self.replica
                    .apply(entry["event"].as_str().expect("a name"), &entry["data"]);
            }
            assert_eq!(at, seq, "the sync reaches its seq");
        }
        self.position = Some((epoch.to_owned(), seq));
        self.syncs += 1;
    }

    fn note_hash(&mut self, data: &Value) {
        if let Some(hash) = data["state_hash"].as_str() {
            self.hash = Some((data["seq"].as_u64().expect("a seq"), hash.to_owned()));
        }
    }
}
