//! Byte budgets: bounds on what all connections together may make the hub keep.
//!
//! A limit on one message or one answer says nothing about a thousand of them at a time. A budget is shared by everything
//! that keeps bytes for the same reason (request bodies that are not complete, answers that are not written), and each
//! holder reserves what it keeps. Dropping a reservation gives its bytes back.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that may be kept at one time, shared by its clones.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    free: Arc<Semaphore>,
    max: usize,
}

impl ByteBudget {
    /// Budget of `max` bytes; at most `u32::MAX`, which is above what the configuration allows.
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

    /// Bytes that nothing has reserved.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Reserves bytes if that many are free. `None`: they are not, and nothing is reserved.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let permits = u32::try_from(bytes).ok()?;
        let permit = Arc::clone(&self.free).try_acquire_many_owned(permits).ok()?;
        Some(Reservation(permit))
    }

    /// Reserves bytes, after those that asked before, as soon as that many are free. More than the whole budget counts as
    /// the whole, so that one large holder proceeds alone instead of never.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        let permits = u32::try_from(bytes.min(self.max)).unwrap_or(u32::MAX);
        match Arc::clone(&self.free).acquire_many_owned(permits).await {
            Ok(permit) => Reservation(permit),
            // A budget is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Bytes of a [`ByteBudget`], given back when this is dropped.
#[derive(Debug)]
pub struct Reservation(OwnedSemaphorePermit);

impl Reservation {
    /// Bytes that are reserved.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// Adds another reservation of the same budget to this one.
    pub fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }

    /// Gives some of the bytes back, all of them if it holds fewer.
    pub fn release(&mut self, bytes: usize) {
        drop(self.0.split(bytes.min(self.bytes())));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// P9: what is reserved is never more than the budget, and comes back in the parts in which it is given back.
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

    /// P9: a holder of more than the budget waits until nothing else is held, then proceeds.
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
