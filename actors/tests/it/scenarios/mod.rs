//! Single commands on a given session with their exact results. Cases are data and run by [`case::check`].

mod batch;
mod blueprint;
mod case;
mod commands;
mod create;
mod delete;
mod event_text;
mod exactly_once;
mod expected;
mod history;
mod invariants;
mod limits;
mod link;
mod moves;
mod projects;
mod property;
mod replay;
mod template;
mod undo;
mod window;
