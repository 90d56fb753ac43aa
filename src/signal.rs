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

/// Number of `SIGXFSZ`, on Linux and the BSDs alike.
const SIGXFSZ: i32 = 25;

/// Lets a write beyond the limit on the size of files (`ulimit -f`) fail with `EFBIG`, which is a full disk, instead of
/// ending the process.
///
/// # Panics
/// Outside of a runtime.
pub fn survive_file_limits() {
    // A handler stays when whoever asked for it has gone.
    if let Err(error) = signal(SignalKind::from_raw(SIGXFSZ)) {
        tracing::warn!(%error, "a limit on the size of files would end the process");
    }
}
