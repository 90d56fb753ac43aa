//! Delivery credits: back-pressure from a room to its session.
//!
//! A session decides faster than a room with many sockets delivers, and a mailbox is unbounded. The undelivered work of
//! a room is therefore counted in deliveries: one command to one socket. At the limit the session takes no further
//! command until the room has caught up. The commands wait where admission counts them (P9), and an answered command is
//! soon published.
//!
//! A room blocks on no socket, so the wait is short. The credits of a failed room are returned (P10).

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Counter of undelivered work. Owned by the session; each publication carries its share as [`HeldCredits`].
pub(crate) struct DeliveryCredits(Arc<Shared>);

struct Shared {
    deliveries: AtomicUsize,
    max: usize,
    /// True while the session waits for room.
    is_session_waiting: AtomicBool,
    /// Wakes the session. Must not block.
    wake: Box<dyn Fn() + Send + Sync>,
}

/// Credits of one published command: one per receiving socket. Dropped after the delivery or with a failed room.
pub struct HeldCredits {
    deliveries: usize,
    shared: Arc<Shared>,
}

impl DeliveryCredits {
    /// Creates a counter that is full at `max` deliveries. `wake` is called when the counter has room again after
    /// [`DeliveryCredits::is_full`] returned true.
    pub(crate) fn new(max: usize, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            deliveries: AtomicUsize::new(0),
            max,
            is_session_waiting: AtomicBool::new(false),
            wake: Box::new(wake),
        }))
    }

    /// Takes `deliveries` credits for one command.
    pub(crate) fn take(&self, deliveries: usize) -> HeldCredits {
        self.0.deliveries.fetch_add(deliveries, Ordering::SeqCst);
        let shared = Arc::clone(&self.0);
        HeldCredits { deliveries, shared }
    }

    /// Returns the number of credits that are out.
    pub(crate) fn deliveries(&self) -> usize {
        self.0.deliveries.load(Ordering::SeqCst)
    }

    /// Returns true if the session has to wait. The session is then woken once there is room.
    pub(crate) fn is_full(&self) -> bool {
        let Shared {
            deliveries,
            max,
            is_session_waiting,
            ..
        } = &*self.0;
        if deliveries.load(Ordering::SeqCst) < *max {
            return false;
        }
        is_session_waiting.store(true, Ordering::SeqCst);
        // Second check: credits that were returned between the first load and the store did not see the flag.
        deliveries.load(Ordering::SeqCst) >= *max
    }
}

impl Drop for HeldCredits {
    fn drop(&mut self) {
        let Shared {
            deliveries,
            max,
            is_session_waiting,
            wake,
        } = &*self.shared;
        let left = deliveries.fetch_sub(self.deliveries, Ordering::SeqCst) - self.deliveries;
        if left < *max && is_session_waiting.swap(false, Ordering::SeqCst) {
            wake();
        }
    }
}
