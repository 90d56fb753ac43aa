//! Process of the real binary, whose errors are collected.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

use crate::{calls::in_time, support::ROOT};

/// Small limits, so that a short run reaches each of them, and short delays.
const SETTINGS: &[(&str, &str)] = &[
    ("TALUS_HUB_SERVER__PORT", "0"),
    ("TALUS_HUB_SERVER__BODY_BYTES_MAX", "65536"),
    ("TALUS_HUB_OPS__LISTEN", "127.0.0.1:0"),
    ("TALUS_HUB_OPS__FAULT_INJECTION", "true"),
    ("TALUS_HUB_LOG__LEVEL", "error"),
    ("TALUS_HUB_LIMITS__REPLAY_WINDOW_EVENTS", "60"),
    ("TALUS_HUB_SESSIONS__SNAPSHOT_EVENTS", "25"),
    ("TALUS_HUB_SESSIONS__RESTARTS_MAX", "1000000"),
    ("TALUS_HUB_SESSIONS__RESTART_BACKOFF_MS", "0"),
    ("TALUS_HUB_REALTIME__TICK_INTERVAL_MS", "20"),
    ("TALUS_HUB_REALTIME__PRESENCE_INTERVAL_MS", "5"),
    ("TALUS_HUB_REALTIME__LATE_JOIN", "true"),
    ("TALUS_HUB_REALTIME__MESSAGE_BYTES_MAX", "65536"),
    ("TALUS_HUB_REST__MIN_SEQ_WAIT_MS", "50"),
    ("RUST_BACKTRACE", "0"),
];

/// Hub process. See the [module](self).
pub struct Hub {
    pub url: String,
    pub ops_url: String,
    process: Child,
    said: mpsc::UnboundedReceiver<String>,
}

impl Hub {
    pub async fn start(data: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_talus-hub"))
            .arg("--data-dir")
            .arg(data)
            .env("TALUS_HUB_TEMPLATES__DIR", Path::new(ROOT).join("config/templates"))
            .envs(SETTINGS.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the hub starts");
        let mut output = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut errors = BufReader::new(process.stderr.take().expect("piped")).lines();
        let (say, said) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        let mut address = async |prefix: &str| {
            in_time("the hub to listen", async {
                loop {
                    let line = output
                        .next_line()
                        .await
                        .expect("readable")
                        .expect("the hub prints its addresses");
                    if let Some(rest) = line.strip_prefix(prefix) {
                        return rest.split('/').take(3).collect::<Vec<_>>().join("/");
                    }
                }
            })
            .await
        };
        let url = address("talus-hub listening on ").await;
        let ops_url = address("operators at ").await;
        tokio::spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
        Self {
            url,
            ops_url,
            process,
            said,
        }
    }

    /// Returns reported errors since the last call: panics that were not injected, and internal errors.
    pub fn unexpected_errors(&mut self) -> Vec<String> {
        let mut unexpected_errors = Vec::new();
        let mut lines = std::iter::from_fn(|| self.said.try_recv().ok()).peekable();
        while let Some(line) = lines.next() {
            let injected = line.contains("injected: ") || lines.peek().is_some_and(|next| next.contains("injected: "));
            if (line.contains("panicked at") && !injected) || line.contains("internal error") {
                unexpected_errors.push(line);
            }
        }
        unexpected_errors
    }

    /// Stops the process with SIGTERM or SIGKILL, and returns its last errors.
    pub async fn end(&mut self, gently: bool) -> Vec<String> {
        let id = self.process.id().expect("the process runs").to_string();
        let signal = if gently { "-TERM" } else { "-KILL" };
        let sent = std::process::Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("there is such a command").success());
        in_time("the hub to end", self.process.wait())
            .await
            .expect("the exit status");
        self.unexpected_errors()
    }
}
