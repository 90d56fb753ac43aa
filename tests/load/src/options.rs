//! Options of a run.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, ValueEnum, ValueHint};
use serde::{Serialize, Serializer};

use crate::ticket::SESSIONS_MAX;

/// Loads a server that speaks Talus Hub's contract, and checks its events.
///
/// Exits with 0 if every event arrived once and in order, with 1 if not, and with 2 if the run failed.
#[derive(Debug, Clone, Parser, Serialize)]
#[command(name = "talus-load", version)]
pub struct Options {
    /// URL of the server
    #[arg(long, default_value = "http://127.0.0.1:5000", value_hint = ValueHint::Url)]
    pub url: String,
    /// Number of sessions
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(SESSIONS_MAX)))]
    pub sessions: u16,
    /// Number of sockets in each session
    #[arg(long, default_value_t = 1)]
    pub sockets: usize,
    /// Open loop: commands per second over all sessions, started on time even if earlier commands are unanswered
    #[arg(long, default_value_t = 100.0, value_parser = rate, conflicts_with = "closed")]
    pub rate: f64,
    /// Closed loop: number of senders in each session, each of which sends a command after the answer to the one before
    #[arg(long, value_name = "SENDERS", value_parser = clap::value_parser!(u16).range(1..))]
    pub closed: Option<u16>,
    /// Duration of the measurement, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    #[serde(serialize_with = "as_seconds")]
    pub duration: Duration,
    /// Duration of the load before the measurement, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    #[serde(serialize_with = "as_seconds")]
    pub warmup: Duration,
    /// Maximum wait for the last events, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    #[serde(serialize_with = "as_seconds")]
    pub drain: Duration,
    /// Transport of the sockets
    #[arg(long, value_enum, default_value_t = Transport::Websocket)]
    pub transport: Transport,
    /// Delivery of events to the sockets; events are counted individually in both modes
    #[arg(long, value_enum, default_value_t = Frames::Single)]
    pub frames: Frames,
    /// Nodes of each session at the start
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub nodes: u32,
    /// Percentage of commands that create a node; the others set a property
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(..=100))]
    pub creates: u8,
    /// Packets of each command: 3 as in the contract, or 1 for a server that sends only the outcome
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub packets: u8,
    /// Seed of the choice of commands; concurrent runs need different seeds
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Process options of the server and of the generator.
    #[command(flatten)]
    #[serde(flatten)]
    pub processes: Processes,
}

/// Process options of the server and of the generator, for every measurement.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Processes {
    /// Process id of the server, to report its resource usage (Linux)
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Write the report to this file, as JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[serde(skip)]
    pub json: Option<PathBuf>,
    /// Worker threads of the generator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
}

/// Transport of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A websocket from the beginning.
    Websocket,
    /// Long polling, never upgraded.
    Polling,
}

/// Delivery of the events of commands to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Frames {
    /// One packet for each event.
    Single,
    /// One packet for all events that are ready at the same time.
    Batched,
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    let fits = (0.0..=86_400.0).contains(&seconds);
    fits.then(|| Duration::from_secs_f64(seconds))
        .ok_or_else(|| format!("{text} is not between 0 and 86400"))
}

pub(crate) fn as_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().map_err(|error| error.to_string())?;
    let fits = (0.001..=1_000_000.0).contains(&rate);
    fits.then_some(rate)
        .ok_or_else(|| format!("{text} is not between 0.001 and 1000000"))
}
