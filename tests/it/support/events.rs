//! Reader of server-sent events.

use std::{collections::VecDeque, time::Duration};

use serde_json::Value;

/// Longest wait for an event: 10 s.
const DEADLINE: Duration = Duration::from_secs(10);

/// A stream of server-sent events.
pub struct EventStream {
    response: reqwest::Response,
    unread: String,
    events: VecDeque<StreamEvent>,
}

/// Event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEvent {
    pub id: Option<String>,
    pub event: String,
    pub data: Value,
}

impl EventStream {
    pub async fn open(request: reqwest::RequestBuilder) -> Self {
        let response = request.header("accept", "text/event-stream").send().await;
        let response = response.expect("the hub answers");
        assert_eq!(response.status().as_u16(), 200);
        let media_type = response.headers()["content-type"].to_str().expect("text").to_owned();
        assert!(media_type.starts_with("text/event-stream"), "{media_type}");
        Self {
            response,
            unread: String::new(),
            events: VecDeque::new(),
        }
    }

    /// Returns the next event; `None` if the stream has ended.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let chunk = tokio::time::timeout(DEADLINE, self.response.chunk()).await;
            let chunk = chunk.expect("an event comes in time").ok().flatten()?;
            self.unread.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                self.events.extend(parse(block));
                self.unread = rest.to_owned();
            }
        }
    }

    /// Returns the next `count` events.
    pub async fn take(&mut self, count: usize) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("the stream continues"));
        }
        events
    }

    /// Reads up to the next event with a name, and returns that event.
    pub async fn until(&mut self, name: &str) -> StreamEvent {
        loop {
            let event = self.next().await.expect("the stream continues");
            if event.event == name {
                return event;
            }
        }
    }
}

/// Parses an event; `None` for a comment, which only keeps the connection alive.
fn parse(block: &str) -> Option<StreamEvent> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Some(StreamEvent {
        id: field("id").map(str::to_owned),
        event: field("event")?.to_owned(),
        data: serde_json::from_str(field("data")?).expect("JSON on one line"),
    })
}
