//! Going in order, within a grace.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{http::AppState, socket::Sockets};

/// How long transports stay open after the sockets were told, so that the last packets get out, and how long they may
/// take to close. A client that is alive has fetched its packets within a few round trips, also by polling.
const FLUSH: Duration = Duration::from_millis(300);

/// How long closing may take when finishing has used up the grace: what is left then is only cut, which takes no time.
const CLOSE_AT_LEAST: Duration = Duration::from_secs(1);

/// Reason why serving did not end in order. What was acknowledged is kept all the same.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Finishing and closing took longer than `server.shutdown_grace_ms`.
    #[error("the shutdown did not finish within {grace:?}")]
    ShutdownOverran {
        /// The configured grace.
        grace: Duration,
    },
    /// The root of the actors has failed, and all sessions with it.
    #[error("the supervisor of all sessions failed: start the hub again, and report the panic in its log")]
    RootFailed,
    /// The thread that writes the log has panicked: nothing can be acknowledged any more.
    #[error("the writer of the log failed: start the hub again, and report the panic in its log")]
    WriterFailed,
}

/// Lets sessions finish, tells sockets, then closes: a hub that drains takes on nothing new, but goes on accepting
/// connections for a moment, since a client that polls comes for its last packets by a new one. In the end it cuts every
/// connection that is left: a client that does not read would keep the server for as long as it likes.
pub(super) async fn shut_down(
    state: &AppState,
    sockets: Option<Sockets>,
    mut server: JoinHandle<()>,
    closing: &CancellationToken,
    connections: &CancellationToken,
) -> Result<(), ServeError> {
    let grace = state.config.server.shutdown_grace();
    let deadline = Instant::now() + grace;
    let flush = FLUSH.min(grace);
    tracing::info!(grace_ms = grace.as_millis(), "draining");
    let told = state.hub.stats().members.get() > 0;
    let drained = timeout_at(deadline, state.hub.drain()).await.is_ok();
    if told {
        tokio::time::sleep(flush).await;
    }
    // First: a client that came back to a namespace that is closed would take it for an error, and stop for good.
    closing.cancel();
    if let Some(sockets) = sockets {
        let _ = tokio::time::timeout(flush, sockets.close()).await;
    }
    let mut closed = tokio::time::timeout(flush, &mut server).await.is_ok();
    connections.cancel();
    if !closed {
        let at_last = deadline.max(Instant::now() + CLOSE_AT_LEAST);
        closed = timeout_at(at_last, server).await.is_ok();
    }
    if drained && closed {
        tracing::info!("stopped");
        Ok(())
    } else {
        Err(ServeError::ShutdownOverran { grace })
    }
}
