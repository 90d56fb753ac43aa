//! Accepts connections, limits their number, and makes them abortable.
//!
//! A websocket whose peer has stopped reading cannot be closed by its owner: its writer waits in a write that cannot be
//! interrupted, and would keep its queue, its place in the room and the shutdown. So every connection has a
//! cancellation token that makes its reads and writes fail, which ends every layer above. A websocket that began by
//! polling uses another connection than the connection known to its socket. For such websockets, and for every other
//! answer that is not read, the stream itself fails a write that makes no progress for `write_stall`.
//!
//! A connection that sends no bytes, or an incomplete request, has timeouts (`phase`), as has the body of a request
//! (`body`). The module `admission` limits the number of connections.
//!
//! Nagle's algorithm is off: with Nagle's algorithm, a small packet waits for the acknowledgement of the packet before,
//! up to 40 ms.

mod admission;
mod body;
pub mod descriptors;
mod phase;
mod serve;
mod stream;

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::Metrics,
    permits::Permits,
    wire::{ErrorCode, error::ApiError},
};

pub use admission::ConnectionLimits;
pub use body::{BodyProgress, BodyState, ReceivedBody};
pub use phase::{Expired, Timeouts};
pub use serve::serve;
pub use stream::{Connection, Stream};

/// Pause after a failed accept. Without free descriptors the next attempt would fail at once, in a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Settings that all connections of a listener share.
#[derive(Debug)]
pub struct Settings {
    /// Name of the listener in metrics.
    pub name: &'static str,
    /// Timeouts of a connection.
    pub timeouts: Timeouts,
    /// Maximum wait of the kernel for an acknowledgement (`TCP_USER_TIMEOUT`, on Linux only).
    pub unacknowledged_max: Duration,
    /// Maximum size of a request's head in bytes.
    pub head_bytes_max: usize,
    /// Budget of bytes of incomplete requests, over all connections.
    pub receiving: Permits,
    /// Metrics that count connections, refusals and timeouts.
    pub metrics: Metrics,
}

impl Settings {
    fn expired(&self, expired: Expired) {
        self.metrics.observe_expired_connection(self.name, expired.as_str());
    }

    fn refused(&self, limit: &'static str) {
        self.metrics.observe_refused_connection(self.name, limit);
    }
}

/// Accepts connections that can be aborted, each on its own or all together.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    all: CancellationToken,
    limits: ConnectionLimits,
    settings: Arc<Settings>,
}

impl Listener {
    /// Accepts on a bound socket. Cancelling `all` aborts every accepted connection.
    #[must_use]
    pub fn new(inner: TcpListener, all: CancellationToken, limits: ConnectionLimits, settings: Settings) -> Self {
        Self {
            inner,
            all,
            limits,
            settings: Arc::new(settings),
        }
    }

    /// Returns the next connection within the limits. Connections beyond the limits are refused and closed meanwhile.
    pub async fn accept(&mut self) -> (Stream, Connection) {
        loop {
            let (inner, peer) = match self.inner.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_peer_error(&error) => continue,
                Err(error) => {
                    self.settings.refused("descriptors");
                    tracing::warn!(listener = self.settings.name, %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match self.limits.admit(peer.ip()) {
                Ok(permit) => {
                    if let Err(error) = self.set_options(&inner) {
                        tracing::debug!(%peer, %error, "the options of a connection could not be set");
                    }
                    return Stream::new(inner, peer, self.all.child_token(), permit, &self.settings);
                }
                Err(limit) => {
                    self.settings.refused(limit);
                    tracing::debug!(listener = self.settings.name, %peer, limit, "a connection was refused");
                    refuse(inner, limit);
                }
            }
        }
    }

    /// Returns the address of the listener.
    ///
    /// # Errors
    /// Returns the error of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn set_options(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(stream).set_tcp_user_timeout(Some(self.settings.unacknowledged_max))?;
        Ok(())
    }
}

/// Returns true if the peer disconnected before the accept. The error concerns that connection only.
fn is_peer_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// Answers with an error and closes, without waiting: a refusal must cost the hub less than it costs the client.
fn refuse(stream: TcpStream, limit: &'static str) {
    let failure = ApiError::new(ErrorCode::Overloaded, "there are too many connections").with("limit", limit);
    let body = failure.body().to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let Ok(mut stream) = stream.into_std() else { return };
    // An empty send buffer has room for the answer. Received bytes are read, since unread bytes would turn the close
    // into a reset, which may overtake the answer. Neither call blocks.
    let _ = stream.write(answer.as_bytes());
    let _ = stream.read(&mut [0; 4_096]);
    let _ = stream.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use talus_actors::permits::Permits;

    use super::*;

    /// Starts a listener on a free port, with timeouts of an hour, which no test reaches.
    async fn listener(all: CancellationToken, change: impl FnOnce(&mut Timeouts)) -> Listener {
        let bound = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let hour = Duration::from_secs(3_600);
        let mut timeouts = Timeouts {
            first_byte: hour,
            head: hour,
            keep_alive: hour,
            body_stall: hour,
            body: hour,
            write_stall: hour,
        };
        change(&mut timeouts);
        let settings = Settings {
            name: "clients",
            timeouts,
            unacknowledged_max: hour,
            head_bytes_max: 8 * 1024,
            receiving: Permits::new(1 << 20),
            metrics: Metrics::default(),
        };
        Listener::new(
            bound,
            all,
            ConnectionLimits::new(Permits::new(10), 10, Vec::new()),
            settings,
        )
    }

    async fn connected(listener: &mut Listener) -> (TcpStream, Stream, Connection) {
        let address = listener.local_addr().expect("bound");
        let (client, (stream, connection)) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("connects"), stream, connection)
    }

    #[tokio::test]
    async fn aborted_connection_fails_in_both_directions() {
        let all = CancellationToken::new();
        let mut listener = listener(all.clone(), |_| {}).await;
        let (client, stream, connection) = connected(&mut listener).await;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let reading = tokio::spawn(async move { reader.read_u8().await });
        // The client reads no bytes, so the write ends up waiting for the client.
        let writing = tokio::spawn(async move { while writer.write_all(&[0; 65_536]).await.is_ok() {} });
        connection.abort();
        let failed = reading.await.expect("no panic").expect_err("the read fails");
        assert_eq!(failed.kind(), io::ErrorKind::ConnectionAborted);
        writing.await.expect("the write fails");
        assert!(!all.is_cancelled(), "other connections stay open");
        drop(client);
    }

    /// P9: a peer that acknowledges bytes without reading them is disconnected, in both directions.
    #[tokio::test]
    async fn stalled_write_ends_the_connection() {
        let mut listener = listener(CancellationToken::new(), |timeouts| {
            timeouts.write_stall = Duration::from_millis(10);
        })
        .await;
        let (client, stream, _) = connected(&mut listener).await;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let reading = tokio::spawn(async move { reader.read_u8().await });
        let failed = loop {
            if let Err(failed) = writer.write_all(&[0; 65_536]).await {
                break failed;
            }
        };
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        let failed = reading.await.expect("no panic").expect_err("the read fails");
        assert_eq!(failed.kind(), io::ErrorKind::ConnectionAborted);
        let text = listener.settings.metrics.render().expect("metrics");
        let line = r#"hub_connections_timed_out_total{listener="clients",kind="write"} 1"#;
        assert!(text.contains(line), "{text}");
        drop(client);
    }
}
