//! Report of a run with many connections.

use std::{fmt::Write as _, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Options, Reasons, UsageSample, storm::StormMeasurements};
use crate::{order::Faults, report::Spread};

/// Report of the run; see the [module](self).
#[derive(Debug, Serialize)]
pub struct Report {
    /// Options of the run.
    pub options: Options,
    /// Opening of the sockets.
    pub opening: Opening,
    /// Time in which the sockets were held.
    pub held: Held,
    /// Reconnect of all sockets. `None`: the run has no reconnect.
    pub storm: Option<Storm>,
    /// Faults in the events, over the whole run.
    pub faults: Faults,
}

/// Opening of the sockets.
#[derive(Debug, Serialize)]
pub struct Opening {
    /// Number of sockets.
    pub sockets: u64,
    /// Time from the first connection to the last sync, in seconds.
    pub seconds: f64,
    /// Sockets per second.
    pub per_second: f64,
    /// Time of each socket from the start of its connection to its sync, in microseconds.
    pub took_us: Spread,
    /// Processor time of the server per socket, in microseconds. `None`: its process is unknown.
    pub server_cpu_us_per_socket: Option<f64>,
    /// Processor time of the generator per socket, in microseconds.
    pub generator_cpu_us_per_socket: f64,
}

/// Time in which the sockets were held.
#[derive(Debug, Serialize)]
pub struct Held {
    /// Duration in seconds.
    pub seconds: f64,
    /// Number of broken connections by reason.
    pub broken: Reasons,
    /// Number of syncs after the first.
    pub resyncs: u64,
    /// Resource usage of the server. `None`: its process is unknown.
    pub server: Option<Memory>,
}

/// Resource usage of the server for idle sockets.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// Resident memory with open sessions and no socket, in KiB.
    pub rss_before_kib: u64,
    /// Resident memory after the last socket joined, in KiB.
    pub rss_opened_kib: u64,
    /// Resident memory at the end of the hold, in KiB.
    pub rss_held_kib: u64,
    /// Growth of the resident memory per socket at the end of the hold, in KiB.
    pub rss_kib_per_socket: f64,
    /// Processor time during the hold, in seconds.
    pub cpu_seconds: f64,
}

/// Reconnect of all sockets.
#[derive(Debug, Serialize)]
pub struct Storm {
    /// Number of commands while the sockets were away.
    pub changes: u64,
    /// Number of commands that were not accepted, including the last command of each session.
    pub failed: u64,
    /// Duration of the commands in seconds, during which all sockets were away.
    pub away_seconds: f64,
    /// Sockets that were resumed with exactly their missed events.
    pub resumed: u64,
    /// Sockets that were resumed with other events than the missed events.
    pub inexact: u64,
    /// Sockets that got a snapshot instead, by the server's reason.
    pub replaced: Reasons,
    /// Sockets that were refused for good, by the server's reason.
    pub refused: Reasons,
    /// Sockets that did not reconnect in time.
    pub missing: u64,
    /// Failed attempts before a retry, by reason.
    pub retries: Reasons,
    /// Sockets that received the events after the reconnect.
    pub live: u64,
    /// Number of connections that broke after the reconnect, by reason.
    pub broken: Reasons,
    /// Time from the start of the reconnect to the last sync, in seconds.
    pub steady_seconds: f64,
    /// Time of each socket from the start of the reconnect to its sync, in microseconds.
    pub took_us: Spread,
    /// Processor time of the server per socket, in microseconds. `None`: its process is unknown.
    pub server_cpu_us_per_socket: Option<f64>,
    /// Processor time of the generator per socket, in microseconds.
    pub generator_cpu_us_per_socket: f64,
    /// Resident memory of the server before the reconnect, in KiB.
    pub rss_before_kib: Option<u64>,
    /// Resident memory of the server after the reconnect, in KiB.
    pub rss_after_kib: Option<u64>,
    /// Peak of the server's resident memory, in KiB.
    pub rss_peak_kib: Option<u64>,
    #[serde(skip)]
    pub(super) faults: Faults,
}

impl Opening {
    pub(super) fn new(seconds: f64, took: &Histogram<u64>, before: &UsageSample, after: &UsageSample) -> Self {
        let cpu = Cpu::new(before, after, took.len());
        Self {
            sockets: took.len(),
            seconds,
            per_second: took.len() as f64 / seconds,
            took_us: Spread::of(took),
            server_cpu_us_per_socket: cpu.server,
            generator_cpu_us_per_socket: cpu.generator,
        }
    }
}

impl Held {
    pub(super) fn new(
        time: Duration,
        sockets: usize,
        [before, opened, held]: [&UsageSample; 3],
        broken: Reasons,
        resyncs: u64,
    ) -> Self {
        let server = before
            .0
            .zip(opened.0)
            .zip(held.0)
            .map(|((before, opened), held)| Memory {
                rss_before_kib: before.rss_kib,
                rss_opened_kib: opened.rss_kib,
                rss_held_kib: held.rss_kib,
                rss_kib_per_socket: held.rss_kib.saturating_sub(before.rss_kib) as f64 / sockets as f64,
                cpu_seconds: held.cpu.saturating_sub(opened.cpu).as_secs_f64(),
            });
        Self {
            seconds: time.as_secs_f64(),
            broken,
            resyncs,
            server,
        }
    }
}

impl Storm {
    pub(super) fn new(ended: StormMeasurements) -> Self {
        let StormMeasurements { clients, outcomes, .. } = ended;
        let [before, after] = &ended.usage;
        let cpu = Cpu::new(before, after, clients as u64);
        Self {
            changes: ended.changes,
            failed: ended.failed,
            away_seconds: ended.away.as_secs_f64(),
            missing: clients as u64 - outcomes.back(),
            resumed: outcomes.resumed,
            inexact: outcomes.inexact,
            replaced: outcomes.replaced,
            refused: outcomes.refused,
            retries: outcomes.retries,
            live: ended.live as u64,
            broken: ended.broken,
            steady_seconds: outcomes.took.max() as f64 / 1e6,
            took_us: Spread::of(&outcomes.took),
            server_cpu_us_per_socket: cpu.server,
            generator_cpu_us_per_socket: cpu.generator,
            rss_before_kib: before.0.map(|it| it.rss_kib),
            rss_after_kib: after.0.map(|it| it.rss_kib),
            rss_peak_kib: after.0.map(|it| it.rss_peak_kib),
            faults: outcomes.faults,
        }
    }

    fn is_clean(&self, sockets: u64) -> bool {
        self.failed == 0 && self.resumed == sockets && self.live == sockets && self.broken.is_empty()
    }

    fn write(&self, text: &mut String) {
        let mut line = |name: &str, rest: String| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name:<12}{rest}");
        };
        line(
            "away",
            format!(
                "{} commands in {:.2} s; {} failed",
                self.changes, self.away_seconds, self.failed
            ),
        );
        line(
            "back",
            format!(
                "{} resumed with exactly what they missed, {} with something else, {} never came",
                self.resumed, self.inexact, self.missing,
            ),
        );
        for (name, reasons) in [
            ("replaced", &self.replaced),
            ("refused", &self.refused),
            ("retried", &self.retries),
            ("broken", &self.broken),
        ] {
            for (why, count) in reasons {
                line(name, format!("{count}: {why}"));
            }
        }
        line(
            "steady",
            format!(
                "after {:.2} s, {}; {} heard of what happened next",
                self.steady_seconds,
                cpu(self.server_cpu_us_per_socket, self.generator_cpu_us_per_socket),
                self.live,
            ),
        );
        if let (Some(before), Some(after), Some(peak)) = (self.rss_before_kib, self.rss_after_kib, self.rss_peak_kib) {
            line("memory", format!("{before} KiB before, {after} after, {peak} at most"));
        }
    }
}

impl Report {
    /// Returns true if no socket was lost and no socket lost an event.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let sockets = self.opening.sockets;
        let storm = self.storm.as_ref().is_none_or(|storm| storm.is_clean(sockets));
        storm && self.held.broken.is_empty() && self.faults.is_clean()
    }

    /// Formats the report as a table.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let Self {
            options,
            opening,
            held,
            storm,
            faults,
        } = self;
        let _ = writeln!(
            text,
            "opened      {} sockets in {} sessions in {:.2} s, {:.0}/s, {}",
            opening.sockets,
            options.sessions,
            opening.seconds,
            opening.per_second,
            cpu(opening.server_cpu_us_per_socket, opening.generator_cpu_us_per_socket),
        );
        let broken: u64 = held.broken.values().sum();
        let _ = writeln!(
            text,
            "held        {:.0} s; {broken} connections broke, {} resyncs",
            held.seconds, held.resyncs,
        );
        for (why, count) in &held.broken {
            let _ = writeln!(text, "broken      {count}: {why}");
        }
        if let Some(memory) = &held.server {
            let _ = writeln!(
                text,
                "memory      {} KiB before, {} opened, {} held: {:.1} KiB a socket; {:.2} s CPU while held",
                memory.rss_before_kib,
                memory.rss_opened_kib,
                memory.rss_held_kib,
                memory.rss_kib_per_socket,
                memory.cpu_seconds,
            );
        }
        if let Some(storm) = storm {
            storm.write(&mut text);
        }
        let _ = writeln!(
            text,
            "faults      {} lost, {} doubled, {} reordered, {} strayed",
            faults.lost, faults.doubled, faults.reordered, faults.strayed,
        );
        text.push_str("\nms of each socket to its sync     p50      p90      p99    p99.9      max\n");
        let _ = writeln!(text, "{:<26}{}", "connecting", opening.took_us.to_text());
        if let Some(storm) = storm {
            let _ = writeln!(text, "{:<26}{}", "coming back", storm.took_us.to_text());
        }
        text
    }
}

/// Processor time per socket, in microseconds.
struct Cpu {
    server: Option<f64>,
    generator: f64,
}

impl Cpu {
    fn new(before: &UsageSample, after: &UsageSample, sockets: u64) -> Self {
        let each = |before: Duration, after: Duration| {
            // Zero sockets have no cost: the divisor is at least one.
            after.saturating_sub(before).as_secs_f64() * 1e6 / sockets.max(1) as f64
        };
        let server = before.0.zip(after.0).map(|(before, after)| each(before.cpu, after.cpu));
        Self {
            server,
            generator: each(before.1.cpu, after.1.cpu),
        }
    }
}

fn cpu(server: Option<f64>, generator: f64) -> String {
    let server = server.map_or_else(String::new, |us| format!("{us:.0} µs CPU each, "));
    format!("{server}{generator:.0} µs of the generator")
}
