//! Accepting connections, and being able to cut them.
//!
//! A websocket whose peer has stopped reading cannot be closed from above: its writer waits in a write that nothing
//! interrupts, so it would keep its queue, its place in the room and the shutdown. So every connection has a switch
//! that makes its reads and writes fail, from which everything above it falls down by itself. A websocket that began by
//! polling comes by another connection than the one its socket knows; for those the kernel gives up by itself when
//! nothing is taken for a while.
//!
//! Nagle's algorithm is off: with it, a small packet waits for the acknowledgement of the one before, up to 40 ms.

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A connection, as handlers see it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Who is at the other end.
    pub peer: SocketAddr,
    switch: CancellationToken,
    written_bytes: Arc<AtomicU64>,
}

impl Connection {
    /// Cuts the connection. What is not written yet is lost.
    pub fn abort(&self) {
        self.switch.cancel();
    }

    /// Bytes that the system has taken from it so far.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }
}

/// Accepts connections that can be cut, each by itself or all together.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    all: CancellationToken,
    stall_max: Duration,
}

impl Listener {
    /// Accepts on a bound socket. Cancelling `all` cuts every connection that came from it. One whose other end takes
    /// nothing of what waits for it is given up after `stall_max`, where the system can do that.
    #[must_use]
    pub const fn new(inner: TcpListener, all: CancellationToken, stall_max: Duration) -> Self {
        Self { inner, all, stall_max }
    }

    fn set_options(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(stream).set_tcp_user_timeout(Some(self.stall_max))?;
        Ok(())
    }
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        let (inner, peer) = axum::serve::Listener::accept(&mut self.inner).await;
        if let Err(error) = self.set_options(&inner) {
            tracing::debug!(%peer, %error, "the options of a connection could not be set");
        }
        (Stream::new(inner, self.all.child_token()), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Connected<IncomingStream<'_, Listener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Self {
            peer: *stream.remote_addr(),
            switch: stream.io().switch.clone(),
            written_bytes: Arc::clone(&stream.io().written_bytes),
        }
    }
}

/// A connection that can be cut.
#[derive(Debug)]
pub struct Stream {
    inner: TcpStream,
    switch: CancellationToken,
    written_bytes: Arc<AtomicU64>,
    /// One for each direction: a websocket is read by one task and written by another, and both have to wake up.
    read_cut: Cut,
    write_cut: Cut,
}

type Cut = Pin<Box<WaitForCancellationFutureOwned>>;

impl Stream {
    fn new(inner: TcpStream, switch: CancellationToken) -> Self {
        let cut = || Box::pin(switch.clone().cancelled_owned());
        Self {
            inner,
            read_cut: cut(),
            write_cut: cut(),
            switch,
            written_bytes: Arc::default(),
        }
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        written
    }
}

/// Fails if the connection is cut; else the task is woken when it is.
fn check(cut: &mut Cut, cx: &mut Context<'_>) -> io::Result<()> {
    match cut.as_mut().poll(cx) {
        Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
        Poll::Pending => Ok(()),
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        check(&mut self.read_cut, cx)?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        check(&mut self.write_cut, cx)?;
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.count(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        check(&mut self.write_cut, cx)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        check(&mut self.write_cut, cx)?;
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.count(written)
    }
}

#[cfg(test)]
mod tests {
    use axum::serve::Listener as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_cut_connection_fails_in_both_directions_also_while_both_wait() {
        let bound = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = bound.local_addr().expect("bound");
        let all = CancellationToken::new();
        let mut listener = Listener::new(bound, all.clone(), Duration::from_secs(60));
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let client = client.expect("connects");
        let switch = accepted.0.switch.clone();
        let (mut reader, mut writer) = tokio::io::split(accepted.0);
        let reading = tokio::spawn(async move { reader.read_u8().await });
        let writing = tokio::spawn(async move {
            // The client reads nothing, so this ends up waiting for it.
            loop {
                writer.write_all(&[0; 65_536]).await?;
            }
            #[expect(unreachable_code, reason = "names the type of the error")]
            Ok::<(), io::Error>(())
        });
        switch.cancel();
        let failed = reading.await.expect("no panic").expect_err("the read fails");
        assert_eq!(failed.kind(), io::ErrorKind::ConnectionAborted);
        let failed = writing.await.expect("no panic").expect_err("the write fails");
        assert_eq!(failed.kind(), io::ErrorKind::ConnectionAborted);
        assert!(!all.is_cancelled(), "the others live on");
        drop(client);
    }
}
