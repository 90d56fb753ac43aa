//! Entry of a session in the supervisor's index.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use ractor::ActorRef;
use tokio::sync::Semaphore;

use super::FindError;
use crate::{
    broadcast_actor::{BroadcastMessage, CloseReason, SocketShutdown},
    clock::now,
    domain::{
        ids::{Seq, Timestamp},
        session::SessionHeader,
    },
    log::StoredHead,
    permits::Permits,
    registry::SessionHandle,
    reply::Reply,
    session_actor::{MemberRegistry, SessionView},
};

/// Last known state of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Header of the session.
    pub header: SessionHeader,
    /// `seq` at the last observation.
    pub seq: Seq,
    /// Number of nodes at the last observation.
    pub node_count: usize,
    /// Time of receipt of the last command.
    pub last_activity: Timestamp,
    /// Sockets in the room at the last observation.
    pub active_clients: usize,
}

impl Summary {
    pub(crate) fn update(&mut self, snapshot: &SessionView) {
        self.seq = snapshot.seq;
        self.node_count = snapshot.document.graph.len();
        self.last_activity = snapshot.last_activity;
        self.active_clients = snapshot.active_clients;
    }
}

/// Entry of a session. Most sessions are passivated, so data that only used sessions need is in [`Usage`].
pub(super) struct Entry {
    pub(super) summary: Summary,
    /// Position in order of creation; `None` before the log exists.
    number: Option<u64>,
    pub(super) life: Lifecycle,
    usage: Option<Box<Usage>>,
}

/// Data of a session that was used, or operated on, since the hub started.
pub(super) struct Usage {
    pub(super) room: Option<ActorRef<BroadcastMessage>>,
    pub(super) member_registry: MemberRegistry,
    /// Callers that wait for the session to run. Bounded by the permits that the callers hold.
    pub(super) callers: Vec<Reply<Result<SessionHandle, FindError>>>,
    /// Reason to quarantine the session as soon as its actor has ended; `None`: no quarantine.
    pub(super) quarantine_reason: Option<Arc<str>>,
    /// Time at which the actor started to serve.
    pub(super) started_at: Option<Timestamp>,
    /// Time at which the actor failed; `None` while the session serves.
    pub(super) failed_at: Option<Instant>,
    /// Failures since the hub started.
    pub(super) restarts: u64,
    pub(super) last_failure: Option<(Timestamp, Arc<str>)>,
    /// Semaphore of [`SessionHandle::saving`].
    pub(super) saving: Arc<Semaphore>,
    /// Recent failures of the session's actors.
    pub(super) failures: Failures,
    /// Recent failures of the room's actors.
    pub(super) room_failures: Failures,
    permits: Option<Permits>,
}

/// Times of recent failures.
#[derive(Default)]
pub(super) struct Failures(VecDeque<Instant>);

pub(super) enum Lifecycle {
    /// The ids are reserved and the log is being created. The session is not visible yet.
    Creating,
    /// The session is in the log only.
    Passivated,
    /// The session has an actor.
    Running(SessionHandle),
    /// The idle actor is stopping.
    Passivating,
    /// The actor failed and the next one is about to start.
    Restarting,
    /// The session failed too often.
    Quarantined { reason: Arc<str> },
    /// The actor is stopping and the session is being deleted.
    Deleting(Reply<Result<(), FindError>>),
}

impl Entry {
    pub(super) fn reserved(head: StoredHead) -> Self {
        Self {
            summary: Summary {
                header: head.header,
                seq: head.seq,
                node_count: head.node_count,
                last_activity: head.last_activity,
                active_clients: 0,
            },
            number: None,
            life: Lifecycle::Creating,
            usage: None,
        }
    }

    /// Returns the position in order of creation; `None` before the log exists.
    pub(super) const fn number(&self) -> Option<u64> {
        self.number
    }

    /// Marks the session as created, at this position.
    pub(super) fn mark_created(&mut self, number: u64) {
        self.number = Some(number);
        self.life = Lifecycle::Passivated;
    }

    /// Returns the usage data; `None` if the session was never used.
    pub(super) fn usage(&self) -> Option<&Usage> {
        self.usage.as_deref()
    }

    /// Returns the usage data, created on first use.
    pub(super) fn usage_mut(&mut self) -> &mut Usage {
        self.usage.get_or_insert_default()
    }

    pub(super) fn has_callers(&self) -> bool {
        self.usage().is_some_and(|usage| !usage.callers.is_empty())
    }

    /// Closes the room: all its sockets are notified and released, including registered members that a failed or newly
    /// started room does not know.
    pub(super) fn close_room(&mut self, reason: CloseReason) {
        let Some(usage) = &mut self.usage else { return };
        let shutdown = SocketShutdown::new(reason, now(), std::mem::take(&mut usage.member_registry).members());
        if let Some(room) = usage.room.take() {
            let _ = room.cast(BroadcastMessage::Close(shutdown));
            // Messages that the room already has are still handled.
            let _ = room.drain();
        }
    }

    pub(super) fn answer_all(&mut self, error: &FindError) {
        for caller in self.usage.iter_mut().flat_map(|usage| usage.callers.drain(..)) {
            caller.send(Err(error.clone()));
        }
    }
}

impl Usage {
    /// Returns the session's permits. All actors of the session share the permits, so that a restart admits no additional
    /// work.
    pub(super) fn permits(&mut self, max: usize) -> Permits {
        self.permits.get_or_insert_with(|| Permits::new(max)).clone()
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            room: None,
            member_registry: MemberRegistry::default(),
            callers: Vec::new(),
            quarantine_reason: None,
            started_at: None,
            failed_at: None,
            restarts: 0,
            last_failure: None,
            saving: Arc::new(Semaphore::new(1)),
            failures: Failures::default(),
            room_failures: Failures::default(),
            permits: None,
        }
    }
}

impl Failures {
    /// Clears the history of failures.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Records a failure and returns the number of failures within the window.
    pub(super) fn record(&mut self, now: Instant, window: Duration) -> usize {
        self.0.push_back(now);
        while self.0.front().is_some_and(|&first| now.duration_since(first) > window) {
            self.0.pop_front();
        }
        self.0.len()
    }
}
