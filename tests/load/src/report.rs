//! Report of a run: JSON for programs, a table for people.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    options::Options,
    order::Faults,
    run::{Run, Span},
    sender::Answers,
    socket::Received,
    workload::PACKETS_PER_COMMAND,
};

/// Report of a run; see the [module](self).
#[derive(Debug, Serialize)]
pub struct Report {
    /// Options of the run.
    pub options: Options,
    /// Outcomes of the commands, including the warm-up.
    pub commands: Commands,
    /// Events received by the sockets, including the warm-up.
    pub deliveries: Deliveries,
    /// Faults in the events.
    pub faults: Faults,
    /// Throughput after the warm-up.
    pub throughput: Throughput,
    /// Latency after the warm-up.
    pub latency: Latency,
    /// Resource usage of the server after the warm-up. `None`: its process is unknown.
    pub server: Option<Usage>,
    /// Resource usage of the generator after the warm-up.
    pub generator: Usage,
}

/// Outcomes of the commands.
#[derive(Debug, Serialize)]
pub struct Commands {
    /// Number of all commands.
    pub sent: u64,
    /// Number of accepted commands.
    pub accepted: u64,
    /// Number of refused commands, by HTTP status.
    pub refused: BTreeMap<u16, u64>,
    /// Number of commands without an answer.
    pub unanswered: u64,
}

/// Events received by the sockets. Events of a batched packet are counted individually.
#[derive(Debug, Serialize)]
pub struct Deliveries {
    /// Events of each command that changes the graph; one packet each, unless batched.
    pub packets_per_command: u64,
    /// Accepted commands, times their events, times the sockets of their session.
    pub expected: u64,
    /// Number of received events.
    pub received: u64,
    /// Syncs after the first: the server told a socket that it had missed events.
    pub resyncs: u64,
    /// Events that such a sync replaced.
    pub skipped: u64,
    /// True if every socket reached the position of its session in time.
    pub all_told: bool,
    /// Reasons for which connections broke.
    pub broken: Vec<String>,
}

/// Throughput of the measurement.
#[derive(Debug, Serialize)]
pub struct Throughput {
    /// Time from the end of the warm-up to the last event, in seconds.
    pub seconds: f64,
    /// Accepted commands whose intended start is within the measurement.
    pub commands: u64,
    /// Events of the measured commands at the sockets.
    pub deliveries: u64,
    /// Commands per second.
    pub commands_per_second: f64,
    /// Events per second.
    pub deliveries_per_second: f64,
}

/// Latency from the intended start of a command, in microseconds.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// Latency to the last event of the command, at each socket.
    pub event_us: Spread,
    /// Latency to the answer.
    pub answer_us: Spread,
    /// Latency to the sending: the generator's share of the other latencies.
    pub sending_us: Spread,
}

/// Distribution of times, in microseconds.
#[derive(Debug, Serialize)]
pub struct Spread {
    /// Number of times.
    pub count: u64,
    /// Percentile: 50 % of the times are not above.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Maximum.
    pub max: u64,
}

/// Resource usage of a process.
#[derive(Debug, Serialize)]
pub struct Usage {
    /// Time over all processors, in seconds.
    pub cpu_seconds: f64,
    /// Processor time divided by the commands, in microseconds.
    pub cpu_us_per_command: f64,
    /// Processor time divided by the received events, in microseconds.
    pub cpu_us_per_delivery: f64,
    /// Resident memory at the end, in KiB.
    pub rss_kib: u64,
    /// Peak of the resident memory, in KiB.
    pub rss_peak_kib: u64,
}

/// Measured values of a finished run, for its report.
pub(crate) struct RunMeasurements<'a> {
    pub(crate) run: &'a Run,
    pub(crate) answers: Answers,
    pub(crate) received: Vec<Received>,
    /// Time from the end of the warm-up until all sockets were up to date, in seconds.
    pub(crate) seconds: f64,
    pub(crate) usage: (Option<Span>, Span),
    pub(crate) all_told: bool,
}

impl Report {
    pub(crate) fn new(ended: RunMeasurements<'_>) -> anyhow::Result<Self> {
        let RunMeasurements {
            run,
            answers,
            received,
            seconds,
            usage: (server, own),
            all_told,
        } = ended;
        let throughput = Throughput::new(seconds, answers.measured, received.iter().map(|it| it.measured).sum());
        let mut events = Histogram::new(3)?;
        for socket in &received {
            events.add(&socket.latency)?;
        }
        let latency = Latency {
            event_us: Spread::of(&events),
            answer_us: Spread::of(&answers.took),
            sending_us: Spread::of(&answers.late),
        };
        let (accepted, refused) = (answers.accepted(), answers.refused.values().sum::<u64>());
        let packets_per_command = u64::from(run.options.packets);
        let expected = accepted * packets_per_command * run.options.sockets as u64;
        let deliveries = Deliveries::new(packets_per_command, expected, all_told, &received);
        let mut faults = Faults::default();
        for socket in received {
            let (accepted, last) = &answers.sessions[usize::from(socket.session)];
            // Lost `command:executing` packets can be counted only if the server sends them.
            let begun = if packets_per_command == PACKETS_PER_COMMAND {
                accepted.as_slice()
            } else {
                &[]
            };
            faults += socket.order.end(*last, begun);
        }
        Ok(Self {
            options: run.options.clone(),
            commands: Commands {
                sent: accepted + refused + answers.unanswered,
                accepted,
                refused: answers.refused,
                unanswered: answers.unanswered,
            },
            deliveries,
            faults,
            latency,
            server: server.map(|span| Usage::new(span, &throughput)),
            generator: Usage::new(own, &throughput),
            throughput,
        })
    }

    /// Returns true if every event arrived once and in order at every socket, no connection broke, and every command
    /// was answered.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_clean() && self.deliveries.broken.is_empty() && self.commands.unanswered == 0
    }

    /// Formats the report as a table.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let Self {
            commands,
            deliveries,
            faults,
            throughput,
            latency,
            ..
        } = self;
        let refused: u64 = commands.refused.values().sum();
        let mut line = |name: &str, rest: String| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name:<12}{rest}");
        };
        line(
            "commands",
            format!(
                "{} sent, {} accepted, {refused} refused, {} unanswered; {:.1}/s",
                commands.sent, commands.accepted, commands.unanswered, throughput.commands_per_second,
            ),
        );
        line(
            "deliveries",
            format!(
                "{} of {}; {:.1}/s; {} resyncs for {} events",
                deliveries.received,
                deliveries.expected,
                throughput.deliveries_per_second,
                deliveries.resyncs,
                deliveries.skipped,
            ),
        );
        line(
            "faults",
            format!(
                "{} lost, {} doubled, {} reordered, {} strayed; {} connections broke",
                faults.lost,
                faults.doubled,
                faults.reordered,
                faults.strayed,
                deliveries.broken.len(),
            ),
        );
        for (name, usage) in [("server", self.server.as_ref()), ("generator", Some(&self.generator))] {
            if let Some(usage) = usage {
                line(name, usage.to_text());
            }
        }
        text.push_str("\nms from the intended start      p50      p90      p99    p99.9      max\n");
        for (name, spread) in [
            ("to the event, every socket", &latency.event_us),
            ("to the answer", &latency.answer_us),
            ("to the sending", &latency.sending_us),
        ] {
            let _ = writeln!(text, "{name:<26}{}", spread.to_text());
        }
        text
    }
}

impl Deliveries {
    fn new(packets_per_command: u64, expected: u64, all_told: bool, received: &[Received]) -> Self {
        Self {
            packets_per_command,
            expected,
            received: received.iter().map(|socket| socket.events).sum(),
            resyncs: received.iter().map(|socket| socket.resyncs).sum(),
            skipped: received.iter().map(|socket| socket.order.skipped()).sum(),
            all_told,
            broken: received.iter().filter_map(|socket| socket.broken.clone()).collect(),
        }
    }
}

impl Throughput {
    fn new(seconds: f64, commands: u64, deliveries: u64) -> Self {
        Self {
            seconds,
            commands,
            deliveries,
            commands_per_second: commands as f64 / seconds,
            deliveries_per_second: deliveries as f64 / seconds,
        }
    }
}

impl Spread {
    pub(crate) fn of(times: &Histogram<u64>) -> Self {
        Self {
            count: times.len(),
            p50: times.value_at_quantile(0.5),
            p90: times.value_at_quantile(0.9),
            p99: times.value_at_quantile(0.99),
            p999: times.value_at_quantile(0.999),
            max: times.max(),
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let times = [self.p50, self.p90, self.p99, self.p999, self.max];
        times.map(|us| format!("{:>9.2}", us as f64 / 1e3)).concat()
    }
}

impl Usage {
    fn new((before, after): Span, throughput: &Throughput) -> Self {
        let cpu_seconds = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        // Zero commands have no cost: the divisor is at least one.
        let each = |count: u64| cpu_seconds * 1e6 / count.max(1) as f64;
        Self {
            cpu_seconds,
            cpu_us_per_command: each(throughput.commands),
            cpu_us_per_delivery: each(throughput.deliveries),
            rss_kib: after.rss_kib,
            rss_peak_kib: after.rss_peak_kib,
        }
    }

    fn to_text(&self) -> String {
        format!(
            "{:.2} s CPU, {:.0} µs a command, {:.1} µs a delivery; {} KiB resident, {} at most",
            self.cpu_seconds, self.cpu_us_per_command, self.cpu_us_per_delivery, self.rss_kib, self.rss_peak_kib,
        )
    }
}

/// Records a time in whole microseconds, at least one, the lowest value of a histogram.
pub(crate) fn note(times: &mut Histogram<u64>, time: Duration) {
    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    // The histogram grows as needed, up to a value that no measured time reaches.
    let _ = times.record(us);
}
