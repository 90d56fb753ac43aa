//! A command on its way from an edge to the hub and back: in a span of its own, and counted.

use std::time::Instant;

use talus_actors::{
    domain::{
        command::{Command, CommandType, Context, Origin},
        ids::{CommandId, Seq, SessionId},
    },
    hub::HubError,
    session_actor::Submitted,
    world::{new_command_id, now},
};
use tracing::{Span, info_span};

use crate::{
    metrics::Metrics,
    wire::{answer::CommandAnswer, error::Failure},
};

/// See the [module](self).
#[derive(Debug)]
pub struct Tracked {
    kind: CommandType,
    started: Instant,
    /// The span, which goes with the command to the fan-out.
    pub span: Span,
}

impl Tracked {
    /// A command that sets out.
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

    /// What it came to, as its sender is told.
    ///
    /// # Errors
    /// If it was refused, or its outcome is unknown.
    pub fn end(self, metrics: &Metrics, result: Result<Submitted, HubError>) -> Result<CommandAnswer, Failure> {
        let result = self.span.in_scope(|| result.map_err(Failure::from));
        let outcome = match &result {
            Ok(submitted) if submitted.receipt.duplicate => "duplicate",
            Ok(_) => "ok",
            Err(failure) => failure.code,
        };
        metrics.observe_command(self.kind.as_str(), outcome, self.started.elapsed());
        result.map(|submitted| CommandAnswer::new(submitted.epoch, &submitted.receipt))
    }
}

/// What comes with a command that has just been received.
#[must_use]
pub fn context(command_id: Option<CommandId>, origin: Origin, expected_seq: Option<Seq>) -> Context {
    Context {
        command_id: command_id.unwrap_or_else(new_command_id),
        origin,
        now: now(),
        expected_seq,
    }
}
