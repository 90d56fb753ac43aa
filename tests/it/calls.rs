//! Calls that the shortcuts of `TestHub` do not cover: whole answers, bytes by hand, a socket over long polling.

use std::{future::Future, time::Duration};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinHandle,
};

use crate::support::TestHub;

/// How long something may take that has to happen. Far more than it ever takes: a test that gets here fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for something that has to happen.
pub async fn in_time<T>(what: &str, it: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, it).await.expect(what)
}

/// Asks again and again until the answer is yes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    in_time(what, async {
        while !ask().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// An answer with its headers and its body as text.
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

    /// The body, which has to be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect(&self.text)
    }

    /// Status and code of an answer that has to be a failure in our own words.
    pub fn refused(&self) -> (u16, String) {
        let code = self.json()["error"]["code"].as_str().expect("a code").to_owned();
        (self.status, code)
    }
}

/// Sends a request and reads all of its answer.
pub async fn whole(request: reqwest::RequestBuilder) -> Whole {
    let response = in_time("an answer", request.send()).await.expect("the hub answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("the answer is complete");
    Whole { status, headers, text }
}

impl TestHub {
    /// `GET` with headers and all.
    pub async fn get_whole(&self, path: &str) -> Whole {
        whole(self.http().get(self.api(path))).await
    }

    /// `POST` of a text as it is, declared as JSON.
    pub async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> Whole {
        let request = self.http().post(self.api(path));
        whole(request.header("content-type", "application/json").body(body)).await
    }

    /// Sends a command with whatever else belongs to a request.
    pub async fn execute_with(&self, session_id: &str, command_type: &str, data: Value, more: Value) -> Whole {
        let mut command = json!({"session_id": session_id, "command_type": command_type, "data": data});
        let members = command.as_object_mut().expect("an object");
        members.extend(more.as_object().expect("an object").clone());
        self.post_text("/commands/execute", command.to_string()).await
    }

    /// All sequenced events after a place, page by page.
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
            after = page["next_after"].as_u64().expect("a place");
            if page["more"] == json!(false) {
                return events;
            }
        }
    }

    /// A reader who takes up a place in a session until the session is at 1 or the task is aborted. It tries until it
    /// gets one: what the test asks meanwhile takes one too.
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

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> String {
        let page = whole(self.http().get(format!("{}/metrics", self.url))).await.text;
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        page.lines().find_map(value).expect(name)
    }

    /// The names of the roots and of everything below, a blank for each level.
    pub async fn outline(&self, session_id: &str) -> Vec<String> {
        outline(&self.graph(session_id).await)
    }
}

/// The names in a graph in document order, a blank for each level.
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

/// A connection on which a test says each byte itself.
pub struct Raw(BufReader<TcpStream>);

impl Raw {
    pub async fn to(url: &str) -> Self {
        let address = url.strip_prefix("http://").expect("plain HTTP");
        let stream = in_time("a connection", TcpStream::connect(address))
            .await
            .expect("the hub accepts");
        Self(BufReader::new(stream))
    }

    /// Sends bytes. The hub may not hang up meanwhile.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        in_time("the hub to read", self.0.write_all(bytes.as_ref()))
            .await
            .expect("the hub reads");
    }

    /// Sends bytes, or says that the hub has hung up.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        in_time("the hub to read", self.0.write_all(bytes.as_ref()))
            .await
            .is_ok()
    }

    /// True if there is something to read by now, or the end.
    pub async fn has_answer(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.0.fill_buf() => true,
            () = tokio::task::yield_now() => false,
        }
    }

    /// Says that nothing more will come.
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

    /// The next answer. Its body must come with a length, as all of the hub's do.
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

    /// Waits until the hub hangs up, and tells what it said until then.
    pub async fn until_closed(&mut self) -> String {
        let mut said = Vec::new();
        // A reset is as good as an end.
        let _ = in_time("the end of the connection", self.0.read_to_end(&mut said)).await;
        String::from_utf8_lossy(&said).into_owned()
    }
}

/// A Socket.IO client that knows long polling and nothing else.
pub struct Poller {
    http: reqwest::Client,
    url: String,
}

impl Poller {
    /// Opens a transport. It is in no namespace yet.
    pub async fn open(hub_url: &str) -> Self {
        let http = reqwest::Client::new();
        let url = format!("{hub_url}/socket.io/?EIO=4&transport=polling");
        let opened = whole(http.get(&url)).await;
        let handshake: Value = serde_json::from_str(opened.text.trim_start_matches('0')).expect(&opened.text);
        let url = format!("{url}&sid={}", handshake["sid"].as_str().expect("an id"));
        Self { http, url }
    }

    /// Opens a transport and joins a session's room; returns once the hub has told where the session is.
    pub async fn join(hub_url: &str, session_id: &str) -> Self {
        let poller = Self::open(hub_url).await;
        poller
            .send(&format!("40/graph,{}", json!({ "session_id": session_id })))
            .await;
        poller.wait_for("session:sync").await;
        poller
    }

    /// Where its packets go, without the hub's address.
    pub fn path(&self) -> &str {
        let at = self.url.find("/socket.io/").expect("it is a part of it");
        &self.url[at..]
    }

    pub async fn send(&self, packet: &str) {
        let sent = whole(self.http.post(&self.url).body(packet.to_owned())).await;
        assert_eq!((sent.status, sent.text.as_str()), (200, "ok"));
    }

    /// Waits for packets, and answers pings.
    pub async fn poll(&self) -> Vec<String> {
        let polled = whole(self.http.get(&self.url)).await;
        assert_eq!(polled.status, 200, "{}", polled.text);
        let packets: Vec<String> = polled.text.split('\u{1e}').map(str::to_owned).collect();
        if packets.iter().any(|packet| packet == "2") {
            self.send("3").await;
        }
        packets
    }

    /// Waits for a packet that has this in it.
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

    /// Leaves as a client does that closes its page.
    pub async fn close(self) {
        self.send("1").await;
    }
}
