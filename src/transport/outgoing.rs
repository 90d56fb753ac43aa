//! Unwritten data of a peer: a queue of whole frames.
//!
//! The queue has two writers. The library writes its frames as bytes, and the system may take any part of them. The hub
//! inserts whole frames of its own between frames of the library, never within one.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::AsyncWrite;

/// Maximal number of slices in one vectored write.
const PIECES_MAX: usize = 16;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Outgoing {
    queue: VecDeque<Bytes>,
    /// Frames that wait for the end of the library's current frame.
    deferred: VecDeque<Bytes>,
    boundaries: super::frames::Boundaries,
    bytes: usize,
    /// Gauge of the waiting bytes of all queues.
    total: Gauge,
}

impl Outgoing {
    /// Creates an empty queue. The gauge counts the queue's bytes too.
    pub(super) fn new(total: Gauge) -> Self {
        Self {
            queue: VecDeque::new(),
            deferred: VecDeque::new(),
            boundaries: super::frames::Boundaries::default(),
            bytes: 0,
            total,
        }
    }

    /// Number of waiting bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if no bytes wait.
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// True if the library's latest frame is complete.
    pub(super) const fn is_at_boundary(&self) -> bool {
        self.boundaries.is_at_boundary()
    }

    /// Queues a whole frame, after the library's current frame.
    pub(super) fn push(&mut self, frame: Bytes) {
        self.count(frame.len());
        if self.boundaries.is_at_boundary() {
            self.queue.push_back(frame);
        } else {
            self.deferred.push_back(frame);
        }
    }

    /// Queues bytes of the library's frames.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        let end = self.boundaries.advance(bytes).filter(|_| !self.deferred.is_empty());
        let (before, after) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.queue.push_back(Bytes::copy_from_slice(before));
        if end.is_some() {
            self.queue.append(&mut self.deferred);
        }
        if !after.is_empty() {
            self.queue.push_back(Bytes::copy_from_slice(after));
        }
    }

    /// Advances over bytes of the library that were written without a wait in the queue.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.boundaries.advance(bytes);
    }

    /// Writes some of the queue. Ready with zero if no byte can be written now.
    pub(super) fn poll_write_some(
        &mut self,
        inner: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.queue.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let count = self.queue.len().min(PIECES_MAX);
        for (piece, bytes) in pieces.iter_mut().zip(&self.queue) {
            *piece = IoSlice::new(bytes);
        }
        let written = match inner.poll_write_vectored(cx, &pieces[..count]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => written,
            other => return other,
        };
        self.consume(written);
        Poll::Ready(Ok(written))
    }

    fn consume(&mut self, written: usize) {
        self.bytes -= written;
        self.total.dec_by(signed(written));
        let mut left = written;
        while let Some(first) = self.queue.front_mut() {
            if left < first.len() {
                let _ = first.split_to(left);
                return;
            }
            left -= first.len();
            self.queue.pop_front();
        }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.total.inc_by(signed(bytes));
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.total.dec_by(signed(self.bytes));
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::frames::{Kind, frame},
        *,
    };

    /// Writer that takes the given numbers of bytes in turn. Zero stands for a writer that is not ready.
    struct Trickle {
        taken: Vec<u8>,
        sizes: std::iter::Cycle<std::vec::IntoIter<usize>>,
    }

    impl AsyncWrite for Trickle {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let size = self.sizes.next().expect("it cycles").min(bytes.len());
            if size == 0 {
                return Poll::Pending;
            }
            self.taken.extend_from_slice(&bytes[..size]);
            Poll::Ready(Ok(size))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// Appends the next bytes of the library, at most as many as are left.
        Library(usize),
        Push(Vec<u8>),
        Write,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1_usize..200).prop_map(Step::Library),
            prop::collection::vec(any::<u8>(), 0..150).prop_map(Step::Push),
            Just(Step::Write),
        ]
    }

    proptest! {
        /// P1, P9: frames leave whole, and in the order of their writer, for each division of the library's bytes and
        /// each size of the writes. The count of waiting bytes is right at each step.
        #[test]
        fn outgoing_keeps_frames_whole_and_in_order(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 0..8),
            steps in prop::collection::vec(step(), 0..40),
            sizes in prop::collection::vec(0_usize..90, 1..10).prop_filter("some", |sizes| sizes.iter().any(|s| *s > 0)),
        ) {
            let total = Gauge::default();
            let mut outgoing = Outgoing::new(total.clone());
            let mut inner = Trickle { taken: Vec::new(), sizes: sizes.into_iter().cycle() };
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let library: Vec<u8> = payloads.iter().flat_map(|payload| frame(Kind::Text, payload)).collect();
            let (mut rest, mut pushed, mut added) = (&library[..], Vec::new(), 0);
            let all_of_the_library = Step::Library(usize::MAX);
            for step in steps.into_iter().chain([all_of_the_library]) {
                match step {
                    Step::Library(size) => {
                        let (now, later) = rest.split_at(size.min(rest.len()));
                        outgoing.append(now);
                        added += now.len();
                        rest = later;
                    }
                    Step::Push(payload) => {
                        let frame = frame(Kind::Binary, &payload);
                        added += frame.len();
                        pushed.push(frame.clone());
                        outgoing.push(frame);
                    }
                    Step::Write => {
                        let _ = outgoing.poll_write_some(Pin::new(&mut inner), &mut cx);
                    }
                }
                prop_assert_eq!(outgoing.bytes(), added - inner.taken.len());
                prop_assert_eq!(total.get(), signed(outgoing.bytes()));
            }
            while !outgoing.is_empty() {
                let _ = outgoing.poll_write_some(Pin::new(&mut inner), &mut cx);
            }
            let (mut texts, mut binaries, mut rest) = (Vec::new(), Vec::new(), &inner.taken[..]);
            while !rest.is_empty() {
                let end = super::super::frames::Boundaries::default().advance(rest).expect("whole frames");
                let (frame, later) = rest.split_at(end);
                match frame[0] {
                    0x81 => texts.extend_from_slice(frame),
                    _ => binaries.push(Bytes::copy_from_slice(frame)),
                }
                rest = later;
            }
            prop_assert_eq!(texts, library);
            prop_assert_eq!(binaries, pushed);
        }
    }

    /// P9: the gauge does not count the bytes of a closed connection.
    #[test]
    fn outgoing_returns_its_bytes_to_the_total_when_dropped() {
        let total = Gauge::default();
        let mut outgoing = Outgoing::new(total.clone());
        outgoing.push(frame(Kind::Text, b"1234"));
        assert_eq!(total.get(), 6);
        drop(outgoing);
        assert_eq!(total.get(), 0);
    }
}
