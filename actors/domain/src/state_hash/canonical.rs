//! JSON in the canonical form of RFC 8785: each value has one text, independent of the writer.

use std::{collections::BTreeMap, fmt::Write};

use ecow::EcoString;

use super::super::{
    ids::NodeId,
    value::{Number, Value},
};

/// Writer of canonical JSON, without an intermediate copy. Errors of the underlying writer are ignored, because hashers
/// and strings accept every write.
pub(super) struct Canonical<W>(W);

/// Largest integer that a double represents exactly and that ECMAScript writes with all digits.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

impl<W: Write> Canonical<W> {
    pub(super) const fn new(out: W) -> Self {
        Self(out)
    }

    pub(super) fn into_inner(self) -> W {
        self.0
    }

    /// Writes JSON unchanged.
    pub(super) fn raw(&mut self, json: &str) -> &mut Self {
        let _ = self.0.write_str(json);
        self
    }

    /// Writes the separator before the next item of a list.
    pub(super) fn next(&mut self) -> &mut Self {
        self.raw(",")
    }

    /// Writes the id of a node, or null.
    pub(super) fn id(&mut self, id: Option<NodeId>) {
        match id {
            Some(id) => {
                let mut buffer = uuid::Uuid::encode_buffer();
                let text = id.uuid().as_hyphenated().encode_lower(&mut buffer);
                self.raw("\"").raw(text).raw("\"");
            }
            None => drop(self.raw("null")),
        }
    }

    /// Writes a string with the escapes of `JSON.stringify`: quotation mark, backslash and control characters, no
    /// others.
    pub(super) fn text(&mut self, text: &str) {
        self.raw("\"");
        let mut written = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.raw(&text[written..at]);
            self.escape(byte);
            written = at + 1;
        }
        self.raw(&text[written..]).raw("\"");
    }

    fn escape(&mut self, byte: u8) {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            b'\t' => "\\t",
            b'\n' => "\\n",
            0x0c => "\\f",
            b'\r' => "\\r",
            other => {
                let _ = write!(self.0, "\\u{other:04x}");
                return;
            }
        };
        self.raw(short);
    }

    /// Writes a value. The depth limit of values bounds the recursion.
    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => drop(self.raw("null")),
            Value::Bool(true) => drop(self.raw("true")),
            Value::Bool(false) => drop(self.raw("false")),
            Value::Number(number) => self.number(number),
            Value::Text(text) => self.text(text),
            Value::List(items) => self.list(items),
            Value::Object(members) => self.object(members),
        }
    }

    /// Writes a number as seen by a client that reads every number as the nearest double. Numbers beyond the range of
    /// doubles are written as null, as in `JSON.stringify`.
    fn number(&mut self, number: &Number) {
        let double = match number {
            Number::Int(int) if int.unsigned_abs() <= EXACT_INTEGER_MAX => {
                let _ = write!(self.0, "{int}");
                return;
            }
            #[expect(clippy::cast_precision_loss, reason = "the nearest double is what is wanted")]
            Number::Int(int) => *int as f64,
            // Rust parses every JSON number, with the same rounding.
            Number::Exact(text) => text.parse().unwrap_or(f64::NAN),
        };
        if double.is_finite() {
            self.raw(ryu_js::Buffer::new().format_finite(double));
        } else {
            self.raw("null");
        }
    }

    fn list(&mut self, items: &[Value]) {
        self.raw("[");
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.next();
            }
            self.value(item);
        }
        self.raw("]");
    }

    /// Writes members in the order of the UTF-16 code units of their keys. The map orders them by code points. Both
    /// orders differ only for keys with surrogates, which sort before U+E000 to U+FFFF in UTF-16.
    fn object(&mut self, members: &BTreeMap<EcoString, Value>) {
        const FOUR_BYTES: u8 = 0xf0;
        self.raw("{");
        if members.keys().any(|key| key.bytes().any(|byte| byte >= FOUR_BYTES)) {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            self.members(sorted.into_iter());
        } else {
            self.members(members.iter());
        }
        self.raw("}");
    }

    fn members<'a>(&mut self, members: impl Iterator<Item = (&'a EcoString, &'a Value)>) {
        for (index, (key, value)) in members.enumerate() {
            if index > 0 {
                self.next();
            }
            self.text(key);
            self.raw(":").value(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        let mut out = Canonical::new(String::new());
        out.value(&serde_json::from_str(json).expect(json));
        out.into_inner()
    }

    /// Expected values are the results of JavaScript's `JSON.stringify(JSON.parse(json))`.
    #[test]
    fn numbers_format_as_in_ecmascript() {
        for (json, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1.0", "1"),
            ("1.50", "1.5"),
            ("-7", "-7"),
            ("0.1", "0.1"),
            ("1e2", "100"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("123456789012345678901234567890", "1.2345678901234568e+29"),
            ("9007199254740992", "9007199254740992"),
            ("9007199254740993", "9007199254740992"),
            ("-9223372036854775808", "-9223372036854776000"),
            ("1152921504606846977", "1152921504606847000"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("5e-324", "5e-324"),
            ("1e-400", "0"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("1e400", "null"),
            ("-1e400", "null"),
        ] {
            assert_eq!(canonical(json), expected, "{json}");
        }
    }

    #[test]
    fn strings_have_only_necessary_escapes() {
        let json = r#""\u0000\u001f\b\t\n\f\r\"\\\/\u007f\u00e4\u2028\ud83d\ude80""#;
        let expected = "\"\\u0000\\u001f\\b\\t\\n\\f\\r\\\"\\\\/\u{7f}ä\u{2028}🚀\"";
        assert_eq!(canonical(json), expected);
    }

    #[test]
    fn keys_are_ordered_by_utf_16() {
        let json = r#"{"\ufb33": 1, "\ud83d\ude02": [{"b": 2, "a": {}}], "é": null, "1": true, "": [], "\r": false}"#;
        let expected = "{\"\":[],\"\\r\":false,\"1\":true,\"é\":null,\"😂\":[{\"a\":{},\"b\":2}],\"\u{fb33}\":1}";
        assert_eq!(canonical(json), expected);
    }
}
