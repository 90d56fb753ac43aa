//! Websocket that reads messages and writes frames, within bounds (P9).
//!
//! A message is bounded in size and in time, and its bytes count against a budget of all connections while it is
//! unfinished. A peer that takes none of the unwritten data for a while is disconnected.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use axum::body::Bytes;
use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Settings, closing,
    frames::{Message, MessageReader, Violation, close_frame},
    outgoing::Outgoing,
};
use crate::{metrics::DisconnectCause, permits::Permit};

/// Bytes per read. The buffer is on the stack: an idle connection keeps none.
const READ_BYTES: usize = 4096;

/// Granularity of the reservations for an unfinished message, in bytes.
const RESERVED_STEP_BYTES: usize = 4096;

/// Wakers of the tasks that read and write a link. Either task may drive the writing, and both may wait for it.
#[derive(Debug, Default)]
struct Wakers {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
    }
}

/// Task that polls: the reader or the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Reader,
    Writer,
}

/// Error that ends a link.
#[derive(Debug)]
pub(super) enum LinkError {
    Io(io::Error),
    /// The peer gets a close frame with the code and the reason.
    Close {
        cut: DisconnectCause,
        code: u16,
        reason: String,
    },
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Websocket over a byte stream.
pub(super) struct Link<S> {
    inner: S,
    settings: Arc<Settings>,
    reader: MessageReader,
    /// Bytes after a complete message: those from the position on.
    unread: (Vec<u8>, usize),
    reserved: Option<Permit>,
    message_deadline: Option<Pin<Box<Sleep>>>,
    outgoing: Outgoing,
    write_deadline: Option<Pin<Box<Sleep>>>,
    is_stalled: bool,
    wakers: Arc<Wakers>,
    both: Waker,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Link<S> {
    /// Creates a link over a stream whose opening handshake is done.
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        let wakers = Arc::<Wakers>::default();
        Self {
            inner,
            reader: MessageReader::new(settings.message_bytes_max),
            unread: (Vec::new(), 0),
            reserved: None,
            message_deadline: None,
            outgoing: Outgoing::new(settings.metrics.unwritten_bytes()),
            write_deadline: None,
            is_stalled: false,
            both: Waker::from(Arc::clone(&wakers)),
            wakers,
            settings,
        }
    }

    /// Registers the task of a side, which is woken when the link can make progress. Each poll begins with it.
    pub(super) fn register(&self, side: Side, cx: &Context<'_>) {
        match side {
            Side::Reader => self.wakers.reader.register(cx.waker()),
            Side::Writer => self.wakers.writer.register(cx.waker()),
        }
    }

    /// Maximal size of the payload of a connect packet in bytes.
    pub(super) fn auth_bytes_max(&self) -> usize {
        self.settings.auth_bytes_max
    }

    /// Cancelled when websockets are to be closed.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.settings.closing
    }

    /// True if the unwritten data has reached its limit.
    pub(super) fn is_full(&self) -> bool {
        self.outgoing.bytes() >= self.settings.unwritten_bytes_max
    }

    /// Queues a whole frame.
    pub(super) fn push(&mut self, frame: Bytes) {
        self.outgoing.push(frame);
    }

    /// Writes the queue as far as the system takes it. Ready when the queue is empty. Progress wakes the other side,
    /// which may wait for it.
    pub(super) fn poll_drain(&mut self, side: Side) -> Poll<io::Result<()>> {
        let mut has_written = false;
        let drained = loop {
            if self.outgoing.is_empty() {
                self.write_deadline = None;
                break Poll::Ready(Ok(()));
            }
            let mut cx = Context::from_waker(&self.both);
            match self.outgoing.poll_write_some(Pin::new(&mut self.inner), &mut cx) {
                Poll::Ready(Ok(_)) => {
                    has_written = true;
                    self.write_deadline = None;
                }
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break self.poll_stall(),
            }
        };
        if has_written {
            match side {
                Side::Reader => self.wakers.writer.wake(),
                Side::Writer => self.wakers.reader.wake(),
            }
        }
        drained
    }

    /// Fails when the peer has taken no byte for `write_stall`.
    fn poll_stall(&mut self) -> Poll<io::Result<()>> {
        let stall = self.settings.write_stall;
        let message = || format!("the peer took nothing for {} ms", stall.as_millis());
        if self.is_stalled {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message())));
        }
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(sleep(stall)));
        let mut cx = Context::from_waker(&self.both);
        if deadline.as_mut().poll(&mut cx).is_pending() {
            return Poll::Pending;
        }
        self.is_stalled = true;
        self.write_deadline = None;
        self.settings.metrics.observe_disconnect(DisconnectCause::NotReading);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message())))
    }

    /// Takes bytes of the library's frames, at least one: writes them, or queues them within the limit.
    pub(super) fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.poll_drain(Side::Writer) {
            Poll::Ready(Ok(())) => {
                let mut cx = Context::from_waker(&self.both);
                match Pin::new(&mut self.inner).poll_write(&mut cx, bytes) {
                    Poll::Ready(Ok(written)) => {
                        self.outgoing.pass(&bytes[..written]);
                        return Poll::Ready(Ok(written));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {}
        }
        let room = self.settings.unwritten_bytes_max.saturating_sub(self.outgoing.bytes());
        let taken = bytes.len().min(room);
        if taken == 0 {
            return Poll::Pending;
        }
        self.outgoing.append(&bytes[..taken]);
        // Starts the deadline for the peer to read.
        match self.poll_stall() {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    /// Writes the queue, and flushes.
    pub(super) fn poll_flush(&mut self, side: Side) -> Poll<io::Result<()>> {
        match self.poll_drain(side) {
            Poll::Ready(Ok(())) => {
                let mut cx = Context::from_waker(&self.both);
                Pin::new(&mut self.inner).poll_flush(&mut cx)
            }
            other => other,
        }
    }

    /// Writes the queue, and closes the sending half.
    pub(super) fn poll_shutdown(&mut self) -> Poll<io::Result<()>> {
        match self.poll_drain(Side::Writer) {
            Poll::Ready(Ok(())) => {
                let mut cx = Context::from_waker(&self.both);
                Pin::new(&mut self.inner).poll_shutdown(&mut cx)
            }
            other => other,
        }
    }

    /// Returns the next message. `None` at the end of the stream.
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, LinkError>> {
        loop {
            if let Some(message) = self.read_unread()? {
                return Poll::Ready(Ok(Some(message)));
            }
            let mut chunk = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            match Pin::new(&mut self.inner).poll_read(cx, &mut chunk) {
                Poll::Ready(Ok(())) if chunk.filled().is_empty() => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(())) => {
                    if let Some(message) = self.read_chunk(chunk.filled())? {
                        return Poll::Ready(Ok(Some(message)));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return self.poll_message_deadline(cx).map(Err),
            }
        }
    }

    fn read_unread(&mut self) -> Result<Option<Message>, LinkError> {
        let (unread, at) = std::mem::take(&mut self.unread);
        let mut rest = &unread[at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let read = self.reader.read(&mut rest);
        let at = unread.len() - rest.len();
        if at < unread.len() {
            self.unread = (unread, at);
        }
        self.account(read)
    }

    fn read_chunk(&mut self, mut chunk: &[u8]) -> Result<Option<Message>, LinkError> {
        let read = self.reader.read(&mut chunk);
        if !chunk.is_empty() {
            self.unread = (chunk.to_vec(), 0);
        }
        self.account(read)
    }

    /// Starts the deadline of an unfinished message and reserves its memory. Releases both when no message is
    /// unfinished.
    fn account(&mut self, read: Result<Option<Message>, Violation>) -> Result<Option<Message>, LinkError> {
        let message = read.map_err(|violation| self.close_reason(violation))?;
        if !self.reader.is_within_message() {
            self.message_deadline = None;
            self.reserved = None;
            return Ok(message);
        }
        let timeout = self.settings.message_timeout;
        self.message_deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
        self.reserve()?;
        Ok(message)
    }

    fn reserve(&mut self) -> Result<(), LinkError> {
        let held = self.reader.held_bytes();
        let reserved = self.reserved.as_ref().map_or(0, Permit::count);
        if held <= reserved {
            return Ok(());
        }
        let more = (held - reserved).next_multiple_of(RESERVED_STEP_BYTES);
        let Some(more) = self.settings.receiving.try_acquire_many(more) else {
            return Err(LinkError::Close {
                cut: DisconnectCause::ReceivingFull,
                code: 1013,
                reason: "unfinished messages take all memory there is for them (server.receiving_bytes_max)".to_owned(),
            });
        };
        match &mut self.reserved {
            Some(reserved) => reserved.merge(more),
            None => self.reserved = Some(more),
        }
        Ok(())
    }

    fn close_reason(&self, violation: Violation) -> LinkError {
        match violation {
            Violation::Protocol(reason) => LinkError::Close {
                cut: DisconnectCause::Protocol,
                code: 1002,
                reason: reason.to_owned(),
            },
            Violation::TooLarge => LinkError::Close {
                cut: DisconnectCause::MessageTooLarge,
                code: 1009,
                reason: format!(
                    "a message has at most {} bytes (realtime.message_bytes_max)",
                    self.settings.message_bytes_max
                ),
            },
        }
    }

    fn poll_message_deadline(&mut self, cx: &mut Context<'_>) -> Poll<LinkError> {
        let Some(deadline) = &mut self.message_deadline else {
            return Poll::Pending;
        };
        deadline.as_mut().poll(cx).map(|()| LinkError::Close {
            cut: DisconnectCause::MessageTimeout,
            code: 1008,
            reason: format!(
                "a message is finished within {} ms (realtime.message_timeout_ms)",
                self.settings.message_timeout.as_millis()
            ),
        })
    }

    /// Closes with a code and a reason. The queue is written first, within `write_stall`. Then the connection ends.
    pub(super) fn close(mut self, code: u16, reason: &str) {
        // A close frame cannot be inserted within a frame of the library.
        if self.outgoing.is_at_boundary() {
            self.outgoing.push(close_frame(code, reason));
            let stall = self.settings.write_stall;
            tokio::spawn(closing::close(self.inner, self.outgoing, stall));
        }
    }

    /// Closes because of an error, and counts the error.
    pub(super) fn fail(self, error: LinkError) {
        if let LinkError::Close { cut, code, reason } = error {
            self.settings.metrics.observe_disconnect(cut);
            tracing::debug!(code, %reason, "a websocket is closed");
            self.close(code, &reason);
        }
    }
}
