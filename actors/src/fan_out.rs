//! The port of the fan-out: how publications become packets, and what a socket can do.
//!
//! A broadcast actor owns the sockets of its room; what a packet looks like and how it gets to a client is the
//! business of the edge that implements this.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwapOption;
use serde_json::value::RawValue;

use crate::{
    domain::{
        command::{CommandType, Origin},
        event::Document,
        ids::{ClientId, CommandId, Epoch, ProjectId, Seq, SessionId, Timestamp},
        recorded::{Receipt, Recorded},
        rejection::Rejection,
        state_hash::StateHash,
    },
    world::instant,
};

/// One packet, encoded once and shared by all the sockets it goes to.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The event's name.
    pub event: &'static str,
    /// Its payload, as JSON.
    pub data: Arc<RawValue>,
    /// The event's place, if it has one.
    pub seq: Option<Seq>,
}

/// What every event of a room says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Whose room.
    pub session_id: SessionId,
    /// The session's project.
    pub project_id: Option<ProjectId>,
    /// The session's log.
    pub epoch: Epoch,
}

/// A command, and what it came to, in the order of the log.
#[derive(Debug, Clone)]
pub struct CommandNotice {
    /// The command's id.
    pub command_id: CommandId,
    /// Its kind.
    pub command_type: CommandType,
    /// Who sent it.
    pub origin: Origin,
    /// When it was received.
    pub timestamp: Timestamp,
    /// What it came to.
    pub verdict: Verdict,
}

/// What a command came to.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It changed something.
    Applied(Arc<Recorded>),
    /// It was allowed and changed nothing.
    Unchanged(Receipt),
    /// It was refused.
    Refused(Rejection),
}

/// Why a socket is told where the session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncReason {
    /// It gave a position, and gets what came after it.
    Resumed,
    /// It comes for the first time.
    FirstJoin,
    /// It asked without a position.
    Requested,
    /// What it missed is no longer in the replay window.
    WindowExceeded,
    /// It knows another log.
    EpochChanged,
    /// It claims to know what has not happened.
    AheadOfLog,
    /// It could not keep up.
    SlowConsumer,
    /// It found that its replica differs.
    Divergence,
    /// The room's actor was replaced.
    RoomRestarted,
}

impl SyncReason {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resumed => "resumed",
            Self::FirstJoin => "first_join",
            Self::Requested => "requested",
            Self::WindowExceeded => "window_exceeded",
            Self::EpochChanged => "epoch_changed",
            Self::AheadOfLog => "ahead_of_log",
            Self::SlowConsumer => "slow_consumer",
            Self::Divergence => "divergence",
            Self::RoomRestarted => "room_restarted",
        }
    }
}

/// Where the session is: what a socket needs to go on from there.
#[derive(Debug, Clone)]
pub struct Sync {
    /// The `seq` that it leads to.
    pub seq: Seq,
    /// The hash of the graph there (P6).
    pub state_hash: StateHash,
    /// Why it is sent.
    pub reason: SyncReason,
    /// How it leads there.
    pub content: SyncContent,
    /// Whether there is something to undo.
    pub undo_available: bool,
    /// Whether there is something to redo.
    pub redo_available: bool,
    /// When it was made.
    pub timestamp: Timestamp,
}

/// How a sync leads to its `seq`.
#[derive(Debug, Clone)]
pub enum SyncContent {
    /// Everything, as it is there.
    Snapshot(Document),
    /// What came after a position.
    Events {
        /// The position.
        after: Seq,
        /// The records; the first may begin before the position.
        records: Vec<Arc<Recorded>>,
    },
}

/// What a socket is to ask for whose sync was put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncDue {
    /// Everything, for this reason.
    Everything(SyncReason),
    /// What came after a position.
    Since {
        /// The log.
        epoch: Epoch,
        /// The position.
        after: Seq,
    },
}

impl SyncDue {
    /// What leads a socket again where this sync leads it.
    pub(crate) const fn of(sync: &Sync, epoch: Epoch) -> Self {
        match sync.content {
            SyncContent::Snapshot(_) => Self::Everything(sync.reason),
            SyncContent::Events { after, .. } => Self::Since { epoch, after },
        }
    }
}

/// A socket in a room, as the events about it tell.
#[derive(Debug, Clone)]
pub struct MemberInfo {
    /// Its name.
    pub client_id: ClientId,
    /// Its user, if the hub knows one.
    pub user: Option<Arc<str>>,
}

/// A number for each stay of a socket in a room, unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// How a socket takes the packets of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// One by one.
    Single,
    /// Those that are there at the same time as one packet.
    Batched,
}

/// A socket that is to stay in a room.
#[derive(Clone)]
pub struct Member {
    /// Which stay.
    pub id: MemberId,
    /// Who.
    pub info: MemberInfo,
    /// How it takes the packets of commands.
    pub frames: Frames,
    /// What it says of itself.
    pub presence: Presence,
    /// The socket.
    pub socket: Arc<dyn RoomSocket>,
}

/// What a client says of itself: what it looks at, where its cursor is. It is never in the log.
pub type PresenceState = Arc<RawValue>;

/// What a socket says of itself, the latest only. It lives with the socket: a room that is replaced finds it there.
///
/// The socket's edge writes, the room reads. However often it changes, at most one notice of that is on its way to the
/// room, and what it says takes up the room of one state (P9).
#[derive(Debug, Clone, Default)]
pub struct Presence(Arc<PresenceCell>);

#[derive(Debug, Default)]
struct PresenceCell {
    said: ArcSwapOption<Said>,
    /// A notice is on its way, and the room will read what is said by then.
    is_told: AtomicBool,
}

/// What a socket said last.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) state: Option<PresenceState>,
    /// When: of two sockets of a client, the later one counts.
    pub(crate) at: Instant,
}

impl Presence {
    /// Says something else of the socket; `None` takes back what it said. Returns whether the session has to be told:
    /// it does not if a notice is on its way already.
    #[must_use]
    pub fn set(&self, state: Option<PresenceState>) -> bool {
        let said = Said { state, at: instant() };
        self.0.said.store(Some(Arc::new(said)));
        // After the store: whoever sees the flag set leaves it to the room, which clears it before it reads.
        !self.0.is_told.swap(true, Ordering::AcqRel)
    }

    /// What it says, for the room: from here on the session has to be told of what it says next.
    pub(crate) fn take(&self) -> Option<Arc<Said>> {
        // A swap and no store: it must see what was said before the flag was set.
        self.0.is_told.swap(false, Ordering::AcqRel);
        self.said()
    }

    /// What it says, for anybody else.
    pub(crate) fn said(&self) -> Option<Arc<Said>> {
        self.0.said.load_full()
    }
}

/// A client that is here.
#[derive(Debug, Clone)]
pub struct PresenceEntry {
    /// Who.
    pub info: MemberInfo,
    /// What it says of itself, if anything.
    pub state: Option<PresenceState>,
}

/// Who is here.
#[derive(Debug, Clone, Default)]
pub struct PresenceList {
    /// Those who are listed, in the order in which they came.
    pub clients: Vec<PresenceEntry>,
    /// How many there are, with those beyond the limit who are not listed.
    pub total: usize,
}

/// What is different about who is here. A client is in one of the lists, once.
#[derive(Debug, Clone, Default)]
pub struct PresenceDiff {
    /// Those who came.
    pub joins: Vec<PresenceEntry>,
    /// Those who say something else now.
    pub updates: Vec<PresenceEntry>,
    /// Those who went.
    pub leaves: Vec<ClientId>,
}

impl PresenceDiff {
    /// Whether nothing is different.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.updates.is_empty() && self.leaves.is_empty()
    }
}

/// Why a packet did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The socket's queue is full; later packets may fit again.
    Full,
    /// The socket is gone; its leaving is on its way.
    Closed,
}

/// How a socket leaves a room that it did not leave by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The session is gone for good: the client must not come back.
    SessionDeleted,
    /// The transport closes, and the client comes back by itself.
    CloseTransport,
}

/// What a broadcast actor needs of a socket. Nothing here waits.
pub trait RoomSocket: Send + std::marker::Sync + 'static {
    /// Queues a packet.
    ///
    /// # Errors
    /// If the queue is full or the socket is gone.
    fn send(&self, frame: &Frame) -> Result<(), SendError>;

    /// Notes that the socket missed packets after `delivered`: it gets none until it was resynced, for which the edge
    /// asks the hub as soon as the queue may have room again. `attempt` counts from 0.
    fn fell_behind(&self, delivered: Seq, attempt: u32);

    /// Whether everything that it was given has left the hub, as far as can be told.
    fn has_taken_all(&self) -> bool;

    /// Notes that it is the socket's turn to get a sync that was put off because it is large: the edge asks the hub for
    /// it, at once.
    fn sync_is_due(&self, due: SyncDue);

    /// Lets the socket go.
    fn release(&self, how: Release);
}

/// Makes packets. Nothing here waits.
pub trait Encoder: Send + std::marker::Sync + 'static {
    /// The packets of a command, in their order.
    fn command(&self, room: &Room, notice: &CommandNotice) -> Vec<Frame>;

    /// Packets of whole commands as one, which stands where the last of them does. Their payloads are not encoded again.
    fn together(&self, room: &Room, frames: &[Frame]) -> Frame;

    /// The part of a sync that is the same for every socket; may be long work for a large graph.
    fn sync_body(&self, room: &Room, sync: &Sync) -> SyncBody;

    /// A sync for one socket.
    fn sync(&self, room: &Room, sync: &Sync, body: &SyncBody, member: &MemberInfo, members: usize) -> Frame;

    /// Somebody came.
    fn connected(&self, room: &Room, member: &MemberInfo, members: usize, now: Timestamp) -> Frame;

    /// Somebody went.
    fn disconnected(&self, room: &Room, member: &MemberInfo, members: usize, reason: &str, now: Timestamp) -> Frame;

    /// Who is here: at most so many as are listed, and how many there are.
    fn presence_state(&self, room: &Room, entries: &[PresenceEntry], total: usize, now: Timestamp) -> Frame;

    /// What is different about who is here.
    fn presence_diff(&self, room: &Room, diff: &PresenceDiff, now: Timestamp) -> Frame;

    /// Where the session is, for those who lost the last event of a quiet one, and the hash of the graph there.
    fn tick(&self, room: &Room, seq: Seq, state_hash: Option<StateHash>, now: Timestamp) -> Frame;

    /// The hub goes away for a while.
    fn draining(&self, room: &Room, reconnect_in_ms: u64, now: Timestamp) -> Frame;
}

/// The graph or the events of a sync, encoded.
#[derive(Debug, Clone)]
pub struct SyncBody(pub Arc<RawValue>);
