//! Layers above the defaults. Each layer is checked before the layers are merged, so that a fault names the file,
//! variable or flag that sets the value.
//!
//! The `config` crate collects (TOML, environment) and merges. [`Layer`] stands between the two steps, because the
//! crate alone converts values of a wrong type silently and does not record the variable of a value.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use ::config::{ConfigError, Environment, File, FileFormat, Source, Value, ValueKind};

use super::fault::{Fault, LoadError};
use super::schema::Schema;
use super::setting::Setting;
use super::{DEFAULT_TOML, ENVIRONMENT_PREFIX};

/// Sources of a configuration. The default reads the environment of the process only.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// File given by `--config`. `None`: no file is read.
    pub file: Option<PathBuf>,
    /// Variables by name. `None`: the environment of the process.
    pub environment: Option<HashMap<String, String>>,
    /// Keys set by the command line.
    pub flags: Vec<Flag>,
}

/// Key set by a flag of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Name of the flag, such as `--port`.
    pub name: &'static str,
    /// Key that the flag sets, such as `server.port`.
    pub key: &'static str,
    /// Value as typed.
    pub text: String,
}

/// Merges the defaults with all layers of `sources`.
pub(super) fn merge(sources: &Sources) -> Result<::config::Config, LoadError> {
    let schema = Schema::of_defaults();
    let layers = [
        sources
            .file
            .as_deref()
            .map_or_else(Layer::default, |path| Layer::of_file(path, &schema)),
        Layer::of_environment(sources.environment.clone(), &schema),
        Layer::of_flags(&sources.flags, &schema),
    ];
    let faults: Vec<Fault> = layers.iter().flat_map(|layer| layer.faults.clone()).collect();
    if !faults.is_empty() {
        return Err(LoadError { faults });
    }
    let mut builder = ::config::Config::builder().add_source(File::from_str(DEFAULT_TOML, FileFormat::Toml));
    for layer in layers {
        builder = builder.add_source(layer);
    }
    builder.build().map_err(|error| {
        Fault::Unfit {
            reason: error.to_string(),
        }
        .into()
    })
}

/// Values that one source sets, by their dotted key and within their type and range, and the faults of the source.
#[derive(Debug, Clone, Default)]
struct Layer {
    values: BTreeMap<String, Value>,
    faults: Vec<Fault>,
}

impl Layer {
    fn of_file(path: &Path, schema: &Schema) -> Self {
        let mut layer = Self::default();
        match read_toml(path) {
            Ok(sections) => {
                for (section, value) in sections {
                    layer.set_section(&section, value, &path.display().to_string(), schema);
                }
            }
            Err(fault) => layer.faults.push(fault),
        }
        layer
    }

    fn of_environment(variables: Option<HashMap<String, String>>, schema: &Schema) -> Self {
        let mut layer = Self::default();
        let environment = Environment::with_prefix(ENVIRONMENT_PREFIX)
            .prefix_separator("_")
            .separator("__")
            .source(variables);
        match environment.collect() {
            // Sorted by key: the environment has no order, and the order of the faults must be stable.
            Ok(variables) => {
                for (key, value) in variables.into_iter().collect::<BTreeMap<_, _>>() {
                    let name = format!("{ENVIRONMENT_PREFIX}_{}", key.to_uppercase().replace('.', "__"));
                    layer.set(&key, schema.read(&key, &value.kind.to_string(), &name), &name);
                }
            }
            Err(error) => layer.faults.push(Fault::Environment {
                reason: error.to_string(),
            }),
        }
        layer
    }

    fn of_flags(flags: &[Flag], schema: &Schema) -> Self {
        let mut layer = Self::default();
        for flag in flags {
            layer.set(flag.key, schema.read(flag.key, &flag.text, flag.name), flag.name);
        }
        layer
    }

    fn set_section(&mut self, section: &str, value: Value, source_name: &str, schema: &Schema) {
        match value.kind {
            ValueKind::Table(keys) if schema.has_section(section) => {
                for (name, value) in keys.into_iter().collect::<BTreeMap<_, _>>() {
                    let key = format!("{section}.{name}");
                    self.set(&key, schema.accept(&key, &value.kind, source_name), source_name);
                }
            }
            kind => self.set(section, schema.accept(section, &kind, source_name), source_name),
        }
    }

    fn set(&mut self, key: &str, setting: Result<Setting, Fault>, source_name: &str) {
        match setting {
            Ok(setting) => {
                self.values.insert(key.to_owned(), setting.into_value(source_name));
            }
            Err(fault) => self.faults.push(fault),
        }
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<::config::Map<String, Value>, ConfigError> {
        Ok(self.values.clone().into_iter().collect())
    }
}

/// Reads exactly `path`. The file source of the crate would also try the name with other extensions.
fn read_toml(path: &Path) -> Result<BTreeMap<String, Value>, Fault> {
    let text = std::fs::read_to_string(path).map_err(|error| Fault::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    match File::from_str(&text, FileFormat::Toml).collect() {
        Ok(sections) => Ok(sections.into_iter().collect()),
        Err(error) => Err(Fault::Syntax {
            path: path.to_owned(),
            reason: on_one_line(&error.to_string()),
        }),
    }
}

/// Formats a parse error as one line: position and reason, without the excerpt of the file (lines 2 to 4) in between.
fn on_one_line(error: &str) -> String {
    let lines: Vec<&str> = error
        .lines()
        .enumerate()
        .filter(|(i, _)| !(1..=3).contains(i))
        .map(|(_, line)| line.trim())
        .collect();
    lines.join(": ")
}
