//! Joins and leaves of sessions: with the connection, or later over it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use socketioxide::{extract::SocketRef, socket::DisconnectReason};
use talus_actors::{
    domain::ids::{ClientId, SessionId},
    fan_out::{Member, MemberInfo, RoomSocket},
    hub::{Hub, HubError},
    session_actor::Position,
};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::{
    Edge,
    ack::{Ack, ReservedAck},
    admission,
    memberships::{Membership, Memberships},
    payload::Payload,
    peer::{Connection, Peer},
    reason_code,
};
use crate::wire::{
    ErrorCode,
    error::ApiError,
    request::{id, read, required},
};

/// Reason in `session:disconnected` for a socket that left a session and stays connected.
const LEFT: &str = "left_session";

/// Payload of `join_session` and `leave_session`.
#[derive(Deserialize)]
struct JoinRequest {
    session_id: Option<String>,
    epoch: Option<String>,
    seq: Option<u64>,
}

/// Session of a join, with the new membership and the client's last position. The pair is `None` if the socket is a
/// member already.
type JoinedSession = (SessionId, Option<(Membership, Option<Position>)>);

/// Acknowledgement of `join_session` and `leave_session`.
#[derive(Serialize)]
struct JoinAnswer {
    success: bool,
    session_id: SessionId,
    client_id: ClientId,
}

impl JoinAnswer {
    fn new(session_id: SessionId, memberships: &Memberships) -> Self {
        Self {
            success: true,
            session_id,
            client_id: memberships.client_id.clone(),
        }
    }
}

impl Edge {
    /// Handles `join_session`: joins a connected socket to one more session. A second join of the same session has no
    /// effect.
    pub(super) fn join_session(
        &self,
        socket: SocketRef,
        memberships: &Arc<Memberships>,
        payload: Payload,
        ack: Ack,
    ) -> impl Future<Output = ()> + use<> {
        let (edge, owned) = (self.clone(), Arc::clone(memberships));
        let request = ack.reserve(memberships).map(|ack| {
            // Later events of the client may name the session, so the membership exists before this handler returns.
            let joined = self.begin_join(memberships, payload).map(|(session_id, entered)| {
                run_join(memberships, async move {
                    if let Some((membership, position)) = entered {
                        edge.join_room(&socket, &owned, &membership, position).await?;
                    }
                    Ok(JoinAnswer::new(session_id, &owned))
                })
            });
            (ack, joined)
        });
        acknowledge(request)
    }

    /// Handles `leave_session`: removes a socket from a session and keeps the connection. A leave without membership is
    /// no error.
    pub(super) fn leave_session(
        &self,
        memberships: &Arc<Memberships>,
        payload: Payload,
        ack: Ack,
    ) -> impl Future<Output = ()> + use<> {
        let (hub, owned) = (self.hub.clone(), Arc::clone(memberships));
        let request = ack.reserve(memberships).map(|ack| {
            let wanted = require_late_join(memberships).and_then(|()| read_join(payload));
            let left = wanted.map(|(session_id, _)| {
                let membership = memberships.leave(session_id);
                run_join(memberships, async move {
                    if let Some(Membership { session_id, member, .. }) = membership {
                        hub.leave(session_id, member, &LEFT.into()).await;
                    }
                    Ok(JoinAnswer::new(session_id, &owned))
                })
            });
            (ack, left)
        });
        acknowledge(request)
    }

    fn begin_join(&self, memberships: &Memberships, payload: Payload) -> Result<JoinedSession, ApiError> {
        require_late_join(memberships)?;
        let (session_id, position) = read_join(payload)?;
        let max = self.realtime.sessions_per_socket_max;
        if memberships.len() >= max && !memberships.contains_session(session_id) {
            let message = format!("the socket is in {max} sessions, as many as it may be in");
            return Err(ApiError::new(ErrorCode::LimitExceeded, message)
                .with("limit", "sessions_per_socket_max")
                .with("max", max));
        }
        let membership = memberships.add(session_id);
        Ok((session_id, membership.map(|membership| (membership, position))))
    }

    /// Joins a socket to a session's room. The socket gets a sync, then all events.
    pub(super) async fn join_room(
        &self,
        socket: &SocketRef,
        memberships: &Arc<Memberships>,
        membership: &Membership,
        position: Option<Position>,
    ) -> Result<(), HubError> {
        let &Membership { session_id, member, .. } = membership;
        let client_id = memberships.client_id.clone();
        let span = tracing::info_span!("socket", %session_id, %client_id, member = member.0);
        let retry = self.realtime.slow_consumer_retry();
        let peer = Arc::new(Peer::new(
            socket.clone(),
            self.hub.clone(),
            Arc::clone(memberships) as Arc<dyn Connection>,
            memberships.late_join,
            (session_id, member),
            retry,
        ));
        memberships.attach_peer(member, &peer);
        let member = Member {
            id: member,
            info: MemberInfo { client_id, user: None },
            presence: membership.presence.clone(),
            frames: memberships.frames,
            socket: peer as Arc<dyn RoomSocket>,
        };
        let id = member.id;
        let joined = self.hub.join(session_id, member, position);
        if let Err(error) = joined.instrument(span.clone()).await {
            span.in_scope(|| tracing::debug!(%error, "socket could not join"));
            match error {
                HubError::Quarantined { .. } => memberships.remove_quarantined(session_id, id),
                _ => memberships.remove(session_id, id),
            }
            return Err(error);
        }
        // The socket may have disconnected or left before the room knew it. The join is undone then.
        if memberships.is_disconnected() {
            self.hub.leave(session_id, id, &"transport_close".into()).await;
        } else if !memberships.contains_member(id) {
            self.hub.leave(session_id, id, &LEFT.into()).await;
        }
        Ok(())
    }

    /// Removes a disconnected socket from all its sessions.
    pub(super) async fn on_disconnect(&self, memberships: &Memberships, reason: DisconnectReason) {
        memberships.mark_disconnected();
        leave_all(&self.hub, memberships.all(), reason_code(reason)).await;
    }
}

/// Leaves the rooms of several sessions concurrently, so that no room waits for another.
pub(super) async fn leave_all(hub: &Hub, members: Vec<Membership>, word: &str) {
    let leaving = members.into_iter().map(|membership| async move {
        let Membership { session_id, member, .. } = membership;
        tracing::debug!(%session_id, member = member.0, reason = word, "socket left the session");
        hub.leave(session_id, member, &word.into()).await;
    });
    futures_util::future::join_all(leaving).await;
}

/// Result of a task that runs after the earlier tasks of its socket.
type JoinReceiver = oneshot::Receiver<Result<JoinAnswer, HubError>>;

fn run_join(
    memberships: &Memberships,
    work: impl Future<Output = Result<JoinAnswer, HubError>> + Send + 'static,
) -> JoinReceiver {
    let (sender, outcome) = oneshot::channel();
    memberships.run_serially(async move {
        // A disconnected client needs no answer.
        let _ = sender.send(work.await);
    });
    outcome
}

async fn acknowledge(request: Option<(ReservedAck, Result<JoinReceiver, ApiError>)>) {
    let Some((ack, request)) = request else { return };
    let answer = match request {
        Ok(outcome) => outcome
            .await
            .unwrap_or(Err(HubError::OutcomeUnknown))
            .map_err(ApiError::from),
        Err(failure) => Err(failure),
    };
    ack.send(answer).await;
}

fn require_late_join(memberships: &Memberships) -> Result<(), ApiError> {
    if memberships.late_join {
        return Ok(());
    }
    let message = "sessions are joined with the connection: realtime.late_join is switched off";
    Err(ApiError::new(ErrorCode::InvalidRequest, message))
}

fn read_join(payload: Payload) -> Result<(SessionId, Option<Position>), ApiError> {
    let request: JoinRequest = read("", &payload.text()?)?;
    let session_id = required("", "session_id", request.session_id)?;
    let session_id = id("", "session_id", &session_id)?;
    Ok((session_id, admission::position(request.epoch.as_deref(), request.seq)))
}
