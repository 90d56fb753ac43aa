//! Web pages from a directory, at `/`: a front end that needs no server of its own. They are what a path leads to that
//! nothing else has, so the API never depends on what lies in that directory.

use std::{io, path::Path};

use axum::{
    Router,
    handler::HandlerWithoutStateExt,
    http::{HeaderName, HeaderValue, header},
    middleware::map_response,
    response::{IntoResponse, Response},
};
use tower_http::services::ServeDir;

use super::{ApiError, confined::Confined, error::not_found};
use crate::wire::error::internal;

/// What pages may do: load and connect to what is of their own origin, which includes its websockets, and nothing else.
/// Nothing inline runs, so text that somebody puts into a graph cannot become a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // Asked for anew each time, and answered with 304 as a rule: a page of yesterday must not meet an API of today.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// Whether there are pages in the directory.
///
/// # Errors
/// If it cannot be read.
pub fn check_readable(dir: &Path) -> Result<(), String> {
    let index = dir.join("index.html");
    let readable = std::fs::File::open(&index).map(drop);
    readable.map_err(|error: io::Error| format!("{}: {error}", index.display()))
}

/// Serves the files of a directory but what a link leads out to and what begins with a dot, and what is not there as every other path that leads nowhere.
pub fn pages(dir: &Path) -> Router {
    // The path of each file begins where the directory does.
    let files = ServeDir::with_backend("", Confined::to(dir))
        .call_fallback_on_method_not_allowed(true)
        .fallback(not_found.into_service());
    Router::new().fallback_service(files).layer(map_response(with_headers))
}

async fn with_headers(mut response: Response) -> Response {
    if response.status().is_server_error() {
        response = ApiError(internal(&"a page could not be read")).into_response();
    }
    response.headers_mut().extend(HEADERS);
    response
}
