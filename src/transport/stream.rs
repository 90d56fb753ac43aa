//! A link as the byte stream that the library reads and writes.
//!
//! The library gets whole messages, each as one frame, and its frames go to the peer as they are. While as much waits to
//! be written as may, nothing is read: what a peer has the hub answer (pings, commands, packets that are refused) ends
//! with the peer's own reading.

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

/// Code that websockets are closed with when the hub stops.
const GOING_AWAY: u16 = 1001;

/// See the [module](self).
pub(super) struct LibraryStream<S> {
    /// `None`: it is closed, which the library learns as the end of the stream.
    link: Option<Link<S>>,
    /// Bytes for the library, from the position on.
    ready: (Vec<u8>, usize),
    /// Bytes of the library that the peer has had.
    swallowed: usize,
    closing: Closing,
}

/// Tells a stream that the hub closes websockets.
struct Closing {
    token: CancellationToken,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Closing {
    /// Of a token for all. Each stream has its own, so that no two wait for the same lock.
    fn new(all: &CancellationToken) -> Self {
        let token = all.child_token();
        let cancelled = Box::pin(token.clone().cancelled_owned());
        Self { token, cancelled }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> LibraryStream<S> {
    /// Stream of a new websocket.
    pub(super) fn new(link: Link<S>) -> Self {
        Self {
            closing: Closing::new(link.closing()),
            link: Some(link),
            ready: (Vec::new(), 0),
            swallowed: 0,
        }
    }

    /// Stream of a websocket to which its session was upgraded. The library takes part in the upgrade: it is given what
    /// the peer has sent, and what it answers, which the peer has had, is dropped.
    pub(super) fn upgraded(link: Link<S>, sent: &[&str], answered: &[&str]) -> Self {
        let ready: Vec<u8> = sent
            .iter()
            .flat_map(|text| client_frame(Kind::Text, text.as_bytes()))
            .collect();
        let swallowed = answered
            .iter()
            .map(|text| super::frames::frame(Kind::Text, text.as_bytes()).len());
        Self {
            closing: Closing::new(link.closing()),
            swallowed: swallowed.sum(),
            link: Some(link),
            ready: (ready, 0),
        }
    }

    /// Gives bytes that are ready; false if there are none.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let (ready, at) = &mut self.ready;
        let rest = &ready[*at..];
        if rest.is_empty() {
            return false;
        }
        let given = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..given]);
        *at += given;
        if *at == ready.len() {
            // An idle connection keeps nothing.
            self.ready = (Vec::new(), 0);
        }
        true
    }

    /// Closes the websocket when the hub stops, whichever task of the library comes first.
    fn close_if_stopping(&mut self) {
        if self.closing.token.is_cancelled()
            && let Some(link) = self.link.take()
        {
            link.close(GOING_AWAY, "the hub stops");
        }
    }

    /// Ends the stream; what failed is told to the peer where it can be.
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
            if this.give(buf) {
                return Poll::Ready(Ok(()));
            }
            let Some(link) = &mut this.link else {
                return Poll::Ready(Ok(()));
            };
            match link.poll_message(cx) {
                Poll::Ready(Ok(Some(message))) => {
                    let payload = match message.kind {
                        Kind::Text => packets::answerable(message.payload, link.auth_bytes_max()),
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
        if self.swallowed > 0 {
            let dropped = self.swallowed.min(bytes.len());
            self.swallowed -= dropped;
            return Poll::Ready(Ok(dropped));
        }
        // What the library says now is that the session is over, which some clients take as an order to stay away.
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
