//! Many concurrent connections: their cost, and their recovery after a simultaneous disconnect.
//!
//! ```text
//!  sessions ─▶ open, with a concurrency limit ─▶ hold ─▶ cut all ─▶ change the sessions ─▶ all reconnect at once
//!                                          │                                          │ each with its position
//!                                   memory, pings                    exactly the missed events? ─▶ one more change
//! ```
//!
//! Sockets are websockets. A client reconnects as a real client does: with a random delay that grows with each attempt.

mod back_off;
mod changes;
mod client;
mod heard;
mod options;
pub mod report;
mod storm;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use self::options::Options;
use self::{
    client::{Client, RunParameters},
    report::{Held, Opening, Report},
};
use crate::{
    order::Faults,
    process::Sample,
    report::note,
    run::{OPEN_CONCURRENCY, samples},
    server::Server,
    transport::Connection,
    workload::Opened,
};

/// Number of occurrences by reason.
pub(crate) type Reasons = BTreeMap<String, u64>;

/// Resource usage of the server, if its process is known, and of the generator at one moment.
pub(crate) type UsageSample = (Option<Sample>, Sample);

/// Task of a listening client. It returns the client, and the error if the connection broke.
type ListenTask = AbortOnDropHandle<(Client, Option<String>)>;

/// Runs the measurement of many connections.
///
/// # Errors
/// Returns an error if sessions cannot be opened or joined, or if a process cannot be read. Later faults are in the
/// report.
pub async fn run(options: Options, progress: &ProgressBar) -> anyhow::Result<Report> {
    let server = Server::new(&options.url)?;
    progress.set_message("opening sessions");
    let opened = (0..options.sessions).map(|_| server.open(options.nodes));
    let mut opened: Vec<Opened> = stream::iter(opened)
        .buffered(OPEN_CONCURRENCY)
        .try_collect()
        .await
        .context("cannot open a session")?;
    let parameters = Arc::new(RunParameters {
        url: options.url.clone(),
        seed: options.seed,
    });
    let before = samples(options.processes.server_pid)?;
    progress.set_length(u64::from(options.sessions) * u64::from(options.sockets));
    progress.set_message("connecting");
    let stop = CancellationToken::new();
    let _stops_with_this = stop.clone().drop_guard();
    let began = Instant::now();
    let (listening, took) = open(&options, &parameters, &opened, &stop, progress)
        .await
        .context("a socket cannot join")?;
    let seconds = began.elapsed().as_secs_f64();
    let complete = samples(options.processes.server_pid)?;
    progress.set_message("holding");
    sleep(options.duration).await;
    let at_rest = samples(options.processes.server_pid)?;
    let opening = Opening::new(seconds, &took, &before, &complete);

    // A cancelled task drops its connection, so all connections are cut at once.
    stop.cancel();
    let (mut clients, mut broken, mut faults) = (Vec::new(), Reasons::new(), Faults::default());
    for listening in listening {
        let (mut client, ended) = listening.await?;
        ended.into_iter().for_each(|why| *broken.entry(why).or_default() += 1);
        faults += client.take_faults(opened[usize::from(client.session())].seq);
        clients.push(client);
    }
    let resyncs = clients.iter().map(|client| client.resyncs).sum();
    let held = Held::new(
        options.duration,
        clients.len(),
        [&before, &complete, &at_rest],
        broken,
        resyncs,
    );
    let mut storm = None;
    if options.reconnect {
        let outcomes = storm::storm(&options, &server, &parameters, &mut opened, clients, progress).await?;
        faults += outcomes.faults;
        storm = Some(outcomes);
    }
    Ok(Report {
        options,
        opening,
        held,
        storm,
        faults,
    })
}

/// Opens all sockets. Each socket listens as soon as it has joined. Also returns the time of each join, in
/// microseconds.
async fn open(
    options: &Options,
    parameters: &Arc<RunParameters>,
    opened: &[Opened],
    stop: &CancellationToken,
    progress: &ProgressBar,
) -> anyhow::Result<(Vec<ListenTask>, Histogram<u64>)> {
    let mut took = Histogram::new(3)?;
    // Round robin over the sessions, as real clients arrive, and not one session after another.
    let seats = (0..options.sockets).flat_map(|_| (0..).zip(opened));
    let mut joining = Vec::new();
    for (number, (session, opened)) in (0..).zip(seats) {
        joining.push(async move {
            let began = Instant::now();
            let (client, connection) =
                Client::join(parameters, number, session, opened.session_id.as_str().into()).await?;
            progress.inc(1);
            let listening = tokio::spawn(listen(client, connection, Arc::clone(parameters), stop.clone()));
            anyhow::Ok((AbortOnDropHandle::new(listening), began.elapsed()))
        });
    }
    let joined: Vec<(ListenTask, Duration)> = stream::iter(joining)
        .buffer_unordered(options.at_a_time.into())
        .try_collect()
        .await?;
    let mut listening = Vec::new();
    for (one, time) in joined {
        note(&mut took, time);
        listening.push(one);
    }
    Ok((listening, took))
}

async fn listen(
    mut client: Client,
    connection: Connection,
    parameters: Arc<RunParameters>,
    stop: CancellationToken,
) -> (Client, Option<String>) {
    let ended = stop.run_until_cancelled(client.listen(&parameters, connection)).await;
    let broken = ended.and_then(Result::err).map(|error| format!("{error:#}"));
    (client, broken)
}

/// Returns the number of clients that have reached the position of their session.
fn count_up_to_date(positions: &[(u16, Arc<AtomicU64>)], opened: &[Opened]) -> usize {
    let is_told = |(session, position): &&(u16, Arc<AtomicU64>)| {
        position.load(Ordering::Relaxed) >= opened[usize::from(*session)].seq
    };
    positions.iter().filter(is_told).count()
}
