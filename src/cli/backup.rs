//! Command `backup`: copies the log of the data directory to a new file.

use std::path::Path;

use anyhow::Context as _;

use super::print_stdout;
use crate::{exit::Exit, storage};

pub(super) fn run(dir: &Path, file: &Path) -> anyhow::Result<()> {
    storage::backup(dir, file).context(Exit::DataDirectoryUnusable)?;
    print_stdout(&format!("backed up to {}\n", file.display()))
}
