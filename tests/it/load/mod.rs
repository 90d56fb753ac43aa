//! The load generator tells the truth: of a hub that keeps its promises, and of a server that does not.

mod connections;
mod faulty;
mod parts;
mod peer;
mod whole;

use axum::Router;
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

/// Serves a server of the test's own, and says where.
async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
    format!("http://{address}")
}

/// The report as its file has it.
fn json(report: &Report) -> Value {
    serde_json::to_value(report).expect("it is JSON")
}
