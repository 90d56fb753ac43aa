//! A client of the hub under test: a socket with a queue, a copy of the graph, and the place that it stands for.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use talus_actors::{
    domain::ids::{Epoch, Seq, SessionId},
    fan_out::{DeferredSync, Delivery, Frame, Member, MemberId, MemberInfo, Presence, Release, RoomSocket, SendError},
    hub::Hub,
    session_actor::{Position, ResyncRequest},
    world::now,
};
use tokio::sync::mpsc;

use super::{replica::Replica, within};

/// What happens to a socket.
#[derive(Debug)]
enum Note {
    Packet(&'static str, Value),
    Behind,
    Released(Release),
}

/// The hub's end.
struct Socket {
    notes: mpsc::UnboundedSender<Note>,
    /// Packets that still fit into its queue.
    space: AtomicUsize,
    hub: Hub,
    session: SessionId,
    member: MemberId,
}

/// The client's end of a connection.
struct Connection {
    member: MemberId,
    presence: Presence,
    socket: Arc<Socket>,
    notes: mpsc::UnboundedReceiver<Note>,
}

/// See the [module](self).
pub struct Client {
    name: String,
    frames: Delivery,
    session: SessionId,
    connection: Option<Connection>,
    /// Whether packets were lost that no sync has made up for.
    behind: bool,
    /// Whether a sync has come since it connected.
    synced: bool,
    pub replica: Replica,
    pub position: Option<Position>,
    /// Who is here and what they say, as far as it was told.
    here: BTreeMap<String, Value>,
    /// The command whose events are coming.
    open_command: Option<Value>,
    /// Reasons of the syncs it got, in this connection.
    pub reasons: Vec<String>,
    /// The hash of the graph that it was last told, and where.
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
        self.note(Note::Behind);
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
        // A client that went listens no more.
        let _ = self.notes.send(note);
    }
}

impl Client {
    pub fn new(number: usize, session: SessionId) -> Self {
        Self {
            name: format!("client-{number}"),
            // Some in each session: theirs is the same story.
            frames: if number < 2 {
                Delivery::Single
            } else {
                Delivery::Batched
            },
            session,
            connection: None,
            behind: false,
            synced: false,
            replica: Replica::default(),
            position: None,
            here: BTreeMap::new(),
            open_command: None,
            reasons: Vec::new(),
            hash: None,
        }
    }

    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    pub const fn is_behind(&self) -> bool {
        self.behind
    }

    pub fn member(&self) -> MemberId {
        self.connection.as_ref().expect("it is connected").member
    }

    /// Comes, with the place where it was.
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
        (self.behind, self.synced, self.open_command) = (false, false, None);
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

    /// Goes. What was on its way is lost.
    pub async fn leave(&mut self, hub: &Hub) {
        let connection = self.connection.take().expect("it is connected");
        within(hub.leave(self.session, connection.member, &"transport_close".into())).await;
    }

    /// Says something of itself.
    pub fn says(&self, hub: &Hub, what: u64) {
        let connection = self.connection.as_ref().expect("it is connected");
        let state = serde_json::value::to_raw_value(&what).expect("JSON");
        if connection.presence.set(Some(state.into())) {
            hub.presence_changed(self.session, connection.member);
        }
    }

    /// Reads until it knows that these are here, and what they say.
    pub async fn read_here(&mut self, expected: &BTreeMap<String, Value>) {
        while self.is_connected() && self.here != *expected {
            self.read_one().await;
        }
    }

    /// From now on so many packets fit into its queue.
    pub fn set_space(&self, packets: usize) {
        let connection = self.connection.as_ref().expect("it is connected");
        connection.socket.space.store(packets, Ordering::Relaxed);
    }

    /// Reads until it is where the session is.
    pub async fn read_to(&mut self, seq: Seq) {
        while self.is_connected() && self.position.is_none_or(|at| at.seq < seq) {
            self.read_one().await;
        }
    }

    /// Reads until it is let go.
    pub async fn read_to_end(&mut self) {
        while self.is_connected() {
            self.read_one().await;
        }
    }

    /// Reads what there is.
    pub fn read_now(&mut self) {
        while let Some(connection) = &mut self.connection
            && let Ok(note) = connection.notes.try_recv()
        {
            self.hear(note);
        }
    }

    /// Reads until a sync has come.
    pub async fn read_sync(&mut self) {
        let before = self.reasons.len();
        while self.is_connected() && self.reasons.len() == before {
            self.read_one().await;
        }
    }

    async fn read_one(&mut self) {
        let connection = self.connection.as_mut().expect("it is connected");
        let note = within(connection.notes.recv()).await.expect("the socket is there");
        self.hear(note);
    }

    fn hear(&mut self, note: Note) {
        match note {
            Note::Packet(event, data) => self.packet(event, &data),
            Note::Behind => self.behind = true,
            Note::Released(how) => {
                assert_ne!(how, Release::SessionDeleted, "it may come back");
                self.connection = None;
            }
        }
    }

    /// P1, P2, P7: what is sequenced is the next one; else a sync says how to go on.
    fn packet(&mut self, event: &str, data: &Value) {
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
            assert_eq!(self.frames, Delivery::Batched, "{} did not ask for it", self.name);
            let told = data["events"].as_array().expect("events");
            for told in told {
                self.told(told["event"].as_str().expect("a name"), &told["data"]);
            }
            assert_eq!(self.open_command, None, "a packet has whole commands: {data}");
            return;
        }
        let apart = self.frames == Delivery::Batched && data.get("command_id").is_some();
        assert!(!apart, "{} asked for {event} with others", self.name);
        self.told(event, data);
    }

    fn told(&mut self, event: &str, data: &Value) {
        assert_eq!(
            data["session_id"],
            self.session.to_string(),
            "{event} is of this session"
        );
        match event {
            "presence:state" => self.here = listed(&data["clients"]).collect(),
            "presence:diff" => self.hear_diff(data),
            _ => {}
        }
        if event == "session:tick" {
            self.note_hash(data);
        }
        self.note_order(event, data);
        if let Some(seq) = data["seq"].as_u64().filter(|_| !event.starts_with("session:")) {
            let at = self.position.as_mut().expect("a sync came first");
            // A command that changed nothing carries the place where it left the session.
            if event == "command:executed" && seq == at.seq.0 {
                return;
            }
            assert_eq!(seq, at.seq.0 + 1, "{} gets the next event: {event} {data}", self.name);
            at.seq = Seq(seq);
            self.replica.hear(event, data);
        }
    }

    fn hear_diff(&mut self, diff: &Value) {
        self.here.extend(listed(&diff["joins"]).chain(listed(&diff["updates"])));
        for gone in diff["leaves"].as_array().expect("a list") {
            self.here.remove(gone.as_str().expect("a name"));
        }
    }

    /// One command's events stand together: executing, what it changed, and how it ended.
    fn note_order(&mut self, event: &str, data: &Value) {
        let Some(command) = data.get("command_id") else { return };
        if event == "command:executing" {
            assert_eq!(self.open_command, None, "the command before {data} has ended");
            self.open_command = Some(command.clone());
        } else {
            assert_eq!(
                self.open_command.as_ref(),
                Some(command),
                "{event} is of the command that is being told"
            );
        }
        if ["command:executed", "command:failed", "command:undo", "command:redo"].contains(&event) {
            self.open_command = None;
        }
    }

    fn note_hash(&mut self, data: &Value) {
        let seq = Seq(data["seq"].as_u64().expect("a place"));
        self.hash = Some((seq, data["state_hash"].as_str().expect("a hash").to_owned()));
    }

    fn sync(&mut self, data: &Value) {
        self.note_hash(data);
        let epoch: Epoch = data["epoch"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("an epoch");
        let seq = Seq(data["seq"].as_u64().expect("a place"));
        let before = self.position;
        if let Some(before) = before.filter(|at| at.epoch == Some(epoch)) {
            assert!(seq >= before.seq, "nothing takes a client back: {before:?}, {data}");
        }
        if data.get("graph").is_some() {
            self.replica = Replica::of(&data["graph"]);
        } else {
            let mut at = before.expect("only who has a place is told what came after it").seq;
            for told in data["events"].as_array().expect("events") {
                let (event, data) = (told["event"].as_str().expect("a name"), &told["data"]);
                let place = data["seq"].as_u64().expect("a place");
                // Those before its place are none of its business.
                if place <= at.0 {
                    continue;
                }
                assert_eq!(place, at.0 + 1, "the sync gives what is missing: {data}");
                at = Seq(place);
                self.replica.hear(event, data);
            }
            assert_eq!(at, seq, "and all of it");
        }
        self.position = Some(Position {
            epoch: Some(epoch),
            seq,
        });
        (self.synced, self.behind, self.open_command) = (true, false, None);
        self.reasons.push(data["reason"].as_str().expect("a reason").to_owned());
    }
}

/// Clients and what they say.
fn listed(clients: &Value) -> impl Iterator<Item = (String, Value)> {
    let clients = clients.as_array().expect("a list").iter();
    clients.map(|client| {
        let name = client["client_id"].as_str().expect("a name");
        (name.to_owned(), client["state"].clone())
    })
}
