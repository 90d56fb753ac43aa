//! A hub in a process of its own: one that can be killed.

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

/// The real binary, running.
pub struct ChildHub {
    /// Where it is, without a path.
    pub url: String,
    /// Where operators are listened to.
    pub ops_url: String,
    pid: u32,
    /// The hub, or who traces it: that one ends with it, and as it does.
    process: Child,
    _output: Lines<BufReader<ChildStdout>>,
}

impl ChildHub {
    /// Starts the binary on a data directory, on a free port unless the settings name one, and waits until it serves.
    pub async fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        serve(&mut Command::new(BINARY), data, settings).await
    }

    /// The same with so many file descriptors and no more.
    pub async fn with_descriptors(data: &Path, settings: &[(&str, &str)], descriptors: usize) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!(r#"ulimit -n {descriptors} && exec "$0" "$@""#), BINARY]);
        serve(&mut shell, data, settings).await
    }

    /// The same under `strace`, which writes to a file what it sees.
    pub async fn traced(data: &Path, settings: &[(&str, &str)], trace: &Path) -> Self {
        let mut strace = Command::new("strace");
        strace.args(trace::OPTIONS).arg("-o").arg(trace);
        Self::under(strace, data, settings).await
    }

    /// The same on a disk that fails: `strace` has calls on these files of the data directory end as its `--inject` says.
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
        hub.pid = children.expect("Linux says").trim().parse().expect("it has one child");
        hub
    }

    /// The number of its process.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Limits the size of the files that it may write, in bytes; `None`: as large as they want to be.
    pub fn limit_file_size(&self, bytes_max: Option<u64>) {
        let limit = bytes_max.map_or("unlimited:unlimited".to_owned(), |bytes| format!("{bytes}:unlimited"));
        let set = std::process::Command::new("prlimit")
            .args(["--pid", &self.pid.to_string(), &format!("--fsize={limit}")])
            .status();
        assert!(set.expect("util-linux has it").success());
    }

    /// Ends it as a power cut would end the process: nothing is finished, nobody is told.
    pub async fn kill(mut self) {
        self.signal("-KILL");
        self.process.wait().await.expect("it ends");
    }

    /// Asks it to stop, and tells with which code it ended.
    pub async fn terminate(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.process.wait().await.expect("it ends").code()
    }

    /// Waits until it has ended by itself, and tells with which code.
    pub async fn ended(mut self) -> Option<i32> {
        self.process.wait().await.expect("it ends").code()
    }

    fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill")
            .args([name, &self.pid.to_string()])
            .status();
        assert!(sent.expect("there is such a command").success());
    }
}

impl Drop for ChildHub {
    /// Whoever traces it is killed with the test, and it would go on.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.signal("-KILL");
        }
    }
}

/// Starts the binary, by itself or as what a program is to run, and waits until it says where it is.
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
    let mut said = async |what: &str| loop {
        let line = output.next_line().await.expect("readable");
        let line = line.expect("it says where it is");
        if let Some(rest) = line.strip_prefix(what) {
            break rest.to_owned();
        }
    };
    let url = said("talus-hub listening on ").await;
    let operators = said("operators at ").await;
    let ops_url = operators.strip_suffix("/ops/actors").expect(&operators).to_owned();
    let pid = process.id().expect("it runs");
    ChildHub {
        url,
        ops_url,
        pid,
        process,
        _output: output,
    }
}

/// How often a test kills the hub: so often, unless `KILL_ROUNDS` says otherwise.
pub fn kill_rounds(usual: usize) -> usize {
    std::env::var("KILL_ROUNDS").map_or(usual, |text| text.parse().expect("KILL_ROUNDS is a number"))
}

/// Ports from one that is given out to the first that is tried for the next.
const PORTS_APART: u32 = 40;

/// A port for a hub that will be back on it. Ports that the system gives out by itself begin higher: while the hub is
/// away, one of those may go to anybody who connects to somewhere. No two tests of a process get the same.
pub fn port_to_keep() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let given = GIVEN.fetch_add(PORTS_APART, Ordering::Relaxed);
    let first = 20_000 + std::process::id() % 8_000 + given;
    let mut ports = (first..32_000).filter_map(|port| u16::try_from(port).ok());
    let free = |port: &u16| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], *port))).is_ok();
    ports.find(free).expect("a free port")
}
