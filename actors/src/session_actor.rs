//! Session actor: owns graph and history of a session, decides commands one after the other, and releases no effect
//! before it is durable.
//!
//! ```text
//!  mailbox ─▶ waiting ─▶ a group: decide, apply, note the effects ─▶ outbox
//!                │                                                     │  one append in flight, never awaited
//!                │                          log ◀── append ────────────┤
//!                │                           └──── appended ──▶ release the outbox in order: replies, publications
//!                └──────────────── the next group ◀────────────────────┘
//! ```
//!
//! While an append is in flight, all arriving messages wait, reads and joins included. Every answer therefore shows
//! durable state (P3), in the order of the requests. One group is one append, so a busy session pays for the disk once
//! per group and not once per command.
//!
//! After a failed append the content of the log is unknown: the actor fails, and the supervisor starts another actor
//! from the log (P8). Callers with a command in the group are told that the outcome is unknown. The next actor serves
//! the waiting commands, unnoticed by their callers.

mod bloom_filter;
mod dedup;
mod fault;
mod group;
mod inspect;
mod lookup;
mod members;

use std::{collections::VecDeque, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tracing::Span;

use crate::{
    broadcast_actor::BroadcastMessage,
    clock::now,
    domain::{
        blueprint::Blueprint,
        command::{Command, Context},
        document::Document,
        ids::{CommandId, Epoch, Seq, Timestamp},
        limits::Limits,
        record::Receipt,
        rejection::Rejection,
        session::{Rules, Session, SessionHeader},
    },
    fan_out::{DeferredSync, Member, MemberId, SyncReason},
    hub::HubSettings,
    log::{AppendError, EventLog, LogError},
    random::new_filter_key,
    reply::{self, Reply},
    stats::Stats,
};

pub use fault::{Fault, OperatorRequest};
pub use inspect::Inspection;
pub use members::{MemberRegistry, MemberSet};

/// Messages of a session actor.
pub enum SessionMessage {
    /// Decides a command.
    Submit(Submission),
    /// Returns a view of the session.
    Read(ReadRequest),
    /// Subscribes to the durable `seq`.
    Follow(Reply<watch::Receiver<Seq>>),
    /// Returns the internal state for operators, without waiting for the log.
    Inspect(Reply<Inspection>),
    /// Injects a fault into the next command.
    Inject(Fault, Reply<()>),
    /// Ends the actor as a failure would, on an operator's request. The text completes "an operator …".
    Fail(&'static str),
    /// Adds a socket to the room.
    Join(Member, Option<Position>, Timestamp, Reply<Result<(), RoomFull>>),
    /// Sends a sync to a member.
    Resync(MemberId, ResyncRequest),
    /// Notifies the room of a changed presence state.
    PresenceChanged(MemberId),
    /// Lists the members of the room.
    ListMembers(Reply<MemberSet>),
    /// Removes a member from the room. The text is the reason that is published.
    Leave(MemberId, Arc<str>, Timestamp, Reply<()>),
    /// Reports the end of the append in flight.
    Appended(Result<(), AppendError>),
    /// Delivers the log's records of the commands that were looked up.
    Found(Result<lookup::Found, LogError>),
    /// Returns so many delivery credits: the room has made the deliveries.
    RoomDelivered(usize),
    /// Delivers the next page of command ids from before this actor; `None`: the session has no log.
    IdsRead(Result<Option<Vec<CommandId>>, LogError>),
    /// Replaces the room's broadcast actor.
    RoomReplaced {
        /// New broadcast actor.
        room: ActorRef<BroadcastMessage>,
        /// True if the new actor takes over the members. False if the members are disconnected.
        sockets_stay: bool,
    },
    /// Passivates the session if it is idle. The answer is the final state, or `None` if the session is in use.
    Passivate {
        /// Idle means no access after this time.
        idle_since: Timestamp,
        /// Receiver of the answer.
        reply: Reply<Option<SessionView>>,
    },
    /// Finishes the append in flight, releases the members, and stops.
    Stop(StopReason),
}

/// Command with its context, submitted for a decision.
pub struct Submission {
    /// Command. Shared with the caller, which sends the command again if the actor never handled it.
    pub command: Arc<Command>,
    /// Command id, author, time and expected `seq`.
    pub context: Context,
    /// Receiver of the outcome.
    pub reply: Reply<Result<Submitted, RejectedCommand>>,
    /// Span of the command, from edge to fan-out.
    pub span: Span,
}

/// Accepted command with the epoch of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Outcome of the command.
    pub receipt: Receipt,
    /// Epoch of the log.
    pub epoch: Epoch,
}

/// Rejected command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedCommand {
    /// Reason of the rejection.
    pub rejection: Rejection,
    /// `seq` of the session at the rejection.
    pub seq: Seq,
}

/// Request for a view of the session.
pub struct ReadRequest {
    /// `seq` to wait for; `None` for the current state.
    pub min_seq: Option<Seq>,
    /// Receiver of the view.
    pub reply: Reply<SessionView>,
}

/// View of a session at one `seq`. Taking and keeping a view is cheap: the graph is shared with the session until
/// either changes.
#[derive(Debug, Clone)]
pub struct SessionView {
    /// Header of the session.
    pub header: SessionHeader,
    /// `seq` of the view.
    pub seq: Seq,
    /// Graph with its metadata.
    pub document: Document,
    /// Template; `None` if the session has none or the template cannot be loaded.
    pub blueprint: Option<Arc<Blueprint>>,
    /// True if the session has a step to undo.
    pub undo_available: bool,
    /// True if the session has a step to redo.
    pub redo_available: bool,
    /// True if there are changes that no project file contains.
    pub is_dirty: bool,
    /// Time of receipt of the last command.
    pub last_activity: Timestamp,
    /// Sockets in the room.
    pub active_clients: usize,
}

impl SessionView {
    /// Returns the id of the session's template, including a template that cannot be loaded.
    #[must_use]
    pub fn template_id(&self) -> Option<&crate::domain::ids::TemplateId> {
        crate::domain::session::template_in_force(&self.header, &self.document)
    }
}

/// Position of a client in a session's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Epoch that the client knows; `None` if the client sent a malformed epoch.
    pub epoch: Option<Epoch>,
    /// `seq` of the last event that the client has.
    pub seq: Seq,
}

/// Request of a member for a sync.
#[derive(Debug, Clone, Copy)]
pub struct ResyncRequest {
    /// Position of the client; `None` if the client sent none.
    pub position: Option<Position>,
    /// Reason to send the whole document regardless of the position; `None` to send the missing events if possible.
    pub reason: Option<SyncReason>,
    /// Time of the request.
    pub now: Timestamp,
}

impl ResyncRequest {
    /// Creates the request for a deferred sync.
    #[must_use]
    pub const fn due(due: DeferredSync, now: Timestamp) -> Self {
        let (position, reason) = match due {
            DeferredSync::Snapshot(reason) => (None, Some(reason)),
            DeferredSync::Events { epoch, after } => {
                let epoch = Some(epoch);
                (Some(Position { epoch, seq: after }), None)
            }
        };
        Self { position, reason, now }
    }
}

/// Error of a join: the room has reached its maximum of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has {max} sockets, as many as it may have")]
pub struct RoomFull {
    /// Maximum of sockets.
    pub max: usize,
}

/// Reason and manner of stopping a session actor.
pub enum StopReason {
    /// The session is deleted.
    Delete,
    /// The hub shuts down.
    Drain {
        /// Window for the clients' reconnects: minimum and maximum delay in milliseconds.
        reconnect_ms: (u64, u64),
    },
}

/// Source of the templates of starting sessions.
pub trait BlueprintSource: Send + Sync + 'static {
    /// Returns the blueprint `id`; `None` if the template cannot be loaded.
    fn blueprint(
        &self,
        id: &crate::domain::ids::TemplateId,
    ) -> futures_util::future::BoxFuture<'static, Option<Arc<Blueprint>>>;
}

/// Resources shared by all session actors.
#[derive(Clone)]
pub struct SessionResources {
    /// Event log of all sessions.
    pub log: Arc<dyn EventLog>,
    /// Source of templates.
    pub blueprints: Arc<dyn BlueprintSource>,
    /// Settings of the hub.
    pub settings: Arc<HubSettings>,
    /// Limits of the domain, shared with the rules of each session.
    pub limits: Arc<Limits>,
    /// Metrics that the actors update.
    pub stats: Arc<Stats>,
}

/// Arguments of a session actor.
pub struct SessionArguments {
    /// Id of the session.
    pub session_id: crate::domain::ids::SessionId,
    /// Broadcast actor of the room; `None` if the hub serves no sockets.
    pub room: Option<ActorRef<BroadcastMessage>>,
    /// Members that a failed predecessor of the actor left in the room.
    pub member_registry: MemberRegistry,
    /// Shared resources.
    pub resources: SessionResources,
}

/// Error of loading a session.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The session has no log.
    #[error("there is no such session")]
    NotFound,
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log cannot be replayed.
    #[error(transparent)]
    Replay(#[from] crate::domain::session::ReplayError),
    /// The replay panicked.
    #[error("replay panicked: {0}")]
    Panic(String),
}

/// Behaviour of a session actor; see the [module](self).
pub struct SessionActor;

/// State of a session actor.
pub struct SessionState {
    session: Session,
    resources: SessionResources,
    room: Option<ActorRef<BroadcastMessage>>,
    members: members::Members,
    /// Deliveries that the room has yet to make, or has made and not yet reported.
    room_deliveries_waiting: usize,
    myself: ActorRef<SessionMessage>,
    waiting: VecDeque<SessionMessage>,
    outbox: Vec<group::Effect>,
    append_in_flight: bool,
    /// `seq` up to which all events are durable.
    durable_seq: Seq,
    lookups: lookup::Lookups,
    dedup: dedup::Dedup,
    fault: Option<Fault>,
    /// Publishes `durable_seq` to followers.
    progress: watch::Sender<Seq>,
    /// `seq` of the latest snapshot in the log.
    snapshot_seq: Seq,
    /// Reads that wait for a `seq`.
    readers: Vec<(Seq, Reply<SessionView>)>,
    /// True if a command replaced the document, whose template may differ.
    template_due: bool,
    last_access: Timestamp,
    stopping: bool,
}

impl Actor for SessionActor {
    type Msg = SessionMessage;
    type State = SessionState;
    type Arguments = SessionArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<SessionMessage>,
        arguments: SessionArguments,
    ) -> Result<SessionState, ActorProcessingErr> {
        let SessionArguments {
            session_id,
            room,
            member_registry,
            resources,
        } = arguments;
        let (session, snapshot_seq) = open(session_id, &resources).await?;
        // Two sources of members: the room still has a member whose leave the failed actor could not publish, and the
        // registry has the members of a room that failed too.
        let mut members = list_members(room.as_ref()).await;
        members.extend(member_registry.members());
        members.sort_by_key(|member| member.id);
        members.dedup_by_key(|member| member.id);
        // A client starts sessions as often as it likes: no line for that by default (P9).
        tracing::debug!(%session_id, seq = session.seq().0, nodes = session.document().graph.len(), "session started");
        resources.stats.sessions_loaded.inc();
        let durable_seq = session.seq();
        let dedup = dedup::Dedup::new(
            session.window_is_complete(),
            new_filter_key(),
            resources.settings.command_filter_bytes_max,
        );
        let mut state = SessionState {
            last_access: now(),
            durable_seq,
            session,
            room_deliveries_waiting: 0,
            myself,
            resources,
            room,
            members: members::Members::new(member_registry),
            waiting: VecDeque::new(),
            outbox: Vec::new(),
            append_in_flight: false,
            lookups: lookup::Lookups::default(),
            dedup,
            fault: None,
            progress: watch::Sender::new(durable_seq),
            snapshot_seq,
            readers: Vec::new(),
            template_due: false,
            stopping: false,
        };
        state.resubscribe_members(members);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SessionMessage>,
        message: SessionMessage,
        state: &mut SessionState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SessionMessage::Appended(result) => {
                result.inspect_err(|_| {
                    state.resources.stats.append_failures.inc();
                })?;
                state.append_in_flight = false;
                state.durable_seq = state.session.seq();
                state.flush_outbox();
                state.progress.send_replace(state.durable_seq);
                state.snapshot_if_due();
                state.stop_if_asked(&myself);
            }
            SessionMessage::Found(found) => {
                state.lookups.found(found?);
                if state.waiting.is_empty() {
                    state.lookups.clear();
                }
                state.ask_log(&myself);
                state.read_ids(&myself);
            }
            SessionMessage::RoomDelivered(deliveries) => {
                state.room_deliveries_waiting = state.room_deliveries_waiting.saturating_sub(deliveries);
            }
            SessionMessage::IdsRead(page) => state.page_read(&myself, page),
            SessionMessage::RoomReplaced { room, sockets_stay } => {
                state.room = Some(room);
                // The deliveries of the failed room are nobody's to make (P10).
                state.room_deliveries_waiting = state.deliveries_in_outbox();
                if sockets_stay {
                    let members = state.members.take();
                    state.resubscribe_members(members);
                } else {
                    state.disconnect_members();
                }
            }
            // Operators are answered at once, because they ask when the session is blocked.
            SessionMessage::Inspect(reply) => reply.send(state.inspect()),
            SessionMessage::Inject(fault, reply) => {
                state.fault = Some(fault);
                reply.send(());
            }
            SessionMessage::Fail(reason) => return Err(fault::fail(reason)),
            other => {
                if let SessionMessage::Submit(submission) = &other {
                    state.look_up(&myself, submission.context.command_id);
                }
                state.waiting.push_back(other);
            }
        }
        while !state.append_in_flight && !state.stopping && state.is_ready(&myself) {
            state.run_group(&myself)?;
            state.follow_template().await;
        }
        Ok(())
    }
}

impl SessionState {
    /// Loads the template of a replaced document before the next command is decided on the document.
    async fn follow_template(&mut self) {
        if !std::mem::take(&mut self.template_due) {
            return;
        }
        let known = self.session.rules().blueprint.as_ref().map(|blueprint| blueprint.id());
        if known == self.session.template_id() {
            return;
        }
        let blueprint = blueprint_of(&self.session, &self.resources).await;
        self.session.set_blueprint(blueprint);
    }
}

/// Returns the template of a session; `None` if the session has none or the template cannot be loaded.
async fn blueprint_of(session: &Session, resources: &SessionResources) -> Option<Arc<Blueprint>> {
    let id = session.template_id()?.clone();
    resources.blueprints.blueprint(&id).await
}

impl Drop for SessionState {
    fn drop(&mut self) {
        self.resources.stats.sessions_loaded.dec();
    }
}

/// Reads and replays a session's log. The replay of a long log takes a while, so it runs on a blocking thread.
async fn open(
    session_id: crate::domain::ids::SessionId,
    resources: &SessionResources,
) -> Result<(Session, Seq), StartError> {
    let window_events = resources.limits.replay_window_events;
    let stored = resources.log.open(session_id, window_events).await?;
    let stored = stored.ok_or(StartError::NotFound)?;
    let snapshot_seq = stored.snapshot.as_ref().map_or(Seq::ZERO, |snapshot| snapshot.seq);
    // The template's id comes from the log. Replaying needs no template.
    let rules = Rules {
        blueprint: None,
        limits: Arc::clone(&resources.limits),
    };
    let replay = move || Session::replay(stored.header, rules, stored.snapshot, stored.records);
    match tokio::task::spawn_blocking(replay).await {
        Ok(session) => {
            let mut session = session?;
            let blueprint = blueprint_of(&session, resources).await;
            session.set_blueprint(blueprint);
            Ok((session, snapshot_seq))
        }
        Err(failure) => Err(StartError::Panic(failure.to_string())),
    }
}

/// Returns the members that the room's actor has.
async fn list_members(room: Option<&ActorRef<BroadcastMessage>>) -> Vec<Member> {
    let Some(room) = room else { return Vec::new() };
    let (reply, members) = Reply::new(None);
    // A room that has stopped has no members.
    let _ = room.cast(BroadcastMessage::ListMembers(reply));
    reply::answer(members).await.unwrap_or_default()
}

fn snapshot(session: &Session, active_clients: usize) -> SessionView {
    SessionView {
        header: session.header().clone(),
        seq: session.seq(),
        document: session.document().clone(),
        blueprint: session.rules().blueprint.clone(),
        undo_available: session.history().undo_depth() > 0,
        redo_available: session.history().next_redo().is_some(),
        is_dirty: session.is_dirty(),
        last_activity: session.last_activity(),
        active_clients,
    }
}
