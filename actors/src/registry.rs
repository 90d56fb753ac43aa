//! Registry of running session actors. The supervisor is the only writer. Readers take no lock and send no message.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ractor::ActorRef;
use tokio::sync::Semaphore;

use crate::{domain::ids::SessionId, permits::Permits, session_actor::SessionMessage};

/// Handle of a running session, as callers see it.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    pub(crate) actor: ActorRef<SessionMessage>,
    pub(crate) permits: Permits,
    /// Semaphore with one permit: the right to write the project file. The semaphore outlives a restart of the
    /// session's actor, so a save in progress keeps its permit.
    pub(crate) saving: Arc<Semaphore>,
}

type Entries = imbl::OrdMap<SessionId, SessionHandle>;

/// Read side of the registry. Clones share the entries.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<ArcSwap<Entries>>);

impl Registry {
    pub(crate) fn find(&self, session_id: SessionId) -> Option<SessionHandle> {
        self.0.load().get(&session_id).cloned()
    }
}

/// Write side of the registry: exactly one exists.
pub(crate) struct RegistryWriter {
    entries: Entries,
    published: Registry,
}

impl RegistryWriter {
    pub(crate) fn new(published: Registry) -> Self {
        Self {
            entries: Entries::new(),
            published,
        }
    }

    pub(crate) fn insert(&mut self, session_id: SessionId, handle: SessionHandle) {
        self.entries.insert(session_id, handle);
        self.publish();
    }

    pub(crate) fn remove(&mut self, session_id: SessionId) {
        if self.entries.remove(&session_id).is_some() {
            self.publish();
        }
    }

    /// Publishes the current entries. The map is persistent: a clone shares all its nodes, whatever the number of
    /// entries.
    fn publish(&self) {
        self.published.0.store(Arc::new(self.entries.clone()));
    }
}
