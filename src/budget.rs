//! Byte budgets: bounds on the bytes that all connections together may make the hub keep.
//!
//! A limit on one message or one answer does not bound a thousand of them at a time. One budget covers all bytes that
//! are kept for the same reason (request bodies that are not complete, answers that are not written), and each holder
//! reserves the bytes that it keeps. Dropping a reservation returns its bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Number of bytes that may be kept at one time. Clones share the same budget.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    free: Arc<Semaphore>,
    max: usize,
}

impl ByteBudget {
    /// Creates a budget of `max` bytes, at most `u32::MAX`, which is above the range that the configuration allows.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let max = max.min(u32::MAX as usize);
        Self {
            free: Arc::new(Semaphore::new(max)),
            max,
        }
    }

    /// Bytes that may be reserved in all.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Bytes that are not reserved.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Reserves bytes if that many are free. `None`: fewer are free, and no bytes are reserved.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let permits = u32::try_from(bytes).ok()?;
        let permit = Arc::clone(&self.free).try_acquire_many_owned(permits).ok()?;
        Some(Reservation(permit))
    }

    /// Waits until that many bytes are free, then reserves them. Waiting reservations are served in order of arrival. A
    /// reservation of more than the whole budget reserves the whole, so that a large holder proceeds alone instead of
    /// never.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        let permits = u32::try_from(bytes.min(self.max)).unwrap_or(u32::MAX);
        match Arc::clone(&self.free).acquire_many_owned(permits).await {
            Ok(permit) => Reservation(permit),
            // A budget is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Bytes of a [`ByteBudget`]. Dropping the reservation returns the bytes.
#[derive(Debug)]
pub struct Reservation(OwnedSemaphorePermit);

impl Reservation {
    /// Number of reserved bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// Adds another reservation of the same budget to this reservation.
    pub fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }

    /// Returns some of the bytes, or all of them if the reservation holds fewer.
    pub fn release(&mut self, bytes: usize) {
        drop(self.0.split(bytes.min(self.bytes())));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// P9: the reserved bytes never exceed the budget, and return in the parts in which they are released.
    #[test]
    fn byte_budget_bounds_reservations() {
        let budget = ByteBudget::new(10);
        let mut held = budget.try_reserve(6).expect("6 of 10 are free");
        assert!(budget.try_reserve(5).is_none());
        held.merge(budget.try_reserve(4).expect("4 of 4 are free"));
        assert_eq!((held.bytes(), budget.free()), (10, 0));
        held.release(3);
        assert_eq!((held.bytes(), budget.free()), (7, 3));
        held.release(100);
        assert_eq!((held.bytes(), budget.free()), (0, 10));
    }

    /// P9: a reservation larger than the budget waits until no other bytes are reserved, then proceeds.
    #[test]
    fn byte_budget_lets_oversized_holders_proceed_alone() {
        let budget = ByteBudget::new(10);
        let held = budget.try_reserve(1).expect("free");
        let mut large = Box::pin(budget.reserve(1_000));
        assert!(large.as_mut().now_or_never().is_none());
        drop(held);
        let large = large.now_or_never().expect("the whole budget is free");
        assert_eq!((large.bytes(), budget.free()), (10, 0));
    }
}
