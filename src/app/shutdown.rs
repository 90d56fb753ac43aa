//! Going in order, within a grace.

use std::{io, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::http::AppState;

/// How long transports stay open after the sockets were told, so that the last packets get out.
const FLUSH: Duration = Duration::from_millis(300);

/// How long closing may take when finishing has used up the grace: what is left then is only cut, which takes no time.
const CLOSE_AT_LEAST: Duration = Duration::from_secs(1);

/// The hub did not get done in time; what was acknowledged is kept all the same.
#[derive(Debug, thiserror::Error)]
#[error("the shutdown did not finish within {grace:?}")]
pub struct ShutdownOverran {
    grace: Duration,
}

/// Accepts nobody new, lets sessions finish, tells sockets, then cuts every connection that is left: a client that does
/// not read, or a long poll, would keep the server for as long as it likes.
pub(super) async fn shut_down(
    state: &AppState,
    server: JoinHandle<io::Result<()>>,
    closing: &CancellationToken,
    connections: &CancellationToken,
) -> Result<(), ShutdownOverran> {
    let grace = state.config.server.shutdown_grace();
    let deadline = Instant::now() + grace;
    tracing::info!(grace_ms = grace.as_millis(), "draining");
    closing.cancel();
    let told = state.hub.stats().members.get() > 0;
    let drained = timeout_at(deadline, state.hub.drain()).await.is_ok();
    if told {
        tokio::time::sleep(FLUSH.min(grace)).await;
    }
    connections.cancel();
    let closing = deadline.max(Instant::now() + CLOSE_AT_LEAST);
    let closed = timeout_at(closing, server).await.is_ok();
    if drained && closed {
        tracing::info!("stopped");
        Ok(())
    } else {
        Err(ShutdownOverran { grace })
    }
}
