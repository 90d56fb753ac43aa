//! Proxy in front of a hub, with the configuration that OPERATIONS.md shows.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
    process::{Child, Command},
    task::JoinHandle,
};

use crate::{
    calls::until,
    support::{ROOT, TestHub},
};

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Nginx,
    HaProxy,
    Caddy,
}

/// Proxy process of a test. See the [module](self). The proxy listens on a Unix socket, so that no other process can
/// take its port meanwhile. A port that the system chooses is forwarded to the socket.
pub struct Proxy {
    /// Address of the proxy, over TLS.
    pub url: String,
    /// Path of the proxy's self-signed certificate.
    pub certificate: PathBuf,
    _dir: TempDir,
    _process: Child,
    forwarding: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

/// Replaces a part of a configuration, and asserts that the configuration has this part.
pub fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is in\n{text}");
    text.replace(from, to)
}

impl Kind {
    /// Returns the configuration that the documentation shows.
    pub fn file(self) -> String {
        let name = match self {
            Self::Nginx => "nginx.conf",
            Self::HaProxy => "haproxy.cfg",
            Self::Caddy => "Caddyfile",
        };
        fs::read_to_string(Path::new(ROOT).join("docs/proxies").join(name)).expect(name)
    }

    /// Returns a configuration with the test's own certificate, hub, host name and socket. A frame around it holds the
    /// settings that a distribution's own files hold otherwise.
    fn adapted(self, file: &str, hub: &str, dir: &Path) -> String {
        let at = |name: &str| dir.join(name).display().to_string();
        let file = replaced(file, "127.0.0.1:5000", hub);
        let socket = at("socket");
        match self {
            Self::Nginx => {
                let file = replaced(&file, "/etc/ssl/hub.example.crt", &at("crt"));
                let file = replaced(&file, "/etc/ssl/hub.example.key", &at("key"));
                let file = replaced(&file, "server_name hub.example;", "server_name localhost;");
                let file = replaced(&file, "listen 443", &format!("listen unix:{socket}"));
                let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
                let temporary = temporary.map(|name| format!("{name}_temp_path {};", at(name))).concat();
                format!(
                    "daemon off; master_process off; pid {};\nevents {{}}\nhttp {{ access_log off; {temporary}\n{file}}}\n",
                    at("pid")
                )
            }
            Self::HaProxy => {
                let file = replaced(&file, "/etc/ssl/hub.example.pem", &at("pem"));
                replaced(&file, "bind :443", &format!("bind unix@{socket}"))
            }
            Self::Caddy => {
                let file = replaced(&file, "/etc/ssl/hub.example.crt", &at("crt"));
                let file = replaced(&file, "/etc/ssl/hub.example.key", &at("key"));
                let file = replaced(&file, "hub.example {", &format!("localhost {{\n\tbind unix/{socket}"));
                let global = "admin off\n\tauto_https disable_redirects\n\tservers {\n\t\tprotocols h1\n\t}";
                format!("{{\n\t{global}\n}}\n{file}")
            }
        }
    }

    fn command(self, configuration: &Path, dir: &Path) -> Command {
        let mut command = match self {
            Self::Nginx => Command::new("nginx"),
            Self::HaProxy => Command::new("haproxy"),
            Self::Caddy => Command::new("caddy"),
        };
        match self {
            Self::Nginx => command.args(["-e", "stderr", "-p"]).arg(dir).arg("-c"),
            Self::HaProxy => command.args(["-db", "-f"]),
            Self::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]),
        };
        command.arg(configuration);
        // Caddy keeps certificates in these folders.
        for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(name, dir);
        }
        command
    }
}

impl Proxy {
    /// Starts a proxy with the documented configuration.
    pub async fn start(kind: Kind, hub: &TestHub) -> Self {
        Self::with(kind, hub, &kind.file()).await
    }

    /// Starts a proxy with another configuration.
    pub async fn with(kind: Kind, hub: &TestHub, file: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| dir.path().join(name);
        make_certificate(&at("crt"), &at("key"));
        let both = [at("crt"), at("key")].map(|part| fs::read_to_string(part).expect("made"));
        fs::write(at("pem"), both.concat()).expect("writable");
        let hub = hub.url.strip_prefix("http://").expect("plain HTTP");
        fs::write(at("configuration"), kind.adapted(file, hub, dir.path())).expect("writable");
        let said = fs::File::create(at("said")).expect("writable");
        let mut command = kind.command(&at("configuration"), dir.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .kill_on_drop(true);
        let mut process = command.spawn().expect("nginx, HAProxy and Caddy are installed");
        let socket = at("socket");
        until("the proxy to listen", || {
            let ended = process.try_wait().expect("it is ours");
            let said = || fs::read_to_string(dir.path().join("said")).unwrap_or_default();
            assert!(ended.is_none(), "{kind:?} ended:\n{}", said());
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.is_ok() }
        })
        .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        Self {
            url: format!("https://localhost:{port}"),
            certificate: at("crt"),
            _process: process,
            forwarding: tokio::spawn(forward(listener, socket)),
            _dir: dir,
        }
    }
}

async fn forward(listener: TcpListener, socket: PathBuf) {
    while let Ok((mut client, _)) = listener.accept().await {
        let socket = socket.clone();
        tokio::spawn(async move {
            if let Ok(mut proxy) = UnixStream::connect(socket).await {
                // Either end may close at any time.
                let _ = copy_bidirectional(&mut client, &mut proxy).await;
            }
        });
    }
}

fn make_certificate(certificate: &Path, key: &Path) {
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-out"])
        .arg(certificate)
        .arg("-keyout")
        .arg(key)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
