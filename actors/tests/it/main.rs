//! The domain, the actors and their ports, from outside the crate. One binary, since each costs a link.

mod actors_support;
mod admission;
mod backlog;
mod batched;
mod broadcast;
mod deletion;
mod draining;
mod lane;
mod log_conformance;
mod passivation;
mod planned_log;
mod presence;
mod properties;
mod replica;
mod scenarios;
mod session_actor;
mod sessions;
mod stored;
mod supervision;
