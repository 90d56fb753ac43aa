//! Reading: snapshots from the actor, records from the log.

use std::{sync::Arc, time::Duration};

use super::{Hub, HubError, Retry};
use crate::{
    domain::{
        ids::{CommandId, Seq, SessionId},
        recorded::Recorded,
    },
    session_actor::{ReadRequest, SessionMessage, Snapshot},
};

/// Some of many, and whether there are more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Those of this page.
    pub items: Vec<T>,
    /// Whether another page follows.
    pub more: bool,
}

impl Hub {
    /// The session as it is, and durable.
    ///
    /// # Errors
    /// If the session cannot be talked to.
    pub async fn snapshot(&self, session_id: SessionId) -> Result<Snapshot, HubError> {
        self.read(session_id, None).await
    }

    /// The session as soon as it has got to a `seq`.
    ///
    /// # Errors
    /// If it does not get there in time.
    pub async fn snapshot_at_least(
        &self,
        session_id: SessionId,
        min_seq: Seq,
        wait: Duration,
    ) -> Result<Snapshot, HubError> {
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

    async fn read(&self, session_id: SessionId, min_seq: Option<Seq>) -> Result<Snapshot, HubError> {
        let _global = self.enter()?;
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

    /// The records that hold the events after `after`, about `events_max` events of them. What was being appended when
    /// the call came may be among them or not.
    ///
    /// # Errors
    /// If there is no such session or its log cannot be read.
    pub async fn events_after(
        &self,
        session_id: SessionId,
        after: Seq,
        events_max: usize,
    ) -> Result<Vec<Arc<Recorded>>, HubError> {
        let records = self.0.log.read(session_id, after, events_max).await?;
        records.ok_or(HubError::SessionNotFound(session_id))
    }

    /// Commands that end before `before` (`None`: the latest), newest first, each with whether it is undone now.
    ///
    /// # Errors
    /// If the session cannot be talked to or its log cannot be read.
    pub async fn commands_before(
        &self,
        session_id: SessionId,
        before: Option<Seq>,
        commands_max: usize,
    ) -> Result<Page<(Arc<Recorded>, bool)>, HubError> {
        let before = before.unwrap_or(Seq(u64::MAX));
        let records = self
            .0
            .log
            .read_back(session_id, before, commands_max.saturating_add(1))
            .await?;
        let mut records = records.ok_or(HubError::SessionNotFound(session_id))?;
        let more = records.len() > commands_max;
        records.truncate(commands_max);
        let ids: Vec<CommandId> = records.iter().map(|record| record.command_id).collect();
        let undone = self
            .ask(session_id, Retry::Always, |reply| {
                SessionMessage::Undone(ids.clone(), reply)
            })
            .await?;
        Ok(Page {
            items: records.into_iter().zip(undone).collect(),
            more,
        })
    }
}
