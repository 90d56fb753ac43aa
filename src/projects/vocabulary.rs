//! What a file's words mean, with a template or without.

use std::collections::BTreeMap;

use talus_actors::domain::{
    blueprint::{Blueprint, NodeType, PropertyKind, derived_name_property},
    graph::NodeContent,
    ids::{PropertyId, TypeId},
};

/// Which property is the name of a type's nodes, as a file says it for whoever reads it without the template.
pub(super) type NameProperties = BTreeMap<TypeId, PropertyId>;

/// The words of a template, or those of nobody.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a> {
    blueprint: Option<&'a Blueprint>,
    names: Option<&'a NameProperties>,
}

/// The vocabulary of a session's template, if it has one that can be had.
#[must_use]
pub const fn vocabulary(blueprint: Option<&Blueprint>) -> Vocabulary<'_> {
    Vocabulary { blueprint, names: None }
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
    /// With what the file itself says of names.
    pub(super) const fn with_names<'b>(self, names: &'b NameProperties) -> Vocabulary<'b>
    where
        'a: 'b,
    {
        Vocabulary {
            blueprint: self.blueprint,
            names: Some(names),
        }
    }

    /// A type by slug or uuid. Without a template every word is a type.
    pub(super) fn type_id(&self, word: &str) -> Option<TypeId> {
        match self.blueprint {
            None => Some(TypeId::new(word)),
            Some(blueprint) => blueprint.node_type(word).map(|known| known.id.clone()),
        }
    }

    pub(super) fn property(&self, type_id: &TypeId, word: &str) -> Meaning {
        let known = self.node_type(type_id).and_then(|node_type| node_type.property(word));
        match (known, self.blueprint) {
            (Some(property), _) if &*property.key == PropertyId::NAME => Meaning::Name,
            (Some(property), _) => {
                let is_reference = property.kind == PropertyKind::NodeReference;
                Meaning::Property {
                    id: property.id.clone(),
                    is_reference,
                }
            }
            (None, _) if word == PropertyId::NAME || self.is_name_elsewhere(type_id, word) => Meaning::Name,
            (None, None) if !word.is_empty() => Meaning::Property {
                id: PropertyId::new(word),
                is_reference: false,
            },
            (None, None | Some(_)) => Meaning::Unknown,
        }
    }

    /// Whether a word that the template does not have is the name all the same: the file says so, or it is the uuid that is
    /// derived for the name of a type of that slug. A node has one name, also if its template is missing.
    fn is_name_elsewhere(&self, type_id: &TypeId, word: &str) -> bool {
        let in_file = self.names.and_then(|names| names.get(type_id));
        let is = |id: &PropertyId| id.as_str().eq_ignore_ascii_case(word);
        in_file.is_some_and(is) || is(&derived_name_property(type_id.as_str()))
    }

    /// The uuid under which files have a node's name among its properties.
    pub(super) fn name_property(&self, type_id: &TypeId) -> Option<&'a PropertyId> {
        Some(&self.node_type(type_id)?.name_property()?.id)
    }

    /// What the template does not know of a node: its type, or some of its properties.
    pub(super) fn orphaned(&self, content: &NodeContent) -> Option<(bool, Vec<PropertyId>)> {
        let blueprint = self.blueprint?;
        let Some(node_type) = blueprint.node_type(content.type_id.as_str()) else {
            return Some((true, Vec::new()));
        };
        let unknown = |id: &&PropertyId| node_type.property(id.as_str()).is_none();
        let properties: Vec<PropertyId> = content.properties.keys().filter(unknown).cloned().collect();
        (!properties.is_empty()).then_some((false, properties))
    }

    fn node_type(&self, type_id: &TypeId) -> Option<&'a NodeType> {
        self.blueprint?.node_type(type_id.as_str())
    }
}
