//! Kit of the edges that speak HTTP (`http`, `ops`): the shared state of handlers, extractors, error answers, health
//! checks, the layers of each request, and answers of bounded memory. The kit may use the hub, the wire, the listener
//! and the floors below them, and imports no edge.

pub mod access;
pub(crate) mod body;
mod compression;
mod error;
pub(crate) mod health;
pub mod layers;
pub(crate) mod reading;
mod request_id;
pub(crate) mod sse;
mod state;
mod web_origin;

pub use compression::Compression;
pub use error::ErrorResponse;
pub use reading::Reading;
pub use state::{AppContext, AppState};

pub(crate) use compression::is_zero_weight;
pub(crate) use error::{ApiResult, method_not_allowed, not_found};
