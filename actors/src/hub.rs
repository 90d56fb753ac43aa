//! Handle of the hub for the edges. The handle exposes no actor, no lock and no global.
//!
//! A call finds the session's actor, sends a message and waits for the answer. If the actor ends before handling the
//! message, the hub sends the message to the next actor. If the actor ends while handling the message, the hub repeats
//! a read; a command ends in [`HubError::OutcomeUnknown`] and is safe to repeat with the same `command_id` (P4).

mod error;
mod following;
mod lane;
mod operations;
mod reading;
mod sessions;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use ractor::{Actor, ActorId, ActorRef};
use tokio::sync::broadcast;
use tracing::Span;

use crate::{
    broadcast_actor,
    clock::now,
    domain::{
        command::{Command, Context},
        ids::SessionId,
        limits::Limits,
    },
    fan_out::{Encoder, Member, MemberId, PresenceList},
    log::{EventLog, LogError},
    permits::{Permit, Permits},
    registry::{Registry, RegistryWriter, SessionHandle},
    reply::{self, Reply, ReplyError},
    session_actor::{
        BlueprintSource, Position, RejectedCommand, ResyncRequest, SessionMessage, SessionResources, Submission,
        Submitted,
    },
    session_supervisor::{SessionSupervisor, SupervisorArguments, SupervisorMessage},
    stats::Stats,
    supervision::{EVENTS_KEPT_MAX, SupervisionEvent},
};

pub use error::HubError;
pub use following::Follower;
pub use lane::Lane;
pub use operations::Inspected;
pub use reading::Page;
pub use sessions::{ChosenIds, Cleanup, NewSession, SaveLease};

pub use crate::{broadcast_actor::RoomSettings, session_supervisor::SupervisionSettings};

/// Settings of a hub. All actors of the hub share one copy.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Limits of the domain.
    pub limits: Limits,
    /// Supervision of the sessions.
    pub supervision: SupervisionSettings,
    /// Fan-out to the sockets of a session.
    pub room: RoomSettings,
    /// Commands and reads in flight in all sessions together, at most.
    pub in_flight_max: usize,
    /// Commands decided before one append, at most.
    pub group_commands_max: usize,
    /// Minimum of events between two snapshots of a session. Large graphs are written less often.
    pub snapshot_events: u64,
    /// Sockets in a room, at most.
    pub sockets_per_session_max: usize,
    /// Memory of a session's command filter in bytes, at most. The filter tells new commands from old ones without
    /// asking the log; with 0, every command that left the replay window is looked up in the log.
    pub command_filter_bytes_max: usize,
}

/// Dependencies of a hub.
pub struct HubParts {
    /// Event log of all sessions.
    pub log: Arc<dyn EventLog>,
    /// Source of templates.
    pub blueprints: Arc<dyn BlueprintSource>,
    /// Encoder of packets; `None`: no sockets are served (P10).
    pub encoder: Option<Arc<dyn Encoder>>,
    /// Metrics that the hub updates.
    pub stats: Arc<Stats>,
}

/// Handle of a running hub; see the [module](self). Clones share the hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    supervisor: ActorRef<SupervisorMessage>,
    registry: Registry,
    log: Arc<dyn EventLog>,
    permits: Permits,
    settings: Arc<HubSettings>,
    stats: Arc<Stats>,
    next_member: AtomicU64,
    draining: AtomicBool,
    events: broadcast::Sender<Arc<SupervisionEvent>>,
}

/// Actors of one session that a call may lose before the call fails. The supervisor restarts each of the lost actors
/// and quarantines the session earlier than this limit.
const ATTEMPTS_MAX: usize = 8;

impl Hub {
    /// Starts a hub over the sessions in the log. No session actor is started.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn start(settings: HubSettings, parts: HubParts) -> Result<Self, LogError> {
        let HubParts {
            log,
            blueprints,
            encoder,
            stats,
        } = parts;
        let stored = log.list().await?;
        let events = broadcast::Sender::new(EVENTS_KEPT_MAX);
        let registry = Registry::default();
        let settings = Arc::new(settings);
        let resources = SessionResources {
            log: Arc::clone(&log),
            blueprints,
            limits: Arc::new(settings.limits.clone()),
            settings: Arc::clone(&settings),
            stats: Arc::clone(&stats),
        };
        let arguments = SupervisorArguments {
            resources,
            encoder,
            registry: RegistryWriter::new(registry.clone()),
            stored,
            events: events.clone(),
        };
        let (supervisor, _) = Actor::spawn(None, SessionSupervisor, arguments)
            .await
            .map_err(|failure| LogError::Io(failure.to_string()))?;
        Ok(Self(Arc::new(Inner {
            supervisor,
            registry,
            log,
            permits: Permits::new(settings.in_flight_max),
            settings,
            stats,
            next_member: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            events,
        })))
    }

    /// Returns the metrics.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.0.stats
    }

    /// Returns true once [`Hub::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Returns the reason why the log refuses appends; `None` if the log accepts appends.
    #[must_use]
    pub fn log_refusal_reason(&self) -> Option<Arc<str>> {
        self.0.log.refusal_reason()
    }

    /// Submits a command and waits for its outcome. `span` accompanies the command to the fan-out.
    ///
    /// # Errors
    /// If the command is rejected, its outcome is unknown, or it was not admitted.
    pub async fn submit(
        &self,
        session_id: SessionId,
        command: Arc<Command>,
        context: Context,
        span: Span,
    ) -> Result<Submitted, HubError> {
        let _global = self.admit()?;
        if let Some(reason) = self.0.log.refusal_reason() {
            return Err(HubError::LogRefuses { reason });
        }
        let answer = self
            .ask(session_id, Retry::IfUnhandled, |reply| {
                SessionMessage::Submit(Submission {
                    command: Arc::clone(&command),
                    context: context.clone(),
                    reply,
                    span: span.clone(),
                })
            })
            .await?;
        answer.map_err(|RejectedCommand { rejection, seq }| HubError::Rejected { rejection, seq })
    }

    /// Loads a session that is not in memory.
    ///
    /// # Errors
    /// If the session does not exist or cannot be reached.
    pub async fn wake(&self, session_id: SessionId) -> Result<(), HubError> {
        let _global = self.admit()?;
        self.find(session_id, None).await.map(drop)
    }

    /// Returns a new id for the membership of a socket in a room.
    #[must_use]
    pub fn next_member_id(&self) -> MemberId {
        MemberId(self.0.next_member.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds a socket to a session's room. The socket's first packet is a sync; live events follow.
    ///
    /// # Errors
    /// If the session cannot be reached or its room is full.
    pub async fn join(
        &self,
        session_id: SessionId,
        member: Member,
        position: Option<Position>,
    ) -> Result<(), HubError> {
        let joined = self
            .ask(session_id, Retry::Ungated, |reply| {
                SessionMessage::Join(member.clone(), position, now(), reply)
            })
            .await?;
        joined.map_err(HubError::RoomFull)
    }

    /// Sends a sync to a member of the room.
    pub fn resync(&self, session_id: SessionId, member: MemberId, request: ResyncRequest) {
        // Without an actor nothing is lost: the next actor syncs all members.
        if let Some(handle) = self.0.registry.find(session_id) {
            let _ = handle.actor.cast(SessionMessage::Resync(member, request));
        }
    }

    /// Notifies the room of a changed [`Presence`](crate::fan_out::Presence) of a member.
    /// [`Presence::set`](crate::fan_out::Presence::set) returns true if the notice is needed.
    pub fn presence_changed(&self, session_id: SessionId, member: MemberId) {
        // Without an actor nothing is lost: the room reads the presence of all members that the next actor hands over.
        if let Some(handle) = self.0.registry.find(session_id) {
            let _ = handle.actor.cast(SessionMessage::PresenceChanged(member));
        }
    }

    /// Returns the present clients of a session with their presence states.
    ///
    /// # Errors
    /// If the session cannot be reached.
    pub async fn list_members(&self, session_id: SessionId) -> Result<PresenceList, HubError> {
        let _global = self.admit()?;
        let members = self.ask(session_id, Retry::Always, SessionMessage::ListMembers).await?;
        Ok(broadcast_actor::list(
            members.values(),
            self.0.settings.room.presence_clients_max,
        ))
    }

    /// Removes a socket from a room. Returns after the removal, without regard to the limits of work in flight.
    pub async fn leave(&self, session_id: SessionId, member: MemberId, reason: &Arc<str>) {
        // A session that cannot be reached has no room.
        let _ = self
            .ask(session_id, Retry::UntilDone, |reply| {
                SessionMessage::Leave(member, Arc::clone(reason), now(), reply)
            })
            .await;
    }

    /// Stops all sessions, each after its append in flight, and releases all sockets. All later calls end in
    /// [`HubError::Draining`].
    pub async fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
        let _ = self.ask_supervisor(SupervisorMessage::Drain).await;
    }

    fn admit(&self) -> Result<Permit, HubError> {
        if self.is_draining() {
            return Err(HubError::Draining);
        }
        let permits = &self.0.permits;
        permits.try_acquire().ok_or(HubError::Overloaded {
            limit: "in_flight_max",
            max: permits.max(),
        })
    }

    /// Sends a message to a session's actor and waits for the answer; `retry` decides about the next actor if the actor
    /// ends.
    async fn ask<T>(
        &self,
        session_id: SessionId,
        retry: Retry,
        message: impl Fn(Reply<T>) -> SessionMessage,
    ) -> Result<T, HubError> {
        let until_done = matches!(retry, Retry::UntilDone);
        let (mut gone, mut attempts) = (None, 0);
        while until_done || attempts < ATTEMPTS_MAX {
            attempts += 1;
            let handle = self.find(session_id, gone).await?;
            let (permit, _own_permit) = match retry {
                Retry::IfUnhandled | Retry::Always => (Some(handle.admit()?), None),
                Retry::WhileWaiting => (None, Some(handle.admit()?)),
                Retry::Ungated | Retry::UntilDone => (None, None),
            };
            let (reply, answer) = Reply::new(permit);
            // A failed cast drops the message with the reply, which then reports [`ReplyError::NotHandled`].
            let _ = handle.actor.cast(message(reply));
            match (reply::answer(answer).await, retry) {
                (Ok(answer), _) => return Ok(answer),
                (Err(ReplyError::Interrupted), Retry::IfUnhandled) => return Err(HubError::OutcomeUnknown),
                (Err(ReplyError::NotHandled | ReplyError::Interrupted), _) => gone = Some(handle.actor.get_id()),
            }
        }
        Err(HubError::OutcomeUnknown)
    }

    /// Returns the actor of a session: from the registry, or from the supervisor if the registry has no actor or
    /// `gone`.
    async fn find(&self, session_id: SessionId, gone: Option<ActorId>) -> Result<SessionHandle, HubError> {
        if let Some(handle) = self.0.registry.find(session_id)
            && Some(handle.actor.get_id()) != gone
        {
            return Ok(handle);
        }
        let found = self
            .ask_supervisor(|reply| SupervisorMessage::Find {
                session_id,
                ended: gone,
                reply,
            })
            .await?;
        found.map_err(|error| operations::find_error(session_id, error))
    }

    async fn ask_supervisor<T>(&self, message: impl FnOnce(Reply<T>) -> SupervisorMessage) -> Result<T, HubError> {
        let (reply, answer) = Reply::new(None);
        let _ = self.0.supervisor.cast(message(reply));
        // The supervisor ends only with the process.
        reply::answer(answer).await.map_err(|_| HubError::Draining)
    }
}

impl SessionHandle {
    fn admit(&self) -> Result<Permit, HubError> {
        self.permits.try_acquire().ok_or(HubError::Overloaded {
            limit: "in_flight_per_session_max",
            max: self.permits.max(),
        })
    }
}

/// Retry and admission rule for a message whose actor ends.
#[derive(Clone, Copy)]
enum Retry {
    /// Repeats only an unhandled message, because a handled one may have changed the session. Needs a permit.
    IfUnhandled,
    /// Repeats the message, which is idempotent. Needs a permit.
    Always,
    /// As `Always`, but the permit belongs to the waiting caller and not to the message: the actor keeps the message
    /// for any length of time, and drops it with the next message once the caller is gone.
    WhileWaiting,
    /// As `Always`, without a permit: the callers are bounded by the number of sockets and must not be shut out by
    /// other work in flight.
    Ungated,
    /// As `Ungated`, repeated until handled: the message ends a membership, and exactly one is sent per membership.
    UntilDone,
}
