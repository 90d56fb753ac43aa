//! Conversion of a template's document into a blueprint. Checks every field and names the field of a fault.

use std::collections::BTreeMap;

use ecow::EcoString;
use uuid::Uuid;

use super::{
    Blueprint, NodeType, PropertyType, derived_uuid,
    document::{NodeTypeDocument, OptionDocument, PropertyDocument, TemplateDocument},
    features, find,
    kind::{PropertyKind, SelectOption},
};
use crate::{
    ids::{PropertyId, TemplateId, TypeId},
    properties::Properties,
    value::Value,
};

/// Fault in a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TemplateError {
    /// Field at fault, such as `node_types[2].properties[1].id`.
    pub path: String,
    /// Line at which the enclosing item begins, counted from 1.
    pub line: Option<u64>,
    /// Reason, as a message for people.
    pub reason: String,
}

/// Location in the template, for error messages.
#[derive(Clone)]
struct Location {
    path: String,
    line: Option<u64>,
}

impl Location {
    fn fault(&self, field: &str, reason: impl Into<String>) -> TemplateError {
        let path = if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.path)
        };
        TemplateError {
            path,
            line: self.line,
            reason: reason.into(),
        }
    }

    fn item(&self, list: &str, index: usize, line: Option<u64>) -> Self {
        let list = if self.path.is_empty() {
            list.to_owned()
        } else {
            format!("{}.{list}", self.path)
        };
        Self {
            path: format!("{list}[{index}]"),
            line: line.or(self.line),
        }
    }

    fn required(&self, field: &str, value: Option<&EcoString>) -> Result<EcoString, TemplateError> {
        match value.filter(|text| !text.trim().is_empty()) {
            Some(text) => Ok(text.clone()),
            None => Err(self.fault(field, "is required")),
        }
    }

    fn uuid(&self, explicit: Option<&EcoString>, derived: impl FnOnce() -> Uuid) -> Result<String, TemplateError> {
        match explicit {
            None => Ok(derived().to_string()),
            Some(text) => match Uuid::try_parse(text) {
                Ok(uuid) => Ok(uuid.to_string()),
                Err(_) => Err(self.fault("uuid", format!("{text:?} is not a UUID"))),
            },
        }
    }
}

impl Blueprint {
    /// Checks and indexes a template.
    ///
    /// # Errors
    /// Returns the first field at fault.
    pub fn build(id: TemplateId, document: TemplateDocument) -> Result<Self, TemplateError> {
        let at = Location {
            path: String::new(),
            line: None,
        };
        let name = at.required("name", document.name.as_ref())?;
        if document.node_types.is_empty() {
            return Err(at.fault("node_types", "must have at least one type"));
        }
        let mut types = Vec::new();
        let mut index = BTreeMap::new();
        for (number, node_type) in document.node_types.iter().enumerate() {
            let at = at.item("node_types", number, node_type.line);
            let node_type = build_type(&at, node_type)?;
            index_item(&at, &mut index, number, &node_type.key, node_type.id.as_str())?;
            types.push(node_type);
        }
        let is_root = |node_type: &NodeType| node_type.features.iter().any(|feature| &**feature == "is_root");
        Ok(Self {
            id,
            uuid: document.uuid,
            name,
            version: document.version.unwrap_or_else(|| "1.0".into()),
            description: document.description,
            blocking_view: document.blocking_view,
            root: types.iter().position(is_root).unwrap_or_default(),
            types,
            index,
        })
    }
}

/// Indexes an item by its slug and its uuid. Both have to be unique.
fn index_item(
    at: &Location,
    index: &mut BTreeMap<EcoString, usize>,
    number: usize,
    slug: &EcoString,
    uuid: &str,
) -> Result<(), TemplateError> {
    if index.insert(slug.clone(), number).is_some() {
        return Err(at.fault("id", format!("{slug:?} is used twice")));
    }
    if index.insert(uuid.into(), number).is_some_and(|other| other != number) {
        return Err(at.fault("uuid", format!("{uuid} is used twice")));
    }
    Ok(())
}

fn build_type(at: &Location, document: &NodeTypeDocument) -> Result<NodeType, TemplateError> {
    let key = at.required("id", document.id.as_ref())?;
    let name = at.required("label", document.label.as_ref())?;
    let id = TypeId::new(at.uuid(document.uuid.as_ref(), || derived_uuid("node_type", &key))?);
    let features = features::type_features(document, &key);
    let mut properties = Vec::new();
    let mut index = BTreeMap::new();
    for (number, property) in features::all_properties(document, &features) {
        let at = at.item("properties", number, property.line);
        let property = build_property(&at, &key, &property)?;
        index_item(&at, &mut index, properties.len(), &property.key, property.id.as_str())?;
        properties.push(property);
    }
    let primary_status = document.primary_status_property_id.as_ref();
    Ok(NodeType {
        id,
        key,
        name,
        allowed_children: document.allowed_children.clone(),
        allowed_asset_types: document.allowed_asset_types.clone(),
        features,
        appearance: document.appearance.clone(),
        primary_status_property_id: primary_status.map(|reference| resolve_to_uuid(reference, &properties, &index)),
        defaults: defaults(&properties),
        properties,
        index,
    })
}

/// Returns a reference to a property by uuid, as used outside the template. A reference to a property that the type
/// does not have is returned unchanged.
fn resolve_to_uuid(
    reference: &EcoString,
    properties: &[PropertyType],
    index: &BTreeMap<EcoString, usize>,
) -> EcoString {
    let named = find(index, reference).map(|at| &properties[at]);
    let known = named.or_else(|| properties.iter().find(|property| property.role == *reference));
    known.map_or_else(|| reference.clone(), |property| property.id.as_str().into())
}

fn build_property(at: &Location, type_slug: &str, document: &PropertyDocument) -> Result<PropertyType, TemplateError> {
    let key = at.required("id", document.id.as_ref())?;
    let name = at.required("label", document.label.as_ref())?;
    let word = at.required("type", document.kind.as_ref())?;
    let derived = || derived_uuid(&format!("property.{type_slug}"), &key);
    let id = PropertyId::new(at.uuid(document.uuid.as_ref(), derived)?);
    let options = build_options(
        at,
        &format!("{type_slug}.{key}"),
        document.options.as_deref().unwrap_or_default(),
    )?;
    let kind = PropertyKind::new(&word, options);
    // A default that the property refuses would create nodes whose value could not be restored after an edit.
    let default = match &document.default {
        None | Some(Value::Null) => None,
        Some(value) => {
            let checked = kind.check(value, &|_| true);
            let value = checked.map_err(|invalid| at.fault("value", format!("must be {}", invalid.expected)))?;
            Some(value).filter(|value| *value != Value::Null)
        }
    };
    Ok(PropertyType {
        id,
        role: document.role.clone().unwrap_or_else(|| key.clone()),
        key,
        name,
        kind,
        required: document.required.unwrap_or_default(),
        default,
        indicator_set: document.indicator_set.clone(),
        ui_group: document.ui_group.clone(),
        markup_profile: document.markup_profile.clone(),
        markup_tokens: document.markup_tokens.clone(),
    })
}

fn build_options(
    at: &Location,
    namespace: &str,
    documents: &[OptionDocument],
) -> Result<Vec<SelectOption>, TemplateError> {
    let mut options: Vec<SelectOption> = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        let at = at.item("options", number, document.line);
        let name = at.required("name", document.name.as_ref())?;
        if options.iter().any(|other| other.name == name) {
            return Err(at.fault("name", format!("{name:?} is used twice")));
        }
        let id = document
            .id
            .clone()
            .unwrap_or_else(|| derived_uuid(namespace, &name).to_string().into());
        if options.iter().any(|other| other.id == id) {
            return Err(at.fault("id", format!("{id:?} is used twice")));
        }
        options.push(SelectOption {
            id,
            name,
            indicator_id: document.indicator_id.clone(),
        });
    }
    Ok(options)
}

fn defaults(properties: &[PropertyType]) -> Properties {
    let first_option = |property: &PropertyType| match &property.kind {
        PropertyKind::Select(options) => options.first().map(|option| Value::Text(option.id.clone())),
        PropertyKind::Text(_)
        | PropertyKind::Number(_)
        | PropertyKind::Checkbox
        | PropertyKind::Date
        | PropertyKind::NodeReference
        | PropertyKind::Object
        | PropertyKind::Other(_) => None,
    };
    let named = properties.iter().filter(|property| &*property.key != PropertyId::NAME);
    let with_default = named.filter_map(|property| {
        let value = property.default.clone().or_else(|| first_option(property))?;
        Some((property.id.clone(), value))
    });
    with_default.collect()
}
