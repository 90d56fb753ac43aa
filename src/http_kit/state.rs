//! Shared state of handlers.

use std::{ops::Deref, sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

use talus_actors::{domain::limits::Limits, hub::Hub};

use crate::{
    config::Config, metrics::Metrics, permits::Permits, projects::ProjectService, storage::Losses,
    templates::TemplateStore,
};

/// Handle to the shared state of handlers. Each layer of the router clones the handle for each request, so a clone is
/// one reference count.
#[derive(Clone)]
pub struct AppState(Arc<AppContext>);

/// Shared state behind an [`AppState`]. It holds no locks.
pub struct AppContext {
    /// Handle to the sessions.
    pub hub: Hub,
    /// Configuration of the hub.
    pub config: Arc<Config>,
    /// Limits of the domain, from the configuration.
    pub limits: Arc<Limits>,
    /// Templates on disk and in the binary.
    pub templates: Arc<TemplateStore>,
    /// Use cases of projects.
    pub projects: ProjectService,
    /// Metrics of the process.
    pub metrics: Metrics,
    /// Budget of bytes of incomplete requests and messages, over all connections (P9).
    pub receiving: Permits,
    /// Limits on concurrent readers and on their unwritten bytes.
    pub reading: super::Reading,
    /// Compresses large answers, up to a maximum number at one time.
    pub compression: super::Compression,
    /// Permits of event streams, up to `rest.streams_max`.
    pub streams: Permits,
    /// Permits of subscribers to the actor tree, up to `ops.listeners_max`.
    pub listeners: Permits,
    /// Stops the hub, as a signal does.
    pub stop: CancellationToken,
    /// Time of the start.
    pub started: Instant,
    /// Losses and damage that the start found.
    pub losses: Losses,
}

impl Deref for AppState {
    type Target = AppContext;

    fn deref(&self) -> &AppContext {
        &self.0
    }
}

impl AppState {
    /// Wraps the shared state in a handle.
    #[must_use]
    pub fn new(context: AppContext) -> Self {
        Self(Arc::new(context))
    }

    /// Runs blocking work, such as reading a file, on a blocking thread.
    ///
    /// # Errors
    /// Returns an error if the work panics.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, crate::wire::error::ApiError> {
        let state = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&state)).await;
        done.map_err(|failure| crate::wire::error::internal(&failure))
    }
}
