//! Client with a series of connections, over which it has to receive every event exactly once.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::{
    back_off::back_off,
    heard::{Heard, Place, Told},
};
use crate::{
    options::Frames,
    order::{Faults, Order},
    packet::{self, PONG, Packet},
    ticket::Ticket,
    transport::Connection,
};

/// Timeout of a connection attempt up to the sync: the timeout of `socket.io-client`.
const ATTEMPT: Duration = Duration::from_secs(20);

/// Size in bytes of a websocket's read buffer and write buffer. The default of 128 KiB each is too large for many
/// sockets.
const BUFFER_BYTES: usize = 4 * 1024;

/// Parameters that all clients of a run share.
pub(super) struct Scene {
    pub(super) url: String,
    pub(super) seed: u64,
}

/// Client of the run; see the [module](self).
pub(super) struct Client {
    number: u64,
    session: u16,
    session_id: Arc<str>,
    epoch: String,
    order: Order,
    /// Highest known sequence number, for the task that waits for all clients.
    position: Arc<AtomicU64>,
    /// Number of syncs that the client did not request.
    pub(super) resyncs: u64,
}

/// Outcome of a reconnect.
#[derive(Debug)]
pub(super) enum Return {
    /// The client was resumed with its missed events. Carries the faults in these events.
    Resumed(Faults),
    /// The client got a snapshot instead. Carries the server's reason.
    Replaced(String),
    /// The client was refused for good. Carries the server's reason.
    Refused(String),
}

/// Reason for which a connection attempt failed.
enum Obstacle {
    /// The client retries.
    Passing(String),
    /// The client does not retry.
    Final(String),
}

/// Messages of `connect_error` after which a retry may succeed.
const PASSING: [&str; 2] = ["OVERLOADED", "DRAINING"];

impl From<anyhow::Error> for Obstacle {
    fn from(error: anyhow::Error) -> Self {
        Self::Passing(format!("{error:#}"))
    }
}

/// Connection with its first sync, as the unparsed message.
struct Synced {
    connection: Connection,
    message: tokio_tungstenite::tungstenite::Utf8Bytes,
}

impl Client {
    /// Connects for the first time.
    pub(super) async fn join(
        scene: &Scene,
        number: u64,
        session: u16,
        session_id: Arc<str>,
    ) -> anyhow::Result<(Self, Connection)> {
        let joined = connect(scene, &packet::join(&session_id, Frames::Single)).await;
        let Synced { connection, message } = joined.map_err(|obstacle| match obstacle {
            Obstacle::Passing(why) | Obstacle::Final(why) => anyhow::anyhow!(why),
        })?;
        let sync = read_sync(&message)?.context("a sync")?;
        let (epoch, seq) = sync.epoch.zip(sync.seq).context("a sync has a position")?;
        let client = Self {
            number,
            session,
            session_id,
            epoch: epoch.to_owned(),
            order: Order::after(seq),
            position: Arc::new(AtomicU64::new(seq)),
            resyncs: 0,
        };
        Ok((client, connection))
    }

    /// Returns the session and a shared view of the client's position.
    pub(super) fn position(&self) -> (u16, Arc<AtomicU64>) {
        (self.session, Arc::clone(&self.position))
    }

    /// Number of the client's session.
    pub(super) const fn session(&self) -> u16 {
        self.session
    }

    /// Returns the faults up to the session's position `seq`, and resets the check, so that each fault is counted once.
    pub(super) fn account(&mut self, seq: u64) -> Faults {
        let anew = Order::after(self.order.last().max(seq));
        std::mem::replace(&mut self.order, anew).end(seq, &[])
    }

    /// Listens until the connection ends.
    pub(super) async fn listen(&mut self, scene: &Scene, mut connection: Connection) -> anyhow::Result<Infallible> {
        loop {
            let message = connection.receive().await?;
            match Heard::read(&message)? {
                Heard::Event(name, told) => self.hear(scene, name, &told),
                Heard::Packet(Packet::Ping) => connection.send(PONG).await?,
                Heard::Packet(Packet::Close) => bail!("the server closes the connection"),
                Heard::Packet(_) => {}
            }
        }
    }

    /// Reconnects with any number of attempts, until the server accepts or refuses the client for good. Reports the
    /// reason of each failed attempt to `met` at once.
    pub(super) async fn come_back(
        &mut self,
        scene: &Scene,
        seq: u64,
        met: impl Fn(String),
    ) -> anyhow::Result<(Return, Option<Connection>)> {
        for attempts in 0.. {
            let rejoin = packet::rejoin(&self.session_id, &self.epoch, self.order.last());
            match connect(scene, &rejoin).await {
                Ok(Synced { connection, message }) => {
                    let sync = read_sync(&message)?.context("a sync")?;
                    return Ok((self.synced(scene, &sync, seq), Some(connection)));
                }
                Err(Obstacle::Final(why)) => return Ok((Return::Refused(why), None)),
                Err(Obstacle::Passing(why)) => met(why),
            }
            sleep(back_off(scene.seed, self.number, attempts)).await;
        }
        bail!("the number of attempts is exhausted");
    }

    /// Checks the sync after a reconnect, given the session's position `seq`.
    fn synced(&mut self, scene: &Scene, sync: &Told<'_>, seq: u64) -> Return {
        let same = sync.epoch == Some(&self.epoch) && sync.session_id == Some(&self.session_id);
        if sync.reason != Some("resumed") || !same {
            self.order.synced(sync.seq.unwrap_or_default());
            self.moved();
            return Return::Replaced(sync.reason.unwrap_or("no reason").to_owned());
        }
        for place in sync.listed() {
            self.place(scene, place);
        }
        // The position of the sync has to agree with its events, and with the answers to the commands.
        let faults = self.account(sync.seq.unwrap_or_default().max(seq));
        self.moved();
        Return::Resumed(faults)
    }

    fn hear(&mut self, scene: &Scene, name: &str, told: &Told<'_>) {
        if told.session_id.is_some_and(|id| *id != *self.session_id) {
            self.order.stray();
            return;
        }
        let Some(seq) = told.seq else { return };
        match name {
            "session:sync" => {
                self.resyncs += 1;
                self.order.synced(seq);
            }
            "session:tick" => return,
            _ => {
                let command_id = told.command_id;
                self.place(scene, Place { seq, command_id });
            }
        }
        self.moved();
    }

    fn place(&mut self, scene: &Scene, Place { seq, command_id }: Place<'_>) {
        let ticket = command_id.and_then(|id| Ticket::read(id, scene.seed));
        // The run created its sessions, so every command in a session is from this run.
        match ticket.filter(|ticket| ticket.session == self.session) {
            Some(ticket) => self.order.sequenced(ticket.index, seq),
            None => self.order.stray(),
        }
    }

    fn moved(&self) {
        self.position.store(self.order.last(), Ordering::Relaxed);
    }
}

/// Opens a connection and joins, up to the sync.
async fn connect(scene: &Scene, join: &str) -> Result<Synced, Obstacle> {
    let attempt = timeout(ATTEMPT, async {
        let buffers = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES);
        let mut connection = Connection::websocket(&scene.url, buffers).await?;
        connection.send(join).await?;
        loop {
            let message = connection.receive().await?;
            if read_sync(&message).map_err(anyhow::Error::from)?.is_some() {
                return Ok(Synced { connection, message });
            }
            match Packet::read(&message).map_err(anyhow::Error::from)? {
                Packet::Refused(why) if PASSING.contains(&why.as_str()) => return Err(Obstacle::Passing(why)),
                Packet::Refused(why) => return Err(Obstacle::Final(why)),
                Packet::Close => {
                    return Err(Obstacle::Passing(
                        "the server closes the connection before the sync".to_owned(),
                    ));
                }
                Packet::Ping => connection.send(PONG).await?,
                Packet::Open(_) | Packet::Connected | Packet::Event(_) | Packet::Events(_) | Packet::Other => {}
            }
        }
    });
    let late = |_| Obstacle::Passing(format!("no sync within {} s", ATTEMPT.as_secs()));
    attempt.await.map_err(late).flatten()
}

fn read_sync(message: &str) -> Result<Option<Told<'_>>, serde_json::Error> {
    Ok(match Heard::read(message)? {
        Heard::Event("session:sync", told) => Some(told),
        Heard::Event(..) | Heard::Packet(_) => None,
    })
}
