//! A client: one after another it has connections, and over all of them it must hear everything once.

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

/// How long a connection may take up to the sync: what `socket.io-client` waits.
const ATTEMPT: Duration = Duration::from_secs(20);

/// What a websocket reads and writes at one time. The default, 128 KiB each, is for few of them.
const BUFFER_BYTES: usize = 4 * 1024;

/// What all clients of a run have in common.
pub(super) struct Scene {
    pub(super) url: String,
    pub(super) seed: u64,
}

/// See the [module](self).
pub(super) struct Client {
    number: u64,
    session: u16,
    session_id: Arc<str>,
    epoch: String,
    order: Order,
    /// The place that it has come to, for whoever waits until all is told.
    position: Arc<AtomicU64>,
    /// Syncs that it was sent though it had asked for none.
    pub(super) resyncs: u64,
}

/// How a client came back.
#[derive(Debug)]
pub(super) enum Return {
    /// With what it had missed, and what was wrong with that.
    Resumed(Faults),
    /// With all that there is, for this reason.
    Replaced(String),
    /// It was sent away for good, and why.
    Refused(String),
}

/// Why an attempt to connect came to nothing.
enum Obstacle {
    /// Clients try again.
    Passing(String),
    /// They do not.
    Final(String),
}

/// What `connect_error` says when it is worth trying again.
const PASSING: [&str; 2] = ["OVERLOADED", "DRAINING"];

impl From<anyhow::Error> for Obstacle {
    fn from(error: anyhow::Error) -> Self {
        Self::Passing(format!("{error:#}"))
    }
}

/// A sync that has come, as the text that it was.
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

    /// Where others see how far it is, and of which session.
    pub(super) fn position(&self) -> (u16, Arc<AtomicU64>) {
        (self.session, Arc::clone(&self.position))
    }

    /// Which session it is in.
    pub(super) const fn session(&self) -> u16 {
        self.session
    }

    /// What went wrong up to here, where its session is at a place. It begins to count anew: what is lost is lost once.
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
                Heard::Packet(Packet::Close) => bail!("the server hangs up"),
                Heard::Packet(_) => {}
            }
        }
    }

    /// Comes back, however many attempts that takes, for as long as the server does not send it away. What each attempt
    /// in vain met with is told at once.
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
        bail!("there is an end to everything");
    }

    /// Takes the sync after its return, when its session is known to be at a place.
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
        // What it says where the session is has to be where the list leads, and what the answers to commands said.
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
        // Sessions are this run's own, and so are their commands.
        match ticket.filter(|ticket| ticket.session == self.session) {
            Some(ticket) => self.order.sequenced(ticket.index, seq),
            None => self.order.stray(),
        }
    }

    fn moved(&self) {
        self.position.store(self.order.last(), Ordering::Relaxed);
    }
}

/// Opens a connection and asks to be let in, up to the sync.
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
                Packet::Close => return Err(Obstacle::Passing("the server hangs up before the sync".to_owned())),
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
