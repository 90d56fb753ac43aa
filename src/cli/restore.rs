//! Command `restore`: puts a backup in the place of the log of the data directory.

use std::path::Path;

use anyhow::Context as _;

use super::{print_stdout, progress};
use crate::{
    exit::Exit,
    storage::{self, Restored},
};

pub(super) fn run(dir: &Path, file: &Path) -> anyhow::Result<()> {
    let restored = storage::restore(dir, file, progress()).context(Exit::DataDirectoryUnusable)?;
    let kept = restored.replaced.as_ref().map_or_else(String::new, |path| {
        format!("the database before it is kept as {}\n", path.display())
    });
    let Restored { sessions, commands, .. } = restored;
    print_stdout(&format!(
        "restored {sessions} sessions with {commands} commands, each in a new epoch, from {}\n{kept}",
        file.display()
    ))
}
