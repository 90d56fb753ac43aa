//! The actor of a session: it owns the graph and the history, decides commands one after the other, and lets nothing
//! out that is not durable.
//!
//! ```text
//!  mailbox ─▶ waiting ─▶ a group: decide, apply, note the effects ─▶ outbox
//!                │                                                     │  one append in flight, never awaited
//!                │                          log ◀── append ────────────┤
//!                │                           └──── appended ──▶ release the outbox in order: replies, publications
//!                └──────────────── the next group ◀────────────────────┘
//! ```
//!
//! While an append is in flight everything that arrives waits, reads and joins too: whatever they show is then on
//! disk (P3), in the order in which it was asked for. One group is one append, so a busy session does not pay for the
//! disk once per command.
//!
//! If an append fails, nobody knows what the log holds: the actor fails, and the supervisor starts another from the log
//! (P8). Callers whose command was in the group are told that its outcome is unknown; those still waiting are served by
//! the new actor without noticing.

mod fault;
mod filter;
mod forgotten;
mod group;
mod inspect;
mod lookup;
mod members;

use std::{collections::VecDeque, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tracing::Span;

use crate::{
    broadcast_actor::{Backlog, BroadcastMessage},
    domain::{
        blueprint::Blueprint,
        command::{Command, Context},
        event::Document,
        ids::{CommandId, Epoch, Seq, Timestamp},
        limits::Limits,
        recorded::Receipt,
        rejection::Rejection,
        session::{Genesis, Rules, Session},
    },
    fan_out::{Member, MemberId, SyncDue, SyncReason},
    log::{AppendError, EventLog, LogError},
    reply::{self, Reply},
    stats::Stats,
    world::{new_filter_key, now},
};

pub use fault::{ByOperator, Fault};
pub use inspect::Inspection;
pub use members::{Everybody, Roll};

/// What a session's actor is told.
pub enum SessionMessage {
    /// Decide a command.
    Submit(Submission),
    /// Tell about the session.
    Read(ReadRequest),
    /// Somebody wants to know how far the session is, as it goes on.
    Follow(Reply<watch::Receiver<Seq>>),
    /// An operator wants to look inside.
    Inspect(Reply<Inspection>),
    /// An operator wants something to go wrong.
    Inject(Fault, Reply<()>),
    /// An operator wants it to end as if it had failed.
    Fail(&'static str),
    /// A socket comes.
    Join(Member, Option<Position>, Timestamp, Reply<Result<(), RoomFull>>),
    /// A socket asks where the session is.
    Resync(MemberId, ResyncRequest),
    /// A socket says something else of itself.
    PresenceChanged(MemberId),
    /// Who is in the room?
    Who(Reply<Everybody>),
    /// A socket goes.
    Leave(MemberId, Arc<str>, Timestamp, Reply<()>),
    /// The append in flight ended.
    Appended(Result<(), AppendError>),
    /// What the log knows of commands whose ids are not among the latest.
    Found(Result<lookup::Found, LogError>),
    /// The room has told enough of what it had to tell.
    RoomCaughtUp,
    /// The next ids of commands that the log has from before this actor; `None`: there is no such log.
    IdsRead(Result<Option<Vec<CommandId>>, LogError>),
    /// The room has another actor.
    RoomReplaced {
        /// The new one.
        room: ActorRef<BroadcastMessage>,
        /// Whether it gets the room's sockets; else they are let go.
        sockets_stay: bool,
    },
    /// Go to sleep if nothing happened since; the answer is the session as it was, or that it is not idle.
    Passivate {
        /// Nothing since when.
        idle_since: Timestamp,
        /// Whom to tell.
        reply: Reply<Option<Snapshot>>,
    },
    /// Finish what is under way, release the sockets, and stop.
    Stop(Stop),
}

/// A command that wants to be decided.
pub struct Submission {
    /// What is wanted. Shared with the caller, who sends it again if the actor never got to it.
    pub command: Arc<Command>,
    /// The circumstances.
    pub context: Context,
    /// Whom to tell.
    pub reply: Reply<Result<Submitted, Refusal>>,
    /// The span of the command, from edge to fan-out.
    pub span: Span,
}

/// An accepted command, and in which log it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// What it came to.
    pub receipt: Receipt,
    /// The log.
    pub epoch: Epoch,
}

/// A refusal, and where the session was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub rejection: Rejection,
    /// The session's `seq` then.
    pub seq: Seq,
}

/// Wants to see the session.
pub struct ReadRequest {
    /// Wait until the session got here.
    pub min_seq: Option<Seq>,
    /// Whom to tell.
    pub reply: Reply<Snapshot>,
}

/// A session at a moment. Cheap to take and to keep: it shares the graph with the session until either changes.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What the session is.
    pub genesis: Genesis,
    /// The `seq`.
    pub seq: Seq,
    /// The graph and what belongs to it.
    pub document: Document,
    /// The template, if it has one that is known.
    pub blueprint: Option<Arc<Blueprint>>,
    /// Whether there is something to undo.
    pub undo_available: bool,
    /// Whether there is something to redo.
    pub redo_available: bool,
    /// Whether there are changes that no project file has.
    pub is_dirty: bool,
    /// When the last command was received.
    pub last_activity: Timestamp,
    /// Sockets in the room.
    pub active_clients: usize,
}

impl Snapshot {
    /// The template it goes by, also if it cannot be had.
    #[must_use]
    pub fn template_id(&self) -> Option<&crate::domain::ids::TemplateId> {
        crate::domain::session::template_of(&self.genesis, &self.document)
    }
}

/// Where a client says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The log it knows; `None`: what it named is no log's.
    pub epoch: Option<Epoch>,
    /// The last event it has.
    pub seq: Seq,
}

/// A socket that asks where the session is.
#[derive(Debug, Clone, Copy)]
pub struct ResyncRequest {
    /// Where it is, if it says so.
    pub position: Option<Position>,
    /// A reason for which it needs everything, whatever its position.
    pub reason: Option<SyncReason>,
    /// When it asked.
    pub now: Timestamp,
}

impl ResyncRequest {
    /// Asks for what was put off.
    #[must_use]
    pub const fn due(due: SyncDue, now: Timestamp) -> Self {
        let (position, reason) = match due {
            SyncDue::Everything(reason) => (None, Some(reason)),
            SyncDue::Since { epoch, after } => {
                let epoch = Some(epoch);
                (Some(Position { epoch, seq: after }), None)
            }
        };
        Self { position, reason, now }
    }
}

/// The room has as many sockets as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has {max} sockets, as many as it may have")]
pub struct RoomFull {
    /// How many it may have.
    pub max: usize,
}

/// Why and how a session's actor stops.
pub enum Stop {
    /// The session is deleted.
    Delete,
    /// The hub goes away for a while.
    Drain {
        /// When its clients should come back: the shortest and the longest while, in milliseconds.
        reconnect_ms: (u64, u64),
    },
}

/// Finds the template of a session that is started.
pub trait BlueprintSource: Send + Sync + 'static {
    /// The blueprint of that name, if it can be had.
    fn blueprint(
        &self,
        id: &crate::domain::ids::TemplateId,
    ) -> futures_util::future::BoxFuture<'static, Option<Arc<Blueprint>>>;
}

/// What session actors share.
#[derive(Clone)]
pub struct SessionResources {
    /// Where sessions are kept.
    pub log: Arc<dyn EventLog>,
    /// Where templates come from.
    pub blueprints: Arc<dyn BlueprintSource>,
    /// The domain's limits.
    pub limits: Arc<Limits>,
    /// Commands decided before one append, at most.
    pub group_commands_max: usize,
    /// Events between two snapshots of a session, about.
    pub snapshot_events: u64,
    /// Sockets in a room, at most.
    pub sockets_per_session_max: usize,
    /// Deliveries, each of a command to a socket, that a room may have yet to make before its session takes another
    /// command.
    pub room_deliveries_waiting_max: usize,
    /// Memory of a session for telling new commands from those that only the log knows, in bytes at most; 0: the log is
    /// asked about each.
    pub command_filter_bytes_max: usize,
    /// Counters.
    pub stats: Arc<Stats>,
}

/// What a session's actor is made of.
pub struct SessionArguments {
    /// Which session.
    pub session_id: crate::domain::ids::SessionId,
    /// The room's actor, if sockets are served at all.
    pub room: Option<ActorRef<BroadcastMessage>>,
    /// Who is in the room already: those of the actor before this one, if it failed.
    pub roll: Roll,
    /// What it shares.
    pub resources: SessionResources,
}

/// Why a session cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such session.
    #[error("there is no such session")]
    NotFound,
    /// Its log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its log cannot be replayed.
    #[error(transparent)]
    Replay(#[from] crate::domain::session::ReplayError),
    /// Replaying panicked.
    #[error("replay panicked: {0}")]
    Panic(String),
}

/// See the [module](self).
pub struct SessionActor;

/// The state of a session's actor.
pub struct SessionState {
    session: Session,
    resources: SessionResources,
    room: Option<ActorRef<BroadcastMessage>>,
    members: members::Members,
    /// What the room has yet to tell.
    backlog: Backlog,
    waiting: VecDeque<SessionMessage>,
    outbox: Vec<group::Effect>,
    append_in_flight: bool,
    /// The `seq` up to which everything is durable.
    durable_seq: Seq,
    lookups: lookup::Lookups,
    forgotten: forgotten::Forgotten,
    fault: Option<Fault>,
    /// Tells followers how far everything is durable.
    progress: watch::Sender<Seq>,
    /// The `seq` of the latest snapshot that the log was given.
    snapshot_seq: Seq,
    /// Readers that wait for a `seq`.
    readers: Vec<(Seq, Reply<Snapshot>)>,
    /// The document was replaced, and may have come with another template.
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
            roll,
            resources,
        } = arguments;
        let (session, snapshot_seq) = open(session_id, &resources).await?;
        // The room knows whom an actor that failed had let go and could not say so, the roll whom a room had that
        // failed too.
        let mut members = census(room.as_ref()).await;
        members.extend(roll.members());
        members.sort_by_key(|member| member.id);
        members.dedup_by_key(|member| member.id);
        tracing::info!(%session_id, seq = session.seq().0, nodes = session.document().graph.len(), "session started");
        resources.stats.sessions_loaded.add(1);
        let durable_seq = session.seq();
        let forgotten = forgotten::Forgotten::new(
            session.remembers_everything(),
            new_filter_key(),
            resources.command_filter_bytes_max,
        );
        let mut state = SessionState {
            last_access: now(),
            durable_seq,
            session,
            backlog: Backlog::new(resources.room_deliveries_waiting_max, move || {
                // One that is gone does not wait.
                let _ = myself.cast(SessionMessage::RoomCaughtUp);
            }),
            resources,
            room,
            members: members::Members::new(roll),
            waiting: VecDeque::new(),
            outbox: Vec::new(),
            append_in_flight: false,
            lookups: lookup::Lookups::default(),
            forgotten,
            fault: None,
            progress: watch::Sender::new(durable_seq),
            snapshot_seq,
            readers: Vec::new(),
            template_due: false,
            stopping: false,
        };
        state.adopt(members);
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
                result.inspect_err(|_| state.resources.stats.append_failures.increment())?;
                state.append_in_flight = false;
                state.durable_seq = state.session.seq();
                state.release();
                state.progress.send_replace(state.durable_seq);
                state.snapshot_if_due();
                state.stop_if_asked(&myself);
            }
            SessionMessage::Found(found) => {
                state.lookups.found(found?);
                if state.waiting.is_empty() {
                    state.lookups.nothing_waits();
                }
                state.ask_log(&myself);
                state.read_forgotten(&myself);
            }
            SessionMessage::RoomCaughtUp => {}
            SessionMessage::IdsRead(page) => state.page_read(&myself, page),
            SessionMessage::RoomReplaced { room, sockets_stay } => {
                state.room = Some(room);
                if sockets_stay {
                    let members = state.members.take();
                    state.adopt(members);
                } else {
                    state.dismiss();
                }
            }
            // Operators are answered at once: they ask when something is in the way.
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
            state.turn(&myself)?;
            state.follow_template().await;
        }
        Ok(())
    }
}

impl SessionState {
    /// Reads the template that a graph came with, before anything is decided on that graph.
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

/// The template of a session, if it can be had.
async fn blueprint_of(session: &Session, resources: &SessionResources) -> Option<Arc<Blueprint>> {
    let id = session.template_id()?.clone();
    resources.blueprints.blueprint(&id).await
}

impl Drop for SessionState {
    fn drop(&mut self) {
        self.resources.stats.sessions_loaded.add(-1);
    }
}

/// Reads and replays a session's log, which is work for a thread of its own: a long log takes a while.
async fn open(
    session_id: crate::domain::ids::SessionId,
    resources: &SessionResources,
) -> Result<(Session, Seq), StartError> {
    let window_events = resources.limits.replay_window_events;
    let stored = resources.log.open(session_id, window_events).await?;
    let stored = stored.ok_or(StartError::NotFound)?;
    let snapshot_seq = stored.snapshot.as_ref().map_or(Seq::ZERO, |snapshot| snapshot.seq);
    // Which template it is the log tells, and replaying needs none.
    let rules = Rules {
        blueprint: None,
        limits: Arc::clone(&resources.limits),
    };
    let replay = move || Session::replay(stored.genesis, rules, stored.snapshot, stored.records);
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

/// The sockets that the room has.
async fn census(room: Option<&ActorRef<BroadcastMessage>>) -> Vec<Member> {
    let Some(room) = room else { return Vec::new() };
    let (reply, members) = Reply::new(None);
    // A room that is gone too has nobody in it any more.
    let _ = room.cast(BroadcastMessage::Census(reply));
    reply::answer(members).await.unwrap_or_default()
}

fn snapshot(session: &Session, active_clients: usize) -> Snapshot {
    Snapshot {
        genesis: session.genesis().clone(),
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
