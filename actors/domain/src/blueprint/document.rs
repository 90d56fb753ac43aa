//! Template in its original form, before it is checked. The reader of template files fills in these types. Each `line`
//! is the position for error messages.

use ecow::EcoString;

use crate::value::Value;

/// Document of a template.
#[derive(Debug, Clone, Default)]
pub struct TemplateDocument {
    /// Display name. Required.
    pub name: Option<EcoString>,
    /// Version. "1.0" if absent.
    pub version: Option<EcoString>,
    /// Description for people.
    pub description: Option<EcoString>,
    /// Uuid of the template.
    pub uuid: Option<EcoString>,
    /// Node types. At least one is required.
    pub node_types: Vec<NodeTypeDocument>,
    /// Settings of a front end's view. Not interpreted.
    pub blocking_view: Option<Value>,
}

/// Document of a node type.
#[derive(Debug, Clone, Default)]
pub struct NodeTypeDocument {
    /// Line at which the type begins, counted from 1.
    pub line: Option<u64>,
    /// Slug. Required.
    pub id: Option<EcoString>,
    /// Display name. Required.
    pub label: Option<EcoString>,
    /// Uuid. Derived from the slug if absent.
    pub uuid: Option<EcoString>,
    /// Allowed child types, by slug or uuid.
    pub allowed_children: Vec<EcoString>,
    /// Allowed asset types, by slug or uuid.
    pub allowed_asset_types: Vec<EcoString>,
    /// Names of features.
    pub features: Vec<EcoString>,
    /// Appearance in a front end. Not interpreted.
    pub appearance: super::Appearance,
    /// Property that shows the progress of a node, by slug or uuid. Not interpreted.
    pub primary_status_property_id: Option<EcoString>,
    /// Own properties of the type, without those of its features.
    pub properties: Vec<PropertyDocument>,
}

/// Document of a property.
#[derive(Debug, Clone, Default)]
pub struct PropertyDocument {
    /// Line at which the property begins, counted from 1.
    pub line: Option<u64>,
    /// Slug. Required.
    pub id: Option<EcoString>,
    /// Display name. Required.
    pub label: Option<EcoString>,
    /// Kind of values. Required.
    pub kind: Option<EcoString>,
    /// Uuid. Derived from the slug if absent.
    pub uuid: Option<EcoString>,
    /// Name by which a front end recognizes the property. The slug if absent.
    pub role: Option<EcoString>,
    /// True if people should fill in the property. Not enforced, false if absent.
    pub required: Option<bool>,
    /// Initial value in a new node.
    pub default: Option<Value>,
    /// Options of a select.
    pub options: Option<Vec<OptionDocument>>,
    /// Set of indicators. Not interpreted.
    pub indicator_set: Option<EcoString>,
    /// Group in a front end. Not interpreted.
    pub ui_group: Option<EcoString>,
    /// Markup of text. Not interpreted.
    pub markup_profile: Option<Value>,
    /// Markup tokens. Not interpreted.
    pub markup_tokens: Option<Value>,
    /// True if a feature added the property when the template was saved. The feature does not add it again.
    pub injected: bool,
    /// True if the author declares the property to be the feature's property of the same slug, and not a separate one.
    pub locked: bool,
}

/// Document of a select's option.
#[derive(Debug, Clone, Default)]
pub struct OptionDocument {
    /// Line at which the option begins, counted from 1.
    pub line: Option<u64>,
    /// Display name. Required.
    pub name: Option<EcoString>,
    /// Id. Derived from the name if absent.
    pub id: Option<EcoString>,
    /// Name of an indicator.
    pub indicator_id: Option<EcoString>,
}
