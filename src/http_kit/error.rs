//! Errors as HTTP answers. Every error answer has a JSON body, in every part of the server.

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use talus_actors::hub::HubError;

use crate::wire::{ErrorCode, error::ApiError};

/// Error answer of a request.
#[derive(Debug)]
pub struct ErrorResponse(pub ApiError);

/// Result of a handler.
pub(crate) type ApiResult<T> = Result<T, ErrorResponse>;

impl From<ApiError> for ErrorResponse {
    fn from(failure: ApiError) -> Self {
        Self(failure)
    }
}

impl From<HubError> for ErrorResponse {
    fn from(error: HubError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0.body())).into_response();
        if self.0.details.contains_key("content_encoding") {
            let identity = HeaderValue::from_static("identity");
            response.headers_mut().insert(header::ACCEPT_ENCODING, identity);
        }
        if let Some(seconds) = self.0.retry_after_s() {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub(crate) async fn not_found(uri: Uri) -> ErrorResponse {
    ErrorResponse(ApiError::new(
        ErrorCode::NotFound,
        format!("there is nothing at {}", uri.path()),
    ))
}

pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> ErrorResponse {
    ErrorResponse(ApiError::new(
        ErrorCode::MethodNotAllowed,
        format!("{method} is not for {}", uri.path()),
    ))
}
