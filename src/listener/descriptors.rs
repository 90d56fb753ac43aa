//! File descriptors, and the number of connections that they allow.
//!
//! Each connection takes one descriptor. A process without free descriptors cannot accept a connection or open a file,
//! and an operator cannot connect to see the cause. So the hub admits fewer connections than it has descriptors, and
//! reserves some for operators.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Descriptors reserved for other uses than connections: the log and its readers, templates, projects, the runtime, and
/// connections that are accepted to be refused.
const RESERVE: usize = 64;

/// Divisor of all descriptors for a further reserve, since a larger hub also reads more files at a time;
/// [`RESERVE_SHARED_MAX`] at most.
const RESERVE_SHARE: usize = 16;

/// Upper bound of the further reserve; see [`RESERVE_SHARE`].
const RESERVE_SHARED_MAX: usize = 1024;

/// Divisor of all descriptors for the connections of operators.
const OPERATORS_SHARE: usize = 16;

/// Maximum numbers of open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Connections of clients.
    pub clients: usize,
    /// Connections of operators.
    pub operators: usize,
}

/// Raises the soft limit of descriptors to the hard limit. Many systems start with 1,024, for programs that use
/// `select`.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if raised != limit
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::debug!(%error, "the limit on open files could not be raised");
    }
}

impl Caps {
    /// Returns the numbers that the configuration asks for, as far as the descriptors of the process allow them.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        caps_within(config, descriptors())
    }

    /// Logs the numbers, with a warning if clients get fewer connections than the configuration asks for.
    pub fn log(self, config: &Config) {
        let (descriptors, Self { clients, operators }) = (descriptors(), self);
        if clients < config.server.connections_max {
            let why = "fewer than server.connections_max, since the limit of open files allows no more";
            tracing::warn!(descriptors, clients, operators, why, "connections that may be open");
        } else {
            tracing::info!(descriptors, clients, operators, "connections that may be open");
        }
    }
}

/// Returns the number of descriptors that the process may open; `None`: no limit.
fn descriptors() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok())
}

fn caps_within(config: &Config, limit: Option<usize>) -> Caps {
    let (clients, operators) = (config.server.connections_max, config.ops.connections_max);
    let Some(limit) = limit else {
        return Caps { clients, operators };
    };
    let operators = operators.min((limit / OPERATORS_SHARE).max(1));
    let reserve = RESERVE + (limit / RESERVE_SHARE).min(RESERVE_SHARED_MAX);
    // A connection that is sent a page has an open file too.
    let each = if config.server.pages_dir.as_os_str().is_empty() {
        1
    } else {
        2
    };
    let free = limit.saturating_sub(reserve + operators) / each;
    Caps {
        clients: clients.min(free.max(1)),
        operators,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P9: for every limit of descriptors, clients cannot take the descriptors of operators and files.
    #[test]
    fn descriptor_reserve_is_kept_from_clients() {
        let mut config = Config::default();
        for limit in [256, 1_024, 4_096, 20_000] {
            let caps = caps_within(&config, Some(limit));
            assert!(caps.operators >= 16, "{limit}: {caps:?}");
            assert!(caps.clients + caps.operators + RESERVE <= limit, "{limit}: {caps:?}");
        }
        assert_eq!(
            caps_within(&config, Some(0)),
            Caps {
                clients: 1,
                operators: 1
            }
        );
        let plenty = Caps {
            clients: config.server.connections_max,
            operators: config.ops.connections_max,
        };
        assert_eq!(caps_within(&config, Some(1 << 20)), plenty);
        assert_eq!(caps_within(&config, None), plenty);
        let clients = caps_within(&config, Some(1_024)).clients;
        config.server.pages_dir = "pages".into();
        assert_eq!(caps_within(&config, Some(1_024)).clients, clients / 2);
    }
}
