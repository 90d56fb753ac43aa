//! The YAML of templates: lenient in what it takes (unknown keys, numbers where texts are meant), exact in what it
//! says about the rest.

use ecow::EcoString;
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;
use talus_actors::domain::{
    blueprint::{
        Look,
        document::{NodeTypeDocument, OptionDocument, PropertyDocument, TemplateDocument},
    },
    value::Value,
};

/// Reads a template's document. The parser holds its input to budgets of its own: aliases that multiply are refused.
///
/// # Errors
/// Says what is wrong, with line and column.
pub(super) fn parse(text: &str) -> Result<TemplateDocument, String> {
    let template: Template = serde_saphyr::from_str(text).map_err(|error| one_line(&error))?;
    Ok(template.into())
}

/// The parser draws a picture of the place; a message has one line.
fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let text = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .trim_start_matches("error: ")
        .to_owned();
    match error.location() {
        Some(at) if !text.contains("line ") => format!("line {}, column {}: {text}", at.line(), at.column()),
        _ => text,
    }
}

/// A text, also where YAML sees a number or a boolean.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(EcoString),
    Bool(bool),
    Integer(i64),
    Float(f64),
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<EcoString>, D::Error> {
    Ok(Option::<Scalar>::deserialize(deserializer)?.map(|scalar| match scalar {
        Scalar::Text(text) => text,
        Scalar::Bool(flag) => flag.to_string().into(),
        Scalar::Integer(number) => number.to_string().into(),
        Scalar::Float(number) => number.to_string().into(),
    }))
}

/// A list that may be null.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Template {
    #[serde(default, deserialize_with = "text")]
    name: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    version: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    description: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    uuid: Option<EcoString>,
    #[serde(default, deserialize_with = "list")]
    node_types: Vec<Spanned<NodeType>>,
    blocking_view: Option<Value>,
}

#[derive(Deserialize)]
struct NodeType {
    #[serde(default, deserialize_with = "text")]
    id: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    label: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    name: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    uuid: Option<EcoString>,
    #[serde(default, deserialize_with = "list")]
    allowed_children: Vec<EcoString>,
    #[serde(default, deserialize_with = "list")]
    allowed_asset_types: Vec<EcoString>,
    #[serde(default, deserialize_with = "list")]
    features: Vec<EcoString>,
    #[serde(default, deserialize_with = "text")]
    icon: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    color: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    shape: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    base_type: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    primary_status_property_id: Option<EcoString>,
    #[serde(default, deserialize_with = "list")]
    properties: Vec<Spanned<Property>>,
}

#[derive(Deserialize)]
struct Property {
    #[serde(default, deserialize_with = "text")]
    id: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    label: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    name: Option<EcoString>,
    #[serde(default, rename = "type", deserialize_with = "text")]
    kind: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    uuid: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    key: Option<EcoString>,
    #[serde(default)]
    required: Option<bool>,
    value: Option<Value>,
    options: Option<Vec<SelectOption>>,
    #[serde(default, deserialize_with = "text")]
    indicator_set: Option<EcoString>,
    #[serde(default, deserialize_with = "text")]
    ui_group: Option<EcoString>,
    markup_profile: Option<Value>,
    markup_tokens: Option<Value>,
    #[serde(default, rename = "_macro_injected")]
    injected: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SelectOption {
    Full {
        #[serde(default, deserialize_with = "text")]
        name: Option<EcoString>,
        #[serde(default, deserialize_with = "text")]
        id: Option<EcoString>,
        #[serde(default, deserialize_with = "text")]
        indicator_id: Option<EcoString>,
    },
    Name(EcoString),
    Number(f64),
}

impl From<Template> for TemplateDocument {
    fn from(template: Template) -> Self {
        Self {
            name: template.name,
            version: template.version,
            description: template.description,
            uuid: template.uuid,
            node_types: template
                .node_types
                .into_iter()
                .map(NodeTypeDocument::from_yaml)
                .collect(),
            blocking_view: template.blocking_view,
        }
    }
}

/// What becomes a document, and where it begins in the file.
trait FromYaml<T> {
    fn from_yaml(spanned: Spanned<T>) -> Self;
}

impl FromYaml<NodeType> for NodeTypeDocument {
    fn from_yaml(Spanned { value, referenced, .. }: Spanned<NodeType>) -> Self {
        Self {
            line: Some(referenced.line()),
            id: value.id,
            label: value.label.or(value.name),
            uuid: value.uuid,
            allowed_children: value.allowed_children,
            allowed_asset_types: value.allowed_asset_types,
            features: value.features,
            look: Look {
                icon: value.icon,
                color: value.color,
                shape: value.shape,
                base_type: value.base_type,
            },
            primary_status_property_id: value.primary_status_property_id,
            properties: value.properties.into_iter().map(PropertyDocument::from_yaml).collect(),
        }
    }
}

impl FromYaml<Property> for PropertyDocument {
    fn from_yaml(Spanned { value, referenced, .. }: Spanned<Property>) -> Self {
        Self {
            line: Some(referenced.line()),
            id: value.id,
            label: value.label.or(value.name),
            kind: value.kind,
            uuid: value.uuid,
            role: value.key,
            required: value.required.unwrap_or_default(),
            default: value.value,
            options: value
                .options
                .map(|options| options.into_iter().map(OptionDocument::from).collect()),
            indicator_set: value.indicator_set,
            ui_group: value.ui_group,
            markup_profile: value.markup_profile,
            markup_tokens: value.markup_tokens,
            injected: value.injected.unwrap_or_default(),
        }
    }
}

impl From<SelectOption> for OptionDocument {
    fn from(option: SelectOption) -> Self {
        match option {
            SelectOption::Full { name, id, indicator_id } => Self { name, id, indicator_id },
            SelectOption::Name(name) => Self {
                name: Some(name),
                ..Self::default()
            },
            SelectOption::Number(number) => Self {
                name: Some(number.to_string().into()),
                ..Self::default()
            },
        }
    }
}
