//! Requests of clients for the current position of their session: `session:resync`.

use serde::Deserialize;
use serde_json::json;
use talus_actors::{clock::now, domain::ids::SessionId, fan_out::SyncReason, session_actor::ResyncRequest};

use super::{ack::Ack, admission, memberships::Memberships, payload::Payload};
use crate::wire::{
    error::ApiError,
    request::{id, read},
};

/// Payload of `session:resync`.
#[derive(Deserialize)]
struct Resync {
    session_id: Option<String>,
    epoch: Option<String>,
    seq: Option<u64>,
    reason: Option<String>,
}

/// Requests a sync, which arrives as a packet of its own. The acknowledgement only promises the sync.
pub(super) fn resync(memberships: &Memberships, payload: Payload, ack: Ack) -> impl Future<Output = ()> + use<> {
    let request = ack
        .reserve_if_requested(memberships)
        .map(|ack| (ack, request_sync(memberships, payload)));
    async move {
        if let Some((ack, request)) = request {
            ack.send(request.map(|()| json!({ "success": true }))).await;
        }
    }
}

fn request_sync(memberships: &Memberships, payload: Payload) -> Result<(), ApiError> {
    let (session_id, request) = read_resync(&payload.text()?)?;
    // A socket that has not joined the room yet gets a sync with the join.
    if let Some(peer) = memberships.resolve(session_id)?.peer() {
        peer.resync(request);
    }
    Ok(())
}

fn read_resync(text: &str) -> Result<(Option<SessionId>, ResyncRequest), ApiError> {
    let Resync {
        session_id,
        epoch,
        seq,
        reason,
    } = read("", text)?;
    let session_id = session_id.map(|text| id("", "session_id", &text)).transpose()?;
    let diverged = reason.as_deref() == Some(SyncReason::Divergence.as_str());
    let request = ResyncRequest {
        position: admission::position(epoch.as_deref(), seq),
        reason: diverged.then_some(SyncReason::Divergence),
        now: now(),
    };
    Ok((session_id, request))
}
