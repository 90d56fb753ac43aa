//! Answers of the templates API.

use ecow::EcoString;
use serde::Serialize;
use talus_actors::domain::{
    blueprint::{Blueprint, NodeType, PropertyKind, PropertyType, SelectOption},
    ids::{PropertyId, TemplateId, TypeId},
    value::Value,
};

use crate::templates::TemplateEntry;

/// Answer of `GET /templates`.
#[derive(Debug, Serialize)]
pub struct TemplateList {
    templates: Vec<ListedTemplate>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ListedTemplate {
    Usable {
        id: TemplateId,
        uuid: Option<EcoString>,
        name: EcoString,
        version: EcoString,
        description: Option<EcoString>,
    },
    Broken {
        id: TemplateId,
        error: String,
    },
}

impl From<Vec<TemplateEntry>> for TemplateList {
    fn from(entries: Vec<TemplateEntry>) -> Self {
        let listed = |TemplateEntry { id, template }| match template {
            Ok(template) => ListedTemplate::Usable {
                id,
                uuid: template.uuid.clone(),
                name: template.name.clone(),
                version: template.version.clone(),
                description: template.description.clone(),
            },
            Err(error) => ListedTemplate::Broken {
                id,
                error: error.to_string(),
            },
        };
        Self {
            templates: entries.into_iter().map(listed).collect(),
        }
    }
}

/// Answer of `GET /templates/{id}/schema`.
#[derive(Debug, Serialize)]
pub struct Schema {
    id: TemplateId,
    uuid: Option<EcoString>,
    name: EcoString,
    version: EcoString,
    description: Option<EcoString>,
    node_types: Vec<SchemaType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocking_view: Option<Value>,
}

#[derive(Debug, Serialize)]
struct SchemaType {
    id: TypeId,
    key: EcoString,
    name: EcoString,
    allowed_children: Vec<EcoString>,
    allowed_asset_types: Vec<EcoString>,
    icon: Option<EcoString>,
    color: Option<EcoString>,
    shape: Option<EcoString>,
    base_type: Option<EcoString>,
    features: Vec<EcoString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_status_property_id: Option<EcoString>,
    properties: Vec<SchemaProperty>,
}

#[derive(Debug, Serialize)]
struct SchemaProperty {
    id: PropertyId,
    key: EcoString,
    name: EcoString,
    r#type: String,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
    options: Option<Vec<SchemaOption>>,
    indicator_set: Option<EcoString>,
    ui_group: Option<EcoString>,
    markup_profile: Option<Value>,
    markup_tokens: Option<Value>,
}

#[derive(Debug, Serialize)]
struct SchemaOption {
    id: EcoString,
    name: EcoString,
    indicator_id: Option<EcoString>,
}

impl From<&Blueprint> for Schema {
    fn from(blueprint: &Blueprint) -> Self {
        Self {
            id: blueprint.id().clone(),
            uuid: blueprint.uuid.clone(),
            name: blueprint.name.clone(),
            version: blueprint.version.clone(),
            description: blueprint.description.clone(),
            node_types: blueprint
                .node_types()
                .map(|node_type| SchemaType::new(blueprint, node_type))
                .collect(),
            blocking_view: blueprint.blocking_view.clone(),
        }
    }
}

impl SchemaType {
    fn new(blueprint: &Blueprint, node_type: &NodeType) -> Self {
        // References use UUIDs, as all ids on the wire. A reference to a type that the template does not have stays as
        // written.
        let by_uuid = |reference: &EcoString| {
            blueprint
                .node_type(reference)
                .map_or_else(|| reference.clone(), |known| known.id.as_str().into())
        };
        Self {
            id: node_type.id.clone(),
            key: node_type.key.clone(),
            name: node_type.name.clone(),
            allowed_children: node_type.allowed_children.iter().map(by_uuid).collect(),
            allowed_asset_types: node_type.allowed_asset_types.iter().map(by_uuid).collect(),
            icon: node_type.appearance.icon.clone(),
            color: node_type.appearance.color.clone(),
            shape: node_type.appearance.shape.clone(),
            base_type: node_type.appearance.base_type.clone(),
            features: node_type.features.clone(),
            primary_status_property_id: node_type.primary_status_property_id.clone(),
            properties: node_type.properties().map(SchemaProperty::from).collect(),
        }
    }
}

impl From<&PropertyType> for SchemaProperty {
    fn from(property: &PropertyType) -> Self {
        let options = match &property.kind {
            PropertyKind::Select(options) => Some(options.iter().map(SchemaOption::from).collect()),
            PropertyKind::Text(_)
            | PropertyKind::Number(_)
            | PropertyKind::Checkbox
            | PropertyKind::Date
            | PropertyKind::NodeReference
            | PropertyKind::Object
            | PropertyKind::Other(_) => None,
        };
        Self {
            id: property.id.clone(),
            key: property.role.clone(),
            name: property.name.clone(),
            r#type: property.kind.word().to_owned(),
            required: property.required,
            default: property.default.clone(),
            options,
            indicator_set: property.indicator_set.clone(),
            ui_group: property.ui_group.clone(),
            markup_profile: property.markup_profile.clone(),
            markup_tokens: property.markup_tokens.clone(),
        }
    }
}

impl From<&SelectOption> for SchemaOption {
    fn from(option: &SelectOption) -> Self {
        Self {
            id: option.id.clone(),
            name: option.name.clone(),
            indicator_id: option.indicator_id.clone(),
        }
    }
}
