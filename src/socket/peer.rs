//! Socket as its room sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use socketioxide::{SendError as EmitError, SocketError, extract::SocketRef, socket::Socket};
use talus_actors::{
    clock::{instant, now},
    domain::ids::{Seq, SessionId},
    fan_out::{DeferredSync, Frame, MemberId, Release, RoomSocket, SendError, SyncReason},
    hub::Hub,
    session_actor::ResyncRequest,
};

use crate::transport::Transport;

/// Attempts to resync a slow websocket before its transport is closed. Each delay is twice the one before, at most 32
/// times the first: about 15 s with the default of 50 ms. A live client has taken something by then.
const ATTEMPTS_MAX: u32 = 14;

/// Time between the last queued packet and the close of the transport, for the packet to leave. A live client has the
/// packet within a round trip.
const FLUSH: Duration = Duration::from_millis(250);

/// Time that a polling client is given for a large sync, in milliseconds, before the next client gets its sync: some
/// round trips.
const POLLED_SYNC_MS: u64 = 500;

/// Connection of a socket, shared by its peers in all rooms.
pub(super) trait Connection: Send + Sync {
    /// True after the disconnect.
    fn is_disconnected(&self) -> bool;

    /// Ends a membership whose session was deleted, or was quarantined. The connection stays open.
    fn end_membership(&self, session_id: SessionId, member: MemberId, is_quarantined: bool);
}

/// See the [module](self).
pub(super) struct Peer {
    socket: SocketRef,
    hub: Hub,
    connection: Arc<dyn Connection>,
    /// True if the connection outlives its sessions: the client may join others.
    outlives_sessions: bool,
    session_id: SessionId,
    member: MemberId,
    retry: Duration,
    pending: PendingSync,
    delivery: SyncDelivery,
}

/// Delivery of the latest sync. A websocket counts its written bytes. A polling session has no such count, so its sync
/// is taken as delivered after [`POLLED_SYNC_MS`].
struct SyncDelivery {
    began: Instant,
    /// Value of the connection's written bytes once the sync has left.
    through_bytes: AtomicU64,
    /// Time of the sync, in milliseconds after `began`.
    at_ms: AtomicU64,
}

impl SyncDelivery {
    fn new() -> Self {
        Self {
            began: instant(),
            through_bytes: AtomicU64::new(0),
            at_ms: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn record(&self, written_bytes: Option<u64>, bytes: usize) {
        // A polling session may be a websocket at the next check, which has written less than its polls.
        let through = written_bytes.map_or(0, |written| written + bytes as u64);
        self.through_bytes.store(through, Ordering::Relaxed);
        self.at_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn is_delivered(&self, written_bytes: Option<u64>) -> bool {
        match written_bytes {
            Some(written) => written >= self.through_bytes.load(Ordering::Relaxed),
            None => self.now_ms() - self.at_ms.load(Ordering::Relaxed) >= POLLED_SYNC_MS,
        }
    }
}

/// Kind of the sync that is on its way to the socket. Later requests of the same kind or a weaker one are answered by
/// that sync.
#[derive(Default)]
struct PendingSync(AtomicU8);

impl PendingSync {
    const NOTHING: u8 = 0;
    const ANYTHING: u8 = 1;
    const SNAPSHOT: u8 = 2;

    /// Records a request. False if the sync on its way answers it already.
    fn request(&self, request: &ResyncRequest) -> bool {
        let kind = if request.reason.is_some() {
            Self::SNAPSHOT
        } else {
            Self::ANYTHING
        };
        self.0.fetch_max(kind, Ordering::Relaxed) < kind
    }

    fn clear(&self) {
        self.0.store(Self::NOTHING, Ordering::Relaxed);
    }
}

impl Peer {
    pub(super) fn new(
        socket: SocketRef,
        hub: Hub,
        connection: Arc<dyn Connection>,
        outlives_sessions: bool,
        (session_id, member): (SessionId, MemberId),
        retry: Duration,
    ) -> Self {
        Self {
            socket,
            hub,
            connection,
            outlives_sessions,
            session_id,
            member,
            retry,
            pending: PendingSync::default(),
            delivery: SyncDelivery::new(),
        }
    }

    /// Requests a sync for the client, unless a sufficient sync is on its way.
    pub(super) fn resync(&self, request: ResyncRequest) {
        if self.pending.request(&request) {
            if request.reason == Some(SyncReason::Divergence) {
                self.hub.stats().divergences.inc();
            }
            self.hub.resync(self.session_id, self.member, request);
        }
    }

    /// Bytes that the socket's connection has written. `None` for a polling session.
    fn written_bytes(&self) -> Option<u64> {
        transport(&self.socket)?.written_bytes()
    }
}

/// Closes the transport of a socket, such that the client reconnects.
pub(super) fn abort(socket: &Socket) {
    if let Some(transport) = transport(socket) {
        transport.abort();
    }
}

/// Disconnects a socket from the namespace, such that the client does not reconnect. A full queue has no room for the
/// disconnect packet. The transport is closed then, and the client is refused when it reconnects.
pub(super) fn disconnect(socket: &SocketRef) {
    if let Err(SocketError::InternalChannelFull) = socket.clone().disconnect() {
        abort(socket);
    }
}

/// True if the socket is a websocket at present, from its start or by an upgrade.
fn is_websocket(socket: &Socket) -> bool {
    transport(socket).is_some_and(|transport| transport.written_bytes().is_some())
}

/// Transport of a socket.
fn transport(socket: &Socket) -> Option<&Arc<Transport>> {
    socket.req_parts().extensions.get()
}

impl RoomSocket for Peer {
    fn send(&self, frame: &Frame) -> Result<(), SendError> {
        // Before the frame is queued: the frame may leave and be answered at once.
        let sync_from = (frame.event == "session:sync").then(|| {
            self.pending.clear();
            self.written_bytes()
        });
        match self.socket.emit(frame.event, &*frame.data) {
            Ok(()) => {
                if let Some(written) = sync_from {
                    self.delivery.record(written, frame.data.get().len());
                }
                Ok(())
            }
            Err(EmitError::Socket(SocketError::InternalChannelFull)) => Err(SendError::Full),
            // The library tells a client that it is connected before it accepts packets for it. A socket that joins a
            // session in between is still connected, and is resynced a moment later (P2).
            Err(EmitError::Socket(SocketError::Closed)) if !self.connection.is_disconnected() => Err(SendError::Full),
            Err(EmitError::Socket(SocketError::Closed)) => Err(SendError::Closed),
            Err(EmitError::Serialize(error)) => {
                tracing::error!(event = frame.event, %error, "a packet could not be encoded");
                Err(SendError::Closed)
            }
        }
    }

    fn mark_lagging(&self, delivered: Seq, attempt: u32) {
        // A polling socket is resynced for as long as it is connected: its heartbeat ends it, or the client fetches the
        // waiting packets, and then must get a sync.
        if attempt == ATTEMPTS_MAX && is_websocket(&self.socket) {
            tracing::debug!(session_id = %self.session_id, member = self.member.0, delivered = delivered.0, "slow socket closed");
            abort(&self.socket);
            return;
        }
        let wait = self.retry * (1 << attempt.min(5));
        let (hub, session_id, member) = (self.hub.clone(), self.session_id, self.member);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let request = ResyncRequest {
                position: None,
                reason: Some(SyncReason::SlowConsumer),
                now: now(),
            };
            hub.resync(session_id, member, request);
        });
    }

    fn has_drained(&self) -> bool {
        self.delivery.is_delivered(self.written_bytes())
    }

    fn grant_sync(&self, due: DeferredSync) {
        let request = ResyncRequest::due(due, now());
        self.hub.resync(self.session_id, self.member, request);
    }

    fn release(&self, how: Release) {
        // A socket that may join late may have other sessions, and may join more, so its connection stays open.
        let stays = self.outlives_sessions && !self.hub.is_draining();
        match how {
            Release::SessionDeleted if stays => self.connection.end_membership(self.session_id, self.member, false),
            Release::SessionQuarantined if stays => self.connection.end_membership(self.session_id, self.member, true),
            // The client must not reconnect: its session is deleted.
            Release::SessionDeleted => disconnect(&self.socket),
            // A disconnect from the namespace would stop the client's reconnects. A lost transport makes it reconnect.
            Release::SessionQuarantined | Release::CloseTransport => {
                let socket = self.socket.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(FLUSH).await;
                    abort(&socket);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resync_requests_coalesce_while_one_is_pending() {
        let pending = PendingSync::default();
        let any = ResyncRequest {
            position: None,
            reason: None,
            now: now(),
        };
        let all = ResyncRequest {
            reason: Some(SyncReason::Divergence),
            ..any
        };
        assert!(pending.request(&any), "the first is asked");
        assert!(!pending.request(&any), "the second is answered with it");
        assert!(pending.request(&all), "one that needs a snapshot is not");
        assert!(
            !pending.request(&any) && !pending.request(&all),
            "what comes after it is"
        );
        pending.clear();
        assert!(pending.request(&any), "and then it begins anew");
    }
}
