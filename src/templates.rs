//! Templates on disk: one YAML file each, whose name is the template's id.
//!
//! They are read when they are needed. A template is small, people edit it while the hub runs, and a cache would have
//! to find out when it is stale by looking at the file anyway.

mod yaml;

use std::{
    fs::{self, File},
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
};

use talus_actors::domain::{
    blueprint::{Blueprint, TemplateError},
    ids::TemplateId,
};

/// How large a template may be, in bytes. The largest that we know of has 23 KB; what is larger by far is no template.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The folder of templates. Its functions block: they are for a thread that may wait.
#[derive(Debug, Clone)]
pub struct TemplateStore {
    dir: PathBuf,
}

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
    /// It is not a template.
    #[error("{message}")]
    Invalid {
        /// What is wrong, with line and field.
        message: String,
    },
    /// It cannot be read.
    #[error("the template cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl From<TemplateError> for TemplateLoadError {
    fn from(error: TemplateError) -> Self {
        let message = match error.line {
            Some(line) => format!("line {line}: {error}"),
            None => error.to_string(),
        };
        Self::Invalid { message }
    }
}

impl TemplateStore {
    /// The templates of a folder.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Looks whether the folder and every template in it can be read. What they say is not looked at: one broken
    /// template must not keep the others from being used.
    ///
    /// # Errors
    /// Names the path that cannot be read.
    pub fn check_readable(&self) -> io::Result<()> {
        let named = |path: &std::path::Path, error: io::Error| {
            io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display()))
        };
        for id in self.ids().map_err(|error| named(&self.dir, error))? {
            File::open(self.path(&id)).map_err(|error| named(&self.path(&id), error))?;
        }
        Ok(())
    }

    /// All templates, by id. A broken one is told of with what is wrong.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<TemplateEntry>> {
        let entry = |id| TemplateEntry {
            template: self.load(&id),
            id,
        };
        Ok(self.ids()?.into_iter().map(entry).collect())
    }

    /// Reads a template.
    ///
    /// # Errors
    /// If it is not there, not readable, or not a template.
    pub fn load(&self, id: &TemplateId) -> Result<Arc<Blueprint>, TemplateLoadError> {
        let text = self.read(id)?;
        let document = yaml::parse(&text).map_err(|message| TemplateLoadError::Invalid { message })?;
        Ok(Arc::new(Blueprint::build(id.clone(), document)?))
    }

    fn read(&self, id: &TemplateId) -> Result<String, TemplateLoadError> {
        let file = File::open(self.path(id)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => TemplateLoadError::NotFound,
            _ => TemplateLoadError::Io(error),
        })?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let message = format!("the file is larger than {FILE_BYTES_MAX} bytes");
            return Err(TemplateLoadError::Invalid { message });
        }
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| TemplateLoadError::Invalid {
            message: "the file is not UTF-8".to_owned(),
        })?;
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }

    fn path(&self, id: &TemplateId) -> PathBuf {
        self.dir.join(format!("{id}.yaml"))
    }

    /// The ids of the files there, in order. Files whose name is no id, such as an editor's copies, are none.
    fn ids(&self) -> io::Result<Vec<TemplateId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".yaml"));
            ids.extend(stem.and_then(|stem| stem.parse::<TemplateId>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(files: &[(&str, &str)]) -> (tempfile::TempDir, TemplateStore) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            fs::write(dir.path().join(name), text).expect("writes");
        }
        let store = TemplateStore::new(dir.path().to_owned());
        (dir, store)
    }

    fn id(text: &str) -> TemplateId {
        text.parse().expect(text)
    }

    const SMALL: &str = "name: Small\nversion: 2\nnode_types:\n- id: root\n  label: Root\n";

    #[test]
    fn a_broken_template_is_listed_with_its_fault_and_hides_no_other() {
        let broken = "name: B\nnode_types:\n- id: a\n  label: A\n- id: b\n  properties: []\n";
        let (_dir, store) = store(&[
            ("small.yaml", SMALL),
            ("b.yaml", broken),
            ("x.yaml", ": ["),
            ("notes.txt", ""),
        ]);
        let list = store.list().expect("the folder is readable");
        let told: Vec<_> = list
            .iter()
            .map(|entry| match &entry.template {
                Ok(template) => format!("{} {} {}", entry.id, template.name, template.version),
                Err(error) => format!("{} {}", entry.id, error.to_string().lines().next().unwrap_or_default()),
            })
            .collect();
        assert_eq!(told[0], "b line 5: node_types[1].label: is required");
        assert_eq!(told[1], "small Small 2");
        assert!(told[2].contains("line 1"), "{}", told[2]);
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn a_template_that_changes_is_seen_and_one_with_a_byte_order_mark_is_read() {
        let (dir, store) = store(&[("small.yaml", SMALL)]);
        assert_eq!(&*store.load(&id("small")).expect("a template").name, "Small");
        fs::write(
            dir.path().join("small.yaml"),
            format!("\u{feff}{}", SMALL.replace("Small", "Other")),
        )
        .expect("writes");
        assert_eq!(&*store.load(&id("small")).expect("a template").name, "Other");
        assert!(matches!(store.load(&id("none")), Err(TemplateLoadError::NotFound)));
    }

    #[test]
    fn what_is_far_too_large_is_not_read() {
        let large = "#".repeat(usize::try_from(FILE_BYTES_MAX).expect("fits") + 1);
        let (_dir, store) = store(&[("large.yaml", &large)]);
        assert!(
            store
                .load(&id("large"))
                .expect_err("too large")
                .to_string()
                .contains("larger than")
        );
    }

    #[test]
    fn faults_name_line_and_field() {
        let types = |rest: &str| {
            format!(
                "name: T\nnode_types:\n- id: t\n  label: T\n  properties:\n  - id: p\n    label: P\n    type: text\n{rest}"
            )
        };
        for (text, fault) in [
            ("node_types: []\n".to_owned(), "name: is required"),
            ("name: T\n".to_owned(), "node_types: must have at least one type"),
            (
                types("  - id: p\n    label: Q\n    type: text\n"),
                "line 9: node_types[0].properties[1].id: \"p\" is used twice",
            ),
            (
                types("  - id: q\n    label: Q\n"),
                "line 9: node_types[0].properties[1].type: is required",
            ),
            (
                types("  - {id: q, label: Q, type: date, value: soon}\n"),
                "line 9: node_types[0].properties[1].value: must be a date as YYYY-MM-DD, or an empty string",
            ),
            (
                types("  - {id: q, label: Q, type: select, options: [A, {name: A}]}\n"),
                "line 9: node_types[0].properties[1].options[1].name: \"A\" is used twice",
            ),
            (
                types("  uuid: nonsense\n"),
                "line 3: node_types[0].uuid: \"nonsense\" is not a UUID",
            ),
            (
                types("- {id: t, label: U}\n"),
                "line 9: node_types[1].id: \"t\" is used twice",
            ),
        ] {
            let (_dir, store) = store(&[("t.yaml", &text)]);
            assert_eq!(store.load(&id("t")).expect_err(fault).to_string(), fault, "{text}");
        }
        let (_dir, store) = store(&[("t.yaml", "name: T\nnode_types:\n- id: [1]\n")]);
        let message = store.load(&id("t")).expect_err("a list is no id").to_string();
        assert!(message.contains("line 3") && message.contains("id"), "{message}");
    }

    #[test]
    fn our_own_templates_and_the_predecessors_load() {
        let own = TemplateStore::new(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/config/templates")));
        let ids: Vec<_> = own
            .list()
            .expect("they ship")
            .into_iter()
            .map(|entry| (entry.id.to_string(), entry.template.is_ok()))
            .collect();
        assert_eq!(ids.len(), 3);
        assert!(ids.iter().all(|(_, loads)| *loads), "{ids:?}");
        let real = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/templates"));
        if real.is_dir() {
            for TemplateEntry { id, template } in TemplateStore::new(real).list().expect("readable") {
                let loads = template.map(drop).map_err(|error| error.to_string());
                assert_eq!(loads.is_ok(), id.as_str() != "broken_template", "{id}: {loads:?}");
            }
        }
    }
}
