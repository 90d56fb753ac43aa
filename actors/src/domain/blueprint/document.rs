//! A template as its author wrote it, before it is checked. What reads files fills these in; `line` says where, for
//! messages.

use std::sync::Arc;

use crate::domain::value::Value;

/// A template.
#[derive(Debug, Clone, Default)]
pub struct TemplateDocument {
    /// Required.
    pub name: Option<Arc<str>>,
    /// "1.0" if absent.
    pub version: Option<Arc<str>>,
    /// What it is for.
    pub description: Option<Arc<str>>,
    /// Its uuid.
    pub uuid: Option<Arc<str>>,
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
    pub id: Option<Arc<str>>,
    /// Required: the name for people.
    pub label: Option<Arc<str>>,
    /// Derived if absent.
    pub uuid: Option<Arc<str>>,
    /// Slugs or uuids.
    pub allowed_children: Vec<Arc<str>>,
    /// Slugs or uuids.
    pub allowed_asset_types: Vec<Arc<str>>,
    /// Names of features.
    pub features: Vec<Arc<str>>,
    /// Not interpreted.
    pub look: super::Look,
    /// Not interpreted.
    pub primary_status_property_id: Option<Arc<str>>,
    /// The properties.
    pub properties: Vec<PropertyDocument>,
}

/// A property.
#[derive(Debug, Clone, Default)]
pub struct PropertyDocument {
    /// Where it begins.
    pub line: Option<u64>,
    /// Required: the slug.
    pub id: Option<Arc<str>>,
    /// Required: the name for people.
    pub label: Option<Arc<str>>,
    /// Required: what it can hold.
    pub kind: Option<Arc<str>>,
    /// Derived if absent.
    pub uuid: Option<Arc<str>>,
    /// What a front end knows it by; the slug if absent.
    pub role: Option<Arc<str>>,
    /// Not enforced.
    pub required: bool,
    /// What a new node has.
    pub default: Option<Value>,
    /// For a select.
    pub options: Option<Vec<OptionDocument>>,
    /// Not interpreted.
    pub indicator_set: Option<Arc<str>>,
    /// Not interpreted.
    pub ui_group: Option<Arc<str>>,
    /// Not interpreted.
    pub markup_profile: Option<Value>,
    /// Not interpreted.
    pub markup_tokens: Option<Value>,
    /// A feature put it there when the template was saved: it is not put there again.
    pub injected: bool,
}

/// An option of a select.
#[derive(Debug, Clone, Default)]
pub struct OptionDocument {
    /// Required: the name for people.
    pub name: Option<Arc<str>>,
    /// Derived if absent.
    pub id: Option<Arc<str>>,
    /// An indicator's name.
    pub indicator_id: Option<Arc<str>>,
}
