//! Prints the effective configuration as a file: the embedded defaults with their comments, with the effective values.

use toml_edit::{DocumentMut, Item, TableLike, Value};

use super::{Config, DEFAULT_TOML};

/// Prints all of `config` as commented TOML.
pub(super) fn to_toml(config: &Config) -> Result<String, toml_edit::ser::Error> {
    let effective = toml_edit::ser::to_document(config)?;
    let mut commented: DocumentMut = DEFAULT_TOML.parse().expect("the embedded defaults are TOML");
    // Both documents have the same keys; a test compares them.
    for (section, keys) in effective.iter() {
        for (name, item) in keys.as_table_like().into_iter().flat_map(TableLike::iter) {
            let old = commented
                .get_mut(section)
                .and_then(|keys| keys.get_mut(name))
                .and_then(Item::as_value_mut);
            if let (Some(old), Some(new)) = (old, item.as_value()) {
                replace(old, new.clone());
            }
        }
    }
    Ok(commented.to_string())
}

/// Replaces a value, and keeps the blanks and comments around it.
fn replace(old: &mut Value, mut new: Value) {
    *new.decor_mut() = old.decor().clone();
    *old = new;
}
