//! Hub under test with its sessions and clients, and the steps of a run.

use std::ops::AddAssign;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use talus_hub::wire::ErrorCode;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    malformed,
    plan::{self, Types},
    process::Hub,
    random::Random,
    replica_client::{ReplicaClient, dial},
};
use crate::{calls::in_time, hub_model::replica::Replica, support::events::EventStream};

/// Number of clients of each session.
const CLIENTS_PER_SESSION: usize = 3;

/// Largest number of times that a command without an outcome is sent.
const ATTEMPTS_MAX: usize = 1_000;

/// Counts of a run's inputs.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub inputs: usize,
    pub accepted: usize,
    pub malformed: usize,
    pub faults: usize,
    pub checks: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.accepted += other.accepted;
        self.malformed += other.malformed;
        self.faults += other.faults;
        self.checks += other.checks;
    }
}

/// Session that lives for a whole run, and its readers.
struct Session {
    id: String,
    project: Option<String>,
    types: Types,
    clients: Vec<ReplicaClient>,
    /// Reader of the event stream. Its position and its replica follow.
    stream: Option<EventStream>,
    last_event_id: Option<String>,
    streamed: Replica,
}

/// Hub with sessions and clients. See the [module](self).
pub struct FuzzedHub {
    dir: TempDir,
    hub: Hub,
    http: reqwest::Client,
    random: Random,
    sessions: Vec<Session>,
    /// Session without failures and its client, which must not notice the other sessions.
    witness: (String, ReplicaClient),
    counts: Counts,
}

/// Status and body of an answer.
type Reply = (u16, Value);

impl FuzzedHub {
    pub async fn start(seed: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let hub = Hub::start(dir.path()).await;
        let mut fuzzed_hub = Self {
            dir,
            hub,
            http: reqwest::Client::new(),
            random: Random::new(seed),
            sessions: Vec::new(),
            witness: (String::new(), ReplicaClient::new(0, "")),
            counts: Counts::default(),
        };
        for _ in 0..2 {
            let id = fuzzed_hub.new_session().await;
            fuzzed_hub.add(id, None, Types::new());
        }
        let types = fuzzed_hub.types("software_project").await;
        let begun = json!({"template_id": "software_project", "project_name": "Fuzz"});
        let begun = fuzzed_hub.accepted(Method::POST, "/projects", Some(&begun)).await;
        let (id, project) = (text(&begun, "session_id"), text(&begun, "project_id"));
        fuzzed_hub.add(id, Some(project), types);
        let id = fuzzed_hub.new_session().await;
        fuzzed_hub.witness = (id.clone(), ReplicaClient::new(0, &id));
        fuzzed_hub
            .witness
            .1
            .join(&fuzzed_hub.hub.url)
            .await
            .expect("the witness is let in");
        fuzzed_hub
    }

    fn add(&mut self, id: String, project: Option<String>, types: Types) {
        let first = self.sessions.len() * CLIENTS_PER_SESSION;
        self.sessions.push(Session {
            clients: (first..first + CLIENTS_PER_SESSION)
                .map(|number| ReplicaClient::new(number, &id))
                .collect(),
            id,
            project,
            types,
            stream: None,
            last_event_id: None,
            streamed: Replica::default(),
        });
    }

    async fn new_session(&mut self) -> String {
        text(
            &self.accepted(Method::POST, "/sessions", Some(&json!({}))).await,
            "session_id",
        )
    }

    async fn types(&mut self, template: &str) -> Types {
        let schema = self
            .accepted(Method::GET, &format!("/templates/{template}/schema"), None)
            .await;
        let types = schema["node_types"].as_array().expect("a list");
        let named = |name: &Value| {
            let found = types.iter().find(|known| known["id"] == *name || known["key"] == *name);
            found.map(|known| text(known, "id"))
        };
        let allowed = |node_type: &Value| {
            node_type["allowed_children"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(named)
                .collect()
        };
        types
            .iter()
            .map(|node_type| (text(node_type, "id"), allowed(node_type)))
            .collect()
    }

    /// Runs a random step, and checks the promises.
    pub async fn step(&mut self) {
        let at = self.random.below(self.sessions.len());
        match self.random.below(1_000) {
            0..600 => self.command(at).await,
            600..680 => self.history(at).await,
            680..740 => self.read(at).await,
            740..770 => self.presence(at).await,
            770..795 => self.resync(at).await,
            795..815 => self.bounce(at).await,
            815..835 => self.load(at).await,
            835..855 => self.save(at).await,
            855..860 => self.reopen().await,
            860..885 => self.fault(at).await,
            885..890 => self.quarantine(at).await,
            890..896 => self.operate(at, "restart").await,
            896..902 => self.operate(at, "passivate").await,
            902..905 => self.restart_hub().await,
            905..925 => self.malformed_request(at).await,
            925..940 => self.malformed_query(at).await,
            940..965 => self.malformed_event(at).await,
            965..980 => self.malformed_packets(at).await,
            980..988 => self.malformed_polling(at).await,
            _ => self.malformed_head().await,
        }
        if self.random.chance(8) {
            self.check(at).await;
            self.check_health().await;
        }
    }

    // Valid inputs.

    async fn command(&mut self, at: usize) {
        let graph = self.graph(at).await;
        let (command_type, data) = plan::command(&mut self.random, &graph, &self.sessions[at].types);
        let mut command = json!({"command_type": command_type, "data": data, "command_id": self.random.uuid()});
        if self.random.chance(10) {
            let position = self.sessions[at].clients[0].position.as_ref();
            command["expected_seq"] = json!(position.map(|(_, seq)| seq));
        }
        self.submit(at, "command:execute", command).await;
    }

    async fn history(&mut self, at: usize) {
        let event = if self.random.chance(60) {
            "command:undo"
        } else {
            "command:redo"
        };
        let scope = if self.random.chance(50) { "mine" } else { "session" };
        let history = json!({"scope": scope, "force": self.random.chance(50), "command_id": self.random.uuid()});
        self.submit(at, event, history).await;
    }

    async fn load(&mut self, at: usize) {
        if self.sessions[at].project.is_some() {
            return;
        }
        let body = json!({"graph": plan::graph(&mut self.random), "command_id": self.random.uuid()});
        let path = format!("/sessions/{}/load-graph", self.sessions[at].id);
        self.accepted(Method::POST, &path, Some(&body)).await;
        self.check(at).await;
    }

    async fn save(&mut self, at: usize) {
        let path = format!("/sessions/{}/save", self.sessions[at].id);
        self.accepted(Method::POST, &path, None).await;
    }

    /// Deletes the session of a project, and opens the project's file in another session, with the same graph.
    async fn reopen(&mut self) {
        let at = self.sessions.len() - 1;
        self.save(at).await;
        let before = self.graph(at).await;
        let path = format!("/sessions/{}", self.sessions[at].id);
        self.accepted(Method::DELETE, &path, None).await;
        let project = self.sessions[at].project.clone().expect("the last is a project");
        let opened = self
            .accepted(Method::POST, &format!("/projects/{project}/open"), None)
            .await;
        assert_eq!(opened["graph"], before, "the file has the saved graph");
        let session = &mut self.sessions[at];
        session.id = text(&opened, "session_id");
        for client in &mut session.clients {
            client.follow(&session.id);
        }
        (session.stream, session.last_event_id, session.streamed) = (None, None, Replica::default());
    }

    async fn read(&mut self, at: usize) {
        let id = self.sessions[at].id.clone();
        let graph = format!("/sessions/{id}/graph");
        let seq = self.accepted(Method::GET, &graph, None).await["seq"]
            .as_u64()
            .expect("a seq");
        let path = match self.random.below(6) {
            0 => format!("{graph}?min_seq={seq}"),
            1 => {
                let seq = self.random.below(usize::try_from(seq).expect("small") + 1);
                format!("{graph}?at_seq={seq}")
            }
            2 => format!("/sessions/{id}/history?limit={}", 1 + self.random.below(20)),
            3 => format!("/sessions/{id}/info"),
            4 => "/sessions?limit=2".to_owned(),
            _ => format!("/sessions/{id}/events?after={}&limit=10", seq / 2),
        };
        self.accepted(Method::GET, &path, None).await;
    }

    async fn presence(&mut self, at: usize) {
        let state = json!({"state": plan::value(&mut self.random, 1)});
        let number = self.random.below(CLIENTS_PER_SESSION);
        let answer = self.ask(at, number, "presence:update", &state).await;
        self.count_input(answer["success"] == json!(true));
    }

    async fn resync(&mut self, at: usize) {
        let (number, diverged) = (self.random.below(CLIENTS_PER_SESSION), self.random.chance(50));
        self.joined_client(at, number)
            .await
            .resync(diverged)
            .await
            .expect("a sync comes");
        self.count_input(true);
    }

    /// Disconnects a client, and joins it again with its position.
    async fn bounce(&mut self, at: usize) {
        let (number, politely) = (self.random.below(CLIENTS_PER_SESSION), self.random.chance(50));
        let client = &mut self.sessions[at].clients[number];
        client.leave(politely || client.is_polling()).await;
        if self.random.chance(30) {
            self.sessions[at].clients[number].position = None;
        }
        self.joined_client(at, number).await;
        self.count_input(true);
    }

    // Failures and operators.

    async fn fault(&mut self, at: usize) {
        let kinds = [
            "panic_decide",
            "panic_apply",
            "panic_broadcast",
            "append_error",
            "append_conflict",
            "append_unknown",
        ];
        let kind = *self.random.pick(&kinds);
        let path = format!("/sessions/{}/fault", self.sessions[at].id);
        self.post_operation(&path, &json!({"kind": kind})).await;
        self.counts.faults += 1;
        self.command(at).await;
        self.check(at).await;
    }

    async fn quarantine(&mut self, at: usize) {
        let path = format!("/sessions/{}", self.sessions[at].id);
        self.post_operation(&format!("{path}/quarantine"), &json!({})).await;
        let (status, body) = self.request(Method::GET, &format!("{path}/graph"), None).await;
        assert_eq!((status, &body["error"]["code"]), (423, &json!("SESSION_QUARANTINED")));
        for client in &mut self.sessions[at].clients {
            client.leave(true).await;
        }
        self.sessions[at].stream = None;
        self.post_operation(&format!("{path}/release"), &json!({})).await;
        self.counts.faults += 1;
        self.check(at).await;
    }

    async fn operate(&mut self, at: usize, what: &str) {
        let path = format!("/sessions/{}/{what}", self.sessions[at].id);
        self.post_operation(&path, &json!({})).await;
        self.counts.faults += 1;
    }

    /// Sends an operation. The session may be busy.
    async fn post_operation(&mut self, path: &str, body: &Value) {
        let request = self.http.post(format!("{}/ops{path}", self.hub.ops_url)).json(body);
        let (status, body) = self.read_reply(path, request).await;
        assert!(status == 200 || status == 409, "{path}: {status} {body}");
        self.count_input(status == 200);
    }

    /// P3: stops or kills the hub, and starts another one on the same data.
    async fn restart_hub(&mut self) {
        let gently = self.random.chance(50);
        for session in &mut self.sessions {
            for client in &mut session.clients {
                client.leave(false).await;
            }
            session.stream = None;
        }
        self.witness.1.leave(false).await;
        let unexpected_errors = self.hub.end(gently).await;
        assert!(unexpected_errors.is_empty(), "{unexpected_errors:?}");
        self.hub = Hub::start(self.dir.path()).await;
        self.witness.1.join(&self.hub.url).await.expect("the witness is let in");
        self.counts.faults += 1;
        for at in 0..self.sessions.len() {
            self.check(at).await;
        }
    }

    // Malformed inputs.

    async fn malformed_request(&mut self, at: usize) {
        let graph = self.graph(at).await;
        let (command_type, data) = plan::command(&mut self.random, &graph, &self.sessions[at].types);
        let id = self.sessions[at].id.clone();
        let good = json!({"session_id": id, "command_type": command_type, "data": data});
        let body = match self.random.below(4) {
            0 => malformed::command(&mut self.random, &good).to_string().into_bytes(),
            1 => format!("{good}{}", " ".repeat(70_000)).into_bytes(),
            _ => malformed::bytes(&mut self.random, good.to_string().as_bytes()),
        };
        let path = match self.random.below(5) {
            0 => format!("/sessions/{id}/undo"),
            1 => format!("/sessions/{id}/load-graph"),
            2 => "/projects".to_owned(),
            _ => "/commands/execute".to_owned(),
        };
        let request = self
            .http
            .post(self.api(&path))
            .header("content-type", "application/json")
            .body(body);
        let (status, _) = self.read_reply(&path, request).await;
        self.counts.malformed += 1;
        self.count_input(status < 400);
        // The request may have been accepted all the same, or have replaced the graph.
        self.check(at).await;
    }

    async fn malformed_query(&mut self, at: usize) {
        let good = format!("/sessions/{}/events?after=1&limit=5", self.sessions[at].id);
        let wrong = malformed::text(&mut self.random, &good);
        let escape = |byte: u8| match byte {
            b'!'..=b'~' if byte != b'#' && byte != b'"' && byte != b'<' && byte != b'>' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        let path: String = wrong.bytes().map(escape).collect();
        let mut request = self.http.get(self.api(&path));
        if self.random.chance(40) {
            request = request.header(
                "last-event-id",
                malformed::text(&mut self.random, "00000e0c-3").replace(|char: char| !char.is_ascii_graphic(), "x"),
            );
            request = request.header("accept", "application/json");
        }
        let (status, _) = self.read_reply(&path, request).await;
        self.counts.malformed += 1;
        self.count_input(status < 400);
    }

    /// Sends an event of valid JSON with malformed fields, and asserts that it is acknowledged and the socket stays.
    async fn malformed_event(&mut self, at: usize) {
        let graph = self.graph(at).await;
        let (command_type, data) = plan::command(&mut self.random, &graph, &self.sessions[at].types);
        let good = json!({"command_type": command_type, "data": data});
        let mut wrong = malformed::command(&mut self.random, &good);
        // The event must stay in its session.
        if let Some(fields) = wrong.as_object_mut() {
            fields.remove("session_id");
        }
        let event = *self.random.pick(&[
            "command:execute",
            "command:undo",
            "presence:update",
            "join_session",
            "leave_session",
        ]);
        if event == "leave_session" || (event == "join_session" && !wrong.is_object()) {
            wrong = json!({"session_id": malformed::odd_value(&mut self.random)});
        }
        let number = self.random.below(CLIENTS_PER_SESSION);
        let answer = self.ask(at, number, event, &wrong).await;
        self.known_error(event, &answer);
        self.counts.malformed += 1;
        self.count_input(answer["success"] == json!(true));
        self.check(at).await;
    }

    /// Joins a socket, and sends packets outside the protocol.
    async fn malformed_packets(&mut self, at: usize) {
        use futures_util::{SinkExt, StreamExt};
        use tokio_tungstenite::tungstenite::Message;
        let mut stream = dial(&self.hub.url).await;
        let auth = json!({"session_id": self.sessions[at].id, "client_id": "stranger"});
        let mut packets = vec![Message::text(format!("40/graph,{auth}"))];
        for _ in 0..=self.random.below(5) {
            packets.push(match self.random.below(6) {
                0 => Message::binary(malformed::bytes(&mut self.random, b"\x04binary")),
                1 => Message::Ping(b"ping".as_slice().into()),
                2 => Message::text("x".repeat(self.random.below(70_000))),
                _ => Message::text(malformed::packet(&mut self.random)),
            });
        }
        self.counts.malformed += packets.len() - 1;
        self.counts.inputs += packets.len();
        self.counts.accepted += 1;
        for packet in packets {
            // The hub may have closed the connection.
            if in_time("the hub to read", stream.send(packet)).await.is_err() {
                break;
            }
        }
        if self.random.chance(50) {
            let _ = in_time("the hub to read", stream.close(None)).await;
            in_time("the end of the connection", async {
                while let Some(Ok(_)) = stream.next().await {}
            })
            .await;
        }
        drop(stream);
        self.check(at).await;
    }

    async fn malformed_polling(&mut self, at: usize) {
        let url = format!("{}/socket.io/?EIO=4&transport=polling", self.hub.url);
        let opened = in_time("a handshake", self.http.get(&url).send())
            .await
            .expect("an answer");
        let opened = opened.text().await.expect("a text");
        let handshake: Value = serde_json::from_str(opened.trim_start_matches('0')).expect(&opened);
        let url = format!("{url}&sid={}", text(&handshake, "sid"));
        let auth = json!({"session_id": self.sessions[at].id, "client_id": "stranger"});
        let packets = [
            format!("40/graph,{auth}"),
            malformed::packet(&mut self.random),
            malformed::packet(&mut self.random),
        ];
        let body = malformed::bytes(&mut self.random, packets.join("\u{1e}").as_bytes());
        for body in [body, b"1".to_vec()] {
            let sent = in_time("an answer", self.http.post(&url).body(body).send()).await;
            let status = sent.expect("an answer").status();
            assert!(!status.is_server_error(), "{status}");
        }
        self.counts.malformed += 1;
        self.count_input(false);
        self.check(at).await;
    }

    async fn malformed_head(&mut self) {
        let address = self.hub.url.strip_prefix("http://").expect("plain HTTP");
        let mut stream = in_time("a connection", TcpStream::connect(address))
            .await
            .expect("the hub accepts");
        let head = malformed::head(&mut self.random);
        // The hub may close the connection before it has read everything. A reset is as good as an end.
        let _ = in_time("the hub to read", stream.write_all(&head)).await;
        let _ = stream.shutdown().await;
        let mut said = Vec::new();
        let _ = in_time("the end of the connection", stream.read_to_end(&mut said)).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(
            !said.starts_with("HTTP/1.1 500"),
            "{:?}: {said}",
            String::from_utf8_lossy(&head)
        );
        self.counts.malformed += 1;
        self.count_input(said.starts_with("HTTP/1.1 2"));
    }

    // Requests.

    fn count_input(&mut self, accepted: bool) {
        self.counts.inputs += 1;
        self.counts.accepted += usize::from(accepted);
    }

    fn api(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.hub.url)
    }

    /// Sends a command by a socket or by REST, and again with the same id until there is an outcome (P4).
    async fn submit(&mut self, at: usize, event: &str, command: Value) {
        let number = self.random.below(CLIENTS_PER_SESSION + 1);
        let session_id = self.sessions[at].id.clone();
        for _ in 0..ATTEMPTS_MAX {
            let answer = if number < CLIENTS_PER_SESSION {
                self.ask(at, number, event, &command).await
            } else {
                let (path, mut body) = match event {
                    "command:undo" => (format!("/sessions/{session_id}/undo"), command.clone()),
                    "command:redo" => (format!("/sessions/{session_id}/redo"), command.clone()),
                    _ => ("/commands/execute".to_owned(), command.clone()),
                };
                body["session_id"] = json!(session_id);
                self.request(Method::POST, &path, Some(&body)).await.1
            };
            self.known_error(event, &answer);
            let code = answer["error"]["code"].as_str().unwrap_or_default();
            if code != "OUTCOME_UNKNOWN" && code != "OVERLOADED" {
                self.count_input(answer["success"] == json!(true));
                return;
            }
        }
        unreachable!("{command} has no outcome");
    }

    /// Sends an event by a client's socket, and again after each loss of its connection.
    async fn ask(&mut self, at: usize, number: usize, event: &str, payload: &Value) -> Value {
        for _ in 0..ATTEMPTS_MAX {
            if let Ok(answer) = self.joined_client(at, number).await.ask(event, payload).await {
                return answer;
            }
        }
        unreachable!("{event} {payload} never gets an answer");
    }

    /// Returns a client after its join.
    async fn joined_client(&mut self, at: usize, number: usize) -> &mut ReplicaClient {
        let url = self.hub.url.clone();
        let client = &mut self.sessions[at].clients[number];
        for _ in 0..ATTEMPTS_MAX {
            if client.join(&url).await.is_ok() {
                return client;
            }
        }
        unreachable!("{} is not admitted", client.name);
    }

    async fn accepted(&mut self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let (status, body) = self.request(method, path, body).await;
        assert!(status < 300, "{path}: {status} {body}");
        self.count_input(true);
        body
    }

    /// Sends a request, and again while it has no outcome.
    async fn request(&mut self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        for _ in 0..ATTEMPTS_MAX {
            let mut request = self
                .http
                .request(method.clone(), self.api(path))
                .header("x-client-id", "rest");
            if let Some(body) = body {
                request = request.json(body);
            }
            let reply = self.read_reply(path, request).await;
            if reply.0 != StatusCode::SERVICE_UNAVAILABLE {
                return reply;
            }
        }
        unreachable!("{path} has no outcome");
    }

    /// P9: asserts that an answer is one of the contract: JSON, and an error with a known code and that code's status.
    async fn read_reply(&self, path: &str, request: reqwest::RequestBuilder) -> Reply {
        let response = in_time("an answer", request.send()).await.expect("the hub answers");
        let status = response.status().as_u16();
        let text = in_time("a body", response.text())
            .await
            .expect("the answer is complete");
        assert_ne!(status, 500, "{path}: {text}");
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or_else(|_| unreachable!("{path}: {status} {text}"))
        };
        if status >= 400 {
            self.known_error(path, &body);
            let code = body["error"]["code"].as_str().unwrap_or_default();
            let status_of_code = known_code(code).map(ErrorCode::status);
            assert_eq!(status_of_code, Some(status), "{path}: {body}");
        }
        (status, body)
    }

    fn known_error(&self, what: &str, answer: &Value) {
        let Some(error) = answer.get("error") else { return };
        let code = error["code"].as_str().unwrap_or_default();
        let known = known_code(code).is_some_and(|code| code != ErrorCode::InternalError);
        assert!(known && error["message"].is_string(), "{what}: {answer}");
    }

    async fn graph(&mut self, at: usize) -> Value {
        let path = format!("/sessions/{}/graph", self.sessions[at].id);
        self.request(Method::GET, &path, None).await.1["graph"].take()
    }

    // Promises.

    /// P1, P2: asserts that every client has the graph of the hub, from events alone, and so has the reader of the
    /// stream.
    async fn check(&mut self, at: usize) {
        let path = format!("/sessions/{}/graph", self.sessions[at].id);
        let (status, read) = self.request(Method::GET, &path, None).await;
        assert_eq!(status, 200, "{read}");
        let seq = read["seq"].as_u64().expect("a seq");
        let wanted = bare(&read["graph"]);
        for number in 0..CLIENTS_PER_SESSION {
            loop {
                let client = self.joined_client(at, number).await;
                if client.reach(seq).await.is_ok() {
                    break;
                }
            }
            let client = &self.sessions[at].clients[number];
            assert_eq!(client.replica.graph(), wanted, "{} at {seq}", client.name);
            if let Some((_, hash)) = client.hash.as_ref().filter(|(at, _)| *at == seq) {
                assert_eq!(*hash, read["state_hash"], "{} at {seq}", client.name);
            }
        }
        self.follow_stream(at, seq).await;
        assert_eq!(self.sessions[at].streamed.graph(), wanted, "the stream at {seq}");
        self.counts.checks += 1;
        self.check_witness().await;
    }

    async fn follow_stream(&mut self, at: usize, seq: u64) {
        let url = self.api(&format!("/sessions/{}/events", self.sessions[at].id));
        let session = &mut self.sessions[at];
        let seq_of = |id: &Option<String>| {
            id.as_ref().map_or(0, |id| {
                let (_, seq) = id.rsplit_once('-').expect("a seq");
                seq.parse::<u64>().expect("a number")
            })
        };
        while seq_of(&session.last_event_id) < seq {
            let Some(stream) = &mut session.stream else {
                let mut request = self.http.get(&url);
                if let Some(id) = &session.last_event_id {
                    request = request.header("last-event-id", id);
                }
                session.stream = Some(EventStream::open(request).await);
                continue;
            };
            let Some(event) = stream.next().await else {
                session.stream = None;
                continue;
            };
            assert_ne!(
                event.event, "session:sync",
                "the stream goes on at its position: {}",
                event.data
            );
            session.streamed.apply(&event.event, &event.data);
            session.last_event_id = event.id;
        }
    }

    /// P7: asserts that a session without failures serves, and that the connection of its client stays open.
    async fn check_witness(&mut self) {
        let (id, client) = &mut self.witness;
        let syncs = client.syncs;
        let command = json!({"session_id": id, "command_type": "CreateNode", "data": {"blueprint_type_id": "task"}});
        let answer = client
            .ask("command:execute", &command)
            .await
            .expect("the witness stays connected");
        assert_eq!(answer["success"], true, "{answer}");
        let seq = answer["seq"].as_u64().expect("a seq");
        client.reach(seq).await.expect("the witness stays connected");
        assert_eq!(client.syncs, syncs, "the witness misses nothing");
        let node = json!({"session_id": id, "command_type": "DeleteNode", "data": {"node_id": answer["node_id"]}});
        let answer = client
            .ask("command:execute", &node)
            .await
            .expect("the witness stays connected");
        assert_eq!(answer["success"], true, "{answer}");
        self.counts.inputs += 2;
        self.counts.accepted += 2;
    }

    async fn check_health(&mut self) {
        let request = self.http.get(self.api("/health"));
        assert_eq!(
            self.read_reply("/health", request).await,
            (200, json!({"status": "ok"}))
        );
        let unexpected_errors = self.hub.unexpected_errors();
        assert!(unexpected_errors.is_empty(), "{unexpected_errors:?}");
    }

    /// Checks everything once more, disconnects all clients, and asserts that none is left.
    pub async fn finish(mut self) -> Counts {
        for at in 0..self.sessions.len() {
            self.check(at).await;
            for number in 0..CLIENTS_PER_SESSION {
                self.sessions[at].clients[number].leave(true).await;
            }
            self.sessions[at].stream = None;
            let path = format!("/sessions/{}/info", self.sessions[at].id);
            in_time("all clients to be gone", async {
                loop {
                    let (_, info) = self.request(Method::GET, &path, None).await;
                    if info["active_clients"] == 0 && info["clients"] == json!([]) {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        self.check_health().await;
        let unexpected_errors = self.hub.end(true).await;
        assert!(unexpected_errors.is_empty(), "{unexpected_errors:?}");
        self.counts
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().expect(field).to_owned()
}

/// Returns a graph without the fields that replicas do not keep.
fn bare(graph: &Value) -> Value {
    let mut graph = graph.clone();
    let mut ahead: Vec<&mut Value> = vec![&mut graph["roots"]];
    while let Some(nodes) = ahead.pop() {
        for node in nodes.as_array_mut().expect("a list of nodes") {
            node.as_object_mut().expect("a node").remove("metadata");
            ahead.push(&mut node["children"]);
        }
    }
    graph
}

fn known_code(text: &str) -> Option<ErrorCode> {
    ErrorCode::ALL.iter().copied().find(|code| code.as_str() == text)
}
