//! A socket in a session's room: joins, listens, checks.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::bail;
use hdrhistogram::Histogram;
use tokio_util::sync::CancellationToken;

use crate::{
    options::Options,
    order::Order,
    packet::{self, Event, PONG, Packet},
    report::note,
    run::Run,
    server::Server,
    ticket::Ticket,
    transport::Connection,
};

/// A socket that has joined.
pub(crate) struct Socket {
    connection: Connection,
    session: u16,
    order: Order,
    /// The place that it has come to, for whoever waits until all is told.
    position: Arc<AtomicU64>,
}

/// What a socket knows in the end.
pub(crate) struct Received {
    pub(crate) session: u16,
    pub(crate) order: Order,
    /// Events of commands, however many came as one packet, and those among them of commands that were meant to start
    /// within the measured time.
    pub(crate) events: u64,
    pub(crate) measured: u64,
    /// Syncs after the first.
    pub(crate) resyncs: u64,
    /// From the intended start to `command:executed`, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Why the connection ended, if it was not the end of the run.
    pub(crate) broken: Option<String>,
}

impl Socket {
    /// Connects to a session, up to the sync: what comes from then on is live.
    pub(crate) async fn join(
        server: &Server,
        options: &Options,
        session: u16,
        session_id: &str,
    ) -> anyhow::Result<Self> {
        let mut connection = Connection::open(&server.http, &options.url, options.transport).await?;
        connection.send(&packet::join(session_id, options.frames)).await?;
        loop {
            let (mut sync, mut ping) = (None, false);
            for text in packet::split(&connection.receive().await?) {
                match Packet::read(text)? {
                    Packet::Event(Event {
                        name: "session:sync",
                        seq,
                        ..
                    }) => sync = seq,
                    Packet::Refused(why) => bail!("the server refuses to let a socket in: {why}"),
                    Packet::Close => bail!("the server hangs up before the sync"),
                    Packet::Ping => ping = true,
                    Packet::Open(_) | Packet::Connected | Packet::Event(_) | Packet::Events(_) | Packet::Other => {}
                }
            }
            if ping {
                connection.send(PONG).await?;
            }
            if let Some(seq) = sync {
                return Ok(Self {
                    connection,
                    session,
                    order: Order::after(seq),
                    position: Arc::new(AtomicU64::new(seq)),
                });
            }
        }
    }

    /// Where others see how far it is, and of which session.
    pub(crate) fn position(&self) -> (u16, Arc<AtomicU64>) {
        (self.session, Arc::clone(&self.position))
    }

    /// Listens until the run ends or the connection does.
    pub(crate) async fn listen(mut self, run: Arc<Run>, stop: CancellationToken) -> anyhow::Result<Received> {
        let mut received = Received {
            session: self.session,
            order: self.order,
            events: 0,
            measured: 0,
            resyncs: 0,
            latency: Histogram::new(3)?,
            broken: None,
        };
        let ended = stop
            .run_until_cancelled(received.read(&mut self.connection, &run, &self.position))
            .await;
        received.broken = ended.and_then(Result::err).map(|error| format!("{error:#}"));
        Ok(received)
    }
}

impl Received {
    async fn read(&mut self, connection: &mut Connection, run: &Run, position: &AtomicU64) -> anyhow::Result<()> {
        loop {
            let body = connection.receive().await?;
            let mut ping = false;
            for text in packet::split(&body) {
                match Packet::read(text)? {
                    Packet::Event(event) => self.note(run, &event),
                    Packet::Events(events) => events.iter().for_each(|event| self.note(run, event)),
                    Packet::Ping => ping = true,
                    Packet::Close => bail!("the server hangs up"),
                    Packet::Open(_) | Packet::Connected | Packet::Refused(_) | Packet::Other => {}
                }
            }
            position.store(self.order.last(), Ordering::Relaxed);
            if ping {
                connection.send(PONG).await?;
            }
        }
    }

    fn note(&mut self, run: &Run, event: &Event<'_>) {
        if let ("session:sync", Some(seq)) = (event.name, event.seq) {
            self.resyncs += 1;
            self.order.synced(seq);
        }
        let ticket = event.command_id.and_then(|id| Ticket::read(id, run.options.seed));
        let Some(ticket) = ticket else { return };
        self.events += 1;
        run.counts.delivered();
        if ticket.session != self.session {
            self.order.stray();
            return;
        }
        match event.seq {
            Some(seq) => self.order.sequenced(ticket.index, seq),
            None if event.name == "command:executing" => self.order.executing(ticket.index),
            None => {}
        }
        if run.is_measured(ticket.start) {
            self.measured += 1;
            if event.name == "command:executed" {
                let latency = run.elapsed().saturating_sub(ticket.start);
                note(&mut self.latency, latency);
            }
        }
    }
}
