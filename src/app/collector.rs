//! Metrics of the parts that keep no metric themselves.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        counter::ConstCounter,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};

use crate::{http_kit::Reading, storage::Losses, telemetry::LostLines};

/// Registers the losses and the damage that the start found. They do not change while the process lives.
pub(super) fn register_losses(registry: &mut Registry, losses: Losses) {
    let Losses {
        sessions,
        events,
        damaged,
    } = losses;
    for (name, help, value) in [
        (
            "log_loss_sessions",
            "Sessions whose log had lost acknowledged events at this start",
            sessions as u64,
        ),
        (
            "log_loss_events",
            "Acknowledged events that the log had lost at this start",
            events,
        ),
        (
            "log_damaged_sessions",
            "Sessions whose row in the log was damaged at this start",
            damaged as u64,
        ),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
}

/// Values that other parts keep, read at each scrape.
#[derive(Debug)]
pub(super) struct ScrapedValues {
    pub(super) lost_lines: LostLines,
    pub(super) reading: Reading,
}

impl Collector for ScrapedValues {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let lost = ConstCounter::new(self.lost_lines.get());
        let help = "Log lines that could not be written to standard error.";
        lost.encode(encoder.encode_descriptor("log_lines_lost", help, None, lost.metric_type())?)?;
        for (name, help, value) in [
            (
                "reading_bytes",
                "Bytes of answers that are encoded and not yet written.",
                self.reading.bytes_held(),
            ),
            (
                "reading_documents",
                "Documents held by single readers.",
                self.reading.documents_held(),
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
