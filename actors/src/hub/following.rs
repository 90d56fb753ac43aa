//! Following a session: every record, in order, as soon as it is durable.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Hub, HubError, Retry};
use crate::{
    domain::{
        ids::{Seq, SessionId},
        recorded::Recorded,
        session::Genesis,
    },
    session_actor::SessionMessage,
};

/// Place of a reader that follows a session. It reads what comes next when it has dealt with what came: however slow it
/// is, nothing piles up for it (P9), and nothing is left out (P2), since records come from the log.
pub struct Follower {
    hub: Hub,
    session_id: SessionId,
    after: Seq,
    /// Whether the log had nothing after the place although the session is beyond it.
    stalled: bool,
    progress: watch::Receiver<Seq>,
}

impl Hub {
    /// Follows a session from a place on. Tells what the session is, and how far it is now.
    ///
    /// # Errors
    /// If the session cannot be talked to.
    pub async fn follow(&self, session_id: SessionId, after: Seq) -> Result<(Genesis, Seq, Follower), HubError> {
        let progress = self.progress(session_id).await?;
        let snapshot = self.snapshot(session_id).await?;
        let follower = Follower {
            hub: self.clone(),
            session_id,
            after,
            stalled: false,
            progress,
        };
        Ok((snapshot.genesis, snapshot.seq, follower))
    }

    async fn progress(&self, session_id: SessionId) -> Result<watch::Receiver<Seq>, HubError> {
        let _global = self.enter()?;
        self.ask(session_id, Retry::Always, SessionMessage::Follow).await
    }
}

impl Follower {
    /// Goes on from another place.
    pub const fn skip_to(&mut self, after: Seq) {
        self.after = after;
    }

    /// Waits until there are records after the place.
    ///
    /// # Errors
    /// If the session ended, or cannot be talked to any more.
    ///
    /// # Cancel safety
    /// A call that is dropped has not moved the follower on.
    pub async fn ready(&mut self) -> Result<(), HubError> {
        loop {
            if *self.progress.borrow_and_update() > self.after && !self.stalled {
                return Ok(());
            }
            if self.progress.changed().await.is_err() {
                // The actor ended; the next one goes on where it was, if there is to be one.
                self.progress = self.hub.progress(self.session_id).await?;
            }
            self.stalled = false;
        }
    }

    /// Goes on behind the records that were read after the place; with none, not before the session has moved on.
    pub fn advance(&mut self, records: &[Arc<Recorded>]) {
        match records.last() {
            Some(last) => self.after = last.seq(),
            None => self.stalled = true,
        }
    }

    /// Session that is followed.
    #[must_use]
    pub const fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// Place after which it reads.
    #[must_use]
    pub const fn after(&self) -> Seq {
        self.after
    }
}
