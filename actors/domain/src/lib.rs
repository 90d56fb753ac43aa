//! The pure core: commands, their checks and their effects on a session.
//!
//! The domain reads no clock, draws no random numbers, awaits nothing and logs nothing. All outside inputs arrive with
//! the command in a [`command::Context`]. Decisions are therefore reproducible, and tests run millions of random
//! commands.
//!
//! ```text
//!  command + context ──▶ decide ──▶ Rejection            nothing has changed
//!                          │
//!                          ├──────▶ Receipt              nothing to change, or a retry
//!                          │
//!                          └──────▶ CommandRecord ──▶ commit    live: adds the state hash
//!                                        │
//!                                       log ────────▶ replay    at each start: checks the state hash
//! ```

pub mod blueprint;
pub mod command;
pub mod content;
pub mod decide;
pub mod document;
pub mod event;
pub mod graph;
pub mod history;
pub mod ids;
#[cfg(any(test, feature = "testing"))]
pub mod invariants;
pub mod limits;
pub mod orphans;
pub mod properties;
pub mod record;
pub mod rejection;
pub mod session;
pub mod siblings;
pub mod state_hash;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod value;
