//! Session actor: owns graph and history of a session, decides commands one after the other, and releases no effect
//! before it is durable.
//!
//! All decisions are made by a synchronous machine (`session_actor::machine`). The actor hands it messages and the time,
//! and performs its outputs: replies, messages to the room, appends and queries of the log.
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
mod machine;
mod members;

use std::sync::Arc;

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
        ids::{CommandId, Epoch, Seq, TemplateId, Timestamp},
        limits::Limits,
        record::Receipt,
        rejection::Rejection,
        session::{Rules, Session, SessionHeader},
    },
    fan_out::{DeferredSync, Member, MemberId, SyncReason},
    hub::HubSettings,
    log::{Append, AppendCallback, AppendError, EventLog, LogError},
    random::new_filter_key,
    reply::{self, Reply},
    stats::Stats,
};

pub use fault::{Fault, OperatorRequest};
pub use inspect::Inspection;
pub use members::{MemberRegistry, MemberSet};

use machine::{Group, Moment, Output, Outputs, SessionMachine, Start};

/// Messages of a session actor.
pub enum SessionMessage {
    /// Decides a command.
    Submit(Submission),
    /// Returns a view of the session.
    Read(ReadRequest),
    /// Subscribes to the durable `seq`.
    Follow(FollowReply),
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
    /// Delivers the template of a replaced document; `None` if the template cannot be loaded.
    TemplateLoaded(Option<Arc<Blueprint>>),
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

/// Reply to a caller that follows the durable `seq`.
pub type FollowReply = Reply<watch::Receiver<Seq>>;

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

/// State of a session actor: its machine, and what the machine's outputs need.
pub struct SessionState {
    machine: SessionMachine,
    myself: ActorRef<SessionMessage>,
    room: Option<ActorRef<BroadcastMessage>>,
    resources: SessionResources,
    /// Publishes the durable `seq` to followers.
    progress: watch::Sender<Seq>,
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
        let progress = watch::Sender::new(session.seq());
        let start = Start {
            session,
            snapshot_seq,
            settings: Arc::clone(&resources.settings),
            member_registry,
            has_room: room.is_some(),
            filter_key: new_filter_key(),
        };
        let mut state = SessionState {
            machine: SessionMachine::new(start, now()),
            myself,
            room,
            resources,
            progress,
        };
        let (moment, mut outputs) = (state.moment(), Outputs::default());
        state.machine.resubscribe_members(members, moment, &mut outputs);
        state.perform(outputs);
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ActorRef<SessionMessage>,
        message: SessionMessage,
        state: &mut SessionState,
    ) -> Result<(), ActorProcessingErr> {
        match &message {
            SessionMessage::Appended(Err(_)) => {
                state.resources.stats.append_failures.inc();
            }
            SessionMessage::RoomReplaced { room, .. } => state.room = Some(room.clone()),
            _ => {}
        }
        let mut outputs = Outputs::default();
        let handled = state.machine.handle(message, state.moment(), &mut outputs);
        state.perform(outputs);
        handled?;
        // Each group is performed before the next is decided: a panic in a decision must not lose earlier answers.
        while state.machine.is_ready_to_advance() {
            let mut outputs = Outputs::default();
            let advanced = state.machine.advance(state.moment(), &mut outputs);
            state.perform(outputs);
            if !advanced? {
                break;
            }
        }
        Ok(())
    }
}

impl SessionState {
    fn moment(&self) -> Moment {
        Moment {
            now: now(),
            followers: self.progress.receiver_count(),
        }
    }

    /// Performs the outputs of the machine in order.
    fn perform(&mut self, outputs: Outputs) {
        for output in outputs {
            match output {
                Output::Reply(send) => send(),
                Output::Follow(reply) => reply.send(self.progress.subscribe()),
                Output::Commands(outcomes) => {
                    let session = Some(self.myself.clone());
                    self.publish(BroadcastMessage::Commands { outcomes, session });
                }
                Output::ToRoom(message) => self.publish(message),
                Output::Append(group) => self.append(group),
                Output::Find { commands, as_of } => self.find(commands, as_of),
                Output::ReadIds { after, max } => self.read_ids(after, max),
                Output::StoreSnapshot(snapshot) => {
                    let session_id = self.machine.session_id();
                    self.resources.log.keep_snapshot(session_id, snapshot);
                }
                Output::LoadTemplate(id) => self.load_template(&id),
                Output::Progress(seq) => {
                    self.progress.send_replace(seq);
                }
                Output::Stop => self.myself.stop(None),
            }
        }
    }

    /// Sends a message to the room's actor. A failed room never fails a command (P10): the room will be replaced and
    /// its members get a sync.
    fn publish(&self, message: BroadcastMessage) {
        let Some(room) = &self.room else { return };
        if room.cast(message).is_err() {
            self.resources.stats.broadcast_failures.inc();
            tracing::warn!(session_id = %self.machine.session_id(), "room actor gone, message dropped");
        }
    }

    fn append(&self, group: Group) {
        let Group {
            expected,
            records,
            node_count,
            fault,
        } = group;
        let events = records.iter().map(|record| record.wire_events() as u64).sum();
        let (myself, stats) = (self.myself.clone(), Arc::clone(&self.resources.stats));
        let done = AppendCallback::new(move |result| {
            if result.is_ok() {
                stats.events_published.inc_by(events);
            }
            // A stopped actor has failed, and the successor reads the log.
            let _ = myself.cast(SessionMessage::Appended(result));
        });
        let append = Append {
            session_id: self.machine.session_id(),
            expected,
            records,
            node_count,
            done,
        };
        fault::append(Arc::clone(&self.resources.log), append, fault);
    }

    fn find(&self, commands: Vec<CommandId>, as_of: Seq) {
        let query = self.resources.log.find(self.machine.session_id(), commands.clone());
        let myself = self.myself.clone();
        tokio::spawn(async move {
            let found = query.await.map(|records| lookup::Found {
                commands,
                records,
                as_of,
            });
            // A stopped actor has failed, and the successor asks again.
            let _ = myself.cast(SessionMessage::Found(found));
        });
    }

    fn read_ids(&self, after: Option<CommandId>, max: usize) {
        let query = self.resources.log.command_ids(self.machine.session_id(), after, max);
        let myself = self.myself.clone();
        tokio::spawn(async move {
            // A failed actor needs no page, and the successor reads all pages again.
            let _ = myself.cast(SessionMessage::IdsRead(query.await));
        });
    }

    fn load_template(&self, id: &TemplateId) {
        let (template, myself) = (self.resources.blueprints.blueprint(id), self.myself.clone());
        tokio::spawn(async move {
            // A stopped actor decides nothing.
            let _ = myself.cast(SessionMessage::TemplateLoaded(template.await));
        });
    }
}

impl Drop for SessionState {
    fn drop(&mut self) {
        self.resources.stats.sessions_loaded.dec();
    }
}

/// Returns the template of a session; `None` if the session has none or the template cannot be loaded.
async fn blueprint_of(session: &Session, resources: &SessionResources) -> Option<Arc<Blueprint>> {
    let id = session.template_id()?.clone();
    resources.blueprints.blueprint(&id).await
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
