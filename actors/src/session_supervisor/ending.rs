//! Passivation, deletion and drain of sessions.

use ractor::{ActorId, ActorRef};

use super::{FindError, Life, SupervisionSettings, SupervisorMessage, SupervisorState};
use crate::{
    broadcast_actor::CloseReason,
    domain::ids::{SessionId, Timestamp},
    hub::operations::ALWAYS_IDLE,
    reply::Reply,
    session_actor::{SessionMessage, Snapshot, Stop},
    supervision::EventKind,
    world::now,
};

impl SupervisorState {
    pub(super) fn sweep(&mut self, myself: &ActorRef<SupervisorMessage>) {
        let idle_ms = i64::try_from(self.settings.idle_timeout.as_millis()).unwrap_or(i64::MAX);
        let idle_since = Timestamp(now().0.saturating_sub(idle_ms));
        for (session_id, entry) in self.index.iter() {
            if let Life::Awake(handle) = &entry.life {
                put_to_sleep(myself, session_id, &handle.actor, idle_since, None);
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
            Some(Life::Awake(handle)) if handle.actor.get_id() == actor => {
                put_to_sleep(myself, session_id, &handle.actor, ALWAYS_IDLE, Some(reply));
            }
            // The actor has ended already, or was replaced.
            _ => reply.send(false),
        }
    }

    /// Records that a session's actor passivated itself. The supervision event may have arrived earlier, and the
    /// session may be running again.
    pub(super) fn passivated(&mut self, session_id: SessionId, actor: ActorId, snapshot: &Snapshot) {
        self.noted_passivation(session_id);
        let Some(entry) = self.index.get_mut(session_id) else {
            return;
        };
        entry.summary.update(snapshot);
        let awake = matches!(&entry.life, Life::Awake(handle) if handle.actor.get_id() == actor);
        if awake {
            entry.life = Life::FallingAsleep;
            self.registry.remove(session_id);
        }
    }

    fn noted_passivation(&self, session_id: SessionId) {
        self.resources.stats.passivations.increment();
        tracing::info!(%session_id, "session passivated");
        self.tell(session_id, EventKind::Passivated);
    }

    pub(super) fn delete(&mut self, session_id: SessionId, reply: Reply<Result<(), FindError>>) {
        let Some(entry) = self.index.get_mut(session_id) else {
            return reply.send(Err(FindError::NotFound));
        };
        match &entry.life {
            Life::Awake(handle) => {
                let actor = handle.actor.clone();
                self.registry.remove(session_id);
                // A failed cast means that the actor has ended; its supervision event completes the deletion.
                let _ = actor.cast(SessionMessage::Stop(Stop::Delete));
                entry.answer_all(&FindError::NotFound);
                entry.life = Life::Deleting(reply);
            }
            Life::FallingAsleep => entry.life = Life::Deleting(reply),
            Life::Beginning | Life::Deleting(_) => reply.send(Err(FindError::NotFound)),
            Life::Asleep | Life::Restarting | Life::Quarantined { .. } => {
                self.forget(session_id);
                self.tell(session_id, EventKind::Deleted);
                reply.send(Ok(()));
            }
        }
    }

    pub(super) fn drain(&mut self, reply: Reply<()>) {
        self.draining.get_or_insert_default().push(reply);
        let reconnect_ms = self.settings.reconnect_ms;
        for (session_id, entry) in self.index.iter_mut() {
            entry.answer_all(&FindError::Draining);
            match &entry.life {
                Life::Awake(handle) => {
                    self.registry.remove(session_id);
                    let _ = handle.actor.cast(SessionMessage::Stop(Stop::Drain { reconnect_ms }));
                }
                // The session is not restarted, so its sockets are released now.
                Life::Restarting => {
                    entry.life = Life::Asleep;
                    entry.close_room(farewell(&self.settings));
                }
                Life::Beginning | Life::Asleep | Life::FallingAsleep | Life::Quarantined { .. } | Life::Deleting(_) => {
                }
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
fn put_to_sleep(
    supervisor: &ActorRef<SupervisorMessage>,
    session_id: SessionId,
    actor: &ActorRef<SessionMessage>,
    idle_since: Timestamp,
    asked: Option<Reply<bool>>,
) {
    let (reply, answer) = Reply::new(None);
    let id = actor.get_id();
    // A failed cast means that the actor has ended; the dropped reply reports it.
    let _ = actor.cast(SessionMessage::Passivate { idle_since, reply });
    let supervisor = supervisor.clone();
    tokio::spawn(async move {
        let left = crate::reply::answer(answer).await.ok().flatten();
        let goes = left.is_some();
        if let Some(snapshot) = left {
            let _ = supervisor.cast(SupervisorMessage::Passivated(session_id, id, Box::new(snapshot)));
        }
        if let Some(asked) = asked {
            asked.send(goes);
        }
    });
}

/// Returns the reason for releasing the sockets of a session that is unavailable for a while: the clients reconnect by
/// themselves.
pub(super) const fn farewell(settings: &SupervisionSettings) -> CloseReason {
    CloseReason::Draining {
        reconnect_ms: settings.reconnect_ms,
    }
}
