//! Presence of clients: the state that a client publishes, such as its cursor or selection.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use talus_actors::{
    domain::{
        ids::SessionId,
        limits::{LimitExceeded, check_depth},
        rejection::Rejection,
        value::Value,
    },
    fan_out::PresenceState,
};

use super::{Edge, ack::Ack, memberships::Memberships, payload::Payload};
use crate::wire::{
    error::ApiError,
    request::{id, nullable, read, required},
};

/// Payload of `presence:update`.
#[derive(Deserialize)]
struct UpdateRequest {
    session_id: Option<String>,
    /// Null clears the state.
    #[serde(default, deserialize_with = "nullable")]
    state: Option<Option<Value>>,
}

impl Edge {
    /// Handles `presence:update`. The new state replaces the old one before the function returns, even if no member has
    /// seen the old one.
    pub(super) fn update_presence(
        &self,
        memberships: &Memberships,
        payload: Payload,
        ack: Ack,
    ) -> impl Future<Output = ()> + use<> {
        // Frequent updates come without an acknowledgement, and only the latest state counts: waiting acknowledgements
        // do not delay them.
        let bytes_max = self.realtime.presence_state_bytes_max;
        let update = ack.reserve_if_requested(memberships).map(|ack| {
            let update = payload.text().and_then(|text| {
                let (session_id, state) = read_update(&text, bytes_max)?;
                let membership = memberships.resolve(session_id)?;
                if membership.presence.set(state) {
                    self.hub.presence_changed(membership.session_id, membership.member);
                }
                Ok(json!({ "success": true }))
            });
            (ack, update)
        });
        async move {
            if let Some((ack, update)) = update {
                ack.send(update).await;
            }
        }
    }
}

fn read_update(text: &str, bytes_max: usize) -> Result<(Option<SessionId>, Option<PresenceState>), ApiError> {
    let request: UpdateRequest = read("", text)?;
    let session_id = request.session_id.map(|text| id("", "session_id", &text)).transpose()?;
    let state = required("", "state", request.state)?;
    let state = state.map(|state| encode(&state, bytes_max)).transpose()?;
    Ok((session_id, state))
}

/// Encodes a state for the other members, within the limits on depth and bytes.
fn encode(state: &Value, bytes_max: usize) -> Result<PresenceState, ApiError> {
    let limit_exceeded = |exceeded| ApiError::from(&Rejection::LimitExceeded(exceeded));
    check_depth(state).map_err(limit_exceeded)?;
    let text = serde_json::value::to_raw_value(state).map_err(|error| ApiError::invalid_field("state", error))?;
    let found = text.get().len();
    if found > bytes_max {
        return Err(limit_exceeded(LimitExceeded {
            limit: "presence_state_bytes_max",
            max: bytes_max,
            found,
        }));
    }
    Ok(Arc::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ErrorCode;

    #[test]
    fn presence_state_accepts_json_within_limits() {
        let state = |text: &str| {
            let (_, state) = read_update(text, 20).expect("it can be read");
            state.map(|state| state.get().to_owned())
        };
        assert_eq!(state(r#"{"state": {"at": 1.50}}"#).as_deref(), Some(r#"{"at":1.50}"#));
        assert_eq!(state(r#"{"state": [ ]}"#).as_deref(), Some("[]"));
        assert_eq!(state(r#"{"state": null}"#), None);
        assert_eq!(
            state(r#"{"state": "0123456789abcdefgh"}"#).map(|text| text.len()),
            Some(20)
        );
    }

    #[test]
    fn presence_update_errors_name_the_cause() {
        let deep = format!(r#"{{"state": {}1{}}}"#, "[".repeat(65), "]".repeat(65));
        let deeper = format!(r#"{{"state": {}1{}}}"#, "[".repeat(500), "]".repeat(500));
        for (text, code, detail, value) in [
            ("{}", ErrorCode::InvalidRequest, "field", json!("state")),
            (
                r#"{"state": 1, "session_id": "x"}"#,
                ErrorCode::InvalidRequest,
                "field",
                json!("session_id"),
            ),
            (
                r#"{"state": 1, "session_id": 7}"#,
                ErrorCode::InvalidRequest,
                "field",
                json!("session_id"),
            ),
            ("7", ErrorCode::InvalidRequest, "field", json!("body")),
            ("[1]", ErrorCode::InvalidRequest, "field", json!("body")),
            (
                r#"{"state": "0123456789abcdefghi"}"#,
                ErrorCode::LimitExceeded,
                "max",
                json!(20),
            ),
            (&deep, ErrorCode::LimitExceeded, "limit", json!("value_depth_max")),
            (&deeper, ErrorCode::LimitExceeded, "limit", json!("value_depth_max")),
        ] {
            let failure = read_update(text, 20).map(drop).expect_err(text);
            assert_eq!(
                (failure.code, failure.details.get(detail)),
                (code, Some(&value)),
                "{text}"
            );
        }
    }
}
