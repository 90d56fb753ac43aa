//! A process that plays real clients, and what it tells of them.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write as _,
    path::Path,
    process::Stdio,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::install;

/// How long anything that a test waits for may take. Far more than it does take: a machine that builds something else
/// beside is slow.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The ways to transport, as clients name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Websocket,
    Polling,
    /// Polling first, websocket as soon as that works: what clients do by default.
    Upgrading,
}

impl Transport {
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Websocket => &["websocket"],
            Self::Polling => &["polling"],
            Self::Upgrading => &["polling", "websocket"],
        }
    }
}

/// How a client connects.
#[derive(Debug, Clone)]
pub struct Connect(Value);

impl Connect {
    /// To a session, by what the protocol says.
    pub fn to(url: &str, session_id: &str, transport: Transport) -> Self {
        Self(json!({"do": "connect", "url": url, "session_id": session_id, "transports": transport.names()}))
    }

    /// With more in the auth payload.
    pub fn auth(self, more: Value) -> Self {
        self.with("auth", more)
    }

    /// Taking the events of commands together. What comes so is told, and then each of its events as if it had come by
    /// itself. After what else is in the auth payload.
    pub fn batched(mut self) -> Self {
        self.0["auth"]["frames"] = json!("batched");
        self.with("apart", json!(true))
    }

    /// With a name of its own choosing.
    pub fn named(self, client_id: &str) -> Self {
        self.auth(json!({"client_id": client_id}))
    }

    /// With an auth payload instead of the usual one; null for none.
    pub fn bare(self, auth: Value) -> Self {
        self.with("auth", auth).with("bare", json!(true))
    }

    /// With parameters in the address.
    pub fn query(self, query: Value) -> Self {
        self.with("query", query)
    }

    /// At another path than `/socket.io/`.
    pub fn at_path(self, path: &str) -> Self {
        self.with("path", json!(path))
    }

    /// As a page of that origin would.
    pub fn at_origin(self, origin: &str) -> Self {
        self.with("headers", json!({"Origin": origin}))
    }

    /// So that what the client sends is told too.
    pub fn telling_what_it_sends(self) -> Self {
        self.with("tell_sent", json!(true))
    }

    /// Comparing hashes at each sync and tick, with the function of a module.
    pub fn hashing_with(self, module: &Path) -> Self {
        self.with("hash_module", json!(module))
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }
}

/// Something that happened to a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What kind of thing, such as `connected` or `event`.
    pub got: String,
    /// The rest of the line.
    pub more: Value,
}

impl Told {
    /// Name and payload, if it is an event.
    pub fn event(&self) -> Option<(&str, &Value)> {
        (self.got == "event").then(|| (self.more["event"].as_str().unwrap_or_default(), &self.more["data"]))
    }
}

/// What a client made of the events.
#[derive(Debug, Clone)]
pub struct Replica {
    /// The graph.
    pub graph: Value,
    /// The `seq` of each event that it applied, in that order.
    pub applied: Vec<u64>,
}

/// See the [module](self).
pub struct Driver {
    orders: ChildStdin,
    /// Read whether or not anybody asks: a driver that cannot write stands still, and all of its clients with it.
    lines: mpsc::UnboundedReceiver<String>,
    /// What was told of clients and not looked at yet.
    waiting: HashMap<String, VecDeque<Told>>,
    /// Everything that was told, for the message of a test that fails.
    transcript: Vec<String>,
    _process: Child,
}

impl Driver {
    /// JavaScript clients.
    pub fn javascript() -> Self {
        let folder = install::node();
        Self::start(Command::new("node").arg("driver.mjs").current_dir(folder))
    }

    /// JavaScript clients that trust one more certificate. They know `localhost` by its IPv4 address.
    pub fn javascript_trusting(certificate: &Path) -> Self {
        let folder = install::node();
        Self::start(
            Command::new("node")
                .arg("driver.mjs")
                .current_dir(folder)
                .env("NODE_EXTRA_CA_CERTS", certificate)
                .env("NODE_OPTIONS", "--dns-result-order=ipv4first"),
        )
    }

    /// Python clients.
    pub fn python() -> Self {
        let folder = install::python();
        Self::start(
            Command::new(folder.join(".venv/bin/python"))
                .arg("driver.py")
                .current_dir(folder),
        )
    }

    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("the driver starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (told, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(line) = stdout.next_line().await.expect("the driver writes text") {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            orders: process.stdin.take().expect("piped"),
            lines,
            waiting: HashMap::new(),
            transcript: Vec::new(),
            _process: process,
        }
    }

    /// Connects a client, whatever comes of it.
    pub async fn connect(&mut self, client: &str, how: &Connect) {
        self.order(client, how.0.clone()).await;
    }

    /// Connects a client that has to get in, and gives its first `session:sync`. Takes who is here too.
    pub async fn join(&mut self, client: &str, how: &Connect) -> Value {
        self.connect(client, how).await;
        self.expect(client, "connected").await;
        let sync = self.event(client, "session:sync").await;
        // A client that computes hashes tells of the sync's before it is told who is here.
        let mut told: VecDeque<Told> = self.until(client, "presence:state").await.into();
        told.pop_back();
        assert!(told.iter().all(|told| told.got == "hash"), "{told:?}");
        self.put_back(client, told);
        sync
    }

    /// The same, and takes the news of its own coming too.
    pub async fn settle(&mut self, client: &str, how: &Connect) -> Value {
        let sync = self.join(client, how).await;
        self.event(client, "session:connected").await;
        sync
    }

    /// Has an HTTPS request sent. Gives the status; what comes after it is told as `chunk` and `end`.
    pub async fn request(
        &mut self,
        name: &str,
        method: &str,
        url: &str,
        headers: Value,
        body: Option<&Value>,
    ) -> Value {
        let body = body.map(Value::to_string);
        self.order(
            name,
            json!({"do": "request", "method": method, "url": url, "headers": headers, "body": body}),
        )
        .await;
        self.expect(name, "head").await
    }

    /// The rest of an answer.
    pub async fn body(&mut self, name: &str) -> String {
        let told = self.until_that(name, |told| told.got == "end").await;
        let chunks = told.iter().filter_map(|told| told.more["text"].as_str());
        chunks.collect()
    }

    /// Has a client leave by itself.
    pub async fn disconnect(&mut self, client: &str) {
        self.order(client, json!({"do": "disconnect"})).await;
    }

    /// Has a client that left come back.
    pub async fn reconnect(&mut self, client: &str) {
        self.order(client, json!({"do": "reconnect"})).await;
    }

    /// Has a client's replica go wrong, as a bug of its own would.
    pub async fn spoil(&mut self, client: &str) {
        self.order(client, json!({"do": "spoil"})).await;
    }

    /// Has a client send an event.
    pub async fn emit(&mut self, client: &str, event: &str, data: Value) {
        self.order(client, json!({"do": "emit", "event": event, "data": data}))
            .await;
    }

    /// Has a client send events at once, each with these arguments, and gives the acknowledgements in the order in which
    /// they were asked for.
    pub async fn ask_all(&mut self, client: &str, event: &str, asked: &[Value]) -> Vec<Value> {
        self.begin_to_ask(client, event, asked).await;
        let mut answers = vec![Value::Null; asked.len()];
        let mut meanwhile = VecDeque::new();
        for _ in asked {
            let mut told = self.until_that(client, |told| told.got == "ack").await;
            let ack = told.pop().expect("the last one").more;
            let index = ack["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            answers[index.expect("an index")] = ack["answer"].clone();
            meanwhile.extend(told);
        }
        self.put_back(client, meanwhile);
        answers
    }

    /// Has a client send events at once, each with these arguments, and wants their acknowledgements, for which this does
    /// not wait.
    pub async fn begin_to_ask(&mut self, client: &str, event: &str, asked: &[Value]) {
        self.order(client, json!({"do": "ask", "event": event, "args": asked}))
            .await;
    }

    /// Has things be looked at again that were told before all that wait.
    fn put_back(&mut self, client: &str, mut told: VecDeque<Told>) {
        let waiting = self.waiting.entry(client.to_owned()).or_default();
        told.append(waiting);
        *waiting = told;
    }

    /// Has a client send an event, and gives the acknowledgement.
    pub async fn ask(&mut self, client: &str, event: &str, data: Value) -> Value {
        self.ask_all(client, event, &[json!([data])]).await.remove(0)
    }

    async fn order(&mut self, client: &str, mut order: Value) {
        order["client"] = json!(client);
        self.orders
            .write_all(format!("{order}\n").as_bytes())
            .await
            .expect("the driver reads");
    }

    /// The next thing that happens to a client.
    pub async fn next(&mut self, client: &str) -> Told {
        self.next_by(Instant::now() + DEADLINE, client).await
    }

    async fn next_by(&mut self, deadline: Instant, client: &str) -> Told {
        loop {
            if let Some(told) = self.waiting.get_mut(client).and_then(VecDeque::pop_front) {
                return told;
            }
            self.read(deadline, client).await;
        }
    }

    /// The next thing that happens to a client has to be of a kind.
    pub async fn expect(&mut self, client: &str, kind: &str) -> Value {
        let told = self.next(client).await;
        assert_eq!(told.got, kind, "{client} got {}; so far:\n{}", told.more, self.story());
        told.more
    }

    /// The next thing that happens to a client has to be an event of a name. Gives its payload.
    pub async fn event(&mut self, client: &str, name: &str) -> Value {
        let told = self.next(client).await;
        let Some((event, data)) = told.event() else {
            unreachable!("{client} waits for {name} and got {told:?}; so far:\n{}", self.story());
        };
        assert_eq!(event, name, "{client} got {data}; so far:\n{}", self.story());
        data.clone()
    }

    /// What happens to a client until an event of a name, and with it.
    pub async fn until(&mut self, client: &str, name: &str) -> Vec<Told> {
        self.until_that(client, |told| told.event().is_some_and(|(event, _)| event == name))
            .await
    }

    /// What happens to a client until something, and with it.
    pub async fn until_that(&mut self, client: &str, last: impl Fn(&Told) -> bool) -> Vec<Told> {
        let deadline = Instant::now() + DEADLINE;
        let mut happened = Vec::new();
        loop {
            happened.push(self.next_by(deadline, client).await);
            if happened.last().is_some_and(&last) {
                return happened;
            }
        }
    }

    /// What happens to a client until it knows of everything up to a `seq`.
    pub async fn until_seq(&mut self, client: &str, seq: u64) -> Vec<Told> {
        self.until_that(client, |told| {
            told.event()
                .and_then(|(_, data)| data["seq"].as_u64())
                .is_some_and(|at| at >= seq)
        })
        .await
    }

    /// What a client has made of the events so far. What else happened to it stays to be looked at.
    pub async fn replica(&mut self, client: &str) -> Replica {
        self.order(client, json!({"do": "replica"})).await;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let waiting = self.waiting.entry(client.to_owned()).or_default();
            if let Some(index) = waiting.iter().position(|told| told.got == "replica") {
                let told = waiting.remove(index).expect("it was found there").more;
                return Replica {
                    graph: json!({"roots": told["roots"]}),
                    applied: serde_json::from_value(told["applied"].clone()).expect("numbers"),
                };
            }
            self.read(deadline, client).await;
        }
    }

    /// Reads one more line, because something is wanted of a client.
    async fn read(&mut self, deadline: Instant, client: &str) {
        let Ok(line) = timeout_at(deadline, self.lines.recv()).await else {
            unreachable!(
                "{client} did not get in {DEADLINE:?} what is waited for; so far:\n{}",
                self.story()
            );
        };
        let Some(line) = line else {
            unreachable!("the driver ended while {client} waits; so far:\n{}", self.story());
        };
        let mut told: Value = serde_json::from_str(&line).expect(&line);
        self.transcript.push(line);
        let mut text = |key| told.as_object_mut()?.remove(key)?.as_str().map(str::to_owned);
        let (client, got) = (
            text("client").expect("it names the client"),
            text("got").expect("it names the kind"),
        );
        self.waiting
            .entry(client)
            .or_default()
            .push_back(Told { got, more: told });
    }

    /// Everything that was told so far, for people.
    fn story(&self) -> String {
        let mut story = String::new();
        for line in &self.transcript {
            // A snapshot of a large graph would bury the rest.
            let shown: String = line.chars().take(400).collect();
            writeln!(story, "  {shown}").expect("a string takes everything");
        }
        story
    }
}
