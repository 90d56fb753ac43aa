//! Requests that are sent again: the header `Idempotency-Key`, which is the `command_id` in another place (P4).

use axum::{extract::FromRequestParts, http::request::Parts};
use talus_actors::domain::{
    command::Origin,
    ids::{CommandId, SessionId},
};
use uuid::{Uuid, uuid};

use super::{ApiError, AppState};
use crate::wire::error::Failure;

/// The header.
const HEADER: &str = "idempotency-key";

/// The longest key, in characters.
const KEY_CHARS_MAX: usize = 255;

/// Names from which ids are derived; never to be changed, since a request may be sent again to a later hub.
const KEYS: Uuid = uuid!("0b1f5d1e-8f0a-4d52-9c8e-2f1d6a5f7c31");
const SESSIONS: Uuid = uuid!("c2f0a7e4-3d0f-4a57-8e1b-7a4c9d2b6e80");

/// Key of a request, as the command id that it stands for: a UUID stands for itself, any other text for the one that is
/// derived from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdempotencyKey(Option<CommandId>);

impl FromRequestParts<AppState> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Result<Self, ApiError> {
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

/// Reads a key, also in the quotes in which a structured field has it.
fn read(value: &[u8]) -> Option<CommandId> {
    let text = std::str::from_utf8(value).ok()?;
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let text = quoted.unwrap_or(text);
    let is_key = (1..=KEY_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let derived = || CommandId::new(Uuid::new_v5(&KEYS, text.as_bytes()));
    is_key.then(|| text.parse().unwrap_or_else(|_| derived()))
}

fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::invalid_field("Idempotency-Key", reason)
}

impl IdempotencyKey {
    /// The command id of a request whose body may name one too.
    pub(super) fn command_id(self, in_body: Option<CommandId>) -> Result<Option<CommandId>, Failure> {
        match (self.0, in_body) {
            (Some(key), Some(named)) if key != named => Err(invalid("is not the command_id of the body")),
            (key, named) => Ok(key.or(named)),
        }
    }

    /// The id of the session that a request begins. Clients that name themselves do not get in each other's way.
    pub(super) fn session_id(self, origin: &Origin) -> Option<SessionId> {
        let client = origin.client_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = format!("{}/{client}", self.0?);
        Some(SessionId::new(Uuid::new_v5(&SESSIONS, name.as_bytes())))
    }
}

/// The key was used for something else.
pub(super) fn reused(session_id: SessionId) -> Failure {
    Failure::new("COMMAND_ID_REUSED", "the Idempotency-Key was used for another request").with("session_id", session_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P4: a UUID is itself in either case and in quotes, any other key is one id for good, and what is no key is refused.
    #[test]
    fn keys_are_command_ids() {
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

    /// The command id of `order-1`.
    const DERIVED: &str = "959571e4-98fb-5190-bc65-364e04294b3a";
}
