//! What the hub counts, for operators. Plain counters: whoever shows them decides how.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident: $kind:ident,)+) => {
        /// Counters of one hub, since it started. Reading them costs nothing to those who count.
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: $kind,)+
        }
    };
}

stats! {
    /// Sessions with a running actor.
    sessions_loaded: Gauge,
    /// Sockets in rooms.
    members: Gauge,
    /// Sequenced events that became durable.
    events_published: Counter,
    /// Packets handed to sockets.
    packets_delivered: Counter,
    /// Packets that a socket's full queue refused.
    packets_dropped: Counter,
    /// Times a socket fell behind and was resynced.
    slow_consumers: Counter,
    /// Times a socket said that its replica differs.
    divergences: Counter,
    /// Publications that no broadcast actor took.
    broadcast_failures: Counter,
    /// Broadcast actors that failed and were replaced.
    broadcast_restarts: Counter,
    /// Session actors that failed and were started again.
    session_restarts: Counter,
    /// Sessions that cannot be started.
    sessions_quarantined: Gauge,
    /// Sessions that went to sleep.
    passivations: Counter,
    /// Appends that failed, conflicted, or whose outcome is unknown.
    append_failures: Counter,
}

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Several more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Changes it by so much.
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}
