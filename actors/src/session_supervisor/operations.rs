//! Operators' requests to the supervisor: reading the tree, and operations on sessions.

use std::sync::Arc;

use ractor::ActorRef;

use super::{FindError, Lifecycle, SupervisorMessage, SupervisorState};
use crate::{
    broadcast_actor::CloseReason,
    clock::now,
    domain::ids::{SessionId, Timestamp},
    reply::Reply,
    session_actor::SessionMessage,
    supervision::{Branch, BranchState, EventKind, SupervisionEvent},
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
    pub(super) fn emit(&self, session_id: SessionId, kind: EventKind) {
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
            Lifecycle::Creating => return None,
            Lifecycle::Passivated => (BranchState::Asleep, None),
            Lifecycle::Running(handle) => (BranchState::Running, Some(handle)),
            Lifecycle::Passivating => (BranchState::Passivating, None),
            Lifecycle::Restarting => (BranchState::Restarting, None),
            Lifecycle::Quarantined { .. } => (BranchState::Quarantined, None),
            Lifecycle::Deleting(_) => (BranchState::Deleting, None),
        };
        let usage = entry.usage();
        Some(Branch {
            session_id,
            project_id: Branch::project_of(&entry.summary.header),
            state,
            started_at: usage.and_then(|usage| usage.started_at).filter(|_| handle.is_some()),
            restarts: usage.map_or(0, |usage| usage.restarts),
            last_failure: usage.and_then(|usage| usage.last_failure.clone()),
            session_actor: handle.map(|handle| handle.actor.get_id().pid()),
            broadcast_actor: usage.and_then(|usage| Some(usage.room.as_ref()?.get_id().pid())),
            in_flight: handle.map_or(0, |handle| handle.permits.in_use()),
        })
    }

    /// Performs an operation. A long operation continues after the answer, and its events report the progress.
    pub(super) fn operate(&mut self, session_id: SessionId, operation: Operation, reply: Reply<Result<(), FindError>>) {
        let Some(entry) = self.index.get_mut(session_id) else {
            return reply.send(Err(FindError::NotFound));
        };
        match (operation, &entry.life) {
            (Operation::Restart, Lifecycle::Running(handle)) => {
                let _ = handle.actor.cast(SessionMessage::Fail("restarted it"));
            }
            (Operation::Quarantine, Lifecycle::Running(handle)) => {
                let _ = handle.actor.cast(SessionMessage::Fail("quarantined it"));
                entry.usage_mut().quarantine_reason = Some(BY_OPERATOR.into());
            }
            (Operation::Quarantine, Lifecycle::Passivated | Lifecycle::Restarting) => {
                self.quarantine(session_id, &BY_OPERATOR.into());
            }
            (Operation::Release, Lifecycle::Quarantined { .. }) => {
                entry.life = Lifecycle::Passivated;
                let usage = entry.usage_mut();
                usage.failures.clear();
                usage.room_failures.clear();
                self.resources.stats.sessions_quarantined.dec();
                self.emit(session_id, EventKind::Released);
            }
            (Operation::Restart | Operation::Quarantine, Lifecycle::Quarantined { reason }) => {
                let reason = Arc::clone(reason);
                return reply.send(Err(FindError::Quarantined { reason }));
            }
            (_, Lifecycle::Creating) => return reply.send(Err(FindError::NotFound)),
            // The session is about to end, or is already in the requested state.
            (
                Operation::Restart,
                Lifecycle::Passivated | Lifecycle::Passivating | Lifecycle::Restarting | Lifecycle::Deleting(_),
            )
            | (Operation::Quarantine, Lifecycle::Passivating | Lifecycle::Deleting(_))
            | (
                Operation::Release,
                Lifecycle::Passivated
                | Lifecycle::Running(_)
                | Lifecycle::Passivating
                | Lifecycle::Restarting
                | Lifecycle::Deleting(_),
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
            Lifecycle::Running(handle) => {
                let _ = handle.actor.cast(SessionMessage::Fail("ended it: its log is damaged"));
                entry.usage_mut().quarantine_reason = Some(Arc::clone(reason));
            }
            Lifecycle::Passivating => entry.usage_mut().quarantine_reason = Some(Arc::clone(reason)),
            Lifecycle::Passivated | Lifecycle::Restarting => {
                tracing::error!(%session_id, failure = %reason, "session quarantined");
                self.quarantine(session_id, reason);
            }
            // The session serves no caller, or is about to end.
            Lifecycle::Creating | Lifecycle::Quarantined { .. } | Lifecycle::Deleting(_) => {}
        }
    }

    /// Quarantines a session: callers get the reason, and its sockets are released and get the reason when they
    /// reconnect.
    pub(super) fn quarantine(&mut self, session_id: SessionId, reason: &Arc<str>) {
        let reconnect_ms = self.settings.supervision.reconnect_ms;
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        entry.usage_mut().quarantine_reason = None;
        entry.life = Lifecycle::Quarantined {
            reason: Arc::clone(reason),
        };
        entry.answer_all(&FindError::Quarantined {
            reason: Arc::clone(reason),
        });
        entry.close_room(CloseReason::Quarantined { reconnect_ms });
        self.resources.stats.sessions_quarantined.inc();
        self.emit(session_id, EventKind::Quarantined(Arc::clone(reason)));
    }

    /// Records that a session's actor has replayed the log and serves.
    pub(super) fn started(&mut self, session_id: SessionId, at: Timestamp) {
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        let usage = entry.usage_mut();
        usage.started_at = Some(at);
        let kind = match usage.failed_at.take() {
            None => EventKind::Started,
            Some(failed) => EventKind::Restarted(crate::clock::instant().saturating_duration_since(failed)),
        };
        self.emit(session_id, kind);
    }
}

#[expect(clippy::panic, reason = "requested by an operator, with fault injection enabled")]
pub(super) fn panic_on_purpose() {
    panic!("injected: PanicSupervisor");
}

/// Reports the result of an actor's start to the supervisor.
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
