//! The phase of a connection, and how long it may stay in it.
//!
//! HTTP leaves three silences to a client: before its first byte, in the middle of a head, and between two requests. Each
//! keeps a descriptor and some memory of the hub for nothing, so each has a time. A request that is under way has none
//! here: its body has times of its own, its answer is written against another, and a long poll or a stream of events may
//! stay silent for as long as it likes.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::Server;

/// Times that a connection is given. Each is for one silence of its peer.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the accept to the first byte.
    pub first_byte: Duration,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// From one answer to the first byte of the next request.
    pub keep_alive: Duration,
    /// From one byte of a body to the next.
    pub body_stall: Duration,
    /// From the first wait for a body to its last byte, waits of the hub left out.
    pub body: Duration,
    /// From a write that the peer leaves no room for to the first byte that it takes.
    pub write_stall: Duration,
}

impl Timeouts {
    /// Those of the configuration.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        Self {
            first_byte: Duration::from_millis(server.first_byte_timeout_ms),
            head: Duration::from_millis(server.head_timeout_ms),
            keep_alive: Duration::from_millis(server.keep_alive_timeout_ms),
            body_stall: Duration::from_millis(server.body_stall_timeout_ms),
            body: Duration::from_millis(server.body_timeout_ms),
            write_stall: Duration::from_millis(server.write_stall_timeout_ms),
        }
    }
}

/// The time that a connection exceeded, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expired {
    /// No byte ever came.
    FirstByte,
    /// A head that did not come to its end.
    Head,
    /// No further request.
    KeepAlive,
    /// A body that did not come to its end.
    Body,
    /// Bytes that the peer did not take.
    Write,
}

impl Expired {
    /// The word of the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstByte => "first_byte",
            Self::Head => "head",
            Self::KeepAlive => "keep_alive",
            Self::Body => "body",
            Self::Write => "write",
        }
    }
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
enum Phase {
    Silent = 0,
    Head = 1,
    Busy = 2,
    Idle = 3,
}

/// Phase of one connection and when it began, in one word: the two lowest bits, and milliseconds since the accept. All
/// changes come from the task that serves the connection, so nothing is published through it.
#[derive(Debug)]
pub(super) struct Life {
    began: Instant,
    word: AtomicU64,
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            word: AtomicU64::new(Phase::Silent as u64),
        }
    }

    /// Bytes came. Outside of a request they begin a head, and the first ones count.
    pub(super) fn bytes_came(&self) {
        if matches!(self.phase(), Phase::Silent | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }

    /// The head of a request is complete.
    pub(super) fn request_began(&self) {
        self.enter(Phase::Busy);
    }

    /// The answer is complete, or was given up.
    pub(super) fn answer_ended(&self) {
        self.enter(Phase::Idle);
    }

    /// A head is on its way.
    pub(super) fn is_in_head(&self) -> bool {
        self.phase() == Phase::Head
    }

    fn enter(&self, phase: Phase) {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX >> 2);
        self.word.store((at_ms << 2) | phase as u64, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        match self.word.load(Ordering::Relaxed) & 3 {
            0 => Phase::Silent,
            1 => Phase::Head,
            2 => Phase::Busy,
            _ => Phase::Idle,
        }
    }

    /// When the phase has lasted too long, if it may.
    fn deadline(&self, timeouts: &Timeouts) -> Option<(Instant, Expired)> {
        let (time, expired) = match self.phase() {
            Phase::Silent => (timeouts.first_byte, Expired::FirstByte),
            Phase::Head => (timeouts.head, Expired::Head),
            Phase::Busy => return None,
            Phase::Idle => (timeouts.keep_alive, Expired::KeepAlive),
        };
        let since = Duration::from_millis(self.word.load(Ordering::Relaxed) >> 2);
        Some((self.began + since + time, expired))
    }
}

/// Ends when a connection has been in a phase for too long. It is polled after the connection, which alone changes the
/// phase. Its timer is set anew only for a deadline that is earlier; one that turns out to be later is found when the
/// timer fires, so that a busy connection does not touch it.
pub(super) struct Expiry<'a> {
    life: &'a Life,
    timeouts: Timeouts,
    timer: Pin<Box<Sleep>>,
}

impl<'a> Expiry<'a> {
    pub(super) fn new(life: &'a Life, timeouts: Timeouts) -> Self {
        let timer = Box::pin(sleep_until(life.began + timeouts.first_byte));
        Self { life, timeouts, timer }
    }
}

impl Future for Expiry<'_> {
    type Output = Expired;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Expired> {
        loop {
            let Some((deadline, expired)) = self.life.deadline(&self.timeouts) else {
                return Poll::Pending;
            };
            if deadline <= Instant::now() {
                return Poll::Ready(expired);
            }
            if deadline < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(deadline);
            }
            ready!(self.timer.as_mut().poll(cx));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        first_byte: Duration::from_secs(1),
        head: Duration::from_secs(2),
        keep_alive: Duration::from_secs(4),
        body_stall: Duration::from_secs(8),
        body: Duration::from_secs(16),
        write_stall: Duration::from_secs(32),
    };

    /// P9: each silence has its own time, later bytes of a head do not prolong it, and a request has none.
    #[tokio::test]
    async fn phases_have_deadlines_and_requests_have_none() {
        let life = Life::new();
        let expires = || life.deadline(&TIMEOUTS).map(|(_, expired)| expired);
        assert_eq!(expires(), Some(Expired::FirstByte));
        life.bytes_came();
        let head = life.deadline(&TIMEOUTS);
        assert_eq!(expires(), Some(Expired::Head));
        life.bytes_came();
        assert_eq!(life.deadline(&TIMEOUTS), head);
        life.request_began();
        life.bytes_came();
        assert_eq!(expires(), None);
        life.answer_ended();
        assert_eq!(expires(), Some(Expired::KeepAlive));
        life.bytes_came();
        assert_eq!(expires(), Some(Expired::Head));
    }

    /// P9: a deadline that became earlier is kept, although the timer was set for a later one.
    #[tokio::test]
    async fn an_expiry_follows_the_phase() {
        let life = Life::new();
        let timeouts = Timeouts {
            first_byte: Duration::from_secs(3_600),
            head: Duration::from_millis(1),
            ..TIMEOUTS
        };
        let mut expiry = Expiry::new(&life, timeouts);
        assert!(futures_util::poll!(&mut expiry).is_pending());
        life.bytes_came();
        assert_eq!(expiry.await, Expired::Head);
    }
}
