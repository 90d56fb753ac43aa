//! Endpoints for load balancers and monitoring.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{AppState, error::ApiResult};
use crate::{metrics, wire::error::internal};

/// `GET /api/v1/health`
pub(crate) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /healthz`: answers while the process serves requests.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: ready if new clients are accepted and the log takes their commands.
pub(crate) async fn ready(State(state): State<AppState>) -> Response {
    if state.stop.is_cancelled() || state.hub.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "draining" }))).into_response();
    }
    if let Some(reason) = state.hub.log_refusal_reason() {
        let body = json!({ "status": "log_refuses", "reason": reason });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    Json(json!({ "status": "ready" })).into_response()
}

/// `GET /metrics`
pub(crate) async fn metrics(State(state): State<AppState>) -> ApiResult<Response> {
    let receiving = &state.receiving;
    state.metrics.observe_receiving(receiving.in_use());
    let text = state.metrics.render().map_err(|error| internal(&error))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
