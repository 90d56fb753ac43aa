//! Web pages from a directory, at `/`, for a front end without a server of its own. Pages are the fallback after all
//! other routes, so the files of the directory never affect the API.

use std::{io, path::Path};

use axum::{
    Router,
    handler::HandlerWithoutStateExt,
    http::{HeaderName, HeaderValue, header},
    middleware::map_response,
    response::{IntoResponse, Response},
};
use tower_http::services::ServeDir;

use super::confined::Confined;
use crate::{
    http_kit::{ErrorResponse, not_found},
    wire::error::internal,
};

/// Permissions of pages: load from and connect to their own origin, which includes its websockets. Inline scripts are
/// forbidden, so text in a graph cannot become a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // Revalidated on each use, mostly with 304: a cached page must not be used with a newer API.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// Checks that the directory has a page.
///
/// # Errors
/// Returns an error if its index page cannot be read.
pub fn check_readable(dir: &Path) -> Result<(), String> {
    let index = dir.join("index.html");
    let readable = std::fs::File::open(&index).map(drop);
    readable.map_err(|error: io::Error| format!("{}: {error}", index.display()))
}

/// Serves the files of a directory. Links out of the directory and names that begin with a dot count as absent. A
/// missing file is answered as every unknown path.
pub fn pages(dir: &Path) -> Router {
    // The base path is empty, since [`Confined`] adds the directory.
    let files = ServeDir::with_backend("", Confined::to(dir))
        .call_fallback_on_method_not_allowed(true)
        .fallback(not_found.into_service());
    Router::new().fallback_service(files).layer(map_response(with_headers))
}

async fn with_headers(mut response: Response) -> Response {
    if response.status().is_server_error() {
        response = ErrorResponse(internal(&"a page could not be read")).into_response();
    }
    response.headers_mut().extend(HEADERS);
    response
}
