//! Failing on purpose: how operators find out, before it matters, that a failure costs what the documentation says.

use std::{sync::Arc, time::Duration};

use ractor::ActorProcessingErr;

use super::SessionState;
use crate::log::{Append, AppendError, EventLog};

/// What is to go wrong once, with the next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Deciding panics: the command was not written.
    PanicDecide,
    /// Applying panics: the command was not written.
    PanicApply,
    /// The room's actor panics over what it is to publish: the command is written.
    PanicBroadcast,
    /// The log cannot write.
    AppendError,
    /// The log says that somebody else was here.
    AppendConflict,
    /// The log writes, and its answer gets lost.
    AppendUnknown,
    /// The log takes its time.
    AppendDelay(Duration),
}

/// An operator wants the actor to fail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an operator {0}")]
pub struct ByOperator(pub &'static str);

impl SessionState {
    /// Fails if that was asked for.
    #[expect(
        clippy::panic,
        reason = "an operator asked for it, and fault injection is switched on"
    )]
    pub(super) fn fail_if(&mut self, fault: Fault) {
        if self.fault == Some(fault) {
            self.fault = None;
            panic!("injected: {fault:?}");
        }
    }

    /// Appends, or does what was asked for instead.
    pub(super) fn append(&mut self, append: Append) {
        let log = Arc::clone(&self.resources.log);
        match self.fault.take() {
            Some(Fault::AppendError) => append.done.tell(Err(AppendError::Io("injected".to_owned()))),
            Some(Fault::AppendConflict) => {
                let (expected, actual) = (append.expected, append.expected.plus(1));
                append.done.tell(Err(AppendError::Conflict { expected, actual }));
            }
            Some(Fault::AppendUnknown) => log.append(Append {
                done: append.done.lost(),
                ..append
            }),
            Some(Fault::AppendDelay(delay)) => append_later(log, append, delay),
            other => {
                self.fault = other;
                log.append(append);
            }
        }
    }
}

fn append_later(log: Arc<dyn EventLog>, append: Append, delay: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        log.append(append);
    });
}

/// Ends the actor the way a failure does.
pub(super) fn fail(reason: &'static str) -> ActorProcessingErr {
    Box::new(ByOperator(reason))
}
