//! Property values: JSON values whose numbers keep their spelling.

use std::{collections::BTreeMap, fmt, sync::Arc};

use ecow::EcoString;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

/// JSON value. Clones share their contents.
///
/// Objects are ordered by key, so two objects with the same members are equal, in whichever order they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Number in its original spelling.
    Number(Number),
    /// A string.
    Text(EcoString),
    /// A list.
    List(Arc<[Value]>),
    /// An object.
    Object(Arc<BTreeMap<EcoString, Value>>),
}

/// JSON number in its original spelling: `1`, `1.0` and `1e+0` are three numbers. Every client reads the digits that a
/// client wrote, also those of integers beyond 64 bits.
#[derive(Clone, PartialEq, Eq)]
pub enum Number {
    /// Integer of 64 bits, the common case, stored without an allocation.
    Int(i64),
    /// Any other spelling.
    Exact(EcoString),
}

impl Number {
    /// Returns true if the number is written as an integer.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        match self {
            Self::Int(_) => true,
            Self::Exact(text) => !text.contains(['.', 'e', 'E']),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Exact(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        match number.as_i64() {
            // serde_json reads "-0" as the integer 0, but the spelling has to stay.
            Some(int) if int != 0 || number.as_str() == "0" => Self::Int(int),
            Some(_) | None => Self::Exact(number.as_str().into()),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Exact(text) => serde_json::Number::from_string_unchecked(text.to_string()).serialize(serializer),
        }
    }
}

impl Value {
    /// Returns a text value.
    pub fn text(text: impl Into<EcoString>) -> Self {
        Self::Text(text.into())
    }

    /// Returns the text of a text value.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// Returns the kind of the value for error messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// Returns the nesting depth of lists and objects, 0 for a scalar.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => 0,
            Self::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or_default(),
            Self::Object(members) => 1 + members.values().map(Self::depth).max().unwrap_or_default(),
        }
    }

    /// Returns the length of the value's JSON without white space, in bytes, for the limits on sizes. Escapes in
    /// strings are not counted. Cheaper than encoding the value, and never less than half of the encoded length.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(true) => 4,
            Self::Bool(false) => 5,
            Self::Number(Number::Int(number)) => {
                let digits = number.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
                digits + usize::from(*number < 0)
            }
            Self::Number(Number::Exact(text)) => text.len(),
            Self::Text(text) => text.len() + 2,
            Self::List(items) => 1 + items.len().max(1) + items.iter().map(Self::json_bytes).sum::<usize>(),
            Self::Object(members) => {
                let each = |(key, value): (&EcoString, &Self)| key.len() + 3 + value.json_bytes();
                1 + members.len().max(1) + members.iter().map(each).sum::<usize>()
            }
        }
    }
}

impl From<serde_json::Value> for Value {
    // The JSON parser bounds the depth, and thereby the recursion.
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(flag) => Self::Bool(flag),
            serde_json::Value::Number(number) => Self::Number((&number).into()),
            serde_json::Value::String(text) => Self::Text(text.into()),
            serde_json::Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(members) => Self::Object(Arc::new(
                members
                    .into_iter()
                    .map(|(key, value)| (key.into(), value.into()))
                    .collect(),
            )),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items.iter()),
            Self::Object(members) => serializer.collect_map(members.iter()),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// Deserializes a field that is present as `Some`, also if it is `null`. A property that is null differs from a
/// property that is not set.
pub(super) fn double_option<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads a value directly instead of through `serde_json::Value`. The latter interprets objects that begin with one of
/// `serde_json`'s private keys, and would then fail to read such a value back.
struct ValueVisitor;

/// Key of the single-member object as which `serde_json` passes a number to a visitor. Its value is the spelling.
const NUMBER_KEY: &str = "$serde_json::private::Number";

impl ValueVisitor {
    fn number<E: de::Error>(number: Option<serde_json::Number>) -> Result<Value, E> {
        let number = number.ok_or_else(|| E::custom("not a number of JSON"))?;
        Ok(Value::Number((&number).into()))
    }
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(Number::Int(number)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Self::number(Some(number.into()))
    }

    fn visit_i128<E: de::Error>(self, number: i128) -> Result<Value, E> {
        Self::number(serde_json::Number::from_i128(number))
    }

    fn visit_u128<E: de::Error>(self, number: u128) -> Result<Value, E> {
        Self::number(serde_json::Number::from_u128(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Self::number(serde_json::Number::from_f64(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members: BTreeMap<EcoString, Value> = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            members.insert(key, value);
        }
        match number_member(&members) {
            Some(number) => Self::number(Some(number)),
            None => Ok(Value::Object(Arc::new(members))),
        }
    }
}

/// Returns the number if the object is `serde_json`'s representation of a number.
fn number_member(members: &BTreeMap<EcoString, Value>) -> Option<serde_json::Number> {
    let (key, value) = members.first_key_value()?;
    if members.len() > 1 || **key != *NUMBER_KEY {
        return None;
    }
    value.as_text()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Value {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn numbers_keep_spelling() {
        for text in [
            "0",
            "-0",
            "1",
            "1.0",
            "1.10",
            "-7",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "123456789012345678901234567890",
            "0.1",
            "1e+5",
            "1e-5",
            "1e+400",
        ] {
            assert_eq!(serde_json::to_string(&parse(text)).expect(text), text);
        }
        assert_eq!(parse("1E5"), parse("1e+5"), "an exponent has one spelling");
        assert_ne!(parse("1"), parse("1.0"));
        assert_eq!(parse("1"), Value::Number(Number::Int(1)));
    }

    #[test]
    fn objects_with_reordered_members_are_equal() {
        assert_eq!(
            parse(r#"{"a":1,"b":[null,{"c":"x"}]}"#),
            parse(r#"{ "b": [null, {"c": "x"}], "a": 1 }"#)
        );
    }

    /// Objects keep their members under any keys, including the private keys of `serde_json`. A client can send those,
    /// and the log has to stay readable.
    #[test]
    fn objects_keep_reserved_keys() {
        for text in [
            r#"{"$serde_json::private::Number":"1","a":2}"#,
            r#"{"$serde_json::private::Number":"one"}"#,
            r#"{"$serde_json::private::Number":{"$serde_json::private::Number":[]}}"#,
            r#"{"$serde_json::private::RawValue":"[1"}"#,
            r#"{"":{"a":1.50}}"#,
        ] {
            assert_eq!(serde_json::to_string(&parse(text)).expect(text), text);
        }
    }

    #[test]
    fn json_bytes_equals_encoded_length() {
        for text in [
            "null",
            "true",
            "false",
            "-120",
            "10",
            "9",
            "0",
            "[]",
            "{}",
            "[1,2]",
            r#"{"a":"bc","d":[]}"#,
            r#""x""#,
            "1.50",
        ] {
            assert_eq!(parse(text).json_bytes(), text.len(), "{text}");
        }
    }
}
