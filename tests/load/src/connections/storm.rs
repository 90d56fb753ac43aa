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
    Moment, Options, Reasons, changes,
    client::{Client, Return, Scene},
    report::Storm,
    told,
};
use crate::{
    order::Faults,
    report::note,
    run::{LINGER, LOOK, samples},
    server::Server,
    workload::Opened,
};

/// Progress message of a reconnecting client.
enum News {
    /// A connection attempt failed. Carries the reason.
    Met(String),
    /// A client was accepted or refused for good. Carries the time since the start of the reconnect.
    Back(Return, Duration),
}

/// Outcomes of all reconnects.
pub(super) struct Came {
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
pub(super) struct Ended {
    pub(super) clients: usize,
    pub(super) changes: u64,
    pub(super) failed: u64,
    pub(super) away: Duration,
    pub(super) came: Came,
    pub(super) live: usize,
    pub(super) broken: Reasons,
    pub(super) usage: [Moment; 2],
}

/// Changes the sessions, then reconnects the clients.
pub(super) async fn storm(
    options: &Options,
    server: &Server,
    scene: &Arc<Scene>,
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
        let (scene, news, stop) = (Arc::clone(scene), news.clone(), stop.clone());
        let seq = opened[usize::from(client.session())].seq;
        let back = async move {
            let mut client = client;
            let life = live(&mut client, &scene, seq, began, news);
            let ended = stop.run_until_cancelled(life).await;
            let broken = ended.and_then(Result::err).map(|error| format!("{error:#}"));
            (client, broken)
        };
        returning.push(AbortOnDropHandle::new(tokio::spawn(back)));
    }
    drop(news);
    let came = collect(arrives, count, options.drain, progress).await?;
    let after = samples(options.processes.server_pid)?;

    // Reconnected clients have to receive all further events.
    failed += changes::change(server, options.seed, opened, changes..changes + 1).await;
    let all_live = async {
        while told(&positions, opened) < count {
            sleep(LOOK).await;
        }
    };
    // Clients that have not received the events by then are counted in the report.
    let _ = timeout(options.drain, all_live).await;
    let live = told(&positions, opened);
    sleep(LINGER).await;
    stop.cancel();
    let mut ended = Ended {
        clients: count,
        changes: changes * opened.len() as u64,
        failed,
        away,
        came,
        live,
        broken: Reasons::new(),
        usage: [before, after],
    };
    for returning in returning {
        let (mut client, broken) = returning.await?;
        broken
            .into_iter()
            .for_each(|why| *ended.broken.entry(why).or_default() += 1);
        ended.came.faults += client.account(opened[usize::from(client.session())].seq);
    }
    Ok(Storm::new(ended))
}

/// Reconnects, then listens.
async fn live(
    client: &mut Client,
    scene: &Scene,
    seq: u64,
    began: Instant,
    news: UnboundedSender<News>,
) -> anyhow::Result<()> {
    // The receiver is dropped after the time limit.
    let met = |why| drop(news.send(News::Met(why)));
    let (back, connection) = client.come_back(scene, seq, met).await?;
    let _ = news.send(News::Back(back, began.elapsed()));
    drop(news);
    match connection {
        Some(connection) => client.listen(scene, connection).await.map(|never| match never {}),
        None => Ok(()),
    }
}

async fn collect(
    mut arrives: UnboundedReceiver<News>,
    clients: usize,
    drain: Duration,
    progress: &ProgressBar,
) -> anyhow::Result<Came> {
    let mut came = Came {
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
            if matches!(news, News::Back(..)) {
                back += 1;
                progress.inc(1);
            }
            came.note(news);
        }
    };
    // Clients that are not back by then are counted as missing.
    let _ = timeout(drain, all).await;
    Ok(came)
}

impl Came {
    /// Returns the number of clients that were accepted or refused.
    pub(super) fn back(&self) -> u64 {
        let others = self.replaced.values().chain(self.refused.values());
        self.resumed + self.inexact + others.sum::<u64>()
    }

    fn note(&mut self, news: News) {
        match news {
            News::Met(why) => *self.retries.entry(why).or_default() += 1,
            News::Back(Return::Refused(why), _) => *self.refused.entry(why).or_default() += 1,
            News::Back(Return::Replaced(reason), time) => {
                *self.replaced.entry(reason).or_default() += 1;
                note(&mut self.took, time);
            }
            News::Back(Return::Resumed(faults), time) => {
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
