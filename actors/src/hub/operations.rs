//! What operators ask of the hub.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast;

use super::{Hub, HubError, Retry};
use crate::{
    domain::ids::{SessionId, Timestamp},
    reply::{self, Reply},
    session_actor::{Fault, Inspection, SessionMessage},
    session_supervisor::{FindError, Operation, SupervisorMessage},
    supervision::{Branch, SupervisionEvent},
};

/// How long a session's actor may take to tell of itself: one that decides a large batch takes a while, and an operator
/// is not to wait for it.
const INSPECTION: Duration = Duration::from_millis(500);

/// A session in the tree, and what its actor tells of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// What its supervisor knows.
    pub branch: Branch,
    /// What its actor tells; `None`: it has none, or it does not answer.
    pub inside: Option<Inspection>,
}

impl Hub {
    /// What happens in the tree from now on.
    #[must_use]
    pub fn supervision_events(&self) -> broadcast::Receiver<Arc<SupervisionEvent>> {
        self.0.events.subscribe()
    }

    /// Some of the sessions, in the order in which they began, and how many there are in all.
    ///
    /// # Errors
    /// If the hub is going away.
    pub async fn tree(&self, offset: usize, limit: usize) -> Result<(Vec<Inspected>, usize), HubError> {
        let (branches, total) = self
            .supervise(|reply| SupervisorMessage::Branches { offset, limit, reply })
            .await?;
        let inspected = branches.into_iter().map(|branch| self.inspect(branch));
        Ok((futures_util::future::join_all(inspected).await, total))
    }

    /// One session of the tree.
    ///
    /// # Errors
    /// If there is no such session.
    pub async fn branch(&self, session_id: SessionId) -> Result<Inspected, HubError> {
        let branch = self
            .supervise(|reply| SupervisorMessage::Branch(session_id, reply))
            .await?;
        Ok(self.inspect(branch.ok_or(HubError::SessionNotFound(session_id))?).await)
    }

    async fn inspect(&self, branch: Branch) -> Inspected {
        let mut inside = None;
        // One that sleeps is not woken to be looked at.
        if let Some(handle) = self.0.directory.find(branch.session_id) {
            let (reply, answer) = Reply::new(None);
            let _ = handle.actor.cast(SessionMessage::Inspect(reply));
            let told = tokio::time::timeout(INSPECTION, reply::answer(answer)).await;
            inside = told.ok().and_then(Result::ok);
        }
        Inspected { branch, inside }
    }

    /// Steps in. What takes a while goes on after this returns.
    ///
    /// # Errors
    /// If there is no such session, or it is quarantined and has to be released first.
    pub async fn operate(&self, session_id: SessionId, operation: Operation) -> Result<(), HubError> {
        let done = self
            .supervise(|reply| SupervisorMessage::Operate(session_id, operation, reply))
            .await?;
        done.map_err(|error| found_error(session_id, error))
    }

    /// Puts a session to sleep if nobody uses it; false if somebody does.
    ///
    /// # Errors
    /// If there is no such session or it cannot be talked to.
    pub async fn passivate(&self, session_id: SessionId) -> Result<bool, HubError> {
        let Some(handle) = self.0.directory.find(session_id) else {
            // It sleeps already, if it is there at all.
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

    /// Has the root of the actors panic, at once. Nothing restarts it: see [`Hub::root_ended`].
    pub fn inject_root_failure(&self) {
        let _ = self.0.supervisor.cast(SupervisorMessage::Panic);
    }

    /// Waits until the root of the actors has ended. It ends by a failure only, and takes all sessions with it; nothing
    /// is left that could start them again, so the process has to end and be started anew (P8).
    pub async fn root_ended(&self) {
        // Without a limit there is no time-out.
        let _ = self.0.supervisor.wait(None).await;
    }

    /// Has something go wrong with a session's next command.
    ///
    /// # Errors
    /// If there is no such session or it cannot be talked to.
    pub async fn inject(&self, session_id: SessionId, fault: Fault) -> Result<(), HubError> {
        self.ask(session_id, Retry::Always, |reply| SessionMessage::Inject(fault, reply))
            .await
    }
}

pub(super) fn found_error(session_id: SessionId, error: FindError) -> HubError {
    match error {
        FindError::NotFound => HubError::SessionNotFound(session_id),
        FindError::Quarantined { reason } => HubError::Quarantined { session_id, reason },
        FindError::Draining => HubError::Draining,
    }
}

/// A moment after everything that there is: whatever happened, it was before.
pub(crate) const ALWAYS_IDLE: Timestamp = Timestamp(i64::MAX);
