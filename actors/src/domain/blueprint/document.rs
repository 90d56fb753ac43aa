//! A template as its author wrote it, before it is checked. What reads files fills these in; `line` says where, for
//! messages.

use ecow::EcoString;

use crate::domain::value::Value;

/// A template.
#[derive(Debug, Clone, Default)]
pub struct TemplateDocument {
    /// Required.
    pub name: Option<EcoString>,
    /// "1.0" if absent.
    pub version: Option<EcoString>,
    /// What it is for.
    pub description: Option<EcoString>,
    /// Its uuid.
    pub uuid: Option<EcoString>,
    /// Required, not empty.
    pub node_types: Vec<NodeTypeDocument>,
    /// Not interpreted.
    pub blocking_view: Option<Value>,
}

/// A node type.
#[derive(Debug, Clone, Default)]
pub struct NodeTypeDocument {
    /// Where it begins.
    pub line: Option<u64>,
    /// Required: the slug.
    pub id: Option<EcoString>,
    /// Required: the name for people.
    pub label: Option<EcoString>,
    /// Derived if absent.
    pub uuid: Option<EcoString>,
    /// Slugs or uuids.
    pub allowed_children: Vec<EcoString>,
    /// Slugs or uuids.
    pub allowed_asset_types: Vec<EcoString>,
    /// Names of features.
    pub features: Vec<EcoString>,
    /// Not interpreted.
    pub look: super::Look,
    /// Not interpreted.
    pub primary_status_property_id: Option<EcoString>,
    /// The properties.
    pub properties: Vec<PropertyDocument>,
}

/// A property.
#[derive(Debug, Clone, Default)]
pub struct PropertyDocument {
    /// Where it begins.
    pub line: Option<u64>,
    /// Required: the slug.
    pub id: Option<EcoString>,
    /// Required: the name for people.
    pub label: Option<EcoString>,
    /// Required: what it can hold.
    pub kind: Option<EcoString>,
    /// Derived if absent.
    pub uuid: Option<EcoString>,
    /// What a front end knows it by; the slug if absent.
    pub role: Option<EcoString>,
    /// Not enforced; false if absent.
    pub required: Option<bool>,
    /// What a new node has.
    pub default: Option<Value>,
    /// For a select.
    pub options: Option<Vec<OptionDocument>>,
    /// Not interpreted.
    pub indicator_set: Option<EcoString>,
    /// Not interpreted.
    pub ui_group: Option<EcoString>,
    /// Not interpreted.
    pub markup_profile: Option<Value>,
    /// Not interpreted.
    pub markup_tokens: Option<Value>,
    /// A feature put it there when the template was saved: it is not put there again.
    pub injected: bool,
    /// The author says that it is the feature's property of that slug, and no property beside it.
    pub locked: bool,
}

/// An option of a select.
#[derive(Debug, Clone, Default)]
pub struct OptionDocument {
    /// Where it begins.
    pub line: Option<u64>,
    /// Required: the name for people.
    pub name: Option<EcoString>,
    /// Derived if absent.
    pub id: Option<EcoString>,
    /// An indicator's name.
    pub indicator_id: Option<EcoString>,
}
