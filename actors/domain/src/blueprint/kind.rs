//! Kinds of properties, and the values that each kind accepts.

use ecow::EcoString;
use jiff::civil::Date;

use crate::{ids::NodeId, value::Value};

/// Kind of a property. `null` clears a property of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyKind {
    /// String: `text`, `textarea`, `editor`.
    Text(EcoString),
    /// Number, or a string that contains one: `number`, `currency`. An empty string clears the property.
    Number(EcoString),
    /// Boolean.
    Checkbox,
    /// Date as `YYYY-MM-DD`, or an empty string.
    Date,
    /// Option of a list, by id or name. Stored as the id.
    Select(Vec<SelectOption>),
    /// Id of a node in the session, or a list of ids.
    NodeReference,
    /// JSON object.
    Object,
    /// Kind that the hub does not know. Accepts any value.
    Other(EcoString),
}

/// Option of a select.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectOption {
    /// Id, the stored value.
    pub id: EcoString,
    /// Display name.
    pub name: EcoString,
    /// Indicator in a front end.
    pub indicator_id: Option<EcoString>,
}

/// Error for a value that a property does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct InvalidValue {
    /// Description of the accepted values.
    pub expected: String,
}

impl PropertyKind {
    pub(super) fn new(word: &EcoString, options: Vec<SelectOption>) -> Self {
        match &**word {
            "text" | "textarea" | "editor" => Self::Text(word.clone()),
            "number" | "currency" => Self::Number(word.clone()),
            "checkbox" => Self::Checkbox,
            "date" => Self::Date,
            "select" => Self::Select(options),
            "node_reference" => Self::NodeReference,
            "object" => Self::Object,
            _ => Self::Other(word.clone()),
        }
    }

    /// Returns the template's word for the kind.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Text(word) | Self::Number(word) | Self::Other(word) => word,
            Self::Checkbox => "checkbox",
            Self::Date => "date",
            Self::Select(_) => "select",
            Self::NodeReference => "node_reference",
            Self::Object => "object",
        }
    }

    pub(super) fn check(&self, value: &Value, node_exists: &dyn Fn(NodeId) -> bool) -> Result<Value, InvalidValue> {
        let accept_if = |fits: bool| if fits { Ok(value.clone()) } else { Err(self.invalid()) };
        match (self, value) {
            (Self::Other(_), _) | (_, Value::Null) => Ok(value.clone()),
            (Self::Text(_), _) => accept_if(matches!(value, Value::Text(_))),
            // Forms send an empty string for an emptied field.
            (Self::Number(_), Value::Text(text)) if text.is_empty() => Ok(Value::Null),
            (Self::Number(_), Value::Text(text)) => accept_if(is_number(text)),
            (Self::Number(_), _) => accept_if(matches!(value, Value::Number(_))),
            (Self::Checkbox, _) => accept_if(matches!(value, Value::Bool(_))),
            (Self::Date, _) => accept_if(value.as_text().is_some_and(is_date)),
            (Self::Object, _) => accept_if(matches!(value, Value::Object(_))),
            (Self::NodeReference, Value::List(nodes)) => accept_if(nodes.iter().all(|node| is_node(node, node_exists))),
            (Self::NodeReference, _) => accept_if(is_node(value, node_exists)),
            (Self::Select(options), _) => value
                .as_text()
                .and_then(|text| find_option(options, text))
                .map(|option| Value::Text(option.id.clone()))
                .ok_or_else(|| self.invalid()),
        }
    }

    fn invalid(&self) -> InvalidValue {
        let expected = match self {
            Self::Text(_) => "a string".to_owned(),
            Self::Number(_) => "a number or a string that is one".to_owned(),
            Self::Checkbox => "true or false".to_owned(),
            Self::Date => "a date as YYYY-MM-DD, or an empty string".to_owned(),
            Self::NodeReference => "the id of an existing node, or a list of them".to_owned(),
            Self::Object => "an object".to_owned(),
            Self::Other(_) => "anything".to_owned(),
            Self::Select(options) => {
                // Names enough options to recognize the list. A list of hundreds would not help.
                const NAMED_MAX: usize = 12;
                let names: Vec<_> = options
                    .iter()
                    .take(NAMED_MAX)
                    .map(|option| format!("{:?}", option.name))
                    .collect();
                let rest = if options.len() > NAMED_MAX { ", …" } else { "" };
                format!("one of {}{rest}", names.join(", "))
            }
        };
        InvalidValue { expected }
    }
}

/// Returns the option with the id, or else the option with the name.
fn find_option<'a>(options: &'a [SelectOption], text: &str) -> Option<&'a SelectOption> {
    let by_id = options.iter().find(|option| *option.id == *text);
    by_id.or_else(|| options.iter().find(|option| *option.name == *text))
}

/// Returns true if the text is a JSON number without surrounding white space.
fn is_number(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|first| first == b'-' || first.is_ascii_digit())
        && text.parse::<serde_json::Number>().is_ok()
}

fn is_date(text: &str) -> bool {
    // jiff accepts further spellings of a date that the protocol does not.
    const FORM: &str = "YYYY-MM-DD";
    text.is_empty() || (text.len() == FORM.len() && text.as_bytes()[4] == b'-' && text.parse::<Date>().is_ok())
}

fn is_node(value: &Value, node_exists: &dyn Fn(NodeId) -> bool) -> bool {
    value
        .as_text()
        .and_then(|text| text.parse().ok())
        .is_some_and(node_exists)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    #[test]
    fn kinds_accept_only_their_values() {
        let option = |id: &str, name: &str| SelectOption {
            id: id.into(),
            name: name.into(),
            indicator_id: None,
        };
        let options = vec![option("to_do", "To Do"), option("done", "Done")];
        for (word, accepted, refused) in [
            ("text", vec![r#""x""#, r#""""#], vec!["1", "true", "[]", "{}"]),
            ("editor", vec![r#""x""#], vec!["1"]),
            (
                "number",
                vec!["1", "-1.5", r#""12.50""#, r#""-3e2""#],
                vec![r#"" ""#, r#""x""#, r#"" 1""#, r#""1 ""#, "true", r#""NaN""#],
            ),
            ("currency", vec!["123456789012345678901234567890"], vec!["{}"]),
            ("checkbox", vec!["true", "false"], vec![r#""true""#, "1"]),
            (
                "date",
                vec![r#""2026-02-28""#, r#""""#],
                vec![
                    r#""2026-02-30""#,
                    r#""2026-2-3""#,
                    r#""20260228""#,
                    r#""2026-02-28T00:00""#,
                    "5",
                ],
            ),
            ("select", vec![r#""to_do""#, r#""To Do""#], vec![r#""Nope""#, "0", "[]"]),
            (
                "node_reference",
                vec![
                    r#""67e55044-10b1-426f-9247-bb680e5fe0c8""#,
                    "[]",
                    r#"["67e55044-10b1-426f-9247-bb680e5fe0c8"]"#,
                ],
                vec![r#""x""#, r#"["x"]"#, "5"],
            ),
            ("object", vec!["{}"], vec!["[]", r#""{}""#]),
            ("holodeck", vec!["1", r#""x""#, "[]"], vec![]),
        ] {
            let kind = PropertyKind::new(&word.into(), options.clone());
            assert_eq!(kind.word(), word);
            let check = |json: &str| kind.check(&serde_json::from_str(json).expect(json), &|id| id.to_string() == NODE);
            assert_eq!(check("null"), Ok(Value::Null), "{word}: null clears");
            if matches!(kind, PropertyKind::Number(_)) {
                assert_eq!(check(r#""""#), Ok(Value::Null), "{word}: an emptied field clears");
            }
            for json in accepted {
                assert!(check(json).is_ok(), "{word} holds {json}");
            }
            for json in refused {
                assert_eq!(check(json), Err(kind.invalid()), "{word} does not hold {json}");
            }
        }
    }

    #[test]
    fn select_stores_option_id() {
        let option = |id: &str, name: &str| SelectOption {
            id: id.into(),
            name: name.into(),
            indicator_id: None,
        };
        let kind = PropertyKind::Select(vec![option("a", "b"), option("b", "c")]);
        let check = |text: &str| kind.check(&Value::text(text), &|_| false);
        assert_eq!(check("b"), Ok(Value::text("b")), "an id goes before a name");
        assert_eq!(check("c"), Ok(Value::text("b")));
        assert_eq!(check("d").expect_err("no such option").expected, r#"one of "b", "c""#);
    }
}
