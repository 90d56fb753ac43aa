//! Following of a session: each record, in order, as soon as it is durable.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Hub, HubError, Retry};
use crate::{
    domain::{
        ids::{Seq, SessionId},
        record::CommandRecord,
        session::SessionHeader,
    },
    session_actor::SessionMessage,
};

/// Cursor of a reader that follows a session. The reader pulls the next records from the log after processing the
/// previous ones: a slow reader accumulates no queue (P9) and misses no record (P2).
pub struct Follower {
    hub: Hub,
    session_id: SessionId,
    after: Seq,
    /// True if the log had no record after the cursor although the session is ahead.
    stalled: bool,
    progress: watch::Receiver<Seq>,
}

impl Hub {
    /// Follows a session from a position. Returns the session's header, its current `seq` and the cursor.
    ///
    /// # Errors
    /// If the session cannot be reached.
    pub async fn follow(&self, session_id: SessionId, after: Seq) -> Result<(SessionHeader, Seq, Follower), HubError> {
        let progress = self.progress(session_id).await?;
        let snapshot = self.snapshot(session_id).await?;
        let follower = Follower {
            hub: self.clone(),
            session_id,
            after,
            stalled: false,
            progress,
        };
        Ok((snapshot.header, snapshot.seq, follower))
    }

    async fn progress(&self, session_id: SessionId) -> Result<watch::Receiver<Seq>, HubError> {
        let _global = self.admit()?;
        self.ask(session_id, Retry::Always, SessionMessage::Follow).await
    }
}

impl Follower {
    /// Moves the cursor.
    pub const fn skip_to(&mut self, after: Seq) {
        self.after = after;
    }

    /// Waits until there are records after the cursor.
    ///
    /// # Errors
    /// If the session was deleted or cannot be reached any more.
    ///
    /// # Cancel safety
    /// A dropped call leaves the cursor in place.
    pub async fn ready(&mut self) -> Result<(), HubError> {
        loop {
            if *self.progress.borrow_and_update() > self.after && !self.stalled {
                return Ok(());
            }
            if self.progress.changed().await.is_err() {
                // The actor ended. The next actor, if there is one, continues at the same `seq`.
                self.progress = self.hub.progress(self.session_id).await?;
            }
            self.stalled = false;
        }
    }

    /// Moves the cursor behind the records that were read. With no records, [`Follower::ready`] waits until the session
    /// moves on.
    pub fn advance(&mut self, records: &[Arc<CommandRecord>]) {
        match records.last() {
            Some(last) => self.after = last.seq(),
            None => self.stalled = true,
        }
    }

    /// Returns the id of the followed session.
    #[must_use]
    pub const fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// Returns the `seq` after which the next read begins.
    #[must_use]
    pub const fn after(&self) -> Seq {
        self.after
    }
}
