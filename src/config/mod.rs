//! The configuration: every key that an operator can set.
//!
//! The layers, in ascending priority, are merged key by key:
//!
//! ```text
//! config/default.toml < --config FILE < TALUS_HUB_SECTION__KEY < --host --port --ops-listen --data-dir --log-format
//! ```
//!
//! Loading is strict, because a key that is silently ignored causes a failure later. An unknown key, a value of a wrong
//! type or a value out of range is a [`Fault`] that names the key, the value, the source and the allowed values. A
//! fault counts in every layer, even if a higher layer overrides the value. All faults are reported at once.
//!
//! Loading reads the file and the environment and changes no state. The parts that use a directory check that it
//! exists.

mod fault;
mod layers;
mod log_filter;
mod network;
mod origin;
mod print;
mod rules;
mod schema;
mod sections;
mod setting;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use fault::{Fault, LoadError};
pub use layers::{Flag, Sources};
pub use log_filter::{FilterError, log_filter};
pub use sections::{
    Cors, Data, Limits, Log, LogFormat, Ops, Projects, Realtime, Rest, Server, Sessions, Storage, Templates,
};

/// Defaults, and the operator's reference for every key.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// Prefix of every environment variable of the hub. An underscore follows.
pub const ENVIRONMENT_PREFIX: &str = "TALUS_HUB";

/// A complete configuration. [`Config::default`] is the embedded configuration, without file, environment or flags.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// HTTP server.
    pub server: Server,
    /// Storage of the log.
    pub data: Data,
    /// Saved project files.
    pub projects: Projects,
    /// Blueprints of projects.
    pub templates: Templates,
    /// Web pages that may use the hub.
    pub cors: Cors,
    /// REST API.
    pub rest: Rest,
    /// Socket.IO.
    pub realtime: Realtime,
    /// Limits on the demands of one client or one session.
    pub limits: Limits,
    /// Lifecycle of a session's actor.
    pub sessions: Sessions,
    /// Level and format of log lines.
    pub log: Log,
    /// Interface for operators.
    pub ops: Ops,
}

impl Config {
    /// Reads and merges all layers.
    ///
    /// # Errors
    ///
    /// Returns every fault of every layer. If each layer is valid on its own, returns every contradiction in the
    /// result.
    pub fn load(sources: &Sources) -> Result<Self, LoadError> {
        let config: Self = layers::merge(sources)?
            .try_deserialize()
            .map_err(|error| Fault::Unfit {
                reason: error.to_string(),
            })?;
        let faults = rules::contradictions(&config);
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(LoadError { faults })
        }
    }

    /// Prints the whole configuration as TOML with the comments of the defaults. The text is a valid configuration
    /// file.
    ///
    /// # Errors
    ///
    /// Returns an error if code has set a value that TOML cannot hold, such as a number beyond 63 bits. A loaded
    /// configuration has no such value.
    pub fn to_toml(&self) -> Result<String, toml_edit::ser::Error> {
        print::to_toml(self)
    }

    /// Directory of project files: `projects.dir`, relative to `data.dir` unless absolute.
    #[must_use]
    pub fn projects_dir(&self) -> PathBuf {
        self.data.dir.join(&self.projects.dir)
    }
}

impl Default for Config {
    fn default() -> Self {
        let nothing_else = Sources {
            environment: Some(std::collections::HashMap::new()),
            ..Sources::default()
        };
        Self::load(&nothing_else).expect("the embedded defaults are valid")
    }
}
