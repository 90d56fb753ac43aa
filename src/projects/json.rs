//! Parser for deep JSON: a nested graph has two levels of JSON for each level of nodes.

use serde::Deserialize as _;

/// Reason why a text is not a document.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The text is nested too deeply.
    #[error("the JSON is nested more than {max} levels deep")]
    TooDeep {
        /// Maximum number of levels.
        max: usize,
    },
    /// The text is not JSON.
    #[error("malformed JSON: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Parses a JSON document of at most `depth_max` levels.
///
/// The depth is counted before a value is built, and the parser grows its stack as needed. No accepted depth can
/// exhaust the stack of a thread.
///
/// # Errors
/// Returns an error if the text is not JSON, or too deep.
pub fn parse_document(bytes: &[u8], depth_max: usize) -> Result<serde_json::Value, JsonError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if depth(bytes) > depth_max {
        return Err(JsonError::TooDeep { max: depth_max });
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    json.disable_recursion_limit();
    let document = serde_json::Value::deserialize(serde_stacker::Deserializer::new(&mut json))?;
    json.end()?;
    Ok(document)
}

/// Returns the maximum nesting of brackets outside of strings.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_ignores_brackets_in_strings() {
        assert_eq!(depth(br#"{"a": "[[[\"{{{", "b": [[1]]}"#), 3);
        assert_eq!(depth(b"7"), 0);
    }

    #[test]
    fn parse_document_bounds_depth() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse_document(nested(1_024).as_bytes(), 1_024).is_ok());
        assert!(matches!(
            parse_document(nested(1_025).as_bytes(), 1_024),
            Err(JsonError::TooDeep { max: 1_024 })
        ));
        assert!(matches!(
            parse_document("[".repeat(900_000).as_bytes(), 1_024),
            Err(JsonError::TooDeep { .. })
        ));
        for text in ["", "{", "{} {}", "\u{feff}\u{feff}{}"] {
            assert!(
                matches!(parse_document(text.as_bytes(), 9), Err(JsonError::Malformed(_))),
                "{text}"
            );
        }
        assert!(
            parse_document("\u{feff}{}".as_bytes(), 9).is_ok(),
            "a byte order mark is let pass"
        );
    }
}
