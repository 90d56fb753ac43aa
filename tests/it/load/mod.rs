//! Load generator: correct reports of a hub that keeps its promises, and of a server that breaks them.

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

/// Runs the generator with a command line against a server, and returns the report.
async fn load(url: &str, line: &str) -> Report {
    let line = format!("talus-load --url {url} {line}");
    let options = Options::try_parse_from(line.split_whitespace()).expect(&line);
    let report = talus_load::run(options, &ProgressBar::hidden()).await;
    report.expect("a report")
}

/// Serves a router on a free port, and returns its address.
async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await.expect("the server runs") });
    format!("http://{address}")
}

/// Returns a report as the JSON of its file.
fn json(report: &Report) -> Value {
    serde_json::to_value(report).expect("a report is JSON")
}
