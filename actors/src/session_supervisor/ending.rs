//! Passivation, deletion and drain of sessions.

use ractor::{ActorId, ActorRef};

use super::{FindError, Lifecycle, SupervisionSettings, SupervisorMessage, SupervisorState};
use crate::{
    broadcast_actor::CloseReason,
    clock::now,
    domain::ids::{SessionId, Timestamp},
    reply::Reply,
    session_actor::{SessionMessage, SessionView, StopReason},
    supervision::EventKind,
};

/// `i64::MAX`: no activity is later, so every unused session counts as idle.
const ALWAYS_IDLE: Timestamp = Timestamp(i64::MAX);

impl SupervisorState {
    pub(super) fn sweep(&mut self, myself: &ActorRef<SupervisorMessage>) {
        let idle_ms = i64::try_from(self.settings.supervision.idle_timeout.as_millis()).unwrap_or(i64::MAX);
        let idle_since = Timestamp(now().0.saturating_sub(idle_ms));
        for (session_id, entry) in self.index.iter() {
            if let Lifecycle::Running(handle) = &entry.life {
                request_passivation(myself, session_id, &handle.actor, idle_since, None);
            }
        }
    }

    pub(super) fn passivate(
        &self,
        myself: &ActorRef<SupervisorMessage>,
        session_id: SessionId,
        actor: ActorId,
        reply: Reply<bool>,
    ) {
        match self.index.get(session_id).map(|entry| &entry.life) {
            Some(Lifecycle::Running(handle)) if handle.actor.get_id() == actor => {
                request_passivation(myself, session_id, &handle.actor, ALWAYS_IDLE, Some(reply));
            }
            // The actor has ended already, or was replaced.
            _ => reply.send(false),
        }
    }

    /// Records that a session's actor passivated itself. The supervision event may have arrived earlier, and the
    /// session may be running again.
    pub(super) fn passivated(&mut self, session_id: SessionId, actor: ActorId, snapshot: &SessionView) {
        self.report_passivation(session_id);
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        entry.summary.update(snapshot);
        let is_running = matches!(&entry.life, Lifecycle::Running(handle) if handle.actor.get_id() == actor);
        if is_running {
            entry.life = Lifecycle::Passivating;
            self.registry.remove(session_id);
        }
    }

    fn report_passivation(&self, session_id: SessionId) {
        self.resources.stats.passivations.inc();
        tracing::debug!(%session_id, "session passivated");
        self.emit(session_id, EventKind::Passivated);
    }

    pub(super) fn delete(&mut self, session_id: SessionId, reply: Reply<Result<(), FindError>>) {
        let Some(entry) = self.index.get_mut(session_id) else {
            return reply.send(Err(FindError::NotFound));
        };
        match &entry.life {
            Lifecycle::Running(handle) => {
                let actor = handle.actor.clone();
                self.registry.remove(session_id);
                // A failed cast means that the actor has ended; its supervision event completes the deletion.
                let _ = actor.cast(SessionMessage::Stop(StopReason::Delete));
                entry.answer_all(&FindError::NotFound);
                entry.life = Lifecycle::Deleting(reply);
            }
            Lifecycle::Passivating => entry.life = Lifecycle::Deleting(reply),
            Lifecycle::Creating | Lifecycle::Deleting(_) => reply.send(Err(FindError::NotFound)),
            Lifecycle::Passivated | Lifecycle::Restarting | Lifecycle::Quarantined { .. } => {
                self.remove_session(session_id);
                self.emit(session_id, EventKind::Deleted);
                reply.send(Ok(()));
            }
        }
    }

    pub(super) fn drain(&mut self, reply: Reply<()>) {
        self.draining.get_or_insert_default().push(reply);
        let reconnect_ms = self.settings.supervision.reconnect_ms;
        for (session_id, entry) in self.index.iter_mut() {
            entry.answer_all(&FindError::Draining);
            match &entry.life {
                Lifecycle::Running(handle) => {
                    self.registry.remove(session_id);
                    let _ = handle
                        .actor
                        .cast(SessionMessage::Stop(StopReason::Drain { reconnect_ms }));
                }
                // The session is not restarted, so its sockets are released now.
                Lifecycle::Restarting => {
                    entry.life = Lifecycle::Passivated;
                    entry.close_room(unavailable_reason(&self.settings.supervision));
                }
                Lifecycle::Creating
                | Lifecycle::Passivated
                | Lifecycle::Passivating
                | Lifecycle::Quarantined { .. }
                | Lifecycle::Deleting(_) => {}
            }
        }
        self.finish_drain();
    }

    /// Answers the callers of the drain once no session actor and no room actor runs.
    pub(super) fn finish_drain(&mut self) {
        if self.children.is_empty() {
            for reply in self.draining.iter_mut().flat_map(|waiting| waiting.drain(..)) {
                reply.send(());
            }
        }
    }
}

/// Asks a session actor to stop if it is idle since `idle_since`, and reports the result to the supervisor.
fn request_passivation(
    supervisor: &ActorRef<SupervisorMessage>,
    session_id: SessionId,
    actor: &ActorRef<SessionMessage>,
    idle_since: Timestamp,
    caller: Option<Reply<bool>>,
) {
    let (reply, answer) = Reply::new(None);
    let id = actor.get_id();
    // A failed cast means that the actor has ended, which the dropped reply reports.
    let _ = actor.cast(SessionMessage::Passivate { idle_since, reply });
    let supervisor = supervisor.clone();
    tokio::spawn(async move {
        let snapshot = crate::reply::answer(answer).await.ok().flatten();
        let is_passivating = snapshot.is_some();
        if let Some(snapshot) = snapshot {
            let _ = supervisor.cast(SupervisorMessage::Passivated(session_id, id, Box::new(snapshot)));
        }
        if let Some(caller) = caller {
            caller.send(is_passivating);
        }
    });
}

/// Returns the reason for releasing the sockets of a session that is unavailable for a while: the clients reconnect by
/// themselves.
pub(super) const fn unavailable_reason(settings: &SupervisionSettings) -> CloseReason {
    CloseReason::Draining {
        reconnect_ms: settings.reconnect_ms,
    }
}
