//! The real binary in a child process: output, addresses, exit codes.

use std::{path::PathBuf, process::Stdio};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

use crate::{calls::in_time, support::ROOT};

/// Process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` if a signal ended the process.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Returns the binary as a command in a folder, with an environment that names only the templates and a free operators'
/// port.
pub fn command(dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_talus-hub"));
    command
        .env_clear()
        .env("TALUS_HUB_OPS__LISTEN", "127.0.0.1:0")
        .env("TALUS_HUB_TEMPLATES__DIR", PathBuf::from(ROOT).join("config/templates"))
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs the binary with arguments until it ends.
pub async fn run(args: &[&str]) -> Ended {
    let dir = tempfile::tempdir().expect("a temporary folder");
    end(command(&dir).args(args)).await
}

/// Runs a command until it ends.
pub async fn end(command: &mut Command) -> Ended {
    let output = in_time("the end of the process", command.output())
        .await
        .expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Hub that serves in a child process, which is killed when this value is dropped.
pub struct Process {
    /// Base URL of the clients' listener.
    pub url: String,
    /// Lines that the hub prints at its start.
    pub greeting: Vec<String>,
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: JoinHandle<String>,
}

impl Process {
    /// Starts the hub on a free port and waits for its greeting.
    pub async fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::piped()).await
    }

    /// Starts the hub with another standard error.
    pub async fn start_with(command: &mut Command, stderr: Stdio) -> Self {
        let command = command.args(["--port", "0"]).stderr(stderr);
        let mut child = command.spawn().expect("the binary runs");
        let stderr = child.stderr.take();
        let stderr = tokio::spawn(async move {
            match stderr {
                Some(piped) => read_all(piped).await,
                None => String::new(),
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut greeting = Vec::new();
        for _ in 0..4 {
            let mut line = String::new();
            in_time("a line", stdout.read_line(&mut line))
                .await
                .expect("the hub prints a greeting");
            greeting.push(line.trim_end().to_owned());
        }
        let url = greeting[0].rsplit(' ').next().expect("a word").to_owned();
        Self {
            url,
            greeting,
            child,
            stdout,
            stderr,
        }
    }

    /// Sends a signal by its name.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("the process runs");
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status()
            .await;
        assert!(sent.expect("a shell").success());
    }

    /// Waits until the hub ends by itself.
    pub async fn ended(mut self) -> Ended {
        let status = in_time("the end of the process", self.child.wait())
            .await
            .expect("the process can be awaited");
        let stdout = read_all(self.stdout).await;
        let stderr = in_time("the end of the log", self.stderr).await.expect("read");
        Ended {
            code: status.code(),
            stdout,
            stderr,
        }
    }

    /// Sends `SIGTERM` and waits until the hub ends.
    pub async fn stop(self) -> Ended {
        self.signal("TERM").await;
        self.ended().await
    }
}

async fn read_all(mut from: impl AsyncRead + Unpin) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).await.expect("UTF-8");
    text
}
