//! Close of a websocket such that the peer receives the close frame.
//!
//! A connection that is closed with unread bytes is reset, and a reset can destroy the close frame before the peer has
//! read it. The hub therefore reads and drops the peer's bytes until the peer closes too.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::outgoing::Outgoing;

/// Longest wait for the peer to close its half: some round trips.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// Writes the queue within `write_max`, then ends the connection.
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
    // A peer that goes on sending gets a reset.
    let _ = timeout(LINGER_MAX, lingering).await;
}
