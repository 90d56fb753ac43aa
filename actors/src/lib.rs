//! The domain of Talus Hub, pure and deterministic, and the actors that run it.
//!
//! Below the feature `runtime` stands the pure core, [`domain`]: no clock, no randomness, no runtime. Above it stand two
//! ports, the log and the fan-out, and the actors: one [`session_actor`] for each session, which decides, applies and
//! appends; one [`broadcast_actor`] beside it, which owns the sockets of the room; a supervisor that starts, finds,
//! restarts and passivates them; and [`hub::Hub`], the handle that everything else holds.

pub mod domain;

#[cfg(feature = "runtime")]
pub mod admission;
#[cfg(feature = "runtime")]
pub mod broadcast_actor;
#[cfg(feature = "runtime")]
mod directory;
#[cfg(feature = "runtime")]
pub mod fan_out;
#[cfg(feature = "runtime")]
pub mod hub;
#[cfg(feature = "runtime")]
pub mod log;
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
