//! REST edge: extracts and parses requests, calls the hub, and answers. Handlers use the
//! [`Hub`](talus_actors::hub::Hub) and the wire types, and have no access to actors.

mod commands;
mod confined;
mod idempotency;
mod landing;
pub mod pages;
mod projects;
mod sessions;
mod stream;
mod templates;

use axum::{
    Router,
    routing::{get, post},
};

use crate::http_kit::{AppState, health, method_not_allowed, not_found};

/// Builds the routes of the REST API and of the health checks, without the middleware that [`http_kit::layers`](crate::http_kit::layers) adds.
pub fn routes(state: AppState) -> Router {
    let routes = Router::new()
        .route(&api("/health"), get(health::health))
        .route(&api("/commands/execute"), post(commands::execute))
        .route(&api("/sessions"), post(sessions::create).get(sessions::list))
        .route(&api("/sessions/cleanup"), post(sessions::cleanup))
        .route(&api("/sessions/{session_id}"), axum::routing::delete(sessions::delete))
        .route(&api("/sessions/{session_id}/info"), get(sessions::info))
        .route(&api("/sessions/{session_id}/dirty"), get(sessions::dirty))
        .route(&api("/sessions/{session_id}/graph"), get(sessions::graph))
        .route(&api("/sessions/{session_id}/events"), get(sessions::events))
        .route(&api("/sessions/{session_id}/history"), get(sessions::history))
        .route(&api("/sessions/{session_id}/undo"), post(commands::undo))
        .route(&api("/sessions/{session_id}/redo"), post(commands::redo))
        .route(&api("/sessions/{session_id}/save"), post(projects::save))
        .route(&api("/sessions/{session_id}/load-graph"), post(projects::load_graph))
        .route(&api("/projects"), post(projects::create).get(projects::list))
        .route(
            &api("/projects/{project_id}"),
            get(projects::show).delete(projects::delete),
        )
        .route(&api("/projects/{project_id}/open"), post(projects::open))
        .route(&api("/templates"), get(templates::list))
        .route(&api("/templates/{template_id}/schema"), get(templates::schema))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(method_not_allowed);
    let pages_dir = &state.config.server.pages_dir;
    let pages = (!pages_dir.as_os_str().is_empty()).then(|| pages::pages(pages_dir));
    let routes = match pages {
        Some(pages) => routes.fallback_service(pages),
        None => routes.route("/", get(landing::show)).fallback(not_found),
    };
    routes.with_state(state)
}

/// Returns the full path of an API route. Paths are written out, since a nested router costs every request a layer.
fn api(path: &str) -> String {
    format!("/api/v1{path}")
}
