//! Answers that cannot get lost silently.
//!
//! An actor that stops or panics drops its mailbox and its state, and with them the reply ports in them; its callers
//! then know only that there will be no answer. For a command that is not enough: one that was still in the mailbox
//! has certainly done nothing and is simply sent again, one that was being decided may be in the log or not. A
//! [`Reply`] knows which of the two it is when it is dropped.

use tokio::sync::oneshot;

use crate::admission::Permit;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The actor never looked at the message: it did nothing, and may be sent again.
    NotStarted,
    /// The actor was at it: what it did is unknown.
    Unknown,
}

/// Where the answer to a message goes. Holds the permits of what is under way until then.
#[derive(Debug)]
pub struct Reply<T> {
    sender: Option<oneshot::Sender<Result<T, Lost>>>,
    started: bool,
    permit: Option<Permit>,
}

/// Where an answer comes from.
pub type Answer<T> = oneshot::Receiver<Result<T, Lost>>;

impl<T> Reply<T> {
    /// A reply and the other end of it.
    #[must_use]
    pub fn new(permit: Option<Permit>) -> (Self, Answer<T>) {
        let (sender, answer) = oneshot::channel();
        (
            Self {
                sender: Some(sender),
                started: false,
                permit,
            },
            answer,
        )
    }

    /// From here on, losing the reply means that the outcome is unknown.
    pub fn start(&mut self) {
        self.started = true;
    }

    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Answers. Somebody who no longer waits is no error.
    pub fn send(mut self, answer: T) {
        self.tell(Ok(answer));
    }

    /// The permit goes first: who hears the answer may ask again at once.
    fn tell(&mut self, answer: Result<T, Lost>) {
        self.permit = None;
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(answer);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        self.tell(Err(if self.started { Lost::Unknown } else { Lost::NotStarted }));
    }
}

/// Waits for an answer.
///
/// # Errors
/// If there will be none.
pub async fn answer<T>(answer: Answer<T>) -> Result<T, Lost> {
    // A reply always sends when it is dropped; a channel that closes without is one whose reply was leaked.
    answer.await.unwrap_or(Err(Lost::Unknown))
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Wake, Waker},
    };

    use super::*;
    use crate::admission::Gate;

    /// Notes what is under way when somebody is woken.
    struct Woken(Gate, AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0.in_flight(), Ordering::Relaxed);
        }
    }

    #[test]
    fn who_hears_an_answer_may_ask_again() {
        for lost in [false, true] {
            let gate = Gate::new(1);
            let (reply, mut waiting) = Reply::new(gate.try_enter());
            let woken = Arc::new(Woken(gate, AtomicUsize::new(99)));
            let waker = Waker::from(Arc::clone(&woken));
            assert!(
                Pin::new(&mut waiting)
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
            if lost {
                drop(reply);
            } else {
                reply.send(7);
            }
            assert_eq!(
                woken.1.load(Ordering::Relaxed),
                0,
                "the permit is back before the answer is there"
            );
        }
    }

    #[tokio::test]
    async fn a_dropped_reply_says_whether_it_was_started() {
        let (reply, waiting) = Reply::<()>::new(None);
        drop(reply);
        assert_eq!(answer(waiting).await, Err(Lost::NotStarted));

        let (mut reply, waiting) = Reply::<()>::new(None);
        reply.start();
        drop(reply);
        assert_eq!(answer(waiting).await, Err(Lost::Unknown));

        let (mut reply, waiting) = Reply::new(None);
        reply.start();
        reply.send(7);
        assert_eq!(answer(waiting).await, Ok(7));
    }
}
