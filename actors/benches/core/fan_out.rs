//! Time of a room actor to deliver an event to the queues of all sockets: the share of the hub, without the cost of the
//! sockets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use criterion::{BenchmarkId, Criterion, Throughput};
use ractor::{Actor, ActorRef};
use serde_json::value::{RawValue, to_raw_value};
use talus_actors::{
    broadcast_actor::{BroadcastActor, BroadcastArguments, BroadcastMessage, CommandOutcome, RoomSettings},
    domain::{
        ids::{Seq, Timestamp},
        state_hash::StateHash,
        testing::sample,
    },
    fan_out::{
        CommandNotice, DeferredSync, Delivery, Encoder, Frame, Member, MemberId, MemberInfo, Presence, PresenceDiff,
        PresenceEntry, Release, Room, RoomSocket, SendError, Sync, SyncBody, SyncContent, SyncReason, Verdict,
    },
    reply::{Reply, answer},
};
use tokio::{runtime::Runtime, sync::Notify};
use tracing::Span;

use crate::{
    group,
    subject::{Subject, create, node_id},
};

const SOCKETS: [usize; 3] = [10, 1_000, 10_000];
/// Interval longer than any measurement.
const NEVER: Duration = Duration::from_secs(86_400);

/// Counter of delivered packets, with a notification once every socket has its packet.
struct Arrivals {
    expected: usize,
    count: AtomicUsize,
    complete: Notify,
}

struct Socket(Arc<Arrivals>);

impl RoomSocket for Socket {
    fn send(&self, _: &Frame) -> Result<(), SendError> {
        if self.0.count.fetch_add(1, Ordering::Relaxed) + 1 == self.0.expected {
            self.0.complete.notify_one();
        }
        Ok(())
    }

    fn mark_lagging(&self, _: Seq, _: u32) {}

    fn has_drained(&self) -> bool {
        true
    }

    fn grant_sync(&self, _: DeferredSync) {}

    fn release(&self, _: Release) {}
}

/// Encoder that returns the same frame for every input. Encoding is measured in the benches of the wire.
struct SamePacket(Frame);

impl Encoder for SamePacket {
    fn command(&self, _: &Room, _: &CommandNotice) -> Vec<Frame> {
        vec![self.0.clone()]
    }

    fn batch_frame(&self, _: &Room, _: &[Frame]) -> Frame {
        self.0.clone()
    }

    fn sync_body(&self, _: &Room, _: &Sync) -> SyncBody {
        SyncBody(RawValue::NULL.to_owned().into())
    }

    fn sync(&self, _: &Room, _: &Sync, _: &SyncBody, _: &MemberInfo, _: usize) -> Frame {
        self.0.clone()
    }

    fn connected(&self, _: &Room, _: &MemberInfo, _: usize, _: Timestamp) -> Frame {
        self.0.clone()
    }

    fn disconnected(&self, _: &Room, _: &MemberInfo, _: usize, _: &str, _: Timestamp) -> Frame {
        self.0.clone()
    }

    fn presence_state(&self, _: &Room, _: &[PresenceEntry], _: usize, _: Timestamp) -> Frame {
        self.0.clone()
    }

    fn presence_diff(&self, _: &Room, _: &PresenceDiff, _: Timestamp) -> Frame {
        self.0.clone()
    }

    fn tick(&self, _: &Room, _: Seq, _: Option<StateHash>, _: Timestamp) -> Frame {
        self.0.clone()
    }

    fn draining(&self, _: &Room, _: u64, _: Timestamp) -> Frame {
        self.0.clone()
    }
}

pub fn measure(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime");
    let mut group = group(criterion, "fan_out");
    for sockets in SOCKETS {
        let (room, arrivals) = runtime.block_on(room(sockets));
        group.throughput(Throughput::Elements(sockets as u64));
        group.bench_function(BenchmarkId::from_parameter(sockets), |bencher| {
            let notice = notice();
            bencher.iter(|| publish(&runtime, &room, &notice, &arrivals));
        });
        room.stop(None);
    }
    group.finish();
}

fn publish(runtime: &Runtime, room: &ActorRef<BroadcastMessage>, notice: &CommandNotice, arrivals: &Arrivals) {
    arrivals.count.store(0, Ordering::Relaxed);
    let outcome = CommandOutcome {
        notice: notice.clone(),
        span: Span::none(),
        credits: 0,
    };
    let sent = room.cast(BroadcastMessage::Commands {
        outcomes: vec![outcome],
        session: None,
    });
    sent.expect("the room lives");
    runtime.block_on(arrivals.complete.notified());
}

/// Starts a room with `sockets` members.
async fn room(sockets: usize) -> (ActorRef<BroadcastMessage>, Arc<Arrivals>) {
    let header = sample::header();
    let data = to_raw_value(&"x".repeat(250)).expect("JSON");
    let packet = Frame {
        event: "graph:property-changed",
        data: data.into(),
        seq: Some(Seq(1)),
    };
    let arguments = BroadcastArguments {
        room: Room {
            session_id: header.session_id,
            project_id: None,
            epoch: header.epoch,
        },
        encoder: Arc::new(SamePacket(packet)),
        settings: Arc::new(RoomSettings {
            tick_interval: NEVER,
            events_packet_bytes_max: usize::MAX,
            sync_bytes_in_flight_max: usize::MAX,
            deliveries_waiting_max: usize::MAX,
            presence_interval: NEVER,
            presence_clients_max: usize::MAX,
        }),
        stats: Arc::default(),
    };
    let (room, _) = Actor::spawn(None, BroadcastActor, arguments).await.expect("it starts");
    let arrivals = Arc::new(Arrivals {
        expected: sockets,
        count: AtomicUsize::new(0),
        complete: Notify::new(),
    });
    let sync = Arc::new(sync());
    for number in 0..sockets as u64 {
        let adopted = room.cast(BroadcastMessage::Adopt(member(number, &arrivals), Arc::clone(&sync)));
        adopted.expect("the room lives");
    }
    arrivals.complete.notified().await;
    // The actor handles messages in order, so its answer follows all earlier deliveries.
    let (reply, members) = Reply::new(None);
    room.cast(BroadcastMessage::ListMembers(reply)).expect("the room lives");
    assert_eq!(answer(members).await.expect("it answers").len(), sockets);
    (room, arrivals)
}

fn member(number: u64, arrivals: &Arc<Arrivals>) -> Member {
    Member {
        id: MemberId(number),
        info: MemberInfo {
            client_id: format!("client-{number}").parse().expect("a client's id"),
            user: None,
        },
        frames: Delivery::Single,
        presence: Presence::default(),
        socket: Arc::new(Socket(Arc::clone(arrivals))),
    }
}

fn sync() -> Sync {
    Sync {
        seq: Seq::ZERO,
        state_hash: StateHash::default(),
        reason: SyncReason::RoomRestarted,
        content: SyncContent::Events {
            after: Seq::ZERO,
            records: Vec::new(),
        },
        undo_available: false,
        redo_available: false,
        timestamp: sample::header().created_at,
    }
}

fn notice() -> CommandNotice {
    let recorded = Subject::empty().submit(&create(node_id(0), None));
    CommandNotice {
        command_id: recorded.command_id,
        command_type: recorded.command_type,
        author: recorded.author.clone(),
        timestamp: recorded.timestamp,
        verdict: Verdict::Applied(recorded),
    }
}
