//! Blueprints: the node types, allowed children and properties of a template, in checked and indexed form.
//!
//! A blueprint is built once from a template's document and is then read-only. Types and properties are named by slug
//! in a template and by uuid on the wire. Both are looked up in an index.

mod build;
pub mod document;
mod features;
mod kind;

use std::collections::BTreeMap;

use ecow::EcoString;
use sha1::{Digest, Sha1};
use uuid::Uuid;

use super::{
    ids::{NodeId, PropertyId, TemplateId, TypeId},
    properties::Properties,
    value::Value,
};

pub use build::TemplateError;
pub use kind::{InvalidValue, PropertyKind, SelectOption};

/// Checked and indexed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    id: TemplateId,
    /// Uuid of the template. Optional in a template.
    pub uuid: Option<EcoString>,
    /// Display name of the template.
    pub name: EcoString,
    /// Version of the template, in the template's own spelling.
    pub version: EcoString,
    /// Description for people, if the template has one.
    pub description: Option<EcoString>,
    /// Settings of the front end's view of blocking relations. Not interpreted.
    pub blocking_view: Option<Value>,
    types: Vec<NodeType>,
    root: usize,
    /// Positions in `types`, by slug and by uuid.
    index: BTreeMap<EcoString, usize>,
}

/// Type of node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeType {
    /// Uuid, used on the wire and in the log.
    pub id: TypeId,
    /// Slug, used in the template.
    pub key: EcoString,
    /// Display name of the type.
    pub name: EcoString,
    /// Types that are allowed as children, by slug or uuid as in the template. May name types that the template does
    /// not contain.
    pub allowed_children: Vec<EcoString>,
    /// Types of assets that are allowed as children, by slug or uuid as in the template.
    pub allowed_asset_types: Vec<EcoString>,
    /// Features of the type, including features that the slug implies.
    pub features: Vec<EcoString>,
    /// Appearance in a front end. Not interpreted.
    pub appearance: Appearance,
    /// Uuid of the property that shows the progress of a node.
    pub primary_status_property_id: Option<EcoString>,
    properties: Vec<PropertyType>,
    index: BTreeMap<EcoString, usize>,
    defaults: Properties,
}

/// Appearance of a type in a front end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appearance {
    /// Name of an icon.
    pub icon: Option<EcoString>,
    /// Colour in the template's own notation.
    pub color: Option<EcoString>,
    /// Name of a shape.
    pub shape: Option<EcoString>,
    /// Kind of object that the type represents.
    pub base_type: Option<EcoString>,
}

/// Property of a type.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyType {
    /// Uuid, used on the wire and in the log.
    pub id: PropertyId,
    /// Slug, used in the template. Unique within the type.
    pub key: EcoString,
    /// Name by which a front end recognizes the property. Equals the slug, unless a feature added the property beside
    /// one of the template's own with the same slug.
    pub role: EcoString,
    /// Display name of the property.
    pub name: EcoString,
    /// Kind of values that the property accepts.
    pub kind: PropertyKind,
    /// True if people should fill in the property. Not enforced.
    pub required: bool,
    /// Initial value in a new node.
    pub default: Option<Value>,
    /// Set of indicators for the options.
    pub indicator_set: Option<EcoString>,
    /// Group in which a front end shows the property.
    pub ui_group: Option<EcoString>,
    /// Markup of the property's text in a front end. Not interpreted.
    pub markup_profile: Option<Value>,
    /// Markup tokens, as [`Self::markup_profile`].
    pub markup_tokens: Option<Value>,
}

impl Blueprint {
    /// Returns the id of the template.
    #[must_use]
    pub const fn id(&self) -> &TemplateId {
        &self.id
    }

    /// Returns the type of a project's first node: the type with feature `is_root`, or else the first type.
    #[must_use]
    pub fn root_type(&self) -> &NodeType {
        &self.types[self.root]
    }

    /// Returns a type by its slug or uuid.
    #[must_use]
    pub fn node_type(&self, reference: &str) -> Option<&NodeType> {
        find(&self.index, reference).map(|at| &self.types[at])
    }

    /// Returns all types in the template's order.
    pub fn node_types(&self) -> impl Iterator<Item = &NodeType> {
        self.types.iter()
    }
}

impl NodeType {
    /// Returns a property by its slug or uuid.
    #[must_use]
    pub fn property(&self, reference: &str) -> Option<&PropertyType> {
        find(&self.index, reference).map(|at| &self.properties[at])
    }

    /// Returns the property that stands for the node's name, if the template defines one.
    #[must_use]
    pub fn name_property(&self) -> Option<&PropertyType> {
        self.property(PropertyId::NAME)
    }

    /// Returns all properties: the template's own, then those of the features, in the template's order of features.
    pub fn properties(&self) -> impl Iterator<Item = &PropertyType> {
        self.properties.iter()
    }

    /// Returns true if a node of the given type is allowed as a child. Allowed assets count as well, because assets are
    /// children in the graph.
    #[must_use]
    pub fn allows_child(&self, child: &NodeType) -> bool {
        let means =
            |reference: &EcoString| **reference == *child.key || reference.eq_ignore_ascii_case(child.id.as_str());
        self.allowed_children.iter().chain(&self.allowed_asset_types).any(means)
    }

    /// Returns the initial properties of a new node without its name: each property's default, or a select's first
    /// option.
    #[must_use]
    pub fn defaults(&self) -> Properties {
        self.defaults.clone()
    }
}

impl PropertyType {
    /// Returns the value in its stored form if the property accepts it. The stored form of a select is the option's id.
    ///
    /// # Errors
    /// Returns a description of the accepted values.
    pub fn check(&self, value: &Value, node_exists: &dyn Fn(NodeId) -> bool) -> Result<Value, InvalidValue> {
        self.kind.check(value, node_exists)
    }
}

/// Looks up a slug in its exact spelling, or a uuid in either case.
fn find(index: &BTreeMap<EcoString, usize>, reference: &str) -> Option<usize> {
    let in_lower_case = || {
        let is_uuid = reference.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::try_parse(reference).is_ok();
        is_uuid.then(|| reference.to_ascii_lowercase())
    };
    let found = index.get(reference);
    found.or_else(|| index.get(in_lower_case()?.as_str())).copied()
}

/// Returns the uuid of an item to which the template gives none: the first half of a SHA-1, without version and variant
/// bits. Files of the predecessor contain these uuids.
pub(crate) fn derived_uuid(namespace: &str, name: &str) -> Uuid {
    let digest = Sha1::digest(format!("{namespace}:{name}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::from_bytes(bytes)
}

/// Returns the id of a type's name property if the template gives it none. Files may reference the id while the
/// template is absent.
#[must_use]
pub fn derived_name_property(type_slug: &str) -> PropertyId {
    PropertyId::new(derived_uuid(&format!("property.{type_slug}"), PropertyId::NAME).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_uuids_match_predecessor() {
        for (namespace, name, uuid) in [
            ("node_type", "root", "dda577b6-9f7c-8feb-e893-5e6f32522a56"),
            ("property.root", "name", "fa022033-b113-6c72-9d43-23ffbb36331a"),
            ("item.status", "A", "4a70d983-342d-dbef-e5f1-e90c0d40d79a"),
            ("property.level", "start_date", "6914a2bd-e8d6-d4a2-b034-99f7384e5c40"),
        ] {
            assert_eq!(derived_uuid(namespace, name).to_string(), uuid);
        }
    }
}
