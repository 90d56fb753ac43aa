//! Byte stream of a link, for the library to read and write.
//!
//! The library gets whole messages, each as one frame, and its frames go to the peer unchanged. The stream reads
//! nothing while the unwritten data is at its limit (back-pressure): a peer that does not read cannot make the hub
//! answer more pings, commands or refused packets.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    frames::{Kind, client_frame},
    link::{Link, LinkError, Side},
    packets,
};

/// Close code of websockets when the hub stops.
const GOING_AWAY: u16 = 1001;

/// Byte stream of one websocket.
pub(super) struct LibraryStream<S> {
    /// `None` once the websocket is closed, which the library sees as the end of the stream.
    link: Option<Link<S>>,
    /// Bytes that the library has not read yet: those from the position on.
    ready: (Vec<u8>, usize),
    /// Bytes still to be dropped of the library's answer that the peer has received already.
    to_discard: usize,
    closing: Closing,
}

/// Signal that the hub closes websockets.
struct Closing {
    token: CancellationToken,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Closing {
    /// Derives the signal of one stream from the common token. A child token per stream avoids contention on one lock.
    fn new(all: &CancellationToken) -> Self {
        let token = all.child_token();
        let cancelled = Box::pin(token.clone().cancelled_owned());
        Self { token, cancelled }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> LibraryStream<S> {
    /// Creates the stream of a new websocket.
    pub(super) fn new(link: Link<S>) -> Self {
        Self {
            closing: Closing::new(link.closing()),
            link: Some(link),
            ready: (Vec::new(), 0),
            to_discard: 0,
        }
    }

    /// Creates the stream of a websocket whose session has been upgraded. The library takes part in the upgrade after
    /// the fact: it reads the packets that the peer has sent (`sent`), and its answers (`answered`), which the peer has
    /// received already, are dropped.
    pub(super) fn upgraded(link: Link<S>, sent: &[&str], answered: &[&str]) -> Self {
        let ready: Vec<u8> = sent
            .iter()
            .flat_map(|text| client_frame(Kind::Text, text.as_bytes()))
            .collect();
        let to_discard = answered
            .iter()
            .map(|text| super::frames::frame(Kind::Text, text.as_bytes()).len());
        Self {
            closing: Closing::new(link.closing()),
            to_discard: to_discard.sum(),
            link: Some(link),
            ready: (ready, 0),
        }
    }

    /// Copies ready bytes to the buffer. False if there are none.
    fn copy_ready(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let (ready, at) = &mut self.ready;
        let rest = &ready[*at..];
        if rest.is_empty() {
            return false;
        }
        let copied = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..copied]);
        *at += copied;
        if *at == ready.len() {
            // An idle connection keeps no buffer.
            self.ready = (Vec::new(), 0);
        }
        true
    }

    /// Closes the websocket if the hub stops. Each task of the library calls it, because either may run first.
    fn close_if_stopping(&mut self) {
        if self.closing.token.is_cancelled()
            && let Some(link) = self.link.take()
        {
            link.close(GOING_AWAY, "the hub stops");
        }
    }

    /// Ends the stream. The peer is told of errors that have a close code.
    fn fail(&mut self, error: LinkError) -> io::Result<()> {
        let Some(link) = self.link.take() else { return Ok(()) };
        match error {
            LinkError::Io(error) => {
                self.link = Some(link);
                Err(error)
            }
            error => {
                link.fail(error);
                Ok(())
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncRead for LibraryStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing.cancelled.as_mut().poll(cx).is_ready() {
            this.close_if_stopping();
        }
        loop {
            let Some(link) = &mut this.link else {
                return Poll::Ready(Ok(()));
            };
            link.register(Side::Reader, cx);
            match link.poll_drain(Side::Reader) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if link.is_full() => return Poll::Pending,
                Poll::Pending | Poll::Ready(Ok(())) => {}
            }
            if this.copy_ready(buf) {
                return Poll::Ready(Ok(()));
            }
            let Some(link) = &mut this.link else {
                return Poll::Ready(Ok(()));
            };
            match link.poll_message(cx) {
                Poll::Ready(Ok(Some(message))) => {
                    let payload = match message.kind {
                        Kind::Text => packets::replace_packet(message.payload, link.auth_bytes_max()),
                        _ => message.payload,
                    };
                    this.ready = (client_frame(message.kind, &payload), 0);
                }
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => this.fail(error)?,
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for LibraryStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.to_discard > 0 {
            let dropped = self.to_discard.min(bytes.len());
            self.to_discard -= dropped;
            return Poll::Ready(Ok(dropped));
        }
        // The library now writes that the session is over, which some clients take as an order to stay away.
        self.close_if_stopping();
        let Some(link) = &mut self.link else {
            return Poll::Ready(Ok(bytes.len()));
        };
        link.register(Side::Writer, cx);
        link.poll_write(bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close_if_stopping();
        let Some(link) = &mut self.link else {
            return Poll::Ready(Ok(()));
        };
        link.register(Side::Writer, cx);
        link.poll_flush(Side::Writer)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close_if_stopping();
        let Some(link) = &mut self.link else {
            return Poll::Ready(Ok(()));
        };
        link.register(Side::Writer, cx);
        link.poll_shutdown()
    }
}
