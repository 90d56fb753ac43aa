//! Public protocol as serde types. Requests are parsed into domain commands, with errors that name the field at fault.
//! Domain events are encoded as packets. The module contains no I/O and no decisions.

pub mod answer;
pub mod command;
pub mod error;
mod error_code;
pub mod event;
pub mod graph;
pub mod request;
pub mod room;
pub mod template;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod typescript;

pub use error_code::ErrorCode;
