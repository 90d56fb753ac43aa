//! The Socket.IO edge: namespace `/graph`, a room for each session.
//!
//! A middleware admits connections, because only a middleware can refuse a connection such that the client sees the
//! reason. Delivery for a room go through `peer::Peer` and never through the rooms of the library: an error for a full
//! queue then names its socket.

mod ack;
mod admission;
mod commands;
mod joining;
mod memberships;
mod payload;
mod peer;
mod presence;
mod refusals;
mod resync;
mod sweep;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;

use socketioxide::{
    ParserConfig, SocketIo,
    extract::{SocketRef, TryData},
    handler::ConnectHandler,
    socket::DisconnectReason,
};
use talus_actors::{
    domain::ids::SessionId,
    hub::{Hub, HubError},
    session_actor::Position,
};

use self::{
    ack::Ack,
    memberships::{Membership, Memberships},
    payload::Payload,
    sweep::Sweeper,
};
use crate::{
    config::{Limits, Realtime},
    metrics::Metrics,
    permits::Permits,
    transport::MALFORMED_EVENT,
    wire::error::ApiError,
};

pub use self::{
    admission::{Admitted, Auth, Refused},
    transport::tell_errors,
};
pub use crate::transport::{PATH, Service};

/// Namespace of all sockets.
const NAMESPACE: &str = "/graph";

/// Packets of a socket's queue beyond the packets of its rooms: acknowledgements and pings.
const OWN_PACKETS_MAX: usize = 64;

/// Size of the read buffer of each websocket in bytes. The buffer lives as long as the websocket. Most messages are one
/// command, which is shorter. Longer messages take several reads.
const READ_BUFFER_BYTES: usize = 1024;

/// Handle for all sockets of the hub.
#[derive(Clone)]
pub struct Sockets {
    io: SocketIo,
    service: Service,
}

impl Sockets {
    /// Closes the transports of all sockets, such that clients reconnect: a websocket ends, and a waiting poll is
    /// answered with the end of its session. A client that has stopped reading delays the return until its connection
    /// ends.
    pub async fn close(&self) {
        // Before the library: the library tells clients that sessions are over, and some clients take that as an order
        // to stay away.
        self.service.close_websockets();
        self.io.close().await;
    }
}

/// Returns the service of the sockets, and the handle for them. The budget bounds the received bytes of incomplete
/// messages over all sockets.
#[must_use]
pub fn service(
    hub: &Hub,
    realtime: &Realtime,
    limits: &Limits,
    metrics: &Metrics,
    receiving: &Permits,
) -> (Service, Sockets) {
    let own_packets = limits.in_flight_per_session_max + OWN_PACKETS_MAX;
    let (service, io) = SocketIo::builder()
        .req_path(PATH)
        .ping_interval(realtime.ping_interval())
        .ping_timeout(realtime.ping_timeout())
        .connect_timeout(realtime.connect_timeout())
        .max_buffer_size(realtime.outgoing_packets_per_socket_max + own_packets)
        .max_payload(realtime.message_bytes_max as u64)
        .with_parser(ParserConfig::common().max_incoming_binary_buf_size(realtime.message_bytes_max))
        .ws_read_buffer_size(READ_BUFFER_BYTES)
        .ws_max_message_size(realtime.message_bytes_max)
        .ws_max_frame_size(realtime.message_bytes_max)
        .build_svc();
    let edge = Edge {
        hub: hub.clone(),
        realtime: Arc::new(realtime.clone()),
        metrics: metrics.clone(),
        connections: Permits::new(realtime.connections_max),
        answers_max: own_packets,
        sweeper: Sweeper::start(&io, hub, realtime.sweep_interval()),
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
    let service = Service::new(service, realtime, receiving, metrics);
    let sockets = Sockets {
        io,
        service: service.clone(),
    };
    (service, sockets)
}

/// State that all handlers share.
#[derive(Clone)]
struct Edge {
    hub: Hub,
    realtime: Arc<Realtime>,
    metrics: Metrics,
    /// Permits of connections, `realtime.connections_max` in all.
    connections: Permits,
    /// Number of acknowledgements that may wait for room in a socket's queue.
    answers_max: usize,
    /// Sweeps admitted sockets.
    sweeper: Sweeper,
}

impl Edge {
    /// Admits or refuses a connection before the client hears that it is connected. The handlers of an admitted socket
    /// are registered here, so that no event is missed that the client sends as soon as it is connected.
    async fn admit(&self, socket: &SocketRef, TryData(auth): TryData<Auth>) -> Result<(), Refused> {
        let auth = auth.unwrap_or_default().or_query(socket.req_parts().uri.query());
        let late_join = self.realtime.late_join;
        let Admitted {
            session_id,
            client_id,
            position,
            frames,
        } = auth.admitted(late_join)?;
        let permit = self.connections.try_acquire().ok_or(Refused::Overloaded)?;
        if let Some(session_id) = session_id {
            self.check_capacity(session_id).await?;
        }
        let memberships = Arc::new(Memberships::new(
            &self.hub,
            client_id,
            frames,
            &self.realtime,
            Permits::new(self.answers_max),
            permit,
        ));
        let membership = session_id.and_then(|session_id| memberships.add(session_id));
        self.listen(socket, &memberships);
        let first = membership.map(|membership| (membership, position));
        socket.extensions.insert(AdmittedSocket { memberships, first });
        Ok(())
    }

    /// Checks that a session exists and that its room has a free place, as far as that is known before the join.
    async fn check_capacity(&self, session_id: SessionId) -> Result<(), Refused> {
        let session = match self.hub.snapshot_for_join(session_id).await {
            // A refusal would stop the client's reconnects for good. The hub closes the transport soon, and the client
            // reconnects.
            Err(HubError::Draining) => std::future::pending().await,
            read => read?,
        };
        // The client sees a refusal only here. Of two sockets that connect at once for the last place, the room itself
        // disconnects one.
        if session.active_clients >= self.realtime.sockets_per_session_max {
            return Err(Refused::Overloaded);
        }
        Ok(())
    }

    /// Joins an admitted socket to its room. The client may know already that it is connected: events come only after
    /// the sync that the room sends first.
    async fn connect(&self, socket: SocketRef) {
        let Some(AdmittedSocket { memberships, first }) = socket.extensions.remove::<AdmittedSocket>() else {
            return;
        };
        self.sweeper.watch(socket.id, &memberships).await;
        let Some((membership, position)) = first else {
            return;
        };
        if let Err(error) = self.join_room(&socket, &memberships, &membership, position).await {
            // The socket was admitted a moment ago. The client must not reconnect if the session has been deleted since
            // or its room is full. After other errors it may.
            if matches!(error, HubError::SessionNotFound(_) | HubError::RoomFull(_)) {
                peer::disconnect(&socket);
            } else {
                peer::abort(&socket);
            }
        }
    }

    /// Registers the handlers of the client's events. The socket owns the handlers, which must not keep the socket
    /// alive: the handlers own the memberships, and memberships refer to the socket weakly. Handlers are not async, so
    /// that requests reach the hub in the order of the client.
    fn listen(&self, socket: &SocketRef, memberships: &Arc<Memberships>) {
        let (edge, owned) = (self.clone(), Arc::clone(memberships));
        socket.on(MALFORMED_EVENT, move |payload: Payload, ack: Ack| {
            edge.refuse_malformed(&owned, payload, ack)
        });
        let (edge, owned) = (self.clone(), Arc::clone(memberships));
        socket.on("command:execute", move |payload: Payload, ack: Ack| {
            edge.execute(&owned, payload, ack)
        });
        let (edge, owned) = (self.clone(), Arc::clone(memberships));
        socket.on("command:undo", move |payload: Payload, ack: Ack| {
            edge.undo(&owned, payload, ack)
        });
        let (edge, owned) = (self.clone(), Arc::clone(memberships));
        socket.on("command:redo", move |payload: Payload, ack: Ack| {
            edge.redo(&owned, payload, ack)
        });
        let (edge, owned) = (self.clone(), Arc::clone(memberships));
        socket.on("presence:update", move |payload: Payload, ack: Ack| {
            edge.update_presence(&owned, payload, ack)
        });
        let (edge, owned) = (self.clone(), Arc::clone(memberships));
        socket.on("join_session", move |socket: SocketRef, payload: Payload, ack: Ack| {
            edge.join_session(socket, &owned, payload, ack)
        });
        let (edge, owned) = (self.clone(), Arc::clone(memberships));
        socket.on("leave_session", move |payload: Payload, ack: Ack| {
            edge.leave_session(&owned, payload, ack)
        });
        let owned = Arc::clone(memberships);
        socket.on("session:resync", move |payload: Payload, ack: Ack| {
            resync::resync(&owned, payload, ack)
        });
        let owned = Arc::clone(memberships);
        socket.on_fallback(move |ack: Ack| unknown(&owned, ack));
        let (edge, owned) = (self.clone(), Arc::clone(memberships));
        socket.on_disconnect(move |reason: DisconnectReason| async move { edge.on_disconnect(&owned, reason).await });
    }
}

/// Answers an event with an unknown name. A client may wait for the acknowledgement before it sends anything else.
fn unknown(memberships: &Memberships, ack: Ack) -> impl Future<Output = ()> + use<> {
    let ack = ack.reserve(memberships);
    async move {
        if let Some(ack) = ack {
            let failure = ApiError::invalid_field("event", "the hub knows no event of that name");
            ack.send(Err::<(), _>(failure)).await;
        }
    }
}

/// Admitted socket that has not joined its first room yet.
#[derive(Clone)]
struct AdmittedSocket {
    memberships: Arc<Memberships>,
    first: Option<(Membership, Option<Position>)>,
}

fn reason_code(reason: DisconnectReason) -> &'static str {
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
