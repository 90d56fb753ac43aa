//! File descriptors: how many connections they allow.
//!
//! Each connection takes one. Without any left, nothing can be accepted, no file can be opened, and an operator cannot
//! even see that. So fewer connections are let in than there are descriptors, and operators have theirs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Descriptors kept for files and everything that is no connection: the log and its readers, templates, projects, the
/// runtime's own, and connections that are accepted to be refused.
const RESERVE: usize = 64;

/// A further part of all descriptors that is kept, since a larger hub also reads more files at a time; at most
/// [`RESERVE_SHARED_MAX`].
const RESERVE_SHARE: usize = 16;

/// See [`RESERVE_SHARE`].
const RESERVE_SHARED_MAX: usize = 1024;

/// Of all descriptors, one in so many may be an operator's connection.
const OPERATORS_SHARE: usize = 16;

/// Connections that may be open at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Of clients.
    pub clients: usize,
    /// Of operators.
    pub operators: usize,
}

/// Raises the limit of descriptors to the highest that the process may have. Many systems begin with 1,024, which is
/// meant for programs that cannot count beyond.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if raised != limit
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::debug!(%error, "the limit of open files could not be raised");
    }
}

impl Caps {
    /// Those that the configuration asks for, as far as the process's descriptors allow them.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        caps_within(config, descriptors())
    }

    /// Says how many there may be, with a warning if those of clients are fewer than the configuration asks for.
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

/// Descriptors that the process may have; `None`: no limit.
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
    // A connection that is sent a page has its file too.
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

    /// P9: whatever the limit, clients cannot take the descriptors of operators and files.
    #[test]
    fn clients_never_get_the_last_descriptors() {
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
