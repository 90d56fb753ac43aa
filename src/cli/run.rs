//! Command `run`: serves until a request to stop.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, anyhow};

use super::print_stdout;
use crate::{
    app::{App, ProcessHooks, ServeError, StartError},
    config::Config,
    exit::Exit,
    listener::descriptors,
    signal,
    telemetry::{self, LostLines, complain},
};

pub(super) fn run(config: Config) -> anyhow::Result<()> {
    let log = telemetry::init(&config.log)?;
    descriptors::raise_limit();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.server.worker_threads() {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| anyhow!("the runtime cannot start: {error}"))?;
    let served = runtime.block_on(serve(config, log.lost()));
    // Blocking file reads may still run; no task waits for their results.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config, lost_lines: LostLines) -> anyhow::Result<()> {
    // Comes first: a process that reads the line "listening" may send a signal at once.
    let stop = signal::stop_signal();
    signal::handle_file_size_signal();
    let data_dir = config.data.dir.display().to_string();
    let hooks = ProcessHooks {
        lost_lines,
        on_fatal: Box::new(end_process),
    };
    let app = App::start_in(config, hooks).await.map_err(|error| {
        let exit = start_exit(&error);
        anyhow::Error::new(error).context(exit)
    })?;
    let (url, page) = (format!("http://{}", app.address()), browser_address(app.address()));
    let operators = app.ops_address().map_or_else(String::new, |address| {
        format!("operators at http://{address}/ops/actors\n")
    });
    let greeting = format!("talus-hub listening on {url}\ndata in {data_dir}\n{operators}open http://{page}/\n");
    if let Err(error) = print_stdout(&greeting) {
        complain(&format!("error: {error}"));
    }
    tracing::info!(address = %app.address(), "listening");
    match app.serve(stop).await {
        Err(error @ ServeError::ShutdownOverran { .. }) => Err(error).context(Exit::ShutdownOverran),
        Err(error @ (ServeError::RootFailed | ServeError::WriterFailed)) => Err(error).context(Exit::Internal),
        Ok(()) => Ok(()),
    }
}

/// Ends the process. After a failed flush the page cache and the disk may differ, and only a new process reads the
/// disk.
fn end_process(reason: &str) {
    complain(&format!("error: the disk failed: {reason}"));
    std::process::exit(i32::from(Exit::StorageFailed.code()));
}

/// Returns an address that a browser on this machine can connect to. An unspecified address (all interfaces) is
/// replaced by the loopback address.
fn browser_address(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

const fn start_exit(error: &StartError) -> Exit {
    match error {
        StartError::Listen { .. } => Exit::CannotListen,
        StartError::Pages(_) => Exit::Configuration,
        StartError::Templates(_) => Exit::TemplatesUnreadable,
        StartError::Data(_) | StartError::Log(_) => Exit::DataDirectoryUnusable,
    }
}
