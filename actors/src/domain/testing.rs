//! Tools for tests of the domain and of what is built on it: sample templates and sessions, strategies for everything
//! that is stored, random plans of commands, and a bench to run them on.
//!
//! Nothing here draws a random number or reads a clock: ids and times are counted, and choices come from the test's
//! own generator. So a failing case is the same case again.
//!
//! ```
//! use proptest::prelude::*;
//! use talus_actors::domain::{invariants, testing::{plan::plan, sample::Setting}};
//!
//! proptest!(ProptestConfig::with_cases(8), |(setting in Setting::any(), plan in plan(1..12))| {
//!     let mut bench = setting.bench();
//!     for choice in &plan {
//!         bench.run(choice);
//!         invariants::check(bench.session())?;
//!     }
//! });
//! ```

pub mod bench;
pub mod plan;
mod resolve;
pub mod sample;
pub mod stored;
pub mod users;
pub mod values;
