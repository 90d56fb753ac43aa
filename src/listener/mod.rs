//! Accepting connections, bounding them, and being able to cut them.
//!
//! A websocket whose peer has stopped reading cannot be closed from above: its writer waits in a write that nothing
//! interrupts, so it would keep its queue, its place in the room and the shutdown. So every connection has a switch
//! that makes its reads and writes fail, from which everything above it falls down by itself. A websocket that began by
//! polling comes by another connection than the one its socket knows; for those, and for every other answer that is not
//! taken, the stream itself gives up when a write makes no progress for a while.
//!
//! A connection that sends nothing, or half of something, has a time for that (`life`), and a request's body another
//! (`body`). How many connections there may be is for `admission`.
//!
//! Nagle's algorithm is off: with it, a small packet waits for the acknowledgement of the one before, up to 40 ms.

mod admission;
mod body;
pub mod descriptors;
mod life;
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

use crate::{budget::ByteBudget, metrics::Metrics, wire::error::Failure};

pub use admission::Doors;
pub use body::{BodyFate, Receipt, ReceivedBody};
pub use life::{Expired, Timeouts};
pub use serve::serve;
pub use stream::{Connection, Stream};

/// How long nothing is accepted after the system could not give a connection: with no descriptor left, the next attempt
/// would fail at once, and so on without end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections of a listener have in common.
#[derive(Debug)]
pub struct Settings {
    /// The listener's name in metrics.
    pub name: &'static str,
    /// Times that a connection is given.
    pub timeouts: Timeouts,
    /// The longest that the system waits for an acknowledgement, where it can do that.
    pub unacknowledged_max: Duration,
    /// The largest head of a request, in bytes.
    pub head_bytes_max: usize,
    /// Bytes of unfinished requests, over all connections.
    pub receiving: ByteBudget,
    /// What is counted.
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

/// Accepts connections that can be cut, each by itself or all together.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    all: CancellationToken,
    doors: Doors,
    settings: Arc<Settings>,
}

impl Listener {
    /// Accepts on a bound socket. Cancelling `all` cuts every connection that came from it.
    #[must_use]
    pub fn new(inner: TcpListener, all: CancellationToken, doors: Doors, settings: Settings) -> Self {
        Self {
            inner,
            all,
            doors,
            settings: Arc::new(settings),
        }
    }

    /// The next connection that is within the limits. Those beyond them are refused and closed meanwhile.
    pub async fn accept(&mut self) -> (Stream, Connection) {
        loop {
            let (inner, peer) = match self.inner.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    self.settings.refused("descriptors");
                    tracing::warn!(listener = self.settings.name, %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match self.doors.enter(peer.ip()) {
                Ok(place) => {
                    if let Err(error) = self.set_options(&inner) {
                        tracing::debug!(%peer, %error, "the options of a connection could not be set");
                    }
                    return Stream::new(inner, peer, self.all.child_token(), place, &self.settings);
                }
                Err(limit) => {
                    self.settings.refused(limit);
                    tracing::debug!(listener = self.settings.name, %peer, limit, "a connection was refused");
                    refuse(inner, limit);
                }
            }
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
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

/// The peer went away before it was accepted, which says nothing of the next one.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// Says so and closes, without waiting for anything: what is refused must cost less than it costs to ask.
fn refuse(stream: TcpStream, limit: &'static str) {
    let failure = Failure::new("OVERLOADED", "there are too many connections").with("limit", limit);
    let body = failure.body().to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let Ok(mut stream) = stream.into_std() else { return };
    // A send buffer that is empty has room for this. What came already is read, since unread bytes would turn the close
    // into a reset, which may overtake the answer. Neither waits.
    let _ = stream.write(answer.as_bytes());
    let _ = stream.read(&mut [0; 4_096]);
    let _ = stream.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use talus_actors::admission::Gate;

    use super::*;

    /// A listener on a free port, with times that no test waits for.
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
            receiving: ByteBudget::new(1 << 20),
            metrics: Metrics::default(),
        };
        Listener::new(bound, all, Doors::new(Gate::new(10), 10, Vec::new()), settings)
    }

    async fn connected(listener: &mut Listener) -> (TcpStream, Stream, Connection) {
        let address = listener.local_addr().expect("bound");
        let (client, (stream, connection)) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("connects"), stream, connection)
    }

    #[tokio::test]
    async fn a_cut_connection_fails_in_both_directions_also_while_both_wait() {
        let all = CancellationToken::new();
        let mut listener = listener(all.clone(), |_| {}).await;
        let (client, stream, connection) = connected(&mut listener).await;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let reading = tokio::spawn(async move { reader.read_u8().await });
        // The client reads nothing, so this ends up waiting for it.
        let writing = tokio::spawn(async move { while writer.write_all(&[0; 65_536]).await.is_ok() {} });
        connection.abort();
        let failed = reading.await.expect("no panic").expect_err("the read fails");
        assert_eq!(failed.kind(), io::ErrorKind::ConnectionAborted);
        writing.await.expect("the write fails");
        assert!(!all.is_cancelled(), "the others live on");
        drop(client);
    }

    /// P9: a peer that acknowledges everything and reads nothing is given up, in both directions.
    #[tokio::test]
    async fn a_write_without_progress_ends_the_connection() {
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
