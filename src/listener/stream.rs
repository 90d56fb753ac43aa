//! A connection that can be cut, and that gives up a peer that takes nothing.

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Settings, admission::Place, life::Expired, life::Life};
use crate::{budget::Reservation, metrics::OpenConnection};

/// Bytes of a head that are no part of the budget of what is received: a request without large headers is read also
/// while the budget is used up. It is as much as the first read of a connection may take anyway.
const HEAD_BYTES_FREE: usize = 8 * 1024;

/// A connection, as handlers see it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Who is at the other end.
    pub peer: SocketAddr,
    pub(super) shared: Arc<Shared>,
}

/// State of a connection that both its stream and what is above it have.
#[derive(Debug)]
pub(super) struct Shared {
    switch: CancellationToken,
    written_bytes: AtomicU64,
    pub(super) life: Life,
    pub(super) settings: Arc<Settings>,
}

impl Connection {
    /// Cuts the connection. What is not written yet is lost.
    pub fn abort(&self) {
        self.shared.switch.cancel();
    }

    /// Bytes that the system has taken from it so far.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.shared.written_bytes.load(Ordering::Relaxed)
    }
}

/// A connection that can be cut.
#[derive(Debug)]
pub struct Stream {
    inner: TcpStream,
    shared: Arc<Shared>,
    /// One for each direction: a websocket is read by one task and written by another, and both have to wake up.
    read_cut: Cut,
    write_cut: Cut,
    stall: Stall,
    head: Head,
    _place: Place,
    _open: OpenConnection,
}

type Cut = Pin<Box<WaitForCancellationFutureOwned>>;

impl Stream {
    /// The stream of an accepted connection, and the handle to it.
    pub(super) fn new(
        inner: TcpStream,
        peer: SocketAddr,
        switch: CancellationToken,
        place: Place,
        settings: &Arc<Settings>,
    ) -> (Self, Connection) {
        let cut = || Box::pin(switch.clone().cancelled_owned());
        let (read_cut, write_cut) = (cut(), cut());
        let shared = Arc::new(Shared {
            switch,
            written_bytes: AtomicU64::new(0),
            life: Life::new(),
            settings: Arc::clone(settings),
        });
        let stream = Self {
            inner,
            shared: Arc::clone(&shared),
            read_cut,
            write_cut,
            stall: Stall::default(),
            head: Head::default(),
            _place: place,
            _open: settings.metrics.connection_opened(settings.name),
        };
        (stream, Connection { peer, shared })
    }

    /// Counts what was written, and gives the peer up if it has taken nothing for too long.
    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => {
                self.stall.is_waiting = false;
                self.shared.written_bytes.fetch_add(*bytes as u64, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let settings = &self.shared.settings;
                if self.stall.poll(cx, Instant::now() + settings.timeouts.write_stall) {
                    settings.expired(Expired::Write);
                    // The other direction must wake up too.
                    self.shared.switch.cancel();
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        written
    }
}

/// Fails if the connection is cut; else the task is woken when it is.
fn check(cut: &mut Cut, cx: &mut Context<'_>) -> io::Result<()> {
    match cut.as_mut().poll(cx) {
        Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
        Poll::Pending => Ok(()),
    }
}

/// How long a write has been waiting for room. The kernel has a time of its own for a peer that acknowledges nothing;
/// one that acknowledges and reads nothing is only found here, whatever the system.
#[derive(Debug, Default)]
struct Stall {
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl Stall {
    /// Notes a write that could not go on. True if the first such since the last progress is too long ago.
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if !self.is_waiting {
            self.is_waiting = true;
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

/// Bytes that came and are no whole head yet, which stay in a buffer until they are.
#[derive(Debug, Default)]
struct Head {
    bytes: usize,
    reserved: Option<Reservation>,
}

impl Head {
    /// Reserves what the head takes by now. False: all connections together have received too much that is not complete.
    fn reserve(&mut self, settings: &Settings) -> bool {
        let due = self.bytes.saturating_sub(HEAD_BYTES_FREE);
        let held = self.reserved.as_ref().map_or(0, Reservation::bytes);
        if due <= held {
            return true;
        }
        match (settings.receiving.try_reserve(due - held), &mut self.reserved) {
            (None, _) => return false,
            (Some(more), Some(reserved)) => reserved.merge(more),
            (Some(more), none) => *none = Some(more),
        }
        true
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        check(&mut this.read_cut, cx)?;
        if !this.shared.life.is_in_head() {
            this.head = Head::default();
        } else if !this.head.reserve(&this.shared.settings) {
            // What came before was not enough: bytes of a body that came together with its head are none of the head's.
            this.shared.settings.refused("receiving_bytes_max");
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            this.shared.life.bytes_came();
            this.head.bytes += bytes;
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        check(&mut self.write_cut, cx)?;
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        check(&mut self.write_cut, cx)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        check(&mut self.write_cut, cx)?;
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(cx, written)
    }
}
