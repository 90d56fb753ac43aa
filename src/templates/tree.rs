//! YAML document as a tree, in which each node has its line and each scalar its own text.
//!
//! The place of a scalar determines its type: in the place of a text, `1.10`, `No` and `2026-01-05` are the written
//! texts, and not the number, boolean or date that YAML would read.

use std::{collections::BTreeMap, fmt, sync::Arc};

use ecow::EcoString;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Spanned, options::NonFiniteFloatPolicy};
use talus_actors::domain::value::Value;

/// Node of the document.
#[derive(Debug)]
pub(super) struct Node {
    /// Line of the node's first character, counted from 1.
    pub(super) line: u64,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// `~`, `null` or an empty value.
    Null,
    Scalar {
        /// Text as written, without quotes.
        text: EcoString,
        /// Value as YAML reads the text.
        value: Value,
    },
    List(Vec<Node>),
    Map(Vec<(EcoString, Node)>),
}

/// Parses a document. The parser enforces its own limits on depth, number of nodes and expansion of aliases.
///
/// # Errors
/// Returns one line with the position if the text is not YAML.
pub(super) fn read(source: &str) -> Result<Node, String> {
    let options = serde_saphyr::options! {
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    };
    let parsed = serde_saphyr::from_str_with_options::<Spanned<ParsedNode>>(source, options);
    let parsed = parsed.map_err(|error| one_line(&error))?;
    Ok(resolve_text(source, parsed))
}

/// Formats an error of the parser as one line, without the excerpt of the source.
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

impl Node {
    /// Converts the node to a value, with scalars as YAML reads them.
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Scalar { value, .. } => value.clone(),
            Content::List(items) => Value::List(items.iter().map(Self::value).collect()),
            Content::Map(members) => {
                let members: BTreeMap<_, _> = members.iter().map(|(key, node)| (key.clone(), node.value())).collect();
                Value::Object(Arc::new(members))
            }
        }
    }

    /// Converts the node to a value in which each scalar is its own text.
    pub(super) fn text_value(&self) -> Value {
        match &self.content {
            Content::Scalar { text, .. } => Value::Text(text.clone()),
            Content::List(items) => Value::List(items.iter().map(Self::text_value).collect()),
            Content::Null | Content::Map(_) => self.value(),
        }
    }
}

/// Node as the parser reports it. A scalar that is not a string comes without its text, which the source has.
#[derive(Debug)]
enum ParsedNode {
    Null,
    Typed(Value),
    Text(EcoString),
    List(Vec<Spanned<ParsedNode>>),
    Map(Vec<(EcoString, Spanned<ParsedNode>)>),
}

/// Adds to each scalar its text from the source. The parser's limit on depth bounds the recursion.
fn resolve_text(source: &str, parsed: Spanned<ParsedNode>) -> Node {
    let (line, defined) = (parsed.referenced.line(), parsed.defined.span());
    let content = match parsed.value {
        ParsedNode::Null => Content::Null,
        ParsedNode::Text(text) => Content::Scalar {
            value: Value::Text(text.clone()),
            text,
        },
        ParsedNode::Typed(typed) => {
            let at = defined.byte_offset().zip(defined.byte_len());
            let at = at.and_then(|(from, len)| Some(usize::try_from(from).ok()?..usize::try_from(from + len).ok()?));
            let written = at.and_then(|at| source.get(at)).map(str::trim).unwrap_or_default();
            let text = match written {
                "" => serde_json::to_string(&typed).unwrap_or_default().into(),
                written => EcoString::from(written),
            };
            Content::Scalar {
                value: exact_number(&text, typed),
                text,
            }
        }
        ParsedNode::List(items) => Content::List(items.into_iter().map(|item| resolve_text(source, item)).collect()),
        ParsedNode::Map(members) => {
            let settled = members.into_iter().map(|(key, node)| (key, resolve_text(source, node)));
            Content::Map(settled.collect())
        }
    };
    Node { line, content }
}

/// Returns a number with all its written digits, which a float could lose.
fn exact_number(text: &str, typed: Value) -> Value {
    let number = || serde_json::from_str::<Value>(text).ok();
    match typed {
        Value::Number(_) => number()
            .filter(|value| matches!(value, Value::Number(_)))
            .unwrap_or(typed),
        other => other,
    }
}

impl<'de> Deserialize<'de> for ParsedNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParsedNodeVisitor)
    }
}

struct ParsedNodeVisitor;

impl<'de> Visitor<'de> for ParsedNodeVisitor {
    type Value = ParsedNode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<ParsedNode, E> {
        Ok(ParsedNode::Null)
    }

    fn visit_none<E>(self) -> Result<ParsedNode, E> {
        Ok(ParsedNode::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<ParsedNode, D::Error> {
        ParsedNode::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<ParsedNode, E> {
        Ok(ParsedNode::Typed(Value::Bool(flag)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<ParsedNode, E> {
        Ok(typed(&number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<ParsedNode, E> {
        Ok(typed(&number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<ParsedNode, E> {
        let number = serde_json::Number::from_f64(number).ok_or_else(|| E::custom("not a number of JSON"))?;
        Ok(typed(&number))
    }

    fn visit_str<E>(self, text: &str) -> Result<ParsedNode, E> {
        Ok(ParsedNode::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ParsedNode, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(ParsedNode::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<ParsedNode, A::Error> {
        let mut map = Vec::new();
        // A null key becomes the empty key, which no field has.
        while let Some(key) = members.next_key::<Option<EcoString>>()? {
            map.push((key.unwrap_or_default(), members.next_value()?));
        }
        Ok(ParsedNode::Map(map))
    }
}

fn typed(number: &serde_json::Number) -> ParsedNode {
    ParsedNode::Typed(Value::Number(number.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member<'a>(node: &'a Node, key: &str) -> &'a Node {
        let Content::Map(members) = &node.content else {
            unreachable!("{node:?}")
        };
        &members.iter().find(|(own, _)| own == key).expect(key).1
    }

    #[test]
    fn scalars_keep_their_text() {
        let source = "a: 1.10\nb: [Yes, No, 'No', ~, 0x1F, 1_000, 007]\nc: 2026-01-05\nd: 1e3  # a comment\ne: &x 2.50\nf: *x\n\
                      g: .inf\nh: \"1.0\"\ni: 123456789012345678901234567890\nj: |\n  1.0\nk: ü\nl: {m: On,n: 1.20}\n";
        let tree = read(source).expect("sound");
        let text = |node: &Node| match &node.content {
            Content::Scalar { text, .. } => text.to_string(),
            other => format!("{other:?}"),
        };
        let of = |key: &str| text(member(&tree, key));
        assert_eq!(
            (of("a"), of("c"), of("d")),
            ("1.10".into(), "2026-01-05".into(), "1e3".into())
        );
        assert_eq!(
            (of("e"), of("f"), of("g")),
            ("2.50".into(), "2.50".into(), ".inf".into())
        );
        assert_eq!((of("h"), of("j"), of("k")), ("1.0".into(), "1.0\n".into(), "ü".into()));
        assert_eq!(of("i"), "123456789012345678901234567890");
        let Content::List(items) = &member(&tree, "b").content else {
            unreachable!("a list")
        };
        let items: Vec<_> = items.iter().map(text).collect();
        assert_eq!(items, ["Yes", "No", "No", "Null", "0x1F", "1_000", "007"]);
        let inner = member(&tree, "l");
        assert_eq!(
            (text(member(inner, "m")), text(member(inner, "n"))),
            ("On".into(), "1.20".into())
        );
        assert_eq!(
            member(&tree, "a").value(),
            serde_json::from_str::<Value>("1.10").expect("JSON")
        );
        assert_eq!((member(&tree, "f").line, member(&tree, "k").line), (6, 12));
    }
}
