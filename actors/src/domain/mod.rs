//! The pure core: what a command means, whether it is allowed, what it changes.
pub mod graph;
pub mod ids;
pub mod siblings;
pub mod value;
