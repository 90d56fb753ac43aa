//! The Socket.IO edge: namespace `/graph`, a room for each session.
//!
//! A connection is let in by a middleware, which alone can refuse it in a way that the client sees. What is sent to a
//! room goes through `peer::Peer`, never through the library's own rooms: a full queue then names its socket.

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
    admission::Gate,
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
    budget::ByteBudget,
    config::{Limits, Realtime},
    metrics::Metrics,
    transport::MALFORMED_EVENT,
    wire::error::ApiError,
};

pub use self::{
    admission::{Admitted, Auth, Refused},
    transport::tell_errors,
};
pub use crate::transport::{PATH, Service};

/// The namespace.
const NAMESPACE: &str = "/graph";

/// Packets beside those of the room that may be queued for a socket: answers to what it asked, pings.
const OWN_PACKETS_MAX: usize = 64;

/// Bytes that each websocket is read into at a time, kept for as long as it lasts. A command is less, which is what most
/// clients say at a time; a longer message is read in several goes.
const READ_BUFFER_BYTES: usize = 1024;

/// All the sockets there are.
#[derive(Clone)]
pub struct Sockets {
    io: SocketIo,
    service: Service,
}

impl Sockets {
    /// Closes their transports, such that clients come back: a websocket ends, a poll that waits is answered with that.
    /// One whose client has stopped reading keeps this waiting for as long as its connection lasts.
    pub async fn close(&self) {
        // First: the library says by itself that sessions are over, and some clients take that as an order to stay away.
        self.service.close_websockets();
        self.io.close().await;
    }
}

/// Serves sockets. The budget bounds what all of them together have received of messages that are not complete.
#[must_use]
pub fn service(
    hub: &Hub,
    realtime: &Realtime,
    limits: &Limits,
    metrics: &Metrics,
    receiving: &ByteBudget,
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
        connections: Gate::new(realtime.connections_max),
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

/// What every handler holds.
#[derive(Clone)]
struct Edge {
    hub: Hub,
    realtime: Arc<Realtime>,
    metrics: Metrics,
    /// Lets sockets in, up to their limit.
    connections: Gate,
    /// Answers that may wait for room in a socket's queue.
    answers_max: usize,
    /// Looks after those who are in.
    sweeper: Sweeper,
}

impl Edge {
    /// Decides whether a connection is let in, before the client is told that it is. One that is let in is listened to
    /// from here on: what it sends as soon as it hears of it must not be missed.
    async fn admit(&self, socket: &SocketRef, TryData(auth): TryData<Auth>) -> Result<(), Refused> {
        let auth = auth.unwrap_or_default().or_query(socket.req_parts().uri.query());
        let late_join = self.realtime.late_join;
        let Admitted {
            session_id,
            client_id,
            position,
            frames,
        } = auth.admitted(late_join)?;
        let permit = self.connections.try_enter().ok_or(Refused::Overloaded)?;
        if let Some(session_id) = session_id {
            self.has_room(session_id).await?;
        }
        let of = Arc::new(Memberships::new(
            &self.hub,
            client_id,
            frames,
            &self.realtime,
            Gate::new(self.answers_max),
            permit,
        ));
        let membership = session_id.and_then(|session_id| of.enter(session_id));
        self.listen(socket, &of);
        let first = membership.map(|membership| (membership, position));
        socket.extensions.insert(LetIn { of, first });
        Ok(())
    }

    /// Whether a session is there and has a seat, as far as can be told.
    async fn has_room(&self, session_id: SessionId) -> Result<(), Refused> {
        let session = match self.hub.snapshot_for_join(session_id).await {
            // A refusal would make the client stop for good. Its transport closes in a moment, and it comes back.
            Err(HubError::Draining) => std::future::pending().await,
            read => read?,
        };
        // Here the client can be told. Of two that come at once for the last seat, the room itself sends one away.
        if session.active_clients >= self.realtime.sockets_per_session_max {
            return Err(Refused::Overloaded);
        }
        Ok(())
    }

    /// Puts a socket that was let in into its room. The client may have been told so already: its own events come only
    /// after the sync that the room sends it first.
    async fn connect(&self, socket: SocketRef) {
        let Some(LetIn { of, first }) = socket.extensions.remove::<LetIn>() else {
            return;
        };
        self.sweeper.note(socket.id, &of).await;
        let Some((membership, position)) = first else {
            return;
        };
        if let Err(error) = self.sit(&socket, &of, &membership, position).await {
            // It was let in a moment ago. If the session is gone since, or its room is full, it must not come back; else
            // it may.
            if matches!(error, HubError::SessionNotFound(_) | HubError::RoomFull(_)) {
                peer::dismiss(&socket);
            } else {
                peer::abort(&socket);
            }
        }
    }

    /// Listens to what the client says. What listens is kept by the socket and must not keep it alive: it knows its
    /// sessions, which know it weakly. Nothing here is async: what a client asks first is asked of the hub first.
    fn listen(&self, socket: &SocketRef, of: &Arc<Memberships>) {
        let (edge, its) = (self.clone(), Arc::clone(of));
        socket.on(MALFORMED_EVENT, move |payload: Payload, ack: Ack| {
            edge.refuse_malformed(&its, payload, ack)
        });
        let (edge, its) = (self.clone(), Arc::clone(of));
        socket.on("command:execute", move |payload: Payload, ack: Ack| {
            edge.execute(&its, payload, ack)
        });
        let (edge, its) = (self.clone(), Arc::clone(of));
        socket.on("command:undo", move |payload: Payload, ack: Ack| {
            edge.undo(&its, payload, ack)
        });
        let (edge, its) = (self.clone(), Arc::clone(of));
        socket.on("command:redo", move |payload: Payload, ack: Ack| {
            edge.redo(&its, payload, ack)
        });
        let (edge, its) = (self.clone(), Arc::clone(of));
        socket.on("presence:update", move |payload: Payload, ack: Ack| {
            edge.update_presence(&its, payload, ack)
        });
        let (edge, its) = (self.clone(), Arc::clone(of));
        socket.on("join_session", move |socket: SocketRef, payload: Payload, ack: Ack| {
            edge.join_session(socket, &its, payload, ack)
        });
        let (edge, its) = (self.clone(), Arc::clone(of));
        socket.on("leave_session", move |payload: Payload, ack: Ack| {
            edge.leave_session(&its, payload, ack)
        });
        let its = Arc::clone(of);
        socket.on("session:resync", move |payload: Payload, ack: Ack| {
            resync::resync(&its, payload, ack)
        });
        let its = Arc::clone(of);
        socket.on_fallback(move |ack: Ack| unknown(&its, ack));
        let (edge, its) = (self.clone(), Arc::clone(of));
        socket.on_disconnect(move |reason: DisconnectReason| async move { edge.gone(&its, reason).await });
    }
}

/// An event of a name that means nothing here. A client that waits for an answer to it, and perhaps sends nothing else
/// until then, is told.
fn unknown(of: &Memberships, ack: Ack) -> impl Future<Output = ()> + use<> {
    let ack = ack.place(of);
    async move {
        if let Some(ack) = ack {
            let failure = ApiError::invalid_field("event", "the hub knows no event of that name");
            ack.answer(Err::<(), _>(failure)).await;
        }
    }
}

/// A socket that was let in, between that and its first seat.
#[derive(Clone)]
struct LetIn {
    of: Arc<Memberships>,
    first: Option<(Membership, Option<Position>)>,
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
