//! Options of a run with many connections.

use std::time::Duration;

use clap::{Parser, ValueHint};
use serde::Serialize;

use crate::{
    options::{Processes, as_seconds, seconds},
    ticket::SESSIONS_MAX,
};

/// Opens many sockets and holds them. With --reconnect, cuts all connections at once and checks their recovery.
///
/// Exits with 0 if every socket stayed, and was resumed with exactly its missed events; with 1 if not, and with 2 if
/// the run failed.
#[derive(Debug, Clone, Parser, Serialize)]
#[command(name = "talus-load-connections")]
pub struct Options {
    /// URL of the server
    #[arg(long, default_value = "http://127.0.0.1:5000", value_hint = ValueHint::Url)]
    pub url: String,
    /// Number of sessions
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=i64::from(SESSIONS_MAX)))]
    pub sessions: u16,
    /// Number of sockets in each session
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub sockets: u16,
    /// Sockets that are opened at one time, before the cut
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub at_a_time: u16,
    /// Time to hold the connections, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    #[serde(serialize_with = "as_seconds")]
    pub duration: Duration,
    /// Then cut all connections at once, change the sessions, and reconnect all sockets at once
    #[arg(long)]
    pub reconnect: bool,
    /// Commands in each session while its sockets are away
    #[arg(long, default_value_t = 5)]
    pub changes: u16,
    /// Maximum time for the sockets to reconnect, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    #[serde(serialize_with = "as_seconds")]
    pub drain: Duration,
    /// Nodes of each session at the start
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub nodes: u32,
    /// Seed of the choices; concurrent runs need different seeds
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Process options of the server and of the generator.
    #[command(flatten)]
    #[serde(flatten)]
    pub processes: Processes,
}
