//! Properties of every sequence of commands, tested with random plans.

mod batch;
mod exactly_once;
mod history;
mod plans;
mod replay;
mod replica;
mod round_trip;
mod session;
mod state_hash;
mod undo;
