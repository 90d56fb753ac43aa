//! A hub in a process of its own: one that can be killed.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::ROOT;

/// The real binary, running.
pub struct ChildHub {
    /// Where it is, without a path.
    pub url: String,
    process: Child,
    _output: Lines<BufReader<ChildStdout>>,
}

impl ChildHub {
    /// Starts the binary on a data directory, on a free port unless the settings name one, and waits until it serves.
    pub async fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_talus-hub"))
            .arg("--data-dir")
            .arg(data)
            .env("TALUS_HUB_SERVER__PORT", "0")
            .env("TALUS_HUB_OPS__LISTEN", "127.0.0.1:0")
            .env("TALUS_HUB_TEMPLATES__DIR", Path::new(ROOT).join("config/templates"))
            .env("TALUS_HUB_LOG__LEVEL", "error")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let output = process.stdout.take().expect("piped");
        let mut output = BufReader::new(output).lines();
        let first = output
            .next_line()
            .await
            .expect("readable")
            .expect("it says where it is");
        let url = first
            .strip_prefix("talus-hub listening on ")
            .expect("it says where it is")
            .to_owned();
        Self {
            url,
            process,
            _output: output,
        }
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.id().expect("it runs")
    }

    /// Ends it as a power cut would end the process: nothing is finished, nobody is told.
    pub async fn kill(mut self) {
        self.process.kill().await.expect("it can be killed");
    }

    /// Asks it to stop, and tells with which code it ended.
    pub async fn terminate(mut self) -> Option<i32> {
        let id = self.pid().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(sent.expect("there is such a command").success());
        self.process.wait().await.expect("it ends").code()
    }
}

/// How often a test kills the hub: so often, unless `KILL_ROUNDS` says otherwise.
pub fn kill_rounds(usual: usize) -> usize {
    std::env::var("KILL_ROUNDS").map_or(usual, |text| text.parse().expect("KILL_ROUNDS is a number"))
}

/// A port for a hub that will be back on it. Ports that the system gives out by itself begin higher: while the hub is
/// away, one of those may go to anybody who connects to somewhere.
pub fn port_to_keep() -> u16 {
    let first = 20_000 + std::process::id() % 8_000;
    let mut ports = (first..32_000).filter_map(|port| u16::try_from(port).ok());
    let free = |port: &u16| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], *port))).is_ok();
    ports.find(free).expect("a free port")
}
