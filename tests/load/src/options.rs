//! What a run is to be.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, ValueEnum, ValueHint};
use serde::{Serialize, Serializer};

use crate::ticket::SESSIONS_MAX;

/// Loads a server that speaks Talus Hub's contract, and checks what comes back.
///
/// It ends with 0 if every event came once and in its place, with 1 if not, and with 2 if it could not run.
#[derive(Debug, Clone, Parser, Serialize)]
#[command(name = "talus-load", version)]
pub struct Options {
    /// Where the server is
    #[arg(long, default_value = "http://127.0.0.1:5000", value_hint = ValueHint::Url)]
    pub url: String,
    /// Sessions
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(SESSIONS_MAX)))]
    pub sessions: u16,
    /// Sockets in each session
    #[arg(long, default_value_t = 1)]
    pub sockets: usize,
    /// Open loop: commands per second, of all sessions together, started on time whatever becomes of earlier ones
    #[arg(long, default_value_t = 100.0, value_parser = rate, conflicts_with = "closed")]
    pub rate: f64,
    /// Closed loop: so many senders in each session, each starting a command when the one before is answered
    #[arg(long, value_name = "SENDERS", value_parser = clap::value_parser!(u16).range(1..))]
    pub closed: Option<u16>,
    /// How long to measure, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    #[serde(serialize_with = "as_seconds")]
    pub duration: Duration,
    /// How long to load before that, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    #[serde(serialize_with = "as_seconds")]
    pub warmup: Duration,
    /// How long to wait for the last events, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    #[serde(serialize_with = "as_seconds")]
    pub drain: Duration,
    /// How sockets are connected
    #[arg(long, value_enum, default_value_t = Transport::Websocket)]
    pub transport: Transport,
    /// How sockets take the events of commands; what is counted is events either way
    #[arg(long, value_enum, default_value_t = Frames::Single)]
    pub frames: Frames,
    /// Nodes that each session begins with
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub nodes: u32,
    /// Of a hundred commands so many create a node; the others set a property
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(..=100))]
    pub creates: u8,
    /// Packets that the server makes of each command: 3 as in the contract, or 1 of one that tells only how it ended
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub packets: u8,
    /// What the choices of the commands begin with; two runs at the same time need two
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The server's process and the generator's.
    #[command(flatten)]
    #[serde(flatten)]
    pub processes: Processes,
}

/// The server's process and the generator's, whatever is run.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Processes {
    /// The server's process, to tell what it uses (Linux)
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Write the report to this file, as JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[serde(skip)]
    pub json: Option<PathBuf>,
    /// Threads of the generator itself
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
}

/// How a socket is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A websocket from the beginning.
    Websocket,
    /// Long polling, never upgraded.
    Polling,
}

/// How a socket takes the events of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Frames {
    /// One by one.
    Single,
    /// Those that are there at the same time as one packet.
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
