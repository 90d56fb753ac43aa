//! Actors of Talus Hub, which run the domain, and the ports that they need.
//!
//! The [`domain`] is a crate of its own, pure and deterministic: no clock, no randomness, no async runtime. This crate
//! has two ports and the actors:
//!
//! - [`log`] and [`fan_out`]: ports of the event log and of the sockets;
//! - [`session_actor`]: one actor per session, which decides, applies and appends commands;
//! - [`broadcast_actor`]: one actor per room, which owns the sockets of a session;
//! - [`session_supervisor`]: starts, finds, restarts and passivates session actors;
//! - [`hub::Hub`]: handle of the hub for the edges.

pub mod broadcast_actor;
pub mod clock;
pub mod fan_out;
pub mod hub;
pub mod log;
pub mod permits;
pub mod random;
mod registry;
pub mod reply;
pub mod session_actor;
pub mod session_supervisor;
pub mod stats;
pub mod supervision;

pub use talus_domain as domain;
