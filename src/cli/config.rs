//! Command `config`: looks at the configuration without running the hub.

use super::{ConfigCommand, print_stdout};
use crate::config::Config;

pub(super) fn run(config: &Config, command: ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Print => print_stdout(&config.to_toml()?),
        ConfigCommand::Check => print_stdout("configuration is valid\n"),
    }
}
