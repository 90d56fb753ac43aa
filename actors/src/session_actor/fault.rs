//! Fault injection: lets operators verify in advance that a failure costs what the documentation says.

use std::{sync::Arc, time::Duration};

use super::machine::{Failure, SessionMachine};
use crate::log::{Append, AppendError, EventLog};

/// Fault for the next command, injected once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Deciding panics. The command is not written.
    PanicDecide,
    /// Applying panics. The command is not written.
    PanicApply,
    /// The room's actor panics while publishing. The command is written.
    PanicBroadcast,
    /// The append fails without writing.
    AppendError,
    /// The append reports a conflict with another writer.
    AppendConflict,
    /// The append writes, and its answer is lost.
    AppendUnknown,
    /// The append is delayed by this time.
    AppendDelay(Duration),
}

/// Failure that an operator requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an operator {0}")]
pub struct OperatorRequest(pub &'static str);

impl SessionMachine {
    /// Panics if `fault` was injected.
    #[expect(clippy::panic, reason = "requested by an operator, with fault injection enabled")]
    pub(super) fn panic_if(&mut self, fault: Fault) {
        if self.fault == Some(fault) {
            self.fault = None;
            panic!("injected: {fault:?}");
        }
    }
}

impl Fault {
    /// Returns true for a fault of an append.
    pub(super) const fn is_of_append(self) -> bool {
        matches!(
            self,
            Self::AppendError | Self::AppendConflict | Self::AppendUnknown | Self::AppendDelay(_)
        )
    }
}

/// Appends, or performs the injected fault instead.
pub(super) fn append(log: Arc<dyn EventLog>, append: Append, fault: Option<Fault>) {
    match fault {
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
        Some(Fault::PanicDecide | Fault::PanicApply | Fault::PanicBroadcast) | None => log.append(append),
    }
}

fn append_later(log: Arc<dyn EventLog>, append: Append, delay: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        log.append(append);
    });
}

/// Returns the error that ends the actor as a failure does.
pub(super) fn fail(reason: &'static str) -> Failure {
    Box::new(OperatorRequest(reason))
}
