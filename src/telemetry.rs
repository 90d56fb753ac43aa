//! Logging: one subscriber for the process, installed by `main` only. The subscriber is the only global of the hub.
//!
//! Log lines go to standard error. Standard output is reserved for the output of commands.

mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, stderr};
use std::panic::PanicHookInfo;

use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use self::lines::Lines;
use crate::config::{FilterError, Log, LogFormat, log_filter};

pub use self::lines::{FlushOnDrop, LostLines, complain};

/// Reason why logging cannot be set up.
#[derive(Debug, Error)]
pub enum InitError {
    /// The filter is wrong. A loaded configuration never holds a wrong filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The process has a subscriber already.
    #[error("logging is set up already: {0}")]
    Twice(#[from] TryInitError),
    /// The thread that writes log lines cannot start.
    #[error("logging cannot start: {0}")]
    Thread(#[from] io::Error),
}

/// Installs the subscriber of the process, and a panic hook that logs panics as ordinary lines. `main` calls this
/// function once, and keeps the returned value until the process ends.
///
/// # Errors
///
/// Returns an error if the filter is wrong, if a subscriber is installed already, or if the writer thread cannot start.
pub fn init(log: &Log) -> Result<FlushOnDrop, InitError> {
    let terminal = stderr().is_terminal();
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let line_format = LineFormat::of(log.format, terminal, no_colour);
    let filter = log_filter(&log.level)?;
    let lines = Lines::start(stderr(), log.waiting_bytes_max)?;
    subscriber(filter, line_format, lines.clone()).try_init()?;
    // The default hook writes to standard error itself and would block on a reader that has stopped reading.
    std::panic::set_hook(Box::new(log_panic));
    Ok(FlushOnDrop(lines))
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    let thread = std::thread::current();
    let (thread, place) = (
        thread.name().unwrap_or_default(),
        info.location().map(tracing::field::display),
    );
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(panic = message, place, thread, %backtrace, "a thread panicked"),
        _ => tracing::error!(panic = message, place, thread, "a thread panicked"),
    }
}

/// Format of a log line, resolved for the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineFormat {
    Text { colour: bool },
    Json,
}

impl LineFormat {
    fn of(format: LogFormat, terminal: bool, no_colour: bool) -> Self {
        match format {
            LogFormat::Auto if !terminal => Self::Json,
            LogFormat::Auto | LogFormat::Text => Self::Text {
                colour: terminal && !no_colour,
            },
            LogFormat::Json => Self::Json,
        }
    }
}

fn subscriber<W>(filter: EnvFilter, line_format: LineFormat, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Reporting a failed write would write one more line, which would fail too and panic.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .log_internal_errors(false);
    match line_format {
        LineFormat::Text { colour } => Box::new(builder.with_ansi(colour).finish()),
        // The list of spans includes the current span and the fields of outer spans (the trace id).
        LineFormat::Json => Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(true)
                .finish(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Seek as _};
    use std::sync::Arc;

    use super::*;

    /// Returns the text that is written to a real file while `log` runs under a subscriber with the given filter and
    /// format.
    fn written(level: &str, line_format: LineFormat, log: impl FnOnce()) -> String {
        let file: Arc<File> = Arc::new(tempfile::tempfile().expect("a temporary file"));
        let subscriber = subscriber(
            log_filter(level).expect("a valid filter"),
            line_format,
            Arc::clone(&file),
        );
        tracing::subscriber::with_default(subscriber, log);
        let mut text = String::new();
        (&*file).rewind().expect("a file can be rewound");
        (&*file).read_to_string(&mut text).expect("log lines are UTF-8");
        text
    }

    #[test]
    fn log_format_auto_depends_on_terminal() {
        let shapes = |format| {
            [
                LineFormat::of(format, true, false),
                LineFormat::of(format, false, false),
            ]
        };
        assert_eq!(
            shapes(LogFormat::Auto),
            [LineFormat::Text { colour: true }, LineFormat::Json]
        );
        assert_eq!(
            shapes(LogFormat::Text),
            [LineFormat::Text { colour: true }, LineFormat::Text { colour: false }]
        );
        assert_eq!(shapes(LogFormat::Json), [LineFormat::Json, LineFormat::Json]);
    }

    #[test]
    fn log_colour_respects_no_color() {
        assert_eq!(
            LineFormat::of(LogFormat::Auto, true, true),
            LineFormat::Text { colour: false }
        );
    }

    #[test]
    fn json_line_has_event_and_span_fields() {
        let text = written("info", LineFormat::Json, || {
            let _outer = tracing::info_span!("request", trace_id = "t1").entered();
            let _inner = tracing::info_span!("command", kind = "CreateNode").entered();
            tracing::info!(nodes = 3, "applied");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).expect("one JSON object on one line");
        assert_eq!(line["message"], "applied");
        assert_eq!(line["nodes"], 3);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["spans"][0]["trace_id"], "t1");
        assert_eq!(line["spans"][1]["kind"], "CreateNode");
        assert!(line.get("fields").is_none(), "the fields are not nested: {line}");
    }

    #[test]
    fn text_line_has_escape_codes_only_with_colour() {
        let text = |colour| {
            written("info", LineFormat::Text { colour }, || {
                tracing::info!(nodes = 3, "applied");
            })
        };
        assert!(
            text(false).contains("applied nodes=3") && !text(false).contains('\u{1b}'),
            "{:?}",
            text(false)
        );
        assert!(text(true).contains('\u{1b}'), "{:?}", text(true));
    }

    #[test]
    fn log_filter_selects_lines() {
        let log = || {
            tracing::debug!(target: "talus_hub::hub", "ours");
            tracing::debug!(target: "hyper::client", "theirs");
        };
        let text = written("warn,talus_hub=debug", LineFormat::Json, log);
        assert!(text.contains("ours") && !text.contains("theirs"), "{text}");
        assert_eq!(written("off", LineFormat::Json, log), "");
    }

    /// P9: no client can fill the log.
    #[test]
    fn log_filter_silences_payload_libraries() {
        let log = || {
            tracing::debug!(target: "engineioxide_core::payload", "a payload");
            tracing::error!(target: "socketioxide::client", "a notice");
            tracing::debug!(target: "talus_hub::hub", "ours");
        };
        for level in ["debug", "warn,talus_hub=debug"] {
            let text = written(level, LineFormat::Json, log);
            assert!(
                text.contains("ours") && !text.contains("a notice") && !text.contains("a payload"),
                "{text}"
            );
        }
        assert!(written("warn,socketioxide=error", LineFormat::Json, log).contains("a notice"));
        assert!(written("debug,engineioxide=debug", LineFormat::Json, log).contains("a payload"));
    }
}
