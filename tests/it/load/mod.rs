//! The load generator tells the truth: of a hub that keeps its promises, and of a server that does not.

mod connections;
mod faulty;
mod parts;
mod peer;
mod whole;

use clap::Parser as _;
use indicatif::ProgressBar;
use serde_json::Value;
use talus_load::{options::Options, report::Report};

/// Runs it on a server as its command line would.
async fn load(url: &str, line: &str) -> Report {
    let line = format!("talus-load --url {url} {line}");
    let options = Options::try_parse_from(line.split_whitespace()).expect(&line);
    let report = talus_load::run(options, &ProgressBar::hidden()).await;
    report.expect("it runs")
}

/// The report as its file has it.
fn json(report: &Report) -> Value {
    serde_json::to_value(report).expect("it is JSON")
}
