//! The port of the fan-out: how publications become packets, and what a socket can do.
//!
//! A broadcast actor owns the sockets of its room; what a packet looks like and how it gets to a client is the
//! business of the edge that implements this.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::domain::{
    command::{CommandType, Origin},
    event::Document,
    ids::{ClientId, CommandId, Epoch, ProjectId, Seq, SessionId, Timestamp},
    recorded::{Receipt, Recorded},
    rejection::Rejection,
    state_hash::StateHash,
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

/// A socket that is to stay in a room.
#[derive(Clone)]
pub struct Member {
    /// Which stay.
    pub id: MemberId,
    /// Who.
    pub info: MemberInfo,
    /// The socket.
    pub socket: Arc<dyn RoomSocket>,
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
    fn sync_is_due(&self, reason: SyncReason);

    /// Lets the socket go.
    fn release(&self, how: Release);
}

/// Makes packets. Nothing here waits.
pub trait Encoder: Send + std::marker::Sync + 'static {
    /// The packets of a command, in their order.
    fn command(&self, room: &Room, notice: &CommandNotice) -> Vec<Frame>;

    /// The part of a sync that is the same for every socket; may be long work for a large graph.
    fn sync_body(&self, room: &Room, sync: &Sync) -> SyncBody;

    /// A sync for one socket.
    fn sync(&self, room: &Room, sync: &Sync, body: &SyncBody, member: &MemberInfo, members: usize) -> Frame;

    /// Somebody came.
    fn connected(&self, room: &Room, member: &MemberInfo, members: usize, now: Timestamp) -> Frame;

    /// Somebody went.
    fn disconnected(&self, room: &Room, member: &MemberInfo, members: usize, reason: &str, now: Timestamp) -> Frame;

    /// Where the session is, for those who lost the last event of a quiet one, and the hash of the graph there.
    fn tick(&self, room: &Room, seq: Seq, state_hash: Option<StateHash>, now: Timestamp) -> Frame;

    /// The hub goes away for a while.
    fn draining(&self, room: &Room, reconnect_in_ms: u64, now: Timestamp) -> Frame;
}

/// The graph or the events of a sync, encoded.
#[derive(Debug, Clone)]
pub struct SyncBody(pub Arc<RawValue>);
