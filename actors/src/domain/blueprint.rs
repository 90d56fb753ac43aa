//! Blueprints: what a template says of the types of nodes, what may stand under what, and which properties there are.
//!
//! A blueprint is built once from a template's document and then only looked at. Types and properties go by slug in a
//! template and by uuid on the wire; both are looked up without a scan.

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

/// A template, checked and indexed.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    id: TemplateId,
    /// Its uuid, if the template has one.
    pub uuid: Option<EcoString>,
    /// Its name for people.
    pub name: EcoString,
    /// Its version, as the template says it.
    pub version: EcoString,
    /// What it is for.
    pub description: Option<EcoString>,
    /// How a front end draws what blocks what; not interpreted.
    pub blocking_view: Option<Value>,
    types: Vec<NodeType>,
    root: usize,
    /// Positions in `types` by slug and by uuid.
    index: BTreeMap<EcoString, usize>,
}

/// A type of node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeType {
    /// The uuid, which the wire and the log use.
    pub id: TypeId,
    /// The slug, which the template uses.
    pub key: EcoString,
    /// The name for people.
    pub name: EcoString,
    /// Types that may stand under it, by slug or uuid as the template says; also ones that the template does not have.
    pub allowed_children: Vec<EcoString>,
    /// Types of assets that may stand under it.
    pub allowed_asset_types: Vec<EcoString>,
    /// What it can do, also if only its slug says so.
    pub features: Vec<EcoString>,
    /// How a front end draws it; not interpreted.
    pub look: Look,
    /// The uuid of the property that tells how far a node is.
    pub primary_status_property_id: Option<EcoString>,
    properties: Vec<PropertyType>,
    index: BTreeMap<EcoString, usize>,
    defaults: Properties,
}

/// How a front end draws a type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// An icon's name.
    pub icon: Option<EcoString>,
    /// A colour.
    pub color: Option<EcoString>,
    /// A shape's name.
    pub shape: Option<EcoString>,
    /// The kind of thing it is.
    pub base_type: Option<EcoString>,
}

/// A property of a type.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyType {
    /// The uuid, which the wire and the log use.
    pub id: PropertyId,
    /// The slug, which the template uses: unique within the type.
    pub key: EcoString,
    /// What a front end knows it by; the slug, unless a feature added it beside an own one of that slug.
    pub role: EcoString,
    /// The name for people.
    pub name: EcoString,
    /// What it can hold.
    pub kind: PropertyKind,
    /// Whether a person should fill it in; not enforced.
    pub required: bool,
    /// What a new node has.
    pub default: Option<Value>,
    /// A set of indicators for its options.
    pub indicator_set: Option<EcoString>,
    /// The group that a front end shows it in.
    pub ui_group: Option<EcoString>,
    /// How a front end marks its text up; not interpreted.
    pub markup_profile: Option<Value>,
    /// As [`Self::markup_profile`].
    pub markup_tokens: Option<Value>,
}

impl Blueprint {
    /// Which template it is.
    #[must_use]
    pub const fn id(&self) -> &TemplateId {
        &self.id
    }

    /// The type that a project begins with: the one with feature `is_root`, else the first.
    #[must_use]
    pub fn root_type(&self) -> &NodeType {
        &self.types[self.root]
    }

    /// A type by slug or uuid.
    #[must_use]
    pub fn node_type(&self, reference: &str) -> Option<&NodeType> {
        find(&self.index, reference).map(|at| &self.types[at])
    }

    /// All types, in the template's order.
    pub fn node_types(&self) -> impl Iterator<Item = &NodeType> {
        self.types.iter()
    }
}

impl NodeType {
    /// A property by slug or uuid.
    #[must_use]
    pub fn property(&self, reference: &str) -> Option<&PropertyType> {
        find(&self.index, reference).map(|at| &self.properties[at])
    }

    /// The property that is a node's name, if the template says something of it.
    #[must_use]
    pub fn name_property(&self) -> Option<&PropertyType> {
        self.property(PropertyId::NAME)
    }

    /// All properties: the template's, then those that features add, feature by feature in the template's order.
    pub fn properties(&self) -> impl Iterator<Item = &PropertyType> {
        self.properties.iter()
    }

    /// Whether a node of another type may stand under one of this. An asset that is allowed is allowed as a child:
    /// in the graph it is one.
    #[must_use]
    pub fn allows_child(&self, child: &NodeType) -> bool {
        let means =
            |reference: &EcoString| **reference == *child.key || reference.eq_ignore_ascii_case(child.id.as_str());
        self.allowed_children.iter().chain(&self.allowed_asset_types).any(means)
    }

    /// What a new node has, apart from its name: each property's default, each select's first option.
    #[must_use]
    pub fn defaults(&self) -> Properties {
        self.defaults.clone()
    }
}

impl PropertyType {
    /// The value as it is kept, if the property can hold it: of a select, the option's id.
    ///
    /// # Errors
    /// Says what the property can hold.
    pub fn check(&self, value: &Value, node_exists: &dyn Fn(NodeId) -> bool) -> Result<Value, InvalidValue> {
        self.kind.check(value, node_exists)
    }
}

/// Slugs as they are; uuids in either case.
fn find(index: &BTreeMap<EcoString, usize>, reference: &str) -> Option<usize> {
    let in_lower_case = || {
        let is_uuid = reference.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::try_parse(reference).is_ok();
        is_uuid.then(|| reference.to_ascii_lowercase())
    };
    let found = index.get(reference);
    found.or_else(|| index.get(in_lower_case()?.as_str())).copied()
}

/// The uuid of something that the template gives none: the first half of a SHA-1, with no version or variant set. The
/// predecessor's files use these.
pub(crate) fn derived_uuid(namespace: &str, name: &str) -> Uuid {
    let digest = Sha1::digest(format!("{namespace}:{name}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::from_bytes(bytes)
}

/// The id of the property that is the name of a type's nodes, if the template gives it none: files may name it though the
/// template is not there.
#[must_use]
pub fn derived_name_property(type_slug: &str) -> PropertyId {
    PropertyId::new(derived_uuid(&format!("property.{type_slug}"), PropertyId::NAME).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_uuids_are_the_predecessors() {
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
