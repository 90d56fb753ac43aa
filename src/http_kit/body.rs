//! Extractors for the parts of a request, with errors in the format of the protocol.

use std::{collections::BTreeMap, convert::Infallible};

use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{header, request::Parts},
};
use futures_util::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use talus_actors::domain::{
    command::Author,
    ids::{ClientId, IdError, SessionId},
};

use super::{AppState, ErrorResponse};
use crate::wire::{ErrorCode, error::ApiError, request::read};

/// Header in which a client without a socket sends its client id.
const CLIENT_ID_HEADER: &str = "x-client-id";

/// JSON body as text. Malformed encodings, other media types and bodies over the limit are refused.
pub(crate) struct JsonText(pub(crate) String);

impl FromRequest<AppState> for JsonText {
    type Rejection = ErrorResponse;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ErrorResponse> {
        let bytes = JsonBytes::from_request(request, state).await?.0;
        let text = String::from_utf8(bytes.into());
        Ok(Self(text.map_err(|_| {
            ApiError::new(ErrorCode::InvalidRequest, "malformed JSON: the body is not UTF-8")
        })?))
    }
}

/// JSON body of a graph that is loaded, as bytes. Its limit admits every graph that `GET …/graph` returns.
pub(crate) struct GraphBytes(pub(crate) Bytes);

impl FromRequest<AppState> for GraphBytes {
    type Rejection = ErrorResponse;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ErrorResponse> {
        check_encoding(&request)?;
        check_media_type(&request)?;
        let max = ("graph_bytes_max", state.config.limits.graph_bytes_max);
        Ok(Self(read_bytes(request, max).await?))
    }
}

/// JSON body as bytes.
struct JsonBytes(Bytes);

impl FromRequest<AppState> for JsonBytes {
    type Rejection = ErrorResponse;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ErrorResponse> {
        check_encoding(&request)?;
        check_media_type(&request)?;
        Ok(Self(read_bytes(request, body_bytes_max(state)).await?))
    }
}

/// JSON body that may be absent. An absent body reads as `{}`.
pub(crate) struct OptionalJsonText(pub(crate) String);

impl FromRequest<AppState> for OptionalJsonText {
    type Rejection = ErrorResponse;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ErrorResponse> {
        check_encoding(&request)?;
        let typed = check_media_type(&request);
        let bytes = read_bytes(request, body_bytes_max(state)).await?;
        if bytes.is_empty() {
            return Ok(Self("{}".to_owned()));
        }
        typed?;
        let text = String::from_utf8(bytes.into());
        Ok(Self(text.map_err(|_| {
            ApiError::new(ErrorCode::InvalidRequest, "malformed JSON: the body is not UTF-8")
        })?))
    }
}

/// Body without expected fields: absent, or any JSON object.
pub(crate) struct NoFields;

impl FromRequest<AppState> for NoFields {
    type Rejection = ErrorResponse;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ErrorResponse> {
        let OptionalJsonText(text) = OptionalJsonText::from_request(request, state).await?;
        let _: BTreeMap<String, IgnoredAny> = read("", &text)?;
        Ok(Self)
    }
}

/// Limit of most bodies, with its name.
fn body_bytes_max(state: &AppState) -> (&'static str, usize) {
    ("body_bytes_max", state.config.server.body_bytes_max)
}

/// Refuses encoded bodies: a few encoded bytes can expand to very many. The type of `headers` finds a coding by its name
/// and does not list the codings.
fn check_encoding(request: &Request) -> Result<(), ApiError> {
    let mut values = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let encoded = values.find(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    encoded.map_or(Ok(()), |encoding| {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        let message = format!("the body must not be encoded, and is {encoding:?}");
        Err(ApiError::new(ErrorCode::UnsupportedMediaType, message).with("content_encoding", encoding))
    })
}

/// Checks the type and the subtype. The parser of `headers` refuses a blank before a parameter, which RFC 9110, section
/// 5.6.6, allows.
fn check_media_type(request: &Request) -> Result<(), ApiError> {
    let media_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    if json {
        return Ok(());
    }
    let message = format!("the body must be application/json, not {media_type:?}");
    Err(ApiError::new(ErrorCode::UnsupportedMediaType, message))
}

async fn read_bytes(request: Request, (limit, max): (&'static str, usize)) -> Result<Bytes, ApiError> {
    let body = request.into_body();
    // The listener reads the rest of the body, or closes the connection, after the answer.
    let too_large = || {
        ApiError::new(
            ErrorCode::PayloadTooLarge,
            format!("the body is larger than {max} bytes"),
        )
        .with("limit", limit)
        .with("max", max)
    };
    if HttpBody::size_hint(&body).lower() > max as u64 {
        return Err(too_large());
    }
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let ended = |_| ApiError::new(ErrorCode::InvalidRequest, "the body ended before it was complete");
        bytes.extend_from_slice(&chunk.map_err(ended)?);
        if bytes.len() > max {
            return Err(too_large());
        }
    }
    Ok(bytes.into())
}

/// Query parameters, with errors that name their parameter.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for Params<T> {
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ErrorResponse> {
        let read = Query::<T>::from_request_parts(parts, state).await;
        let Query(params) = read.map_err(|rejection| parameter_failure(&rejection.body_text()))?;
        Ok(Self(params))
    }
}

/// Converts the extractor's text, `…: parameter: reason`.
fn parameter_failure(text: &str) -> ApiError {
    let text = text.trim_start_matches("Failed to deserialize query string: ");
    match text.split_once(": ") {
        Some((parameter, reason)) => ApiError::invalid_field(parameter, reason),
        None => ApiError::invalid_field("query", text),
    }
}

/// Returns the number of items of a page: the requested number within the configured maximum, or the default.
pub(crate) fn page_items(state: &AppState, asked: Option<usize>) -> Result<usize, ApiError> {
    let rest = &state.config.rest;
    match asked {
        None => Ok(rest.page_items_default),
        Some(limit) if (1..=rest.page_items_max).contains(&limit) => Ok(limit),
        Some(limit) => {
            let max = rest.page_items_max;
            Err(ApiError::invalid_field("limit", format!("{limit} is not between 1 and {max}")).with("max", max))
        }
    }
}

/// Text of a path's only parameter. Text that is not UTF-8 reads as a name that no resource has.
pub(crate) struct PathText(pub(crate) String);

impl FromRequestParts<AppState> for PathText {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(text.map_or_else(
            |_| char::REPLACEMENT_CHARACTER.to_string(),
            |Path(text)| text,
        )))
    }
}

/// Session named by a path.
pub(crate) struct SessionPath(pub(crate) SessionId);

impl FromRequestParts<AppState> for SessionPath {
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ErrorResponse> {
        let Ok(PathText(text)) = PathText::from_request_parts(parts, state).await;
        Ok(Self(text.parse().map_err(|_| ApiError::session_not_found())?))
    }
}

/// Author of a request, as far as the request names the author.
pub(crate) struct RequestAuthor(pub(crate) Author);

impl FromRequestParts<AppState> for RequestAuthor {
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Result<Self, ErrorResponse> {
        let Some(value) = parts.headers.get(CLIENT_ID_HEADER) else {
            return Ok(Self(Author::default()));
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        let client_id: ClientId = text
            .parse()
            .map_err(|error: IdError| ApiError::invalid_field("X-Client-Id", error))?;
        Ok(Self(Author {
            client_id: Some(client_id),
            user: None,
        }))
    }
}
