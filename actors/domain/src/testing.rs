//! Test support for the domain and the layers above it: sample templates and sessions, strategies for every stored
//! type, random plans of commands, and a test session that runs them.
//!
//! Nothing here draws a random number or reads a clock. Ids and times are counted, and choices come from the test's own
//! generator, so a failing case is reproducible.
//!
//! ```
//! use proptest::prelude::*;
//! use talus_domain::{invariants, testing::{plan::plan, sample::Setting}};
//!
//! proptest!(ProptestConfig::with_cases(8), |(setting in Setting::any(), plan in plan(1..12))| {
//!     let mut harness = setting.harness();
//!     for choice in &plan {
//!         harness.run(choice);
//!         invariants::check(harness.session())?;
//!     }
//! });
//! ```

pub mod harness;
pub mod plan;
mod resolve;
pub mod sample;
pub mod stored;
pub mod users;
pub mod values;
