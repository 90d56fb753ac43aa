//! Reads: session views from the actor, records from the log.

use std::{sync::Arc, time::Duration};

use super::{Hub, HubError, Retry};
use crate::{
    domain::{
        document::Document,
        ids::{CommandId, Seq, SessionId},
        record::CommandRecord,
        session::document_at,
    },
    log::{HistoryRecord, LogError, PageMax},
    session_actor::{ReadRequest, SessionMessage, SessionView},
    session_supervisor::SupervisorMessage,
};

/// Page of a longer list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Items of the page.
    pub items: Vec<T>,
    /// True if another page follows.
    pub more: bool,
}

impl Hub {
    /// Returns the current state of a session, which is durable.
    ///
    /// # Errors
    /// If the session cannot be reached.
    pub async fn snapshot(&self, session_id: SessionId) -> Result<SessionView, HubError> {
        self.read(session_id, None).await
    }

    /// Returns the current state without a permit, for a joining socket: the number of sockets is limited elsewhere,
    /// and other work in flight must not delay a join.
    ///
    /// # Errors
    /// If the session cannot be reached.
    pub async fn snapshot_for_join(&self, session_id: SessionId) -> Result<SessionView, HubError> {
        if self.is_draining() {
            return Err(HubError::Draining);
        }
        self.ask(session_id, Retry::Ungated, |reply| {
            SessionMessage::Read(ReadRequest { min_seq: None, reply })
        })
        .await
    }

    /// Returns the state of a session once it has reached `min_seq`.
    ///
    /// # Errors
    /// If the session does not reach `min_seq` within `wait`.
    pub async fn snapshot_at_least(
        &self,
        session_id: SessionId,
        min_seq: Seq,
        wait: Duration,
    ) -> Result<SessionView, HubError> {
        match tokio::time::timeout(wait, self.read(session_id, Some(min_seq))).await {
            Ok(answer) => answer,
            Err(_) => {
                let current = self.read(session_id, None).await?.seq;
                Err(HubError::SeqNotReached {
                    wanted: min_seq,
                    current,
                })
            }
        }
    }

    async fn read(&self, session_id: SessionId, min_seq: Option<Seq>) -> Result<SessionView, HubError> {
        let _global = self.admit()?;
        self.read_admitted(session_id, min_seq).await
    }

    /// Reads for a caller that holds a permit of the hub.
    pub(super) async fn read_admitted(
        &self,
        session_id: SessionId,
        min_seq: Option<Seq>,
    ) -> Result<SessionView, HubError> {
        let retry = if min_seq.is_some() {
            Retry::WhileWaiting
        } else {
            Retry::Always
        };
        self.ask(session_id, retry, |reply| {
            SessionMessage::Read(ReadRequest { min_seq, reply })
        })
        .await
    }

    /// Returns the records that hold the events after `after`, up to `max`, which counts events. Records of an append
    /// in flight may be included or not.
    ///
    /// # Errors
    /// If the session does not exist or its log cannot be read.
    pub async fn events_after(
        &self,
        session_id: SessionId,
        after: Seq,
        max: impl Into<PageMax>,
    ) -> Result<Vec<Arc<CommandRecord>>, HubError> {
        let records = self.0.log.read(session_id, after, max.into()).await;
        let records = self.quarantine_if_corrupt(session_id, records)?;
        records.ok_or(HubError::SessionNotFound(session_id))
    }

    /// Returns the commands that end before `before` (`None`: the latest), newest first, up to `max`.
    ///
    /// # Errors
    /// If the session does not exist or its log cannot be read.
    pub async fn commands_before(
        &self,
        session_id: SessionId,
        before: Option<Seq>,
        max: impl Into<PageMax>,
    ) -> Result<Page<HistoryRecord>, HubError> {
        let before = before.unwrap_or(Seq(u64::MAX));
        let entries = self.0.log.read_back(session_id, before, max.into()).await;
        let entries = self.quarantine_if_corrupt(session_id, entries)?;
        let items = entries.ok_or(HubError::SessionNotFound(session_id))?;
        // The first command of a session has `first_seq` 1, and all commands before an item end before it.
        let more = items.last().is_some_and(|oldest| oldest.recorded.first_seq > Seq(1));
        Ok(Page { items, more })
    }

    /// Returns the record of a command; `None` if the session never accepted the command (P4).
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn recorded(
        &self,
        session_id: SessionId,
        command_id: CommandId,
    ) -> Result<Option<Arc<CommandRecord>>, HubError> {
        let found = self.0.log.find(session_id, vec![command_id]).await;
        Ok(self.quarantine_if_corrupt(session_id, found)?.pop())
    }

    /// Returns the document of a session right after event `at`, whatever followed.
    ///
    /// # Errors
    /// If the session has not reached `at`, or its log cannot be read.
    pub async fn document_at(&self, session_id: SessionId, at: Seq) -> Result<Document, HubError> {
        // An answer of the actor is durable, so the log is complete up to its `seq`.
        let snapshot = self.snapshot(session_id).await?;
        if at >= snapshot.seq {
            let reached = at == snapshot.seq;
            let not_reached = HubError::SeqNotReached {
                wanted: at,
                current: snapshot.seq,
            };
            return reached.then_some(snapshot.document).ok_or(not_reached);
        }
        let _global = self.admit()?;
        let stored = self.0.log.open_at(session_id, at).await;
        let stored = self.quarantine_if_corrupt(session_id, stored)?;
        let stored = stored.ok_or(HubError::SessionNotFound(session_id))?;
        let replay = move || document_at(stored.snapshot.as_ref(), &stored.records, at);
        let replayed = tokio::task::spawn_blocking(replay).await;
        let replayed = match replayed {
            Ok(replayed) => replayed.map_err(|error| LogError::Corrupt(error.to_string())),
            Err(panic) => Err(LogError::Corrupt(panic.to_string())),
        };
        self.quarantine_if_corrupt(session_id, replayed)
    }

    /// Passes on an answer of the log. Damage quarantines the session: its state in memory could contradict the log on
    /// disk (P12).
    fn quarantine_if_corrupt<T>(&self, session_id: SessionId, answer: Result<T, LogError>) -> Result<T, HubError> {
        if let Err(LogError::Corrupt(reason)) = &answer {
            let damaged = SupervisorMessage::Damaged(session_id, reason.as_str().into());
            let _ = self.0.supervisor.cast(damaged);
        }
        answer.map_err(HubError::Log)
    }
}
