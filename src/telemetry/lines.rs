//! Queue of log lines on their way to standard error.
//!
//! A write to standard error can fail (the reader of a pipe has exited, a disk is full) and can block for ever (the
//! reader has stopped reading). Neither may affect the code that logs: an actor that panics or blocks over a log line
//! stops its sessions (P8). So lines pass through a queue with a bound in bytes to a thread that alone writes. A line
//! that does not fit into the queue, or that cannot be written, is lost and counted.
//!
//! A library's non-blocking writer is no alternative: that writer reports a full queue by printing, which blocks or
//! panics in exactly these cases.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// Maximum wait for the queue to be written when the process ends. A live reader drains the queue within milliseconds.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Counter of lost log lines. Clones share the counter.
#[derive(Debug, Clone, Default)]
pub struct LostLines(Arc<AtomicU64>);

impl LostLines {
    /// Returns the number of lines lost since the process began.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

enum Job {
    Line(Vec<u8>),
    Flush(mpsc::Sender<()>),
}

/// Queue of log lines. Clones share the queue.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    jobs: mpsc::Sender<Job>,
    waiting_bytes: Arc<AtomicUsize>,
    waiting_bytes_max: usize,
    lost: LostLines,
}

impl Lines {
    /// Starts the thread that writes to `out`. At most `waiting_bytes_max` bytes wait in the queue.
    pub(super) fn start(mut out: impl Write + Send + 'static, waiting_bytes_max: usize) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let lines = Self {
            jobs,
            waiting_bytes: Arc::default(),
            waiting_bytes_max,
            lost: LostLines::default(),
        };
        let (waiting_bytes, lost) = (Arc::clone(&lines.waiting_bytes), lines.lost.clone());
        let write = move || {
            for job in inbox {
                match job {
                    Job::Line(line) => {
                        if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                            lost.count();
                        }
                        waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
                    }
                    // A caller that has stopped waiting has dropped its receiver.
                    Job::Flush(done) => drop(done.send(())),
                }
            }
        };
        thread::Builder::new().name("log-lines".to_owned()).spawn(write)?;
        Ok(lines)
    }

    pub(super) fn lost(&self) -> &LostLines {
        &self.lost
    }

    fn push(&self, line: &[u8]) {
        let waiting = self.waiting_bytes.fetch_add(line.len(), Ordering::Relaxed);
        let fits = waiting + line.len() <= self.waiting_bytes_max;
        if !fits || self.jobs.send(Job::Line(line.to_vec())).is_err() {
            self.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            self.lost.count();
        }
    }

    /// Waits until the lines queued so far are written or lost, for [`FLUSH_MAX`] at most.
    fn flush(&self) {
        let (done, flushed) = mpsc::channel();
        if self.jobs.send(Job::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(FLUSH_MAX);
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Writer of one line. The subscriber formats the line first and writes the whole line in one call.
pub(super) struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Guard that writes the queued lines when it is dropped, before the process ends.
#[derive(Debug)]
pub struct FlushOnDrop(pub(super) Lines);

impl FlushOnDrop {
    /// Returns the counter of lost lines.
    #[must_use]
    pub fn lost(&self) -> LostLines {
        self.0.lost().clone()
    }
}

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Writes a line to standard error for the operator, before logging begins or when the process ends. Failures are
/// ignored, and a stalled reader is waited for one second at most: the process ends with its exit code in each case.
pub fn complain(line: &str) {
    if let Ok(lines) = Lines::start(io::stderr(), usize::MAX) {
        lines.push(format!("{line}\n").as_bytes());
        lines.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output that fails, or that waits for a permit before each write.
    struct Output {
        permits: Option<mpsc::Receiver<()>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match &self.permits {
                None => Err(io::ErrorKind::BrokenPipe.into()),
                Some(permits) => permits
                    .recv()
                    .map(|()| bytes.len())
                    .map_err(|_| io::ErrorKind::BrokenPipe.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// P8: a line that cannot be written is lost and counted, and the caller that logs gets no error.
    #[test]
    fn log_lines_that_fail_are_counted() {
        let lines = Lines::start(Output { permits: None }, 1_000).expect("a thread");
        lines.make_writer().write_all(b"one\n").expect("never fails");
        lines.make_writer().write_all(b"two\n").expect("never fails");
        lines.flush();
        assert_eq!(lines.lost().get(), 2);
    }

    /// P9: an output that accepts no bytes blocks no caller, and the bytes that wait stay within the bound.
    #[test]
    fn log_queue_is_bounded_for_stalled_output() {
        let (permit, permits) = mpsc::channel();
        let lines = Lines::start(Output { permits: Some(permits) }, 8).expect("a thread");
        for _ in 0..4 {
            lines.make_writer().write_all(b"abcd").expect("never fails");
        }
        assert_eq!(lines.lost().get(), 2, "two lines of 4 bytes fit into 8 bytes");
        for _ in 0..2 {
            permit.send(()).expect("the thread runs");
        }
        lines.flush();
        lines.make_writer().write_all(b"abcd").expect("never fails");
        assert_eq!(lines.lost().get(), 2, "the queue has room again");
        drop(permit);
    }
}
