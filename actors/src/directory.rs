//! Which session has which actor. The supervisor alone writes; everybody reads without a lock and without asking it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ractor::ActorRef;
use tokio::sync::Semaphore;

use crate::{admission::Gate, domain::ids::SessionId, session_actor::SessionMessage};

/// A running session, as callers see it.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    pub(crate) actor: ActorRef<SessionMessage>,
    pub(crate) gate: Gate,
    /// The right to write the project file. It is the session's and not its actor's: who writes goes on writing while
    /// the session starts again.
    pub(crate) saving: Arc<Semaphore>,
}

type Entries = imbl::OrdMap<SessionId, SessionHandle>;

/// The readers' end. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Directory(Arc<ArcSwap<Entries>>);

impl Directory {
    pub(crate) fn find(&self, session_id: SessionId) -> Option<SessionHandle> {
        self.0.load().get(&session_id).cloned()
    }
}

/// The writer's end: there is one.
pub(crate) struct DirectoryWriter {
    entries: Entries,
    shown: Directory,
}

impl DirectoryWriter {
    pub(crate) fn new(shown: Directory) -> Self {
        Self {
            entries: Entries::new(),
            shown,
        }
    }

    pub(crate) fn insert(&mut self, session_id: SessionId, handle: SessionHandle) {
        self.entries.insert(session_id, handle);
        self.show();
    }

    pub(crate) fn remove(&mut self, session_id: SessionId) {
        if self.entries.remove(&session_id).is_some() {
            self.show();
        }
    }

    /// A persistent map: showing a new version costs a few pointers, whatever its size.
    fn show(&self) {
        self.shown.0.store(Arc::new(self.entries.clone()));
    }
}
