//! The binary `talus-hub`: executes the command line, and ends with the exit code of the outcome.

use std::process::ExitCode;

use clap::Parser as _;
use talus_hub::{
    cli::{self, Cli},
    exit::Exit,
};

/// Memory that one thread allocates and another frees is returned without a lock (docs/adr/0020).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let exit = match cli::execute(Cli::parse()) {
        Ok(()) => Exit::Ok,
        Err(error) => cli::report(&error),
    };
    exit.into()
}
