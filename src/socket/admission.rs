//! Admission of connections: the `auth` payload and the query, and the reasons for a refusal.

use serde::Deserialize;
use talus_actors::{
    domain::ids::{ClientId, Seq, SessionId},
    fan_out::Delivery,
    hub::HubError,
    session_actor::Position,
};
use uuid::Uuid;

use crate::wire::ErrorCode;

/// Socket.IO `auth` payload. The query fills fields that the payload lacks.
#[derive(Debug, Default, Deserialize)]
pub struct Auth {
    session_id: Option<serde_json::Value>,
    client_id: Option<serde_json::Value>,
    epoch: Option<serde_json::Value>,
    seq: Option<serde_json::Value>,
    frames: Option<serde_json::Value>,
    /// Present in [`OVERSIZED_AUTH`](crate::transport::OVERSIZED_AUTH) and in no payload of a client.
    #[serde(rename = "hub:oversized")]
    oversized: Option<serde_json::Value>,
}

/// Admitted connection.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// Session to join with the connection. `None`: the client joins later.
    pub session_id: Option<SessionId>,
    /// Identity of the client, generated if the client sends none.
    pub client_id: ClientId,
    /// Last position that the client has seen. `None`: the client has no state of the session.
    pub position: Option<Position>,
    /// Delivery of the events of commands, for all sessions of the socket.
    pub frames: Delivery,
}

/// Reason of a refused connection. The client sees only the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The connection names no session.
    #[error("MISSING_SESSION")]
    MissingSession,
    /// The session does not exist, or its id is malformed.
    #[error("{}", ErrorCode::InvalidSession)]
    InvalidSession,
    /// The client id is malformed.
    #[error("{}", ErrorCode::InvalidRequest)]
    InvalidClientId,
    /// The value of `frames` is unknown.
    #[error("{}", ErrorCode::InvalidRequest)]
    InvalidFrames,
    /// The `auth` payload exceeds `realtime.auth_bytes_max`.
    #[error("{}", ErrorCode::PayloadTooLarge)]
    TooLarge,
    /// The session is quarantined.
    #[error("{}", ErrorCode::SessionQuarantined)]
    Quarantined,
    /// A limit is reached, or the hub cannot serve the session at present.
    #[error("{}", ErrorCode::Overloaded)]
    Overloaded,
    /// The hub is draining.
    #[error("{}", ErrorCode::Draining)]
    Draining,
}

impl From<HubError> for Refused {
    fn from(error: HubError) -> Self {
        match error {
            HubError::SessionNotFound(_) => Self::InvalidSession,
            HubError::Quarantined { .. } => Self::Quarantined,
            HubError::Draining => Self::Draining,
            HubError::Rejected { .. }
            | HubError::ProjectExists(_)
            | HubError::OutcomeUnknown
            | HubError::Overloaded { .. }
            | HubError::LogRefuses { .. }
            | HubError::TooManySessions { .. }
            | HubError::RoomFull(_)
            | HubError::SeqNotReached { .. }
            | HubError::SessionExists(_)
            | HubError::Log(_) => Self::Overloaded,
        }
    }
}

impl Auth {
    /// Returns the payload with its missing fields filled from the query.
    #[must_use]
    pub fn or_query(mut self, query: Option<&str>) -> Self {
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let field = match &*name {
                "session_id" => &mut self.session_id,
                "client_id" => &mut self.client_id,
                "epoch" => &mut self.epoch,
                "seq" => &mut self.seq,
                "frames" => &mut self.frames,
                _ => continue,
            };
            field.get_or_insert_with(|| value.into_owned().into());
        }
        self
    }

    /// Validates the payload. The session is optional with `late_join`.
    ///
    /// # Errors
    /// Returns the reason of the refusal if a required field is missing or a field is malformed.
    pub fn admitted(&self, late_join: bool) -> Result<Admitted, Refused> {
        if self.oversized.is_some() {
            return Err(Refused::TooLarge);
        }
        let session_id = match &self.session_id {
            None | Some(serde_json::Value::Null) if late_join => None,
            None | Some(serde_json::Value::Null) => return Err(Refused::MissingSession),
            Some(value) => {
                let id = value.as_str().and_then(|text| text.parse().ok());
                Some(id.ok_or(Refused::InvalidSession)?)
            }
        };
        let client_id = match &self.client_id {
            None | Some(serde_json::Value::Null) => generate_client_id()?,
            Some(value) => value
                .as_str()
                .and_then(|text| text.parse().ok())
                .ok_or(Refused::InvalidClientId)?,
        };
        let epoch = self.epoch.as_ref().and_then(serde_json::Value::as_str);
        let seq = self
            .seq
            .as_ref()
            .and_then(|seq| seq.as_u64().or_else(|| seq.as_str()?.parse().ok()));
        Ok(Admitted {
            session_id,
            client_id,
            position: position(epoch, seq),
            frames: self.frames()?,
        })
    }

    fn frames(&self) -> Result<Delivery, Refused> {
        match &self.frames {
            None | Some(serde_json::Value::Null) => Ok(Delivery::Single),
            Some(word) => match word.as_str() {
                Some("single") => Ok(Delivery::Single),
                Some("batched") => Ok(Delivery::Batched),
                Some(_) | None => Err(Refused::InvalidFrames),
            },
        }
    }
}

fn generate_client_id() -> Result<ClientId, Refused> {
    Uuid::new_v4().to_string().parse().map_err(|_| Refused::InvalidClientId)
}

/// Returns a position if both the epoch and the seq are present. A malformed epoch becomes an epoch that no log has:
/// the client knows another log, and its sync has a snapshot.
pub(super) fn position(epoch: Option<&str>, seq: Option<u64>) -> Option<Position> {
    Some(Position {
        epoch: epoch?.parse().ok(),
        seq: Seq(seq?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use talus_actors::domain::ids::Epoch;

    use super::*;

    const SESSION: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    fn admitted(auth: serde_json::Value, query: &str) -> Result<Admitted, Refused> {
        serde_json::from_value::<Auth>(auth)
            .unwrap_or_default()
            .or_query(Some(query))
            .admitted(false)
    }

    #[test]
    fn session_is_read_from_auth_payload_or_query() {
        let by_auth = admitted(json!({"session_id": SESSION}), "EIO=4").expect("named in auth");
        let by_query = admitted(json!(null), &format!("EIO=4&session_id={SESSION}")).expect("named in the query");
        assert_eq!(by_auth.session_id, by_query.session_id);
        assert_eq!(admitted(json!({}), "EIO=4").expect_err("none"), Refused::MissingSession);
        assert_eq!(
            admitted(json!({"session_id": null}), "").expect_err("null"),
            Refused::MissingSession
        );
        let late = serde_json::from_value::<Auth>(json!({}))
            .expect("an object")
            .admitted(true);
        assert_eq!(late.expect("it says later").session_id, None);
        for wrong in [json!("x"), json!(7), json!({}), json!("")] {
            assert_eq!(
                admitted(json!({"session_id": wrong}), "").expect_err("wrong"),
                Refused::InvalidSession
            );
        }
    }

    #[test]
    fn client_id_is_kept_generated_or_refused() {
        let with = |client_id: serde_json::Value| admitted(json!({"session_id": SESSION, "client_id": client_id}), "");
        assert_eq!(with(json!("me_1")).expect("a good one").client_id.as_str(), "me_1");
        assert_eq!(with(json!("a b")).expect_err("a space"), Refused::InvalidClientId);
        assert_eq!(with(json!(7)).expect_err("a number"), Refused::InvalidClientId);
        assert_eq!(with(json!(null)).expect("none").client_id.as_str().len(), 36);
    }

    /// `frames` is one of two words, from the auth payload or else from the query, and `single` by default.
    #[test]
    fn frames_accept_two_words_only() {
        let with = |frames: serde_json::Value| admitted(json!({"session_id": SESSION, "frames": frames}), "");
        for (frames, wanted) in [
            (json!(null), Delivery::Single),
            (json!("single"), Delivery::Single),
            (json!("batched"), Delivery::Batched),
        ] {
            assert_eq!(with(frames).expect("there is such a way").frames, wanted);
        }
        for wrong in [json!("BATCHED"), json!(""), json!(true), json!(["batched"])] {
            assert_eq!(with(wrong).expect_err("there is not"), Refused::InvalidFrames);
        }
        let by_query = admitted(json!({"session_id": SESSION}), "frames=batched").expect("named in the query");
        assert_eq!(by_query.frames, Delivery::Batched);
        let both = admitted(json!({"session_id": SESSION, "frames": "single"}), "frames=batched");
        assert_eq!(both.expect("auth goes first").frames, Delivery::Single);
    }

    #[test]
    fn position_needs_epoch_and_seq() {
        let with = |epoch: serde_json::Value, seq: serde_json::Value| {
            admitted(json!({"session_id": SESSION, "epoch": epoch, "seq": seq}), "")
                .expect("a session")
                .position
        };
        let there = Position {
            epoch: Some(Epoch::new(0xab)),
            seq: Seq(7),
        };
        assert_eq!(with(json!("000000ab"), json!(7)), Some(there));
        assert_eq!(with(json!("000000ab"), json!("7")), Some(there));
        assert_eq!(with(json!("000000ab"), json!(null)), None);
        assert_eq!(with(json!(null), json!(7)), None);
        assert_eq!(
            with(json!("nonsense"), json!(7)),
            Some(Position {
                epoch: None,
                seq: Seq(7)
            })
        );
    }

    proptest::proptest! {
        /// P9: any payload and query is admitted or refused with a word of the contract.
        #[test]
        fn auth_and_query_are_read_or_refused_with_a_word(
            session in proptest::option::of(".{0,40}"),
            name in proptest::option::of(".{0,70}"),
            seq in proptest::prelude::any::<f64>(),
            query in "((session_id|client_id|seq|epoch|frames|x)=.{0,40}&){0,5}",
            late_join in proptest::prelude::any::<bool>(),
        ) {
            let payload = json!({"session_id": session, "client_id": name, "seq": seq, "epoch": name, "frames": null});
            let auth = serde_json::from_value::<Auth>(payload).unwrap_or_default();
            if let Err(refused) = auth.or_query(Some(&query)).admitted(late_join) {
                let words = ["MISSING_SESSION", "INVALID_SESSION", "INVALID_REQUEST"];
                proptest::prop_assert!(words.contains(&refused.to_string().as_str()), "{refused}");
            }
        }
    }
}
