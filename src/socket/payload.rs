//! Payload of a client's event.
//!
//! For a typed payload, the library would parse the packet with its own limits, and replace placeholders by
//! attachments. [`Payload`] keeps the packet as it is, to be parsed like a REST body.

use std::{convert::Infallible, sync::Arc};

use socketioxide::{adapter::Adapter, handler::FromMessageParts, socket::Socket};
use socketioxide_core::Value;

use crate::wire::{error::ApiError, request::event_payload};

/// Packet of an event, not parsed yet.
pub(super) struct Payload {
    packet: Value,
}

impl<A: Adapter> FromMessageParts<A> for Payload {
    type Error = Infallible;

    fn from_message_parts(_: &Arc<Socket<A>>, packet: &mut Value, _: &Option<i64>) -> Result<Self, Infallible> {
        let packet = std::mem::replace(packet, Value::Bytes(Default::default()));
        Ok(Self { packet })
    }
}

impl Payload {
    /// Returns the payload as JSON. A missing payload and null both become an object without fields.
    ///
    /// # Errors
    /// If the packet has binary attachments, with or without placeholders for them: values are JSON, and a stored
    /// placeholder without its bytes is a value that the client did not mean. A placeholder without attachments is an
    /// ordinary object.
    pub(super) fn text(self) -> Result<String, ApiError> {
        let Value::Str(packet, None) = self.packet else {
            return Err(ApiError::invalid_field("body", "bytes are not taken, only JSON"));
        };
        event_payload(&packet)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::ErrorCode;

    fn text(packet: &str, attachment: Option<&'static str>) -> Result<String, ApiError> {
        let attachments = attachment.map(|bytes| [bytes.as_bytes().into()].into());
        let packet = Value::Str(packet.to_owned().into(), attachments);
        Payload { packet }.text()
    }

    #[test]
    fn payload_is_argument_after_event_name() {
        for (packet, wanted) in [
            (r#"["e"]"#, "{}"),
            (r#"["e", null]"#, "{}"),
            (r#"["e", {"a": 1.50}]"#, r#"{"a": 1.50}"#),
            (r#"["e", 7, 8]"#, "7"),
            (
                r#"["e", {"_placeholder":true,"num":0}]"#,
                r#"{"_placeholder":true,"num":0}"#,
            ),
        ] {
            assert_eq!(text(packet, None).as_deref(), Ok(wanted));
        }
        let deep = format!(r#"["e",{}{}]"#, "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(text(&deep, None).map(|text| text.len()), Ok(10_000));
    }

    #[test]
    fn payload_rejects_attachments_and_malformed_json() {
        for (packet, attachment) in [
            (r#"["e", {"_placeholder":true,"num":0}]"#, Some("x")),
            (r#"["e", {"a":[{"_placeholder":true,"num":0}]}]"#, Some("")),
            (r#"["e", {}]"#, Some("x")),
            (r#"["e", {]"#, None),
            (r#"["e""#, None),
        ] {
            let failure = text(packet, attachment).expect_err(packet);
            assert_eq!(
                (failure.code, failure.details.get("field")),
                (ErrorCode::InvalidRequest, Some(&json!("body"))),
                "{packet}"
            );
        }
    }
}
