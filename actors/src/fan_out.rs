//! Port of the fan-out: encoding of publications as packets, and operations on sockets.
//!
//! A broadcast actor owns the sockets of its room. The edge that implements the port decides the format of a packet and
//! its transport to the client.

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
    clock::instant,
    domain::{
        command::{Author, CommandType},
        document::Document,
        ids::{ClientId, CommandId, Epoch, ProjectId, Seq, SessionId, Timestamp},
        record::{CommandRecord, Receipt},
        rejection::Rejection,
        state_hash::StateHash,
    },
};

/// Packet, encoded once and shared by all receivers.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Name of the Socket.IO event.
    pub event: &'static str,
    /// Payload as JSON.
    pub data: Arc<RawValue>,
    /// `seq` of the event; `None` for packets without a place in the log.
    pub seq: Option<Seq>,
}

/// Identity of a room, part of the payload of every event of the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Session of the room.
    pub session_id: SessionId,
    /// Project of the session; `None` for a session without a project.
    pub project_id: Option<ProjectId>,
    /// Epoch of the session's log.
    pub epoch: Epoch,
}

/// Command with its outcome, published in log order.
#[derive(Debug, Clone)]
pub struct CommandNotice {
    /// Id of the command.
    pub command_id: CommandId,
    /// Kind of the command.
    pub command_type: CommandType,
    /// Author of the command: client and user.
    pub author: Author,
    /// Time of receipt.
    pub timestamp: Timestamp,
    /// Outcome of the command.
    pub verdict: Verdict,
}

/// Outcome of a command.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The command changed the session.
    Applied(Arc<CommandRecord>),
    /// The command was accepted and changed nothing.
    Unchanged(Receipt),
    /// The command was rejected.
    Refused(Rejection),
}

/// Reason for a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncReason {
    /// The client gave a position and gets the events after the position.
    Resumed,
    /// The client joins for the first time.
    FirstJoin,
    /// The client asked for a sync without giving a position.
    Requested,
    /// The missed events are no longer in the replay window.
    WindowExceeded,
    /// The client's position belongs to another epoch.
    EpochChanged,
    /// The client's position is ahead of the log.
    AheadOfLog,
    /// The socket's queue was full and packets were dropped.
    SlowConsumer,
    /// The client reported a diverging replica.
    Divergence,
    /// The room's broadcast actor was replaced.
    RoomRestarted,
}

impl SyncReason {
    /// Returns the name on the wire.
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

/// State transfer that brings a client to a `seq`, from which live events follow.
#[derive(Debug, Clone)]
pub struct Sync {
    /// `seq` of the session after the sync.
    pub seq: Seq,
    /// Hash of the graph at `seq` (P6).
    pub state_hash: StateHash,
    /// Reason for the sync.
    pub reason: SyncReason,
    /// Snapshot or events.
    pub content: SyncContent,
    /// True if the session has a step to undo.
    pub undo_available: bool,
    /// True if the session has a step to redo.
    pub redo_available: bool,
    /// Time at which the sync was made.
    pub timestamp: Timestamp,
}

/// State or events of a sync.
#[derive(Debug, Clone)]
pub enum SyncContent {
    /// Whole document at the `seq` of the sync.
    Snapshot(Document),
    /// Events after a position.
    Events {
        /// `seq` that the client has.
        after: Seq,
        /// Records with the events; the first record may begin at or before `after`.
        records: Vec<Arc<CommandRecord>>,
    },
}

/// Request for a deferred sync, to be made by the socket after the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeferredSync {
    /// Request for the whole document, with this reason.
    Snapshot(SyncReason),
    /// Request for the events after a position.
    Events {
        /// Epoch of the client's position.
        epoch: Epoch,
        /// `seq` that the client has.
        after: Seq,
    },
}

impl DeferredSync {
    /// Returns the request that repeats `sync`.
    pub(crate) const fn of(sync: &Sync, epoch: Epoch) -> Self {
        match sync.content {
            SyncContent::Snapshot(_) => Self::Snapshot(sync.reason),
            SyncContent::Events { after, .. } => Self::Events { epoch, after },
        }
    }
}

/// Member of a room, as reported in events.
#[derive(Debug, Clone)]
pub struct MemberInfo {
    /// Name that the client chose.
    pub client_id: ClientId,
    /// User of the client; `None` if the hub knows no user.
    pub user: Option<Arc<str>>,
}

/// Id of a socket's membership in one room, unique in the process. A socket that joins again gets a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// Delivery mode of a socket for the packets of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// One packet per event.
    Single,
    /// One packet for all events of one publication.
    Batched,
}

/// Socket that joins a room.
#[derive(Clone)]
pub struct Member {
    /// Id of the membership.
    pub id: MemberId,
    /// Client and user of the socket.
    pub info: MemberInfo,
    /// Delivery mode for the packets of commands.
    pub frames: Delivery,
    /// Presence state, shared with the socket's edge.
    pub presence: Presence,
    /// Handle of the socket.
    pub socket: Arc<dyn RoomSocket>,
}

/// Presence state as the client sent it, for example its selection or cursor. Presence is never written to the log.
pub type PresenceState = Arc<RawValue>;

/// Cell with the latest presence state of a socket. The cell lives as long as the socket, so a replacement room reads
/// the state from the cell.
///
/// The socket's edge writes and the room reads. However often the state changes, at most one notice is on its way to
/// the room, and the cell holds one state (P9).
#[derive(Debug, Clone, Default)]
pub struct Presence(Arc<PresenceCell>);

#[derive(Debug, Default)]
struct PresenceCell {
    latest: ArcSwapOption<PresenceUpdate>,
    /// True while a notice is on its way. The room reads the latest state when the notice arrives.
    is_notified: AtomicBool,
}

/// Latest presence state of a socket.
#[derive(Debug, Clone)]
pub(crate) struct PresenceUpdate {
    pub(crate) state: Option<PresenceState>,
    /// Time of the update. Of two sockets of one client, the later update counts.
    pub(crate) at: Instant,
}

impl Presence {
    /// Replaces the state; `None` clears the state. Returns true if the caller has to notify the session, false if a
    /// notice is already on its way.
    #[must_use]
    pub fn set(&self, state: Option<PresenceState>) -> bool {
        let update = PresenceUpdate { state, at: instant() };
        self.0.latest.store(Some(Arc::new(update)));
        // The swap follows the store: a writer that finds the flag set relies on the room, and the room clears the flag
        // before reading the state.
        !self.0.is_notified.swap(true, Ordering::AcqRel)
    }

    /// Returns the state for the room and clears the flag: the next update needs a new notice.
    pub(crate) fn take(&self) -> Option<Arc<PresenceUpdate>> {
        // A swap instead of a store: the read must see every state that was stored before the flag was set.
        self.0.is_notified.swap(false, Ordering::AcqRel);
        self.load()
    }

    /// Returns the state without clearing the flag, for readers other than the room.
    pub(crate) fn load(&self) -> Option<Arc<PresenceUpdate>> {
        self.0.latest.load_full()
    }
}

/// Present client.
#[derive(Debug, Clone)]
pub struct PresenceEntry {
    /// Client and user.
    pub info: MemberInfo,
    /// Presence state; `None` if the client sent none.
    pub state: Option<PresenceState>,
}

/// Present clients of a room.
#[derive(Debug, Clone, Default)]
pub struct PresenceList {
    /// Listed clients in order of arrival, up to the limit of listed clients.
    pub clients: Vec<PresenceEntry>,
    /// Number of all present clients, including clients beyond the limit.
    pub total: usize,
}

/// Changes of presence since the last publication. A client appears in exactly one of the lists, once.
#[derive(Debug, Clone, Default)]
pub struct PresenceDiff {
    /// Clients that arrived.
    pub joins: Vec<PresenceEntry>,
    /// Clients whose state changed.
    pub updates: Vec<PresenceEntry>,
    /// Clients that left.
    pub leaves: Vec<ClientId>,
}

impl PresenceDiff {
    /// Returns true if nothing changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.updates.is_empty() && self.leaves.is_empty()
    }
}

/// Reason why a packet was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The socket's queue is full. Later packets may fit again.
    Full,
    /// The socket is closed. The leave message is on the way.
    Closed,
}

/// Way in which the hub removes a socket from a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The session was deleted: the client must not reconnect.
    SessionDeleted,
    /// The session is quarantined, which the client was told: the session may return.
    SessionQuarantined,
    /// The transport is closed: the client reconnects by itself.
    CloseTransport,
}

/// Operations of a broadcast actor on a socket. No operation blocks.
pub trait RoomSocket: Send + std::marker::Sync + 'static {
    /// Queues a packet.
    ///
    /// # Errors
    /// If the queue is full or the socket is closed.
    fn send(&self, frame: &Frame) -> Result<(), SendError>;

    /// Marks the socket as lagging: it missed packets after `delivered` and gets no packet before a resync. The edge
    /// requests the resync from the hub once the queue may have room again. `attempt` counts the tries, from 0.
    fn mark_lagging(&self, delivered: Seq, attempt: u32);

    /// Returns true if all queued packets have left the hub, as far as the hub can tell.
    fn has_drained(&self) -> bool;

    /// Grants a sync that was deferred because of its size: the edge requests the sync from the hub at once.
    fn grant_sync(&self, due: DeferredSync);

    /// Removes the socket from the room.
    fn release(&self, how: Release);
}

/// Encoder of packets. No method blocks.
pub trait Encoder: Send + std::marker::Sync + 'static {
    /// Encodes the packets of a command, in the order of delivery.
    fn command(&self, room: &Room, notice: &CommandNotice) -> Vec<Frame>;

    /// Combines packets of whole commands into one packet with the `seq` of the last. The payloads are not encoded
    /// again.
    fn batch_frame(&self, room: &Room, frames: &[Frame]) -> Frame;

    /// Encodes the part of a sync that is the same for every socket. May take long for a large graph.
    fn sync_body(&self, room: &Room, sync: &Sync) -> SyncBody;

    /// Encodes a sync for one socket around the shared body.
    fn sync(&self, room: &Room, sync: &Sync, body: &SyncBody, member: &MemberInfo, members: usize) -> Frame;

    /// Encodes the arrival of a member.
    fn connected(&self, room: &Room, member: &MemberInfo, members: usize, now: Timestamp) -> Frame;

    /// Encodes the departure of a member.
    fn disconnected(&self, room: &Room, member: &MemberInfo, members: usize, reason: &str, now: Timestamp) -> Frame;

    /// Encodes the presence of the room: `entries` up to the limit of listed clients, `total` clients in all.
    fn presence_state(&self, room: &Room, entries: &[PresenceEntry], total: usize, now: Timestamp) -> Frame;

    /// Encodes the changes of presence.
    fn presence_diff(&self, room: &Room, diff: &PresenceDiff, now: Timestamp) -> Frame;

    /// Encodes the current `seq` and the hash of the graph there. In a quiet session a tick shows a client that it
    /// missed the last event.
    fn tick(&self, room: &Room, seq: Seq, state_hash: Option<StateHash>, now: Timestamp) -> Frame;

    /// Encodes the announcement that the hub shuts down and when the client should reconnect.
    fn draining(&self, room: &Room, reconnect_in_ms: u64, now: Timestamp) -> Frame;
}

/// Graph or events of a sync, encoded once for all receivers.
#[derive(Debug, Clone)]
pub struct SyncBody(pub Arc<RawValue>);
