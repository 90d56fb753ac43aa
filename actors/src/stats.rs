//! Counters and gauges of the hub. Rendering is left to the metrics edge.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident: $kind:ident,)+) => {
        /// Metrics of one hub since its start. Reading takes no lock, so a reader never delays a writer.
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: $kind,)+
        }
    };
}

stats! {
    /// Sessions with a running actor.
    sessions_loaded: Gauge,
    /// Sockets in all rooms.
    members: Gauge,
    /// Sequenced events that became durable.
    events_published: Counter,
    /// Packets that were put into a socket's queue.
    packets_delivered: Counter,
    /// Packets that a full socket queue refused.
    packets_dropped: Counter,
    /// Transitions of a socket to lagging, each followed by a resync.
    slow_consumers: Counter,
    /// Reports of clients about a diverging replica.
    divergences: Counter,
    /// Publications that found no running broadcast actor.
    broadcast_failures: Counter,
    /// Replacements of failed broadcast actors.
    broadcast_restarts: Counter,
    /// Restarts of failed session actors.
    session_restarts: Counter,
    /// Sessions in quarantine, which cannot be started.
    sessions_quarantined: Gauge,
    /// Passivations of idle sessions.
    passivations: Counter,
    /// Appends that failed, conflicted, or ended with an unknown outcome.
    append_failures: Counter,
}

/// Monotonic counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds 1.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the total since the start.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Value that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `change`, which may be negative.
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    /// Returns the current value.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}
