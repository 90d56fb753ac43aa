//! Vocabulary of a file: the meaning of its type and property words, with or without a template.

use std::collections::BTreeMap;

use talus_actors::domain::{
    blueprint::{Blueprint, NodeType, PropertyKind, derived_name_property},
    content::NodeContent,
    ids::{PropertyId, TypeId},
};

/// Property that holds the name, by type. A file contains this map for readers without the template.
pub(super) type NameProperties = BTreeMap<TypeId, PropertyId>;

/// Words of a template. Without a template every word stands for itself.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a> {
    blueprint: Option<&'a Blueprint>,
    names: Option<&'a NameProperties>,
}

/// Returns the vocabulary of a session's template, or the vocabulary without a template for `None`.
#[must_use]
pub const fn vocabulary(blueprint: Option<&Blueprint>) -> Vocabulary<'_> {
    Vocabulary { blueprint, names: None }
}

/// Meaning of a property's word.
pub(super) enum Meaning {
    /// Name of the node.
    Name,
    /// A property. `is_reference`: its values are ids of nodes.
    Property { id: PropertyId, is_reference: bool },
    /// The template does not have the word.
    Unknown,
}

impl<'a> Vocabulary<'a> {
    /// Adds the name properties that the file declares.
    pub(super) const fn with_names<'b>(self, names: &'b NameProperties) -> Vocabulary<'b>
    where
        'a: 'b,
    {
        Vocabulary {
            blueprint: self.blueprint,
            names: Some(names),
        }
    }

    /// Returns the id of a type, from its slug or UUID. Without a template every word is a type.
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

    /// Returns true for a word that is not in the template but names the node: the file declares the word, or the word
    /// is the UUID derived for the name property of a type with that slug. So a node has one name also if its template
    /// is missing.
    fn is_name_elsewhere(&self, type_id: &TypeId, word: &str) -> bool {
        let in_file = self.names.and_then(|names| names.get(type_id));
        let is = |id: &PropertyId| id.as_str().eq_ignore_ascii_case(word);
        in_file.is_some_and(is) || is(&derived_name_property(type_id.as_str()))
    }

    /// Returns the UUID under which files list a node's name among its properties.
    pub(super) fn name_property(&self, type_id: &TypeId) -> Option<&'a PropertyId> {
        Some(&self.node_type(type_id)?.name_property()?.id)
    }

    /// Returns the parts of a node that the template does not know: true if its type is unknown, and its unknown
    /// properties. `None`: the template knows the node fully, or there is no template.
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
