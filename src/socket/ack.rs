//! Acknowledgements that survive a queue full of events: a client that was promised an acknowledgement waits for it.
//!
//! Each request reserves one of a bounded number of acknowledgements, and is acknowledged as soon as the queue has
//! room. A request without a reservation is not executed. The client is [refused](super::refusals) instead, and the
//! refusal waits for room too.

use std::{convert::Infallible, sync::Arc, time::Duration};

use crate::permits::Permit;
use serde::Serialize;
use serde_json::{Value, json};
use socketioxide::{adapter::LocalAdapter, handler::FromMessageParts, socket::Socket};

use super::{memberships::Memberships, refusals::try_send_ack};
use crate::wire::{ErrorCode, error::ApiError};

/// Attempts to send to a full queue. Each delay is twice the one before, at most 32 times the first: about an hour with
/// the first delay of 50 ms. A socket that takes nothing for an hour has long been closed.
const ATTEMPTS_MAX: u32 = 2_000;

/// Acknowledgement that a client may have requested.
pub(super) struct Ack {
    socket: Arc<Socket>,
    id: Option<i64>,
}

/// Acknowledgement with its reservation.
pub(super) struct ReservedAck {
    ack: Ack,
    wait: Duration,
    _permit: Option<Permit>,
}

impl FromMessageParts<LocalAdapter> for Ack {
    type Error = Infallible;

    fn from_message_parts(
        socket: &Arc<Socket>,
        _: &mut socketioxide_core::Value,
        id: &Option<i64>,
    ) -> Result<Self, Infallible> {
        Ok(Self {
            socket: Arc::clone(socket),
            id: *id,
        })
    }
}

impl Ack {
    /// Reserves an acknowledgement. Without a free reservation, the client is refused if it requested an
    /// acknowledgement.
    pub(super) fn reserve(self, memberships: &Memberships) -> Option<ReservedAck> {
        let permit = memberships.answers.try_acquire();
        if permit.is_none() {
            if let Some(id) = self.id {
                let body = error_body(&overloaded(memberships.answers.max()));
                memberships.refusals.refuse(&self.socket, id, body, memberships.retry);
            }
            return None;
        }
        Some(ReservedAck {
            ack: self,
            wait: memberships.retry,
            _permit: permit,
        })
    }

    /// Reserves an acknowledgement if the client requested one. Requests without an acknowledgement need no
    /// reservation.
    pub(super) fn reserve_if_requested(self, memberships: &Memberships) -> Option<ReservedAck> {
        if self.id.is_some() {
            return self.reserve(memberships);
        }
        Some(ReservedAck {
            ack: self,
            wait: memberships.retry,
            _permit: None,
        })
    }
}

impl ReservedAck {
    /// Sends the acknowledgement if the client requested one, and waits until the queue has room.
    pub(super) async fn send(self, answer: Result<impl Serialize, ApiError>) {
        let Some(id) = self.ack.id else { return };
        let body = answer.map_or_else(|failure| error_body(&failure), |answer| json!(answer));
        for attempt in 0..ATTEMPTS_MAX {
            if try_send_ack(&self.ack.socket, id, &body) {
                return;
            }
            tokio::time::sleep(self.wait * (1 << attempt.min(5))).await;
        }
    }
}

fn overloaded(max: usize) -> ApiError {
    let message = format!("{max} answers wait for this socket, as many as may");
    ApiError::new(ErrorCode::Overloaded, message)
        .with("limit", "in_flight_per_session_max")
        .with("max", max)
}

fn error_body(failure: &ApiError) -> Value {
    let mut body = failure.body();
    body["success"] = json!(false);
    body
}
