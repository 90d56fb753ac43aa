//! Command `verify`: replays a log and reports each fault on its own line.

use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::{print_stdout, progress};
use crate::{
    exit::Exit,
    storage::{self, Verified},
    telemetry::complain,
};

pub(super) fn run(dir: &Path, file: Option<&Path>) -> anyhow::Result<()> {
    let progress = progress();
    let verified = match file {
        Some(file) => storage::verify_file(file, &progress),
        None => storage::verify(dir, &progress),
    };
    let Verified {
        sessions,
        commands,
        findings,
    } = verified.context(Exit::DataDirectoryUnusable)?;
    if findings.is_empty() {
        return print_stdout(&format!("{sessions} sessions with {commands} commands are sound\n"));
    }
    for finding in &findings {
        complain(&format!("error: {finding}"));
    }
    let count = findings.len();
    let failure = anyhow!("{count} faults; {sessions} sessions are sound");
    Err(failure.context(Exit::DataDirectoryUnusable))
}
