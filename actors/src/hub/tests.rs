//! What has to hold between two messages, with a log that waits until it is told to go on.

use std::{pin::pin, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use serde_json::value::RawValue;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

use super::*;
use crate::{
    domain::{
        blueprint::Blueprint,
        command::{CreateNode, Origin},
        ids::{Seq, TemplateId, Timestamp},
        recorded::Recorded,
        session::Genesis,
    },
    fan_out::{CommandNotice, Frame, MemberInfo, Release, Room, RoomSocket, SendError, Sync, SyncBody, Verdict},
    log::{Append, MemoryLog, Stored, StoredHead},
    world::new_command_id,
};

/// How long something may take that takes no time.
const DEADLINE: Duration = Duration::from_secs(20);

/// Gives every append to the test, which passes it on when it likes.
struct HeldLog {
    inner: MemoryLog,
    held: UnboundedSender<Append>,
}

impl EventLog for HeldLog {
    fn create(&self, genesis: Genesis) -> BoxFuture<'static, Result<(), LogError>> {
        self.inner.create(genesis)
    }

    fn append(&self, append: Append) {
        let _ = self.held.send(append);
    }

    fn open(&self, session_id: SessionId) -> BoxFuture<'static, Result<Option<Stored>, LogError>> {
        self.inner.open(session_id)
    }

    fn read(
        &self,
        session_id: SessionId,
        after: Seq,
        events_max: usize,
    ) -> BoxFuture<'static, Result<Option<Vec<Arc<Recorded>>>, LogError>> {
        self.inner.read(session_id, after, events_max)
    }

    fn read_back(
        &self,
        session_id: SessionId,
        before: Seq,
        records_max: usize,
    ) -> BoxFuture<'static, Result<Option<Vec<Arc<Recorded>>>, LogError>> {
        self.inner.read_back(session_id, before, records_max)
    }

    fn list(&self) -> BoxFuture<'static, Result<Vec<StoredHead>, LogError>> {
        self.inner.list()
    }

    fn delete(&self, session_id: SessionId) -> BoxFuture<'static, Result<(), LogError>> {
        self.inner.delete(session_id)
    }
}

struct NoBlueprints;

impl BlueprintSource for NoBlueprints {
    fn blueprint(&self, _id: &TemplateId) -> BoxFuture<'static, Option<Arc<Blueprint>>> {
        async { None }.boxed()
    }
}

/// Packets that are nothing but their names.
struct Names;

fn frame(event: &'static str) -> Frame {
    Frame {
        event,
        data: RawValue::NULL.to_owned().into(),
        seq: None,
    }
}

impl Encoder for Names {
    fn command(&self, _room: &Room, notice: &CommandNotice) -> Vec<Frame> {
        let ending = match notice.verdict {
            Verdict::Applied(_) | Verdict::Unchanged(_) => "command:executed",
            Verdict::Refused(_) => "command:failed",
        };
        vec![frame("command:executing"), frame(ending)]
    }

    fn sync_body(&self, _room: &Room, _sync: &Sync) -> SyncBody {
        SyncBody(RawValue::NULL.to_owned().into())
    }

    fn sync(&self, _room: &Room, _sync: &Sync, _body: &SyncBody, _member: &MemberInfo, _members: usize) -> Frame {
        frame("session:sync")
    }

    fn connected(&self, _room: &Room, _member: &MemberInfo, _members: usize, _now: Timestamp) -> Frame {
        frame("session:connected")
    }

    fn disconnected(&self, _: &Room, _: &MemberInfo, _members: usize, _reason: &str, _now: Timestamp) -> Frame {
        frame("session:disconnected")
    }

    fn draining(&self, _room: &Room, _reconnect_in_ms: u64, _now: Timestamp) -> Frame {
        frame("session:draining")
    }
}

/// A socket that takes everything.
struct Ear(UnboundedSender<&'static str>);

impl RoomSocket for Ear {
    fn send(&self, frame: &Frame) -> Result<(), SendError> {
        self.0.send(frame.event).map_err(|_| SendError::Closed)
    }

    fn fell_behind(&self, _delivered: Seq, _attempt: u32) {}

    fn release(&self, _how: Release) {}
}

async fn start(log: Arc<dyn EventLog>, in_flight_per_session_max: usize) -> (Hub, SessionId) {
    let settings = HubSettings {
        limits: Limits::default(),
        supervision: SupervisionSettings {
            restarts_max: 0,
            restart_window: DEADLINE,
            restart_backoff: Duration::ZERO,
            idle_timeout: DEADLINE * 100,
            sessions_max: 1,
            in_flight_per_session_max,
            reconnect_ms: (1, 2),
        },
        in_flight_max: 100,
        group_commands_max: 100,
        sockets_per_session_max: 10,
    };
    let parts = HubParts {
        log,
        blueprints: Arc::new(NoBlueprints),
        encoder: Some(Arc::new(Names)),
        stats: Arc::default(),
    };
    let hub = Hub::start(settings, parts).await.expect("an empty log can be read");
    let (genesis, _) = hub.create(NewSession::default()).await.expect("the first session");
    hub.wake(genesis.session_id).await.expect("it starts");
    (hub, genesis.session_id)
}

async fn submit(hub: &Hub, session_id: SessionId, command: Command) -> Result<Submitted, HubError> {
    let context = Context {
        command_id: new_command_id(),
        origin: Origin::default(),
        now: now(),
        expected_seq: None,
    };
    hub.submit(session_id, Arc::new(command), context, Span::none()).await
}

fn create() -> Command {
    Command::CreateNode(CreateNode {
        node_type: "task".into(),
        name: None,
        parent_id: None,
        index: None,
        properties: std::collections::BTreeMap::new(),
        node_id: None,
    })
}

async fn join(hub: &Hub, session_id: SessionId) -> (MemberId, UnboundedReceiver<&'static str>) {
    let (socket, heard) = unbounded_channel();
    let info = MemberInfo {
        client_id: "ear".parse().expect("a client id"),
        user: None,
    };
    let id = hub.next_member_id();
    let socket = Arc::new(Ear(socket));
    hub.join(session_id, Member { id, info, socket }, None)
        .await
        .expect("there is room");
    (id, heard)
}

/// What a socket hears up to an event.
async fn heard_until(heard: &mut UnboundedReceiver<&'static str>, last: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    while names.last() != Some(&last) {
        let next = timeout(DEADLINE, heard.recv()).await;
        names.push(
            next.unwrap_or_else(|_| unreachable!("no {last} after {names:?}"))
                .expect("the room is there"),
        );
    }
    names
}

/// A request that makes no sense in any state is between the hub and its sender: the room hears nothing of it
/// (ROOM-5), but of the next command.
#[tokio::test]
async fn a_malformed_command_sends_no_event() {
    let (hub, session_id) = start(Arc::new(MemoryLog::start().expect("a thread")), 10).await;
    let (_, mut heard) = join(&hub, session_id).await;
    let nested = Command::Batch {
        commands: vec![Command::Batch { commands: Vec::new() }],
    };
    let refused = submit(&hub, session_id, nested).await.expect_err("a batch in a batch");
    assert!(
        matches!(&refused, HubError::Rejected { rejection, .. } if rejection.is_malformed()),
        "{refused}"
    );
    submit(&hub, session_id, create()).await.expect("nothing is against it");
    assert_eq!(
        heard_until(&mut heard, "command:executed").await,
        [
            "session:sync",
            "session:connected",
            "command:executing",
            "command:executed"
        ]
    );
}

/// A project's file never says more than the log: the snapshot for it waits for the append of what it shows (P3,
/// LOG-4).
#[tokio::test]
async fn a_snapshot_for_a_file_waits_for_the_log() {
    let inner = MemoryLog::start().expect("a thread");
    let (held, mut appends) = unbounded_channel();
    let log = HeldLog {
        inner: inner.clone(),
        held,
    };
    let (hub, session_id) = start(Arc::new(log), 10).await;
    let mut first = pin!(submit(&hub, session_id, create()));
    assert!(first.as_mut().now_or_never().is_none());
    let append = appends.recv().await.expect("the first command's");
    // Both of these wait behind the append in flight, and become one group.
    let mut second = pin!(submit(&hub, session_id, create()));
    assert!(second.as_mut().now_or_never().is_none());
    let mut lease = pin!(hub.begin_save(session_id));
    assert!(lease.as_mut().now_or_never().is_none());
    inner.append(append);
    first.await.expect("the log has it");
    let append = appends.recv().await.expect("the second command's");
    let early = lease.as_mut().now_or_never();
    assert!(early.is_none(), "the lease shows what the log does not have");
    inner.append(append);
    let seq = second.await.expect("the log has it").receipt.seq;
    assert_eq!(lease.await.expect("nobody else saves").snapshot.seq, seq);
}

/// A socket that leaves is out of the room, however much is under way (ROOM-6): else it would stay in it for ever.
#[tokio::test]
async fn a_socket_leaves_also_while_nothing_more_is_let_in() {
    let (hub, session_id) = start(Arc::new(MemoryLog::start().expect("a thread")), 1).await;
    let (leaving, _heard) = join(&hub, session_id).await;
    let (_, mut heard) = join(&hub, session_id).await;
    let mut reader = pin!(hub.snapshot_at_least(session_id, Seq(1_000), DEADLINE * 100));
    assert!(reader.as_mut().now_or_never().is_none());
    let full = submit(&hub, session_id, create()).await;
    assert!(matches!(full, Err(HubError::Overloaded { .. })), "{full:?}");
    hub.leave(session_id, leaving, &"transport_close".into()).await;
    heard_until(&mut heard, "session:disconnected").await;
}
