//! The public protocol as serde types: requests become domain commands (`TryFrom`-like parsing, every fault naming its
//! field), domain events become packets. Nothing here waits or decides.

pub mod answer;
pub mod command;
pub mod error;
pub mod event;
pub mod graph;
pub mod request;
pub mod room;
pub mod template;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod typescript;
