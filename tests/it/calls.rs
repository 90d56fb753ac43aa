//! Requests beyond the methods of `TestHub`: complete responses, hand-written bytes, sockets over long polling.

use std::{future::Future, time::Duration};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinHandle,
};

use crate::support::TestHub;

/// Longest wait for an event that must happen: 60 s, far more than any event takes.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Awaits a future and fails after [`DEADLINE`].
pub async fn in_time<T>(what: &str, it: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, it).await.expect(what)
}

/// Repeats a check until the check returns true.
pub async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    in_time(what, async {
        while !ask().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Response with its headers, and its body as text.
#[derive(Debug, Clone)]
pub struct Whole {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Whole {
    /// Returns the first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_lines(name).next()
    }

    /// Returns all values of a header that may occur more than once.
    pub fn header_lines(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.headers.get_all(name).into_iter();
        values.map(|value| value.to_str().expect("a header in ASCII"))
    }

    /// Parses the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect(&self.text)
    }

    /// Returns status and error code of a refusal.
    pub fn refused(&self) -> (u16, String) {
        let code = self.json()["error"]["code"].as_str().expect("a code").to_owned();
        (self.status, code)
    }
}

/// Sends a request and reads the complete response.
pub async fn whole(request: reqwest::RequestBuilder) -> Whole {
    let response = in_time("an answer", request.send()).await.expect("the hub answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("the answer is complete");
    Whole { status, headers, text }
}

impl TestHub {
    /// Sends a `GET` request and returns the complete response.
    pub async fn get_whole(&self, path: &str) -> Whole {
        whole(self.http().get(self.api(path))).await
    }

    /// Posts a text unchanged, declared as JSON.
    pub async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> Whole {
        let request = self.http().post(self.api(path));
        whole(request.header("content-type", "application/json").body(body)).await
    }

    /// Sends a command with further members of the request.
    pub async fn execute_with(&self, session_id: &str, command_type: &str, data: Value, more: Value) -> Whole {
        let mut command = json!({"session_id": session_id, "command_type": command_type, "data": data});
        let members = command.as_object_mut().expect("an object");
        members.extend(more.as_object().expect("an object").clone());
        self.post_text("/commands/execute", command.to_string()).await
    }

    /// Returns all sequenced events after a `seq`, page by page.
    pub async fn events(&self, session_id: &str, after: u64) -> Vec<(String, Value)> {
        let (mut events, mut after) = (Vec::new(), after);
        loop {
            let page = self
                .get(&format!("/sessions/{session_id}/events?after={after}"))
                .await
                .ok();
            for listed in page["events"].as_array().expect("a list") {
                let name = listed["event"].as_str().expect("a name").to_owned();
                events.push((name, listed["data"].clone()));
            }
            after = page["next_after"].as_u64().expect("a seq");
            if page["more"] == json!(false) {
                return events;
            }
        }
    }

    /// Starts a reader that holds a permit of a session until the session's `seq` is 1 or the task is aborted. The
    /// reader tries until it gets a permit, because the test's own requests take permits too.
    pub fn occupy(&self, session_id: &str) -> JoinHandle<Whole> {
        let read = self
            .http()
            .get(self.api(&format!("/sessions/{session_id}/graph?min_seq=1")));
        tokio::spawn(async move {
            loop {
                let answer = whole(read.try_clone().expect("no body")).await;
                if answer.status != 503 || answer.refused().1 != "OVERLOADED" {
                    return answer;
                }
            }
        })
    }

    /// Returns the value of a metric without labels.
    pub async fn metric(&self, name: &str) -> String {
        let page = whole(self.http().get(format!("{}/metrics", self.url))).await.text;
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        page.lines().find_map(value).expect(name)
    }

    /// Returns the names of a session's nodes in document order, indented by a blank for each level.
    pub async fn outline(&self, session_id: &str) -> Vec<String> {
        outline(&self.graph(session_id).await)
    }
}

/// Returns the names in a graph in document order, indented by a blank for each level.
pub fn outline(graph: &Value) -> Vec<String> {
    let nodes = |list: &Value| {
        list.as_array()
            .expect("a list of nodes")
            .iter()
            .rev()
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut ahead: Vec<(usize, Value)> = nodes(&graph["roots"]).into_iter().map(|node| (0, node)).collect();
    let mut names = Vec::new();
    while let Some((level, node)) = ahead.pop() {
        names.push(format!(
            "{}{}",
            " ".repeat(level),
            node["name"].as_str().expect("a name")
        ));
        ahead.extend(nodes(&node["children"]).into_iter().map(|child| (level + 1, child)));
    }
    names
}

/// Connection on which a test writes every byte.
pub struct Raw(BufReader<TcpStream>);

impl Raw {
    pub async fn to(url: &str) -> Self {
        let address = url.strip_prefix("http://").expect("plain HTTP");
        let stream = in_time("a connection", TcpStream::connect(address))
            .await
            .expect("the hub accepts");
        Self(BufReader::new(stream))
    }

    /// Sends bytes, and fails if the hub closes the connection.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        in_time("the hub to read", self.0.write_all(bytes.as_ref()))
            .await
            .expect("the hub reads");
    }

    /// Sends bytes; returns false if the hub has closed the connection.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        in_time("the hub to read", self.0.write_all(bytes.as_ref()))
            .await
            .is_ok()
    }

    /// Returns true if bytes or the end of the connection can be read.
    pub async fn has_answer(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.0.fill_buf() => true,
            () = tokio::task::yield_now() => false,
        }
    }

    /// Ends the sending side.
    pub async fn finish(&mut self) {
        self.0.shutdown().await.expect("the connection is open");
    }

    /// Sends a request with a JSON body over this connection, and returns the answer.
    pub async fn post(&mut self, path: &str, body: &Value) -> Whole {
        let body = body.to_string();
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
        self.answer().await
    }

    /// Returns the next response. The hub sends every body with a length.
    pub async fn answer(&mut self) -> Whole {
        in_time("an answer", self.read_answer()).await
    }

    async fn read_answer(&mut self) -> Whole {
        let status_line = self.line().await;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .expect(&status_line);
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            let name = name.parse::<HeaderName>().expect("a header's name");
            headers.append(name, value.trim().parse::<HeaderValue>().expect("a header's value"));
        }
        let length = headers
            .get("content-length")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        self.0.read_exact(&mut body).await.expect("the whole body");
        let text = String::from_utf8(body).expect("UTF-8");
        Whole { status, headers, text }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.expect("a line");
        line.trim_end().to_owned()
    }

    /// Reads until the hub closes the connection, and returns the bytes as text.
    pub async fn until_closed(&mut self) -> String {
        let mut bytes = Vec::new();
        // A reset counts as an end.
        let _ = in_time("the end of the connection", self.0.read_to_end(&mut bytes)).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Socket.IO client over long polling only.
pub struct Poller {
    http: reqwest::Client,
    url: String,
}

impl Poller {
    /// Opens a transport without joining a namespace.
    pub async fn open(hub_url: &str) -> Self {
        let http = reqwest::Client::new();
        let url = format!("{hub_url}/socket.io/?EIO=4&transport=polling");
        let opened = whole(http.get(&url)).await;
        let handshake: Value = serde_json::from_str(opened.text.trim_start_matches('0')).expect(&opened.text);
        let url = format!("{url}&sid={}", handshake["sid"].as_str().expect("an id"));
        Self { http, url }
    }

    /// Opens a transport and joins the room of a session. Returns after the first sync.
    pub async fn join(hub_url: &str, session_id: &str) -> Self {
        let poller = Self::open(hub_url).await;
        poller
            .send(&format!("40/graph,{}", json!({ "session_id": session_id })))
            .await;
        poller.wait_for("session:sync").await;
        poller
    }

    /// Returns path and query of the transport.
    pub fn path(&self) -> &str {
        let at = self.url.find("/socket.io/").expect("the path of the transport");
        &self.url[at..]
    }

    pub async fn send(&self, packet: &str) {
        let sent = whole(self.http.post(&self.url).body(packet.to_owned())).await;
        assert_eq!((sent.status, sent.text.as_str()), (200, "ok"));
    }

    /// Waits for packets and answers pings.
    pub async fn poll(&self) -> Vec<String> {
        let polled = whole(self.http.get(&self.url)).await;
        assert_eq!(polled.status, 200, "{}", polled.text);
        let packets: Vec<String> = polled.text.split('\u{1e}').map(str::to_owned).collect();
        if packets.iter().any(|packet| packet == "2") {
            self.send("3").await;
        }
        packets
    }

    /// Waits for a packet that contains a text.
    pub async fn wait_for(&self, what: &str) -> String {
        in_time(what, async {
            loop {
                let found = self.poll().await.into_iter().find(|packet| packet.contains(what));
                if let Some(packet) = found {
                    return packet;
                }
            }
        })
        .await
    }

    /// Closes the transport as a browser does when its page closes.
    pub async fn close(self) {
        self.send("1").await;
    }
}
