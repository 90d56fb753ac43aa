//! Resolution of type and property references: by slug or id in a session with a template, by any name without one.

use ecow::EcoString;

use super::Decider;
use crate::{
    blueprint::{NodeType, PropertyType},
    content::NodeContent,
    event::PropertyRef,
    ids::{PropertyId, TypeId},
    limits::{Limits, NameError, check_name, check_value},
    properties::Properties,
    rejection::Rejection,
    value::Value,
};

/// Type of a node, resolved against the session's template.
pub(super) struct ResolvedType<'a> {
    pub(super) id: TypeId,
    kind: TypeKind<'a>,
}

enum TypeKind<'a> {
    /// Type of a session without a template. Every property is allowed.
    Free,
    /// Type that the template contains.
    Known(&'a NodeType),
    /// Type from a project file that the template does not contain.
    Orphan,
}

/// Property of a node, resolved against the session's template.
pub(super) enum ResolvedProperty<'a> {
    /// Name of a node whose type does not define a name property.
    Name,
    /// Property of a session without a template, or a property left over from another template.
    Free(EcoString),
    /// Property that the template contains.
    Known(&'a PropertyType),
}

impl<'a> Decider<'a> {
    /// Resolves the type that a command names.
    pub(super) fn node_type(&self, reference: &EcoString) -> Result<ResolvedType<'a>, Rejection> {
        let Some(blueprint) = &self.rules.blueprint else {
            return Ok(ResolvedType {
                id: TypeId::new(reference.clone()),
                kind: TypeKind::Free,
            });
        };
        let known = blueprint
            .node_type(reference)
            .ok_or_else(|| Rejection::UnknownNodeType(reference.clone()))?;
        Ok(ResolvedType {
            id: known.id.clone(),
            kind: TypeKind::Known(known),
        })
    }

    /// Resolves the type of an existing node.
    pub(super) fn type_of(&self, content: &NodeContent) -> ResolvedType<'a> {
        let kind = match &self.rules.blueprint {
            None => TypeKind::Free,
            Some(blueprint) => blueprint
                .node_type(content.type_id.as_str())
                .map_or(TypeKind::Orphan, TypeKind::Known),
        };
        ResolvedType {
            id: content.type_id.clone(),
            kind,
        }
    }

    /// Checks that the template allows a child type under a parent type.
    pub(super) fn check_child(&self, parent: &TypeId, child: &TypeId) -> Result<(), Rejection> {
        let Some(blueprint) = &self.rules.blueprint else {
            return Ok(());
        };
        let (parent_type, child_type) = (
            blueprint.node_type(parent.as_str()),
            blueprint.node_type(child.as_str()),
        );
        if let (Some(parent), Some(child)) = (parent_type, child_type)
            && parent.allows_child(child)
        {
            return Ok(());
        }
        let display_key =
            |known: Option<&NodeType>, id: &TypeId| known.map_or(id.as_str().into(), |kind| kind.key.clone());
        Err(Rejection::ChildNotAllowed {
            parent_type: display_key(parent_type, parent),
            child_type: display_key(child_type, child),
        })
    }

    /// Returns a text value as a name if it is valid.
    pub(super) fn check_name(&self, property: &str, value: &Value) -> Result<EcoString, Rejection> {
        parse_name(property, value, self.limits())
    }
}

impl<'a> ResolvedType<'a> {
    /// Returns the initial properties of a new node.
    pub(super) fn defaults(&self) -> Properties {
        match self.kind {
            TypeKind::Known(known) => known.defaults(),
            TypeKind::Free | TypeKind::Orphan => Properties::new(),
        }
    }

    /// Resolves the property that a command names.
    pub(super) fn property(&self, reference: &EcoString) -> Result<ResolvedProperty<'a>, Rejection> {
        let known = match self.kind {
            TypeKind::Known(known) => known.property(reference),
            TypeKind::Free | TypeKind::Orphan => None,
        };
        match (known, &self.kind) {
            (Some(property), _) => Ok(ResolvedProperty::Known(property)),
            (None, _) if &**reference == PropertyId::NAME => Ok(ResolvedProperty::Name),
            (None, TypeKind::Free) => Ok(ResolvedProperty::Free(reference.clone())),
            (None, TypeKind::Known(_) | TypeKind::Orphan) => Err(Rejection::UnknownProperty {
                node_type: self.display_key(),
                property: reference.clone(),
            }),
        }
    }

    /// Resolves a property. Unknown references resolve to a free property, because a project file may have left it
    /// over.
    pub(super) fn property_or_orphan(&self, reference: &EcoString) -> ResolvedProperty<'a> {
        self.property(reference)
            .unwrap_or_else(|_| ResolvedProperty::Free(reference.clone()))
    }

    fn display_key(&self) -> EcoString {
        match self.kind {
            TypeKind::Known(known) => known.key.clone(),
            TypeKind::Free | TypeKind::Orphan => self.id.as_str().into(),
        }
    }
}

impl ResolvedProperty<'_> {
    pub(super) fn is_name(&self) -> bool {
        match self {
            Self::Name => true,
            Self::Free(_) => false,
            Self::Known(known) => &*known.key == PropertyId::NAME,
        }
    }

    pub(super) fn id(&self) -> PropertyId {
        match self {
            Self::Name => PropertyId::new(PropertyId::NAME),
            Self::Free(id) => PropertyId::new(id.clone()),
            Self::Known(known) => known.id.clone(),
        }
    }

    pub(super) fn to_ref(&self) -> PropertyRef {
        let key = match self {
            Self::Name | Self::Free(_) => None,
            Self::Known(known) => Some(known.key.clone()),
        };
        PropertyRef { id: self.id(), key }
    }

    fn display_key(&self) -> EcoString {
        match self {
            Self::Name => PropertyId::NAME.into(),
            Self::Free(id) => id.clone(),
            Self::Known(known) => known.key.clone(),
        }
    }

    /// Returns the value in its stored form if the property accepts it.
    pub(super) fn check(&self, value: &Value, decider: &Decider<'_>) -> Result<Value, Rejection> {
        check_value(value, decider.limits())?;
        match self {
            Self::Name | Self::Free(_) => Ok(value.clone()),
            Self::Known(known) => known
                .check(value, &|id| decider.graph().contains(id))
                .map_err(|invalid| Rejection::InvalidValue {
                    property: self.display_key(),
                    expected: invalid.expected.into(),
                    found: display_value(value),
                }),
        }
    }

    /// Returns the value as a node name if it is valid.
    pub(super) fn check_name(&self, value: &Value, limits: &Limits) -> Result<EcoString, Rejection> {
        parse_name(&self.display_key(), value, limits)
    }
}

fn parse_name(property: &str, value: &Value, limits: &Limits) -> Result<EcoString, Rejection> {
    let invalid = |expected: &str| Rejection::InvalidValue {
        property: property.into(),
        expected: expected.into(),
        found: display_value(value),
    };
    let Value::Text(text) = value else {
        return Err(invalid("a string"));
    };
    match check_name(text, limits) {
        Ok(()) => Ok(text.clone()),
        Err(NameError::Blank) => Err(invalid("a name with a character that is not white space")),
        Err(NameError::Control) => Err(invalid("a name without control characters")),
        Err(NameError::TooLong(limit)) => Err(limit.into()),
    }
}

/// Formats a value for an error message: its JSON if that is short, or else its kind.
fn display_value(value: &Value) -> EcoString {
    const DISPLAYED_BYTES_MAX: usize = 60;
    if value.json_bytes() > DISPLAYED_BYTES_MAX {
        return value.kind().into();
    }
    serde_json::to_string(value)
        .unwrap_or_else(|_| value.kind().to_owned())
        .into()
}
