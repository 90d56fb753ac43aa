//! What tells the process to stop.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

/// Listens from the call on, and is done when the process is asked to stop: SIGTERM from a supervisor, SIGINT from a
/// terminal. Until somebody listens, a signal kills the process as if there were no shutdown at all.
///
/// # Panics
/// Outside of a runtime.
pub fn asked_to_stop() -> impl Future<Output = ()> + Send + 'static {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
            tracing::error!("signals cannot be listened to; only a kill will stop the hub");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
    }
}
