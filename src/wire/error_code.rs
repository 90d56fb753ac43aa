//! Codes of errors: one table of the wire text, the HTTP status and the meaning of each code.

use std::fmt;

use serde::{Serialize, Serializer};
use talus_actors::{domain::rejection::Rejection, hub::HubError};

/// Defines [`ErrorCode`] from the table. The documentation of a variant is the meaning of the code.
macro_rules! error_codes {
    ($($(#[doc = $meaning:literal])+ $code:ident = $text:literal, $status:literal;)+) => {
        /// Stable code of an error. Clients compare the text, so a text never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $($(#[doc = $meaning])+ $code,)+
        }

        impl ErrorCode {
            /// All codes, in the order of their status. PROTOCOL.md lists exactly these codes.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            /// Returns the text on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $text,)+
                }
            }

            /// Returns the HTTP status of an answer with the code.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$code => $status,)+
                }
            }
        }
    };
}

error_codes! {
    /// Malformed JSON, or a field or parameter that is missing or wrong.
    InvalidRequest = "INVALID_REQUEST", 400;
    /// The `command_type` is unknown.
    InvalidCommand = "INVALID_COMMAND", 400;
    /// The value does not fit the property, or the name is not allowed.
    InvalidValue = "INVALID_VALUE", 400;
    /// The graph or the project file is at fault.
    InvalidGraph = "INVALID_GRAPH", 400;
    /// The template has no such type.
    UnknownNodeType = "UNKNOWN_NODE_TYPE", 400;
    /// The node's type has no such property.
    UnknownProperty = "UNKNOWN_PROPERTY", 400;
    /// The file of the template is at fault.
    TemplateInvalid = "TEMPLATE_INVALID", 400;
    /// The template does not allow the child's type under the parent's type.
    ChildNotAllowed = "CHILD_NOT_ALLOWED", 400;
    /// The node would become its own ancestor.
    Cycle = "CYCLE", 400;
    /// The index is negative, or beyond the siblings.
    IndexOutOfRange = "INDEX_OUT_OF_RANGE", 400;
    /// A size or a count is above its limit.
    LimitExceeded = "LIMIT_EXCEEDED", 400;
    /// Web pages of this origin may make no changes, open no sockets, and use no operator function.
    OriginNotAllowed = "ORIGIN_NOT_ALLOWED", 403;
    /// The session does not exist.
    InvalidSession = "INVALID_SESSION", 404;
    /// The node does not exist.
    NodeNotFound = "NODE_NOT_FOUND", 404;
    /// The node has no such property.
    PropertyNotFound = "PROPERTY_NOT_FOUND", 404;
    /// The project does not exist.
    ProjectNotFound = "PROJECT_NOT_FOUND", 404;
    /// The template does not exist.
    TemplateNotFound = "TEMPLATE_NOT_FOUND", 404;
    /// The hub serves nothing at the path.
    NotFound = "NOT_FOUND", 404;
    /// The path does not support the method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405;
    /// The body did not come in time. Nothing was done.
    RequestTimeout = "REQUEST_TIMEOUT", 408;
    /// The state that the command touches changed after `expected_seq`.
    Conflict = "CONFLICT", 409;
    /// The child has a parent.
    AlreadyLinked = "ALREADY_LINKED", 409;
    /// The node is not a child of the parent.
    NotLinked = "NOT_LINKED", 409;
    /// The `node_id` is taken.
    NodeExists = "NODE_EXISTS", 409;
    /// The project exists.
    ProjectExists = "PROJECT_EXISTS", 409;
    /// The history has no step to undo.
    NothingToUndo = "NOTHING_TO_UNDO", 409;
    /// The history has no step to redo.
    NothingToRedo = "NOTHING_TO_REDO", 409;
    /// The state that the undo or redo would change is no longer as the step left it.
    UndoConflict = "UNDO_CONFLICT", 409;
    /// The id was used for another command, or the `Idempotency-Key` for another session.
    CommandIdReused = "COMMAND_ID_REUSED", 409;
    /// The session did not get to `min_seq` in time, or has not got to `at_seq`.
    SeqNotReached = "SEQ_NOT_REACHED", 409;
    /// The session is in use, so it cannot leave memory.
    SessionBusy = "SESSION_BUSY", 409;
    /// The body is too long.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 413;
    /// The body is not `application/json`, or is encoded.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415;
    /// The request names a host that is no name of the hub.
    HostNotAllowed = "HOST_NOT_ALLOWED", 421;
    /// The session failed repeatedly, and is not started any more.
    SessionQuarantined = "SESSION_QUARANTINED", 423;
    /// A bug, or a failing disk.
    InternalError = "INTERNAL_ERROR", 500;
    /// A limit on concurrent work is reached, or the log takes no writes at present.
    Overloaded = "OVERLOADED", 503;
    /// A failure or a timeout occurred while the command was under way.
    OutcomeUnknown = "OUTCOME_UNKNOWN", 503;
    /// The hub is shutting down.
    Draining = "DRAINING", 503;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl From<&Rejection> for ErrorCode {
    fn from(rejection: &Rejection) -> Self {
        let code = match rejection {
            Rejection::UnknownNodeType(_) => Self::UnknownNodeType,
            Rejection::UnknownProperty { .. } => Self::UnknownProperty,
            Rejection::NodeNotFound(_) => Self::NodeNotFound,
            Rejection::PropertyNotFound { .. } => Self::PropertyNotFound,
            Rejection::ChildNotAllowed { .. } => Self::ChildNotAllowed,
            Rejection::NodeExists(_) => Self::NodeExists,
            Rejection::AlreadyLinked { .. } => Self::AlreadyLinked,
            Rejection::NotLinked { .. } => Self::NotLinked,
            Rejection::Cycle { .. } => Self::Cycle,
            Rejection::IndexOutOfRange { .. } => Self::IndexOutOfRange,
            Rejection::InvalidValue { .. } => Self::InvalidValue,
            Rejection::LimitExceeded(_) => Self::LimitExceeded,
            Rejection::InvalidRequest { .. } => Self::InvalidRequest,
            Rejection::NothingToUndo => Self::NothingToUndo,
            Rejection::NothingToRedo => Self::NothingToRedo,
            Rejection::UndoConflict(_) => Self::UndoConflict,
            Rejection::CommandIdReused(_) => Self::CommandIdReused,
            Rejection::Conflict { .. } => Self::Conflict,
            Rejection::InBatch { rejection, .. } => Self::from(&**rejection),
        };
        // The log lines of the actors carry the domain's text.
        debug_assert_eq!(code.as_str(), rejection.code());
        code
    }
}

impl From<&HubError> for ErrorCode {
    fn from(error: &HubError) -> Self {
        match error {
            HubError::Rejected { rejection, .. } => rejection.into(),
            HubError::SessionNotFound(_) => Self::InvalidSession,
            HubError::ProjectExists(_) => Self::ProjectExists,
            HubError::SessionExists(_) => Self::CommandIdReused,
            HubError::OutcomeUnknown => Self::OutcomeUnknown,
            HubError::Overloaded { .. }
            | HubError::LogRefuses { .. }
            | HubError::TooManySessions { .. }
            | HubError::RoomFull(_) => Self::Overloaded,
            HubError::Quarantined { .. } => Self::SessionQuarantined,
            HubError::Draining => Self::Draining,
            HubError::SeqNotReached { .. } => Self::SeqNotReached,
            HubError::Log(_) => Self::InternalError,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn error_code_texts_are_the_variants_in_capitals() {
        for code in ErrorCode::ALL {
            let mut text = String::new();
            for letter in format!("{code:?}").chars() {
                if letter.is_uppercase() && !text.is_empty() {
                    text.push('_');
                }
                text.push(letter.to_ascii_uppercase());
            }
            assert_eq!(code.as_str(), text);
        }
        let texts: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), ErrorCode::ALL.len());
    }
}
