//! Upgrading a session that polls to a websocket.
//!
//! The client opens a websocket beside its polling and probes it: it sends a ping, gets a pong, ends its polling and says
//! that the websocket takes over. Until it has said so the session polls, whatever becomes of the websocket. The library
//! has it otherwise (a probe that fails ends the session, one that is silent turns every poll away at once), so it is
//! given the websocket when the upgrade is complete, with the packets that it expects.

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

/// Code that a websocket is closed with whose upgrade is given up.
const GIVEN_UP: u16 = 1008;

/// End of a probe.
#[derive(Debug)]
enum Failed {
    Link(LinkError),
    GivenUp(&'static str),
}

impl From<LinkError> for Failed {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl Shared {
    /// Begins the upgrade of a session.
    pub(super) fn probe(self: Arc<Self>, sid: Sid, mut request: Request) -> Result<Response, Refusal> {
        let transport = self.sessions.get(sid).ok_or(Refusal::UnknownSession)?;
        let response = handshake::accept(&request)?;
        // One upgrade at a time, and one in all.
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
                    () = polling.closed().cancelled() => Err(Failed::GivenUp("the session is closed")),
                    probed = shake_hands(&mut link, polling) => probed,
                };
                Some((link, probed))
            };
            match timeout(self.settings.upgrade_timeout, probed).await {
                Ok(Some((link, Ok(())))) => self.take_over(sid, &transport, link, request).await,
                Ok(Some((link, Err(failed)))) => {
                    self.settings.metrics.observe_failed_upgrade();
                    match failed {
                        Failed::Link(error) => link.fail(error),
                        Failed::GivenUp(reason) => link.close(GIVEN_UP, reason),
                    }
                }
                // Dropping the connection closes it.
                Ok(None) | Err(_) => self.settings.metrics.observe_failed_upgrade(),
            }
            drop(guard);
        });
        Ok(response)
    }

    /// Makes a session a websocket. The client has ended its polling: from here on it lives or ends with the websocket.
    async fn take_over<S>(&self, sid: Sid, transport: &Transport, mut link: Link<S>, request: Request)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(polling) = transport.open_polling() else {
            return;
        };
        let moved = async {
            polling.enter(Stage::HandingOver);
            polling.polls_ended().await;
            // Packets that no poll has fetched go first, also the one that the library would forget. Then its queue has
            // room for a packet that it needs for the upgrade.
            while let Some(packets) = self.take_waiting(sid).await {
                let packets = std::str::from_utf8(&packets).map_err(|_| ())?;
                for packet in packets.split(SEPARATOR).filter(|packet| *packet != NOOP) {
                    link.push(frame(Kind::Text, packet.as_bytes()));
                }
                flush(&mut link).await.map_err(drop)?;
            }
            Ok::<(), ()>(())
        };
        if !matches!(timeout(self.settings.upgrade_timeout, moved).await, Ok(Ok(()))) {
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

/// Answers the probe, and waits for the end of the upgrade.
async fn shake_hands<S>(link: &mut Link<S>, polling: &Polling) -> Result<(), Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut is_probed = false;
    loop {
        let Some(Message { kind, payload }) = next_message(link).await? else {
            return Err(Failed::GivenUp("the websocket has ended"));
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
            (Kind::Close, _) => return Err(Failed::GivenUp("")),
            _ => return Err(Failed::GivenUp("this is no packet of an upgrade")),
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
