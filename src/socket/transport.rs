//! Errors of the transport below Socket.IO, in the contract's shape.
//!
//! Engine.IO clients read `code`, a number, and `message`. All other clients of the hub read `error`. The body has
//! both.

use axum::{
    Json,
    body::to_bytes,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::wire::{ErrorCode, error::ApiError};

/// Upper bound of the library's error bodies, in bytes.
const BODY_BYTES_MAX: usize = 4_096;

/// Engine.IO code of a bad request without a more specific code.
const BAD_REQUEST: u64 = 3;

/// Rewrites error responses of the library into the contract's shape. Other responses pass unchanged.
pub async fn tell_errors(response: Response) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let original = to_bytes(response.into_body(), BODY_BYTES_MAX).await;
    let original: Value = original
        .ok()
        .and_then(|original| serde_json::from_slice(&original).ok())
        .unwrap_or_default();
    // Errors of the hub have that shape already.
    if original["error"].is_object() {
        return (status, Json(original)).into_response();
    }
    (status, Json(body(status, &original))).into_response()
}

fn body(status: StatusCode, original: &Value) -> Value {
    let code = original["code"].as_str().and_then(|code| code.parse().ok());
    let code = code.unwrap_or(BAD_REQUEST);
    let message = original["message"].as_str().unwrap_or("Bad request");
    let failure = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(ErrorCode::PayloadTooLarge, "a message is longer than allowed"),
        status if status.is_server_error() => ApiError::new(ErrorCode::InternalError, "the transport failed"),
        _ => match code {
            0 => ApiError::invalid_field("transport", "must be polling or websocket"),
            1 => ApiError::invalid_field("sid", "no connection has this id, or not any more"),
            2 => ApiError::new(ErrorCode::InvalidRequest, "a connection begins with GET"),
            5 => ApiError::invalid_field("EIO", "must be 4, the version of the protocol"),
            _ => ApiError::new(ErrorCode::InvalidRequest, message.to_owned()),
        },
    };
    let mut body = failure.body();
    body["code"] = json!(code);
    body["message"] = json!(message);
    body
}
