//! Commands over the socket. The acknowledgement has the body of the REST response.
//!
//! The library spawns a task for each packet. To keep the client's order, handlers are not async, and queue the command
//! in the lane of the session before they return.

use std::sync::Arc;

use serde::Deserialize;
use talus_actors::domain::{
    command::{Author, Command, Context},
    ids::SessionId,
};
use talus_actors::{hub::HubError, session_actor::Submitted};
use tracing::Instrument;

use super::{Edge, ack::Ack, memberships::Memberships, payload::Payload};
use crate::{
    command_instrumentation::{CommandSpan, context},
    wire::{
        ErrorCode,
        answer::CommandAnswer,
        command::{HistoryRequest, ReadCommand, read_command},
        error::ApiError,
        request::{id, read},
    },
};

/// Optional session of a payload.
#[derive(Deserialize)]
struct NamedSession {
    session_id: Option<String>,
}

/// Parsed command with its session, or the error of the payload.
type ParsedCommand = Result<(Option<SessionId>, Command, Context), ApiError>;

impl Edge {
    /// Handles `command:execute`.
    pub(super) fn execute(
        &self,
        memberships: &Memberships,
        payload: Payload,
        ack: Ack,
    ) -> impl Future<Output = ()> + use<> {
        let parsed = payload.text().and_then(|text| read_command(&text)).map(|request| {
            let ReadCommand {
                session_id,
                command,
                command_id,
                expected_seq,
            } = request;
            (
                session_id,
                command,
                context(command_id, author(memberships), expected_seq),
            )
        });
        self.submit(memberships, parsed, ack)
    }

    /// Handles `command:undo`.
    pub(super) fn undo(
        &self,
        memberships: &Memberships,
        payload: Payload,
        ack: Ack,
    ) -> impl Future<Output = ()> + use<> {
        self.submit(memberships, history(memberships, payload, HistoryRequest::undo), ack)
    }

    /// Handles `command:redo`.
    pub(super) fn redo(
        &self,
        memberships: &Memberships,
        payload: Payload,
        ack: Ack,
    ) -> impl Future<Output = ()> + use<> {
        self.submit(memberships, history(memberships, payload, HistoryRequest::redo), ack)
    }

    /// Answers an event whose JSON was malformed.
    pub(super) fn refuse_malformed(
        &self,
        memberships: &Memberships,
        payload: Payload,
        ack: Ack,
    ) -> impl Future<Output = ()> + use<> {
        let failure = match payload.text() {
            Ok(fault) => ApiError::new(
                ErrorCode::InvalidRequest,
                serde_json::from_str::<String>(&fault).unwrap_or_default(),
            ),
            Err(failure) => failure,
        };
        let reserved = ack.reserve(memberships);
        async move {
            if let Some(reserved) = reserved {
                reserved.send(Err::<(), ApiError>(failure)).await;
            }
        }
    }

    /// Submits a command before the function returns. The returned future waits for the outcome and acknowledges it.
    fn submit(&self, memberships: &Memberships, parsed: ParsedCommand, ack: Ack) -> impl Future<Output = ()> + use<> {
        let submission = ack
            .reserve(memberships)
            .map(|ack| (ack, submit_to_lane(memberships, parsed)));
        let metrics = self.metrics.clone();
        async move {
            let Some((ack, submission)) = submission else { return };
            let answer: Result<CommandAnswer, ApiError> = match submission {
                Ok((tracked, submitted)) => {
                    let span = tracked.span.clone();
                    tracked.end(&metrics, submitted.instrument(span).await)
                }
                Err(failure) => Err(failure),
            };
            ack.send(answer).await;
        }
    }
}

/// Queues a command in the lane of its session.
fn submit_to_lane(
    memberships: &Memberships,
    parsed: ParsedCommand,
) -> Result<(CommandSpan, impl Future<Output = Result<Submitted, HubError>> + use<>), ApiError> {
    let (session_id, command, context) = parsed?;
    let membership = memberships.resolve(session_id)?;
    let tracked = CommandSpan::begin(membership.session_id, &command, &context);
    let submitted = membership.lane.submit(Arc::new(command), context, tracked.span.clone());
    Ok((tracked, submitted))
}

fn history(
    memberships: &Memberships,
    payload: Payload,
    command: fn(&HistoryRequest) -> Result<Command, ApiError>,
) -> ParsedCommand {
    let text = &payload.text()?;
    let request: HistoryRequest = read("", text)?;
    let context = context(request.command_id()?, author(memberships), request.expected_seq);
    Ok((session_of(text)?, command(&request)?, context))
}

fn author(memberships: &Memberships) -> Author {
    Author {
        client_id: Some(memberships.client_id.clone()),
        user: None,
    }
}

/// Returns the session that a payload names.
fn session_of(text: &str) -> Result<Option<SessionId>, ApiError> {
    let named: NamedSession = read("", text)?;
    named.session_id.map(|text| id("", "session_id", &text)).transpose()
}
