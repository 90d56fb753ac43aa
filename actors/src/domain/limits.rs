//! placeholder
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub name_chars_max: usize,
    pub value_bytes_max: usize,
    pub properties_per_node_max: usize,
    pub depth_max: usize,
    pub nodes_max: usize,
    pub batch_commands_max: usize,
    pub undo_depth_max: usize,
    pub undo_bytes_max: usize,
    pub replay_window_events: usize,
}
impl Default for Limits {
    fn default() -> Self {
        Self {
            name_chars_max: 512,
            value_bytes_max: 65536,
            properties_per_node_max: 256,
            depth_max: 256,
            nodes_max: 100_000,
            batch_commands_max: 1000,
            undo_depth_max: 1000,
            undo_bytes_max: 64 << 20,
            replay_window_events: 10_000,
        }
    }
}
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{limit}: {found} is more than {max}")]
pub struct LimitExceeded {
    pub limit: &'static str,
    pub max: usize,
    pub found: usize,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameFault {
    Blank,
    Control,
    TooLong(LimitExceeded),
}
pub fn check_name(name: &str, limits: &Limits) -> Result<(), NameFault> {
    if name.chars().all(char::is_whitespace) {
        return Err(NameFault::Blank);
    }
    if name.chars().any(char::is_control) {
        return Err(NameFault::Control);
    }
    let found = name.chars().count();
    if found > limits.name_chars_max {
        return Err(NameFault::TooLong(LimitExceeded {
            limit: "name_chars_max",
            max: limits.name_chars_max,
            found,
        }));
    }
    Ok(())
}
