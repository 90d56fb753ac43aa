//! The configuration: what an operator can set, and nothing that he cannot.
//!
//! Four layers, each winning over the one before, key by key:
//!
//! ```text
//! config/default.toml < --config FILE < TALUS_HUB_SECTION__KEY < --host --port --ops-listen --data-dir --log-format
//! ```
//!
//! Strict, because a key that is silently ignored is an outage later: an unknown key, a value of a wrong kind or out of
//! range is a [`Fault`] that names key, value, place and what is allowed, in whichever layer it stands and even if a
//! higher layer would hide it. All faults are reported at once.
//!
//! Loading reads the file and the environment and changes nothing; whether directories exist is for others to find out.

mod fault;
mod layers;
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
pub use sections::{
    Cors, Data, Limits, Log, LogFormat, Ops, Projects, Realtime, Rest, Server, Sessions, Storage, Templates,
};

/// The defaults, and the operator's reference for every key.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// Every environment variable of ours begins with this and an underscore.
pub const ENVIRONMENT_PREFIX: &str = "TALUS_HUB";

/// A complete configuration. [`Config::default`] is the embedded one, without file, environment or flags.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The HTTP server.
    pub server: Server,
    /// Where the log is.
    pub data: Data,
    /// Saved project files.
    pub projects: Projects,
    /// The blueprints of projects.
    pub templates: Templates,
    /// Which web pages may use the hub.
    pub cors: Cors,
    /// The REST API.
    pub rest: Rest,
    /// Socket.IO.
    pub realtime: Realtime,
    /// What one client or one session may ask of the hub.
    pub limits: Limits,
    /// The life of a session's actor.
    pub sessions: Sessions,
    /// What is logged, and how.
    pub log: Log,
    /// What operators see and do.
    pub ops: Ops,
}

impl Config {
    /// Reads and merges all layers.
    ///
    /// # Errors
    ///
    /// Every fault of every layer; or, if each layer is valid by itself, every contradiction in the result.
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

    /// The whole configuration as TOML with the comments of the defaults: itself a valid configuration file.
    ///
    /// # Errors
    ///
    /// If a value was set in code that TOML cannot hold, such as a number beyond 63 bits; a loaded one has none.
    pub fn to_toml(&self) -> Result<String, toml_edit::ser::Error> {
        print::to_toml(self)
    }

    /// The directory of project files: `projects.dir`, which starts at `data.dir` unless it is absolute.
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
