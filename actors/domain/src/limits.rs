//! Limits on sizes and counts (P9).

use super::value::Value;

/// Limits of a session. The defaults are the defaults of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximal length of a name, in characters.
    pub name_chars_max: usize,
    /// Maximal length of a property value as JSON, in bytes.
    pub value_bytes_max: usize,
    /// Maximal number of properties of a node.
    pub properties_per_node_max: usize,
    /// Maximal depth of a tree, in levels.
    pub depth_max: usize,
    /// Maximal number of nodes of a session.
    pub nodes_max: usize,
    /// Maximal number of commands of a batch.
    pub batch_commands_max: usize,
    /// Maximal number of steps that can be undone.
    pub undo_depth_max: usize,
    /// Maximal weight of the history, in bytes of memory (estimated). Only repeated loads of large graphs reach this
    /// limit before [`Self::undo_depth_max`].
    pub undo_bytes_max: usize,
    /// Maximal length of the replay window, in events.
    pub replay_window_events: usize,
    /// Maximal weight of the replay window, in bytes of memory (estimated).
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

/// Maximal nesting depth of lists and objects in a value. JSON parsers have depth limits of their own, mostly between
/// 100 and 1,000. A value has to stay readable within an event in a list in a file, so the limit is about half of the
/// smallest.
pub const VALUE_DEPTH_MAX: usize = 64;

/// Excess of a size or count over a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found} is more than {limit} allows, which is {max}")]
pub struct LimitExceeded {
    /// Name of the limit in the configuration.
    pub limit: &'static str,
    /// Allowed value.
    pub max: usize,
    /// Actual value.
    pub found: usize,
}

/// Reason for which a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no visible character.
    #[error("must have a character that is not white space")]
    Blank,
    /// The name has a control character, such as a line break.
    #[error("must have no control characters")]
    Control,
    /// The name is too long.
    #[error(transparent)]
    TooLong(LimitExceeded),
}

/// Checks that a text is a valid node name.
///
/// # Errors
/// Returns the violated rule.
pub fn check_name(name: &str, limits: &Limits) -> Result<(), NameError> {
    if name.chars().all(char::is_whitespace) {
        return Err(NameError::Blank);
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    let (max, found) = (limits.name_chars_max, name.chars().count());
    let limit = "name_chars_max";
    if found > max {
        Err(NameError::TooLong(LimitExceeded { limit, max, found }))
    } else {
        Ok(())
    }
}

/// Checks that the size and the depth of a value are within the limits.
///
/// # Errors
/// Returns the exceeded limit.
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

/// Checks that the depth of a value is within [`VALUE_DEPTH_MAX`].
///
/// # Errors
/// Returns the exceeded limit.
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
    fn name_is_visible_and_fits_a_line() {
        let limits = Limits {
            name_chars_max: 5,
            ..Limits::default()
        };
        for name in ["x", " x ", "äöüßé", "日本"] {
            assert_eq!(check_name(name, &limits), Ok(()), "{name:?}");
        }
        for name in ["", " ", "\u{2003}"] {
            assert_eq!(check_name(name, &limits), Err(NameError::Blank), "{name:?}");
        }
        for name in ["a\nb", "a\0", "\u{7f}x"] {
            assert_eq!(check_name(name, &limits), Err(NameError::Control), "{name:?}");
        }
        let exceeded = LimitExceeded {
            limit: "name_chars_max",
            max: 5,
            found: 6,
        };
        assert_eq!(check_name("äöüßéx", &limits), Err(NameError::TooLong(exceeded)));
    }

    #[test]
    fn value_respects_size_and_depth() {
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
