//! What a run came to: for machines as JSON, for people as a table.

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

/// See the [module](self).
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was wanted.
    pub options: Options,
    /// What became of the commands, those of the warm-up included.
    pub commands: Commands,
    /// What came to the sockets, that of the warm-up included.
    pub deliveries: Deliveries,
    /// What did not come as it should.
    pub faults: Faults,
    /// How fast it went after the warm-up.
    pub throughput: Throughput,
    /// How long it took after the warm-up.
    pub latency: Latency,
    /// What the server used meanwhile, if its process is known.
    pub server: Option<Usage>,
    /// What the generator itself used.
    pub generator: Usage,
}

/// What became of the commands.
#[derive(Debug, Serialize)]
pub struct Commands {
    /// All of them.
    pub sent: u64,
    /// Those that were carried out.
    pub accepted: u64,
    /// Those that were refused, by the status of the answer.
    pub refused: BTreeMap<u16, u64>,
    /// Those without an answer.
    pub unanswered: u64,
}

/// What came to the sockets: events, each counted by itself also where several came as one packet.
#[derive(Debug, Serialize)]
pub struct Deliveries {
    /// Events of each command that changes something; a packet each, unless they come together.
    pub packets_per_command: u64,
    /// Accepted commands, times their events, times the sockets of their session.
    pub expected: u64,
    /// What came.
    pub received: u64,
    /// Syncs after the first: the server told a socket that it had missed something.
    pub resyncs: u64,
    /// Events that such a sync replaced.
    pub skipped: u64,
    /// Whether every socket came in time to where its session is.
    pub all_told: bool,
    /// Why connections broke.
    pub broken: Vec<String>,
}

/// How fast it went.
#[derive(Debug, Serialize)]
pub struct Throughput {
    /// From the end of the warm-up to the last event.
    pub seconds: f64,
    /// Accepted commands that were meant to start in this time.
    pub commands: u64,
    /// Their events at the sockets.
    pub deliveries: u64,
    /// Commands in a second.
    pub commands_per_second: f64,
    /// Events in a second.
    pub deliveries_per_second: f64,
}

/// How long it took from the intended start of a command, in microseconds.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// To its last event at each socket.
    pub event_us: Spread,
    /// To its answer.
    pub answer_us: Spread,
    /// To its being sent, which is the generator's own share in the others.
    pub sending_us: Spread,
}

/// How times are spread.
#[derive(Debug, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: u64,
    /// So many of a hundred are not above.
    pub p50: u64,
    /// As [`Self::p50`].
    pub p90: u64,
    /// As [`Self::p50`].
    pub p99: u64,
    /// As [`Self::p50`].
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

/// What a process used.
#[derive(Debug, Serialize)]
pub struct Usage {
    /// Time on any processor.
    pub cpu_seconds: f64,
    /// The same for each command.
    pub cpu_us_per_command: f64,
    /// The same for each event that came to a socket, by itself or with others.
    pub cpu_us_per_delivery: f64,
    /// Resident memory at the end.
    pub rss_kib: u64,
    /// The most that it ever was.
    pub rss_peak_kib: u64,
}

/// All that a report is made of.
pub(crate) struct Ended<'a> {
    pub(crate) run: &'a Run,
    pub(crate) answers: Answers,
    pub(crate) received: Vec<Received>,
    /// From the end of the warm-up until all was told.
    pub(crate) seconds: f64,
    pub(crate) usage: (Option<Span>, Span),
    pub(crate) all_told: bool,
}

impl Report {
    pub(crate) fn new(ended: Ended<'_>) -> anyhow::Result<Self> {
        let Ended {
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
            // Only a server that tells of its beginning can forget to.
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

    /// Whether everything came once, in its place, to everybody who was there until the end.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_clean() && self.deliveries.broken.is_empty() && self.commands.unanswered == 0
    }

    /// For people.
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
        // Nothing was done: nothing has a price.
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

/// Notes a time in whole microseconds, at least one: a histogram begins there.
pub(crate) fn note(times: &mut Histogram<u64>, time: Duration) {
    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    // It grows as it needs to; what it cannot hold is more time than there is.
    let _ = times.record(us);
}
