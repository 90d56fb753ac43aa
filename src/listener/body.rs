//! Body of a request while it is received: bounded in time, and in the bytes that all bodies together may keep.
//!
//! Every reader of a body (handlers, the transport of Socket.IO) sees a body that exceeds a bound end with an error.
//! The answer to the client is decided by the [`BodyProgress`], which stays with the request, so no reader has to
//! distinguish one failure from another.

use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};

use super::{Settings, phase::Expired};
use crate::permits::Permit;

/// Bytes of a body that are not charged to the budget of received bytes. The number of connections bounds them. An
/// ordinary command is not longer than that, so clients that fill the budget do not block ordinary commands (P7).
const BODY_BYTES_FREE: usize = 4 * 1024;

/// Overhead in bytes of one frame of a body, in the buffer of the reader that collects the frames.
const FRAME_BYTES: usize = 64;

/// State of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BodyState {
    /// No reader has polled the body.
    Unread = 0,
    /// A reader waits for the body.
    Receiving = 1,
    /// The body was read to its end, or its reader dropped it.
    Ended = 2,
    /// The body did not arrive in time.
    TimedOut = 3,
    /// The bytes of all bodies together exceeded the budget.
    OverBudget = 4,
}

/// Progress of a request's body. Extension of each request that has a body.
#[derive(Debug)]
pub struct BodyProgress {
    began: Instant,
    state: AtomicU8,
    ended_ms: AtomicU64,
    budget: usize,
}

impl BodyProgress {
    fn new(budget: usize) -> Self {
        Self {
            began: Instant::now(),
            state: AtomicU8::new(BodyState::Unread as u8),
            ended_ms: AtomicU64::new(0),
            budget,
        }
    }

    /// Returns the state of the body so far.
    #[must_use]
    pub fn state(&self) -> BodyState {
        match self.state.load(Ordering::Acquire) {
            0 => BodyState::Unread,
            1 => BodyState::Receiving,
            2 => BodyState::Ended,
            3 => BodyState::TimedOut,
            _ => BodyState::OverBudget,
        }
    }

    /// Returns the time at which the body ended; the start of the request if no reader waited for the body.
    #[must_use]
    pub fn ended_at(&self) -> Instant {
        self.began + Duration::from_millis(self.ended_ms.load(Ordering::Relaxed))
    }

    /// Bytes that all incomplete requests together may have.
    #[must_use]
    pub const fn budget(&self) -> usize {
        self.budget
    }

    fn set(&self, state: BodyState) {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or_default();
        self.ended_ms.store(at_ms, Ordering::Relaxed);
        self.state.store(state as u8, Ordering::Release);
    }
}

/// Reason why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection ended, or the body is malformed.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// The body did not arrive in time.
    #[error("the body did not come in time")]
    TimedOut,
    /// The bytes of all bodies together exceeded the budget.
    #[error("too much is being received")]
    OverBudget,
}

/// Body of a request, bounded in time and in the memory of all that is received.
#[derive(Debug)]
pub struct ReceivedBody {
    body: Option<Incoming>,
    clock: WaitClock,
    bytes: usize,
    reserved: Option<Permit>,
    progress: Arc<BodyProgress>,
    settings: Arc<Settings>,
    /// Returns an unread body to its connection on drop.
    unread: Option<oneshot::Sender<Incoming>>,
}

impl ReceivedBody {
    /// Wraps a body. Returns its progress, and the receiver of the unread rest if the body is dropped before its end.
    pub(super) fn new(
        body: Incoming,
        settings: &Arc<Settings>,
    ) -> (Self, Arc<BodyProgress>, oneshot::Receiver<Incoming>) {
        let progress = Arc::new(BodyProgress::new(settings.receiving.max()));
        let (unread, rest) = oneshot::channel();
        let received = Self {
            body: Some(body),
            clock: WaitClock::default(),
            bytes: 0,
            reserved: None,
            progress: Arc::clone(&progress),
            settings: Arc::clone(settings),
            unread: Some(unread),
        };
        (received, progress, rest)
    }

    /// Reserves the bytes of one frame. False: all bodies together exceed the budget.
    fn reserve(&mut self, bytes: usize) -> bool {
        self.bytes += bytes + FRAME_BYTES;
        let due = self.bytes.saturating_sub(BODY_BYTES_FREE);
        let held = self.reserved.as_ref().map_or(0, Permit::count);
        if due <= held {
            return true;
        }
        match (self.settings.receiving.try_acquire_many(due - held), &mut self.reserved) {
            (None, _) => return false,
            (Some(more), Some(reserved)) => reserved.merge(more),
            (Some(more), none) => *none = Some(more),
        }
        true
    }

    fn fail(&mut self, state: BodyState, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.progress.set(state);
        self.reserved = None;
        if state == BodyState::TimedOut {
            self.settings.expired(Expired::Body);
            self.body = None;
        } else {
            self.settings.refused("receiving_bytes_max");
            self.return_unread();
        }
        Poll::Ready(Some(Err(error)))
    }

    fn return_unread(&mut self) {
        if let (Some(body), Some(unread)) = (self.body.take(), self.unread.take()) {
            // A closed connection has dropped its receiver, and needs no rest.
            let _ = unread.send(body);
        }
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
            if this.progress.state() == BodyState::Unread {
                this.progress.set(BodyState::Receiving);
            }
            let timeouts = &this.settings.timeouts;
            ready!(this.clock.wait(cx, timeouts.body_stall, timeouts.body));
            return this.fail(BodyState::TimedOut, BodyError::TimedOut);
        };
        this.clock.stop();
        match frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if this.reserve(bytes) {
                    Poll::Ready(Some(Ok(frame)))
                } else {
                    this.fail(BodyState::OverBudget, BodyError::OverBudget)
                }
            }
            Some(Err(error)) => {
                this.progress.set(BodyState::Ended);
                this.body = None;
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                this.progress.set(BodyState::Ended);
                this.return_unread();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for ReceivedBody {
    fn drop(&mut self) {
        if self.progress.state() == BodyState::Receiving {
            self.progress.set(BodyState::Ended);
        }
        self.return_unread();
    }
}

/// Total time of waits for a client. Time in which no reader polls the body is the hub's own and does not count.
#[derive(Debug, Default)]
struct WaitClock {
    timer: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
    waited: Duration,
}

impl WaitClock {
    /// Resolves once a single wait, or the sum of all waits, exceeds its limit.
    fn wait(&mut self, cx: &mut Context<'_>, once: Duration, in_all: Duration) -> Poll<()> {
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        let deadline = since + once.min(in_all.saturating_sub(self.waited));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }

    /// Ends the current wait: a frame arrived.
    fn stop(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }
}
