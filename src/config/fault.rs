//! What can be wrong with a configuration: one line each, naming the key, the value and what is allowed.

use std::path::PathBuf;

use thiserror::Error;

/// The configuration cannot be used. Carries every fault that was found, not only the first.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", lines(faults))]
pub struct LoadError {
    /// At least one.
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

/// One thing that is wrong. Its text is one line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// The file given by `--config` cannot be read.
    #[error("cannot read the configuration file {path:?}: {reason}")]
    Unreadable {
        /// The file as given.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file given by `--config` is not TOML.
    #[error("{path:?} is not valid TOML: {reason}")]
    Syntax {
        /// The file as given.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// The environment cannot be read, for example because a value is not Unicode.
    #[error("cannot read the environment: {reason}")]
    Environment {
        /// Which variable, and why.
        reason: String,
    },
    /// There is no such key; most often it is misspelt.
    #[error("unknown key `{key}` ({origin}): {known}")]
    UnknownKey {
        /// The key with its section, as in `server.prot`.
        key: String,
        /// The file, variable or flag it is from.
        origin: String,
        /// The keys there are.
        known: String,
    },
    /// The value is of a wrong kind or outside its range.
    #[error("`{key}` = {value} ({origin}): {allowed}")]
    BadValue {
        /// The key with its section.
        key: String,
        /// The value as it would stand in a file.
        value: String,
        /// The file, variable or flag it is from.
        origin: String,
        /// What is allowed.
        allowed: String,
    },
    /// Two values, each allowed by itself, contradict each other.
    #[error("`{key}` = {value}: must be at most `{other_key}` = {other_value}")]
    Contradiction {
        /// The key that is too large.
        key: &'static str,
        /// Its value.
        value: u64,
        /// The key that bounds it.
        other_key: &'static str,
        /// Its value.
        other_value: u64,
    },
    /// Every layer is valid by itself but the result does not fit this machine (such as a size beyond its word).
    #[error("the configuration cannot be used: {reason}")]
    Unfit {
        /// The key, and why.
        reason: String,
    },
}
