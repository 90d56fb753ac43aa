//! The command line: the commands, and the few configuration keys that have a flag. A command returns its error with an
//! [`Exit`] as context; an error without an exit is [`Exit::Internal`].

mod backup;
mod config;
mod restore;
mod run;
mod verify;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, anyhow};
use clap::{Args, Parser, Subcommand, ValueHint};

use crate::{
    config::{Config, Flag, LoadError, LogFormat, Sources},
    exit::Exit,
    telemetry::complain,
};

/// The real-time server of Talus Tally: commands in over REST, ordered events out over Socket.IO.
///
/// Without a command it runs the hub. Every key of the configuration can also be set in a file or in the environment;
/// `talus-hub config print` lists them with their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "talus-hub", version, after_help = Exit::help())]
pub struct Cli {
    /// Flags, which may stand before or after the command.
    #[command(flatten)]
    pub flags: Flags,
    /// Command to execute; `None` is [`Command::Run`].
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Configuration keys that have a flag. `None`: the flag is not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Flags {
    /// Read this configuration file (TOML); without it no file is read
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Listen on this IP address or host name [server.host]
    #[arg(long, global = true)]
    pub host: Option<String>,
    /// Listen on this TCP port; 0 lets the system choose [server.port]
    #[arg(long, global = true)]
    pub port: Option<u16>,
    /// Listen to operators on this address and port, such as 127.0.0.1:5001; empty: nowhere [ops.listen]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub ops_listen: Option<String>,
    /// Keep the data in this directory [data.dir]
    // A String, since the key is a String: the parser refuses a path that is not Unicode.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data_dir: Option<String>,
    /// Write log lines in this format [log.format]
    #[arg(long, global = true, value_enum)]
    pub log_format: Option<LogFormat>,
}

/// Commands of the binary.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the hub (the default without a command)
    Run,
    /// Look at the configuration without running the hub
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Replay the log of the data directory, or of a backup, and report its faults
    Verify {
        /// A backup; without one, the data directory, on which no hub may run
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Put a backup in the place of the log of the data directory, with a new epoch for each session
    Restore {
        /// The backup; verified first. The directory's own hub.sqlite accepts what it has lost
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Copy the log of the data directory to a new file, also while a hub runs on it
    Backup {
        /// Path of the new file; must not exist
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// Commands on the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective configuration as TOML, with every key and its meaning
    Print,
    /// Report that the configuration is valid, or every fault in it
    Check,
}

/// Loads the configuration, and executes a command.
///
/// # Errors
/// Returns the failure of the command. [`report`] writes the failure, and returns its exit code.
pub fn execute(cli: Cli) -> anyhow::Result<()> {
    let config = Config::load(&cli.flags.sources()).context(Exit::Configuration)?;
    match cli.command.unwrap_or(Command::Run) {
        Command::Run => run::run(config),
        Command::Config(command) => config::run(&config, command),
        Command::Verify { file } => verify::run(&config.data.dir, file.as_deref()),
        Command::Restore { file } => restore::run(&config.data.dir, &file),
        Command::Backup { file } => backup::run(&config.data.dir, &file),
    }
}

/// Writes a failure to standard error, each fault of a configuration on its own line, and returns the exit code.
#[must_use]
pub fn report(failure: &anyhow::Error) -> Exit {
    let exit = failure.downcast_ref::<Exit>().copied();
    match failure.downcast_ref::<LoadError>() {
        Some(LoadError { faults }) => faults.iter().for_each(|fault| complain(&format!("error: {fault}"))),
        // The exit stands before the cause in the chain.
        None => {
            let cause = failure.chain().nth(usize::from(exit.is_some()));
            complain(&cause.map_or_else(String::new, |cause| format!("error: {cause}")));
        }
    }
    exit.unwrap_or(Exit::Internal)
}

/// Writes to standard output. A closed pipe (`| head`) is no failure.
fn print_stdout(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(anyhow!("cannot write: {error}")),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Shows on a terminal the number of sessions that are processed.
fn progress() -> impl Fn(usize, usize) {
    let bar = indicatif::ProgressBar::new(0);
    move |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        if done == total {
            bar.finish_and_clear();
        }
    }
}

impl Flags {
    /// Returns the sources of the configuration with these flags: the file that they name, the environment of the
    /// process, and the flags themselves.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let flag = |name, key, text: Option<String>| text.map(|text| Flag { name, key, text });
        let flags = [
            flag("--host", "server.host", self.host.clone()),
            flag("--port", "server.port", self.port.map(|port| port.to_string())),
            flag("--ops-listen", "ops.listen", self.ops_listen.clone()),
            flag("--data-dir", "data.dir", self.data_dir.clone()),
            flag(
                "--log-format",
                "log.format",
                self.log_format.map(|format| format.as_str().to_owned()),
            ),
        ];
        Sources {
            file: self.config.clone(),
            environment: None,
            flags: flags.into_iter().flatten().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    fn parsed(line: &str) -> Cli {
        parse(line).expect(line)
    }

    #[test]
    fn cli_parser_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn cli_command_is_optional() {
        assert_eq!(parsed("talus-hub").command, None);
        assert_eq!(parsed("talus-hub run").command, Some(Command::Run));
        assert_eq!(
            parsed("talus-hub config print").command,
            Some(Command::Config(ConfigCommand::Print))
        );
        assert_eq!(
            parsed("talus-hub config check").command,
            Some(Command::Config(ConfigCommand::Check))
        );
    }

    #[test]
    fn cli_flags_precede_or_follow_the_command() {
        let flags = "--config hub.toml --host ::1 --port 0 --ops-listen [::1]:0 --data-dir /var/hub --log-format json";
        let expected = Flags {
            config: Some("hub.toml".into()),
            host: Some("::1".to_owned()),
            port: Some(0),
            ops_listen: Some("[::1]:0".to_owned()),
            data_dir: Some("/var/hub".to_owned()),
            log_format: Some(LogFormat::Json),
        };
        for line in [
            format!("talus-hub {flags}"),
            format!("talus-hub {flags} run"),
            format!("talus-hub run {flags}"),
            format!("talus-hub config print {flags}"),
        ] {
            assert_eq!(parsed(&line).flags, expected, "{line}");
        }
    }

    #[test]
    fn cli_usage_error_has_documented_exit_code() {
        for (line, kind) in [
            ("talus-hub --port 70000", ErrorKind::ValueValidation),
            ("talus-hub --log-format xml", ErrorKind::InvalidValue),
            ("talus-hub --prot 1", ErrorKind::UnknownArgument),
            ("talus-hub walk", ErrorKind::InvalidSubcommand),
            ("talus-hub config", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.kind(), kind, "{line}");
            assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{line}");
        }
    }

    #[test]
    fn cli_flags_set_the_key_in_their_help() {
        let line = "talus-hub --host 0.0.0.0 --port 1 --ops-listen 127.0.0.1:2 --data-dir elsewhere --log-format text";
        let sources = Sources {
            environment: Some(HashMap::new()),
            ..parsed(line).flags.sources()
        };
        let config = Config::load(&sources).expect("valid flags");
        assert_eq!((config.server.host.as_str(), config.server.port), ("0.0.0.0", 1));
        assert_eq!(config.ops.listen, "127.0.0.1:2");
        assert_eq!(config.data.dir, PathBuf::from("elsewhere"));
        assert_eq!(config.log.format, LogFormat::Text);
        let help = Cli::command().render_help().to_string();
        for flag in sources.flags {
            let named = help
                .lines()
                .any(|l| l.contains(flag.name) && l.contains(&format!("[{}]", flag.key)));
            assert!(named, "{} does not name {} in\n{help}", flag.name, flag.key);
        }
    }

    #[test]
    fn cli_absent_flags_set_no_key() {
        assert_eq!(parsed("talus-hub").flags.sources().flags, []);
    }

    #[test]
    fn cli_help_lists_exit_codes() {
        assert!(Cli::command().render_help().to_string().contains(&Exit::help()));
    }
}
