//! The binary `talus-hub`: reads the command line and the configuration, and executes the command.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use clap::Parser as _;
use talus_hub::app::{App, ProcessHooks, ServeError, StartError};
use talus_hub::cli::{Cli, Command, ConfigCommand};
use talus_hub::config::{Config, LoadError};
use talus_hub::exit::Exit;
use talus_hub::listener::descriptors;
use talus_hub::telemetry::{self, LostLines, complain};
use talus_hub::{signal, storage};

/// Memory that one thread allocates and another frees is returned without a lock (docs/adr/0020).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match Config::load(&cli.flags.sources()) {
        Ok(config) => config,
        Err(error) => return report_faults(&error),
    };
    match cli.command.unwrap_or(Command::Run) {
        Command::Run => serve(config),
        Command::Config(ConfigCommand::Print) => match config.to_toml() {
            Ok(toml) => print_stdout(&toml),
            Err(error) => exit_internal(&error.to_string()),
        },
        Command::Config(ConfigCommand::Check) => print_stdout("configuration is valid\n"),
        Command::Verify { file } => verify(&config.data.dir, file.as_deref()),
        Command::Restore { file } => restore(&config.data.dir, &file),
        Command::Backup { file } => match storage::backup(&config.data.dir, &file) {
            Ok(()) => print_stdout(&format!("backed up to {}\n", file.display())),
            Err(error) => {
                complain(&format!("error: {error}"));
                Exit::DataDirectoryUnusable.into()
            }
        },
    }
}

/// Reports each fault of a log on its own line.
fn verify(dir: &std::path::Path, file: Option<&std::path::Path>) -> ExitCode {
    let progress = progress();
    let verified = match file {
        Some(file) => storage::verify_file(file, &progress),
        None => storage::verify(dir, &progress),
    };
    match verified {
        Ok(storage::Verified {
            sessions,
            commands,
            findings,
        }) if findings.is_empty() => print_stdout(&format!("{sessions} sessions with {commands} commands are sound\n")),
        Ok(storage::Verified { sessions, findings, .. }) => {
            for finding in &findings {
                complain(&format!("error: {finding}"));
            }
            let count = findings.len();
            complain(&format!("error: {count} faults; {sessions} sessions are sound"));
            Exit::DataDirectoryUnusable.into()
        }
        Err(error) => {
            complain(&format!("error: {error}"));
            Exit::DataDirectoryUnusable.into()
        }
    }
}

fn restore(dir: &std::path::Path, file: &std::path::Path) -> ExitCode {
    match storage::restore(dir, file, progress()) {
        Ok(restored) => {
            let kept = restored.replaced.as_ref().map_or_else(String::new, |path| {
                format!("the database before it is kept as {}\n", path.display())
            });
            let storage::Restored { sessions, commands, .. } = restored;
            print_stdout(&format!(
                "restored {sessions} sessions with {commands} commands, each in a new epoch, from {}\n{kept}",
                file.display()
            ))
        }
        Err(error) => {
            complain(&format!("error: {error}"));
            Exit::DataDirectoryUnusable.into()
        }
    }
}

/// Shows on a terminal the number of sessions that are processed.
fn progress() -> impl Fn(usize, usize) {
    let bar = indicatif::ProgressBar::new(0);
    move |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if done == total {
            bar.finish_and_clear();
        }
    }
}

/// Runs the hub until a request to stop.
fn serve(config: Config) -> ExitCode {
    let log = match telemetry::init(&config.log) {
        Ok(log) => log,
        Err(error) => return exit_internal(&error.to_string()),
    };
    descriptors::raise_limit();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.server.worker_threads() {
        runtime.worker_threads(threads);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit_internal(&format!("the runtime cannot start: {error}")),
    };
    let exit = runtime.block_on(run(config, log.lost()));
    // Blocking file reads may still run; no task waits for their results.
    runtime.shutdown_background();
    exit.into()
}

async fn run(config: Config, lost_lines: LostLines) -> Exit {
    // Comes first: a process that reads the line "listening" may send a signal at once.
    let stop = signal::stop_signal();
    signal::handle_file_size_signal();
    let data_dir = config.data.dir.display().to_string();
    let hooks = ProcessHooks {
        lost_lines,
        on_fatal: Box::new(end_process),
    };
    let app = match App::start_in(config, hooks).await {
        Ok(app) => app,
        Err(error) => return start_error_exit(&error),
    };
    let (url, page) = (format!("http://{}", app.address()), browser_address(app.address()));
    let operators = app.ops_address().map_or_else(String::new, |address| {
        format!("operators at http://{address}/ops/actors\n")
    });
    print_stdout(&format!(
        "talus-hub listening on {url}\ndata in {data_dir}\n{operators}open http://{page}/\n"
    ));
    tracing::info!(address = %app.address(), "listening");
    match app.serve(stop).await {
        Ok(()) => Exit::Ok,
        Err(error) => {
            complain(&format!("error: {error}"));
            match error {
                ServeError::ShutdownOverran { .. } => Exit::ShutdownOverran,
                ServeError::RootFailed | ServeError::WriterFailed => Exit::Internal,
            }
        }
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

fn start_error_exit(error: &StartError) -> Exit {
    complain(&format!("error: {error}"));
    match error {
        StartError::Listen { .. } => Exit::CannotListen,
        StartError::Pages(_) => Exit::Configuration,
        StartError::Templates(_) => Exit::TemplatesUnreadable,
        StartError::Data(_) | StartError::Log(_) => Exit::DataDirectoryUnusable,
    }
}

/// Reports each fault of the configuration on its own line.
fn report_faults(error: &LoadError) -> ExitCode {
    for fault in &error.faults {
        complain(&format!("error: {fault}"));
    }
    Exit::Configuration.into()
}

fn exit_internal(message: &str) -> ExitCode {
    complain(&format!("error: {message}"));
    Exit::Internal.into()
}

/// Writes to standard output. A closed pipe (`| head`) is no failure.
fn print_stdout(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            exit_internal(&format!("cannot write: {error}"))
        }
        Ok(()) | Err(_) => Exit::Ok.into(),
    }
}
