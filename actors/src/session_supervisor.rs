//! Supervisor of all sessions: starts sessions on demand, restarts failed sessions, passivates idle sessions, and stops
//! all sessions when the hub shuts down.
//!
//! A session is a pair of actors: its own and its room's. Both are children of the supervisor, so that neither ends the
//! other. Each session has its own restart budget: a session that fails repeatedly is quarantined without effect on
//! others (P8). ractor restarts no actor by itself, and its default is to stop the supervisor with the first child that
//! ends; `handle_supervisor_evt` therefore handles every event.

mod ending;
mod entry;
mod index;
mod operations;

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime};
use tokio::sync::broadcast;

use crate::{
    broadcast_actor::{BroadcastActor, BroadcastArguments, BroadcastMessage, CloseReason, RoomSettings},
    clock::{instant, now},
    domain::{
        ids::{ProjectId, SessionId, Timestamp},
        session::SessionHeader,
    },
    fan_out::{Encoder, Room},
    hub::HubSettings,
    log::{AppendError, LogError, StoredHead},
    registry::{RegistryWriter, SessionHandle},
    reply::Reply,
    session_actor::{
        OperatorRequest, SessionActor, SessionArguments, SessionMessage, SessionResources, SessionView, StartError,
    },
    supervision::{Branch, EventKind, SupervisionEvent},
};

use ending::unavailable_reason;
use entry::Lifecycle;
use index::Index;
use operations::report_start;

pub use entry::Summary;
pub use operations::Operation;

/// Messages of the supervisor.
pub(crate) enum SupervisorMessage {
    /// Reserves the ids of a new session and of its project, before the log is created.
    Reserve(SessionHeader, Reply<Result<(), ReserveError>>),
    /// Reports that the log was created: the session can be used.
    Created(SessionId, Reply<()>),
    /// Reports that the log could not be created.
    CreateFailed(SessionId, Reply<()>),
    /// Returns a session's actor other than `ended`, which the caller found to have ended.
    Find {
        session_id: SessionId,
        ended: Option<ActorId>,
        reply: Reply<Result<SessionHandle, FindError>>,
    },
    /// Reports the time since which an actor serves.
    Started(SessionId, Timestamp),
    /// Reports that an actor could not start.
    StartFailed(SessionId, ActorId, Arc<StartError>),
    /// Restarts a failed session after its delay.
    Restart(SessionId),
    /// Reports the passivation of a session, with the final state.
    Passivated(SessionId, ActorId, Box<SessionView>),
    /// Reports damage that was read in a session's log.
    Damaged(SessionId, Arc<str>),
    /// Passivates all idle sessions.
    Sweep,
    /// Passivates one unused session. The answer is false if the session is in use.
    Passivate {
        session_id: SessionId,
        actor: ActorId,
        reply: Reply<bool>,
    },
    /// Returns the session of a project.
    FindProject(ProjectId, Reply<Option<SessionId>>),
    /// Returns all projects.
    Projects(Reply<BTreeMap<ProjectId, SessionHeader>>),
    /// Returns a page of the sessions.
    List {
        offset: usize,
        limit: usize,
        reply: Reply<SummaryPage>,
    },
    /// Deletes a session. The caller deletes the log after the answer.
    Delete(SessionId, Reply<Result<(), FindError>>),
    /// Stops all sessions.
    Drain(Reply<()>),
    /// Returns a page or one branch of the supervision tree.
    Branches {
        offset: usize,
        limit: usize,
        reply: Reply<(Vec<Branch>, usize)>,
    },
    Branch(SessionId, Reply<Option<Branch>>),
    /// Panics, as a bug would.
    Panic,
    /// Performs an operator's operation.
    Operate(SessionId, Operation, Reply<Result<(), FindError>>),
}

/// Page of the sessions, in order of creation.
#[derive(Debug, Clone)]
pub struct SummaryPage {
    /// Last known state of each session, without asking its actor.
    pub sessions: Vec<Summary>,
    /// Number of all sessions.
    pub total: usize,
}

/// Reason to refuse a new session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReserveError {
    SessionExists(SessionId),
    ProjectExists(SessionId),
    TooMany { max: usize },
    Draining,
}

/// Reason why a session cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FindError {
    NotFound,
    Quarantined { reason: Arc<str> },
    Draining,
}

/// Settings of the supervision.
#[derive(Debug, Clone)]
pub struct SupervisionSettings {
    /// Restarts of a session within [`Self::restart_window`] before the session is quarantined; also restarts of a room
    /// before its sockets are released.
    pub restarts_max: usize,
    /// Window of [`Self::restarts_max`].
    pub restart_window: Duration,
    /// Delay before the second restart in a row, doubled for each further one. The first restart is immediate.
    pub restart_backoff: Duration,
    /// Time that an unused session stays in memory.
    pub idle_timeout: Duration,
    /// Sessions that may exist, loaded or not.
    pub sessions_max: usize,
    /// Commands and reads in flight in one session, at most.
    pub in_flight_per_session_max: usize,
    /// Window for the clients' reconnects after a drain: minimum and maximum delay in milliseconds.
    pub reconnect_ms: (u64, u64),
}

/// Arguments of the supervisor.
pub(crate) struct SupervisorArguments {
    pub(crate) resources: SessionResources,
    /// Encoder of packets; `None`: no sockets are served.
    pub(crate) encoder: Option<Arc<dyn Encoder>>,
    pub(crate) registry: RegistryWriter,
    pub(crate) stored: Vec<StoredHead>,
    pub(crate) events: broadcast::Sender<Arc<SupervisionEvent>>,
}

/// Behaviour of the supervisor; see the [module](self).
pub(crate) struct SessionSupervisor;

pub(crate) struct SupervisorState {
    settings: Arc<HubSettings>,
    room_settings: Arc<RoomSettings>,
    resources: SessionResources,
    encoder: Option<Arc<dyn Encoder>>,
    registry: RegistryWriter,
    index: Index,
    /// Session and role of each child actor.
    children: BTreeMap<ActorId, (SessionId, Child)>,
    draining: Option<Vec<Reply<()>>>,
    events: broadcast::Sender<Arc<SupervisionEvent>>,
}

/// Failure of an actor.
struct ActorFailure {
    text: Arc<str>,
    cause: Cause,
}

/// Cause of a failure. Only failures of the session itself are charged to its restart budget.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Session,
    /// The log is damaged: another start would read the same damage.
    Damage,
    /// The log refuses appends of every session.
    LogRefused,
    /// An operator restarted or quarantined the session. This is no failure and raises no alert.
    Operator,
}

impl ActorFailure {
    fn new(error: &ActorProcessingErr) -> Self {
        let cause = if error.is::<OperatorRequest>() {
            Cause::Operator
        } else if matches!(error.downcast_ref(), Some(AppendError::Refused(_))) {
            Cause::LogRefused
        } else if matches!(error.downcast_ref(), Some(LogError::Corrupt(_))) {
            Cause::Damage
        } else {
            Cause::Session
        };
        Self {
            text: error.to_string().into(),
            cause,
        }
    }

    fn of(error: &StartError) -> Self {
        Self {
            text: error.to_string().into(),
            cause: match error {
                StartError::Log(LogError::Corrupt(_)) | StartError::Replay(_) => Cause::Damage,
                _ => Cause::Session,
            },
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Child {
    Session,
    Room,
}

impl Actor for SessionSupervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = SupervisorArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        arguments: SupervisorArguments,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let SupervisorArguments {
            resources,
            encoder,
            registry,
            stored,
            events,
        } = arguments;
        let settings = Arc::clone(&resources.settings);
        let period = (settings.supervision.idle_timeout / 4).max(Duration::from_millis(10));
        myself.send_interval(period, || SupervisorMessage::Sweep);
        Ok(SupervisorState {
            room_settings: Arc::new(settings.room.clone()),
            settings,
            resources,
            encoder,
            registry,
            index: Index::new(stored),
            children: BTreeMap::new(),
            draining: None,
            events,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::Reserve(header, reply) => reply.send(state.reserve(header)),
            SupervisorMessage::Created(session_id, reply) => {
                state.created(&myself, session_id);
                reply.send(());
            }
            SupervisorMessage::CreateFailed(session_id, reply) => {
                state.remove_session(session_id);
                reply.send(());
            }
            SupervisorMessage::Find {
                session_id,
                ended,
                reply,
            } => state.find(&myself, session_id, ended, reply),
            SupervisorMessage::StartFailed(session_id, actor, error) => {
                state.start_failed(&myself, session_id, actor, &error);
            }
            SupervisorMessage::Restart(session_id) => state.restart(&myself, session_id),
            SupervisorMessage::Passivated(session_id, actor, snapshot) => {
                state.passivated(session_id, actor, &snapshot);
            }
            SupervisorMessage::Damaged(session_id, reason) => state.damaged(session_id, &reason),
            SupervisorMessage::Sweep => state.sweep(&myself),
            SupervisorMessage::Passivate {
                session_id,
                actor,
                reply,
            } => state.passivate(&myself, session_id, actor, reply),
            SupervisorMessage::FindProject(project_id, reply) => {
                reply.send(state.index.project(&project_id).map(|header| header.session_id));
            }
            SupervisorMessage::Projects(reply) => reply.send(state.index.projects()),
            SupervisorMessage::List { offset, limit, reply } => reply.send(state.page(offset, limit)),
            SupervisorMessage::Delete(session_id, reply) => state.delete(session_id, reply),
            SupervisorMessage::Drain(reply) => state.drain(reply),
            SupervisorMessage::Started(session_id, at) => state.started(session_id, at),
            SupervisorMessage::Branches { offset, limit, reply } => reply.send(state.branches(offset, limit)),
            SupervisorMessage::Branch(session_id, reply) => reply.send(state.branch(session_id)),
            SupervisorMessage::Operate(session_id, operation, reply) => state.operate(session_id, operation, reply),
            SupervisorMessage::Panic => operations::panic_on_purpose(),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: ractor::SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            ractor::SupervisionEvent::ActorTerminated(cell, ..) => state.ended(&myself, &cell, None),
            ractor::SupervisionEvent::ActorFailed(cell, error) => {
                state.ended(&myself, &cell, Some(ActorFailure::new(&error)));
            }
            ractor::SupervisionEvent::ActorStarted(_) | ractor::SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl SupervisorState {
    /// Makes a session with a new log available and listed.
    fn created(&mut self, myself: &ActorRef<SupervisorMessage>, session_id: SessionId) {
        // Callers that looked for the session in the meantime are waiting.
        let wanted = self
            .index
            .mark_created(session_id)
            .is_some_and(|entry| entry.has_callers());
        if wanted && self.draining.is_none() {
            self.start(myself, session_id);
        }
    }

    fn reserve(&mut self, header: SessionHeader) -> Result<(), ReserveError> {
        if self.draining.is_some() {
            return Err(ReserveError::Draining);
        }
        let session_id = header.session_id;
        if self.index.get(session_id).is_some() {
            return Err(ReserveError::SessionExists(session_id));
        }
        let taken = header
            .project
            .as_ref()
            .and_then(|project| self.index.holder(&project.project_id));
        if let Some(session_id) = taken {
            return Err(ReserveError::ProjectExists(session_id));
        }
        let max = self.settings.supervision.sessions_max;
        if self.index.len() >= max {
            return Err(ReserveError::TooMany { max });
        }
        self.index.reserve(StoredHead::new(header));
        Ok(())
    }

    /// Removes a session. All waiting callers are answered.
    fn remove_session(&mut self, session_id: SessionId) {
        let Some(mut entry) = self.index.remove(session_id) else {
            return;
        };
        self.registry.remove(session_id);
        entry.answer_all(&FindError::NotFound);
        entry.close_room(CloseReason::Deleted);
        match entry.life {
            Lifecycle::Quarantined { .. } => {
                self.resources.stats.sessions_quarantined.dec();
            }
            Lifecycle::Deleting(reply) => {
                reply.send(Ok(()));
                self.emit(session_id, EventKind::Deleted);
            }
            Lifecycle::Creating
            | Lifecycle::Passivated
            | Lifecycle::Running(_)
            | Lifecycle::Passivating
            | Lifecycle::Restarting => {}
        }
    }

    fn find(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        session_id: SessionId,
        ended: Option<ActorId>,
        reply: Reply<Result<SessionHandle, FindError>>,
    ) {
        if self.draining.is_some() {
            return reply.send(Err(FindError::Draining));
        }
        let Some(entry) = self.index.get_mut(session_id) else {
            return reply.send(Err(FindError::NotFound));
        };
        match &entry.life {
            Lifecycle::Running(handle) if Some(handle.actor.get_id()) != ended => reply.send(Ok(handle.clone())),
            // Either the actor that the caller knows has ended and the supervision event is on its way, or the session
            // is about to start.
            Lifecycle::Running(_) | Lifecycle::Creating | Lifecycle::Restarting | Lifecycle::Passivating => {
                entry.usage_mut().callers.push(reply);
            }
            Lifecycle::Passivated => {
                entry.usage_mut().callers.push(reply);
                self.start(myself, session_id);
            }
            Lifecycle::Quarantined { reason } => reply.send(Err(FindError::Quarantined {
                reason: Arc::clone(reason),
            })),
            Lifecycle::Deleting(..) => reply.send(Err(FindError::NotFound)),
        }
    }

    /// Starts a session's actor, and its room's if there is none. The actor accepts messages at once and handles them
    /// after reading its log.
    fn start(&mut self, myself: &ActorRef<SupervisorMessage>, session_id: SessionId) {
        let room = self.room(myself, session_id);
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        let usage = entry.usage_mut();
        let arguments = SessionArguments {
            session_id,
            room,
            member_registry: usage.member_registry.clone(),
            resources: self.resources.clone(),
        };
        let spawned = ActorRuntime::spawn_linked_instant(None, SessionActor, arguments, myself.get_cell());
        let Ok((actor, started)) = spawned else { return };
        let id = actor.get_id();
        self.children.insert(id, (session_id, Child::Session));
        let supervisor = myself.clone();
        tokio::spawn(async move {
            let error = match started.await {
                Ok(Ok(_)) => return report_start(&supervisor, session_id, Ok(())),
                Ok(Err(ractor::SpawnErr::StartupFailed(error))) => error
                    .downcast::<StartError>()
                    .map_or_else(|other| StartError::Panic(other.to_string()), |it| *it),
                Ok(Err(other)) => StartError::Panic(other.to_string()),
                Err(other) => StartError::Panic(other.to_string()),
            };
            let failed = SupervisorMessage::StartFailed(session_id, id, Arc::new(error));
            report_start(&supervisor, session_id, Err(failed));
        });
        let handle = SessionHandle {
            actor,
            permits: usage.permits(self.settings.supervision.in_flight_per_session_max),
            saving: Arc::clone(&usage.saving),
        };
        let callers = mem::take(&mut usage.callers);
        entry.life = Lifecycle::Running(handle.clone());
        // Registered before any caller is answered: the caller's next message takes the direct way, and must not
        // overtake earlier ones.
        self.registry.insert(session_id, handle.clone());
        for caller in callers {
            caller.send(Ok(handle.clone()));
        }
    }

    fn room(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        session_id: SessionId,
    ) -> Option<ActorRef<BroadcastMessage>> {
        let encoder = Arc::clone(self.encoder.as_ref()?);
        let entry = self.index.get_mut(session_id)?;
        if let Some(room) = entry.usage().and_then(|usage| usage.room.as_ref()) {
            return Some(room.clone());
        }
        let header = &entry.summary.header;
        let room = Room {
            session_id,
            project_id: header.project.as_ref().map(|project| project.project_id.clone()),
            epoch: header.epoch,
        };
        let arguments = BroadcastArguments {
            room,
            encoder,
            settings: Arc::clone(&self.room_settings),
            stats: Arc::clone(&self.resources.stats),
        };
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, BroadcastActor, arguments, myself.get_cell()).ok()?;
        self.children.insert(actor.get_id(), (session_id, Child::Room));
        entry.usage_mut().room = Some(actor.clone());
        Some(actor)
    }

    fn start_failed(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        session_id: SessionId,
        actor: ActorId,
        error: &StartError,
    ) {
        self.children.remove(&actor);
        if matches!(error, StartError::NotFound) {
            self.remove_session(session_id);
            return self.finish_drain();
        }
        self.failed(myself, session_id, &ActorFailure::of(error));
    }

    fn ended(&mut self, myself: &ActorRef<SupervisorMessage>, cell: &ActorCell, failure: Option<ActorFailure>) {
        match (self.children.remove(&cell.get_id()), failure) {
            (None, _) => {}
            (Some((session_id, Child::Room)), failure) => self.room_ended(myself, session_id, cell.get_id(), failure),
            (Some((session_id, Child::Session)), Some(failure)) => self.failed(myself, session_id, &failure),
            (Some((session_id, Child::Session)), None) => self.session_ended(myself, session_id),
        }
    }

    /// Replaces a failed room actor; the session hands its members to the new one. If the room fails repeatedly, its
    /// members may be the cause: the session then disconnects the members, which reconnect by themselves at their own
    /// pace (P9).
    fn room_ended(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        session_id: SessionId,
        actor: ActorId,
        failure: Option<ActorFailure>,
    ) {
        self.finish_drain();
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        let usage = entry.usage_mut();
        if usage.room.take_if(|room| room.get_id() == actor).is_none() {
            return;
        }
        let Some(ActorFailure { text, .. }) = failure else {
            return;
        };
        tracing::error!(%session_id, failure = %text, "room actor failed");
        self.resources.stats.broadcast_restarts.inc();
        let told = SupervisionEvent {
            at: now(),
            session_id,
            kind: EventKind::RoomRestarted(text),
        };
        let _ = self.events.send(Arc::new(told));
        let recent = usage
            .room_failures
            .record(instant(), self.settings.supervision.restart_window);
        let sockets_stay = recent <= self.settings.supervision.restarts_max;
        let Lifecycle::Running(handle) = &entry.life else {
            return;
        };
        let session = handle.actor.clone();
        if let Some(room) = self.room(myself, session_id) {
            let _ = session.cast(SessionMessage::RoomReplaced { room, sockets_stay });
        }
    }

    fn session_ended(&mut self, myself: &ActorRef<SupervisorMessage>, session_id: SessionId) {
        self.registry.remove(session_id);
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        if let Lifecycle::Deleting(_) = entry.life {
            self.remove_session(session_id);
            return self.finish_drain();
        }
        if let Some(reason) = entry.usage_mut().quarantine_reason.take() {
            tracing::error!(%session_id, failure = %reason, "session quarantined");
            self.quarantine(session_id, &reason);
            return self.finish_drain();
        }
        entry.close_room(unavailable_reason(&self.settings.supervision));
        entry.life = Lifecycle::Passivated;
        if entry.has_callers() && self.draining.is_none() {
            self.start(myself, session_id);
        }
        self.finish_drain();
    }

    /// Restarts a failed session from the log, until its restart budget is spent.
    fn failed(&mut self, myself: &ActorRef<SupervisorMessage>, session_id: SessionId, failure: &ActorFailure) {
        self.registry.remove(session_id);
        let settings = &self.settings.supervision;
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        if let Lifecycle::Deleting(_) = entry.life {
            return self.session_ended(myself, session_id);
        }
        let ActorFailure { text, cause } = failure;
        let usage = entry.usage_mut();
        usage.failed_at.get_or_insert(instant());
        if *cause != Cause::Operator {
            usage.last_failure = Some((now(), Arc::clone(text)));
            usage.restarts += 1;
        }
        let recent = match cause {
            Cause::Session | Cause::Damage => usage.failures.record(instant(), settings.restart_window),
            // Not charged to the session, but an immediate retry would fail too.
            Cause::LogRefused => 2,
            Cause::Operator => 0,
        };
        let is_hopeless = *cause == Cause::Damage || (*cause == Cause::Session && recent > settings.restarts_max);
        let quarantine_reason = usage
            .quarantine_reason
            .take()
            .or_else(|| is_hopeless.then(|| Arc::clone(text)));
        self.emit(session_id, EventKind::Failed(Arc::clone(text)));
        if let Some(reason) = quarantine_reason {
            if *reason == *operations::BY_OPERATOR {
                tracing::info!(%session_id, %reason, "session quarantined");
            } else {
                tracing::error!(%session_id, failure = %reason, failures = recent, "session quarantined");
            }
            self.quarantine(session_id, &reason);
            return self.finish_drain();
        }
        let settings = &self.settings.supervision;
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        let delay = if recent <= 1 {
            Duration::ZERO
        } else {
            settings.restart_backoff * (1 << (recent - 2).min(16))
        };
        if *cause == Cause::Operator {
            tracing::info!(%session_id, "session restarted by an operator");
        } else {
            tracing::error!(%session_id, failure = %text, failures = recent, restart_in_ms = delay.as_millis(), "a session failed");
            self.resources.stats.session_restarts.inc();
        }
        entry.life = Lifecycle::Restarting;
        if delay.is_zero() {
            self.restart(myself, session_id);
        } else {
            myself.send_after(delay, move || SupervisorMessage::Restart(session_id));
        }
    }

    fn restart(&mut self, myself: &ActorRef<SupervisorMessage>, session_id: SessionId) {
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        if !matches!(entry.life, Lifecycle::Restarting) {
            return;
        }
        if self.draining.is_some() {
            entry.life = Lifecycle::Passivated;
            entry.close_room(unavailable_reason(&self.settings.supervision));
            return self.finish_drain();
        }
        self.start(myself, session_id);
    }

    fn page(&self, offset: usize, limit: usize) -> SummaryPage {
        let entries = self.index.page(offset, limit).filter_map(|id| self.index.get(id));
        SummaryPage {
            sessions: entries.map(|entry| entry.summary.clone()).collect(),
            total: self.index.created_len(),
        }
    }
}
