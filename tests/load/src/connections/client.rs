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
    heard::{EventPosition, Payload, SocketMessage},
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
pub(super) struct RunParameters {
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
pub(super) enum ReconnectOutcome {
    /// The client was resumed with its missed events. Carries the faults in these events.
    Resumed(Faults),
    /// The client got a snapshot instead. Carries the server's reason.
    Replaced(String),
    /// The client was refused for good. Carries the server's reason.
    Refused(String),
}

/// Reason for which a connection attempt failed.
enum ConnectError {
    /// The client retries.
    Temporary(String),
    /// The client does not retry.
    Permanent(String),
}

/// Messages of `connect_error` after which a retry may succeed.
const RETRYABLE: [&str; 2] = ["OVERLOADED", "DRAINING"];

impl From<anyhow::Error> for ConnectError {
    fn from(error: anyhow::Error) -> Self {
        Self::Temporary(format!("{error:#}"))
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
        parameters: &RunParameters,
        number: u64,
        session: u16,
        session_id: Arc<str>,
    ) -> anyhow::Result<(Self, Connection)> {
        let joined = connect(parameters, &packet::join(&session_id, Frames::Single)).await;
        let Synced { connection, message } = joined.map_err(|error| match error {
            ConnectError::Temporary(why) | ConnectError::Permanent(why) => anyhow::anyhow!(why),
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
    pub(super) fn take_faults(&mut self, seq: u64) -> Faults {
        let anew = Order::after(self.order.last().max(seq));
        std::mem::replace(&mut self.order, anew).end(seq, &[])
    }

    /// Listens until the connection ends.
    pub(super) async fn listen(
        &mut self,
        parameters: &RunParameters,
        mut connection: Connection,
    ) -> anyhow::Result<Infallible> {
        loop {
            let message = connection.receive().await?;
            match SocketMessage::read(&message)? {
                SocketMessage::Event(name, payload) => self.on_event(parameters, name, &payload),
                SocketMessage::Packet(Packet::Ping) => connection.send(PONG).await?,
                SocketMessage::Packet(Packet::Close) => bail!("the server closes the connection"),
                SocketMessage::Packet(_) => {}
            }
        }
    }

    /// Reconnects with any number of attempts, until the server accepts or refuses the client for good. Reports the
    /// reason of each failed attempt to `on_failure` at once.
    pub(super) async fn reconnect(
        &mut self,
        parameters: &RunParameters,
        seq: u64,
        on_failure: impl Fn(String),
    ) -> anyhow::Result<(ReconnectOutcome, Option<Connection>)> {
        for attempts in 0.. {
            let rejoin = packet::rejoin(&self.session_id, &self.epoch, self.order.last());
            match connect(parameters, &rejoin).await {
                Ok(Synced { connection, message }) => {
                    let sync = read_sync(&message)?.context("a sync")?;
                    return Ok((self.synced(parameters, &sync, seq), Some(connection)));
                }
                Err(ConnectError::Permanent(why)) => return Ok((ReconnectOutcome::Refused(why), None)),
                Err(ConnectError::Temporary(why)) => on_failure(why),
            }
            sleep(back_off(parameters.seed, self.number, attempts)).await;
        }
        bail!("the number of attempts is exhausted");
    }

    /// Checks the sync after a reconnect, given the session's position `seq`.
    fn synced(&mut self, parameters: &RunParameters, sync: &Payload<'_>, seq: u64) -> ReconnectOutcome {
        let same = sync.epoch == Some(&self.epoch) && sync.session_id == Some(&self.session_id);
        if sync.reason != Some("resumed") || !same {
            self.order.synced(sync.seq.unwrap_or_default());
            self.publish_position();
            return ReconnectOutcome::Replaced(sync.reason.unwrap_or("no reason").to_owned());
        }
        for event_position in sync.listed() {
            self.check_event(parameters, event_position);
        }
        // The position of the sync has to agree with its events, and with the answers to the commands.
        let faults = self.take_faults(sync.seq.unwrap_or_default().max(seq));
        self.publish_position();
        ReconnectOutcome::Resumed(faults)
    }

    fn on_event(&mut self, parameters: &RunParameters, name: &str, payload: &Payload<'_>) {
        if payload.session_id.is_some_and(|id| *id != *self.session_id) {
            self.order.stray();
            return;
        }
        let Some(seq) = payload.seq else { return };
        match name {
            "session:sync" => {
                self.resyncs += 1;
                self.order.synced(seq);
            }
            "session:tick" => return,
            _ => {
                let command_id = payload.command_id;
                self.check_event(parameters, EventPosition { seq, command_id });
            }
        }
        self.publish_position();
    }

    fn check_event(&mut self, parameters: &RunParameters, EventPosition { seq, command_id }: EventPosition<'_>) {
        let ticket = command_id.and_then(|id| Ticket::read(id, parameters.seed));
        // The run created its sessions, so every command in a session is from this run.
        match ticket.filter(|ticket| ticket.session == self.session) {
            Some(ticket) => self.order.sequenced(ticket.index, seq),
            None => self.order.stray(),
        }
    }

    fn publish_position(&self) {
        self.position.store(self.order.last(), Ordering::Relaxed);
    }
}

/// Opens a connection and joins, up to the sync.
async fn connect(parameters: &RunParameters, join: &str) -> Result<Synced, ConnectError> {
    let attempt = timeout(ATTEMPT, async {
        let buffers = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES);
        let mut connection = Connection::websocket(&parameters.url, buffers).await?;
        connection.send(join).await?;
        loop {
            let message = connection.receive().await?;
            if read_sync(&message).map_err(anyhow::Error::from)?.is_some() {
                return Ok(Synced { connection, message });
            }
            match Packet::read(&message).map_err(anyhow::Error::from)? {
                Packet::Refused(why) if RETRYABLE.contains(&why.as_str()) => return Err(ConnectError::Temporary(why)),
                Packet::Refused(why) => return Err(ConnectError::Permanent(why)),
                Packet::Close => {
                    return Err(ConnectError::Temporary(
                        "the server closes the connection before the sync".to_owned(),
                    ));
                }
                Packet::Ping => connection.send(PONG).await?,
                Packet::Open(_) | Packet::Connected | Packet::Event(_) | Packet::Events(_) | Packet::Other => {}
            }
        }
    });
    let late = |_| ConnectError::Temporary(format!("no sync within {} s", ATTEMPT.as_secs()));
    attempt.await.map_err(late).flatten()
}

fn read_sync(message: &str) -> Result<Option<Payload<'_>>, serde_json::Error> {
    Ok(match SocketMessage::read(message)? {
        SocketMessage::Event("session:sync", payload) => Some(payload),
        SocketMessage::Event(..) | SocketMessage::Packet(_) => None,
    })
}
