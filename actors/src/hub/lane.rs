//! One sender's commands, in the order in which he sent them.
//!
//! Whoever waits for each answer before he sends the next command needs nothing for that. Whoever does not has several
//! under way, and a session that fails gives back those that it had not got to: sent again each by itself, they could
//! overtake one another. A lane sends them one after the other without waiting, as long as they go to the same actor, and
//! takes up what came back before it sends anything to the next one.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{StreamExt, stream::FuturesOrdered};
use ractor::ActorId;
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use super::{ATTEMPTS_MAX, Hub, HubError};
use crate::{
    admission::{Gate, Permit},
    directory::SessionHandle,
    domain::{
        command::{Command, Context},
        ids::SessionId,
    },
    reply::{self, Lost, Reply},
    session_actor::{Refusal, SessionMessage, Submission, Submitted},
};

/// One sender's commands to a session, which get there in the order in which he sent them. Dropped, it still sends what
/// it was given.
pub struct Lane {
    hub: Hub,
    gate: Gate,
    jobs: mpsc::UnboundedSender<Box<Job>>,
}

/// A command on its way through a lane.
struct Job {
    command: Arc<Command>,
    context: Context,
    span: Span,
    done: oneshot::Sender<Result<Submitted, HubError>>,
    /// Actors that ended before they got to it.
    attempts: usize,
    permits: (Permit, Permit),
}

impl Job {
    /// The permits go first: who hears the answer may ask again at once. Somebody who no longer waits is no error.
    fn answer(self, answer: Result<Submitted, HubError>) {
        let Self { done, permits, .. } = self;
        drop(permits);
        let _ = done.send(answer);
    }
}

type Told = Result<Result<Submitted, Refusal>, Lost>;

impl Lane {
    /// A lane to a session. As many commands may be on it as may be under way in a session.
    ///
    /// # Panics
    /// Outside a runtime.
    #[must_use]
    pub fn new(hub: &Hub, session_id: SessionId) -> Self {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let runner = Runner {
            hub: hub.clone(),
            session_id,
            waiting: VecDeque::new(),
            came_back: VecDeque::new(),
            sent_to: None,
        };
        tokio::spawn(runner.run(inbox));
        Self {
            hub: hub.clone(),
            gate: Gate::new(hub.0.in_flight_per_session_max),
            jobs,
        }
    }

    /// Has a command decided after those that the lane was given before, and tells what came of it. It is on its way when
    /// this returns, whether the answer is waited for or not.
    ///
    /// # Errors
    /// The answer is one if the command is refused, or its outcome is unknown, or it was not let in.
    pub fn submit(
        &self,
        command: Arc<Command>,
        context: Context,
        span: Span,
    ) -> impl Future<Output = Result<Submitted, HubError>> + Send + use<> {
        let (done, answer) = oneshot::channel();
        let refused = self.enter().map(|permits| {
            let job = Job {
                command,
                context,
                span,
                done,
                attempts: 0,
                permits,
            };
            // The runner ends after the lane does.
            let _ = self.jobs.send(Box::new(job));
        });
        async move {
            refused?;
            // A runner that is gone without an answer went down with the runtime.
            answer.await.unwrap_or(Err(HubError::OutcomeUnknown))
        }
    }

    fn enter(&self) -> Result<(Permit, Permit), HubError> {
        let global = self.hub.enter()?;
        let own = self.gate.try_enter().ok_or(HubError::Overloaded {
            limit: "in_flight_per_session_max",
            max: self.gate.max(),
        })?;
        Ok((global, own))
    }
}

/// What runs behind a lane.
struct Runner {
    hub: Hub,
    session_id: SessionId,
    /// Not sent yet.
    waiting: VecDeque<Box<Job>>,
    /// Those that the actor did not get to, which are before all that wait.
    came_back: VecDeque<Box<Job>>,
    /// The actor that has what is under way.
    sent_to: Option<ActorId>,
}

impl Runner {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Box<Job>>) {
        let mut under_way = FuturesOrdered::new();
        let mut open = true;
        while open || !under_way.is_empty() {
            tokio::select! {
                job = inbox.recv(), if open => match job {
                    Some(job) => self.waiting.push_back(job),
                    None => open = false,
                },
                Some((job, told)) = under_way.next(), if !under_way.is_empty() => self.heard(job, told),
            }
            // What came back goes first, and goes together: until all of it has, nothing does.
            if !self.came_back.is_empty() && under_way.is_empty() {
                std::mem::swap(&mut self.waiting, &mut self.came_back);
                self.waiting.append(&mut self.came_back);
                self.find_next().await;
            }
            while let Some((job, handle)) = self.next(under_way.is_empty()).await {
                if let Some(sent) = self.send(job, &handle) {
                    under_way.push_back(sent);
                }
            }
        }
    }

    /// An answer, or a command that is to be sent again.
    fn heard(&mut self, mut job: Box<Job>, told: Told) {
        let answer = match told {
            Ok(Ok(submitted)) => Ok(submitted),
            Ok(Err(Refusal { rejection, seq })) => Err(HubError::Rejected { rejection, seq }),
            Err(Lost::NotStarted) if job.attempts + 1 < ATTEMPTS_MAX => {
                job.attempts += 1;
                self.came_back.push_back(job);
                return;
            }
            Err(Lost::NotStarted | Lost::Unknown) => Err(HubError::OutcomeUnknown),
        };
        job.answer(answer);
    }

    /// The next command, and whom to send it to: nobody but the actor that has those before it, as long as it has any.
    async fn next(&mut self, nothing_under_way: bool) -> Option<(Box<Job>, SessionHandle)> {
        if self.waiting.is_empty() || !self.came_back.is_empty() {
            return None;
        }
        let known = self.hub.0.directory.find(self.session_id);
        let same = known.filter(|handle| nothing_under_way || self.sent_to == Some(handle.actor.get_id()));
        let handle = match same {
            Some(handle) => handle,
            None if nothing_under_way => self.find_next().await?,
            None => return None,
        };
        self.waiting.pop_front().map(|job| (job, handle))
    }

    /// The actor after the one that has ended. If there will be none, everybody who waits is told why.
    async fn find_next(&mut self) -> Option<SessionHandle> {
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
    ) -> Option<impl Future<Output = (Box<Job>, Told)> + use<>> {
        let refused = match (self.hub.log_refuses(), handle.enter()) {
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
                // A message that is not taken drops its reply, which then says so.
                let _ = handle.actor.cast(SessionMessage::Submit(submission));
                return Some(async move {
                    let told = reply::answer(answer).await;
                    (job, told)
                });
            }
        };
        job.answer(Err(refused));
        None
    }
}
