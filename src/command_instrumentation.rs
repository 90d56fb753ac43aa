//! Span and metrics of a command on its way from an edge to the hub and back.

use std::{sync::Arc, time::Instant};

use talus_actors::{
    clock::now,
    domain::{
        command::{Author, Command, CommandType, Context},
        ids::{CommandId, Seq, SessionId},
    },
    hub::{Hub, HubError},
    random::new_command_id,
    session_actor::Submitted,
};
use tracing::{Instrument as _, Span, info_span};

use crate::{
    metrics::Metrics,
    wire::{ErrorCode, answer::CommandAnswer, error::ApiError},
};

/// Span and start time of one command; see the [module](self).
#[derive(Debug)]
pub struct CommandSpan {
    kind: CommandType,
    started: Instant,
    /// Span of the command, which accompanies the command to the fan-out.
    pub span: Span,
}

impl CommandSpan {
    /// Starts the span and the clock of a command.
    #[must_use]
    pub fn begin(session_id: SessionId, command: &Command, context: &Context) -> Self {
        let kind = command.kind();
        let span = info_span!("command", command_id = %context.command_id, command_type = %kind, %session_id);
        Self {
            kind,
            started: Instant::now(),
            span,
        }
    }

    /// Records the outcome of the command.
    fn record(&self, metrics: &Metrics, result: &Result<Submitted, HubError>) {
        let outcome = match result {
            Ok(submitted) if submitted.receipt.duplicate => "duplicate",
            Ok(_) => "ok",
            Err(error) => ErrorCode::from(error).as_str(),
        };
        metrics.observe_command(self.kind.as_str(), outcome, self.started.elapsed());
    }

    /// Records the outcome of the command, and converts the outcome to the answer for the sender.
    ///
    /// # Errors
    /// Returns an error if the command was refused, or if its outcome is unknown.
    pub fn end(self, metrics: &Metrics, result: Result<Submitted, HubError>) -> Result<CommandAnswer, ApiError> {
        self.record(metrics, &result);
        let result = self.span.in_scope(|| result.map_err(ApiError::from));
        result.map(|submitted| CommandAnswer::new(submitted.epoch, &submitted.receipt))
    }
}

/// Submits a command and waits for its outcome, with the span and the metrics of the command.
///
/// # Errors
/// Returns an error if the command was refused, or if its outcome is unknown.
pub async fn submit(
    hub: &Hub,
    metrics: &Metrics,
    session_id: SessionId,
    command: Command,
    context: Context,
) -> Result<Submitted, HubError> {
    let tracked = CommandSpan::begin(session_id, &command, &context);
    let submitted = hub.submit(session_id, Arc::new(command), context, tracked.span.clone());
    let result = submitted.instrument(tracked.span.clone()).await;
    tracked.record(metrics, &result);
    result
}

/// Builds the context of a command that has just been received. A command without an id gets a new id.
#[must_use]
pub fn context(command_id: Option<CommandId>, author: Author, expected_seq: Option<Seq>) -> Context {
    Context {
        command_id: command_id.unwrap_or_else(new_command_id),
        author,
        now: now(),
        expected_seq,
    }
}
