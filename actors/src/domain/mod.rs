//! The pure core: what a command means, whether it is allowed, what it changes.
//!
//! Nothing here reads a clock, draws a random number, waits or logs; what it needs of the world comes in with each
//! command ([`command::Context`]). So everything can be replayed, and everything is tested by millions of random
//! commands.
//!
//! ```text
//!  command + context ──▶ decide ──▶ Rejection            nothing has changed
//!                          │
//!                          ├──────▶ Answer               nothing to change, or done before
//!                          │
//!                          └──────▶ Recorded ──▶ apply   live (`propose`, `carry_out`), and at each replay of the log
//! ```

pub mod blueprint;
pub mod command;
pub mod decide;
pub mod event;
pub mod graph;
pub mod history;
pub mod ids;
#[cfg(any(test, feature = "testing"))]
pub mod invariants;
pub mod limits;
pub mod orphans;
pub mod properties;
pub mod recorded;
pub mod rejection;
pub mod session;
pub mod siblings;
pub mod state_hash;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod value;
