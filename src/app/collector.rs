//! Collectors that export the hub's own counters as metrics.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use talus_actors::stats::Stats;

use crate::{http_kit::Reading, storage::Losses, telemetry::LostLines};

#[derive(Debug)]
pub(super) struct StatsCollector {
    stats: Arc<Stats>,
    lost_lines: LostLines,
}

impl StatsCollector {
    pub(super) const fn new(stats: Arc<Stats>, lost_lines: LostLines) -> Self {
        Self { stats, lost_lines }
    }
}

impl Collector for StatsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = &*self.stats;
        for (name, help, value) in [
            ("sessions", "sessions in memory", stats.sessions_loaded.get()),
            ("connections", "sockets in rooms", stats.members.get()),
            (
                "sessions_quarantined",
                "sessions that failed too often",
                stats.sessions_quarantined.get(),
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, help, value) in [
            (
                "log_lines_lost",
                "log lines that could not be written to standard error",
                self.lost_lines.get(),
            ),
            (
                "events_published",
                "sequenced events that became durable",
                stats.events_published.get(),
            ),
            (
                "packets_delivered",
                "packets handed to sockets",
                stats.packets_delivered.get(),
            ),
            (
                "packets_dropped",
                "packets dropped because a socket's queue was full",
                stats.packets_dropped.get(),
            ),
            (
                "slow_consumers",
                "times a socket became a slow consumer",
                stats.slow_consumers.get(),
            ),
            (
                "divergences",
                "times a client reported a divergent replica",
                stats.divergences.get(),
            ),
            (
                "broadcast_failures",
                "publications that no room actor received",
                stats.broadcast_failures.get(),
            ),
            (
                "broadcast_restarts",
                "room actors that were restarted",
                stats.broadcast_restarts.get(),
            ),
            (
                "session_restarts",
                "session actors restarted after a failure",
                stats.session_restarts.get(),
            ),
            (
                "session_passivations",
                "sessions that were passivated",
                stats.passivations.get(),
            ),
            (
                "append_failures",
                "appends that failed or whose outcome is unknown",
                stats.append_failures.get(),
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

/// Exports the memory held by readers of large answers.
#[derive(Debug)]
pub(super) struct ReadingCollector(pub(super) Reading);

impl Collector for ReadingCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in [
            (
                "reading_bytes",
                "bytes of answers that are encoded and not yet written",
                self.0.bytes_held(),
            ),
            (
                "reading_documents",
                "documents held by single readers",
                self.0.documents_held(),
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// Losses and damage that the start found. They do not change while the process lives.
#[derive(Debug)]
pub(super) struct LossesCollector(pub(super) Losses);

impl Collector for LossesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Losses {
            sessions,
            events,
            damaged,
        } = self.0;
        for (name, help, value) in [
            (
                "log_loss_sessions",
                "sessions whose log had lost acknowledged events at this start",
                sessions as u64,
            ),
            ("log_loss_events", "acknowledged events that these had lost", events),
            (
                "log_damaged_sessions",
                "sessions whose row in the log was damaged at this start",
                damaged as u64,
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
