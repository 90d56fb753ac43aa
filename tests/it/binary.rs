//! The real binary as a process of its own: what it says, where it listens, how it ends.

use std::{path::PathBuf, process::Stdio};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

use crate::{calls::in_time, support::ROOT};

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The binary in a folder of its own, with nothing in its environment but where the templates are.
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

/// Runs the binary to its end, with these arguments.
pub async fn run(args: &[&str]) -> Ended {
    let dir = tempfile::tempdir().expect("a temporary folder");
    end(command(&dir).args(args)).await
}

/// Runs a command to its end.
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

/// A hub that serves in a process of its own. It is killed when it is dropped.
pub struct Process {
    /// Where it is, without a path.
    pub url: String,
    /// What it said when it began, line by line.
    pub greeting: Vec<String>,
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: JoinHandle<String>,
}

impl Process {
    /// Starts it on a free port and waits until it says where.
    pub async fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::piped()).await
    }

    /// The same with another standard error.
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
            in_time("a line", stdout.read_line(&mut line)).await.expect("it speaks");
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
        let pid = self.child.id().expect("it runs");
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status()
            .await;
        assert!(sent.expect("a shell").success());
    }

    /// Waits until it has ended.
    pub async fn ended(mut self) -> Ended {
        let status = in_time("the end of the process", self.child.wait())
            .await
            .expect("it can be waited for");
        let stdout = read_all(self.stdout).await;
        let stderr = in_time("the end of its log", self.stderr).await.expect("read");
        Ended {
            code: status.code(),
            stdout,
            stderr,
        }
    }

    /// Asks it to stop as a supervisor does, and waits until it has.
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
