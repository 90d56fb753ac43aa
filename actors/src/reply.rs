//! Reply channels with a report of lost replies.
//!
//! A stopping or panicking actor drops mailbox and state, and with them the reply channels. A plain channel tells the
//! caller only that no answer will come. A command needs to know more: a message that was still in the mailbox has
//! changed nothing and can be sent again; a command that was being decided may be in the log or not. A [`Reply`] tells
//! the two cases apart when it is dropped.

use tokio::sync::oneshot;

use crate::permits::Permit;

/// Reason why a message has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyError {
    /// The actor dropped the message before handling it. Nothing changed, and the message can be sent again.
    NotHandled,
    /// The actor ended while handling the message. The outcome is unknown.
    Interrupted,
}

/// Sender of the answer to one message. Holds the message's permit until the answer is sent.
#[derive(Debug)]
pub struct Reply<T> {
    sender: Option<oneshot::Sender<Result<T, ReplyError>>>,
    started: bool,
    permit: Option<Permit>,
}

/// Receiver of the answer to one message.
pub type ReplyReceiver<T> = oneshot::Receiver<Result<T, ReplyError>>;

impl<T> Reply<T> {
    /// Creates a connected pair of sender and receiver.
    #[must_use]
    pub fn new(permit: Option<Permit>) -> (Self, ReplyReceiver<T>) {
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

    /// Marks the message as being handled: from now on, dropping the reply means [`ReplyError::Interrupted`].
    pub fn start(&mut self) {
        self.started = true;
    }

    /// Returns true if the receiver is gone.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Sends the answer. A receiver that is gone is not an error.
    pub fn send(mut self, answer: T) {
        self.resolve(Ok(answer));
    }

    /// Releases the permit before sending, so that the caller can send the next message as soon as the answer arrives.
    fn resolve(&mut self, answer: Result<T, ReplyError>) {
        self.permit = None;
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(answer);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        self.resolve(Err(if self.started {
            ReplyError::Interrupted
        } else {
            ReplyError::NotHandled
        }));
    }
}

/// Waits for the answer.
///
/// # Errors
/// If the reply was dropped without an answer.
pub async fn answer<T>(answer: ReplyReceiver<T>) -> Result<T, ReplyError> {
    // A dropped `Reply` always sends. A channel without a message means that the reply was leaked.
    answer.await.unwrap_or(Err(ReplyError::Interrupted))
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
    use crate::permits::Permits;

    /// Waker that records the number of permits out at the time of the wake.
    struct Woken(Permits, AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0.in_use(), Ordering::Relaxed);
        }
    }

    #[test]
    fn permit_is_released_before_the_answer() {
        for lost in [false, true] {
            let permits = Permits::new(1);
            let (reply, mut waiting) = Reply::new(permits.try_acquire());
            let woken = Arc::new(Woken(permits, AtomicUsize::new(99)));
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
                "the permit is released before the answer arrives"
            );
        }
    }

    #[tokio::test]
    async fn dropped_reply_reports_if_it_was_started() {
        let (reply, waiting) = Reply::<()>::new(None);
        drop(reply);
        assert_eq!(answer(waiting).await, Err(ReplyError::NotHandled));

        let (mut reply, waiting) = Reply::<()>::new(None);
        reply.start();
        drop(reply);
        assert_eq!(answer(waiting).await, Err(ReplyError::Interrupted));

        let (mut reply, waiting) = Reply::new(None);
        reply.start();
        reply.send(7);
        assert_eq!(answer(waiting).await, Ok(7));
    }
}
