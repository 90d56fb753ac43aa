//! The operators' edge: the tree of actors as it lives, and the levers. On a listener of its own, since nothing here is
//! for clients.

mod answer;
mod events;
mod faults;
mod sessions;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::http::{
    self, AppState, health,
    layers::{Origins, check_origin},
};

/// The operators' API. Pages of foreign origins are refused: one that runs in an operator's browser reaches what listens
/// on his machine, and need not be able to read the answer to do harm.
pub fn routes(state: AppState) -> Router {
    let origins = Arc::new(Origins::new(&state.config.cors));
    let faults = if state.config.ops.fault_injection {
        post(faults::inject)
    } else {
        post(faults::switched_off)
    };
    Router::new()
        .route("/ops/actors", get(sessions::actors))
        .route("/ops/events", get(events::stream))
        .route("/ops/drain", post(drain))
        .route("/ops/sessions/{session_id}", get(sessions::show))
        .route("/ops/sessions/{session_id}/log", get(sessions::log))
        .route("/ops/sessions/{session_id}/restart", post(sessions::restart))
        .route("/ops/sessions/{session_id}/quarantine", post(sessions::quarantine))
        .route("/ops/sessions/{session_id}/release", post(sessions::release))
        .route("/ops/sessions/{session_id}/passivate", post(sessions::passivate))
        .route("/ops/sessions/{session_id}/fault", faults)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(http::not_found)
        .method_not_allowed_fallback(http::method_not_allowed)
        .layer(from_fn_with_state(origins, check_origin))
        .with_state(state)
}

/// `POST /ops/drain`: the same as a signal. The answer comes before the hub goes.
async fn drain(State(state): State<AppState>) -> (StatusCode, Json<Value>) {
    tracing::info!("an operator asked for a drain");
    state.stop.cancel();
    (StatusCode::ACCEPTED, Json(json!({ "status": "draining" })))
}
