//! A value of one key, in the four kinds the configuration has.
//!
//! The layering library converts between kinds without a word (`port = 5000.7` becomes 5001, `true` becomes 1). Here a
//! value has the kind of the key's default, or it is a fault; only text from the environment and from flags is read.

use std::fmt;

use ::config::{Value, ValueKind};

/// A value of the kind that the key's default has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    Boolean(bool),
    Integer(i64),
    Text(String),
    List(Vec<String>),
}

impl Setting {
    /// The setting in a value of the layering library, if it is of one of our kinds.
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

    /// Reads `text` as the kind of `self`. A list is separated by commas; blanks around its items are dropped.
    pub(super) fn read_alike(&self, text: &str) -> Option<Self> {
        match self {
            Self::Boolean(_) => text.parse().ok().map(Self::Boolean),
            Self::Integer(_) => text.parse().ok().map(Self::Integer),
            Self::Text(_) => Some(Self::Text(text.to_owned())),
            Self::List(_) if text.trim().is_empty() => Some(Self::List(Vec::new())),
            Self::List(_) => Some(Self::List(text.split(',').map(|item| item.trim().to_owned()).collect())),
        }
    }

    /// Whether both are of one kind.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// What a value of this kind must be.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "true or false",
            Self::Integer(_) => "a whole number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list of strings",
        }
    }

    /// The same as a value of the layering library, which remembers where it is from.
    pub(super) fn into_value(self, origin: &str) -> Value {
        let origin = origin.to_owned();
        match self {
            Self::Boolean(value) => Value::new(Some(&origin), value),
            Self::Integer(value) => Value::new(Some(&origin), value),
            Self::Text(value) => Value::new(Some(&origin), value),
            Self::List(items) => Value::new(Some(&origin), items),
        }
    }
}

/// As it would stand in a file, on one line.
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

/// Any value of the layering library on one line, for the message about a value of a wrong kind.
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
