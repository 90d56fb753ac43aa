//! Creation, listing, saving and deletion of sessions.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span};

use super::{Hub, HubError};
use crate::{
    clock::now,
    domain::{
        command::{Author, Command, Context},
        ids::{CommandId, ProjectId, SessionId, Timestamp},
        record::Receipt,
        session::{Project, SessionHeader},
    },
    random::{new_command_id, new_epoch, new_session_id},
    session_actor::SessionView,
    session_supervisor::{ReserveError, Summary, SupervisorMessage},
};

/// Parameters of a new session.
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    /// Project of the session; `None` for a session without a project.
    pub project: Option<Project>,
    /// First command. If the command is rejected, the session is not created.
    pub first: Option<Command>,
    /// Author of the request.
    pub author: Author,
}

/// Ids that the client chose for a new session, so that a repeated request creates the session once. Ids that are
/// `None` are random.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChosenIds {
    /// Id of the session.
    pub session_id: Option<SessionId>,
    /// Id of the session's first command.
    pub command_id: Option<CommandId>,
}

/// Exclusive right to write the project file. Dropping the lease passes the right on.
#[derive(Debug)]
pub struct SaveLease {
    /// State of the session when the lease was granted: the state to write, which is durable (P3).
    pub snapshot: SessionView,
    _permit: OwnedSemaphorePermit,
}

/// Result of a cleanup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    /// Sessions that were deleted.
    pub removed: usize,
    /// Sessions that remain.
    pub remaining: usize,
}

/// Page size of a cleanup, in sessions.
const CLEANUP_PAGE_SESSIONS: usize = 256;

impl Hub {
    /// Creates a session and submits its first command.
    ///
    /// # Errors
    /// If the project is in use, the maximum of sessions is reached, or the first command is rejected.
    ///
    /// # Cancel safety
    /// Runs to completion if the caller goes away: no project name stays reserved for a session that was never created.
    pub async fn create(&self, new: NewSession) -> Result<(SessionHeader, Option<Receipt>), HubError> {
        self.create_as(ChosenIds::default(), new).await
    }

    /// Creates a session under ids that the client chose.
    ///
    /// # Errors
    /// As [`Hub::create`], and if the session id is in use.
    ///
    /// # Cancel safety
    /// As [`Hub::create`].
    pub async fn create_as(
        &self,
        chosen: ChosenIds,
        new: NewSession,
    ) -> Result<(SessionHeader, Option<Receipt>), HubError> {
        let hub = self.clone();
        run_to_completion(async move { hub.create_now(chosen, new).await }).await
    }

    async fn create_now(
        &self,
        chosen: ChosenIds,
        new: NewSession,
    ) -> Result<(SessionHeader, Option<Receipt>), HubError> {
        let _global = self.admit()?;
        if let Some(reason) = self.log_refusal_reason() {
            return Err(HubError::LogRefuses { reason });
        }
        let header = SessionHeader {
            session_id: chosen.session_id.unwrap_or_else(new_session_id),
            epoch: new_epoch(),
            created_at: now(),
            project: new.project,
        };
        let session_id = header.session_id;
        let reserved = self
            .ask_supervisor(|reply| SupervisorMessage::Reserve(header.clone(), reply))
            .await?;
        reserved.map_err(|error| match error {
            ReserveError::SessionExists(session_id) => HubError::SessionExists(session_id),
            ReserveError::ProjectExists(session_id) => HubError::ProjectExists(session_id),
            ReserveError::TooMany { max } => HubError::TooManySessions { max },
            ReserveError::Draining => HubError::Draining,
        })?;
        if let Err(error) = self.0.log.create(header.clone()).await {
            self.ask_supervisor(|reply| SupervisorMessage::CreateFailed(session_id, reply))
                .await?;
            return Err(error.into());
        }
        self.ask_supervisor(|reply| SupervisorMessage::Created(session_id, reply))
            .await?;
        let Some(first) = new.first else {
            return Ok((header, None));
        };
        let context = Context {
            command_id: chosen.command_id.unwrap_or_else(new_command_id),
            author: new.author,
            now: header.created_at,
            expected_seq: None,
        };
        match self.submit(session_id, Arc::new(first), context, Span::current()).await {
            Ok(submitted) => Ok((header, Some(submitted.receipt))),
            Err(error) => {
                self.delete_now(session_id).await?;
                Err(error)
            }
        }
    }

    /// Deletes a session and its log for good. The session's sockets are notified and released.
    ///
    /// # Errors
    /// If the session does not exist or its log cannot be deleted.
    ///
    /// # Cancel safety
    /// Runs to completion if the caller goes away: no log stays behind to become a session again at the next start.
    pub async fn delete(&self, session_id: SessionId) -> Result<(), HubError> {
        let hub = self.clone();
        run_to_completion(async move { hub.delete_now(session_id).await }).await
    }

    async fn delete_now(&self, session_id: SessionId) -> Result<(), HubError> {
        let deleted = self
            .ask_supervisor(|reply| SupervisorMessage::Delete(session_id, reply))
            .await?;
        deleted.map_err(|_| HubError::SessionNotFound(session_id))?;
        self.0.log.delete(session_id).await?;
        Ok(())
    }

    /// Returns the session of a project; `None` if no session holds the project.
    ///
    /// # Errors
    /// If the hub is shutting down.
    pub async fn session_of_project(&self, project_id: &ProjectId) -> Result<Option<SessionId>, HubError> {
        self.ask_supervisor(|reply| SupervisorMessage::FindProject(project_id.clone(), reply))
            .await
    }

    /// Returns all projects that a session holds.
    ///
    /// # Errors
    /// If the hub is shutting down.
    pub async fn projects(&self) -> Result<BTreeMap<ProjectId, SessionHeader>, HubError> {
        self.ask_supervisor(SupervisorMessage::Projects).await
    }

    /// Returns a page of the sessions in order of creation, and the total. Loaded sessions report their current state;
    /// passivated sessions report their last known state and stay passivated.
    ///
    /// # Errors
    /// If the hub is shutting down.
    pub async fn list(&self, offset: usize, limit: usize) -> Result<(Vec<Summary>, usize), HubError> {
        let mut page = self
            .ask_supervisor(|reply| SupervisorMessage::List { offset, limit, reply })
            .await?;
        for summary in &mut page.sessions {
            let session_id = summary.header.session_id;
            if self.0.registry.find(session_id).is_some()
                && let Ok(snapshot) = self.snapshot(session_id).await
            {
                summary.update(&snapshot);
            }
        }
        Ok((page.sessions, page.total))
    }

    /// Deletes the sessions without sockets whose last activity is at least `inactive` ago.
    /// A session that cannot be deleted is skipped.
    ///
    /// # Errors
    /// If the hub is shutting down.
    pub async fn cleanup(&self, inactive: Duration) -> Result<Cleanup, HubError> {
        let inactive_ms = i64::try_from(inactive.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp(now().0.saturating_sub(inactive_ms));
        let (mut removed, mut offset) = (0, 0);
        loop {
            let (sessions, total) = self.list(offset, CLEANUP_PAGE_SESSIONS).await?;
            if sessions.is_empty() {
                return Ok(Cleanup {
                    removed,
                    remaining: total,
                });
            }
            offset += sessions.len();
            for summary in sessions {
                let unused = summary.active_clients == 0 && summary.last_activity <= before;
                if unused && self.delete(summary.header.session_id).await.is_ok() {
                    removed += 1;
                    offset -= 1;
                }
            }
        }
    }

    /// Waits for the exclusive right to write the project file. Leases are granted one at a time, in the order of the
    /// calls, so that an older state never overwrites a newer one.
    ///
    /// # Errors
    /// If the session cannot be reached.
    pub async fn begin_save(&self, session_id: SessionId) -> Result<SaveLease, HubError> {
        let _global = self.admit()?;
        let handle = self.find(session_id, None).await?;
        let waiting = handle.admit()?;
        let permit = handle.saving.acquire_owned().await;
        drop(waiting);
        let snapshot = self.read_admitted(session_id, None).await?;
        // The semaphore is never closed. An error would mean that the session is gone, although it has just been read.
        let permit = permit.map_err(|_| HubError::SessionNotFound(session_id))?;
        Ok(SaveLease {
            snapshot,
            _permit: permit,
        })
    }
}

/// Runs `work` in a task of its own, which continues if the caller goes away.
async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T, HubError>> + Send + 'static,
) -> Result<T, HubError> {
    let done = tokio::spawn(work.in_current_span()).await;
    done.unwrap_or_else(|failure| match failure.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // The task was cancelled: the runtime is shutting down.
        Err(_) => Err(HubError::Draining),
    })
}
