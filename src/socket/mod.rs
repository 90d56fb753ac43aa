//! The Socket.IO edge: namespace `/graph`, a room for each session.
//!
//! A connection is let in by a middleware, which alone can refuse it in a way that the client sees. What is sent to a
//! room goes through `peer::Peer`, never through the library's own rooms: a full queue then names its socket.

mod admission;
mod peer;

use std::sync::Arc;

use engineioxide::service::NotFoundService;
use serde::Deserialize;
use socketioxide::{
    SocketIo,
    extract::{SocketRef, TryData},
    handler::ConnectHandler,
    service::SocketIoService,
    socket::DisconnectReason,
};
use talus_actors::{
    fan_out::{Member, Release, RoomSocket, SyncReason},
    hub::{Hub, HubError},
    session_actor::ResyncRequest,
    world::now,
};
use tracing::Instrument;

use self::{
    admission::{Admitted, Auth, Refused},
    peer::Peer,
};
use crate::config::{Limits, Realtime};

/// The path that Socket.IO clients connect to unless they are told otherwise.
pub const PATH: &str = "/socket.io/";

/// The namespace.
const NAMESPACE: &str = "/graph";

/// Packets beside those of the room that may be queued for a socket: answers to what it asked, pings.
const OWN_PACKETS_MAX: usize = 64;

/// All the sockets there are.
#[derive(Clone)]
pub struct Sockets(SocketIo);

impl Sockets {
    /// Closes their transports, such that clients come back: a websocket ends, a poll that waits is answered with that.
    /// One whose client has stopped reading keeps this waiting for as long as its connection lasts.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

/// Serves sockets.
#[must_use]
pub fn service(hub: &Hub, realtime: &Realtime, limits: &Limits) -> (SocketIoService<NotFoundService>, Sockets) {
    let own_packets = limits.in_flight_per_session_max + OWN_PACKETS_MAX;
    let (service, io) = SocketIo::builder()
        .req_path(PATH)
        .ping_interval(realtime.ping_interval())
        .ping_timeout(realtime.ping_timeout())
        .connect_timeout(realtime.connect_timeout())
        .max_buffer_size(realtime.outgoing_packets_per_socket_max + own_packets)
        .max_payload(realtime.message_bytes_max as u64)
        .ws_max_message_size(realtime.message_bytes_max)
        .ws_max_frame_size(realtime.message_bytes_max)
        .build_svc();
    let edge = Edge {
        hub: hub.clone(),
        realtime: Arc::new(realtime.clone()),
    };
    let admitting = edge.clone();
    let admit = move |socket: SocketRef, auth: TryData<Auth>| {
        let edge = admitting.clone();
        async move { edge.admit(&socket, auth).await }
    };
    let connect = move |socket: SocketRef| {
        let edge = edge.clone();
        async move { edge.connect(socket).await }
    };
    io.ns(NAMESPACE, connect.with(admit));
    (service, Sockets(io))
}

/// What every handler holds.
#[derive(Clone)]
struct Edge {
    hub: Hub,
    realtime: Arc<Realtime>,
}

/// The payload of `session:resync`.
#[derive(Debug, Default, Deserialize)]
struct Resync {
    epoch: Option<String>,
    seq: Option<u64>,
    reason: Option<String>,
}

impl Edge {
    /// Decides whether a connection is let in, before the client is told that it is.
    async fn admit(&self, socket: &SocketRef, TryData(auth): TryData<Auth>) -> Result<(), Refused> {
        let auth = auth.unwrap_or_default().or_query(socket.req_parts().uri.query());
        let admitted = auth.admitted()?;
        let max = i64::try_from(self.realtime.connections_max).unwrap_or(i64::MAX);
        if self.hub.stats().members.get() >= max {
            return Err(Refused::Overloaded);
        }
        let session = match self.hub.snapshot(admitted.session_id).await {
            // A refusal would make the client stop for good. Its transport closes in a moment, and it comes back.
            Err(HubError::Draining) => std::future::pending().await,
            read => read?,
        };
        // Here the client can be told. Of two that come at once for the last seat, the room itself sends one away.
        if session.active_clients >= self.realtime.sockets_per_session_max {
            return Err(Refused::Overloaded);
        }
        socket.extensions.insert(admitted);
        Ok(())
    }

    /// Puts a socket that was let in into its room. The client may have been told so already: its own events come only
    /// after the sync that the room sends it first.
    async fn connect(&self, socket: SocketRef) {
        let Some(Admitted {
            session_id,
            client_id,
            position,
        }) = socket.extensions.get::<Admitted>()
        else {
            return;
        };
        let id = self.hub.next_member_id();
        let span = tracing::info_span!("socket", %session_id, %client_id, member = id.0);
        let peer = Arc::new(Peer::new(
            socket.clone(),
            self.hub.clone(),
            session_id,
            id,
            self.realtime.slow_consumer_retry(),
        ));
        self.listen(&socket, &peer);
        let hub = self.hub.clone();
        let leaving = span.clone();
        socket.on_disconnect(move |reason: DisconnectReason| {
            async move {
                tracing::debug!(reason = reason_word(reason), "socket gone");
                hub.leave(session_id, id, &reason_word(reason).into()).await;
            }
            .instrument(leaving)
        });
        let info = talus_actors::fan_out::MemberInfo { client_id, user: None };
        let member = Member {
            id,
            info,
            presence: peer.presence().clone(),
            socket: Arc::clone(&peer) as Arc<dyn RoomSocket>,
        };
        let joined = self
            .hub
            .join(session_id, member, position)
            .instrument(span.clone())
            .await;
        if let Err(error) = joined {
            // It was let in a moment ago. If the session is gone since, or its room is full, it must not come back; else
            // it may.
            span.in_scope(|| tracing::info!(%error, "socket could not join"));
            let refused = matches!(error, HubError::SessionNotFound(_) | HubError::RoomFull(_));
            peer.release(if refused {
                Release::SessionDeleted
            } else {
                Release::CloseTransport
            });
        } else if !socket.connected() {
            // It left while it was joining, and the room may not have known it then.
            self.hub.leave(session_id, id, &"transport_close".into()).await;
        }
    }

    /// Listens to what the client says. The listeners must not keep the socket alive, so they know it weakly.
    fn listen(&self, socket: &SocketRef, peer: &Arc<Peer>) {
        let peer = Arc::downgrade(peer);
        // Not async: what a client asks first is asked of the hub first. What it sent wrongly is what it did not send.
        socket.on("session:resync", move |TryData(request): TryData<Resync>| {
            if let Some(peer) = peer.upgrade() {
                peer.resync(read_resync(&request.unwrap_or_default()));
            }
            async {}
        });
    }
}

fn read_resync(request: &Resync) -> ResyncRequest {
    let position = admission::position(request.epoch.as_deref(), request.seq);
    let diverged = request.reason.as_deref() == Some(SyncReason::Divergence.as_str());
    ResyncRequest {
        position,
        reason: diverged.then_some(SyncReason::Divergence),
        now: now(),
    }
}

fn reason_word(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::TransportClose => "transport_close",
        DisconnectReason::TransportError => "transport_error",
        DisconnectReason::MultipleHttpPollingError => "multiple_polling",
        DisconnectReason::PacketParsingError => "malformed_packet",
        DisconnectReason::HeartbeatTimeout => "ping_timeout",
        DisconnectReason::ClientNSDisconnect => "client_disconnect",
        DisconnectReason::ServerNSDisconnect => "server_disconnect",
        DisconnectReason::ClosingServer => "server_closing",
    }
}
