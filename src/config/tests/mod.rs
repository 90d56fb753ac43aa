//! Tests of the configuration. Every test has its own file, environment and flags; no test reads the environment of the
//! process.

mod defaults;
mod keys;
mod layers;
mod values;

use std::collections::HashMap;
use std::io::Write as _;

use super::{Config, ENVIRONMENT_PREFIX, Flag, LoadError, Sources};

/// Sources of one test.
#[derive(Default)]
struct Given {
    file: Option<tempfile::NamedTempFile>,
    environment: HashMap<String, String>,
    flags: Vec<Flag>,
}

impl Given {
    fn file(mut self, text: &str) -> Self {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes())
            .expect("the temporary file can be written");
        self.file = Some(file);
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, name: &'static str, key: &'static str, text: &str) -> Self {
        self.flags.push(Flag {
            name,
            key,
            text: text.to_owned(),
        });
        self
    }

    fn load(&self) -> Result<Config, LoadError> {
        Config::load(&Sources {
            file: self.file.as_ref().map(|file| file.path().to_owned()),
            environment: Some(self.environment.clone()),
            flags: self.flags.clone(),
        })
    }

    fn loaded(&self) -> Config {
        self.load().expect("a valid configuration")
    }

    /// Returns the text of the only fault, with the path of the temporary file replaced by `FILE`.
    fn fault(&self) -> String {
        let faults = self.faults();
        assert_eq!(faults.len(), 1, "{faults:#?}");
        faults.concat()
    }

    fn faults(&self) -> Vec<String> {
        let error = self.load().expect_err("an invalid configuration");
        let path = self
            .file
            .as_ref()
            .map_or("FILE".into(), |file| file.path().display().to_string());
        error
            .faults
            .iter()
            .map(|fault| fault.to_string().replace(&path, "FILE"))
            .collect()
    }
}

fn given() -> Given {
    Given::default()
}

/// Returns the name of the variable that sets `key`.
fn variable_of(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}_{}", key.to_uppercase().replace('.', "__"))
}
