//! Parsers for JSON requests, with errors that name the field at fault.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use talus_actors::domain::{
    ids::{Epoch, IdError, NodeId, Seq},
    limits::VALUE_DEPTH_MAX,
};

use super::{ErrorCode, error::ApiError};

/// Parses a JSON object.
///
/// # Errors
/// Returns the field at fault, with its path below `at`. Malformed JSON is reported with line and column.
pub fn read<T: DeserializeOwned>(at: &str, text: &str) -> Result<T, ApiError> {
    // Derived deserialisers accept a list as the fields of an object in order, which is never intended.
    if text.trim_start().starts_with('[') {
        return Err(ApiError::invalid_field(whole(at), "must be an object"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| fault(at, &error))?;
    json.end()
        .map_err(|error| ApiError::new(ErrorCode::InvalidRequest, format!("malformed JSON: {error}")))?;
    Ok(value)
}

fn fault(at: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let inner = error.inner();
    // The parser has a recursion limit, which is deeper than values may be.
    if inner.to_string().starts_with("recursion limit exceeded") {
        let max = VALUE_DEPTH_MAX;
        let message = format!("a value is nested more than {max} levels deep");
        return ApiError::new(ErrorCode::LimitExceeded, message)
            .with("limit", "value_depth_max")
            .with("max", max);
    }
    if inner.is_syntax() || inner.is_eof() {
        return ApiError::new(ErrorCode::InvalidRequest, format!("malformed JSON: {inner}"));
    }
    let path = error.path().to_string();
    let field = match path.as_str() {
        "." => whole(at).to_owned(),
        path => join(at, path),
    };
    // The position that serde_json adds refers to the text of the field, which the client cannot see.
    let reason = inner.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
    ApiError::invalid_field(field, reason)
}

/// Returns the name of the whole value, for messages.
const fn whole(at: &str) -> &str {
    if at.is_empty() { "body" } else { at }
}

/// Parses the fields of an object. An absent object reads as `{}`.
///
/// # Errors
/// Returns the same errors as [`read`].
pub fn read_object<T: DeserializeOwned>(at: &str, raw: Option<&RawValue>) -> Result<T, ApiError> {
    read(at, raw.map_or("{}", RawValue::get))
}

/// Returns the value of a required field.
///
/// # Errors
/// Returns an error if the field is absent.
pub fn required<T>(at: &str, field: &str, value: Option<T>) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::invalid_field(join(at, field), "is required"))
}

/// Parses an id in a field.
///
/// # Errors
/// Returns an error if the text is not an id.
pub fn id<T: std::str::FromStr<Err = IdError>>(at: &str, field: &str, text: &str) -> Result<T, ApiError> {
    text.parse()
        .map_err(|error: IdError| ApiError::invalid_field(join(at, field), error))
}

/// Parses a node id in a required field.
///
/// # Errors
/// Returns an error if the field is absent or not an id.
pub fn node_id(at: &str, field: &str, text: Option<String>) -> Result<NodeId, ApiError> {
    id(at, field, &required(at, field, text)?)
}

/// Returns a non-empty text in a required field.
///
/// # Errors
/// Returns an error if the field is absent or empty.
pub fn non_empty(at: &str, field: &str, text: Option<String>) -> Result<ecow::EcoString, ApiError> {
    let text = required(at, field, text)?;
    if text.is_empty() {
        return Err(ApiError::invalid_field(join(at, field), "must not be empty"));
    }
    Ok(text.into())
}

/// Returns the path of a field.
#[must_use]
pub fn join(at: &str, field: &str) -> String {
    if at.is_empty() {
        field.to_owned()
    } else {
        format!("{at}.{field}")
    }
}

/// Deserialises a field that may be null but not absent. `Some(None)` is null.
///
/// # Errors
/// Returns the errors of the field's type.
pub fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    serde::Deserialize::deserialize(deserializer).map(Some)
}

/// Parses the position of a stream's reader from the id of an event: `{epoch}-{seq}`. A malformed epoch is returned as
/// `None`, which equals no epoch of a log.
///
/// # Errors
/// Returns an error if the text is not an event id of a stream.
pub fn stream_position(text: &str) -> Result<(Option<Epoch>, Seq), ApiError> {
    let read = text
        .split_once('-')
        .and_then(|(epoch, seq)| Some((epoch.parse().ok(), Seq(seq.parse().ok()?))));
    read.ok_or_else(|| ApiError::invalid_field("Last-Event-ID", format!("{text:?} is no id of this stream")))
}

/// Extracts the payload of a Socket.IO event from its packet, a list of the event's name and the payload. An absent or
/// null payload reads as `{}`.
///
/// # Errors
/// Returns an error if the packet is not a JSON list.
pub fn event_payload(packet: &str) -> Result<String, ApiError> {
    let sent: Vec<&RawValue> = serde_json::from_str(packet).map_err(|error| ApiError::invalid_field("body", error))?;
    Ok(match sent.get(1).map(|sent| sent.get()) {
        None | Some("null") => "{}".to_owned(),
        Some(text) => text.to_owned(),
    })
}
