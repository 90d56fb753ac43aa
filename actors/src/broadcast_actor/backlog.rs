//! How far a room is behind its session.
//!
//! A session decides faster than a room of many sockets is told, and a mailbox has no bound. So what the room has yet
//! to tell is counted, in deliveries: one command to one socket. At the limit the session takes no further command
//! until the room has caught up; those wait where admission counts them (P9), and what is answered is soon told.
//!
//! The room waits for nobody, so nobody waits for long; and what is lost with a room that fails is counted as told
//! (P10).

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// What the room of a session has yet to tell. The session holds it; the room knows only what is [`Underway`].
pub(crate) struct Backlog(Arc<Shared>);

struct Shared {
    deliveries: AtomicUsize,
    max: usize,
    /// Whether the session waits.
    is_awaited: AtomicBool,
    /// Tells the session that it has no longer to wait. Must not block.
    wake: Box<dyn Fn() + Send + Sync>,
}

/// A command on its way to so many sockets. Dropped when they have it, or never will.
pub struct Underway {
    deliveries: usize,
    of: Arc<Shared>,
}

impl Backlog {
    /// One that is full at `max` deliveries, and calls `wake` when somebody who found it full need not wait any more.
    pub(crate) fn new(max: usize, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            deliveries: AtomicUsize::new(0),
            max,
            is_awaited: AtomicBool::new(false),
            wake: Box::new(wake),
        }))
    }

    /// A command sets out to so many sockets.
    pub(crate) fn enter(&self, deliveries: usize) -> Underway {
        self.0.deliveries.fetch_add(deliveries, Ordering::SeqCst);
        let of = Arc::clone(&self.0);
        Underway { deliveries, of }
    }

    /// Deliveries that the room has yet to make.
    pub(crate) fn deliveries(&self) -> usize {
        self.0.deliveries.load(Ordering::SeqCst)
    }

    /// Whether the session has to wait. It is woken when it has no longer to.
    pub(crate) fn is_full(&self) -> bool {
        let Shared {
            deliveries,
            max,
            is_awaited,
            ..
        } = &*self.0;
        if deliveries.load(Ordering::SeqCst) < *max {
            return false;
        }
        is_awaited.store(true, Ordering::SeqCst);
        // What was told meanwhile was told by somebody who did not see that it is awaited.
        deliveries.load(Ordering::SeqCst) >= *max
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let Shared {
            deliveries,
            max,
            is_awaited,
            wake,
        } = &*self.of;
        let left = deliveries.fetch_sub(self.deliveries, Ordering::SeqCst) - self.deliveries;
        if left < *max && is_awaited.swap(false, Ordering::SeqCst) {
            wake();
        }
    }
}
