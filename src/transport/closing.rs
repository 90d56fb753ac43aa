//! Closing a websocket such that its peer hears why.
//!
//! A connection that is closed with bytes unread is reset, and a reset can destroy the close frame before the peer has
//! read it. So the peer's bytes are read and dropped until it closes too.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::outgoing::Outgoing;

/// Longest time that a peer has to close its half, some round trips.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// Writes what waits, within the time given, then ends the connection.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    mut inner: S,
    mut outgoing: Outgoing,
    write_max: Duration,
) {
    let written = timeout(write_max.min(LINGER_MAX), async {
        while !outgoing.is_empty() {
            let inner = &mut inner;
            poll_fn(|cx| match outgoing.poll_write_some(Pin::new(&mut *inner), cx) {
                Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            })
            .await?;
        }
        inner.shutdown().await
    });
    if !matches!(written.await, Ok(Ok(()))) {
        return;
    }
    drop(outgoing);
    let mut dropped = [0; 1024];
    let lingering = async { while matches!(inner.read(&mut dropped).await, Ok(1..)) {} };
    // A peer that goes on sending is reset.
    let _ = timeout(LINGER_MAX, lingering).await;
}
