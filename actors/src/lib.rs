//! Domain of Talus Hub, pure and deterministic, and the actors that run the domain.
//!
//! The crate is layered at the feature `runtime`. Below the feature is the pure core, [`domain`]: no clock, no
//! randomness, no async runtime. Above the feature are two ports and the actors:
//!
//! - [`log`] and [`fan_out`]: ports of the event log and of the sockets;
//! - [`session_actor`]: one actor per session, which decides, applies and appends commands;
//! - [`broadcast_actor`]: one actor per room, which owns the sockets of a session;
//! - [`session_supervisor`]: starts, finds, restarts and passivates session actors;
//! - [`hub::Hub`]: handle of the hub for the edges.

#[path = "../domain/src/lib.rs"]
pub mod domain;

#[cfg(feature = "runtime")]
pub mod broadcast_actor;
#[cfg(feature = "runtime")]
pub mod fan_out;
#[cfg(feature = "runtime")]
pub mod hub;
#[cfg(feature = "runtime")]
pub mod log;
#[cfg(feature = "runtime")]
pub mod permits;
#[cfg(feature = "runtime")]
mod registry;
#[cfg(feature = "runtime")]
pub mod reply;
#[cfg(feature = "runtime")]
pub mod session_actor;
#[cfg(feature = "runtime")]
pub mod session_supervisor;
#[cfg(feature = "runtime")]
pub mod stats;
#[cfg(feature = "runtime")]
pub mod supervision;
#[cfg(feature = "runtime")]
pub mod world;
