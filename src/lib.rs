//! Talus Hub: the real-time server of Talus Tally.

pub mod cli;
pub mod config;
pub mod exit;
pub mod metrics;
pub mod telemetry;
