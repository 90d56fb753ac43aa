//! Templates: one YAML file each, whose name is the template's id, and those that the binary has with it.
//!
//! They are read when they are needed. A template is small, people edit it while the hub runs, and a cache would have
//! to find out when it is stale by looking at the file anyway.

mod built_in;
mod tree;
mod yaml;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use talus_actors::domain::{
    blueprint::{Blueprint, TemplateError},
    ids::TemplateId,
};

use crate::files::{ReadFileError, read_regular};

/// Endings of a template's file. If an id has both, the first is read.
const ENDINGS: [&str; 2] = ["yaml", "yml"];

/// How templates are found, and how much of them is read.
#[derive(Debug, Clone)]
pub struct TemplateSettings {
    /// The directory of the files.
    pub dir: PathBuf,
    /// Whether those of the binary are there too, unless the directory has one of the same id. Then the directory may be
    /// missing.
    pub built_in: bool,
    /// The largest file that is read, in bytes.
    pub file_bytes_max: u64,
    /// Files that are listed, at most.
    pub files_max: usize,
}

/// The templates that there are. Its functions block: they are for a thread that may wait.
#[derive(Debug, Clone)]
pub struct TemplateStore(TemplateSettings);

/// A template in a list, or why it cannot be used.
#[derive(Debug)]
pub struct TemplateEntry {
    /// Its id.
    pub id: TemplateId,
    /// What it says.
    pub template: Result<Arc<Blueprint>, TemplateLoadError>,
}

/// Why a template cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TemplateLoadError {
    /// There is no such file.
    #[error("the template does not exist")]
    NotFound,
    /// It is not a template, or not one that can be read.
    #[error("{message}")]
    Invalid {
        /// What is wrong, with line and field.
        message: String,
    },
}

impl TemplateLoadError {
    fn invalid(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Invalid { message }
    }
}

impl From<TemplateError> for TemplateLoadError {
    fn from(error: TemplateError) -> Self {
        Self::invalid(match error.line {
            Some(line) => format!("line {line}: {error}"),
            None => error.to_string(),
        })
    }
}

/// The ids of the files of a directory.
#[derive(Default)]
struct Listing {
    /// In order, as many as are listed.
    ids: BTreeSet<TemplateId>,
    /// Files beyond the limit.
    left_out: usize,
    /// Files with the ending of a template and a name that is no id.
    unnamed: Vec<String>,
}

impl TemplateStore {
    /// The templates of a directory and no others.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self(TemplateSettings {
            dir,
            built_in: false,
            file_bytes_max: 1024 * 1024,
            files_max: 1_000,
        })
    }

    /// The templates as they are set up.
    #[must_use]
    pub const fn with_settings(settings: TemplateSettings) -> Self {
        Self(settings)
    }

    /// Looks at everything that is there, and writes a line to the log about each file that cannot be used. None of them
    /// keeps the others from being used.
    ///
    /// # Errors
    /// Names the directory if it cannot be read.
    pub fn inspect(&self) -> io::Result<()> {
        let dir = self.0.dir.display();
        let listing = self
            .listing()
            .map_err(|error| io::Error::new(error.kind(), format!("{dir} cannot be read: {error}")))?;
        for name in &listing.unnamed {
            tracing::warn!(dir = %dir, file = ?name, "a file is passed over: its name is no template id");
        }
        if listing.left_out > 0 {
            tracing::warn!(dir = %dir, left_out = listing.left_out, max = self.0.files_max,
                "templates are not listed: there are more than templates.files_max");
        }
        for id in &listing.ids {
            if ENDINGS.iter().all(|ending| self.path(id, ending).exists()) {
                tracing::warn!(template_id = %id, "there are two files of one template: the one that ends in .yaml is read");
            }
        }
        for TemplateEntry { id, template } in self.entries(listing) {
            if let Err(error) = template {
                tracing::warn!(template_id = %id, %error, "a template cannot be used");
            }
        }
        Ok(())
    }

    /// All templates, by id. A broken one is told of with what is wrong.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<TemplateEntry>> {
        Ok(self.entries(self.listing()?))
    }

    fn entries(&self, listing: Listing) -> Vec<TemplateEntry> {
        let mut ids = listing.ids;
        if self.0.built_in {
            ids.extend(built_in::ids());
        }
        let entry = |id| TemplateEntry {
            template: self.load(&id),
            id,
        };
        ids.into_iter().map(entry).collect()
    }

    /// Reads a template: the directory's, else the binary's.
    ///
    /// # Errors
    /// If it is not there, not readable, or not a template.
    pub fn load(&self, id: &TemplateId) -> Result<Arc<Blueprint>, TemplateLoadError> {
        let text = match self.read(id)? {
            Some(text) => text.into(),
            None if self.0.built_in => built_in::text(id).ok_or(TemplateLoadError::NotFound)?.into(),
            None => return Err(TemplateLoadError::NotFound),
        };
        let text: std::borrow::Cow<'static, str> = text;
        read_template(id, &text).map(Arc::new)
    }

    /// The text of a template's file; `None` if it has none.
    fn read(&self, id: &TemplateId) -> Result<Option<String>, TemplateLoadError> {
        for ending in ENDINGS {
            match read_regular(&self.path(id, ending), self.0.file_bytes_max) {
                Ok(bytes) => {
                    let text = String::from_utf8(bytes);
                    let text = text.map_err(|_| TemplateLoadError::invalid("the file is not UTF-8"))?;
                    return Ok(Some(text));
                }
                Err(ReadFileError::NotFound) => {}
                Err(error) => return Err(TemplateLoadError::invalid(error.to_string())),
            }
        }
        Ok(None)
    }

    fn path(&self, id: &TemplateId, ending: &str) -> PathBuf {
        self.0.dir.join(format!("{id}.{ending}"))
    }

    /// The files there. Files with another ending are none, such as an editor's copies.
    fn listing(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        let entries = match fs::read_dir(&self.0.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.0.built_in => return Ok(listing),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let path = Path::new(&name);
            let is_template = path
                .extension()
                .is_some_and(|own| ENDINGS.iter().any(|ending| own == *ending));
            if !is_template {
                continue;
            }
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(id) = stem.and_then(|stem| stem.parse::<TemplateId>().ok()) else {
                listing.unnamed.push(name.to_string_lossy().into_owned());
                listing.unnamed.truncate(self.0.files_max);
                continue;
            };
            listing.ids.insert(id);
            if listing.ids.len() > self.0.files_max {
                listing.ids.pop_last();
                listing.left_out += 1;
            }
        }
        Ok(listing)
    }
}

/// Reads the text of a template's file.
///
/// # Errors
/// If it is not a template, with what is wrong.
pub fn read_template(id: &TemplateId, text: &str) -> Result<Blueprint, TemplateLoadError> {
    let document = yaml::parse(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    Ok(Blueprint::build(id.clone(), document)?)
}

#[cfg(test)]
mod tests;
