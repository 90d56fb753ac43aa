//! Marks for types and properties from a project file that the template does not contain. The marks are part of a
//! node's metadata and not part of the state hash.

use std::{collections::BTreeSet, sync::Arc};

use ecow::EcoString;

use super::{ids::PropertyId, value::Value};

/// Metadata key that marks a node of unknown type. The value is `true`.
pub const ORPHANED: &str = "orphaned";

/// Metadata key of the list of properties unknown to the node's type. The value is a sorted list of the ids of present
/// properties.
pub const ORPHANED_PROPERTIES: &str = "orphaned_properties";

/// Adds a property to a node's list of orphans or removes it. An empty list is removed, and so is empty metadata.
pub(super) fn set_orphaned(metadata: &mut Option<Box<Value>>, property: &PropertyId, is_orphaned: bool) {
    let members = match metadata.as_deref() {
        Some(Value::Object(members)) => Some(members),
        // Metadata that is not an object cannot contain marks.
        Some(_) => return,
        None => None,
    };
    let listed = members.and_then(|members| match members.get(ORPHANED_PROPERTIES) {
        Some(Value::List(listed)) => Some(listed),
        _ => None,
    });
    let listed = listed
        .into_iter()
        .flat_map(|listed| listed.iter())
        .filter_map(Value::as_text);
    let mut ids: BTreeSet<EcoString> = listed.map(EcoString::from).collect();
    let has_changed = if is_orphaned {
        ids.insert(property.as_str().into())
    } else {
        ids.remove(property.as_str())
    };
    if !has_changed {
        return;
    }
    let mut members = members.map(|members| (**members).clone()).unwrap_or_default();
    if ids.is_empty() {
        members.remove(ORPHANED_PROPERTIES);
    } else {
        let ids = ids.into_iter().map(Value::Text).collect();
        members.insert(ORPHANED_PROPERTIES.into(), Value::List(ids));
    }
    *metadata = (!members.is_empty()).then(|| Box::new(Value::Object(Arc::new(members))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orphan_list_is_unique_and_removed_when_empty() {
        let mut metadata = None;
        let mut metadata_after = |property: &str, is_orphaned: bool| {
            set_orphaned(&mut metadata, &PropertyId::new(property), is_orphaned);
            serde_json::to_string(&metadata).expect("JSON")
        };
        assert_eq!(metadata_after("b", false), "null");
        assert_eq!(metadata_after("b", true), r#"{"orphaned_properties":["b"]}"#);
        assert_eq!(metadata_after("a", true), r#"{"orphaned_properties":["a","b"]}"#);
        assert_eq!(metadata_after("a", true), r#"{"orphaned_properties":["a","b"]}"#);
        assert_eq!(metadata_after("b", false), r#"{"orphaned_properties":["a"]}"#);
        assert_eq!(metadata_after("a", false), "null");
        let mut other = Some(Box::new(Value::text("x")));
        set_orphaned(&mut other, &PropertyId::new("a"), true);
        assert_eq!(other, Some(Box::new(Value::text("x"))));
    }
}
