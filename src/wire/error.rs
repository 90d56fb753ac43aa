//! Errors on the wire: the code, the message and the details of each failure.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value, json};
use talus_actors::{
    domain::rejection::{BlockedBy, Obstacle, Rejection, UndoConflict},
    hub::HubError,
};

use super::ErrorCode;

/// Message of `INVALID_SESSION`. Front ends of the predecessor compare this text.
pub const SESSION_NOT_FOUND: &str = "Session not found";

/// Maximum length in bytes of a text in an error. An error quotes the request, and a room broadcasts the error, so the
/// limit bounds the amplification. The path to a fault in a graph of maximum depth has about 5,000 bytes.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Truncates a text that is too long.
fn shortened(text: &str) -> String {
    format!("{}…", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)])
}

/// Error answer of a request, in the format of the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// Stable code, which determines the HTTP status.
    pub code: ErrorCode,
    /// Description of the failure, for people.
    pub message: Cow<'static, str>,
    /// Further fields for programs, by name.
    pub details: Map<String, Value>,
}

impl ApiError {
    /// Creates a failure without details.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let mut message = message.into();
        if message.len() > TEXT_BYTES_MAX {
            message = shortened(&message).into();
        }
        Self {
            code,
            message,
            details: Map::new(),
        }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        let mut value = json!(value);
        if let Value::String(text) = &mut value
            && text.len() > TEXT_BYTES_MAX
        {
            *text = shortened(text);
        }
        self.details.insert(name.to_owned(), value);
        self
    }

    /// Adds the details of an undo or redo conflict. `blocked_by` is always present, and null if the blocking command
    /// is unknown.
    fn with_conflict(self, conflict: &UndoConflict) -> Self {
        let failure = self.with("blocked_by", conflict.blocked_by.as_ref().map(blocked_by));
        let failure = match conflict.obstacle.node_id() {
            Some(node_id) => failure.with("node_id", node_id),
            None => failure,
        };
        match &conflict.obstacle {
            Obstacle::PropertyChanged { property, .. } => failure.with("property_id", property),
            Obstacle::NodeMissing(node_id) => failure.with("missing", node_id),
            Obstacle::Cycle { parent_id, .. } => failure.with("parent_id", parent_id),
            Obstacle::NodeChanged(_)
            | Obstacle::NodeMoved(_)
            | Obstacle::NodeOccupied(_)
            | Obstacle::NodeTaken(_)
            | Obstacle::DocumentChanged => failure,
        }
    }

    /// Creates the error for a field that is missing or wrong.
    #[must_use]
    pub fn invalid_field(field: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        let field = field.into();
        Self::new(ErrorCode::InvalidRequest, format!("{field}: {reason}")).with("field", field)
    }

    /// Creates the error for a session that does not exist.
    #[must_use]
    pub fn session_not_found() -> Self {
        Self::new(ErrorCode::InvalidSession, SESSION_NOT_FOUND)
    }

    /// Returns the HTTP status of the code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.code.status()
    }

    /// Returns the seconds after which a retry may succeed. `None`: a retry cannot succeed.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u32> {
        matches!(self.status(), 429 | 503).then_some(1)
    }

    /// Returns the body of the HTTP answer.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({ "error": self.error() })
    }

    /// Returns the error object, as in HTTP bodies and `command:failed`.
    #[must_use]
    pub fn error(&self) -> Value {
        let mut error = self.details.clone();
        error.insert("code".to_owned(), json!(self.code));
        error.insert("message".to_owned(), json!(self.message));
        Value::Object(error)
    }
}

impl From<&Rejection> for ApiError {
    fn from(rejection: &Rejection) -> Self {
        let failure = Self::new(rejection.into(), rejection.to_string());
        match rejection {
            Rejection::UnknownNodeType(node_type) => failure.with("blueprint_type_id", node_type),
            Rejection::UnknownProperty { property, .. } => failure.with("property_id", property),
            Rejection::NodeNotFound(node_id) | Rejection::NodeExists(node_id) => failure.with("node_id", node_id),
            Rejection::PropertyNotFound { node_id, property } => {
                failure.with("node_id", node_id).with("property_id", property)
            }
            Rejection::ChildNotAllowed {
                parent_type,
                child_type,
            } => failure.with("parent_type", parent_type).with("child_type", child_type),
            Rejection::AlreadyLinked { child_id, parent_id } | Rejection::NotLinked { child_id, parent_id } => {
                failure.with("child_id", child_id).with("parent_id", parent_id)
            }
            Rejection::Cycle { node_id, parent_id } => failure.with("node_id", node_id).with("parent_id", parent_id),
            Rejection::IndexOutOfRange { index, max } => failure.with("index", index).with("max", max),
            Rejection::InvalidValue { property, expected, .. } => {
                failure.with("property_id", property).with("expected", expected)
            }
            Rejection::LimitExceeded(limit) => failure.with("limit", limit.limit).with("max", limit.max),
            Rejection::InvalidRequest { field, .. } => failure.with("field", field),
            Rejection::NothingToUndo | Rejection::NothingToRedo => failure,
            Rejection::UndoConflict(conflict) => failure.with_conflict(conflict),
            Rejection::CommandIdReused(command_id) => failure.with("command_id", command_id),
            Rejection::Conflict {
                changed_seq,
                expected_seq,
                current_seq,
                blocked_by: won,
                ..
            } => failure
                .with("changed_seq", changed_seq)
                .with("expected_seq", expected_seq)
                .with("current_seq", current_seq)
                .with("blocked_by", won.as_deref().map(blocked_by)),
            Rejection::InBatch { index, rejection } => {
                let inner = Self::from(&**rejection);
                Self {
                    message: failure.message,
                    ..inner
                }
                .with("index", index)
            }
        }
    }
}

fn blocked_by(blocked_by: &BlockedBy) -> Value {
    json!({
        "client_id": blocked_by.client_id,
        "user": blocked_by.user,
        "command_id": blocked_by.command_id,
        "seq": blocked_by.seq,
    })
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        let failure = Self::new(ErrorCode::from(&error), error.to_string());
        match error {
            HubError::Rejected { rejection, .. } => Self::from(&rejection),
            HubError::SessionNotFound(_) => Self::session_not_found(),
            HubError::ProjectExists(session_id) | HubError::SessionExists(session_id) => {
                failure.with("session_id", session_id)
            }
            HubError::Overloaded { limit, max } => failure.with("limit", limit).with("max", max),
            HubError::LogRefuses { .. } => failure.with("limit", "storage"),
            HubError::TooManySessions { max } => failure.with("limit", "sessions_max").with("max", max),
            HubError::RoomFull(full) => failure.with("limit", "sockets_per_session_max").with("max", full.max),
            HubError::SeqNotReached { current, .. } => failure.with("current_seq", current),
            HubError::OutcomeUnknown | HubError::Quarantined { .. } | HubError::Draining => failure,
            HubError::Log(failure) => internal(&failure),
        }
    }
}

/// Creates the error for an internal failure. The cause is logged under a trace id, and the answer carries only the id.
#[must_use]
pub fn internal(cause: &dyn std::fmt::Display) -> ApiError {
    let trace_id = uuid::Uuid::new_v4().to_string();
    tracing::error!(%trace_id, %cause, "internal error");
    ApiError::new(
        ErrorCode::InternalError,
        "an internal error; the trace id tells the operator which",
    )
    .with("trace_id", trace_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_with_status_503_may_be_retried() {
        assert_eq!(ApiError::session_not_found().status(), 404);
        assert_eq!(ApiError::new(ErrorCode::Draining, "x").retry_after_s(), Some(1));
        assert_eq!(ApiError::session_not_found().retry_after_s(), None);
    }

    #[test]
    fn batch_refusal_keeps_code_details_and_index() {
        let inner = Rejection::IndexOutOfRange { index: 9, max: 2 };
        let failure = ApiError::from(&Rejection::InBatch {
            index: 3,
            rejection: Box::new(inner),
        });
        assert_eq!(
            failure.body(),
            json!({"error": {
                "code": "INDEX_OUT_OF_RANGE", "message": "command 3 of the batch: index 9 is not between 0 and 2",
                "index": 3, "max": 2,
            }})
        );
    }
}
