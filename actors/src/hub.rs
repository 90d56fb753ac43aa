//! The handle that everything outside holds: no actor, no lock, no global behind it that a caller could get hold of.
//!
//! A call finds the session's actor, sends it a message and waits for the answer. If the actor ends before it got to
//! the message, the message is sent again to the next one; if it ends while at it, a read is repeated and a command
//! ends in [`HubError::OutcomeUnknown`], which is safe to repeat with the same `command_id` (P4).

mod error;
mod following;
mod lane;
pub(crate) mod operations;
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
    admission::{Gate, Permit},
    broadcast_actor,
    directory::{Directory, DirectoryWriter, SessionHandle},
    domain::{
        command::{Command, Context},
        ids::SessionId,
        limits::Limits,
    },
    fan_out::{Encoder, Member, MemberId, PresenceList},
    log::{EventLog, LogError},
    reply::{self, Lost, Reply},
    session_actor::{
        BlueprintSource, Position, Refusal, ResyncRequest, SessionMessage, SessionResources, Submission, Submitted,
    },
    session_supervisor::{SessionSupervisor, SupervisorArguments, SupervisorMessage},
    stats::Stats,
    supervision::{EVENTS_KEPT_MAX, SupervisionEvent},
    world::now,
};

pub use error::HubError;
pub use following::Follower;
pub use lane::Lane;
pub use operations::Inspected;
pub use reading::Page;
pub use sessions::{Chosen, Cleanup, NewSession, SaveLease};

pub use crate::session_supervisor::SupervisionSettings;

/// How a hub is set up.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The domain's limits.
    pub limits: Limits,
    /// How sessions are supervised.
    pub supervision: SupervisionSettings,
    /// Commands and reads under way in all sessions together.
    pub in_flight_max: usize,
    /// Commands decided before one append, at most.
    pub group_commands_max: usize,
    /// Deliveries, each of a command to a socket, that a room may have yet to make before its session takes another
    /// command.
    pub room_deliveries_waiting_max: usize,
    /// Events between two snapshots of a session, about.
    pub snapshot_events: u64,
    /// Sockets in a room, at most.
    pub sockets_per_session_max: usize,
    /// Memory of a session for telling new commands from those that only the log knows, in bytes at most; 0: the log is
    /// asked about each.
    pub command_filter_bytes_max: usize,
}

/// What a hub stands on.
pub struct HubParts {
    /// Where sessions are kept.
    pub log: Arc<dyn EventLog>,
    /// Where templates come from.
    pub blueprints: Arc<dyn BlueprintSource>,
    /// Makes packets; `None`: sockets are not served (P10).
    pub encoder: Option<Arc<dyn Encoder>>,
    /// Counters.
    pub stats: Arc<Stats>,
}

/// See the [module](self). Clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    supervisor: ActorRef<SupervisorMessage>,
    directory: Directory,
    log: Arc<dyn EventLog>,
    gate: Gate,
    in_flight_per_session_max: usize,
    stats: Arc<Stats>,
    next_member: AtomicU64,
    presence_clients_max: usize,
    draining: AtomicBool,
    events: broadcast::Sender<Arc<SupervisionEvent>>,
}

/// Actors of one session that a call may find gone before it gives up. Each one that is gone was restarted by its
/// supervisor, who gives up sooner.
const ATTEMPTS_MAX: usize = 8;

impl Hub {
    /// Starts a hub.
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
        let in_flight_per_session_max = settings.supervision.in_flight_per_session_max;
        let events = broadcast::Sender::new(EVENTS_KEPT_MAX);
        let directory = Directory::default();
        let presence_clients_max = settings.supervision.presence_clients_max;
        let resources = SessionResources {
            log: Arc::clone(&log),
            blueprints,
            limits: Arc::new(settings.limits),
            group_commands_max: settings.group_commands_max,
            room_deliveries_waiting_max: settings.room_deliveries_waiting_max,
            snapshot_events: settings.snapshot_events,
            sockets_per_session_max: settings.sockets_per_session_max,
            command_filter_bytes_max: settings.command_filter_bytes_max,
            stats: Arc::clone(&stats),
        };
        let arguments = SupervisorArguments {
            settings: settings.supervision,
            resources,
            encoder,
            directory: DirectoryWriter::new(directory.clone()),
            stored,
            events: events.clone(),
        };
        let (supervisor, _) = Actor::spawn(None, SessionSupervisor, arguments)
            .await
            .map_err(|failure| LogError::Io(failure.to_string()))?;
        Ok(Self(Arc::new(Inner {
            supervisor,
            directory,
            log,
            gate: Gate::new(settings.in_flight_max),
            in_flight_per_session_max,
            stats,
            next_member: AtomicU64::new(1),
            presence_clients_max,
            draining: AtomicBool::new(false),
            events,
        })))
    }

    /// What the hub counts.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.0.stats
    }

    /// Whether the hub is on its way out.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Why the log takes nothing now, if it does not.
    #[must_use]
    pub fn log_refuses(&self) -> Option<Arc<str>> {
        self.0.log.refuses()
    }

    /// Has a command decided. The span goes with it to the fan-out.
    ///
    /// # Errors
    /// If it is refused, or its outcome is unknown, or it was not let in.
    pub async fn submit(
        &self,
        session_id: SessionId,
        command: Arc<Command>,
        context: Context,
        span: Span,
    ) -> Result<Submitted, HubError> {
        let _global = self.enter()?;
        if let Some(reason) = self.0.log.refuses() {
            return Err(HubError::LogRefuses { reason });
        }
        let answer = self
            .ask(session_id, Retry::IfNotStarted, |reply| {
                SessionMessage::Submit(Submission {
                    command: Arc::clone(&command),
                    context: context.clone(),
                    reply,
                    span: span.clone(),
                })
            })
            .await?;
        answer.map_err(|Refusal { rejection, seq }| HubError::Rejected { rejection, seq })
    }

    /// Starts a session if it sleeps.
    ///
    /// # Errors
    /// If there is no such session or it cannot be talked to.
    pub async fn wake(&self, session_id: SessionId) -> Result<(), HubError> {
        let _global = self.enter()?;
        self.find(session_id, None).await.map(drop)
    }

    /// A number for a socket's stay in a room.
    #[must_use]
    pub fn next_member_id(&self) -> MemberId {
        MemberId(self.0.next_member.fetch_add(1, Ordering::Relaxed))
    }

    /// Puts a socket into a session's room. It gets a sync, then everything that happens.
    ///
    /// # Errors
    /// If the session cannot be talked to or its room is full.
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

    /// Has a socket that is in the room told again where the session is.
    pub fn resync(&self, session_id: SessionId, member: MemberId, request: ResyncRequest) {
        // If the actor is gone, the next one syncs everybody in the room.
        if let Some(handle) = self.0.directory.find(session_id) {
            let _ = handle.actor.cast(SessionMessage::Resync(member, request));
        }
    }

    /// Has the room look at what a socket that is in it says of itself: its [`Presence`](crate::fan_out::Presence) says
    /// when that is necessary.
    pub fn presence_changed(&self, session_id: SessionId, member: MemberId) {
        // If the actor is gone, the room looks at everybody when the next one hands it its sockets.
        if let Some(handle) = self.0.directory.find(session_id) {
            let _ = handle.actor.cast(SessionMessage::PresenceChanged(member));
        }
    }

    /// Who is in a session's room, and what they say of themselves.
    ///
    /// # Errors
    /// If the session cannot be talked to.
    pub async fn who(&self, session_id: SessionId) -> Result<PresenceList, HubError> {
        let _global = self.enter()?;
        let everybody = self.ask(session_id, Retry::Always, SessionMessage::Who).await?;
        Ok(broadcast_actor::list(everybody.values(), self.0.presence_clients_max))
    }

    /// Takes a socket out of a room.
    pub async fn leave(&self, session_id: SessionId, member: MemberId, reason: &Arc<str>) {
        // A session that cannot be talked to has no room any more.
        let _ = self
            .ask(session_id, Retry::UntilDone, |reply| {
                SessionMessage::Leave(member, Arc::clone(reason), now(), reply)
            })
            .await;
    }

    /// Stops all sessions, each after what it has under way, and lets all sockets go. From here on nothing is let in.
    pub async fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
        let _ = self.supervise(SupervisorMessage::Drain).await;
    }

    fn enter(&self) -> Result<Permit, HubError> {
        if self.is_draining() {
            return Err(HubError::Draining);
        }
        let gate = &self.0.gate;
        gate.try_enter().ok_or(HubError::Overloaded {
            limit: "in_flight_max",
            max: gate.max(),
        })
    }

    /// Asks a session's actor, and the next one if that one ended before it could answer.
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
                Retry::IfNotStarted | Retry::Always => (Some(handle.enter()?), None),
                Retry::WhileWaiting => (None, Some(handle.enter()?)),
                Retry::Ungated | Retry::UntilDone => (None, None),
            };
            let (reply, answer) = Reply::new(permit);
            // A message that is not taken drops its reply, which then says so.
            let _ = handle.actor.cast(message(reply));
            match (reply::answer(answer).await, retry) {
                (Ok(answer), _) => return Ok(answer),
                (Err(Lost::Unknown), Retry::IfNotStarted) => return Err(HubError::OutcomeUnknown),
                (Err(Lost::NotStarted | Lost::Unknown), _) => gone = Some(handle.actor.get_id()),
            }
        }
        Err(HubError::OutcomeUnknown)
    }

    /// The actor of a session: from the directory, or, if it is not there or known to be gone, from the supervisor.
    async fn find(&self, session_id: SessionId, gone: Option<ActorId>) -> Result<SessionHandle, HubError> {
        if let Some(handle) = self.0.directory.find(session_id)
            && Some(handle.actor.get_id()) != gone
        {
            return Ok(handle);
        }
        let found = self
            .supervise(|reply| SupervisorMessage::Find {
                session_id,
                but: gone,
                reply,
            })
            .await?;
        found.map_err(|error| operations::found_error(session_id, error))
    }

    async fn supervise<T>(&self, message: impl FnOnce(Reply<T>) -> SupervisorMessage) -> Result<T, HubError> {
        let (reply, answer) = Reply::new(None);
        let _ = self.0.supervisor.cast(message(reply));
        // The supervisor ends with the process only.
        reply::answer(answer).await.map_err(|_| HubError::Draining)
    }
}

impl SessionHandle {
    fn enter(&self) -> Result<Permit, HubError> {
        self.gate.try_enter().ok_or(HubError::Overloaded {
            limit: "in_flight_per_session_max",
            max: self.gate.max(),
        })
    }
}

/// What to do about a message whose actor ended.
#[derive(Clone, Copy)]
enum Retry {
    /// Send it again only if the actor never got to it: it may change something.
    IfNotStarted,
    /// Send it again: it does no harm twice.
    Always,
    /// The same, and it takes up a place only while somebody waits for the answer: the actor keeps it for as long as it
    /// likes, and forgets it with the next message if nobody does.
    WhileWaiting,
    /// The same, and let it in however much is under way: what asks for it is bounded by itself, and must not be kept out
    /// by somebody who has much under way.
    Ungated,
    /// The same, until it is taken, and let it in however much is under way: it ends something, and there is one for
    /// each thing that began.
    UntilDone,
}
