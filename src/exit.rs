//! Exit codes of the process: one code per cause, so that a supervisor or a script can tell the causes apart.

use std::fmt::{self, Write as _};
use std::process::ExitCode;

/// Cause of the end of the process. The numbers are part of the public interface and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded.
    Ok = 0,
    /// A bug, or a fault outside the hub that no other code names. The log names the cause.
    Internal = 1,
    /// The command line is wrong. The argument parser exits with this code on its own.
    Usage = 2,
    /// The configuration is wrong. Correct the configuration, then start again.
    Configuration = 3,
    /// The address cannot be listened on; most often the port is in use.
    CannotListen = 4,
    /// The templates directory cannot be read.
    TemplatesUnreadable = 5,
    /// The data directory cannot be used: not writable, corrupt, or used by another hub.
    DataDirectoryUnusable = 6,
    /// The shutdown did not finish within `server.shutdown_grace_ms`. Acknowledged commands are on disk.
    ShutdownOverran = 7,
    /// The disk failed while the hub ran. Acknowledged commands are on disk. Start again after the disk is repaired.
    StorageFailed = 8,
}

impl Exit {
    /// All exits, in the order of their codes.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Internal,
        Self::Usage,
        Self::Configuration,
        Self::CannotListen,
        Self::TemplatesUnreadable,
        Self::DataDirectoryUnusable,
        Self::ShutdownOverran,
        Self::StorageFailed,
    ];

    /// Returns the number with which the process ends.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Returns the meaning of the code in a few words, for the help of the command line.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Internal => "internal error",
            Self::Usage => "wrong command line",
            Self::Configuration => "wrong configuration",
            Self::CannotListen => "cannot listen (port in use)",
            Self::TemplatesUnreadable => "templates unreadable",
            Self::DataDirectoryUnusable => "data directory unusable",
            Self::ShutdownOverran => "shutdown did not finish within its grace",
            Self::StorageFailed => "the disk failed",
        }
    }

    /// Returns the table of all codes, for the help of the command line.
    #[must_use]
    pub fn help() -> String {
        let mut help = String::from("Exit codes:");
        for exit in Self::ALL {
            // Writing to a String cannot fail.
            let _ = write!(help, "\n  {}  {}", exit.code(), exit.meaning());
        }
        help
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.meaning())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_numbers() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Exit::Usage.code(), 2, "the argument parser's own exit code");
    }

    #[test]
    fn exit_help_lists_every_code() {
        let help = Exit::help();
        for exit in Exit::ALL {
            let line = format!("  {}  {}", exit.code(), exit.meaning());
            assert!(help.lines().any(|l| l == line), "{line:?} is missing in {help}");
        }
    }
}
