//! What a run with many connections is to be.

use std::time::Duration;

use clap::{Parser, ValueHint};
use serde::Serialize;

use crate::{
    options::{Processes, as_seconds, seconds},
    ticket::SESSIONS_MAX,
};

/// Opens many sockets and holds them; cuts them all at once, if asked to, and sees what becomes of them.
///
/// It ends with 0 if every socket stayed, and came back with exactly what it had missed; with 1 if not, and with 2 if it
/// could not run.
#[derive(Debug, Clone, Parser, Serialize)]
#[command(name = "talus-load-connections")]
pub struct Options {
    /// Where the server is
    #[arg(long, default_value = "http://127.0.0.1:5000", value_hint = ValueHint::Url)]
    pub url: String,
    /// Sessions
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=i64::from(SESSIONS_MAX)))]
    pub sessions: u16,
    /// Sockets in each session
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub sockets: u16,
    /// Sockets that are opened at one time, as long as nothing was cut
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub at_a_time: u16,
    /// How long to hold them, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    #[serde(serialize_with = "as_seconds")]
    pub duration: Duration,
    /// Then cut all connections at once, change the sessions, and have all sockets come back at once
    #[arg(long)]
    pub reconnect: bool,
    /// Commands in each session while its sockets are away
    #[arg(long, default_value_t = 5)]
    pub changes: u16,
    /// How long sockets may take to come back, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    #[serde(serialize_with = "as_seconds")]
    pub drain: Duration,
    /// Nodes that each session begins with
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub nodes: u32,
    /// What choices begin with; two runs at the same time need two
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The server's process and the generator's.
    #[command(flatten)]
    #[serde(flatten)]
    pub processes: Processes,
}
