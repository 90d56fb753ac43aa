//! What a file's words mean, with a template or without.

use talus_actors::domain::{
    blueprint::{Blueprint, NodeType, PropertyKind},
    graph::NodeContent,
    ids::{PropertyId, TypeId},
};

/// The words of a template, or those of nobody.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a>(Option<&'a Blueprint>);

/// The vocabulary of a session's template, if it has one that can be had.
#[must_use]
pub const fn vocabulary(blueprint: Option<&Blueprint>) -> Vocabulary<'_> {
    Vocabulary(blueprint)
}

/// What a property's word means.
pub(super) enum Meaning {
    /// The node's name.
    Name,
    /// A property; whether its values name nodes.
    Property { id: PropertyId, is_reference: bool },
    /// Nothing that the template knows.
    Unknown,
}

impl<'a> Vocabulary<'a> {
    /// A type by slug or uuid. Without a template every word is a type.
    pub(super) fn type_id(&self, word: &str) -> Option<TypeId> {
        match self.0 {
            None => Some(TypeId::new(word)),
            Some(blueprint) => blueprint.node_type(word).map(|known| known.id.clone()),
        }
    }

    pub(super) fn property(&self, type_id: &TypeId, word: &str) -> Meaning {
        let known = self.node_type(type_id).and_then(|node_type| node_type.property(word));
        match (known, self.0) {
            (Some(property), _) if &*property.key == PropertyId::NAME => Meaning::Name,
            (Some(property), _) => {
                let is_reference = property.kind == PropertyKind::NodeReference;
                Meaning::Property {
                    id: property.id.clone(),
                    is_reference,
                }
            }
            (None, _) if word == PropertyId::NAME => Meaning::Name,
            (None, None) if !word.is_empty() => Meaning::Property {
                id: PropertyId::new(word),
                is_reference: false,
            },
            (None, None | Some(_)) => Meaning::Unknown,
        }
    }

    /// The uuid under which files have a node's name among its properties.
    pub(super) fn name_property(&self, type_id: &TypeId) -> Option<&'a PropertyId> {
        Some(&self.node_type(type_id)?.name_property()?.id)
    }

    /// What the template does not know of a node: its type, or some of its properties.
    pub(super) fn orphaned(&self, content: &NodeContent) -> Option<(bool, Vec<PropertyId>)> {
        let blueprint = self.0?;
        let Some(node_type) = blueprint.node_type(content.type_id.as_str()) else {
            return Some((true, Vec::new()));
        };
        let unknown = |id: &&PropertyId| node_type.property(id.as_str()).is_none();
        let properties: Vec<PropertyId> = content.properties.keys().filter(unknown).cloned().collect();
        (!properties.is_empty()).then_some((false, properties))
    }

    fn node_type(&self, type_id: &TypeId) -> Option<&'a NodeType> {
        self.0?.node_type(type_id.as_str())
    }
}
