//! One command on a given session, and exactly what it comes to. Cases are data; [`case::check`] is what runs them.

mod batch;
mod blueprint;
mod case;
mod commands;
mod create;
mod delete;
mod exactly_once;
mod expected;
mod history;
mod invariants;
mod limits;
mod link;
mod projects;
mod property;
mod relocate;
mod replay;
mod telling;
mod template;
mod undo;
mod window;
