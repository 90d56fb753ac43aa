//! Phase of a connection, and its timeout in each phase.
//!
//! HTTP allows a client three silences: before its first byte, within a head, and between two requests. Each silence
//! keeps a descriptor and memory of the hub for no work, so each has a timeout. A request under way has no timeout
//! here: its body has its own timeouts, its answer has a timeout for writes, and a long poll or an event stream may
//! stay silent without limit.

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

/// Timeouts of a connection. Each limits one silence of the peer.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Time from the accept to the first byte.
    pub first_byte: Duration,
    /// Time from the first byte of a head to its last.
    pub head: Duration,
    /// Time from one answer to the first byte of the next request.
    pub keep_alive: Duration,
    /// Time from one byte of a body to the next.
    pub body_stall: Duration,
    /// Time from the first wait for a body to its last byte, without the time in which the hub does not read.
    pub body: Duration,
    /// Time from a write for which the send buffer has no room to the first byte that the peer takes.
    pub write_stall: Duration,
}

impl Timeouts {
    /// Reads the timeouts from the configuration.
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

/// Timeout that a connection exceeded; the value of a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expired {
    /// No byte arrived.
    FirstByte,
    /// A head was not complete in time.
    Head,
    /// No further request arrived.
    KeepAlive,
    /// A body was not complete in time.
    Body,
    /// The peer took none of the written bytes.
    Write,
}

impl Expired {
    /// Returns the value of the metric's label.
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

/// Phase of one connection and start of the phase, in one word: the phase in the two lowest bits, above them
/// milliseconds since the accept. Only the task that serves the connection changes the word, so relaxed ordering
/// suffices.
#[derive(Debug)]
pub(super) struct PhaseClock {
    began: Instant,
    word: AtomicU64,
}

impl PhaseClock {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            word: AtomicU64::new(Phase::Silent as u64),
        }
    }

    /// Records received bytes. Outside of a request the first bytes begin a head; later bytes do not change the phase.
    pub(super) fn record_bytes(&self) {
        if matches!(self.phase(), Phase::Silent | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }

    /// Records a complete head of a request.
    pub(super) fn record_request(&self) {
        self.enter(Phase::Busy);
    }

    /// Records that the answer is complete or was dropped.
    pub(super) fn record_answer_end(&self) {
        self.enter(Phase::Idle);
    }

    /// Returns true while a head is incomplete.
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

    /// Returns the end of the phase's timeout. `None`: the phase has no timeout.
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

/// Resolves when a connection exceeds the timeout of its phase. The future is polled after the connection, which alone
/// changes the phase. The timer is reset early only for an earlier deadline. A later deadline is found when the timer
/// fires, so that a busy connection does not reset the timer for each request.
pub(super) struct Expiry<'a> {
    phase_clock: &'a PhaseClock,
    timeouts: Timeouts,
    timer: Pin<Box<Sleep>>,
}

impl<'a> Expiry<'a> {
    pub(super) fn new(phase_clock: &'a PhaseClock, timeouts: Timeouts) -> Self {
        let timer = Box::pin(sleep_until(phase_clock.began + timeouts.first_byte));
        Self {
            phase_clock,
            timeouts,
            timer,
        }
    }
}

impl Future for Expiry<'_> {
    type Output = Expired;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Expired> {
        loop {
            let Some((deadline, expired)) = self.phase_clock.deadline(&self.timeouts) else {
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

    /// P9: each silence has its own timeout, later bytes of a head do not extend the timeout, and a request has none.
    #[tokio::test]
    async fn phases_have_deadlines_and_requests_have_none() {
        let phase_clock = PhaseClock::new();
        let expires = || phase_clock.deadline(&TIMEOUTS).map(|(_, expired)| expired);
        assert_eq!(expires(), Some(Expired::FirstByte));
        phase_clock.record_bytes();
        let head = phase_clock.deadline(&TIMEOUTS);
        assert_eq!(expires(), Some(Expired::Head));
        phase_clock.record_bytes();
        assert_eq!(phase_clock.deadline(&TIMEOUTS), head);
        phase_clock.record_request();
        phase_clock.record_bytes();
        assert_eq!(expires(), None);
        phase_clock.record_answer_end();
        assert_eq!(expires(), Some(Expired::KeepAlive));
        phase_clock.record_bytes();
        assert_eq!(expires(), Some(Expired::Head));
    }

    /// P9: a deadline that becomes earlier is kept, although the timer was set for a later deadline.
    #[tokio::test]
    async fn expiry_follows_the_phase() {
        let phase_clock = PhaseClock::new();
        let timeouts = Timeouts {
            first_byte: Duration::from_secs(3_600),
            head: Duration::from_millis(1),
            ..TIMEOUTS
        };
        let mut expiry = Expiry::new(&phase_clock, timeouts);
        assert!(futures_util::poll!(&mut expiry).is_pending());
        phase_clock.record_bytes();
        assert_eq!(expiry.await, Expired::Head);
    }
}
