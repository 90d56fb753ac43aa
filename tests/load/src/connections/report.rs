//! What a run with many connections came to.

use std::{fmt::Write as _, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Moment, Options, Reasons, storm::Ended};
use crate::{order::Faults, report::Spread};

/// See the [module](self).
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was wanted.
    pub options: Options,
    /// How the sockets came.
    pub opening: Opening,
    /// How it was while they were there.
    pub held: Held,
    /// How they came back, if they were cut.
    pub storm: Option<Storm>,
    /// What did not come as it should, over all of it.
    pub faults: Faults,
}

/// How the sockets came.
#[derive(Debug, Serialize)]
pub struct Opening {
    /// How many.
    pub sockets: u64,
    /// From the first connection to the last sync.
    pub seconds: f64,
    /// Sockets in a second.
    pub per_second: f64,
    /// From the beginning of its connection to its sync, of each, in microseconds.
    pub took_us: Spread,
    /// Processor time of the server for each, if its process is known, in microseconds.
    pub server_cpu_us_per_socket: Option<f64>,
    /// Processor time of the generator for each, in microseconds.
    pub generator_cpu_us_per_socket: f64,
}

/// How it was while they were there.
#[derive(Debug, Serialize)]
pub struct Held {
    /// How long.
    pub seconds: f64,
    /// Why connections ended, and how many.
    pub broken: Reasons,
    /// Syncs after the first.
    pub resyncs: u64,
    /// What the server used, if its process is known.
    pub server: Option<Memory>,
}

/// What the server used for sockets that do nothing.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// Resident memory when the sessions were there and no socket.
    pub rss_before_kib: u64,
    /// When the last socket had come.
    pub rss_opened_kib: u64,
    /// When they had been held.
    pub rss_held_kib: u64,
    /// What the sockets added up to then, for each.
    pub rss_kib_per_socket: f64,
    /// Processor time while they were held.
    pub cpu_seconds: f64,
}

/// How they came back.
#[derive(Debug, Serialize)]
pub struct Storm {
    /// Commands while they were away.
    pub changes: u64,
    /// Commands that were not carried out, the last one of each session included.
    pub failed: u64,
    /// How long these took, which is how long everybody was away.
    pub away_seconds: f64,
    /// Sockets that came back with exactly what they had missed.
    pub resumed: u64,
    /// Sockets that came back with something else than what they had missed.
    pub inexact: u64,
    /// Sockets that got the whole graph instead, by the reason that the server gives.
    pub replaced: Reasons,
    /// Sockets that were sent away for good, by the reason that the server gives.
    pub refused: Reasons,
    /// Sockets that did not come back in time.
    pub missing: u64,
    /// Attempts that were made again, by what they met with.
    pub retries: Reasons,
    /// Sockets that then heard of what happened next.
    pub live: u64,
    /// Why connections ended after that, and how many.
    pub broken: Reasons,
    /// From the beginning until the last one had its sync.
    pub steady_seconds: f64,
    /// From the beginning until it had its sync, of each, in microseconds.
    pub took_us: Spread,
    /// Processor time of the server for each, if its process is known, in microseconds.
    pub server_cpu_us_per_socket: Option<f64>,
    /// Processor time of the generator for each, in microseconds.
    pub generator_cpu_us_per_socket: f64,
    /// Resident memory of the server before.
    pub rss_before_kib: Option<u64>,
    /// And when all were back.
    pub rss_after_kib: Option<u64>,
    /// The most that it ever was.
    pub rss_peak_kib: Option<u64>,
    #[serde(skip)]
    pub(super) faults: Faults,
}

impl Opening {
    pub(super) fn new(seconds: f64, took: &Histogram<u64>, before: &Moment, after: &Moment) -> Self {
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
        [before, opened, held]: [&Moment; 3],
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
    pub(super) fn new(ended: Ended) -> Self {
        let Ended { clients, came, .. } = ended;
        let [before, after] = &ended.usage;
        let cpu = Cpu::new(before, after, clients as u64);
        Self {
            changes: ended.changes,
            failed: ended.failed,
            away_seconds: ended.away.as_secs_f64(),
            missing: clients as u64 - came.back(),
            resumed: came.resumed,
            inexact: came.inexact,
            replaced: came.replaced,
            refused: came.refused,
            retries: came.retries,
            live: ended.live as u64,
            broken: ended.broken,
            steady_seconds: came.took.max() as f64 / 1e6,
            took_us: Spread::of(&came.took),
            server_cpu_us_per_socket: cpu.server,
            generator_cpu_us_per_socket: cpu.generator,
            rss_before_kib: before.0.map(|it| it.rss_kib),
            rss_after_kib: after.0.map(|it| it.rss_kib),
            rss_peak_kib: after.0.map(|it| it.rss_peak_kib),
            faults: came.faults,
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
            ("tried again", &self.retries),
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
    /// Whether nothing was lost: no socket, and nothing that a socket was to hear.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let sockets = self.opening.sockets;
        let storm = self.storm.as_ref().is_none_or(|storm| storm.is_clean(sockets));
        storm && self.held.broken.is_empty() && self.faults.is_clean()
    }

    /// For people.
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

/// Processor time for each socket, in microseconds.
struct Cpu {
    server: Option<f64>,
    generator: f64,
}

impl Cpu {
    fn new(before: &Moment, after: &Moment, sockets: u64) -> Self {
        let each = |before: Duration, after: Duration| {
            // Nothing was done: nothing has a price.
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
