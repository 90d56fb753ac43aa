//! Value of one key, in the four types of the configuration.
//!
//! The layering library converts between types silently (`port = 5000.7` becomes 5001, `true` becomes 1). Here a value
//! has the type of the key's default, or it is a fault. Only text from the environment and from flags is parsed.

use std::fmt;

use ::config::{Value, ValueKind};

/// Value with the type of the key's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    Boolean(bool),
    Integer(i64),
    Text(String),
    List(Vec<String>),
}

impl Setting {
    /// Converts a value of the layering library. `None`: the value has a type that no key has.
    pub(super) fn from_kind(kind: &ValueKind) -> Option<Self> {
        match kind {
            ValueKind::Boolean(value) => Some(Self::Boolean(*value)),
            ValueKind::I64(value) => Some(Self::Integer(*value)),
            ValueKind::String(value) => Some(Self::Text(value.clone())),
            ValueKind::Array(items) => items.iter().map(text_of).collect::<Option<_>>().map(Self::List),
            ValueKind::Nil
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::Table(_) => None,
        }
    }

    /// Parses `text` as the type of `self`. A list is separated by commas; blanks around its items are dropped.
    pub(super) fn parse_like(&self, text: &str) -> Option<Self> {
        match self {
            Self::Boolean(_) => text.parse().ok().map(Self::Boolean),
            Self::Integer(_) => text.parse().ok().map(Self::Integer),
            Self::Text(_) => Some(Self::Text(text.to_owned())),
            Self::List(_) if text.trim().is_empty() => Some(Self::List(Vec::new())),
            Self::List(_) => Some(Self::List(text.split(',').map(|item| item.trim().to_owned()).collect())),
        }
    }

    /// Returns true if both values have the same type.
    pub(super) fn has_same_type(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Returns the name of the type, for the message "must be …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "true or false",
            Self::Integer(_) => "a whole number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list of strings",
        }
    }

    /// Converts to a value of the layering library, which records the source of the value.
    pub(super) fn into_value(self, source_name: &str) -> Value {
        let source_name = source_name.to_owned();
        match self {
            Self::Boolean(value) => Value::new(Some(&source_name), value),
            Self::Integer(value) => Value::new(Some(&source_name), value),
            Self::Text(value) => Value::new(Some(&source_name), value),
            Self::List(items) => Value::new(Some(&source_name), items),
        }
    }
}

/// Formats the value as in a file, on one line.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::List(items) => write!(f, "{items:?}"),
        }
    }
}

/// Formats any value of the layering library on one line, for the message about a value of a wrong type.
pub(super) fn describe(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(value) => format!("{value:?}"),
        ValueKind::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| describe(&item.kind)).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::Float(value) => format!("{value:?}"),
        ValueKind::Boolean(_) | ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            kind.to_string()
        }
    }
}

fn text_of(item: &Value) -> Option<String> {
    match &item.kind {
        ValueKind::String(text) => Some(text.clone()),
        _ => None,
    }
}
