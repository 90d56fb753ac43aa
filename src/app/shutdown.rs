//! Shutdown in order, within a grace period.

use std::time::Duration;

use axum::Router;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    http_kit::AppState,
    listener::{self, Listener},
    socket::Sockets,
};

/// Time for which transports stay open after the sockets were notified, so that the last packets are delivered, and
/// time for which transports may take to close. A live client fetches its packets within a few round trips, by polling
/// also.
const FLUSH_TIME: Duration = Duration::from_millis(300);

/// Minimum time for closing after the drain has used up the grace. Connections that are left then are only cut, which
/// takes no time.
const CLOSE_TIME_MIN: Duration = Duration::from_secs(1);

/// Reason why serving did not end in order. Acknowledged commands are kept in each case.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Finishing and closing took longer than `server.shutdown_grace_ms`.
    #[error("the shutdown did not finish within {grace:?}")]
    ShutdownOverran {
        /// Configured grace, from `server.shutdown_grace_ms`.
        grace: Duration,
    },
    /// The root of the actors has failed, and all sessions have failed with the root.
    #[error("the supervisor of all sessions failed: start the hub again, and report the panic in its log")]
    RootFailed,
    /// The thread that writes the log has panicked, so no command can be acknowledged.
    #[error("the writer of the log failed: start the hub again, and report the panic in its log")]
    WriterFailed,
}

/// Task that serves one listener.
pub(super) struct Server {
    task: JoinHandle<()>,
    closing: CancellationToken,
}

impl Server {
    /// Serves a listener until [`close`](Self::close).
    pub(super) fn start(listener: Listener, routes: Router) -> Self {
        let closing = CancellationToken::new();
        let task = tokio::spawn(listener::serve(listener, routes, closing.clone()));
        Self { task, closing }
    }

    /// Closes the listener and waits for the requests under way. Returns whether they ended in time.
    async fn close(&mut self, time: Duration) -> bool {
        self.closing.cancel();
        tokio::time::timeout(time, &mut self.task).await.is_ok()
    }
}

/// Drains the sessions, notifies the sockets, then closes. A draining hub refuses new work and accepts connections for
/// a moment longer, since a polling client fetches its last packets by a new connection. At the end every connection
/// that is left is cut: a client that does not read would otherwise keep the server running without limit. The operators'
/// listener closes last, so that a request to drain is answered.
pub(super) async fn shut_down(
    state: &AppState,
    sockets: Option<Sockets>,
    mut clients: Server,
    operators: Option<Server>,
    connections: &CancellationToken,
) -> Result<(), ServeError> {
    let grace = state.config.server.shutdown_grace();
    let deadline = Instant::now() + grace;
    let flush = FLUSH_TIME.min(grace);
    tracing::info!(grace_ms = grace.as_millis(), "draining");
    let had_members = state.hub.stats().members.get() > 0;
    let drained = timeout_at(deadline, state.hub.drain()).await.is_ok();
    if had_members {
        tokio::time::sleep(flush).await;
    }
    // Closing the listener comes before closing the namespace: a client that reconnects to a closed namespace would get
    // an error and stop reconnecting.
    clients.closing.cancel();
    if let Some(sockets) = sockets {
        let _ = tokio::time::timeout(flush, sockets.close()).await;
    }
    let mut closed = clients.close(flush).await;
    if let Some(mut operators) = operators {
        operators.close(flush).await;
    }
    connections.cancel();
    if !closed {
        let close_deadline = deadline.max(Instant::now() + CLOSE_TIME_MIN);
        closed = timeout_at(close_deadline, clients.task).await.is_ok();
    }
    if drained && closed {
        tracing::info!("stopped");
        Ok(())
    } else {
        Err(ServeError::ShutdownOverran { grace })
    }
}
