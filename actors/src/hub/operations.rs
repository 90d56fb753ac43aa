//! Operators' interface of the hub.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast;

use super::{Hub, HubError, Retry};
use crate::{
    domain::ids::SessionId,
    reply::{self, Reply},
    session_actor::{Fault, Inspection, SessionMessage},
    session_supervisor::{FindError, Operation, SupervisorMessage},
    supervision::{Branch, SupervisionEvent},
};

/// Timeout of an inspection: an actor that decides a large batch is busy for a while, and an operator must not wait for
/// it.
const INSPECTION_TIMEOUT: Duration = Duration::from_millis(500);

/// Session in the supervision tree, with a view of its actor.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// State as seen by the supervisor.
    pub branch: Branch,
    /// View of the actor; `None` if there is no actor or the actor does not answer in time.
    pub inside: Option<Inspection>,
}

impl Hub {
    /// Subscribes to the events of the supervision tree, from now on.
    #[must_use]
    pub fn supervision_events(&self) -> broadcast::Receiver<Arc<SupervisionEvent>> {
        self.0.events.subscribe()
    }

    /// Returns a page of the sessions in order of creation, and the total.
    ///
    /// # Errors
    /// If the hub is shutting down.
    pub async fn tree(&self, offset: usize, limit: usize) -> Result<(Vec<Inspected>, usize), HubError> {
        let (branches, total) = self
            .ask_supervisor(|reply| SupervisorMessage::Branches { offset, limit, reply })
            .await?;
        let inspected = branches.into_iter().map(|branch| self.inspect(branch));
        Ok((futures_util::future::join_all(inspected).await, total))
    }

    /// Returns a session of the tree.
    ///
    /// # Errors
    /// If the session does not exist.
    pub async fn branch(&self, session_id: SessionId) -> Result<Inspected, HubError> {
        let branch = self
            .ask_supervisor(|reply| SupervisorMessage::Branch(session_id, reply))
            .await?;
        Ok(self.inspect(branch.ok_or(HubError::SessionNotFound(session_id))?).await)
    }

    async fn inspect(&self, branch: Branch) -> Inspected {
        let mut inside = None;
        // A passivated session stays passivated: an inspection loads no session.
        if let Some(handle) = self.0.registry.find(branch.session_id) {
            let (reply, answer) = Reply::new(None);
            let _ = handle.actor.cast(SessionMessage::Inspect(reply));
            let inspection = tokio::time::timeout(INSPECTION_TIMEOUT, reply::answer(answer)).await;
            inside = inspection.ok().and_then(Result::ok);
        }
        Inspected { branch, inside }
    }

    /// Performs an operation on a session. A long operation continues after the method returns.
    ///
    /// # Errors
    /// If the session does not exist, or is quarantined and has to be released first.
    pub async fn operate(&self, session_id: SessionId, operation: Operation) -> Result<(), HubError> {
        let done = self
            .ask_supervisor(|reply| SupervisorMessage::Operate(session_id, operation, reply))
            .await?;
        done.map_err(|error| find_error(session_id, error))
    }

    /// Passivates an idle session. Returns false if the session is in use.
    ///
    /// # Errors
    /// If the session does not exist or cannot be reached.
    pub async fn passivate(&self, session_id: SessionId) -> Result<bool, HubError> {
        let Some(handle) = self.0.registry.find(session_id) else {
            // Without an actor the session is passivated already, or does not exist.
            return self.branch(session_id).await.map(|_| true);
        };
        let (reply, passivated) = Reply::new(None);
        let _ = self.0.supervisor.cast(SupervisorMessage::Passivate {
            session_id,
            actor: handle.actor.get_id(),
            reply,
        });
        reply::answer(passivated).await.map_err(|_| HubError::Draining)
    }

    /// Makes the root of the actors panic. No supervisor restarts the root: see [`Hub::root_ended`].
    pub fn inject_root_failure(&self) {
        let _ = self.0.supervisor.cast(SupervisorMessage::Panic);
    }

    /// Waits until the root of the actors has ended. Only a failure ends the root, and all sessions end with it. The
    /// process then has to be restarted (P8).
    pub async fn root_ended(&self) {
        // `None`: no timeout.
        let _ = self.0.supervisor.wait(None).await;
    }

    /// Injects a fault into a session's next command.
    ///
    /// # Errors
    /// If the session does not exist or cannot be reached.
    pub async fn inject(&self, session_id: SessionId, fault: Fault) -> Result<(), HubError> {
        self.ask(session_id, Retry::Always, |reply| SessionMessage::Inject(fault, reply))
            .await
    }
}

pub(super) fn find_error(session_id: SessionId, error: FindError) -> HubError {
    match error {
        FindError::NotFound => HubError::SessionNotFound(session_id),
        FindError::Quarantined { reason } => HubError::Quarantined { session_id, reason },
        FindError::Draining => HubError::Draining,
    }
}
