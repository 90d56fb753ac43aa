//! Client of the hub under test: a socket with a queue, a replica of the graph, and a position.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use talus_actors::{
    clock::now,
    domain::ids::{Epoch, Seq, SessionId},
    fan_out::{DeferredSync, Delivery, Frame, Member, MemberId, MemberInfo, Presence, Release, RoomSocket, SendError},
    hub::Hub,
    session_actor::{Position, ResyncRequest},
};
use tokio::sync::mpsc;

use super::{replica::Replica, within};

/// Message from the hub's end of a socket to the client's end.
#[derive(Debug)]
enum Note {
    Packet(&'static str, Value),
    Lagging,
    Released(Release),
}

/// Hub's end of a connection.
struct Socket {
    notes: mpsc::UnboundedSender<Note>,
    /// Number of packets that still fit into the queue.
    space: AtomicUsize,
    hub: Hub,
    session: SessionId,
    member: MemberId,
}

/// Client's end of a connection.
struct Connection {
    member: MemberId,
    presence: Presence,
    socket: Arc<Socket>,
    notes: mpsc::UnboundedReceiver<Note>,
}

/// Client of a session. See the [module](self).
pub struct Client {
    name: String,
    frames: Delivery,
    session: SessionId,
    connection: Option<Connection>,
    /// True after lost packets, until the next sync.
    lagging: bool,
    /// True after the first sync of the connection.
    synced: bool,
    pub replica: Replica,
    pub position: Option<Position>,
    /// Clients of the session by name, each with its presence, as this client has received them.
    presence: BTreeMap<String, Value>,
    /// Command whose events are arriving.
    open_command: Option<Value>,
    /// Reasons of the syncs of this connection.
    pub reasons: Vec<String>,
    /// Last received state hash, and its `seq`.
    pub hash: Option<(Seq, String)>,
}

impl RoomSocket for Socket {
    fn send(&self, frame: &Frame) -> Result<(), SendError> {
        let take = |space: usize| {
            if space == usize::MAX {
                Some(space)
            } else {
                space.checked_sub(1)
            }
        };
        if self
            .space
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_err()
        {
            return Err(SendError::Full);
        }
        let data = serde_json::from_str(frame.data.get()).expect("JSON");
        self.note(Note::Packet(frame.event, data));
        Ok(())
    }

    fn mark_lagging(&self, _: Seq, _: u32) {
        self.note(Note::Lagging);
    }

    fn has_drained(&self) -> bool {
        true
    }

    fn grant_sync(&self, due: DeferredSync) {
        let request = ResyncRequest::due(due, now());
        self.hub.resync(self.session, self.member, request);
    }

    fn release(&self, how: Release) {
        self.note(Note::Released(how));
    }
}

impl Socket {
    fn note(&self, note: Note) {
        // The channel is closed if the client has left.
        let _ = self.notes.send(note);
    }
}

impl Client {
    pub fn new(number: usize, session: SessionId) -> Self {
        Self {
            name: format!("client-{number}"),
            // Both modes of delivery occur in each session, and must lead to the same replica.
            frames: if number < 2 {
                Delivery::Single
            } else {
                Delivery::Batched
            },
            session,
            connection: None,
            lagging: false,
            synced: false,
            replica: Replica::default(),
            position: None,
            presence: BTreeMap::new(),
            open_command: None,
            reasons: Vec::new(),
            hash: None,
        }
    }

    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    pub const fn is_lagging(&self) -> bool {
        self.lagging
    }

    pub fn member(&self) -> MemberId {
        self.connection.as_ref().expect("the client is connected").member
    }

    /// Joins with the client's position, and reads up to the first sync.
    pub async fn join(&mut self, hub: &Hub) {
        let (sender, notes) = mpsc::unbounded_channel();
        let id = hub.next_member_id();
        let socket = Arc::new(Socket {
            notes: sender,
            space: AtomicUsize::new(usize::MAX),
            hub: hub.clone(),
            session: self.session,
            member: id,
        });
        let presence = Presence::default();
        let member = Member {
            id,
            info: MemberInfo {
                client_id: self.name.parse().expect("a client id"),
                user: None,
            },
            frames: self.frames,
            presence: presence.clone(),
            socket: Arc::clone(&socket) as Arc<dyn RoomSocket>,
        };
        within(hub.join(self.session, member, self.position))
            .await
            .expect("there is room");
        (self.lagging, self.synced, self.open_command) = (false, false, None);
        self.reasons.clear();
        self.connection = Some(Connection {
            member: id,
            presence,
            socket,
            notes,
        });
        while !self.synced {
            self.read_one().await;
        }
    }

    /// Leaves. Packets in the queue are lost.
    pub async fn leave(&mut self, hub: &Hub) {
        let connection = self.connection.take().expect("the client is connected");
        within(hub.leave(self.session, connection.member, &"transport_close".into())).await;
    }

    /// Sets the presence of the client.
    pub fn set_presence(&self, hub: &Hub, what: u64) {
        let connection = self.connection.as_ref().expect("the client is connected");
        let state = serde_json::value::to_raw_value(&what).expect("JSON");
        if connection.presence.set(Some(state.into())) {
            hub.presence_changed(self.session, connection.member);
        }
    }

    /// Reads until the received presence is the expected one.
    pub async fn read_presence(&mut self, expected: &BTreeMap<String, Value>) {
        while self.is_connected() && self.presence != *expected {
            self.read_one().await;
        }
    }

    /// Sets the number of packets that fit into the queue from now on.
    pub fn set_space(&self, packets: usize) {
        let connection = self.connection.as_ref().expect("the client is connected");
        connection.socket.space.store(packets, Ordering::Relaxed);
    }

    /// Reads until the position is at `seq`.
    pub async fn read_to(&mut self, seq: Seq) {
        while self.is_connected() && self.position.is_none_or(|at| at.seq < seq) {
            self.read_one().await;
        }
    }

    /// Reads until the hub closes the connection.
    pub async fn read_to_end(&mut self) {
        while self.is_connected() {
            self.read_one().await;
        }
    }

    /// Reads the packets that have arrived.
    pub fn read_now(&mut self) {
        while let Some(connection) = &mut self.connection
            && let Ok(note) = connection.notes.try_recv()
        {
            self.receive(note);
        }
    }

    /// Reads up to the next sync.
    pub async fn read_sync(&mut self) {
        let before = self.reasons.len();
        while self.is_connected() && self.reasons.len() == before {
            self.read_one().await;
        }
    }

    async fn read_one(&mut self) {
        let connection = self.connection.as_mut().expect("the client is connected");
        let note = within(connection.notes.recv()).await.expect("the socket is there");
        self.receive(note);
    }

    fn receive(&mut self, note: Note) {
        match note {
            Note::Packet(event, data) => self.receive_packet(event, &data),
            Note::Lagging => self.lagging = true,
            Note::Released(how) => {
                assert_ne!(how, Release::SessionDeleted, "no session is deleted");
                self.connection = None;
            }
        }
    }

    /// P1, P2, P7: receives a packet. A sequenced event must be the next one, unless a sync set_presence how to go on.
    fn receive_packet(&mut self, event: &str, data: &Value) {
        assert_eq!(
            data["session_id"],
            self.session.to_string(),
            "{event} is of this session"
        );
        if event == "session:sync" {
            return self.sync(data);
        }
        assert!(self.synced, "nothing comes before the sync, but {event} did");
        if event == "session:events" {
            assert_eq!(self.frames, Delivery::Batched, "{} has single delivery", self.name);
            let events = data["events"].as_array().expect("events");
            for event in events {
                self.receive_event(event["event"].as_str().expect("a name"), &event["data"]);
            }
            assert_eq!(self.open_command, None, "a packet has whole commands: {data}");
            return;
        }
        let apart = self.frames == Delivery::Batched && data.get("command_id").is_some();
        assert!(!apart, "{} has batched delivery, not {event}", self.name);
        self.receive_event(event, data);
    }

    fn receive_event(&mut self, event: &str, data: &Value) {
        assert_eq!(
            data["session_id"],
            self.session.to_string(),
            "{event} is of this session"
        );
        match event {
            "presence:state" => self.presence = listed(&data["clients"]).collect(),
            "presence:diff" => self.apply_presence_diff(data),
            _ => {}
        }
        if event == "session:tick" {
            self.note_hash(data);
        }
        self.note_order(event, data);
        if let Some(seq) = data["seq"].as_u64().filter(|_| !event.starts_with("session:")) {
            let at = self.position.as_mut().expect("a sync came first");
            // A command without changes carries the `seq` of the event before.
            if event == "command:executed" && seq == at.seq.0 {
                return;
            }
            assert_eq!(seq, at.seq.0 + 1, "{} gets the next event: {event} {data}", self.name);
            at.seq = Seq(seq);
            self.replica.apply(event, data);
        }
    }

    fn apply_presence_diff(&mut self, diff: &Value) {
        self.presence
            .extend(listed(&diff["joins"]).chain(listed(&diff["updates"])));
        for gone in diff["leaves"].as_array().expect("a list") {
            self.presence.remove(gone.as_str().expect("a name"));
        }
    }

    /// Asserts that the events of one command are contiguous: executing, its changes, its end.
    fn note_order(&mut self, event: &str, data: &Value) {
        let Some(command) = data.get("command_id") else { return };
        if event == "command:executing" {
            assert_eq!(self.open_command, None, "the command before {data} has ended");
            self.open_command = Some(command.clone());
        } else {
            assert_eq!(
                self.open_command.as_ref(),
                Some(command),
                "{event} is of the open command"
            );
        }
        if ["command:executed", "command:failed", "command:undo", "command:redo"].contains(&event) {
            self.open_command = None;
        }
    }

    fn note_hash(&mut self, data: &Value) {
        let seq = Seq(data["seq"].as_u64().expect("a seq"));
        self.hash = Some((seq, data["state_hash"].as_str().expect("a hash").to_owned()));
    }

    fn sync(&mut self, data: &Value) {
        self.note_hash(data);
        let epoch: Epoch = data["epoch"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("an epoch");
        let seq = Seq(data["seq"].as_u64().expect("a seq"));
        let before = self.position;
        if let Some(before) = before.filter(|at| at.epoch == Some(epoch)) {
            assert!(seq >= before.seq, "nothing takes a client back: {before:?}, {data}");
        }
        if data.get("graph").is_some() {
            self.replica = Replica::of(&data["graph"]);
        } else {
            let mut at = before.expect("a sync with events answers a position").seq;
            for entry in data["events"].as_array().expect("events") {
                let (event, data) = (entry["event"].as_str().expect("a name"), &entry["data"]);
                let place = data["seq"].as_u64().expect("a seq");
                // The client has the events up to its position already.
                if place <= at.0 {
                    continue;
                }
                assert_eq!(place, at.0 + 1, "the sync has exactly the missing events: {data}");
                at = Seq(place);
                self.replica.apply(event, data);
            }
            assert_eq!(at, seq, "the sync reaches its seq");
        }
        self.position = Some(Position {
            epoch: Some(epoch),
            seq,
        });
        (self.synced, self.lagging, self.open_command) = (true, false, None);
        self.reasons.push(data["reason"].as_str().expect("a reason").to_owned());
    }
}

/// Returns names and presence of clients.
fn listed(clients: &Value) -> impl Iterator<Item = (String, Value)> {
    let clients = clients.as_array().expect("a list").iter();
    clients.map(|client| {
        let name = client["client_id"].as_str().expect("a name");
        (name.to_owned(), client["state"].clone())
    })
}
