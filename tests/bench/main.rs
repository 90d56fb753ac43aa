//! Figures of speed, latency and size: `cargo bench --bench figures -- [--json] [name…]`. Without a name all are
//! measured.
//!
//! Figures are a program and not a test: no measured time is asserted. Rows of one table come from one run on one
//! machine, and are to be compared with each other before they are compared with other tables.

mod big_graph;
mod durable;
mod floods;
mod history;
mod latency;
mod process;
mod sessions;
mod table;
mod world;

use std::io::Write as _;

use table::Table;

/// Names of the figures, in the order in which they run.
const NAMES: [&str; 10] = [
    "durable",
    "big_graph",
    "recovery",
    "cold_open",
    "latency",
    "start",
    "idle",
    "sessions",
    "from_files",
    "floods",
];

#[expect(clippy::print_stderr, reason = "the last line of a command line tool")]
fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let json = arguments.iter().any(|it| it == "--json");
    let chosen: Vec<&String> = arguments.iter().filter(|it| *it != "--json").collect();
    if let Some(unknown) = chosen.iter().find(|it| !NAMES.contains(&it.as_str())) {
        eprintln!("error: there is no figure {unknown:?}; there are {}", NAMES.join(", "));
        std::process::exit(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    for name in NAMES {
        if !chosen.is_empty() && !chosen.iter().any(|it| *it == name) {
            continue;
        }
        let table = runtime.block_on(runtime.spawn(measure(name))).expect("no panic");
        let text = if json { table.to_json() } else { table.to_text() };
        writeln!(std::io::stdout(), "{text}").expect("standard output is open");
    }
}

async fn measure(name: &'static str) -> Table {
    match name {
        "durable" => Box::pin(durable::measure()).await,
        "big_graph" => Box::pin(big_graph::measure()).await,
        "recovery" => Box::pin(history::recovery()).await,
        "cold_open" => Box::pin(history::cold_open()).await,
        "latency" => Box::pin(latency::measure()).await,
        "start" => Box::pin(process::start()).await,
        "idle" => Box::pin(process::idle()).await,
        "sessions" => Box::pin(sessions::made_by_commands()).await,
        "floods" => Box::pin(floods::measure()).await,
        "from_files" => Box::pin(sessions::from_files()).await,
        _ => unreachable!("names are checked"),
    }
}
