//! Talus Hub: the real-time server of Talus Tally.
//!
//! Commands arrive over REST, are decided by the actor of their session, and leave as events over Socket.IO, in one
//! order for all clients. The pure domain is the crate `talus-domain`, and the actors are the crate `talus-actors`. This crate surrounds them: the
//! edges ([`http`], [`socket`], [`ops`]), the protocol ([`wire`]), files ([`projects`], [`templates`]), and the process.

pub mod app;
pub mod cli;
pub mod command_instrumentation;
pub mod config;
pub mod exit;
pub mod files;
pub mod http;
pub mod http_kit;
pub mod listener;
pub mod metrics;
pub mod ops;
pub mod projects;
pub mod signal;
pub mod socket;
pub mod storage;
pub mod telemetry;
pub mod templates;
pub mod transport;
pub mod wire;

pub use talus_actors::permits;
