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

use super::{
    frames::{Kind, client_frame},
    link::{Link, LinkError, Side},
    packets,
};

/// See the [module](self).
pub(super) struct LibraryStream<S> {
    /// `None`: it is closed, which the library learns as the end of the stream.
    link: Option<Link<S>>,
    /// Bytes for the library, from the position on.
    ready: (Vec<u8>, usize),
    /// Bytes of the library that the peer has had.
    swallowed: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> LibraryStream<S> {
    /// Stream of a new websocket.
    pub(super) const fn new(link: Link<S>) -> Self {
        Self {
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
        let Some(link) = &mut self.link else {
            return Poll::Ready(Ok(bytes.len()));
        };
        link.register(Side::Writer, cx);
        link.poll_write(bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(link) = &mut self.link else {
            return Poll::Ready(Ok(()));
        };
        link.register(Side::Writer, cx);
        link.poll_flush(Side::Writer)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(link) = &mut self.link else {
            return Poll::Ready(Ok(()));
        };
        link.register(Side::Writer, cx);
        link.poll_shutdown()
    }
}
