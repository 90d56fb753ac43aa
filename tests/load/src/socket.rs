//! Socket in a session's room: joins, listens and checks its events.

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

/// Joined socket.
pub(crate) struct Socket {
    connection: Connection,
    session: u16,
    order: Order,
    /// Highest known sequence number, for the task that waits for all sockets.
    position: Arc<AtomicU64>,
}

/// Collected events of one socket.
pub(crate) struct Received {
    pub(crate) session: u16,
    pub(crate) order: Order,
    /// Number of events of commands, each counted individually, and the number among them whose command is measured.
    pub(crate) events: u64,
    pub(crate) measured: u64,
    /// Number of syncs after the first.
    pub(crate) resyncs: u64,
    /// Time from the intended start to `command:executed`, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Reason for which the connection broke. `None`: the connection lasted until the end of the run.
    pub(crate) broken: Option<String>,
}

impl Socket {
    /// Joins a session, up to the first sync. All later events are live.
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
                    Packet::Refused(why) => bail!("the server refuses a socket: {why}"),
                    Packet::Close => bail!("the server closes the connection before the sync"),
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

    /// Returns the session and a shared view of the socket's position.
    pub(crate) fn position(&self) -> (u16, Arc<AtomicU64>) {
        (self.session, Arc::clone(&self.position))
    }

    /// Listens until the run or the connection ends.
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
                    Packet::Close => bail!("the server closes the connection"),
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
