//! Page at `/` of a hub that serves no front end: states that the hub runs, with addresses for a browser.

use axum::{
    http::header,
    response::{Html, IntoResponse},
};

const PAGE: &str = include_str!("landing.html");

/// Forbids scripts, loads and framing. Links are relative, so that the page works below the sub-path of a proxy.
const POLICY: &str = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`
pub(super) async fn show() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE))
}
