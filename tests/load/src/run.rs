//! Run of a load: opens sessions and sockets, sends commands, and waits for the remaining events.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    options::Options,
    process::Sample,
    report::{Report, RunMeasurements},
    sender::{self, Answers},
    server::Server,
    socket::Socket,
    workload::Opened,
};

/// Number of sessions and sockets that are opened at one time.
pub(crate) const OPEN_CONCURRENCY: usize = 32;

/// Interval between checks of the sockets' positions. The interval below is that of the progress display.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(5);
pub(crate) const DISPLAY_INTERVAL: Duration = Duration::from_millis(200);

/// Time for which sockets keep listening after the last event, in order to detect duplicates.
pub(crate) const LINGER: Duration = Duration::from_millis(250);

/// State shared by the senders and sockets of a run.
pub(crate) struct Run {
    pub(crate) options: Options,
    pub(crate) server: Server,
    pub(crate) opened: Vec<Opened>,
    pub(crate) counts: Counts,
    began: Instant,
}

/// Progress of a run, for display.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    commands: AtomicU64,
    deliveries: AtomicU64,
}

impl Counts {
    pub(crate) fn accepted(&self) {
        self.commands.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn delivered(&self) {
        self.deliveries.fetch_add(1, Ordering::Relaxed);
    }
}

impl Run {
    /// Time since the start of the load.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// End of the load, relative to its start.
    pub(crate) fn end(&self) -> Duration {
        self.options.warmup + self.options.duration
    }

    /// Returns true if a command with this intended start is measured.
    pub(crate) fn is_measured(&self, start: Duration) -> bool {
        start >= self.options.warmup
    }
}

/// Runs a load.
///
/// # Errors
/// Returns an error if sessions cannot be opened or joined, or if a process cannot be read. Later faults are in the
/// report.
pub async fn run(options: Options, progress: &ProgressBar) -> anyhow::Result<Report> {
    let server = Server::new(&options.url)?;
    progress.set_message("opening sessions");
    let opened = (0..options.sessions).map(|_| server.open(options.nodes));
    let opened: Vec<Opened> = stream::iter(opened)
        .buffered(OPEN_CONCURRENCY)
        .try_collect()
        .await
        .context("cannot open a session")?;
    progress.set_message("joining");
    let sockets = join(&options, &server, &opened).await.context("a socket cannot join")?;
    let run = Arc::new(Run {
        options,
        server,
        opened,
        counts: Counts::default(),
        began: Instant::now(),
    });
    let positions: Vec<_> = sockets.iter().map(Socket::position).collect();
    let stop = CancellationToken::new();
    let _stops_with_this = stop.clone().drop_guard();
    let listen = |socket: Socket| AbortOnDropHandle::new(tokio::spawn(socket.listen(Arc::clone(&run), stop.clone())));
    let listening: Vec<_> = sockets.into_iter().map(listen).collect();
    let _shown = AbortOnDropHandle::new(tokio::spawn(show(Arc::clone(&run), progress.clone())));

    let usage = Usage::begin(&run);
    let answers = sender::send(&run).await?;
    let all_told = timeout(run.options.drain, wait_for_positions(&positions, &answers))
        .await
        .is_ok();
    let elapsed = run.elapsed();
    let usage = usage.end().await?;
    sleep(LINGER).await;
    stop.cancel();
    let mut received = Vec::new();
    for socket in listening {
        received.push(socket.await??);
    }
    Report::new(RunMeasurements {
        run: &run,
        answers,
        received,
        seconds: elapsed.saturating_sub(run.options.warmup).as_secs_f64(),
        usage,
        all_told,
    })
}

async fn join(options: &Options, server: &Server, opened: &[Opened]) -> anyhow::Result<Vec<Socket>> {
    let mut joining = Vec::new();
    for (number, opened) in (0..options.sessions).zip(opened) {
        let join = || Socket::join(server, options, number, &opened.session_id);
        joining.extend((0..options.sockets).map(|_| join()));
    }
    stream::iter(joining).buffered(OPEN_CONCURRENCY).try_collect().await
}

/// Waits until every socket has reached the last sequence number in the answers of its session.
async fn wait_for_positions(positions: &[(u16, Arc<AtomicU64>)], answers: &Answers) {
    let is_there = |(session, position): &(u16, Arc<AtomicU64>)| {
        let (_, last) = &answers.sessions[usize::from(*session)];
        position.load(Ordering::Relaxed) >= *last
    };
    while !positions.iter().all(is_there) {
        sleep(POLL_INTERVAL).await;
    }
}

/// Shows the progress of the run.
async fn show(run: Arc<Run>, progress: ProgressBar) {
    progress.set_length(u64::try_from(run.end().as_millis()).unwrap_or(u64::MAX));
    loop {
        progress.set_position(u64::try_from(run.elapsed().as_millis()).unwrap_or(u64::MAX));
        let commands = run.counts.commands.load(Ordering::Relaxed);
        let deliveries = run.counts.deliveries.load(Ordering::Relaxed);
        progress.set_message(format!("{commands} commands, {deliveries} deliveries"));
        sleep(DISPLAY_INTERVAL).await;
    }
}

/// Measurement of resource usage, from the end of the warm-up on.
struct Usage {
    server_pid: Option<u32>,
    before: AbortOnDropHandle<anyhow::Result<(Option<Sample>, Sample)>>,
}

/// Usage of a process before and after.
pub(crate) type Span = (Sample, Sample);

impl Usage {
    fn begin(run: &Run) -> Self {
        let (server_pid, warmup) = (run.options.processes.server_pid, run.options.warmup);
        let before = tokio::spawn(async move {
            sleep(warmup).await;
            samples(server_pid)
        });
        Self {
            server_pid,
            before: AbortOnDropHandle::new(before),
        }
    }

    /// Returns the usage of the server, if its process is known, and of the generator.
    async fn end(self) -> anyhow::Result<(Option<Span>, Span)> {
        let (server, own) = self.before.await??;
        let (server_after, own_after) = samples(self.server_pid)?;
        Ok((server.zip(server_after), (own, own_after)))
    }
}

pub(crate) fn samples(server_pid: Option<u32>) -> anyhow::Result<(Option<Sample>, Sample)> {
    Ok((server_pid.map(Sample::of).transpose()?, Sample::of(std::process::id())?))
}
