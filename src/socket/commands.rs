//! Commands over the socket. The acknowledgement has the body of the REST response.
//!
//! The library spawns a task for each packet. To keep the client's order, handlers are not async, and queue the command
//! in the lane of the session before they return.

use std::sync::Arc;

use serde::Deserialize;
use talus_actors::domain::{
    command::{Command, Context, Origin},
    ids::SessionId,
};
use talus_actors::{hub::HubError, session_actor::Submitted};
use tracing::Instrument;

use super::{Edge, ack::Ack, memberships::Memberships, payload::Payload};
use crate::{
    command_instrumentation::{CommandSpan, context},
    wire::{
        answer::CommandAnswer,
        command::{HistoryRequest, ReadCommand, read_command},
        error::ApiError,
        request::{id, read},
    },
};

/// Optional session of a payload.
#[derive(Deserialize)]
struct About {
    session_id: Option<String>,
}

/// Parsed command with its session, or the error of the payload.
type Wanted = Result<(Option<SessionId>, Command, Context), ApiError>;

impl Edge {
    /// Handles `command:execute`.
    pub(super) fn execute(&self, of: &Memberships, payload: Payload, ack: Ack) -> impl Future<Output = ()> + use<> {
        let wanted = payload.text().and_then(|text| read_command(&text)).map(|request| {
            let ReadCommand {
                session_id,
                command,
                command_id,
                expected_seq,
            } = request;
            (session_id, command, context(command_id, origin(of), expected_seq))
        });
        self.submit(of, wanted, ack)
    }

    /// Handles `command:undo`.
    pub(super) fn undo(&self, of: &Memberships, payload: Payload, ack: Ack) -> impl Future<Output = ()> + use<> {
        self.submit(of, history(of, payload, HistoryRequest::undo), ack)
    }

    /// Handles `command:redo`.
    pub(super) fn redo(&self, of: &Memberships, payload: Payload, ack: Ack) -> impl Future<Output = ()> + use<> {
        self.submit(of, history(of, payload, HistoryRequest::redo), ack)
    }

    /// Answers an event whose JSON was malformed.
    pub(super) fn refuse_malformed(
        &self,
        of: &Memberships,
        payload: Payload,
        ack: Ack,
    ) -> impl Future<Output = ()> + use<> {
        let failure = match payload.text() {
            Ok(fault) => ApiError::new(
                "INVALID_REQUEST",
                serde_json::from_str::<String>(&fault).unwrap_or_default(),
            ),
            Err(failure) => failure,
        };
        let placed = ack.place(of);
        async move {
            if let Some(placed) = placed {
                placed.answer(Err::<(), ApiError>(failure)).await;
            }
        }
    }

    /// Submits a command before the function returns. The returned future waits for the outcome and acknowledges it.
    fn submit(&self, of: &Memberships, wanted: Wanted, ack: Ack) -> impl Future<Output = ()> + use<> {
        let begun = ack.place(of).map(|ack| (ack, begin(of, wanted)));
        let metrics = self.metrics.clone();
        async move {
            let Some((ack, begun)) = begun else { return };
            let answer: Result<CommandAnswer, ApiError> = match begun {
                Ok((tracked, submitted)) => {
                    let span = tracked.span.clone();
                    tracked.end(&metrics, submitted.instrument(span).await)
                }
                Err(failure) => Err(failure),
            };
            ack.answer(answer).await;
        }
    }
}

/// Queues a command in the lane of its session.
fn begin(
    of: &Memberships,
    wanted: Wanted,
) -> Result<(CommandSpan, impl Future<Output = Result<Submitted, HubError>> + use<>), ApiError> {
    let (session_id, command, context) = wanted?;
    let membership = of.named(session_id)?;
    let tracked = CommandSpan::begin(membership.session_id, &command, &context);
    let submitted = membership.lane.submit(Arc::new(command), context, tracked.span.clone());
    Ok((tracked, submitted))
}

fn history(of: &Memberships, payload: Payload, command: fn(&HistoryRequest) -> Result<Command, ApiError>) -> Wanted {
    let text = &payload.text()?;
    let request: HistoryRequest = read("", text)?;
    let context = context(request.command_id()?, origin(of), request.expected_seq);
    Ok((session_of(text)?, command(&request)?, context))
}

fn origin(of: &Memberships) -> Origin {
    Origin {
        client_id: Some(of.client_id.clone()),
        user: None,
    }
}

/// Returns the session that a payload names.
pub(super) fn session_of(text: &str) -> Result<Option<SessionId>, ApiError> {
    let about: About = read("", text)?;
    about.session_id.map(|text| id("", "session_id", &text)).transpose()
}
