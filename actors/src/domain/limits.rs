//! How large and how many things may be (P9).

use super::value::Value;

/// The limits of a session. The defaults are those of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Characters of a name.
    pub name_chars_max: usize,
    /// Bytes of a property's value as JSON.
    pub value_bytes_max: usize,
    /// Properties of a node.
    pub properties_per_node_max: usize,
    /// Levels of a tree.
    pub depth_max: usize,
    /// Nodes of a session.
    pub nodes_max: usize,
    /// Commands of a batch.
    pub batch_commands_max: usize,
    /// Commands that can be undone.
    pub undo_depth_max: usize,
    /// Bytes, about, that what can be undone may hold. Only loading large graphs again and again gets there before
    /// [`Self::undo_depth_max`].
    pub undo_bytes_max: usize,
    /// Events that are kept at hand for clients that come back.
    pub replay_window_events: usize,
    /// Bytes, about, of the events that are kept at hand.
    pub replay_window_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            name_chars_max: 512,
            value_bytes_max: 64 * 1024,
            properties_per_node_max: 256,
            depth_max: 256,
            nodes_max: 100_000,
            batch_commands_max: 1_000,
            undo_depth_max: 1_000,
            undo_bytes_max: 64 * 1024 * 1024,
            replay_window_events: 10_000,
            replay_window_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// Lists and objects within each other in one value. JSON parsers give up at a depth of their own, most of them between
/// 100 and 1,000; a value must stay readable wherever it is put, in an event in a list in a file, so it gets half of the
/// smallest.
pub const VALUE_DEPTH_MAX: usize = 64;

/// Something is larger or more than it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found} is more than {limit} allows, which is {max}")]
pub struct LimitExceeded {
    /// The limit, by its name in the configuration.
    pub limit: &'static str,
    /// What it allows.
    pub max: usize,
    /// What there is.
    pub found: usize,
}

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// It has nothing that can be seen.
    #[error("must have a character that is not white space")]
    Blank,
    /// It has a line break or the like.
    #[error("must have no control characters")]
    Control,
    /// It is too long.
    #[error(transparent)]
    TooLong(LimitExceeded),
}

/// Whether a text can be a node's name.
///
/// # Errors
/// Says why not.
pub fn check_name(name: &str, limits: &Limits) -> Result<(), NameFault> {
    if name.chars().all(char::is_whitespace) {
        return Err(NameFault::Blank);
    }
    if name.chars().any(char::is_control) {
        return Err(NameFault::Control);
    }
    let (max, found) = (limits.name_chars_max, name.chars().count());
    let limit = "name_chars_max";
    if found > max {
        Err(NameFault::TooLong(LimitExceeded { limit, max, found }))
    } else {
        Ok(())
    }
}

/// Whether a value is small and flat enough to be kept.
///
/// # Errors
/// Says which limit it exceeds.
pub fn check_value(value: &Value, limits: &Limits) -> Result<(), LimitExceeded> {
    let (max, found) = (limits.value_bytes_max, value.json_bytes());
    if found > max {
        return Err(LimitExceeded {
            limit: "value_bytes_max",
            max,
            found,
        });
    }
    check_depth(value)
}

/// Whether a value is flat enough to be kept.
///
/// # Errors
/// If it is not.
pub fn check_depth(value: &Value) -> Result<(), LimitExceeded> {
    let (max, found) = (VALUE_DEPTH_MAX, value.depth());
    if found > max {
        Err(LimitExceeded {
            limit: "value_depth_max",
            max,
            found,
        })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_seen_and_fits_a_line() {
        let limits = Limits {
            name_chars_max: 5,
            ..Limits::default()
        };
        for name in ["x", " x ", "äöüßé", "日本"] {
            assert_eq!(check_name(name, &limits), Ok(()), "{name:?}");
        }
        for name in ["", " ", "\u{2003}"] {
            assert_eq!(check_name(name, &limits), Err(NameFault::Blank), "{name:?}");
        }
        for name in ["a\nb", "a\0", "\u{7f}x"] {
            assert_eq!(check_name(name, &limits), Err(NameFault::Control), "{name:?}");
        }
        let exceeded = LimitExceeded {
            limit: "name_chars_max",
            max: 5,
            found: 6,
        };
        assert_eq!(check_name("äöüßéx", &limits), Err(NameFault::TooLong(exceeded)));
    }

    #[test]
    fn a_value_is_neither_too_large_nor_too_deep() {
        let limits = Limits {
            value_bytes_max: 200,
            ..Limits::default()
        };
        let nested = |depth: usize| -> Value {
            serde_json::from_str(&format!("{}{}", "[".repeat(depth), "]".repeat(depth))).expect("lists")
        };
        assert_eq!(check_value(&nested(64), &limits), Ok(()));
        assert_eq!(
            check_value(&nested(65), &limits).expect_err("too deep").limit,
            "value_depth_max"
        );
        assert_eq!(check_value(&Value::text("x".repeat(198)), &limits), Ok(()));
        assert_eq!(
            check_value(&Value::text("x".repeat(199)), &limits)
                .expect_err("too large")
                .found,
            201
        );
    }
}
