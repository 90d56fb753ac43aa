//! The REST edge: extract, read, ask the hub, answer. Handlers know the [`Hub`](talus_actors::hub::Hub) and the wire
//! types, and nothing of actors.

mod body;
mod commands;
mod error;
pub(crate) mod health;
pub mod layers;
pub mod pages;
mod projects;
mod sessions;
mod state;
mod stream;
mod templates;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};

pub use error::ApiError;
pub use state::{AppState, Held};

pub(crate) use body::{JsonText, Params, SessionPath};
pub(crate) use error::{Answer, method_not_allowed, not_found};
pub(crate) use sessions::page_items;

/// The REST API and what operators look at, without the middleware that `layers` adds.
pub fn routes(state: AppState) -> Router {
    let api = Router::new()
        .route("/health", get(health::health))
        .route("/commands/execute", post(commands::execute))
        .route("/sessions", post(sessions::create).get(sessions::list))
        .route("/sessions/cleanup", post(sessions::cleanup))
        .route("/sessions/{session_id}", axum::routing::delete(sessions::delete))
        .route("/sessions/{session_id}/info", get(sessions::info))
        .route("/sessions/{session_id}/dirty", get(sessions::dirty))
        .route("/sessions/{session_id}/graph", get(sessions::graph))
        .route("/sessions/{session_id}/events", get(sessions::events))
        .route("/sessions/{session_id}/history", get(sessions::history))
        .route("/sessions/{session_id}/undo", post(commands::undo))
        .route("/sessions/{session_id}/redo", post(commands::redo))
        .route("/sessions/{session_id}/save", post(projects::save))
        .route("/sessions/{session_id}/load-graph", post(projects::load_graph))
        .route("/projects", post(projects::create).get(projects::list))
        .route("/projects/{project_id}", get(projects::show).delete(projects::delete))
        .route("/projects/{project_id}/open", post(projects::open))
        .route("/templates", get(templates::list))
        .route("/templates/{template_id}/schema", get(templates::schema));
    let pages_dir = &state.config.server.pages_dir;
    let pages = (!pages_dir.as_os_str().is_empty()).then(|| pages::pages(pages_dir));
    let routes = Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(error::method_not_allowed);
    let routes = match pages {
        Some(pages) => routes.fallback_service(pages),
        None => routes.fallback(error::not_found),
    };
    // The limit is held where bodies are read, with an answer of ours.
    routes.layer(DefaultBodyLimit::disable()).with_state(state)
}
