//! The binary `talus-load`; see the library.

use std::{fs, io::Write as _, path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use talus_load::{connections, options::Options, run};

/// Exit code of a run with lost, doubled or reordered events.
const FAULTY: u8 = 1;
/// Exit code of a failed run, without a report. The argument parser uses the same code.
const NOT_RUN: u8 = 2;

/// Loads a server that speaks Talus Hub's contract, and checks its events.
///
/// Exits with 0 if every event arrived once and in order, with 1 if not, and with 2 if the run failed.
#[derive(Parser)]
#[command(name = "talus-load", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(flatten)]
    load: Options,
    #[command(subcommand)]
    measurement: Option<Measurement>,
}

/// Alternative measurements.
#[derive(Subcommand)]
enum Measurement {
    Connections(connections::Options),
}

#[expect(clippy::print_stderr, reason = "the last line of a command line tool")]
fn main() -> ExitCode {
    let CommandLine { load, measurement } = CommandLine::parse();
    let done = match measurement {
        None => run_load(load),
        Some(Measurement::Connections(options)) => run_connections(options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => FAULTY.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            NOT_RUN.into()
        }
    }
}

/// Runs the load. Returns true if the report is clean.
fn run_load(options: Options) -> anyhow::Result<bool> {
    let processes = options.processes.clone();
    let report = on_threads(processes.threads, async move |progress| run(options, &progress).await)?;
    write_report(processes.json.as_deref(), &report, &report.to_text())?;
    Ok(report.is_clean())
}

fn run_connections(options: connections::Options) -> anyhow::Result<bool> {
    let processes = options.processes.clone();
    let report = on_threads(processes.threads, async move |progress| {
        connections::run(options, &progress).await
    })?;
    write_report(processes.json.as_deref(), &report, &report.to_text())?;
    Ok(report.is_clean())
}

fn on_threads<T, F>(threads: u16, run: impl FnOnce(ProgressBar) -> F) -> anyhow::Result<T>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    // The bar is shown on a terminal only.
    let progress = ProgressBar::new(0);
    progress.set_style(ProgressStyle::with_template("{wide_bar} {elapsed} {msg}")?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.into())
        .enable_all()
        .build()?;
    runtime.block_on(async { tokio::spawn(run(progress)).await })?
}

fn write_report(json: Option<&Path>, report: &impl Serialize, text: &str) -> anyhow::Result<()> {
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(report)?;
        fs::write(file, text + "\n").with_context(|| file.display().to_string())?;
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
