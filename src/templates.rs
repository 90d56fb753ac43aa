//! Templates: one YAML file each, named after the template's id, and the templates built into the binary.
//!
//! A template is read when it is needed. A template is small and people edit it while the hub runs. A cache would have
//! to check the file for changes on each use anyway.

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

/// Extensions of a template's file. If an id has files with both, the first extension is read.
const ENDINGS: [&str; 2] = ["yaml", "yml"];

/// Settings of a template store.
#[derive(Debug, Clone)]
pub struct TemplateSettings {
    /// Directory of the files.
    pub dir: PathBuf,
    /// True: the built-in templates are used for ids without a file in the directory, and the directory may be missing.
    pub built_in: bool,
    /// Maximum size of a file that is read, in bytes.
    pub file_bytes_max: u64,
    /// Maximum number of files that are listed.
    pub files_max: usize,
}

/// Store of all templates. Its functions block, so they run on a blocking thread.
#[derive(Debug, Clone)]
pub struct TemplateStore(TemplateSettings);

/// Entry of a list: a template, or the reason why the template cannot be used.
#[derive(Debug)]
pub struct TemplateEntry {
    /// Id of the template.
    pub id: TemplateId,
    /// Content of the template, or its fault.
    pub template: Result<Arc<Blueprint>, TemplateLoadError>,
}

/// Reason why a template cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TemplateLoadError {
    /// No file and no built-in template has the id.
    #[error("the template does not exist")]
    NotFound,
    /// The file is not a template, or cannot be read.
    #[error("{message}")]
    Invalid {
        /// Fault with its line and field.
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

/// Ids of the files of a directory.
#[derive(Default)]
struct Listing {
    /// Ids in ascending order, at most `files_max`.
    ids: BTreeSet<TemplateId>,
    /// Number of files beyond the limit.
    left_out: usize,
    /// Files with the extension of a template whose name is not an id.
    unnamed: Vec<String>,
}

impl TemplateStore {
    /// Creates a store of the templates of a directory, without built-in templates.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self(TemplateSettings {
            dir,
            built_in: false,
            file_bytes_max: 1024 * 1024,
            files_max: 1_000,
        })
    }

    /// Creates a store with the given settings.
    #[must_use]
    pub const fn with_settings(settings: TemplateSettings) -> Self {
        Self(settings)
    }

    /// Checks all templates, and logs a line for each file that cannot be used. A broken file does not affect other
    /// files.
    ///
    /// # Errors
    /// Returns an error that names the directory if the directory cannot be read.
    pub fn inspect(&self) -> io::Result<()> {
        let dir = self.0.dir.display();
        let listing = self
            .listing()
            .map_err(|error| io::Error::new(error.kind(), format!("{dir} cannot be read: {error}")))?;
        for name in &listing.unnamed {
            tracing::warn!(dir = %dir, file = ?name, "a file is skipped: its name is not a template id");
        }
        if listing.left_out > 0 {
            tracing::warn!(dir = %dir, left_out = listing.left_out, max = self.0.files_max,
                "templates beyond templates.files_max are not listed");
        }
        for id in &listing.ids {
            if ENDINGS.iter().all(|ending| self.path(id, ending).exists()) {
                tracing::warn!(template_id = %id, "a template has two files; the .yaml file is read");
            }
        }
        for TemplateEntry { id, template } in self.entries(listing) {
            if let Err(error) = template {
                tracing::warn!(template_id = %id, %error, "a template cannot be used");
            }
        }
        Ok(())
    }

    /// Lists all templates by id. A broken template is listed with its fault.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be read.
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

    /// Loads a template from the directory, or else from the binary.
    ///
    /// # Errors
    /// Returns an error if the template does not exist, cannot be read, or is not a template.
    pub fn load(&self, id: &TemplateId) -> Result<Arc<Blueprint>, TemplateLoadError> {
        let text = match self.read(id)? {
            Some(text) => text.into(),
            None if self.0.built_in => built_in::text(id).ok_or(TemplateLoadError::NotFound)?.into(),
            None => return Err(TemplateLoadError::NotFound),
        };
        let text: std::borrow::Cow<'static, str> = text;
        read_template(id, &text).map(Arc::new)
    }

    /// Reads the text of a template's file; `None`: no file has the id.
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

    /// Lists the template files of the directory. Files with another extension (such as an editor's backup) are
    /// skipped.
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

/// Parses the text of a template's file.
///
/// # Errors
/// Returns the fault with its line and field if the text is not a template.
pub fn read_template(id: &TemplateId, text: &str) -> Result<Blueprint, TemplateLoadError> {
    let document = yaml::parse(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    Ok(Blueprint::build(id.clone(), document)?)
}

#[cfg(test)]
mod tests;
