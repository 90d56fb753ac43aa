//! The sections of the configuration, one struct each. The meaning of a key for operators is in `config/default.toml`;
//! here is what the code may rely on. Values of a loaded configuration are within the ranges of `rules`.
//!
//! Durations stay whole milliseconds, as written, and have an accessor without the `_ms` that gives the [`Duration`].

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::network;

/// `[server]`: the HTTP server that carries both REST and Socket.IO.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The IP address (IPv6 without brackets) or host name to listen on.
    pub host: String,
    /// The TCP port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Host names by which the hub may be addressed, beside those that follow from other keys.
    pub hosts: Vec<String>,
    /// The longest request body, in bytes.
    pub body_bytes_max: usize,
    /// Bytes of unfinished requests and messages, over all connections.
    pub receiving_bytes_max: usize,
    /// The largest head of a request, in bytes.
    pub head_bytes_max: usize,
    /// How long a request may take, in milliseconds.
    pub request_timeout_ms: u64,
    /// The most connections of clients.
    pub connections_max: usize,
    /// The most connections of one address.
    pub connections_per_address_max: usize,
    /// Addresses and networks of proxies; each parses as one.
    pub trusted_proxies: Vec<String>,
    /// How long a connection may take to send its first byte, in milliseconds.
    pub first_byte_timeout_ms: u64,
    /// How long a head may take, in milliseconds.
    pub head_timeout_ms: u64,
    /// How long a connection may stand idle, in milliseconds.
    pub keep_alive_timeout_ms: u64,
    /// How long a body may stop, in milliseconds.
    pub body_stall_timeout_ms: u64,
    /// How long a body may be waited for, in milliseconds.
    pub body_timeout_ms: u64,
    /// How long a write may wait for room, in milliseconds.
    pub write_stall_timeout_ms: u64,
    /// Longest time of a whole shutdown, in milliseconds; 0 does not wait.
    pub shutdown_grace_ms: u64,
    /// The directory of web pages that are served at `/`; empty: none are.
    pub pages_dir: PathBuf,
    /// Threads that serve; 0: as many as there are processors.
    pub worker_threads: usize,
}

impl Server {
    /// Threads that serve; `None`: as many as there are processors.
    #[must_use]
    pub const fn worker_threads(&self) -> Option<usize> {
        match self.worker_threads {
            0 => None,
            threads => Some(threads),
        }
    }

    /// How long a request may take.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// Networks of the proxies; an address is a network of its own.
    #[must_use]
    pub fn trusted_networks(&self) -> Vec<IpNet> {
        self.trusted_proxies
            .iter()
            .filter_map(|text| network::read(text))
            .collect()
    }

    /// Longest time of a whole shutdown; zero does not wait.
    #[must_use]
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms)
    }
}

/// `[data]`: where the hub keeps what must survive it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The directory of the log; relative to the working directory.
    pub dir: PathBuf,
    /// What keeps the log.
    pub storage: Storage,
}

/// What keeps the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// A file in the data directory. What is acknowledged is on the disk (P3).
    Sqlite,
    /// The process's memory: for trying things out. Everything is gone when it ends.
    Memory,
}

impl Storage {
    /// The word that stands for it in a file, a variable or a flag.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Memory => "memory",
        }
    }
}

/// `[projects]`: saved project files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Projects {
    /// The directory as written; [`Config::projects_dir`](super::Config::projects_dir) is the one to open.
    pub dir: PathBuf,
    /// The largest project file that is read or written, in bytes.
    pub file_bytes_max: usize,
}

/// `[templates]`: the blueprints of projects.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Templates {
    /// The directory of the `<template id>.yaml` files; relative to the working directory.
    pub dir: PathBuf,
    /// The largest template file that is read, in bytes.
    pub file_bytes_max: usize,
    /// The most template files that are listed.
    pub files_max: usize,
}

/// `[cors]`: which web pages may use the hub. Holds for REST and, since no CORS rule protects them, for websockets too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Whether every port of localhost, 127.0.0.1 and `[::1]` is let in, over http and https.
    pub allow_localhost: bool,
    /// Further origins, each exactly as a browser sends it in the `Origin` header: compare bytes.
    pub origins: Vec<String>,
}

/// `[rest]`: the REST API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// Whether every answer to a command carries the graph.
    pub return_graph: bool,
    /// How long a read with `min_seq` waits, in milliseconds.
    pub min_seq_wait_ms: u64,
    /// The most items in one page.
    pub page_items_max: usize,
    /// The items in one page unless the request says otherwise; at most `page_items_max`.
    pub page_items_default: usize,
    /// The most streams of events that are open at one time.
    pub streams_max: usize,
    /// Size in bytes from which on an answer is compressed for clients that accept it.
    pub compression_bytes_min: usize,
    /// Answers that are compressed at one time; 0: none.
    pub compressions_max: usize,
    /// Bytes of answers that are made and not yet written, of all readers together.
    pub reading_bytes_max: usize,
    /// Readers that read the log or encode at one time.
    pub readers_max: usize,
    /// Documents that readers have for themselves at one time.
    pub documents_max: usize,
    /// How long a reader waits for its place, in milliseconds.
    pub reading_wait_ms: u64,
}

impl Rest {
    /// How long a reader waits for its place.
    #[must_use]
    pub fn reading_wait(&self) -> Duration {
        Duration::from_millis(self.reading_wait_ms)
    }

    /// How long a read with `min_seq` waits.
    #[must_use]
    pub fn min_seq_wait(&self) -> Duration {
        Duration::from_millis(self.min_seq_wait_ms)
    }
}

/// `[realtime]`: Socket.IO.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Realtime {
    /// Whether there is Socket.IO at all (P10).
    pub enabled: bool,
    /// How often a client is sent a ping, in milliseconds.
    pub ping_interval_ms: u64,
    /// How long a client may take to answer a ping, in milliseconds.
    pub ping_timeout_ms: u64,
    /// How long a connection may take to join its namespace, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The most connections over all sessions.
    pub connections_max: usize,
    /// The most sockets in one session.
    pub sockets_per_session_max: usize,
    /// The most packets that wait for one socket.
    pub outgoing_packets_per_socket_max: usize,
    /// The most refusals that wait for one socket before its connection is closed.
    pub refusals_waiting_max: usize,
    /// Deliveries, each of one command to one socket, that a room may have yet to make before its session takes another
    /// command.
    pub room_deliveries_waiting_max: usize,
    /// The most bytes of events in one `session:events`, unless a single command has more.
    pub events_packet_bytes_max: usize,
    /// Whether a client may connect without a session, and join and leave some later.
    pub late_join: bool,
    /// The most sessions that one socket may be in.
    pub sessions_per_socket_max: usize,
    /// The most bytes of large syncs that one session has on their way at one time.
    pub sync_bytes_in_flight_max: usize,
    /// The longest message of a client, in bytes.
    pub message_bytes_max: usize,
    /// Time from the first byte of a message to its last, in milliseconds.
    pub message_timeout_ms: u64,
    /// Bytes that wait to be written to one websocket before nothing more is read from it.
    pub unwritten_bytes_max: usize,
    /// Time in which a websocket has to take something of what waits for it, in milliseconds.
    pub write_stall_ms: u64,
    /// Time for the upgrade of a polling session to a websocket, in milliseconds.
    pub upgrade_timeout_ms: u64,
    /// The shortest delay before a reconnect, in milliseconds; at most `reconnect_max_ms`.
    pub reconnect_min_ms: u64,
    /// The longest delay before a reconnect, in milliseconds.
    pub reconnect_max_ms: u64,
    /// How often a slow socket is tried again, in milliseconds.
    pub slow_consumer_retry_ms: u64,
    /// How often rooms are compared with the connections there are, in milliseconds.
    pub sweep_interval_ms: u64,
    /// How long after something happened a room is told again where its session is, in milliseconds.
    pub tick_interval_ms: u64,
    /// For how long a room gathers changes of presence before its sockets are told, in milliseconds.
    pub presence_interval_ms: u64,
    /// The longest state of a client's presence, in bytes of its JSON text.
    pub presence_state_bytes_max: usize,
    /// The most clients of one session whose presence is told of.
    pub presence_clients_max: usize,
}

impl Realtime {
    /// How often a client is sent a ping.
    #[must_use]
    pub fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms)
    }

    /// How long a client may take to answer a ping.
    #[must_use]
    pub fn ping_timeout(&self) -> Duration {
        Duration::from_millis(self.ping_timeout_ms)
    }

    /// How long a connection may take to join its namespace.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Time from the first byte of a message to its last.
    #[must_use]
    pub const fn message_timeout(&self) -> Duration {
        Duration::from_millis(self.message_timeout_ms)
    }

    /// Time in which a websocket has to take something of what waits for it.
    #[must_use]
    pub const fn write_stall(&self) -> Duration {
        Duration::from_millis(self.write_stall_ms)
    }

    /// Time for the upgrade of a polling session to a websocket.
    #[must_use]
    pub const fn upgrade_timeout(&self) -> Duration {
        Duration::from_millis(self.upgrade_timeout_ms)
    }

    /// The shortest delay before a reconnect.
    #[must_use]
    pub fn reconnect_min(&self) -> Duration {
        Duration::from_millis(self.reconnect_min_ms)
    }

    /// The longest delay before a reconnect.
    #[must_use]
    pub fn reconnect_max(&self) -> Duration {
        Duration::from_millis(self.reconnect_max_ms)
    }

    /// How long after something happened a room is told again where its session is.
    #[must_use]
    pub fn tick_interval(&self) -> Duration {
        Duration::from_millis(self.tick_interval_ms)
    }

    /// For how long a room gathers changes of presence before its sockets are told.
    #[must_use]
    pub fn presence_interval(&self) -> Duration {
        Duration::from_millis(self.presence_interval_ms)
    }

    /// How often rooms are compared with the connections there are.
    #[must_use]
    pub fn sweep_interval(&self) -> Duration {
        Duration::from_millis(self.sweep_interval_ms)
    }

    /// How often a slow socket is tried again.
    #[must_use]
    pub fn slow_consumer_retry(&self) -> Duration {
        Duration::from_millis(self.slow_consumer_retry_ms)
    }
}

/// `[limits]`: what one client or one session may ask of the hub (P9).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The longest name of a node, in characters.
    pub name_chars_max: usize,
    /// The largest value of a property, in bytes of its JSON text.
    pub value_bytes_max: usize,
    /// The most properties of one node.
    pub properties_per_node_max: usize,
    /// The deepest a graph may nest, in nodes.
    pub depth_max: usize,
    /// The most nodes in one session.
    pub nodes_per_session_max: usize,
    /// The most commands in one batch.
    pub batch_commands_max: usize,
    /// The most commands of one session that can be undone.
    pub undo_depth_max: usize,
    /// The memory one session keeps for undoing, in bytes.
    pub undo_bytes_max: usize,
    /// The newest events of one session kept for clients that reconnect.
    pub replay_window_events: usize,
    /// About how many bytes those events may have.
    pub replay_window_bytes_max: usize,
    /// The most unanswered commands of one session.
    pub in_flight_per_session_max: usize,
    /// The most unanswered commands of all sessions.
    pub in_flight_max: usize,
    /// The most commands in one append to the log.
    pub group_commands_max: usize,
    /// The memory of one session for telling new commands from long ago, in bytes; 0 asks the log about each.
    pub command_filter_bytes_max: usize,
    /// The largest graph that is loaded, in bytes of the request.
    pub graph_bytes_max: usize,
    /// The deepest that JSON of a client may nest.
    pub json_depth_max: usize,
    /// The most sessions.
    pub sessions_max: usize,
}

/// `[sessions]`: the life of a session's actor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// How long a session may stand idle before it leaves memory, in milliseconds.
    pub idle_timeout_ms: u64,
    /// The events between two snapshots of a session, about.
    pub snapshot_events: usize,
    /// The most restarts within the window before quarantine (P8).
    pub restarts_max: u32,
    /// The span over which restarts are counted, in milliseconds.
    pub restart_window_ms: u64,
    /// The delay before the second restart in a row, in milliseconds; 0 restarts at once.
    pub restart_backoff_ms: u64,
}

impl Sessions {
    /// How long a session may stand idle before it leaves memory.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    /// The span over which restarts are counted.
    #[must_use]
    pub fn restart_window(&self) -> Duration {
        Duration::from_millis(self.restart_window_ms)
    }

    /// The delay before the second restart in a row; zero restarts at once.
    #[must_use]
    pub fn restart_backoff(&self) -> Duration {
        Duration::from_millis(self.restart_backoff_ms)
    }
}

/// `[ops]`: what operators see and do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ops {
    /// The address and port to listen on, as one text; empty: nowhere; `auto`: the usual one, or a free port.
    pub listen: String,
    /// The most connections of operators.
    pub connections_max: usize,
    /// Whether sessions can be made to fail on purpose.
    pub fault_injection: bool,
    /// The most listeners to what happens in the tree of actors.
    pub listeners_max: usize,
}

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The shape of a log line.
    pub format: LogFormat,
    /// The filter, as [`telemetry::filter`](crate::telemetry::filter) reads it.
    pub level: String,
    /// Bytes of lines that may wait for standard error; further lines are lost.
    pub waiting_bytes_max: usize,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

impl LogFormat {
    /// The word that stands for it in a file, a variable or a flag.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}
