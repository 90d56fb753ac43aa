//! Project files: imports every format of projects, exports one.

mod export;
mod import;
mod json;
mod store;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use export::{ProjectDocument, project_file};
pub use import::{ImportError, Imported, Orphan, Strictness, import, template_in_force};
pub use json::{JsonError, parse_document};
pub use store::{ProjectStore, ReadError, WriteError};
pub use vocabulary::{Vocabulary, vocabulary};
