//! Client library of `docs/client` and live example of `docs/examples/live`: their own tests, which drive a real hub
//! from Node.js and from two browser windows.

use std::{path::Path, time::Duration};

use tokio::{process::Command, sync::OnceCell};

use super::install;
use crate::support::ROOT;

/// Longest time of one of these programs: 600 s. A run takes far less, except on a machine that builds something else
/// at the same time.
const DEADLINE: Duration = Duration::from_secs(600);

/// Runs a program of an installed package in a folder, and returns its output.
async fn run(folder: &str, program: &str, arguments: &[&str]) -> String {
    let web = install::web();
    let mut command = Command::new("node");
    command
        .arg(web.join("node_modules").join(program))
        .args(arguments)
        .current_dir(web.join(folder))
        .env("HUB_BINARY", env!("CARGO_BIN_EXE_talus-hub"))
        .env("HUB_SOURCE", ROOT)
        .env("NO_COLOR", "1")
        .kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output()).await;
    let output = output.expect("the program ends in time").expect("node is installed");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{program} {arguments:?} in {folder}:\n{said}");
    said
}

const TSC: &str = "typescript/bin/tsc";
const VITEST: &str = "vitest/vitest.mjs";

#[tokio::test]
async fn library_and_example_are_typed_strictly() {
    run("client", TSC, &["-p", "tsconfig.test.json"]).await;
    run("examples/live", TSC, &["-p", "tsconfig.json"]).await;
}

/// Builds the library, once for all tests that import it as published.
pub async fn built() {
    static BUILT: OnceCell<()> = OnceCell::const_new();
    let build = async || drop(run("client", TSC, &["-p", "tsconfig.json"]).await);
    BUILT.get_or_init(build).await;
}

/// The published library has modules and their types.
#[tokio::test]
async fn library_is_built_with_types() {
    built().await;
    for name in ["dist/index.js", "dist/index.d.ts"] {
        assert!(install::web().join("client").join(name).is_file(), "{name}");
    }
}

/// P1, P2, P4, P6 from the side of a client: drops, gaps, divergence, retries, drains, undo.
#[tokio::test]
async fn library_passes_its_own_tests() {
    run("client", VITEST, &["run"]).await;
}

fn require_chromium() {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    assert!(
        Path::new(&chromium).exists(),
        "this test needs chromium, as {chromium} or where CHROMIUM says"
    );
}

/// Two windows that edit one project show the same: edits, presence, undo, a lost network, a failing session. With
/// `UPDATE_SCREENSHOT` set the test takes the picture that README.md shows.
#[expect(clippy::print_stderr, reason = "figures for a run with --nocapture")]
#[tokio::test]
async fn example_keeps_two_windows_the_same() {
    require_chromium();
    run("examples/live", "vite/bin/vite.js", &["build"]).await;
    let said = run("examples/live", VITEST, &["run", "test/live.test.ts"]).await;
    let figures = said.lines().find(|line| line.contains("from one browser to the other"));
    eprintln!("{}", figures.unwrap_or(&said));
}

/// P9: for a real browser a page whose name is rebound to this machine is of the hub's own origin. The page must read
/// and change nothing, on either listener.
#[tokio::test]
async fn rebound_page_in_a_browser_reads_and_changes_nothing() {
    require_chromium();
    run("examples/live", VITEST, &["run", "test/rebinding.test.ts"]).await;
}
