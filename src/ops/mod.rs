//! Operators' edge: the state of the actor tree, and operations on it. The edge has its own listener, since clients
//! must not reach it.

mod answer;
mod events;
mod faults;
mod sessions;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::http_kit::{AppState, health, method_not_allowed, not_found};

/// Builds the routes of the operators' API, without the middleware that [`http_kit::layers`](crate::http_kit::layers) adds.
pub fn routes(state: AppState) -> Router {
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
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state)
}

/// `POST /ops/drain`: stops the hub as a signal does. The answer is sent before the hub stops.
async fn drain(State(state): State<AppState>) -> (StatusCode, Json<Value>) {
    tracing::info!("drain requested by an operator");
    state.stop.cancel();
    (StatusCode::ACCEPTED, Json(json!({ "status": "draining" })))
}
