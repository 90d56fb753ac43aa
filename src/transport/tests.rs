//! Tests of a link and the library's stream over it, step by step: bounds, wake-ups, closing.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use super::{
    Settings,
    frames::{Kind, client_frame, close_frame, frame},
    link::Link,
    stream::LibraryStream,
};
use crate::{config::Realtime, metrics::Metrics, permits::Permits};

const UNWRITTEN_BYTES_MAX: usize = 100;

fn settings() -> Settings {
    let realtime = Realtime {
        unwritten_bytes_max: UNWRITTEN_BYTES_MAX,
        message_bytes_max: 1_000,
        ..crate::config::Config::default().realtime
    };
    Settings::new(&realtime, &Permits::new(1_000_000), &Metrics::default())
}

fn stream(settings: &Settings, window_bytes: usize) -> (LibraryStream<DuplexStream>, DuplexStream) {
    let (ours, peer) = duplex(window_bytes);
    (LibraryStream::new(Link::new(ours, Arc::new(settings.clone()))), peer)
}

/// Flag of a task that is polled only after a wake-up.
#[derive(Debug, Default)]
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone)]
enum Step {
    PeerSends(usize),
    PeerReads(usize),
    LibraryWrites(usize),
    ReaderRuns,
    WriterRuns,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_usize..300).prop_map(Step::PeerSends),
        (1_usize..300).prop_map(Step::PeerReads),
        (0_usize..300).prop_map(Step::LibraryWrites),
        Just(Step::ReaderRuns),
        Just(Step::WriterRuns),
    ]
}

/// Both ends of a connection, and the library's two tasks, each of which runs only after a wake-up.
struct Simulation {
    stream: LibraryStream<DuplexStream>,
    peer: DuplexStream,
    reader: Arc<WakeFlag>,
    writer: Arc<WakeFlag>,
    peer_unsent: Vec<u8>,
    peer_got: Vec<u8>,
    library_unwritten: Vec<u8>,
    library_got: Vec<u8>,
}

impl Simulation {
    fn run_reader(&mut self) -> bool {
        if !self.reader.0.swap(false, Ordering::Relaxed) {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.reader));
        let mut cx = Context::from_waker(&waker);
        loop {
            let mut bytes = [0; 64];
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf) {
                Poll::Ready(Ok(())) => self.library_got.extend_from_slice(buf.filled()),
                Poll::Ready(Err(error)) => unreachable!("{error}"),
                Poll::Pending => return true,
            }
        }
    }

    fn run_writer(&mut self) -> bool {
        if !self.writer.0.swap(false, Ordering::Relaxed) {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.writer));
        let mut cx = Context::from_waker(&waker);
        while !self.library_unwritten.is_empty() {
            match Pin::new(&mut self.stream).poll_write(&mut cx, &self.library_unwritten) {
                Poll::Ready(written) => drop(self.library_unwritten.drain(..written.expect("it works"))),
                Poll::Pending => return true,
            }
        }
        let _ = Pin::new(&mut self.stream).poll_flush(&mut cx);
        true
    }

    fn peer_sends(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut has_sent = false;
        while !self.peer_unsent.is_empty()
            && let Poll::Ready(sent) = Pin::new(&mut self.peer).poll_write(&mut cx, &self.peer_unsent)
        {
            self.peer_unsent.drain(..sent.expect("it works"));
            has_sent = true;
        }
        has_sent
    }

    fn peer_reads(&mut self, most: usize) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut bytes = vec![0; most];
        let mut buf = ReadBuf::new(&mut bytes);
        let _ = Pin::new(&mut self.peer).poll_read(&mut cx, &mut buf);
        self.peer_got.extend_from_slice(buf.filled());
        !buf.filled().is_empty()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// P1, P9: no order of the peer's sends and reads and of the library's two tasks loses a wake-up. When the peer
    /// reads on, all bytes arrive at both ends, whole and in order. The unwritten data never exceeds its limit.
    #[test]
    fn stream_loses_no_wake_up_and_no_byte(
        window_bytes in 1_usize..200,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let _entered = runtime.enter();
        let settings = settings();
        let (stream, peer) = stream(&settings, window_bytes);
        let mut simulation = Simulation {
            stream,
            peer,
            reader: Arc::new(WakeFlag(AtomicBool::new(true))),
            writer: Arc::new(WakeFlag(AtomicBool::new(true))),
            peer_unsent: Vec::new(),
            peer_got: Vec::new(),
            library_unwritten: Vec::new(),
            library_got: Vec::new(),
        };
        let (mut sent, mut written) = (Vec::new(), Vec::new());
        for (number, step) in steps.into_iter().enumerate() {
            let fill = u8::try_from(number).expect("few");
            match step {
                Step::PeerSends(bytes) => {
                    let message = client_frame(Kind::Binary, &vec![fill; bytes]);
                    sent.extend_from_slice(&message);
                    simulation.peer_unsent.extend_from_slice(&message);
                    simulation.peer_sends();
                }
                Step::PeerReads(most) => drop(simulation.peer_reads(most)),
                Step::LibraryWrites(bytes) => {
                    let frame = frame(Kind::Text, &vec![fill; bytes]);
                    written.extend_from_slice(&frame);
                    simulation.library_unwritten.extend_from_slice(&frame);
                    simulation.writer.0.store(true, Ordering::Relaxed);
                }
                Step::ReaderRuns => drop(simulation.run_reader()),
                Step::WriterRuns => drop(simulation.run_writer()),
            }
            let waiting = settings.metrics.unwritten_bytes().get();
            prop_assert!(waiting <= UNWRITTEN_BYTES_MAX as i64, "{waiting}");
        }
        loop {
            let progress = [
                simulation.peer_sends(),
                simulation.peer_reads(10_000),
                simulation.run_reader(),
                simulation.run_writer(),
            ];
            if !progress.contains(&true) {
                break;
            }
        }
        prop_assert_eq!(simulation.library_got.len(), sent.len());
        prop_assert_eq!(simulation.library_got, sent);
        prop_assert_eq!(simulation.peer_got.len(), written.len());
        prop_assert_eq!(simulation.peer_got, written);
    }
}

/// P9: the stream reads nothing while the unwritten data is at its limit, and the peer's bytes stay with the system.
#[tokio::test(start_paused = true)]
async fn stream_stops_reading_at_unwritten_limit() {
    let (mut stream, mut peer) = stream(&settings(), 1_000);
    stream
        .write_all(&frame(Kind::Text, &[0; 1_000]))
        .await
        .expect("the system takes it, and the rest waits");
    while let Poll::Ready(written) = poll_write_once(&mut stream, &[0; 50]) {
        assert!(written.expect("it waits") > 0);
    }
    peer.write_all(&client_frame(Kind::Ping, b"ping"))
        .await
        .expect("the system takes it");
    let mut read = [0; 100];
    assert!(poll_read_once(&mut stream, &mut read).is_pending());
    peer.read_exact(&mut [0; 900]).await.expect("the peer reads");
    let length = stream.read(&mut read).await.expect("and is read");
    assert_eq!(read[..length], client_frame(Kind::Ping, b"ping"));
}

/// P9: a peer that takes nothing is disconnected after a while, and counted once, however often the library polls.
#[tokio::test(start_paused = true)]
async fn stream_disconnects_peer_that_reads_nothing() {
    let settings = settings();
    let (mut stream, mut peer) = stream(&settings, 10);
    let written = stream.write_all(&frame(Kind::Text, &[0; 50])).await;
    written.expect("it waits");
    // Any progress restarts the deadline.
    tokio::time::advance(settings.write_stall - Duration::from_millis(1)).await;
    assert!(poll_read_once(&mut stream, &mut [0; 10]).is_pending());
    peer.read_exact(&mut [0; 10]).await.expect("the peer reads");
    assert!(poll_read_once(&mut stream, &mut [0; 10]).is_pending());
    tokio::time::advance(settings.write_stall - Duration::from_millis(1)).await;
    assert!(poll_read_once(&mut stream, &mut [0; 10]).is_pending());
    tokio::time::advance(Duration::from_millis(2)).await;
    for _ in 0..3 {
        let Poll::Ready(failed) = poll_read_once(&mut stream, &mut [0; 10]) else {
            unreachable!("it is given up");
        };
        assert_eq!(failed.expect_err("it fails").kind(), std::io::ErrorKind::TimedOut);
        assert!(stream.flush().await.is_err());
        assert!(stream.write_all(&[0; 100]).await.is_err());
    }
    let counted = settings.metrics.render().expect("metrics");
    assert!(
        counted.contains("hub_sockets_cut_total{reason=\"not_reading\"} 1\n"),
        "{counted}"
    );
    drop(stream);
    assert_eq!(settings.metrics.unwritten_bytes().get(), 0);
}

/// P9: the peer gets the reason of a close after the unwritten data. The library sees the end of the stream.
#[tokio::test(start_paused = true)]
async fn stream_close_sends_reason_after_unwritten_data() {
    let (mut stream, mut peer) = stream(&settings(), 20);
    let waiting = frame(Kind::Text, &[7; 50]);
    stream.write_all(&waiting).await.expect("it waits");
    peer.write_all(&client_frame(Kind::Text, &[0; 1_001])[..8])
        .await
        .expect("the header");
    assert_eq!(stream.read(&mut [0; 10]).await.expect("an end"), 0);
    stream
        .write_all(b"what the library says now is for nobody")
        .await
        .expect("it is dropped");
    stream.flush().await.expect("nothing waits");
    drop(stream);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).await.expect("it is closed");
    let reason = close_frame(1009, "a message has at most 1000 bytes (realtime.message_bytes_max)");
    assert_eq!(got, [&waiting[..], &reason[..]].concat());
}

/// P2, P7: when the hub stops, the peer gets a close frame after the unwritten data, and none of the library's later
/// bytes. The order of the library's tasks does not matter.
#[tokio::test(start_paused = true)]
async fn stream_closes_when_the_hub_stops() {
    for is_read_first in [true, false] {
        let settings = settings();
        let (mut stream, mut peer) = stream(&settings, 20);
        let waiting = frame(Kind::Text, &[7; 50]);
        stream.write_all(&waiting).await.expect("it waits");
        let mut read = [0; 10];
        assert!(poll_read_once(&mut stream, &mut read).is_pending());
        settings.closing.cancel();
        if is_read_first {
            assert_eq!(stream.read(&mut read).await.expect("an end"), 0);
        }
        let over = frame(Kind::Text, b"1");
        stream.write_all(&over).await.expect("it is dropped");
        stream.flush().await.expect("nothing waits");
        stream.shutdown().await.expect("it is closed");
        assert_eq!(stream.read(&mut read).await.expect("an end"), 0);
        drop(stream);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).await.expect("it is closed");
        assert_eq!(got, [&waiting[..], &close_frame(1001, "the hub stops")[..]].concat());
    }
}

/// P1: the library reads the packets of an upgrade before all others, and its answer, which the peer has received
/// already, is dropped.
#[tokio::test(start_paused = true)]
async fn upgraded_stream_repeats_the_upgrade_for_the_library() {
    let (ours, mut peer) = duplex(1_000);
    let link = Link::new(ours, Arc::new(settings()));
    let mut stream = LibraryStream::upgraded(link, &["2probe", "5"], &["3probe"]);
    peer.write_all(&client_frame(Kind::Text, b"4next"))
        .await
        .expect("it is taken");
    let expected = [&b"2probe"[..], b"5", b"4next"]
        .map(|packet| client_frame(Kind::Text, packet))
        .concat();
    let mut read = vec![0; expected.len()];
    stream.read_exact(&mut read).await.expect("they are there");
    assert_eq!(read, expected);
    for packet in [b"3probe", b"4hello"] {
        stream.write_all(&frame(Kind::Text, packet)).await.expect("it is taken");
    }
    drop(stream);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).await.expect("it is closed");
    assert_eq!(got, &frame(Kind::Text, b"4hello")[..]);
}

fn poll_write_once(stream: &mut LibraryStream<DuplexStream>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
    Pin::new(stream).poll_write(&mut Context::from_waker(Waker::noop()), bytes)
}

fn poll_read_once(stream: &mut LibraryStream<DuplexStream>, bytes: &mut [u8]) -> Poll<std::io::Result<()>> {
    Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(bytes))
}
