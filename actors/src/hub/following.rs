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

/// Events that are read together.
const PAGE_EVENTS: usize = 256;

/// Somebody who follows a session from a place on. He asks for what comes next when he has dealt with what came, so that
/// however slow he is, nothing piles up for him (P9), and nothing is left out (P2): it comes from the log.
pub struct Follower {
    hub: Hub,
    session_id: SessionId,
    after: Seq,
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

    /// The next records, at least one; waits until there is one. The first may begin before the place.
    ///
    /// # Errors
    /// If the session ended, or cannot be talked to any more.
    ///
    /// # Cancel safety
    /// A call that is dropped has not moved the follower on.
    pub async fn next(&mut self) -> Result<Vec<Arc<Recorded>>, HubError> {
        loop {
            if *self.progress.borrow_and_update() > self.after {
                let records = self.hub.events_after(self.session_id, self.after, PAGE_EVENTS).await?;
                if let Some(last) = records.last() {
                    self.after = last.seq();
                    return Ok(records);
                }
            }
            if self.progress.changed().await.is_err() {
                // The actor ended; the next one goes on where it was, if there is to be one.
                self.progress = self.hub.progress(self.session_id).await?;
            }
        }
    }
}
