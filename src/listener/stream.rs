//! Stream of a connection that can be aborted, and that disconnects a peer that takes no bytes.

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

use super::{Settings, admission::ConnectionPermit, phase::Expired, phase::PhaseClock};
use crate::{metrics::OpenConnection, permits::Permit};

/// Bytes of a head that are not charged to the budget of received bytes, so that a request without large headers is
/// read while the budget is used up. The first read of a connection may take as many bytes.
const HEAD_BYTES_FREE: usize = 8 * 1024;

/// Handle to a connection, for handlers.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Address of the peer.
    pub peer: SocketAddr,
    pub(super) shared: Arc<Shared>,
}

/// State that the stream of a connection shares with its handles.
#[derive(Debug)]
pub(super) struct Shared {
    abort_token: CancellationToken,
    written_bytes: AtomicU64,
    pub(super) phase_clock: PhaseClock,
    pub(super) settings: Arc<Settings>,
}

impl Connection {
    /// Aborts the connection. Bytes that are not written yet are lost.
    pub fn abort(&self) {
        self.shared.abort_token.cancel();
    }

    /// Returns the number of bytes that the kernel has accepted from the connection so far.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.shared.written_bytes.load(Ordering::Relaxed)
    }
}

/// Byte stream of a connection that can be aborted.
#[derive(Debug)]
pub struct Stream {
    inner: TcpStream,
    shared: Arc<Shared>,
    /// A future for each direction: a websocket is read by one task and written by another, and both have to wake up.
    read_abort: AbortFuture,
    write_abort: AbortFuture,
    stall: WriteStall,
    head: HeadBudget,
    _permit: ConnectionPermit,
    _open: OpenConnection,
}

type AbortFuture = Pin<Box<WaitForCancellationFutureOwned>>;

impl Stream {
    /// Builds the stream of an accepted connection, and the handle to the connection.
    pub(super) fn new(
        inner: TcpStream,
        peer: SocketAddr,
        abort_token: CancellationToken,
        permit: ConnectionPermit,
        settings: &Arc<Settings>,
    ) -> (Self, Connection) {
        let abort_future = || Box::pin(abort_token.clone().cancelled_owned());
        let (read_abort, write_abort) = (abort_future(), abort_future());
        let shared = Arc::new(Shared {
            abort_token,
            written_bytes: AtomicU64::new(0),
            phase_clock: PhaseClock::new(),
            settings: Arc::clone(settings),
        });
        let stream = Self {
            inner,
            shared: Arc::clone(&shared),
            read_abort,
            write_abort,
            stall: WriteStall::default(),
            head: HeadBudget::default(),
            _permit: permit,
            _open: settings.metrics.connection_opened(settings.name),
        };
        (stream, Connection { peer, shared })
    }

    /// Counts written bytes. Disconnects the peer after a write without progress for `write_stall`.
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
                    self.shared.abort_token.cancel();
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        written
    }
}

/// Fails if the connection is aborted; otherwise registers the task to be woken by the abort.
fn check_abort(abort_future: &mut AbortFuture, cx: &mut Context<'_>) -> io::Result<()> {
    match abort_future.as_mut().poll(cx) {
        Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
        Poll::Pending => Ok(()),
    }
}

/// Time for which a write has waited for room. The kernel has a timeout for a peer that does not acknowledge. A peer
/// that acknowledges and does not read is found only here, on every system.
#[derive(Debug, Default)]
struct WriteStall {
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl WriteStall {
    /// Records a blocked write. True: the first blocked write since the last progress is past its deadline.
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if !self.is_waiting {
            self.is_waiting = true;
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

/// Bytes of an incomplete head, which stay in a buffer until the head is complete.
#[derive(Debug, Default)]
struct HeadBudget {
    bytes: usize,
    reserved: Option<Permit>,
}

impl HeadBudget {
    /// Reserves the bytes of the head so far. False: the budget of received bytes is used up.
    fn reserve(&mut self, settings: &Settings) -> bool {
        let due = self.bytes.saturating_sub(HEAD_BYTES_FREE);
        let held = self.reserved.as_ref().map_or(0, Permit::count);
        if due <= held {
            return true;
        }
        match (settings.receiving.try_acquire_many(due - held), &mut self.reserved) {
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
        check_abort(&mut this.read_abort, cx)?;
        if !this.shared.phase_clock.is_in_head() {
            this.head = HeadBudget::default();
        } else if !this.head.reserve(&this.shared.settings) {
            // The bytes before this read did not complete the head. Bytes of a body that arrived in the same read as
            // the end of a head are not charged to the head.
            this.shared.settings.refused("receiving_bytes_max");
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            this.shared.phase_clock.record_bytes();
            this.head.bytes += bytes;
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        check_abort(&mut self.write_abort, cx)?;
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        check_abort(&mut self.write_abort, cx)?;
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
        check_abort(&mut self.write_abort, cx)?;
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(cx, written)
    }
}
