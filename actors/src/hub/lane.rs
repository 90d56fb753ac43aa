//! Ordered submission: the commands of one sender reach the session in the order of sending.
//!
//! A sender that waits for each answer before sending the next command needs no lane. A sender that pipelines has
//! several commands in flight, and a session that fails returns the commands that it had not handled: if each were sent
//! again by itself, the commands could overtake each other. A lane sends pipelined commands without waiting as long as
//! all go to the same actor. Before the first command goes to the next actor, the lane collects the returned commands
//! and sends them first.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{StreamExt, stream::FuturesOrdered};
use ractor::ActorId;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use super::{ATTEMPTS_MAX, Hub, HubError};
use crate::{
    domain::{
        command::{Command, Context},
        ids::SessionId,
    },
    permits::{Permit, Permits},
    registry::SessionHandle,
    reply::{self, Reply, ReplyError},
    session_actor::{RejectedCommand, SessionMessage, Submission, Submitted},
};

/// Ordered stream of the commands of one sender to one session. Dropping the lane discards no submitted command.
pub struct Lane {
    hub: Hub,
    permits: Permits,
    jobs: mpsc::UnboundedSender<Box<Job>>,
}

/// Command on its way through a lane.
struct Job {
    command: Arc<Command>,
    context: Context,
    span: Span,
    done: oneshot::Sender<Result<Submitted, HubError>>,
    /// Number of actors that ended before handling the command.
    attempts: usize,
    permits: (Permit, Permit),
}

impl Job {
    /// Sends the answer. The permits are released first, so that the caller can send the next command as soon as the
    /// answer arrives. A receiver that is gone is not an error.
    fn answer(self, answer: Result<Submitted, HubError>) {
        let Self { done, permits, .. } = self;
        drop(permits);
        let _ = done.send(answer);
    }
}

type SubmitOutcome = Result<Result<Submitted, RejectedCommand>, ReplyError>;

impl Lane {
    /// Creates a lane to a session. A lane admits as many commands as may be in flight in a session.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn new(hub: &Hub, session_id: SessionId) -> Self {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let runner = Runner {
            hub: hub.clone(),
            session_id,
            waiting: VecDeque::new(),
            returned: VecDeque::new(),
            sent_to: None,
        };
        tokio::spawn(runner.run(inbox));
        Self {
            hub: hub.clone(),
            permits: Permits::new(hub.0.settings.supervision.in_flight_per_session_max),
            jobs,
        }
    }

    /// Submits a command after all commands that were submitted before, and returns a future of the outcome. The
    /// command is on its way when the method returns, whether or not the future is polled.
    ///
    /// # Errors
    /// If the command is rejected, its outcome is unknown, or it was not admitted.
    pub fn submit(
        &self,
        command: Arc<Command>,
        context: Context,
        span: Span,
    ) -> impl Future<Output = Result<Submitted, HubError>> + Send + use<> {
        let (done, answer) = oneshot::channel();
        let refused = self.admit().map(|permits| {
            let job = Job {
                command,
                context,
                span,
                done,
                attempts: 0,
                permits,
            };
            // The runner lives at least as long as the lane.
            let _ = self.jobs.send(Box::new(job));
        });
        async move {
            refused?;
            // A runner that ends without an answer was stopped with the runtime.
            answer.await.unwrap_or(Err(HubError::OutcomeUnknown))
        }
    }

    fn admit(&self) -> Result<(Permit, Permit), HubError> {
        let global = self.hub.admit()?;
        let own = self.permits.try_acquire().ok_or(HubError::Overloaded {
            limit: "in_flight_per_session_max",
            max: self.permits.max(),
        })?;
        Ok((global, own))
    }
}

/// Task behind a lane.
struct Runner {
    hub: Hub,
    session_id: SessionId,
    /// Unsent commands, in order.
    waiting: VecDeque<Box<Job>>,
    /// Commands that an actor returned unhandled; each precedes all of `waiting`.
    returned: VecDeque<Box<Job>>,
    /// Actor that holds the commands in flight.
    sent_to: Option<ActorId>,
}

impl Runner {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Box<Job>>) {
        let mut in_flight = FuturesOrdered::new();
        let mut open = true;
        while open || !in_flight.is_empty() {
            tokio::select! {
                job = inbox.recv(), if open => match job {
                    Some(job) => self.waiting.push_back(job),
                    None => open = false,
                },
                Some((job, outcome)) = in_flight.next(), if !in_flight.is_empty() => self.handle_answer(job, outcome),
            }
            // Returned commands are sent before waiting ones, and only after every command in flight has been answered
            // or returned.
            if !self.returned.is_empty() && in_flight.is_empty() {
                std::mem::swap(&mut self.waiting, &mut self.returned);
                self.waiting.append(&mut self.returned);
                self.find_next_actor().await;
            }
            while let Some((job, handle)) = self.next(in_flight.is_empty()).await {
                if let Some(sent) = self.send(job, &handle) {
                    in_flight.push_back(sent);
                }
            }
        }
    }

    /// Answers a command, or queues the command again if the actor returned it unhandled.
    fn handle_answer(&mut self, mut job: Box<Job>, outcome: SubmitOutcome) {
        let answer = match outcome {
            Ok(Ok(submitted)) => Ok(submitted),
            Ok(Err(RejectedCommand { rejection, seq })) => Err(HubError::Rejected { rejection, seq }),
            Err(ReplyError::NotHandled) if job.attempts + 1 < ATTEMPTS_MAX => {
                job.attempts += 1;
                self.returned.push_back(job);
                return;
            }
            Err(ReplyError::NotHandled | ReplyError::Interrupted) => Err(HubError::OutcomeUnknown),
        };
        job.answer(answer);
    }

    /// Returns the next command and its actor. As long as commands are in flight, only the actor that holds them
    /// qualifies.
    async fn next(&mut self, is_idle: bool) -> Option<(Box<Job>, SessionHandle)> {
        if self.waiting.is_empty() || !self.returned.is_empty() {
            return None;
        }
        let known = self.hub.0.registry.find(self.session_id);
        let same = known.filter(|handle| is_idle || self.sent_to == Some(handle.actor.get_id()));
        let handle = match same {
            Some(handle) => handle,
            None if is_idle => self.find_next_actor().await?,
            None => return None,
        };
        self.waiting.pop_front().map(|job| (job, handle))
    }

    /// Returns the actor that follows the ended one. If there is none, answers all waiting commands with the error.
    async fn find_next_actor(&mut self) -> Option<SessionHandle> {
        match self.hub.find(self.session_id, self.sent_to).await {
            Ok(handle) => Some(handle),
            Err(error) => {
                for job in self.waiting.drain(..) {
                    job.answer(Err(error.clone()));
                }
                None
            }
        }
    }

    /// Puts a command into the actor's mailbox.
    fn send(
        &mut self,
        job: Box<Job>,
        handle: &SessionHandle,
    ) -> Option<impl Future<Output = (Box<Job>, SubmitOutcome)> + use<>> {
        let refused = match (self.hub.log_refusal_reason(), handle.admit()) {
            (Some(reason), _) => HubError::LogRefuses { reason },
            (None, Err(error)) => error,
            (None, Ok(permit)) => {
                self.sent_to = Some(handle.actor.get_id());
                let (reply, answer) = Reply::new(Some(permit));
                let submission = Submission {
                    command: Arc::clone(&job.command),
                    context: job.context.clone(),
                    reply,
                    span: job.span.clone(),
                };
                // A failed cast drops the message with the reply, which then reports [`ReplyError::NotHandled`].
                let _ = handle.actor.cast(SessionMessage::Submit(submission));
                return Some(async move {
                    let outcome = reply::answer(answer).await;
                    (job, outcome)
                });
            }
        };
        job.answer(Err(refused));
        None
    }
}
