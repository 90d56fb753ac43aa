//! Interleavings of a room's inputs, tried synchronously: the test plays session, timers and sockets with small queues.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    sync::mpsc,
    time::Duration,
};

use proptest::prelude::*;
use serde_json::value::{RawValue, to_raw_value};
use tracing::Span;

use super::*;
use crate::{
    clock::instant,
    domain::{
        command::{Command, CreateNode},
        document::Document,
        ids::NodeId,
        testing::{
            harness::{BEGINNING, Harness},
            sample,
        },
    },
    fan_out::{MemberInfo, Presence, PresenceDiff, PresenceEntry, Release, RoomSocket, SendError, SyncReason},
};

const SYNC: &str = "sync";
const EVENT: &str = "event";

/// Socket with a queue of few packets. The queue is a channel, because the socket is shared with the machine.
struct SmallQueue {
    free: AtomicUsize,
    is_lagging: AtomicBool,
    granted: AtomicBool,
    packets: mpsc::Sender<(&'static str, Seq)>,
}

impl RoomSocket for SmallQueue {
    fn send(&self, frame: &Frame) -> Result<(), SendError> {
        let take = |free: usize| free.checked_sub(1);
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map_err(|_| SendError::Full)?;
        let packet = (frame.event, frame.seq.unwrap_or(Seq::ZERO));
        self.packets.send(packet).map_err(|_| SendError::Closed)
    }
    fn mark_lagging(&self, _: Seq, _: u32) {
        self.is_lagging.store(true, Ordering::Relaxed);
    }
    fn has_drained(&self) -> bool {
        true
    }
    fn grant_sync(&self, _: DeferredSync) {
        self.granted.store(true, Ordering::Relaxed);
    }
    fn release(&self, _: Release) {}
}

/// Encoder whose packets are named by their kind.
struct Kinds;

fn frame(event: &'static str, seq: Option<Seq>) -> Frame {
    let data: Box<RawValue> = to_raw_value(event).expect("JSON");
    Frame {
        event,
        data: data.into(),
        seq,
    }
}

impl Encoder for Kinds {
    fn command(&self, _: &Room, notice: &CommandNotice) -> Vec<Frame> {
        match &notice.verdict {
            Verdict::Applied(record) => (record.first_seq.0..=record.seq().0)
                .map(|seq| frame(EVENT, Some(Seq(seq))))
                .collect(),
            Verdict::Unchanged(_) | Verdict::Refused(_) => vec![frame("refused", None)],
        }
    }
    fn batch_frame(&self, _: &Room, frames: &[Frame]) -> Frame {
        frame("batch", frames.last().and_then(|last| last.seq))
    }
    fn sync_body(&self, _: &Room, _: &Sync) -> SyncBody {
        SyncBody(to_raw_value(&"x".repeat(100)).expect("JSON").into())
    }
    fn sync(&self, _: &Room, sync: &Sync, _: &SyncBody, _: &MemberInfo, _: usize) -> Frame {
        frame(SYNC, Some(sync.seq))
    }
    fn connected(&self, _: &Room, _: &MemberInfo, _: usize, _: Timestamp) -> Frame {
        frame("connected", None)
    }
    fn disconnected(&self, _: &Room, _: &MemberInfo, _: usize, _: &str, _: Timestamp) -> Frame {
        frame("disconnected", None)
    }
    fn presence_state(&self, _: &Room, _: &[PresenceEntry], _: usize, _: Timestamp) -> Frame {
        frame("presence_state", None)
    }
    fn presence_diff(&self, _: &Room, _: &PresenceDiff, _: Timestamp) -> Frame {
        frame("presence_diff", None)
    }
    fn tick(&self, _: &Room, _: Seq, _: Option<StateHash>, _: Timestamp) -> Frame {
        frame("tick", None)
    }
    fn draining(&self, _: &Room, _: u64, _: Timestamp) -> Frame {
        frame("draining", None)
    }
}

/// One event of a run. Sockets are chosen by a number.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The session publishes so many commands.
    Publish(usize),
    Join(u64),
    Leave(u64),
    /// A socket's queue is emptied.
    Read(u64),
    /// A socket asks for the sync that it was told to ask for.
    Resync(u64),
    /// The oldest timer runs out.
    Timer,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_usize..6).prop_map(Step::Publish),
        3 => (0_u64..4).prop_map(Step::Join),
        1 => (0_u64..4).prop_map(Step::Leave),
        6 => (0_u64..4).prop_map(Step::Read),
        4 => (0_u64..4).prop_map(Step::Resync),
        3 => Just(Step::Timer),
    ]
}

/// Client behind a socket: what it may be told next.
struct Client {
    socket: Arc<SmallQueue>,
    packets: mpsc::Receiver<(&'static str, Seq)>,
    /// `seq` of the client; `None` before the first sync.
    seq: Option<Seq>,
    queue_max: usize,
}

impl Client {
    /// Reads the queue. P2: the first packet is a sync, and no event is missing or doubled.
    fn read(&mut self) {
        while let Ok((event, seq)) = self.packets.try_recv() {
            match (event, self.seq) {
                (SYNC, known) => {
                    assert!(known.is_none_or(|known| seq >= known), "a sync does not go back");
                    self.seq = Some(seq);
                }
                (EVENT, Some(known)) => {
                    assert_eq!(seq, known.plus(1), "P2: no event is missing or doubled");
                    self.seq = Some(seq);
                }
                (_, known) => assert!(known.is_some(), "P2: {event} before the first sync"),
            }
        }
        self.socket.free.store(self.queue_max, Ordering::Relaxed);
    }
}

struct Stage {
    machine: RoomMachine,
    session: Harness,
    timers: Vec<Timer>,
    clients: BTreeMap<u64, Client>,
    /// Delivery credits that are out.
    credits: usize,
    queue_max: usize,
    commands: u128,
}

impl Stage {
    fn new(queue_max: usize, settings: RoomSettings) -> Self {
        let header = sample::header();
        let room = Room {
            session_id: header.session_id,
            project_id: None,
            epoch: header.epoch,
        };
        let machine = RoomMachine::new(BroadcastArguments {
            room,
            encoder: Arc::new(Kinds),
            settings: Arc::new(settings),
            stats: Arc::default(),
        });
        Self {
            machine,
            session: Harness::new(
                header,
                crate::domain::session::Rules {
                    blueprint: None,
                    limits: Arc::default(),
                },
            ),
            timers: Vec::new(),
            clients: BTreeMap::new(),
            credits: 0,
            queue_max,
            commands: 0,
        }
    }

    fn moment() -> Moment {
        Moment {
            now: BEGINNING,
            instant: instant(),
        }
    }

    fn input(&mut self, message: BroadcastMessage) {
        let mut outputs = Outputs::default();
        self.machine.handle(message, Self::moment(), &mut outputs);
        self.perform(outputs);
        while self.machine.is_publishing() {
            let mut outputs = Outputs::default();
            self.machine.advance(&mut outputs);
            self.perform(outputs);
        }
    }

    fn perform(&mut self, outputs: Outputs) {
        for output in outputs {
            match output {
                Output::Reply(send) => send(),
                Output::ReturnCredits(credits) => {
                    assert!(credits <= self.credits, "no credit returns twice");
                    self.credits -= credits;
                }
                Output::SetTimer(timer) => {
                    assert!(!self.timers.contains(&timer), "one timer of a kind at a time");
                    self.timers.push(timer);
                }
                Output::Encode(pending) => {
                    let body = self.machine.encoder().sync_body(self.machine.room(), &pending.sync);
                    let mut outputs = Outputs::default();
                    self.machine.encoded(pending, &body, Self::moment(), &mut outputs);
                    self.perform(outputs);
                }
            }
        }
    }

    fn sync(&self, reason: SyncReason) -> Arc<Sync> {
        let session = self.session.session();
        Arc::new(Sync {
            seq: session.seq(),
            state_hash: session.document().graph.state_hash(),
            reason,
            content: SyncContent::Snapshot(Document::default()),
            undo_available: false,
            redo_available: false,
            timestamp: BEGINNING,
        })
    }

    fn publish(&mut self, count: usize) {
        let mut outcomes = Vec::new();
        for _ in 0..count {
            self.commands += 1;
            let command = Command::CreateNode(CreateNode {
                node_type: "task".into(),
                name: Some("a task".into()),
                parent_id: None,
                index: None,
                properties: BTreeMap::new(),
                node_id: Some(NodeId::new(uuid::Uuid::from_u128(self.commands))),
            });
            let context = self.session.next_context();
            self.session.submit(&command).expect("accepted");
            let record = self.session.log().last().expect("a record");
            // The session may count a socket that the room has lost.
            let credits = self.clients.len() + 1;
            self.credits += credits;
            let notice = CommandNotice {
                command_id: context.command_id,
                command_type: command.kind(),
                author: context.author,
                timestamp: context.now,
                verdict: Verdict::Applied(Arc::clone(record)),
            };
            outcomes.push(CommandOutcome {
                notice,
                span: Span::none(),
                credits,
            });
        }
        self.input(BroadcastMessage::Commands {
            outcomes,
            session: None,
        });
    }

    fn join(&mut self, id: u64) {
        if self.clients.contains_key(&id) {
            return;
        }
        let (packets, inbox) = mpsc::channel();
        let socket = Arc::new(SmallQueue {
            free: AtomicUsize::new(self.queue_max),
            is_lagging: AtomicBool::new(false),
            granted: AtomicBool::new(false),
            packets,
        });
        let member = Member {
            id: MemberId(id),
            info: MemberInfo {
                client_id: format!("client-{id}").parse().expect("a client id"),
                user: None,
            },
            frames: Delivery::Single,
            presence: Presence::default(),
            socket: Arc::clone(&socket) as Arc<dyn RoomSocket>,
        };
        let client = Client {
            socket,
            packets: inbox,
            seq: None,
            queue_max: self.queue_max,
        };
        self.clients.insert(id, client);
        self.input(BroadcastMessage::Join(member, self.sync(SyncReason::FirstJoin)));
    }

    fn leave(&mut self, id: u64) {
        if self.clients.remove(&id).is_some() {
            self.input(BroadcastMessage::Leave(MemberId(id), "left".into(), BEGINNING));
        }
    }

    fn read(&mut self, id: u64) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.read();
        }
    }

    fn resync(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let is_lagging = client.socket.is_lagging.swap(false, Ordering::Relaxed);
        if client.socket.granted.swap(false, Ordering::Relaxed) | is_lagging {
            let sync = self.sync(SyncReason::SlowConsumer);
            self.input(BroadcastMessage::Resync(MemberId(id), sync));
        }
    }

    fn timer(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let message = match self.timers.remove(0) {
            Timer::Tick => BroadcastMessage::Tick,
            Timer::CheckSyncs => BroadcastMessage::CheckSyncs,
            Timer::PublishPresence => BroadcastMessage::PublishPresence,
        };
        self.input(message);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish(count) => self.publish(count),
            Step::Join(id) => self.join(id),
            Step::Leave(id) => self.leave(id),
            Step::Read(id) => self.read(id),
            Step::Resync(id) => self.resync(id),
            Step::Timer => self.timer(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// P2, P9, ROOM-4: in any order of publications, joins, leaves, full queues and timers, each client is told of every
    /// event once, after a sync; and once the sockets have read and the timers have run out, every client is up to date
    /// and every credit has returned.
    #[test]
    fn every_interleaving_keeps_clients_gapless(
        queue_max in 3_usize..9,
        deliveries_waiting_max in 1_usize..40,
        events_packet_bytes_max in prop_oneof![Just(1_usize), Just(20), Just(usize::MAX)],
        sync_bytes_in_flight_max in prop_oneof![Just(64_usize), Just(300), Just(usize::MAX)],
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let never = Duration::from_secs(3_600);
        let mut stage = Stage::new(queue_max, RoomSettings {
            tick_interval: never,
            events_packet_bytes_max,
            sync_bytes_in_flight_max,
            deliveries_waiting_max,
            presence_interval: never,
            presence_clients_max: 10,
        });
        for step in steps {
            stage.step(step);
        }
        for _ in 0..20 {
            for id in 0..4 {
                stage.read(id);
                stage.resync(id);
            }
            stage.timer();
        }
        let last = stage.session.session().seq();
        for (id, client) in &stage.clients {
            prop_assert_eq!(client.seq, Some(last), "client {} is up to date", id);
        }
        prop_assert_eq!(stage.credits, 0, "every credit returns by the next tick");
    }
}
