//! Beginning, listing, saving and ending sessions.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span};

use super::{Hub, HubError};
use crate::{
    domain::{
        command::{Command, Context, Origin},
        ids::{CommandId, ProjectId, SessionId, Timestamp},
        recorded::Receipt,
        session::{Genesis, Project},
    },
    session_actor::Snapshot,
    session_supervisor::{ReserveError, Summary, SupervisorMessage},
    world::{new_command_id, new_epoch, new_session_id, now},
};

/// A session to begin.
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    /// The project it is about.
    pub project: Option<Project>,
    /// The command it begins with. If it is refused, so is the session.
    pub first: Option<Command>,
    /// Who begins it.
    pub origin: Origin,
}

/// Ids of a new session that its creator chose, so that the same request, sent again, begins it once. What is not chosen
/// is random.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The session's.
    pub session_id: Option<SessionId>,
    /// That of the command it begins with.
    pub command_id: Option<CommandId>,
}

/// The right to write the project file: nobody else gets it until this is dropped.
#[derive(Debug)]
pub struct SaveLease {
    /// What to write: the session when the right was lent, and durable (P3).
    pub snapshot: Snapshot,
    _turn: OwnedSemaphorePermit,
}

/// What a cleanup came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    /// Sessions that were ended.
    pub removed: usize,
    /// Sessions that there still are.
    pub remaining: usize,
}

/// Sessions that a cleanup looks at together.
const CLEANUP_PAGE_SESSIONS: usize = 256;

impl Hub {
    /// Begins a session, and has its first command decided. Whoever asked for it may go away meanwhile: it is begun all
    /// the same, and whole.
    ///
    /// # Errors
    /// If its project exists already, there are too many sessions, or its first command is refused.
    ///
    /// # Cancel safety
    /// Goes on to its end if the caller goes away: no project's name stays taken by a session that never began.
    pub async fn create(&self, new: NewSession) -> Result<(Genesis, Option<Receipt>), HubError> {
        self.create_as(Chosen::default(), new).await
    }

    /// Begins a session under ids that its creator chose.
    ///
    /// # Errors
    /// As [`Hub::create`], and if there is a session of that id.
    ///
    /// # Cancel safety
    /// As [`Hub::create`].
    pub async fn create_as(&self, chosen: Chosen, new: NewSession) -> Result<(Genesis, Option<Receipt>), HubError> {
        let hub = self.clone();
        to_the_end(async move { hub.create_now(chosen, new).await }).await
    }

    async fn create_now(&self, chosen: Chosen, new: NewSession) -> Result<(Genesis, Option<Receipt>), HubError> {
        let _global = self.enter()?;
        if let Some(reason) = self.log_refuses() {
            return Err(HubError::LogRefuses { reason });
        }
        let genesis = Genesis {
            session_id: chosen.session_id.unwrap_or_else(new_session_id),
            epoch: new_epoch(),
            created_at: now(),
            project: new.project,
        };
        let session_id = genesis.session_id;
        let reserved = self
            .supervise(|reply| SupervisorMessage::Reserve(genesis.clone(), reply))
            .await?;
        reserved.map_err(|error| match error {
            ReserveError::SessionExists(session_id) => HubError::SessionExists(session_id),
            ReserveError::ProjectExists(session_id) => HubError::ProjectExists(session_id),
            ReserveError::TooMany { max } => HubError::TooManySessions { max },
            ReserveError::Draining => HubError::Draining,
        })?;
        if let Err(error) = self.0.log.create(genesis.clone()).await {
            self.supervise(|reply| SupervisorMessage::Forget(session_id, reply))
                .await?;
            return Err(error.into());
        }
        self.supervise(|reply| SupervisorMessage::Begun(session_id, reply))
            .await?;
        let Some(first) = new.first else {
            return Ok((genesis, None));
        };
        let context = Context {
            command_id: chosen.command_id.unwrap_or_else(new_command_id),
            origin: new.origin,
            now: genesis.created_at,
            expected_seq: None,
        };
        match self.submit(session_id, Arc::new(first), context, Span::current()).await {
            Ok(submitted) => Ok((genesis, Some(submitted.receipt))),
            Err(error) => {
                self.delete_now(session_id).await?;
                Err(error)
            }
        }
    }

    /// Ends a session for good. Its sockets are told and let go. Whoever asked for it may go away meanwhile: its log goes
    /// too.
    ///
    /// # Errors
    /// If there is no such session or its log cannot be deleted.
    ///
    /// # Cancel safety
    /// Goes on to its end if the caller goes away: no log stays behind, to be a session again when the hub next starts.
    pub async fn delete(&self, session_id: SessionId) -> Result<(), HubError> {
        let hub = self.clone();
        to_the_end(async move { hub.delete_now(session_id).await }).await
    }

    async fn delete_now(&self, session_id: SessionId) -> Result<(), HubError> {
        let deleted = self
            .supervise(|reply| SupervisorMessage::Delete(session_id, reply))
            .await?;
        deleted.map_err(|_| HubError::SessionNotFound(session_id))?;
        self.0.log.delete(session_id).await?;
        Ok(())
    }

    /// The session that has a project.
    ///
    /// # Errors
    /// If the hub is going away.
    pub async fn session_of_project(&self, project_id: &ProjectId) -> Result<Option<SessionId>, HubError> {
        self.supervise(|reply| SupervisorMessage::FindProject(project_id.clone(), reply))
            .await
    }

    /// The sessions that have projects.
    ///
    /// # Errors
    /// If the hub is going away.
    pub async fn projects(&self) -> Result<BTreeMap<ProjectId, Genesis>, HubError> {
        self.supervise(SupervisorMessage::Projects).await
    }

    /// Sessions in the order in which they began, and how many there are in all. Those in memory tell how they are;
    /// those that sleep are told of as they were, and are not woken.
    ///
    /// # Errors
    /// If the hub is going away.
    pub async fn list(&self, offset: usize, limit: usize) -> Result<(Vec<Summary>, usize), HubError> {
        let mut page = self
            .supervise(|reply| SupervisorMessage::List { offset, limit, reply })
            .await?;
        for summary in &mut page.sessions {
            let session_id = summary.genesis.session_id;
            if self.0.directory.find(session_id).is_some()
                && let Ok(snapshot) = self.snapshot(session_id).await
            {
                summary.update(&snapshot);
            }
        }
        Ok((page.sessions, page.total))
    }

    /// Ends the sessions without sockets that have been inactive for so long.
    ///
    /// # Errors
    /// If the hub is going away or a log cannot be deleted.
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
                if unused && self.delete(summary.genesis.session_id).await.is_ok() {
                    removed += 1;
                    offset -= 1;
                }
            }
        }
    }

    /// Lends the right to write the project file, when nobody else has it: one at a time, in the order in which they
    /// asked, so that an older state never overwrites a newer one.
    ///
    /// # Errors
    /// If the session cannot be talked to.
    pub async fn begin_save(&self, session_id: SessionId) -> Result<SaveLease, HubError> {
        let _global = self.enter()?;
        let handle = self.find(session_id, None).await?;
        let waiting = handle.enter()?;
        let turn = handle.saving.acquire_owned().await;
        drop(waiting);
        let snapshot = self.read_entered(session_id, None).await?;
        // Nobody closes it: it goes with the session, which has just been read.
        let turn = turn.map_err(|_| HubError::SessionNotFound(session_id))?;
        Ok(SaveLease { snapshot, _turn: turn })
    }
}

/// Does something in a task of its own, which nobody who goes away stops.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, HubError>> + Send + 'static,
) -> Result<T, HubError> {
    let done = tokio::spawn(work.in_current_span()).await;
    done.unwrap_or_else(|failure| match failure.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // The runtime itself ends.
        Err(_) => Err(HubError::Draining),
    })
}
