//! Templates on the wire.

use std::sync::Arc;

use serde::Serialize;
use talus_actors::domain::{
    blueprint::{Blueprint, NodeType, PropertyKind, PropertyType, SelectOption},
    ids::{PropertyId, TemplateId, TypeId},
    value::Value,
};

use crate::templates::TemplateEntry;

/// The answer of `GET /templates`.
#[derive(Debug, Serialize)]
pub struct TemplateList {
    templates: Vec<ListedTemplate>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ListedTemplate {
    Usable {
        id: TemplateId,
        uuid: Option<Arc<str>>,
        name: Arc<str>,
        version: Arc<str>,
        description: Option<Arc<str>>,
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
                name: Arc::clone(&template.name),
                version: Arc::clone(&template.version),
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

/// The answer of `GET /templates/{id}/schema`.
#[derive(Debug, Serialize)]
pub struct Schema {
    id: TemplateId,
    uuid: Option<Arc<str>>,
    name: Arc<str>,
    version: Arc<str>,
    description: Option<Arc<str>>,
    node_types: Vec<SchemaType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocking_view: Option<Value>,
}

#[derive(Debug, Serialize)]
struct SchemaType {
    id: TypeId,
    key: Arc<str>,
    name: Arc<str>,
    allowed_children: Vec<Arc<str>>,
    allowed_asset_types: Vec<Arc<str>>,
    icon: Option<Arc<str>>,
    color: Option<Arc<str>>,
    shape: Option<Arc<str>>,
    base_type: Option<Arc<str>>,
    features: Vec<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_status_property_id: Option<Arc<str>>,
    properties: Vec<SchemaProperty>,
}

#[derive(Debug, Serialize)]
struct SchemaProperty {
    id: PropertyId,
    key: Arc<str>,
    name: Arc<str>,
    r#type: String,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
    options: Option<Vec<SchemaOption>>,
    indicator_set: Option<Arc<str>>,
    ui_group: Option<Arc<str>>,
    markup_profile: Option<Value>,
    markup_tokens: Option<Value>,
}

#[derive(Debug, Serialize)]
struct SchemaOption {
    id: Arc<str>,
    name: Arc<str>,
    indicator_id: Option<Arc<str>>,
}

impl From<&Blueprint> for Schema {
    fn from(blueprint: &Blueprint) -> Self {
        Self {
            id: blueprint.id().clone(),
            uuid: blueprint.uuid.clone(),
            name: Arc::clone(&blueprint.name),
            version: Arc::clone(&blueprint.version),
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
        // By uuid, as everything on the wire; a type that the template does not have stays as it was written.
        let by_uuid = |reference: &Arc<str>| {
            blueprint
                .node_type(reference)
                .map_or_else(|| Arc::clone(reference), |known| known.id.as_str().into())
        };
        Self {
            id: node_type.id.clone(),
            key: Arc::clone(&node_type.key),
            name: Arc::clone(&node_type.name),
            allowed_children: node_type.allowed_children.iter().map(by_uuid).collect(),
            allowed_asset_types: node_type.allowed_asset_types.iter().map(by_uuid).collect(),
            icon: node_type.look.icon.clone(),
            color: node_type.look.color.clone(),
            shape: node_type.look.shape.clone(),
            base_type: node_type.look.base_type.clone(),
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
            key: Arc::clone(&property.role),
            name: Arc::clone(&property.name),
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
            id: Arc::clone(&option.id),
            name: Arc::clone(&option.name),
            indicator_id: option.indicator_id.clone(),
        }
    }
}
