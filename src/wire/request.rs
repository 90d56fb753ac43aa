//! Reading JSON requests so that every fault names its field.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use talus_actors::domain::{
    ids::{Epoch, IdError, NodeId, Seq},
    limits::VALUE_DEPTH_MAX,
};

use super::error::Failure;

/// Reads a JSON object.
///
/// # Errors
/// Names the field at fault, below `at`; malformed JSON is told with line and column.
pub fn read<T: DeserializeOwned>(at: &str, text: &str) -> Result<T, Failure> {
    // Derived readers would take a list for an object, its items for the fields in order. Nobody means that.
    if text.trim_start().starts_with('[') {
        return Err(Failure::invalid_field(whole(at), "must be an object"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| fault(at, &error))?;
    json.end()
        .map_err(|error| Failure::new("INVALID_REQUEST", format!("malformed JSON: {error}")))?;
    Ok(value)
}

fn fault(at: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> Failure {
    let inner = error.inner();
    // The parser stops at a depth of its own, which is deeper than values may be.
    if inner.to_string().starts_with("recursion limit exceeded") {
        let max = VALUE_DEPTH_MAX;
        let message = format!("a value is nested more than {max} levels deep");
        return Failure::new("LIMIT_EXCEEDED", message)
            .with("limit", "value_depth_max")
            .with("max", max);
    }
    if inner.is_syntax() || inner.is_eof() {
        return Failure::new("INVALID_REQUEST", format!("malformed JSON: {inner}"));
    }
    let path = error.path().to_string();
    let field = match path.as_str() {
        "." => whole(at).to_owned(),
        path => join(at, path),
    };
    // The position that serde_json adds is one in the text of the field, which the client never sees.
    let reason = inner.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
    Failure::invalid_field(field, reason)
}

/// What is read, as a message names it.
const fn whole(at: &str) -> &str {
    if at.is_empty() { "body" } else { at }
}

/// The fields of an object, which may be absent altogether.
///
/// # Errors
/// As [`read`].
pub fn read_object<T: DeserializeOwned>(at: &str, raw: Option<&RawValue>) -> Result<T, Failure> {
    read(at, raw.map_or("{}", RawValue::get))
}

/// A field that has to be there.
///
/// # Errors
/// If it is not.
pub fn required<T>(at: &str, field: &str, value: Option<T>) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::invalid_field(join(at, field), "is required"))
}

/// An id in a field.
///
/// # Errors
/// If it is none.
pub fn id<T: std::str::FromStr<Err = IdError>>(at: &str, field: &str, text: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|error: IdError| Failure::invalid_field(join(at, field), error))
}

/// A node's id in a field that has to be there.
///
/// # Errors
/// If it is absent or none.
pub fn node_id(at: &str, field: &str, text: Option<String>) -> Result<NodeId, Failure> {
    id(at, field, &required(at, field, text)?)
}

/// A text in a field that has to be there and not be empty.
///
/// # Errors
/// If it is absent or empty.
pub fn word(at: &str, field: &str, text: Option<String>) -> Result<ecow::EcoString, Failure> {
    let text = required(at, field, text)?;
    if text.is_empty() {
        return Err(Failure::invalid_field(join(at, field), "must not be empty"));
    }
    Ok(text.into())
}

/// The path of a field.
#[must_use]
pub fn join(at: &str, field: &str) -> String {
    if at.is_empty() {
        field.to_owned()
    } else {
        format!("{at}.{field}")
    }
}

/// For a field that may be null but not absent: `Some(None)` is null.
///
/// # Errors
/// Those of the field's type.
pub fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    serde::Deserialize::deserialize(deserializer).map(Some)
}

/// Position of a reader of a stream, as the ids of its events say it: `{epoch}-{seq}`. An epoch that is none is one that
/// no log has.
///
/// # Errors
/// If it is no id of a stream.
pub fn stream_position(text: &str) -> Result<(Option<Epoch>, Seq), Failure> {
    let read = text
        .split_once('-')
        .and_then(|(epoch, seq)| Some((epoch.parse().ok(), Seq(seq.parse().ok()?))));
    read.ok_or_else(|| Failure::invalid_field("Last-Event-ID", format!("{text:?} is no id of this stream")))
}

/// Payload of a Socket.IO event, from the list that its packet is: the event's name, and what was sent with it. Nothing at
/// all, or null, stands for an object without fields.
///
/// # Errors
/// If the packet is no list, or no JSON.
pub fn event_payload(packet: &str) -> Result<String, Failure> {
    let sent: Vec<&RawValue> = serde_json::from_str(packet).map_err(|error| Failure::invalid_field("body", error))?;
    Ok(match sent.get(1).map(|sent| sent.get()) {
        None | Some("null") => "{}".to_owned(),
        Some(text) => text.to_owned(),
    })
}
