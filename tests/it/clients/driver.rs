//! Driver process of real clients, and its observations of them.

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

/// Longest time that a test waits for one observation: 30 s. A wait takes far less, except on a machine that builds
/// something else at the same time.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Transports of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Websocket,
    Polling,
    /// Polling first, then an upgrade to a websocket: the default of client libraries.
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

/// Options of a client's connection.
#[derive(Debug, Clone)]
pub struct Connect(Value);

impl Connect {
    /// Connects to a session, with the auth payload of docs/PROTOCOL.md.
    pub fn to(url: &str, session_id: &str, transport: Transport) -> Self {
        Self(json!({"do": "connect", "url": url, "session_id": session_id, "transports": transport.names()}))
    }

    /// Adds fields to the auth payload.
    pub fn auth(self, fields: Value) -> Self {
        self.with("auth", fields)
    }

    /// Asks for batched delivery. The driver reports each batched packet, and then each of its events as if it had come
    /// by itself. Call this after [`Self::auth`], which replaces the payload's additions.
    pub fn batched(mut self) -> Self {
        self.0["auth"]["frames"] = json!("batched");
        self.with("apart", json!(true))
    }

    /// Chooses the client id.
    pub fn named(self, client_id: &str) -> Self {
        self.auth(json!({"client_id": client_id}))
    }

    /// Replaces the usual auth payload. Null sends none.
    pub fn bare(self, auth: Value) -> Self {
        self.with("auth", auth).with("bare", json!(true))
    }

    /// Adds parameters to the query of the address.
    pub fn query(self, query: Value) -> Self {
        self.with("query", query)
    }

    /// Replaces the path `/socket.io/`.
    pub fn at_path(self, path: &str) -> Self {
        self.with("path", json!(path))
    }

    /// Sends the header `Origin`, as a page of that origin would.
    pub fn at_origin(self, origin: &str) -> Self {
        self.with("headers", json!({"Origin": origin}))
    }

    /// Has the driver report each event that the client sends.
    pub fn telling_what_it_sends(self) -> Self {
        self.with("tell_sent", json!(true))
    }

    /// Has the client compare hashes at each sync and tick, with the function of a module.
    pub fn hashing_with(self, module: &Path) -> Self {
        self.with("hash_module", json!(module))
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }
}

/// Observation that the driver reports of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Kind of the observation, such as `connected` or `event`.
    pub kind: String,
    /// Other fields of the report.
    pub fields: Value,
}

impl Observation {
    /// Returns name and payload of an event, and `None` for another kind of observation.
    pub fn event(&self) -> Option<(&str, &Value)> {
        (self.kind == "event").then(|| (self.fields["event"].as_str().unwrap_or_default(), &self.fields["data"]))
    }
}

/// Replica of a client, built from the events.
#[derive(Debug, Clone)]
pub struct Replica {
    pub graph: Value,
    /// `seq` of each applied event, in the order of application.
    pub applied: Vec<u64>,
}

/// Handle to a driver process. See the [module](self).
pub struct Driver {
    orders: ChildStdin,
    /// Lines of the process. A task reads them at all times, because a driver whose output is full stands still with
    /// all of its clients.
    lines: mpsc::UnboundedReceiver<String>,
    /// Observations by client, not looked at yet.
    waiting: HashMap<String, VecDeque<Observation>>,
    /// All reports, for the message of a failed test.
    transcript: Vec<String>,
    _process: Child,
}

impl Driver {
    /// Starts a driver of JavaScript clients.
    pub fn javascript() -> Self {
        let folder = install::node();
        Self::start(Command::new("node").arg("driver.mjs").current_dir(folder))
    }

    /// Starts a driver of JavaScript clients that trust one more certificate. The clients resolve `localhost` to its
    /// IPv4 address.
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

    /// Starts a driver of Python clients.
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
        let (sender, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(line) = stdout.next_line().await.expect("the driver writes text") {
                if sender.send(line).is_err() {
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

    /// Starts to connect a client, and does not wait for the result.
    pub async fn connect(&mut self, client: &str, how: &Connect) {
        self.order(client, how.0.clone()).await;
    }

    /// Connects a client that must be admitted, and returns its first `session:sync`. Takes `presence:state` too.
    pub async fn join(&mut self, client: &str, how: &Connect) -> Value {
        self.connect(client, how).await;
        self.expect(client, "connected").await;
        let sync = self.event(client, "session:sync").await;
        // A client that computes hashes reports the hash of the sync before `presence:state`.
        let mut observed: VecDeque<Observation> = self.until(client, "presence:state").await.into();
        observed.pop_back();
        assert!(observed.iter().all(|observed| observed.kind == "hash"), "{observed:?}");
        self.put_back(client, observed);
        sync
    }

    /// Joins as [`Self::join`] does, and takes the client's own `session:connected` too.
    pub async fn settle(&mut self, client: &str, how: &Connect) -> Value {
        let sync = self.join(client, how).await;
        self.event(client, "session:connected").await;
        sync
    }

    /// Sends an HTTPS request, and returns the status. The driver reports the body as `chunk` and `end`.
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

    /// Waits for the end of a response, and returns the rest of its body.
    pub async fn body(&mut self, name: &str) -> String {
        let observed = self.until_that(name, |observed| observed.kind == "end").await;
        let chunks = observed.iter().filter_map(|observed| observed.fields["text"].as_str());
        chunks.collect()
    }

    /// Disconnects a client.
    pub async fn disconnect(&mut self, client: &str) {
        self.order(client, json!({"do": "disconnect"})).await;
    }

    /// Reconnects a client that has disconnected.
    pub async fn reconnect(&mut self, client: &str) {
        self.order(client, json!({"do": "reconnect"})).await;
    }

    /// Corrupts the replica of a client, as a bug of the client would.
    pub async fn spoil(&mut self, client: &str) {
        self.order(client, json!({"do": "spoil"})).await;
    }

    /// Sends an event from a client.
    pub async fn emit(&mut self, client: &str, event: &str, data: Value) {
        self.order(client, json!({"do": "emit", "event": event, "data": data}))
            .await;
    }

    /// Sends events from a client at once, one for each item of `asked`, and returns their acknowledgements in the
    /// order of the requests.
    pub async fn ask_all(&mut self, client: &str, event: &str, asked: &[Value]) -> Vec<Value> {
        self.begin_to_ask(client, event, asked).await;
        let mut answers = vec![Value::Null; asked.len()];
        let mut meanwhile = VecDeque::new();
        for _ in asked {
            let mut observed = self.until_that(client, |observed| observed.kind == "ack").await;
            let ack = observed.pop().expect("the last one").fields;
            let index = ack["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            answers[index.expect("an index")] = ack["answer"].clone();
            meanwhile.extend(observed);
        }
        self.put_back(client, meanwhile);
        answers
    }

    /// Sends events from a client at once, and asks for their acknowledgements without waiting for them.
    pub async fn begin_to_ask(&mut self, client: &str, event: &str, asked: &[Value]) {
        self.order(client, json!({"do": "ask", "event": event, "args": asked}))
            .await;
    }

    /// Puts observations back before all others that wait.
    fn put_back(&mut self, client: &str, mut observed: VecDeque<Observation>) {
        let waiting = self.waiting.entry(client.to_owned()).or_default();
        observed.append(waiting);
        *waiting = observed;
    }

    /// Sends an event from a client, and returns the acknowledgement.
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

    /// Waits for the next observation of a client.
    pub async fn next(&mut self, client: &str) -> Observation {
        self.next_by(Instant::now() + DEADLINE, client).await
    }

    async fn next_by(&mut self, deadline: Instant, client: &str) -> Observation {
        loop {
            if let Some(observed) = self.waiting.get_mut(client).and_then(VecDeque::pop_front) {
                return observed;
            }
            self.read(deadline, client).await;
        }
    }

    /// Asserts that the next observation of a client is of a kind, and returns its other fields.
    pub async fn expect(&mut self, client: &str, kind: &str) -> Value {
        let observed = self.next(client).await;
        assert_eq!(
            observed.kind,
            kind,
            "{client} got {}; so far:\n{}",
            observed.fields,
            self.reports()
        );
        observed.fields
    }

    /// Asserts that the next observation of a client is an event of a name, and returns its payload.
    pub async fn event(&mut self, client: &str, name: &str) -> Value {
        let observed = self.next(client).await;
        let Some((event, data)) = observed.event() else {
            unreachable!(
                "{client} waits for {name} and got {observed:?}; so far:\n{}",
                self.reports()
            );
        };
        assert_eq!(event, name, "{client} got {data}; so far:\n{}", self.reports());
        data.clone()
    }

    /// Waits for an event of a name, and returns all observations up to that event.
    pub async fn until(&mut self, client: &str, name: &str) -> Vec<Observation> {
        self.until_that(client, |observed| {
            observed.event().is_some_and(|(event, _)| event == name)
        })
        .await
    }

    /// Waits for an observation that `last` accepts, and returns all observations up to that one.
    pub async fn until_that(&mut self, client: &str, last: impl Fn(&Observation) -> bool) -> Vec<Observation> {
        let deadline = Instant::now() + DEADLINE;
        let mut happened = Vec::new();
        loop {
            happened.push(self.next_by(deadline, client).await);
            if happened.last().is_some_and(&last) {
                return happened;
            }
        }
    }

    /// Waits for an event with this `seq` or a later one, and returns all observations up to that event.
    pub async fn until_seq(&mut self, client: &str, seq: u64) -> Vec<Observation> {
        self.until_that(client, |observed| {
            observed
                .event()
                .and_then(|(_, data)| data["seq"].as_u64())
                .is_some_and(|at| at >= seq)
        })
        .await
    }

    /// Returns the replica of a client. Other observations stay in the queue.
    pub async fn replica(&mut self, client: &str) -> Replica {
        self.order(client, json!({"do": "replica"})).await;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let waiting = self.waiting.entry(client.to_owned()).or_default();
            if let Some(index) = waiting.iter().position(|observed| observed.kind == "replica") {
                let observed = waiting.remove(index).expect("found at this index").fields;
                return Replica {
                    graph: json!({"roots": observed["roots"]}),
                    applied: serde_json::from_value(observed["applied"].clone()).expect("numbers"),
                };
            }
            self.read(deadline, client).await;
        }
    }

    /// Reads one report, because a test waits for a client.
    async fn read(&mut self, deadline: Instant, client: &str) {
        let Ok(line) = timeout_at(deadline, self.lines.recv()).await else {
            unreachable!(
                "{client} did not get the expected observation in {DEADLINE:?}; so far:\n{}",
                self.reports()
            );
        };
        let Some(line) = line else {
            unreachable!("the driver ended while {client} waits; so far:\n{}", self.reports());
        };
        let mut report: Value = serde_json::from_str(&line).expect(&line);
        self.transcript.push(line);
        let mut text = |key| report.as_object_mut()?.remove(key)?.as_str().map(str::to_owned);
        let (client, kind) = (
            text("client").expect("the report names its client"),
            text("got").expect("the report names its kind"),
        );
        self.waiting
            .entry(client)
            .or_default()
            .push_back(Observation { kind, fields: report });
    }

    /// Returns all reports so far as readable text.
    fn reports(&self) -> String {
        let mut reports = String::new();
        for line in &self.transcript {
            // A snapshot of a large graph would bury the other reports.
            let shown: String = line.chars().take(400).collect();
            writeln!(reports, "  {shown}").expect("a string takes everything");
        }
        reports
    }
}
