//! Talus Hub: the real-time server of Talus Tally.

pub mod config;
pub mod telemetry;
