//! Keys and their types, taken from the embedded defaults: a key exists if it has a default.

use std::collections::BTreeMap;

use ::config::{File, FileFormat, Source, ValueKind};

use super::fault::Fault;
use super::rules;
use super::setting::{Setting, describe};
use super::{DEFAULT_TOML, ENVIRONMENT_PREFIX};

/// Defaults by section and name.
#[derive(Debug)]
pub(super) struct Schema {
    sections: BTreeMap<String, BTreeMap<String, Setting>>,
}

impl Schema {
    /// Builds the schema from the embedded defaults.
    pub(super) fn of_defaults() -> Self {
        let defaults = File::from_str(DEFAULT_TOML, FileFormat::Toml)
            .collect()
            .expect("the embedded defaults are TOML");
        let sections = defaults
            .into_iter()
            .map(|(section, value)| (section, settings(&value.kind)))
            .collect();
        Self { sections }
    }

    pub(super) fn has_section(&self, section: &str) -> bool {
        self.sections.contains_key(section)
    }

    /// Returns every default with its dotted key.
    #[cfg(test)]
    pub(super) fn entries(&self) -> impl Iterator<Item = (String, &Setting)> {
        self.sections.iter().flat_map(|(section, keys)| {
            keys.iter()
                .map(move |(name, default)| (format!("{section}.{name}"), default))
        })
    }

    /// Checks the value of `key` from a file: the key exists, and the value has its type and is in its range.
    pub(super) fn accept(&self, key: &str, kind: &ValueKind, source_name: &str) -> Result<Setting, Fault> {
        let default = self.default_of(key, &describe(kind), source_name)?;
        match Setting::from_kind(kind) {
            Some(setting) if setting.has_same_type(default) => checked(key, setting, source_name),
            _ => Err(bad_value(
                key,
                describe(kind),
                source_name,
                format!("must be {}", default.kind()),
            )),
        }
    }

    /// Parses the value of `key` from a variable or flag: the key exists, and `text` parses as its type and is in its
    /// range.
    pub(super) fn read(&self, key: &str, text: &str, source_name: &str) -> Result<Setting, Fault> {
        let default = self.default_of(key, &format!("{text:?}"), source_name)?;
        match default.parse_like(text) {
            Some(setting) => checked(key, setting, source_name),
            None => Err(bad_value(
                key,
                format!("{text:?}"),
                source_name,
                format!("must be {}", default.kind()),
            )),
        }
    }

    fn default_of(&self, key: &str, value: &str, source_name: &str) -> Result<&Setting, Fault> {
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        match self.sections.get(section) {
            Some(_) if name.is_empty() => Err(bad_value(
                key,
                value.to_owned(),
                source_name,
                "is a section, not a key".to_owned(),
            )),
            Some(keys) => keys
                .get(name)
                .ok_or_else(|| unknown(key, source_name, format!("[{section}] has {}", list(keys)))),
            None => Err(unknown(key, source_name, self.about_sections(source_name))),
        }
    }

    fn about_sections(&self, source_name: &str) -> String {
        let sections = format!("the sections are {}", list(&self.sections));
        if source_name.starts_with(ENVIRONMENT_PREFIX) {
            return format!("{sections}; two underscores stand between section and key");
        }
        sections
    }
}

fn settings(section: &ValueKind) -> BTreeMap<String, Setting> {
    let ValueKind::Table(keys) = section else {
        return BTreeMap::new();
    };
    keys.iter()
        .filter_map(|(name, value)| Some((name.clone(), Setting::from_kind(&value.kind)?)))
        .collect()
}

fn checked(key: &str, setting: Setting, source_name: &str) -> Result<Setting, Fault> {
    match rules::check(key, &setting) {
        Ok(()) => Ok(setting),
        Err(allowed) => Err(bad_value(key, setting.to_string(), source_name, allowed)),
    }
}

fn list<T>(names: &BTreeMap<String, T>) -> String {
    names.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn unknown(key: &str, source_name: &str, known: String) -> Fault {
    Fault::UnknownKey {
        key: key.escape_debug().to_string(),
        source_name: source_name.to_owned(),
        known,
    }
}

fn bad_value(key: &str, value: String, source_name: &str, allowed: String) -> Fault {
    Fault::BadValue {
        key: key.to_owned(),
        value,
        source_name: source_name.to_owned(),
        allowed,
    }
}
