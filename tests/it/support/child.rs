//! Hub in a child process, which a test can kill.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{ROOT, trace};

const BINARY: &str = env!("CARGO_BIN_EXE_talus-hub");

/// Running child process of the real binary.
pub struct ChildHub {
    /// Base URL of the clients' listener.
    pub url: String,
    /// Base URL of the operators' listener.
    pub ops_url: String,
    pid: u32,
    /// The hub, or the tracer that runs the hub and ends with the hub's exit code.
    process: Child,
    _output: Lines<BufReader<ChildStdout>>,
}

impl ChildHub {
    /// Starts the binary on a data directory and waits until the hub serves. The port is free unless the settings name
    /// one.
    pub async fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        serve(&mut Command::new(BINARY), data, settings).await
    }

    /// Starts the binary with a limit on file descriptors.
    pub async fn with_descriptors(data: &Path, settings: &[(&str, &str)], descriptors: usize) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!(r#"ulimit -n {descriptors} && exec "$0" "$@""#), BINARY]);
        serve(&mut shell, data, settings).await
    }

    /// Starts the binary under `strace`, which writes a trace to a file.
    pub async fn traced(data: &Path, settings: &[(&str, &str)], trace: &Path) -> Self {
        let mut strace = Command::new("strace");
        strace.args(trace::OPTIONS).arg("-o").arg(trace);
        Self::under(strace, data, settings).await
    }

    /// Starts the binary on a failing disk: `strace` makes calls on the named files of the data directory end as the
    /// `--inject` options say.
    pub async fn on_failing_disk(data: &Path, files: &[&str], injected: &[&str]) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "--seccomp-bpf", "-e", "signal=none", "-o", "/dev/null"]);
        for file in files {
            strace.arg("-P").arg(data.join(file));
        }
        let calls: Vec<_> = injected.iter().filter_map(|fault| fault.split(':').next()).collect();
        strace.arg("-e").arg(format!("trace={}", calls.join(",")));
        strace.args(injected.iter().map(|fault| format!("--inject={fault}")));
        Self::under(strace, data, &[]).await
    }

    async fn under(mut strace: Command, data: &Path, settings: &[(&str, &str)]) -> Self {
        let mut hub = serve(strace.arg(BINARY), data, settings).await;
        let tracer = hub.pid;
        let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children"));
        hub.pid = children
            .expect("/proc lists children")
            .trim()
            .parse()
            .expect("strace has one child");
        hub
    }

    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Limits the size in bytes of the files that the hub may write; `None` removes the limit.
    pub fn limit_file_size(&self, bytes_max: Option<u64>) {
        let limit = bytes_max.map_or("unlimited:unlimited".to_owned(), |bytes| format!("{bytes}:unlimited"));
        let set = std::process::Command::new("prlimit")
            .args(["--pid", &self.pid.to_string(), &format!("--fsize={limit}")])
            .status();
        assert!(set.expect("prlimit is installed").success());
    }

    /// Ends the process as a power cut would: no shutdown runs and no client is notified.
    pub async fn kill(mut self) {
        self.signal("-KILL");
        self.process.wait().await.expect("the process ends");
    }

    /// Asks the hub to stop and returns its exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.process.wait().await.expect("the process ends").code()
    }

    /// Waits until the hub ends by itself and returns its exit code.
    pub async fn ended(mut self) -> Option<i32> {
        self.process.wait().await.expect("the process ends").code()
    }

    fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill")
            .args([name, &self.pid.to_string()])
            .status();
        assert!(sent.expect("kill is installed").success());
    }
}

impl Drop for ChildHub {
    /// Kills the hub. The tracer is killed with the test, and the hub would outlive the tracer.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.signal("-KILL");
        }
    }
}

/// Starts the binary, directly or through another program, and waits until the hub prints its addresses.
async fn serve(command: &mut Command, data: &Path, settings: &[(&str, &str)]) -> ChildHub {
    let mut process = command
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
        .expect("the hub starts, and strace if it is wanted, which has to be installed");
    let output = process.stdout.take().expect("piped");
    let mut output = BufReader::new(output).lines();
    let mut printed = async |what: &str| loop {
        let line = output.next_line().await.expect("readable");
        let line = line.expect("the hub prints its addresses");
        if let Some(rest) = line.strip_prefix(what) {
            break rest.to_owned();
        }
    };
    let url = printed("talus-hub listening on ").await;
    let operators = printed("operators at ").await;
    let ops_url = operators.strip_suffix("/ops/actors").expect(&operators).to_owned();
    let pid = process.id().expect("the process runs");
    ChildHub {
        url,
        ops_url,
        pid,
        process,
        _output: output,
    }
}

/// Returns the number of times a test kills the hub: `KILL_ROUNDS`, or else the default.
pub fn kill_rounds(default: usize) -> usize {
    std::env::var("KILL_ROUNDS").map_or(default, |text| text.parse().expect("KILL_ROUNDS is a number"))
}

/// Distance between a granted port and the first candidate of the next grant.
const PORTS_APART: u32 = 40;

/// Returns a port for a hub that restarts on the same port. Ephemeral ports of the system begin higher: while the hub
/// is down, a connecting process could get one of those. Two tests of a process never get the same port.
pub fn port_to_keep() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let given = GIVEN.fetch_add(PORTS_APART, Ordering::Relaxed);
    let first = 20_000 + std::process::id() % 8_000 + given;
    let mut ports = (first..32_000).filter_map(|port| u16::try_from(port).ok());
    let free = |port: &u16| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], *port))).is_ok();
    ports.find(free).expect("a free port")
}
