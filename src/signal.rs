//! What tells the process to stop.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

/// Listens from the call on, and is done when the process is asked to stop: SIGTERM from a supervisor, SIGINT from a
/// terminal, SIGHUP from a terminal that closes. The configuration is read once, so there is nothing that SIGHUP could
/// have read again. Until somebody listens, a signal kills the process as if there were no shutdown at all.
///
/// # Panics
/// Outside of a runtime.
pub fn asked_to_stop() -> impl Future<Output = ()> + Send + 'static {
    let (terminate, interrupt, hang_up) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    async move {
        let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up)) = (terminate, interrupt, hang_up) else {
            tracing::error!("signals cannot be listened to; only a kill will stop the hub");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
            _ = hang_up.recv() => tracing::info!("SIGHUP"),
        }
    }
}
