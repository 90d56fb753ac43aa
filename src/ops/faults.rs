//! Fault injection: disabled unless the configuration enables it.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};
use talus_actors::session_actor::Fault;

use crate::{
    http_kit::{
        ApiResult, AppState,
        body::{JsonText, SessionPath},
    },
    wire::{
        ErrorCode,
        error::ApiError,
        request::{read, required},
    },
};

/// Maximum delay of an append in milliseconds: longer than every timeout that a delayed append can reach.
const DELAY_MS_MAX: u64 = 600_000;

#[derive(Deserialize)]
struct FaultRequest {
    kind: Option<String>,
    ms: Option<u64>,
}

/// `POST /ops/sessions/{id}/fault`: injects one fault into the session's next command.
pub(super) async fn inject(
    State(state): State<AppState>,
    SessionPath(session_id): SessionPath,
    JsonText(text): JsonText,
) -> ApiResult<Json<Value>> {
    let request: FaultRequest = read("", &text)?;
    let kind = required("", "kind", request.kind)?;
    let fault = match kind.as_str() {
        "panic_supervisor" => {
            state.hub.inject_root_failure();
            return Ok(Json(json!({ "session_id": session_id, "kind": kind })));
        }
        "panic_decide" => Fault::PanicDecide,
        "panic_apply" => Fault::PanicApply,
        "panic_broadcast" => Fault::PanicBroadcast,
        "append_error" => Fault::AppendError,
        "append_conflict" => Fault::AppendConflict,
        "append_unknown" => Fault::AppendUnknown,
        "append_delay_ms" => Fault::AppendDelay(delay(request.ms)?),
        other => {
            let reason = format!(
                "{other:?} is not one of panic_decide, panic_apply, panic_broadcast, append_error, append_conflict, \
                 append_unknown, append_delay_ms, panic_supervisor"
            );
            return Err(ApiError::invalid_field("kind", reason).into());
        }
    };
    state.hub.inject(session_id, fault).await?;
    Ok(Json(json!({ "session_id": session_id, "kind": kind })))
}

fn delay(ms: Option<u64>) -> Result<Duration, ApiError> {
    let ms = required("", "ms", ms)?;
    if ms > DELAY_MS_MAX {
        return Err(ApiError::invalid_field(
            "ms",
            format!("{ms} is more than {DELAY_MS_MAX}"),
        ));
    }
    Ok(Duration::from_millis(ms))
}

/// Answers requests for fault injection while it is disabled.
pub(super) async fn switched_off() -> ApiResult<Json<Value>> {
    let message = "fault injection is switched off; ops.fault_injection switches it on";
    Err(ApiError::new(ErrorCode::NotFound, message).into())
}
