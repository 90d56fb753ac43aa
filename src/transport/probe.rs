//! Upgrade of a polling session to a websocket.
//!
//! The client opens a websocket beside its polling and probes it: it sends a ping, gets a pong, stops polling and sends
//! an upgrade packet. Until the upgrade packet the session polls, even if the websocket fails. The library behaves
//! differently: a failed probe ends the session, and a silent probe ends every poll at once. The library therefore gets
//! the websocket only when the upgrade is complete, with the packets that it expects.

use std::{future::poll_fn, sync::Arc, task::ready};

use axum::{extract::Request, response::Response};
use engineioxide::socket::Sid;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    frames::{Kind, Message, frame},
    handshake::{self, Refusal},
    link::{Link, LinkError, Side},
    polling::NOOP,
    service::{Shared, connection},
    session::{Polling, Stage, Transport},
    stream::LibraryStream,
};

/// Packets of the upgrade.
const PROBE: &str = "2probe";
const PROBE_ANSWER: &str = "3probe";
const UPGRADE: &str = "5";

/// Separates packets in the answer to a poll.
const SEPARATOR: char = '\u{1e}';

/// Close code of a websocket whose upgrade has failed.
const UPGRADE_FAILED: u16 = 1008;

/// Reason of a failed upgrade.
#[derive(Debug)]
enum UpgradeError {
    Link(LinkError),
    Abandoned(&'static str),
}

impl From<LinkError> for UpgradeError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl Shared {
    /// Starts the upgrade of a session.
    pub(super) fn probe(self: Arc<Self>, sid: Sid, mut request: Request) -> Result<Response, Refusal> {
        let transport = self.sessions.get(sid).ok_or(Refusal::UnknownSession)?;
        let response = handshake::accept(&request)?;
        // At most one upgrade at a time, and one completed upgrade in all.
        let guard = transport.begin_probe().ok_or(Refusal::BadRequest)?;
        tokio::spawn(async move {
            let Some(polling) = transport.open_polling() else {
                return;
            };
            let probed = async {
                let io = hyper::upgrade::on(&mut request).await.ok()?;
                let mut link = Link::new(TokioIo::new(io), Arc::clone(&self.settings));
                let probed = tokio::select! {
                    biased;
                    () = polling.closed().cancelled() => Err(UpgradeError::Abandoned("the session is closed")),
                    probed = wait_for_upgrade(&mut link, polling) => probed,
                };
                Some((link, probed))
            };
            match timeout(self.settings.upgrade_timeout, probed).await {
                Ok(Some((link, Ok(())))) => self.take_over(sid, &transport, link, request).await,
                Ok(Some((link, Err(failed)))) => {
                    self.settings.metrics.observe_failed_upgrade();
                    match failed {
                        UpgradeError::Link(error) => link.fail(error),
                        UpgradeError::Abandoned(reason) => link.close(UPGRADE_FAILED, reason),
                    }
                }
                // Dropping the connection closes it.
                Ok(None) | Err(_) => self.settings.metrics.observe_failed_upgrade(),
            }
            drop(guard);
        });
        Ok(response)
    }

    /// Moves a session to its websocket. The client has stopped polling, so the session ends with the websocket from
    /// here on.
    async fn take_over<S>(&self, sid: Sid, transport: &Transport, mut link: Link<S>, request: Request)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(polling) = transport.open_polling() else {
            return;
        };
        let drained = async {
            polling.enter(Stage::HandingOver);
            polling.polls_ended().await;
            // Packets that no poll has fetched are sent first, including a packet that the library would drop. The
            // library's queue then has room for the packet that the library needs for the upgrade.
            while let Some(packets) = self.take_waiting(sid).await {
                let packets = std::str::from_utf8(&packets).map_err(|_| ())?;
                for packet in packets.split(SEPARATOR).filter(|packet| *packet != NOOP) {
                    link.push(frame(Kind::Text, packet.as_bytes()));
                }
                flush(&mut link).await.map_err(drop)?;
            }
            Ok::<(), ()>(())
        };
        if !matches!(timeout(self.settings.upgrade_timeout, drained).await, Ok(Ok(()))) {
            transport.abort();
            return;
        }
        transport.upgrade(connection(&request));
        self.hand_over(
            LibraryStream::upgraded(link, &[PROBE, UPGRADE], &[PROBE_ANSWER]),
            request,
        );
    }
}

/// Answers the probe, and waits for the upgrade packet.
async fn wait_for_upgrade<S>(link: &mut Link<S>, polling: &Polling) -> Result<(), UpgradeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut is_probed = false;
    loop {
        let Some(Message { kind, payload }) = next_message(link).await? else {
            return Err(UpgradeError::Abandoned("the websocket has ended"));
        };
        match (kind, &*payload) {
            (Kind::Text, packet) if packet == PROBE.as_bytes() && !is_probed => {
                is_probed = true;
                link.push(frame(Kind::Text, PROBE_ANSWER.as_bytes()));
                flush(link).await?;
                polling.enter(Stage::Probed);
            }
            (Kind::Text, packet) if packet == UPGRADE.as_bytes() && is_probed => return Ok(()),
            (Kind::Ping, payload) => {
                link.push(frame(Kind::Pong, payload));
                flush(link).await?;
            }
            (Kind::Pong, _) => {}
            (Kind::Close, _) => return Err(UpgradeError::Abandoned("")),
            _ => return Err(UpgradeError::Abandoned("this is no packet of an upgrade")),
        }
    }
}

async fn next_message<S>(link: &mut Link<S>) -> Result<Option<Message>, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    poll_fn(|cx| {
        link.register(Side::Reader, cx);
        link.poll_message(cx)
    })
    .await
}

async fn flush<S>(link: &mut Link<S>) -> Result<(), LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    poll_fn(|cx| {
        link.register(Side::Reader, cx);
        ready!(link.poll_flush(Side::Reader))?;
        std::task::Poll::Ready(Ok(()))
    })
    .await
}
