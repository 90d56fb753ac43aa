//! YAML of templates: lenient in its input (unknown keys, numbers in the place of texts), exact in its errors.

use ecow::EcoString;
use talus_actors::domain::{
    blueprint::{
        Appearance, TemplateError,
        document::{NodeTypeDocument, OptionDocument, PropertyDocument, TemplateDocument},
    },
    value::Value,
};

use super::{
    TemplateLoadError,
    tree::{self, Content, Node},
};

/// Parses a template's document.
///
/// # Errors
/// Returns the fault with its line and field.
pub(super) fn parse(text: &str) -> Result<TemplateDocument, TemplateLoadError> {
    let tree = tree::read(text).map_err(TemplateLoadError::invalid)?;
    let fields = Fields::of("", &tree)?;
    Ok(TemplateDocument {
        name: fields.text("name")?,
        version: fields.text("version")?,
        description: fields.text("description")?,
        uuid: fields.text("uuid")?,
        node_types: fields.each("node_types", node_type)?,
        blocking_view: fields.get("blocking_view").map(Node::value),
    })
}

fn node_type(path: &str, node: &Node) -> Result<NodeTypeDocument, TemplateError> {
    let fields = Fields::of(path, node)?;
    Ok(NodeTypeDocument {
        line: Some(node.line),
        id: fields.text("id")?,
        label: fields.label()?,
        uuid: fields.text("uuid")?,
        allowed_children: fields.each("allowed_children", required_text)?,
        allowed_asset_types: fields.each("allowed_asset_types", required_text)?,
        features: fields.each("features", required_text)?,
        appearance: Appearance {
            icon: fields.text("icon")?,
            color: fields.text("color")?,
            shape: fields.text("shape")?,
            base_type: fields.text("base_type")?,
        },
        primary_status_property_id: fields.text("primary_status_property_id")?,
        properties: fields.each("properties", property)?,
    })
}

fn property(path: &str, node: &Node) -> Result<PropertyDocument, TemplateError> {
    let fields = Fields::of(path, node)?;
    let kind = fields.text("type")?;
    let default = fields.get("value").map(|value| match kind.as_deref() {
        Some("text" | "textarea" | "editor" | "select" | "date" | "node_reference") => value.text_value(),
        _ => value.value(),
    });
    let options = match fields.get("options") {
        None => None,
        Some(_) => Some(fields.each("options", option)?),
    };
    Ok(PropertyDocument {
        line: Some(node.line),
        id: fields.text("id")?,
        label: fields.label()?,
        kind,
        uuid: fields.text("uuid")?,
        role: fields.text("key")?,
        required: fields.flag("required")?,
        default,
        options,
        indicator_set: fields.text("indicator_set")?,
        ui_group: fields.text("ui_group")?,
        markup_profile: fields.get("markup_profile").map(Node::value),
        markup_tokens: fields.markup_tokens(),
        injected: fields.flag("_macro_injected")?.unwrap_or_default(),
        locked: fields.flag("system_locked")?.unwrap_or_default(),
    })
}

/// Reads an option: its name alone, or an object with the name.
fn option(path: &str, node: &Node) -> Result<OptionDocument, TemplateError> {
    if let Content::Scalar { text, .. } = &node.content {
        return Ok(OptionDocument {
            line: Some(node.line),
            name: Some(text.clone()),
            ..OptionDocument::default()
        });
    }
    let fields = Fields::of(path, node)?;
    Ok(OptionDocument {
        line: Some(node.line),
        name: fields.text("name")?,
        id: fields.text("id")?,
        indicator_id: fields.text("indicator_id")?,
    })
}

fn fault(path: &str, node: &Node, reason: &str) -> TemplateError {
    TemplateError {
        path: if path.is_empty() { "template" } else { path }.to_owned(),
        line: Some(node.line),
        reason: reason.to_owned(),
    }
}

/// Returns the text of a scalar.
fn required_text(path: &str, node: &Node) -> Result<EcoString, TemplateError> {
    match &node.content {
        Content::Scalar { text, .. } => Ok(text.clone()),
        Content::Null | Content::List(_) | Content::Map(_) => Err(fault(path, node, "must be a text")),
    }
}

/// Members of the object at `path`.
struct Fields<'a> {
    path: &'a str,
    members: &'a [(EcoString, Node)],
}

impl<'a> Fields<'a> {
    fn of(path: &'a str, node: &'a Node) -> Result<Self, TemplateError> {
        let members = match &node.content {
            Content::Map(members) => members.as_slice(),
            Content::Null if path.is_empty() => &[],
            Content::Null | Content::Scalar { .. } | Content::List(_) => {
                return Err(fault(path, node, "must be an object"));
            }
        };
        Ok(Self { path, members })
    }

    fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Returns a member. A null member counts as absent.
    fn get(&self, key: &str) -> Option<&'a Node> {
        let member = self.members.iter().find(|(own, _)| own == key).map(|(_, node)| node);
        member.filter(|node| !matches!(node.content, Content::Null))
    }

    fn text(&self, key: &str) -> Result<Option<EcoString>, TemplateError> {
        let text = |node| required_text(&self.path(key), node);
        self.get(key).map(text).transpose()
    }

    /// Returns the display name, from either of its two keys.
    fn label(&self) -> Result<Option<EcoString>, TemplateError> {
        let label = self.text("label")?.filter(|label| !label.trim().is_empty());
        let name = self.text("name")?;
        Ok(label.or(name))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, TemplateError> {
        let Some(node) = self.get(key) else { return Ok(None) };
        match &node.content {
            Content::Scalar {
                value: Value::Bool(flag),
                ..
            } => Ok(Some(*flag)),
            _ => Err(fault(&self.path(key), node, "must be true or false")),
        }
    }

    /// Reads each item of a list with its path.
    fn each<T>(
        &self,
        key: &str,
        read: impl Fn(&str, &Node) -> Result<T, TemplateError>,
    ) -> Result<Vec<T>, TemplateError> {
        let Some(node) = self.get(key) else {
            return Ok(Vec::new());
        };
        let path = self.path(key);
        let Content::List(items) = &node.content else {
            return Err(fault(&path, node, "must be a list"));
        };
        let items = items.iter().enumerate();
        items
            .map(|(index, item)| read(&format!("{path}[{index}]"), item))
            .collect()
    }

    /// Returns the markup tokens from this object, or from `markup`, their place in the predecessor's templates.
    fn markup_tokens(&self) -> Option<Value> {
        let within = || {
            let Value::Object(markup) = self.get("markup")?.value() else {
                return None;
            };
            markup.get("tokens").cloned()
        };
        self.get("markup_tokens").map(Node::value).or_else(within)
    }
}
