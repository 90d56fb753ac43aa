//! Content of a node: name, type, properties and metadata.

use ecow::EcoString;
use serde::{Deserialize, Serialize};

use super::{
    ids::TypeId,
    properties::Properties,
    value::{Value, double_option},
};

/// Content of a node, independent of its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeContent {
    /// Name, with at least one visible character.
    pub name: EcoString,
    /// Type of the node.
    pub type_id: TypeId,
    /// Properties that are set, without the name.
    #[serde(default, skip_serializing_if = "Properties::is_empty")]
    pub properties: Properties,
    /// Contents of a project file's node that the hub does not interpret. They are kept and written back.
    #[serde(default, deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<Value>>,
}

impl NodeContent {
    /// Replaces parts by equal parts of another content, so that memory holds each part once.
    pub(super) fn intern_from(&mut self, other: &Self) {
        if self.name == other.name {
            self.name.clone_from(&other.name);
        }
        if self.type_id == other.type_id {
            self.type_id.clone_from(&other.type_id);
        }
        if self.properties == other.properties {
            self.properties.clone_from(&other.properties);
        }
    }
    /// Returns the estimated size of the content, in bytes of memory.
    pub(super) fn weight_bytes(&self) -> usize {
        let properties = self
            .properties
            .iter()
            .map(|(id, value)| id.as_str().len() + value.json_bytes());
        self.name.len() + properties.sum::<usize>() + self.metadata.as_deref().map_or(0, Value::json_bytes)
    }
}
