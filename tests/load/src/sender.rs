//! Senders of commands: on schedule (open loop), or each after an answer (closed loop).

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use hdrhistogram::Histogram;
use tokio::{
    runtime::Handle,
    sync::{
        Semaphore,
        mpsc::{self, UnboundedReceiver, UnboundedSender},
    },
};

use crate::{report::note, run::Run, server::Answer, ticket::Ticket, workload::command};

/// Maximum number of concurrent connections for commands. The wait for a connection counts towards a command's latency.
const CONNECTIONS_MAX: usize = 256;

/// Outcome of one command.
struct Sent {
    ticket: Ticket,
    /// Time from the intended start to the sending, and to the answer.
    late: Duration,
    took: Duration,
    answer: Answer,
}

/// Collected outcomes of all commands.
pub(crate) struct Answers {
    /// Accepted commands of each session, and the highest sequence number in the answers.
    pub(crate) sessions: Vec<(Vec<u64>, u64)>,
    /// Number of refusals by HTTP status.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// Number of commands without an answer.
    pub(crate) unanswered: u64,
    /// Number of accepted commands whose intended start is within the measurement.
    pub(crate) measured: u64,
    /// Time from the intended start to the answer, in microseconds.
    pub(crate) took: Histogram<u64>,
    /// Time from the intended start to the sending, in microseconds.
    pub(crate) late: Histogram<u64>,
}

/// Sends all commands, and returns after the last answer.
pub(crate) async fn send(run: &Arc<Run>) -> anyhow::Result<Answers> {
    let (sent, arrives) = mpsc::unbounded_channel();
    match run.options.closed {
        Some(senders) => closed(run, senders, &sent),
        None => open(run, sent.clone())?,
    }
    drop(sent);
    collect(run, arrives).await
}

/// Sends commands on schedule. A dedicated thread keeps the schedule, since the runtime's timer has a resolution of 1
/// ms.
fn open(run: &Arc<Run>, sent: UnboundedSender<Sent>) -> anyhow::Result<()> {
    let (run, runtime) = (Arc::clone(run), Handle::current());
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let pacer = move || {
        let sessions = run.opened.len() as u64;
        let interval = 1.0 / run.options.rate;
        for number in 0.. {
            let start = Duration::from_secs_f64(interval * number as f64);
            if start >= run.end() {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "a thread of its own waits for its start")]
            thread::sleep(start.saturating_sub(run.elapsed()));
            let ticket = Ticket {
                start,
                session: u16::try_from(number % sessions).unwrap_or_default(),
                index: number / sessions,
            };
            let (run, sent, connections) = (Arc::clone(&run), sent.clone(), Arc::clone(&connections));
            runtime.spawn(async move {
                // The semaphore is never closed.
                let _connection = connections.acquire_owned().await;
                // The receiver is dropped if the run has failed.
                let _ = sent.send(send_one(&run, ticket).await);
            });
        }
    };
    thread::Builder::new().name("pacer".to_owned()).spawn(pacer)?;
    Ok(())
}

/// Sends commands from senders of which each waits for its answer.
fn closed(run: &Arc<Run>, senders: u16, sent: &UnboundedSender<Sent>) {
    for session in 0..run.options.sessions {
        for sender in 0..senders {
            let (run, sent) = (Arc::clone(run), sent.clone());
            tokio::spawn(async move {
                let numbers = (u64::from(sender)..).step_by(usize::from(senders));
                for index in numbers {
                    let start = run.elapsed();
                    if start >= run.end() || sent.is_closed() {
                        return;
                    }
                    let _ = sent.send(send_one(&run, Ticket { start, session, index }).await);
                }
            });
        }
    }
}

async fn send_one(run: &Run, ticket: Ticket) -> Sent {
    let (options, opened) = (&run.options, &run.opened[usize::from(ticket.session)]);
    let body = command(options.seed, options.creates, opened, ticket);
    let late = run.elapsed().saturating_sub(ticket.start);
    let answer = run.server.execute(&body).await;
    Sent {
        ticket,
        late,
        took: run.elapsed().saturating_sub(ticket.start),
        answer,
    }
}

async fn collect(run: &Run, mut arrives: UnboundedReceiver<Sent>) -> anyhow::Result<Answers> {
    let mut answers = Answers {
        sessions: run.opened.iter().map(|opened| (Vec::new(), opened.seq)).collect(),
        refused: BTreeMap::new(),
        unanswered: 0,
        measured: 0,
        took: Histogram::new(3)?,
        late: Histogram::new(3)?,
    };
    while let Some(sent) = arrives.recv().await {
        answers.note(run, &sent);
    }
    Ok(answers)
}

impl Answers {
    /// Returns the number of accepted commands.
    pub(crate) fn accepted(&self) -> u64 {
        self.sessions.iter().map(|(accepted, _)| accepted.len() as u64).sum()
    }

    fn note(&mut self, run: &Run, sent: &Sent) {
        match sent.answer {
            Answer::Accepted(seq) => {
                let (accepted, last) = &mut self.sessions[usize::from(sent.ticket.session)];
                accepted.push(sent.ticket.index);
                *last = seq.max(*last);
                run.counts.accepted();
                if run.is_measured(sent.ticket.start) {
                    self.measured += 1;
                    note(&mut self.took, sent.took);
                    note(&mut self.late, sent.late);
                }
            }
            Answer::Refused(status) => *self.refused.entry(status).or_default() += 1,
            Answer::Unanswered => self.unanswered += 1,
        }
    }
}
