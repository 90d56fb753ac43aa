//! Operators' requests to the supervisor: reading the tree, and operations on sessions.

use std::sync::Arc;

use ractor::ActorRef;

use super::{FindError, Life, SupervisorMessage, SupervisorState, farewell};
use crate::{
    domain::ids::{SessionId, Timestamp},
    reply::Reply,
    session_actor::SessionMessage,
    supervision::{Branch, BranchState, EventKind, SupervisionEvent},
    world::now,
};

/// Quarantine reason of an operator's request.
pub(super) const BY_OPERATOR: &str = "an operator quarantined it";

/// Operation of an operator on a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Restarts the session from the log.
    Restart,
    /// Quarantines the session until it is released.
    Quarantine,
    /// Releases the session from quarantine.
    Release,
}

impl SupervisorState {
    /// Publishes a supervision event. Without a listener the event is dropped; a slow listener is told how many events
    /// it missed.
    pub(super) fn tell(&self, session_id: SessionId, kind: EventKind) {
        let event = SupervisionEvent {
            at: now(),
            session_id,
            kind,
        };
        let _ = self.events.send(Arc::new(event));
    }

    pub(super) fn branches(&self, offset: usize, limit: usize) -> (Vec<Branch>, usize) {
        let chosen = self.index.page(offset, limit);
        (chosen.filter_map(|id| self.branch(id)).collect(), self.index.len())
    }

    pub(super) fn branch(&self, session_id: SessionId) -> Option<Branch> {
        let entry = self.index.get(session_id)?;
        let (state, handle) = match &entry.life {
            Life::Beginning => return None,
            Life::Asleep => (BranchState::Asleep, None),
            Life::Awake(handle) => (BranchState::Running, Some(handle)),
            Life::FallingAsleep => (BranchState::Passivating, None),
            Life::Restarting => (BranchState::Restarting, None),
            Life::Quarantined { .. } => (BranchState::Quarantined, None),
            Life::Deleting(_) => (BranchState::Deleting, None),
        };
        let usage = entry.usage();
        Some(Branch {
            session_id,
            project_id: Branch::project_of(&entry.summary.genesis),
            state,
            started_at: usage.and_then(|usage| usage.started_at).filter(|_| handle.is_some()),
            restarts: usage.map_or(0, |usage| usage.restarts),
            last_failure: usage.and_then(|usage| usage.last_failure.clone()),
            session_actor: handle.map(|handle| handle.actor.get_id().pid()),
            broadcast_actor: usage.and_then(|usage| Some(usage.room.as_ref()?.get_id().pid())),
            in_flight: handle.map_or(0, |handle| handle.gate.in_flight()),
        })
    }

    /// Performs an operation. A long operation continues after the answer, and its events report the progress.
    pub(super) fn operate(&mut self, session_id: SessionId, operation: Operation, reply: Reply<Result<(), FindError>>) {
        let Some(entry) = self.index.get_mut(session_id) else {
            return reply.send(Err(FindError::NotFound));
        };
        match (operation, &entry.life) {
            (Operation::Restart, Life::Awake(handle)) => {
                let _ = handle.actor.cast(SessionMessage::Fail("restarted it"));
            }
            (Operation::Quarantine, Life::Awake(handle)) => {
                let _ = handle.actor.cast(SessionMessage::Fail("quarantined it"));
                entry.usage_mut().condemned = Some(BY_OPERATOR.into());
            }
            (Operation::Quarantine, Life::Asleep | Life::Restarting) => {
                self.quarantine(session_id, &BY_OPERATOR.into());
            }
            (Operation::Release, Life::Quarantined { .. }) => {
                entry.life = Life::Asleep;
                let usage = entry.usage_mut();
                usage.failures.forgive();
                usage.room_failures.forgive();
                self.resources.stats.sessions_quarantined.add(-1);
                self.tell(session_id, EventKind::Released);
            }
            (Operation::Restart | Operation::Quarantine, Life::Quarantined { reason }) => {
                let reason = Arc::clone(reason);
                return reply.send(Err(FindError::Quarantined { reason }));
            }
            (_, Life::Beginning) => return reply.send(Err(FindError::NotFound)),
            // The session is about to end, or is already in the requested state.
            (Operation::Restart, Life::Asleep | Life::FallingAsleep | Life::Restarting | Life::Deleting(_))
            | (Operation::Quarantine, Life::FallingAsleep | Life::Deleting(_))
            | (
                Operation::Release,
                Life::Asleep | Life::Awake(_) | Life::FallingAsleep | Life::Restarting | Life::Deleting(_),
            ) => {}
        }
        reply.send(Ok(()));
    }

    /// Quarantines a session at once after damage was read in its log: the state in memory and the log on disk may no
    /// longer agree (P12).
    pub(super) fn damaged(&mut self, session_id: SessionId, reason: &Arc<str>) {
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        match &entry.life {
            Life::Awake(handle) => {
                let _ = handle.actor.cast(SessionMessage::Fail("ended it: its log is damaged"));
                entry.usage_mut().condemned = Some(Arc::clone(reason));
            }
            Life::FallingAsleep => entry.usage_mut().condemned = Some(Arc::clone(reason)),
            Life::Asleep | Life::Restarting => {
                tracing::error!(%session_id, failure = %reason, "session quarantined");
                self.quarantine(session_id, reason);
            }
            // The session serves no caller, or is about to end.
            Life::Beginning | Life::Quarantined { .. } | Life::Deleting(_) => {}
        }
    }

    /// Quarantines a session: callers get the reason, and its sockets are released and get the reason when they
    /// reconnect.
    pub(super) fn quarantine(&mut self, session_id: SessionId, reason: &Arc<str>) {
        let farewell = farewell(&self.settings);
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        entry.usage_mut().condemned = None;
        entry.life = Life::Quarantined {
            reason: Arc::clone(reason),
        };
        entry.answer_all(&FindError::Quarantined {
            reason: Arc::clone(reason),
        });
        entry.close_room(farewell);
        self.resources.stats.sessions_quarantined.add(1);
        self.tell(session_id, EventKind::Quarantined(Arc::clone(reason)));
    }

    /// Records that a session's actor has replayed its log and serves.
    pub(super) fn started(&mut self, session_id: SessionId, at: Timestamp) {
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        let usage = entry.usage_mut();
        usage.started_at = Some(at);
        let kind = match usage.failed_at.take() {
            None => EventKind::Started,
            Some(failed) => EventKind::Restarted(crate::world::instant().saturating_duration_since(failed)),
        };
        self.tell(session_id, kind);
    }
}

#[expect(
    clippy::panic,
    reason = "an operator asked for it, and fault injection is switched on"
)]
pub(super) fn panic_on_purpose() {
    panic!("injected: PanicSupervisor");
}

/// Reports to the supervisor that an actor serves, or why it does not.
pub(super) fn report_start(
    supervisor: &ActorRef<SupervisorMessage>,
    session_id: SessionId,
    result: Result<(), SupervisorMessage>,
) {
    let message = match result {
        Ok(()) => SupervisorMessage::Started(session_id, now()),
        Err(failed) => failed,
    };
    let _ = supervisor.cast(message);
}
