//! The binary `talus-load`: see the library.

use std::{fs, io::Write as _, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;
use indicatif::{ProgressBar, ProgressStyle};
use talus_load::{options::Options, report::Report, run};

/// Something was lost, doubled or out of place.
const FAULTY: u8 = 1;
/// There is nothing to report. Also what a wrong command line ends with.
const NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    match load(Options::parse()) {
        Ok(report) if report.is_clean() => ExitCode::SUCCESS,
        Ok(_) => FAULTY.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            NOT_RUN.into()
        }
    }
}

fn load(options: Options) -> anyhow::Result<Report> {
    // Shown on a terminal only.
    let progress = ProgressBar::new(0);
    progress.set_style(ProgressStyle::with_template("{wide_bar} {elapsed} {msg}")?);
    let json = options.json.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.threads.into())
        .enable_all()
        .build()?;
    let report = runtime.block_on(async { tokio::spawn(async move { run(options, &progress).await }).await })??;
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(&file, text + "\n").with_context(|| file.display().to_string())?;
    }
    std::io::stdout().write_all(report.to_text().as_bytes())?;
    Ok(report)
}
