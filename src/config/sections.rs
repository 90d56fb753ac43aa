//! Sections of the configuration, one struct each. `config/default.toml` explains each key to operators; the docs here
//! state the guarantees for code. Values of a loaded configuration are within the ranges of `rules`.
//!
//! Durations are stored as whole milliseconds, as written. An accessor without the suffix `_ms` returns the
//! [`Duration`].

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
    /// IP address (IPv6 without brackets) or host name to listen on.
    pub host: String,
    /// TCP port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Host names by which the hub may be addressed, in addition to the names that follow from other keys.
    pub hosts: Vec<String>,
    /// Maximum size of a request body in bytes.
    pub body_bytes_max: usize,
    /// Maximum bytes of incomplete requests and messages, over all connections.
    pub receiving_bytes_max: usize,
    /// Maximum size of a request's head in bytes.
    pub head_bytes_max: usize,
    /// Maximum duration of a request in milliseconds.
    pub request_timeout_ms: u64,
    /// Maximum number of connections of clients.
    pub connections_max: usize,
    /// Maximum number of connections of one address.
    pub connections_per_address_max: usize,
    /// Addresses and networks of proxies; each parses as an address or a network.
    pub trusted_proxies: Vec<String>,
    /// Maximum time to the first byte of a connection, in milliseconds.
    pub first_byte_timeout_ms: u64,
    /// Maximum time from the first byte of a head to its last, in milliseconds.
    pub head_timeout_ms: u64,
    /// Maximum idle time of a connection between two requests, in milliseconds.
    pub keep_alive_timeout_ms: u64,
    /// Maximum wait for the next byte of a body, in milliseconds.
    pub body_stall_timeout_ms: u64,
    /// Maximum wait for a whole body, in milliseconds.
    pub body_timeout_ms: u64,
    /// Maximum wait of a write for room, in milliseconds.
    pub write_stall_timeout_ms: u64,
    /// Maximum duration of a shutdown in milliseconds; 0 does not wait.
    pub shutdown_grace_ms: u64,
    /// Directory of web pages that are served at `/`; empty: no pages are served.
    pub pages_dir: PathBuf,
    /// Worker threads of the runtime; 0: as many as there are processors.
    pub worker_threads: usize,
}

impl Server {
    /// Worker threads of the runtime; `None`: as many as there are processors.
    #[must_use]
    pub const fn worker_threads(&self) -> Option<usize> {
        match self.worker_threads {
            0 => None,
            threads => Some(threads),
        }
    }

    /// Maximum duration of a request.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// Networks of the proxies. A single address is a network of one address.
    #[must_use]
    pub fn trusted_networks(&self) -> Vec<IpNet> {
        self.trusted_proxies
            .iter()
            .filter_map(|text| network::read(text))
            .collect()
    }

    /// Maximum duration of a shutdown; zero does not wait.
    #[must_use]
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms)
    }
}

/// `[data]`: storage of the data that survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Directory of the log; relative to the working directory.
    pub dir: PathBuf,
    /// Medium of the log.
    pub storage: Storage,
}

/// Medium of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// A file in the data directory. Acknowledged commands are on the disk (P3).
    Sqlite,
    /// Memory of the process, for trials. The log is lost when the process ends.
    Memory,
}

impl Storage {
    /// Returns the word for the variant in a file, a variable or a flag.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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
    /// Directory as written. [`Config::projects_dir`](super::Config::projects_dir) returns the directory to open.
    pub dir: PathBuf,
    /// Maximum size in bytes of a project file that is read or written.
    pub file_bytes_max: usize,
}

/// `[templates]`: blueprints of projects.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Templates {
    /// Directory of the `<template id>.yaml` files; relative to the working directory.
    pub dir: PathBuf,
    /// Maximum size in bytes of a template file that is read.
    pub file_bytes_max: usize,
    /// Maximum number of template files that are listed.
    pub files_max: usize,
}

/// `[cors]`: web pages that may use the hub. The section applies to REST, and to websockets too, since CORS does not
/// protect websockets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// True: every port of localhost, 127.0.0.1 and `[::1]` is an allowed origin, over http and https.
    pub allow_localhost: bool,
    /// Further origins, each exactly as a browser sends it in the `Origin` header. Origins are compared as bytes.
    pub origins: Vec<String>,
}

/// `[rest]`: the REST API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// True: every answer to a command carries the graph.
    pub return_graph: bool,
    /// Maximum wait of a read with `min_seq`, in milliseconds.
    pub min_seq_wait_ms: u64,
    /// Maximum number of items in one page.
    pub page_items_max: usize,
    /// Number of items in one page without `?limit=`; at most `page_items_max`.
    pub page_items_default: usize,
    /// Maximum number of open event streams.
    pub streams_max: usize,
    /// Minimum size in bytes of an answer that is compressed for clients that accept compression.
    pub compression_bytes_min: usize,
    /// Maximum number of answers that are compressed at one time; 0: no compression.
    pub compressions_max: usize,
    /// Maximum bytes of answers that are encoded and not yet written, over all readers.
    pub reading_bytes_max: usize,
    /// Maximum number of readers that read the log or encode at one time.
    pub readers_max: usize,
    /// Maximum number of documents that are held for single readers at one time.
    pub documents_max: usize,
    /// Maximum wait of a reader for its permit, in milliseconds.
    pub reading_wait_ms: u64,
}

impl Rest {
    /// Maximum wait of a reader for its permit.
    #[must_use]
    pub fn reading_wait(&self) -> Duration {
        Duration::from_millis(self.reading_wait_ms)
    }

    /// Maximum wait of a read with `min_seq`.
    #[must_use]
    pub fn min_seq_wait(&self) -> Duration {
        Duration::from_millis(self.min_seq_wait_ms)
    }
}

/// `[realtime]`: Socket.IO.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Realtime {
    /// False: Socket.IO is off (P10).
    pub enabled: bool,
    /// Interval between pings to a client, in milliseconds.
    pub ping_interval_ms: u64,
    /// Maximum time for a client to answer a ping, in milliseconds.
    pub ping_timeout_ms: u64,
    /// Maximum time for a connection to join its namespace, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Maximum number of connections over all sessions.
    pub connections_max: usize,
    /// Maximum number of sockets in one session.
    pub sockets_per_session_max: usize,
    /// Maximum number of packets that wait for one socket.
    pub outgoing_packets_per_socket_max: usize,
    /// Maximum number of refusals that wait for one socket. Beyond the limit its connection is closed.
    pub refusals_waiting_max: usize,
    /// Maximum number of undelivered deliveries of a room, each of one command to one socket. Beyond the limit its
    /// session accepts no command.
    pub room_deliveries_waiting_max: usize,
    /// Maximum bytes of events in one `session:events`. A single command may exceed the limit.
    pub events_packet_bytes_max: usize,
    /// True: a client may connect without a session, and join and leave sessions later.
    pub late_join: bool,
    /// Maximum number of sessions that one socket may be in.
    pub sessions_per_socket_max: usize,
    /// Maximum bytes of large syncs of one session in flight.
    pub sync_bytes_in_flight_max: usize,
    /// Maximum size of a client's message in bytes.
    pub message_bytes_max: usize,
    /// Maximum size of the auth payload of a client, in bytes.
    pub auth_bytes_max: usize,
    /// Maximum time from the first byte of a message to its last, in milliseconds.
    pub message_timeout_ms: u64,
    /// Bytes that wait to be written to one websocket at which reading from the websocket stops.
    pub unwritten_bytes_max: usize,
    /// Maximum time for which a websocket may take none of its waiting bytes, in milliseconds.
    pub write_stall_ms: u64,
    /// Maximum time for the upgrade of a polling session to a websocket, in milliseconds.
    pub upgrade_timeout_ms: u64,
    /// Minimum delay before a reconnect, in milliseconds; at most `reconnect_max_ms`.
    pub reconnect_min_ms: u64,
    /// Maximum delay before a reconnect, in milliseconds.
    pub reconnect_max_ms: u64,
    /// Interval between resync attempts to a slow socket, in milliseconds.
    pub slow_consumer_retry_ms: u64,
    /// Interval between comparisons of rooms with open connections, in milliseconds.
    pub sweep_interval_ms: u64,
    /// Delay from a change of a session to its `session:tick`, in milliseconds.
    pub tick_interval_ms: u64,
    /// Interval over which a room coalesces changes of presence, in milliseconds.
    pub presence_interval_ms: u64,
    /// Maximum size of a client's presence state, in bytes of its JSON text.
    pub presence_state_bytes_max: usize,
    /// Maximum number of clients of one session whose presence is published.
    pub presence_clients_max: usize,
}

impl Realtime {
    /// Interval between pings to a client.
    #[must_use]
    pub fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms)
    }

    /// Maximum time for a client to answer a ping.
    #[must_use]
    pub fn ping_timeout(&self) -> Duration {
        Duration::from_millis(self.ping_timeout_ms)
    }

    /// Maximum time for a connection to join its namespace.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Maximum time from the first byte of a message to its last.
    #[must_use]
    pub const fn message_timeout(&self) -> Duration {
        Duration::from_millis(self.message_timeout_ms)
    }

    /// Maximum time for which a websocket may take none of its waiting bytes.
    #[must_use]
    pub const fn write_stall(&self) -> Duration {
        Duration::from_millis(self.write_stall_ms)
    }

    /// Maximum time for the upgrade of a polling session to a websocket.
    #[must_use]
    pub const fn upgrade_timeout(&self) -> Duration {
        Duration::from_millis(self.upgrade_timeout_ms)
    }

    /// Minimum delay before a reconnect.
    #[must_use]
    pub fn reconnect_min(&self) -> Duration {
        Duration::from_millis(self.reconnect_min_ms)
    }

    /// Maximum delay before a reconnect.
    #[must_use]
    pub fn reconnect_max(&self) -> Duration {
        Duration::from_millis(self.reconnect_max_ms)
    }

    /// Delay from a change of a session to its `session:tick`.
    #[must_use]
    pub fn tick_interval(&self) -> Duration {
        Duration::from_millis(self.tick_interval_ms)
    }

    /// Interval over which a room coalesces changes of presence.
    #[must_use]
    pub fn presence_interval(&self) -> Duration {
        Duration::from_millis(self.presence_interval_ms)
    }

    /// Interval between comparisons of rooms with open connections.
    #[must_use]
    pub fn sweep_interval(&self) -> Duration {
        Duration::from_millis(self.sweep_interval_ms)
    }

    /// Interval between resync attempts to a slow socket.
    #[must_use]
    pub fn slow_consumer_retry(&self) -> Duration {
        Duration::from_millis(self.slow_consumer_retry_ms)
    }
}

/// `[limits]`: limits on the demands of one client or one session (P9).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Maximum length of a node's name in characters.
    pub name_chars_max: usize,
    /// Maximum size of a property's value, in bytes of its JSON text.
    pub value_bytes_max: usize,
    /// Maximum number of properties of one node.
    pub properties_per_node_max: usize,
    /// Maximum depth of a graph in nodes.
    pub depth_max: usize,
    /// Maximum number of nodes in one session.
    pub nodes_per_session_max: usize,
    /// Maximum number of commands in one batch.
    pub batch_commands_max: usize,
    /// Maximum number of commands of one session that can be undone.
    pub undo_depth_max: usize,
    /// Maximum memory of one session's undo history in bytes.
    pub undo_bytes_max: usize,
    /// Number of newest events of one session that are kept for clients that reconnect.
    pub replay_window_events: usize,
    /// Approximate maximum bytes of the events kept for clients that reconnect.
    pub replay_window_bytes_max: usize,
    /// Maximum number of unanswered commands of one session.
    pub in_flight_per_session_max: usize,
    /// Maximum number of unanswered commands of all sessions.
    pub in_flight_max: usize,
    /// Maximum number of commands in one append to the log.
    pub group_commands_max: usize,
    /// Maximum memory in bytes of one session's deduplication filter; 0: the log is queried for each command.
    pub command_filter_bytes_max: usize,
    /// Maximum size of a graph that is loaded, in bytes of the request.
    pub graph_bytes_max: usize,
    /// Maximum depth of a client's JSON.
    pub json_depth_max: usize,
    /// Maximum number of sessions.
    pub sessions_max: usize,
}

/// `[sessions]`: lifecycle of a session's actor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// Idle time after which a session leaves memory, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Approximate number of events between two snapshots of a session.
    pub snapshot_events: usize,
    /// Maximum number of restarts within the window before quarantine (P8).
    pub restarts_max: u32,
    /// Window over which restarts are counted, in milliseconds.
    pub restart_window_ms: u64,
    /// Delay before the second restart in a row, in milliseconds; 0: no delay.
    pub restart_backoff_ms: u64,
}

impl Sessions {
    /// Idle time after which a session leaves memory.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    /// Window over which restarts are counted.
    #[must_use]
    pub fn restart_window(&self) -> Duration {
        Duration::from_millis(self.restart_window_ms)
    }

    /// Delay before the second restart in a row; zero: no delay.
    #[must_use]
    pub fn restart_backoff(&self) -> Duration {
        Duration::from_millis(self.restart_backoff_ms)
    }
}

/// `[ops]`: interface for operators.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ops {
    /// Address and port to listen on, as one text. Empty: no listener; `auto`: the default address, or a free port.
    pub listen: String,
    /// Maximum number of connections of operators.
    pub connections_max: usize,
    /// True: operators can make sessions fail on purpose.
    pub fault_injection: bool,
    /// Maximum number of subscribers to the events of the actor tree.
    pub listeners_max: usize,
}

/// `[log]`: level and format of log lines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Format of a log line.
    pub format: LogFormat,
    /// Filter in the syntax of [`log_filter`](super::log_filter()).
    pub level: String,
    /// Maximum bytes of lines that wait for standard error; further lines are lost.
    pub waiting_bytes_max: usize,
}

/// Format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text for people.
    Text,
    /// JSON for machines: one object a line.
    Json,
}

impl LogFormat {
    /// Returns the word for the variant in a file, a variable or a flag.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}
