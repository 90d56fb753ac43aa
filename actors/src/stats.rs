//! Metrics that the actors update. Each has its name, its help text and its documentation in one place.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

macro_rules! stats {
    ($(#[doc = $help:literal] $field:ident: $kind:ident = $name:literal,)+) => {
        /// Metrics of one hub since its start. Clones of a metric share its value, and reading takes no lock.
        #[derive(Debug, Default)]
        pub struct Stats {
            $(#[doc = $help] pub $field: $kind,)+
        }

        impl Stats {
            /// Registers all metrics.
            pub fn register(&self, registry: &mut Registry) {
                // The registry adds the full stop.
                $(registry.register($name, $help.trim().trim_end_matches('.'), self.$field.clone());)+
            }
        }
    };
}

stats! {
    /// Sessions with a running actor.
    sessions_loaded: Gauge = "sessions",
    /// Sockets in all rooms.
    members: Gauge = "connections",
    /// Sequenced events that became durable.
    events_published: Counter = "events_published",
    /// Packets that were put into a socket's queue.
    packets_delivered: Counter = "packets_delivered",
    /// Packets that a full socket queue refused.
    packets_dropped: Counter = "packets_dropped",
    /// Transitions of a socket to lagging, each followed by a resync.
    slow_consumers: Counter = "slow_consumers",
    /// Reports of clients about a diverging replica.
    divergences: Counter = "divergences",
    /// Publications that found no running broadcast actor.
    broadcast_failures: Counter = "broadcast_failures",
    /// Replacements of failed broadcast actors.
    broadcast_restarts: Counter = "broadcast_restarts",
    /// Restarts of failed session actors.
    session_restarts: Counter = "session_restarts",
    /// Sessions in quarantine, which cannot be started.
    sessions_quarantined: Gauge = "sessions_quarantined",
    /// Passivations of idle sessions.
    passivations: Counter = "session_passivations",
    /// Appends that failed, conflicted, or ended with an unknown outcome.
    append_failures: Counter = "append_failures",
}
