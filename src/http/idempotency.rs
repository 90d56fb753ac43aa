//! Idempotent retries of requests: the header `Idempotency-Key`, an alternative place for the `command_id` (P4).

use axum::{extract::FromRequestParts, http::request::Parts};
use talus_actors::domain::{
    command::Author,
    ids::{CommandId, SessionId},
};
use uuid::{Uuid, uuid};

use crate::{
    http_kit::{AppState, ErrorResponse},
    wire::{ErrorCode, error::ApiError},
};

/// Name of the header.
const HEADER: &str = "idempotency-key";

/// Maximum length of a key in characters.
const KEY_CHARS_MAX: usize = 255;

/// Namespaces from which ids are derived. They never change, since a request may be retried at a later version.
const KEYS: Uuid = uuid!("0b1f5d1e-8f0a-4d52-9c8e-2f1d6a5f7c31");
const SESSIONS: Uuid = uuid!("c2f0a7e4-3d0f-4a57-8e1b-7a4c9d2b6e80");

/// Key of a request, as a command id: a UUID is the command id itself, any other text is hashed to a command id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdempotencyKey(Option<CommandId>);

impl FromRequestParts<AppState> for IdempotencyKey {
    type Rejection = ErrorResponse;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Result<Self, ErrorResponse> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        if values.next().is_some() {
            return Err(invalid("is there more than once").into());
        }
        Ok(Self(Some(read(value.as_bytes()).ok_or_else(|| {
            invalid(format!("must be 1 to {KEY_CHARS_MAX} visible characters of ASCII"))
        })?)))
    }
}

/// Parses a key, with or without the quotes of a structured field.
fn read(value: &[u8]) -> Option<CommandId> {
    let text = std::str::from_utf8(value).ok()?;
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let text = quoted.unwrap_or(text);
    let is_key = (1..=KEY_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let derived = || CommandId::new(Uuid::new_v5(&KEYS, text.as_bytes()));
    is_key.then(|| text.parse().unwrap_or_else(|_| derived()))
}

fn invalid(reason: impl std::fmt::Display) -> ApiError {
    ApiError::invalid_field("Idempotency-Key", reason)
}

impl IdempotencyKey {
    /// Returns the command id of a request, from the header or from the body. The two must not differ.
    pub(super) fn command_id(self, in_body: Option<CommandId>) -> Result<Option<CommandId>, ApiError> {
        match (self.0, in_body) {
            (Some(key), Some(named)) if key != named => Err(invalid("is not the command_id of the body")),
            (key, named) => Ok(key.or(named)),
        }
    }

    /// Returns the id of the session that a request creates. The client id is part of the hash, so equal keys of
    /// different clients do not collide.
    pub(super) fn session_id(self, author: &Author) -> Option<SessionId> {
        let client = author.client_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = format!("{}/{client}", self.0?);
        Some(SessionId::new(Uuid::new_v5(&SESSIONS, name.as_bytes())))
    }
}

/// Builds the error for a key that was used for another request.
pub(super) fn reused(session_id: SessionId) -> ApiError {
    ApiError::new(
        ErrorCode::CommandIdReused,
        "the Idempotency-Key was used for another request",
    )
    .with("session_id", session_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P4: a UUID is read in either case and in quotes, any other key maps to one fixed id, and invalid keys are
    /// refused.
    #[test]
    fn idempotency_keys_are_command_ids() {
        let id = "11111111-2222-4333-8444-5555aaaabbbb";
        let same = id.parse::<CommandId>().ok();
        for text in [id.to_owned(), id.to_uppercase(), format!("\"{id}\"")] {
            assert_eq!(read(text.as_bytes()), same, "{text}");
        }
        assert_eq!(
            read(b"order-1").map(|id| id.to_string()).as_deref(),
            Some(DERIVED),
            "the same in every version"
        );
        assert_eq!(read(b"order-1"), read(b"\"order-1\""));
        assert_ne!(read(b"order-1"), read(b"order-2"));
        assert!(read("k".repeat(255).as_bytes()).is_some());
        for none in ["", "\"\"", "a b", "caf\u{e9}", "a\tb", &"k".repeat(256)] {
            assert_eq!(read(none.as_bytes()), None, "{none:?}");
        }
    }

    /// Command id derived from `order-1`.
    const DERIVED: &str = "959571e4-98fb-5190-bc65-364e04294b3a";
}
