//! Projects: the use cases, and the project files. Every format of projects is imported, one is exported.

mod export;
mod import;
mod json;
mod service;
mod store;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use export::{ProjectDocument, project_file};
pub use import::{ImportError, Imported, Orphan, Strictness, import, template_in_force};
pub use json::{JsonError, parse_document};
pub use service::{
    CreatedProject, GraphToLoad, ListedProject, LoadedGraph, NewProject, OpenedProject, ProjectContent, ProjectError,
    ProjectPage, ProjectService, ReadProject, SavedProject,
};
pub use store::{ProjectStore, ReadError, WriteError};
pub use vocabulary::{Vocabulary, vocabulary};
