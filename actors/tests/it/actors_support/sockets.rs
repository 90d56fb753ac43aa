//! Recording sockets, which can be full or closed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::{Value as Json, value::to_raw_value};
use talus_actors::{
    clock::now,
    domain::ids::Seq,
    fan_out::{
        DeferredSync, Delivery, Frame, Member, MemberInfo, Presence, Release, RoomSocket, SendError, SyncReason,
    },
    hub::HubError,
    session_actor::{Position, ResyncRequest},
};
use tokio::sync::mpsc;

use super::{Session, within};

/// Operation on a socket.
#[derive(Debug, Clone)]
pub enum Note {
    /// A packet was queued.
    Packet(Packet),
    /// The socket was marked as lagging.
    Behind { delivered: Seq, attempt: u32 },
    /// A deferred sync was granted.
    Due(DeferredSync),
    /// The socket was released.
    Released(Release),
}

/// Packet, as read by a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    pub event: &'static str,
    pub seq: Option<Seq>,
    pub data: Json,
}

/// Events of the test encoder for commands.
const EVENTS: [&str; 4] = ["command:executing", "graph", "command:executed", "command:failed"];

/// Socket, as the room sees it.
pub struct TestSocket {
    notes: mpsc::UnboundedSender<Note>,
    /// Packets that still fit into the queue. Only the test frees space.
    space: AtomicUsize,
    closed: AtomicBool,
    /// True while queued packets count as unsent.
    busy: AtomicBool,
}

/// Client end of the socket.
pub struct Client {
    pub session: Session,
    pub member: Member,
    pub socket: Arc<TestSocket>,
    notes: mpsc::UnboundedReceiver<Note>,
}

impl RoomSocket for TestSocket {
    fn send(&self, frame: &Frame) -> Result<(), SendError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(SendError::Closed);
        }
        let space = self.space.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |space| {
            if space == usize::MAX {
                Some(space)
            } else {
                space.checked_sub(1)
            }
        });
        if space.is_err() {
            return Err(SendError::Full);
        }
        self.note(Note::Packet(Packet {
            event: frame.event,
            seq: frame.seq,
            data: serde_json::from_str(frame.data.get()).expect("JSON"),
        }));
        Ok(())
    }

    fn mark_lagging(&self, delivered: Seq, attempt: u32) {
        self.note(Note::Behind { delivered, attempt });
    }

    fn has_drained(&self) -> bool {
        !self.busy.load(Ordering::Relaxed)
    }

    fn grant_sync(&self, due: DeferredSync) {
        self.note(Note::Due(due));
    }

    fn release(&self, how: Release) {
        self.note(Note::Released(how));
    }
}

impl TestSocket {
    /// Sets the number of packets that still fit into the queue.
    pub fn set_space(&self, packets: usize) {
        self.space.store(packets, Ordering::Relaxed);
    }

    /// Sets whether queued packets count as unsent.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn note(&self, note: Note) {
        // A finished test has dropped the receiver.
        let _ = self.notes.send(note);
    }
}

impl Session {
    /// Returns a client that has not joined yet.
    pub fn client(&self, name: &str) -> Client {
        let (sender, notes) = mpsc::unbounded_channel();
        let socket = Arc::new(TestSocket {
            notes: sender,
            space: AtomicUsize::new(usize::MAX),
            closed: AtomicBool::new(false),
            busy: AtomicBool::new(false),
        });
        let member = Member {
            id: self.hub.next_member_id(),
            info: MemberInfo {
                client_id: name.parse().expect("a client id"),
                user: None,
            },
            frames: Delivery::Single,
            presence: Presence::default(),
            socket: Arc::clone(&socket) as Arc<dyn RoomSocket>,
        };
        Client {
            session: self.clone(),
            member,
            socket,
            notes,
        }
    }

    /// Returns a client with batched delivery that has not joined yet.
    pub fn batched_client(&self, name: &str) -> Client {
        let mut client = self.client(name);
        client.member.frames = Delivery::Batched;
        client
    }

    /// Returns a client that has joined and has read the packets of its join.
    pub async fn joined(&self, name: &str) -> Client {
        let mut client = self.client(name);
        within(client.join(None)).await.expect("there is room");
        client.until("session:connected").await;
        client
    }
}

impl Client {
    pub fn join(&self, position: Option<Position>) -> impl Future<Output = Result<(), HubError>> + Send + 'static {
        let (session, member) = (self.session.clone(), self.member.clone());
        async move { session.hub.join(session.id, member, position).await }
    }

    pub fn leave(&self, reason: &'static str) -> impl Future<Output = ()> + Send + 'static {
        let (session, member) = (self.session.clone(), self.member.id);
        async move { session.hub.leave(session.id, member, &reason.into()).await }
    }

    pub fn resync(&self, position: Option<Position>, reason: Option<SyncReason>) {
        let request = ResyncRequest {
            position,
            reason,
            now: now(),
        };
        self.session.hub.resync(self.session.id, self.member.id, request);
    }

    /// Requests a granted sync.
    pub fn ask(&self, due: DeferredSync) {
        let request = ResyncRequest::due(due, now());
        self.session.hub.resync(self.session.id, self.member.id, request);
    }

    /// Expects a granted sync as the next operation, and requests the sync.
    pub async fn request_granted_sync(&mut self) {
        match self.note().await {
            Note::Due(due) => self.ask(due),
            other => unreachable!("{other:?}, where a grant was due"),
        }
    }

    /// Sets the client's presence state. Returns true if the session had to be notified.
    pub fn says(&self, state: &Json) -> bool {
        let state = (!state.is_null()).then(|| Arc::from(to_raw_value(state).expect("JSON")));
        let told = self.member.presence.set(state);
        if told {
            self.session.hub.presence_changed(self.session.id, self.member.id);
        }
        told
    }

    /// Waits for the next operation.
    pub async fn note(&mut self) -> Note {
        within(self.notes.recv()).await.expect("the socket is there")
    }

    /// Waits for the next operation, which must be a packet.
    pub async fn packet(&mut self) -> Packet {
        match self.note().await {
            Note::Packet(packet) => packet,
            other => unreachable!("{other:?}, where a packet was due"),
        }
    }

    /// Returns the packets up to the next packet of an event, inclusive.
    pub async fn until(&mut self, event: &str) -> Vec<Packet> {
        let mut packets = vec![self.packet().await];
        while packets.last().is_some_and(|last| last.event != event) {
            packets.push(self.packet().await);
        }
        packets
    }

    /// Returns the packets up to the event at `seq`, inclusive.
    pub async fn until_seq(&mut self, seq: Seq) -> Vec<Packet> {
        let mut packets = vec![self.packet().await];
        while packets.last().is_some_and(|last| last.place() < Some(seq)) {
            packets.push(self.packet().await);
        }
        packets
    }

    /// Returns all operations so far that were not read.
    pub fn so_far(&mut self) -> Vec<Note> {
        std::iter::from_fn(|| self.notes.try_recv().ok()).collect()
    }

    /// Returns the names of all unread operations so far.
    pub fn unread_events(&mut self) -> Vec<&'static str> {
        let notes = self.so_far().into_iter();
        notes
            .map(|note| match note {
                Note::Packet(packet) => packet.event,
                Note::Behind { .. } => "(behind)",
                Note::Due(_) => "(due)",
                Note::Released(_) => "(released)",
            })
            .collect()
    }
}

impl Packet {
    /// Returns the `seq` of a client that has this packet: the event's, or the sync's.
    pub fn place(&self) -> Option<Seq> {
        self.seq.or_else(|| self.data["at"].as_u64().map(Seq))
    }

    /// Returns the packets of a batched packet, or the packet itself.
    pub fn apart(self) -> Vec<Self> {
        if self.event != "together" {
            return vec![self];
        }
        let items = self.data["items"].as_array().expect("a list").iter();
        let apart = |item: &Json| Self {
            event: EVENTS
                .into_iter()
                .find(|event| item["event"] == *event)
                .expect("an event of a command"),
            seq: item["seq"].as_u64().map(Seq),
            data: item["data"].clone(),
        };
        items.map(apart).collect()
    }

    pub fn is_sync(&self, reason: &str) -> bool {
        self.event == "session:sync" && self.data["reason"] == reason
    }
}

/// Asserts that packets continue a replica from `from` to `to` without a gap, a duplicate or a reordering (P1, P2):
/// each event is the next one, and a sync contains the missing events or the whole document.
pub fn assert_gapless(packets: &[Packet], from: Seq, to: Seq) {
    let mut at = from;
    for packet in packets {
        if packet.event == "session:sync" {
            let seqs = packet.data["body"]["seqs"].as_array();
            let expected: Vec<u64> = (at.0 + 1..=packet.place().expect("a sync has a place").0).collect();
            if let Some(seqs) = seqs {
                let seqs: Vec<u64> = seqs.iter().filter_map(Json::as_u64).collect();
                assert_eq!(seqs, expected, "the sync contains the missing events");
            }
            let place = packet.place().expect("a sync has a place");
            assert!(place >= at, "no packet moves a client back: {packets:?}");
            at = place;
        } else if let Some(seq) = packet.seq {
            assert_eq!(seq, at.plus(1), "the next event of {packets:?}");
            at = seq;
        }
    }
    assert_eq!(at, to, "the last `seq` of {packets:?}");
}
