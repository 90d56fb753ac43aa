//! What handlers hold.

use std::{ops::Deref, sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

use talus_actors::{admission::Gate, domain::limits::Limits, hub::Hub};

use crate::{budget::ByteBudget, config::Config, metrics::Metrics, projects::ProjectStore, templates::TemplateStore};

/// What handlers hold. Each layer of the router has a clone of it for each request, so that a clone is one count and no
/// more.
#[derive(Clone)]
pub struct AppState(Arc<Held>);

/// What is behind an [`AppState`]. Nothing in it is locked.
pub struct Held {
    /// The sessions.
    pub hub: Hub,
    /// How the hub is set up.
    pub config: Arc<Config>,
    /// The domain's limits, as set up.
    pub limits: Arc<Limits>,
    /// The templates on disk.
    pub templates: Arc<TemplateStore>,
    /// The project files on disk.
    pub projects: Arc<ProjectStore>,
    /// What is counted.
    pub metrics: Metrics,
    /// Bytes of unfinished requests and messages that all connections together may have sent (P9).
    pub receiving: ByteBudget,
    /// Lets readers read, and keeps what they wait for in bounds.
    pub reading: super::Reading,
    /// Compresses large answers, so many at one time.
    pub compression: super::Compression,
    /// Lets streams in, up to their limit.
    pub streams: Gate,
    /// Lets listeners to the tree of actors in, up to their limit.
    pub listeners: Gate,
    /// Stops the hub, as a signal does.
    pub stop: CancellationToken,
    /// When the hub started.
    pub started: Instant,
}

impl Deref for AppState {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.0
    }
}

impl AppState {
    /// Of these parts.
    #[must_use]
    pub fn new(held: Held) -> Self {
        Self(Arc::new(held))
    }

    /// Does blocking work, such as reading a file, where it is in nobody's way.
    ///
    /// # Errors
    /// If the work panics.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, crate::wire::error::Failure> {
        let state = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&state)).await;
        done.map_err(|failure| crate::wire::error::internal(&failure))
    }
}
