//! Reconnect storm: all clients reconnect at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Options, Reasons, UsageSample, changes,
    client::{Client, ReconnectOutcome, RunParameters},
    count_up_to_date,
    report::Storm,
};
use crate::{
    order::Faults,
    report::note,
    run::{LINGER, POLL_INTERVAL, samples},
    server::Server,
    workload::Opened,
};

/// Progress message of a reconnecting client.
enum ReconnectProgress {
    /// A connection attempt failed. Carries the reason.
    AttemptFailed(String),
    /// A client was accepted or refused for good. Carries the time since the start of the reconnect.
    Finished(ReconnectOutcome, Duration),
}

/// Outcomes of all reconnects.
pub(super) struct StormOutcomes {
    pub(super) resumed: u64,
    pub(super) inexact: u64,
    pub(super) replaced: Reasons,
    pub(super) refused: Reasons,
    pub(super) retries: Reasons,
    pub(super) faults: Faults,
    /// Time from the start of the reconnect to the sync, in microseconds, of each client with a sync.
    pub(super) took: Histogram<u64>,
}

/// Measured values of a finished storm, for its report.
pub(super) struct StormMeasurements {
    pub(super) clients: usize,
    pub(super) changes: u64,
    pub(super) failed: u64,
    pub(super) away: Duration,
    pub(super) outcomes: StormOutcomes,
    pub(super) live: usize,
    pub(super) broken: Reasons,
    pub(super) usage: [UsageSample; 2],
}

/// Changes the sessions, then reconnects the clients.
pub(super) async fn storm(
    options: &Options,
    server: &Server,
    parameters: &Arc<RunParameters>,
    opened: &mut [Opened],
    clients: Vec<Client>,
    progress: &ProgressBar,
) -> anyhow::Result<Storm> {
    let (count, changes) = (clients.len(), u64::from(options.changes));
    progress.set_message("away");
    let left = Instant::now();
    let mut failed = changes::change(server, options.seed, opened, 0..changes).await;
    let away = left.elapsed();

    progress.set_message("coming back");
    progress.set_position(0);
    let before = samples(options.processes.server_pid)?;
    let (news, arrives) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let _stops_with_this = stop.clone().drop_guard();
    let positions: Vec<_> = clients.iter().map(Client::position).collect();
    let began = Instant::now();
    let mut returning = Vec::new();
    for client in clients {
        let (parameters, news, stop) = (Arc::clone(parameters), news.clone(), stop.clone());
        let seq = opened[usize::from(client.session())].seq;
        let back = async move {
            let mut client = client;
            let life = live(&mut client, &parameters, seq, began, news);
            let ended = stop.run_until_cancelled(life).await;
            let broken = ended.and_then(Result::err).map(|error| format!("{error:#}"));
            (client, broken)
        };
        returning.push(AbortOnDropHandle::new(tokio::spawn(back)));
    }
    drop(news);
    let outcomes = collect(arrives, count, options.drain, progress).await?;
    let after = samples(options.processes.server_pid)?;

    // Reconnected clients have to receive all further events.
    failed += changes::change(server, options.seed, opened, changes..changes + 1).await;
    let all_live = async {
        while count_up_to_date(&positions, opened) < count {
            sleep(POLL_INTERVAL).await;
        }
    };
    // Clients that have not received the events by then are counted in the report.
    let _ = timeout(options.drain, all_live).await;
    let live = count_up_to_date(&positions, opened);
    sleep(LINGER).await;
    stop.cancel();
    let mut ended = StormMeasurements {
        clients: count,
        changes: changes * opened.len() as u64,
        failed,
        away,
        outcomes,
        live,
        broken: Reasons::new(),
        usage: [before, after],
    };
    for returning in returning {
        let (mut client, broken) = returning.await?;
        broken
            .into_iter()
            .for_each(|why| *ended.broken.entry(why).or_default() += 1);
        ended.outcomes.faults += client.take_faults(opened[usize::from(client.session())].seq);
    }
    Ok(Storm::new(ended))
}

/// Reconnects, then listens.
async fn live(
    client: &mut Client,
    parameters: &RunParameters,
    seq: u64,
    began: Instant,
    news: UnboundedSender<ReconnectProgress>,
) -> anyhow::Result<()> {
    // The receiver is dropped after the time limit.
    let on_failure = |why| drop(news.send(ReconnectProgress::AttemptFailed(why)));
    let (back, connection) = client.reconnect(parameters, seq, on_failure).await?;
    let _ = news.send(ReconnectProgress::Finished(back, began.elapsed()));
    drop(news);
    match connection {
        Some(connection) => client.listen(parameters, connection).await.map(|never| match never {}),
        None => Ok(()),
    }
}

async fn collect(
    mut arrives: UnboundedReceiver<ReconnectProgress>,
    clients: usize,
    drain: Duration,
    progress: &ProgressBar,
) -> anyhow::Result<StormOutcomes> {
    let mut outcomes = StormOutcomes {
        resumed: 0,
        inexact: 0,
        replaced: Reasons::new(),
        refused: Reasons::new(),
        retries: Reasons::new(),
        faults: Faults::default(),
        took: Histogram::new(3)?,
    };
    let all = async {
        let mut back = 0;
        while back < clients
            && let Some(news) = arrives.recv().await
        {
            if matches!(news, ReconnectProgress::Finished(..)) {
                back += 1;
                progress.inc(1);
            }
            outcomes.note(news);
        }
    };
    // Clients that are not back by then are counted as missing.
    let _ = timeout(drain, all).await;
    Ok(outcomes)
}

impl StormOutcomes {
    /// Returns the number of clients that were accepted or refused.
    pub(super) fn back(&self) -> u64 {
        let others = self.replaced.values().chain(self.refused.values());
        self.resumed + self.inexact + others.sum::<u64>()
    }

    fn note(&mut self, news: ReconnectProgress) {
        match news {
            ReconnectProgress::AttemptFailed(why) => *self.retries.entry(why).or_default() += 1,
            ReconnectProgress::Finished(ReconnectOutcome::Refused(why), _) => {
                *self.refused.entry(why).or_default() += 1;
            }
            ReconnectProgress::Finished(ReconnectOutcome::Replaced(reason), time) => {
                *self.replaced.entry(reason).or_default() += 1;
                note(&mut self.took, time);
            }
            ReconnectProgress::Finished(ReconnectOutcome::Resumed(faults), time) => {
                *if faults.is_clean() {
                    &mut self.resumed
                } else {
                    &mut self.inexact
                } += 1;
                self.faults += faults;
                note(&mut self.took, time);
            }
        }
    }
}
