//! The binary `talus-hub`: reads the command line and the configuration, and does what it is told.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser as _;
use talus_hub::cli::{Cli, Command, ConfigCommand};
use talus_hub::config::{Config, LoadError};
use talus_hub::exit::Exit;
use talus_hub::telemetry;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match Config::load(&cli.flags.sources()) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    match cli.command.unwrap_or(Command::Run) {
        Command::Run => serve(config),
        Command::Config(ConfigCommand::Print) => match config.to_toml() {
            Ok(toml) => say(&toml),
            Err(error) => fail(&error.to_string()),
        },
        Command::Config(ConfigCommand::Check) => say("configuration is valid\n"),
    }
}

/// Runs the hub until it is told to stop.
fn serve(config: Config) -> ExitCode {
    let Config { server, log, .. } = config;
    if let Err(error) = telemetry::init(&log) {
        return fail(&error.to_string());
    }
    tracing::error!(server.host, server.port, "this build cannot serve yet");
    Exit::Internal.into()
}

/// Says every fault on a line of its own.
fn refuse(error: &LoadError) -> ExitCode {
    for fault in &error.faults {
        eprintln!("error: {fault}");
    }
    Exit::Configuration.into()
}

fn fail(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    Exit::Internal.into()
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&format!("cannot write: {error}")),
        Ok(()) | Err(_) => Exit::Ok.into(),
    }
}
