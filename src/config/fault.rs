//! Faults of a configuration. The text of each is one line that names the key, the value and the allowed values.

use std::path::PathBuf;

use thiserror::Error;

/// Error of a configuration that cannot be used. Carries every fault that was found, not only the first.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", lines(faults))]
pub struct LoadError {
    /// Faults in the order of the layers; at least one.
    pub faults: Vec<Fault>,
}

impl From<Fault> for LoadError {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

fn lines(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    lines.join("\n")
}

/// Fault of a configuration. Its text is one line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// The file given by `--config` cannot be read.
    #[error("cannot read the configuration file {path:?}: {reason}")]
    Unreadable {
        /// Path of the file, as given.
        path: PathBuf,
        /// Error of the system.
        reason: String,
    },
    /// The file given by `--config` is not TOML.
    #[error("{path:?} is not valid TOML: {reason}")]
    Syntax {
        /// Path of the file, as given.
        path: PathBuf,
        /// Position and reason of the parse error.
        reason: String,
    },
    /// The environment cannot be read, for example because a value is not Unicode.
    #[error("cannot read the environment: {reason}")]
    Environment {
        /// Name of the variable, and the reason.
        reason: String,
    },
    /// The key does not exist; most often it is misspelt.
    #[error("unknown key `{key}` ({source_name}): {known}")]
    UnknownKey {
        /// Key with its section, as in `server.prot`.
        key: String,
        /// File, variable or flag that sets the key.
        source_name: String,
        /// Keys or sections that exist.
        known: String,
    },
    /// The value has the wrong type or is outside its range.
    #[error("`{key}` = {value} ({source_name}): {allowed}")]
    BadValue {
        /// Key with its section.
        key: String,
        /// Value in the notation of a file.
        value: String,
        /// File, variable or flag that sets the value.
        source_name: String,
        /// Allowed values.
        allowed: String,
    },
    /// Two values, each allowed on its own, contradict each other.
    #[error("`{key}` = {value}: must be at most `{other_key}` = {other_value}")]
    Contradiction {
        /// Key whose value is too large.
        key: &'static str,
        /// Value of `key`.
        value: u64,
        /// Key whose value is the upper bound.
        other_key: &'static str,
        /// Value of `other_key`.
        other_value: u64,
    },
    /// Each layer is valid on its own, but the result does not fit this machine (for example a size beyond its word
    /// size).
    #[error("the configuration cannot be used: {reason}")]
    Unfit {
        /// Key, and the reason.
        reason: String,
    },
}
