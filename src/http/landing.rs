//! The page at `/` of a hub that serves no front end: that the hub runs, and addresses that a browser can open.

use axum::{
    http::header,
    response::{Html, IntoResponse},
};

const PAGE: &str = include_str!("landing.html");

/// Nothing runs, nothing is loaded, nobody frames it. Links are relative, so that it works below a proxy's sub-path.
const POLICY: &str = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`
pub(super) async fn show() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE))
}
