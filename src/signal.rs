//! Signals that the process handles.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

/// Installs the signal handlers at the call. The future resolves at a request to stop: SIGTERM from a supervisor,
/// SIGINT from a terminal, or SIGHUP from a terminal that closes. The configuration is read once at start, so SIGHUP
/// has no configuration to reload. Before the call a signal kills the process without a shutdown.
///
/// # Panics
/// Panics outside of a runtime.
pub fn stop_signal() -> impl Future<Output = ()> + Send + 'static {
    let (terminate, interrupt, hang_up) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    async move {
        let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up)) = (terminate, interrupt, hang_up) else {
            tracing::error!("signal handlers cannot be installed; only SIGKILL stops the hub");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
            _ = hang_up.recv() => tracing::info!("SIGHUP"),
        }
    }
}

/// Number of `SIGXFSZ`, on Linux and the BSDs alike.
const SIGXFSZ: i32 = 25;

/// Makes a write beyond the file size limit (`ulimit -f`) fail with `EFBIG`, which is handled as a full disk, instead
/// of ending the process.
///
/// # Panics
/// Panics outside of a runtime.
pub fn handle_file_size_signal() {
    // The handler stays installed after its listener is dropped.
    if let Err(error) = signal(SignalKind::from_raw(SIGXFSZ)) {
        tracing::warn!(%error, "SIGXFSZ cannot be handled; a file size limit would end the process");
    }
}
