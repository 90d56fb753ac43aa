//! What holds for every sequence of commands, shown on random ones.

mod batch;
mod exactly_once;
mod history;
mod plans;
mod replay;
mod replica;
mod round_trip;
mod session;
mod undo;
