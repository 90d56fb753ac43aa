//! Admission control: permits that bound the work and the bytes in flight (P9).
//!
//! Mailboxes are unbounded, so a message enters a mailbox only with a permit. A limit on one message does not bound a
//! thousand messages at a time, so bytes are counted by the same means: one permit is one byte that the hub keeps.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Semaphore with its number of permits, for messages that name the limit. Clones share the permits.
#[derive(Debug, Clone)]
pub struct Permits {
    free: Arc<Semaphore>,
    max: usize,
}

/// Permits that a holder took. Dropping the value returns all of them.
#[derive(Debug)]
pub struct Permit(OwnedSemaphorePermit);

impl Permits {
    /// Creates `max` permits, at most `u32::MAX`, which is above the range that the configuration allows.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let max = max.min(u32::MAX as usize);
        Self {
            free: Arc::new(Semaphore::new(max)),
            max,
        }
    }

    /// Takes one permit. Returns `None` if all are out.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits. Returns `None`, and takes no permit, if fewer are free.
    #[must_use]
    pub fn try_acquire_many(&self, count: usize) -> Option<Permit> {
        let count = u32::try_from(count).ok()?;
        let permit = Arc::clone(&self.free).try_acquire_many_owned(count).ok()?;
        Some(Permit(permit))
    }

    /// Waits until `count` permits are free, then takes them. Waiting callers are served in order of arrival. A caller
    /// that asks for more than all permits takes all, so that a large holder proceeds alone instead of never.
    pub async fn acquire_many(&self, count: usize) -> Permit {
        let count = u32::try_from(count.min(self.max)).unwrap_or(u32::MAX);
        match Arc::clone(&self.free).acquire_many_owned(count).await {
            Ok(permit) => Permit(permit),
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns the number of permits in total.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Returns the number of permits that are out.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.max - self.free.available_permits()
    }
}

impl Permit {
    /// Returns the number of permits that the holder has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.num_permits()
    }

    /// Adds other permits of the same [`Permits`].
    pub fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }

    /// Returns some of the permits, or all of them if the holder has fewer.
    pub fn release(&mut self, count: usize) {
        drop(self.0.split(count.min(self.count())));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn permits_run_out_and_return() {
        let permits = Permits::new(2);
        let first = permits.try_acquire().expect("the first of two");
        let second = permits.clone().try_acquire().expect("the second of two");
        assert!(permits.try_acquire().is_none());
        assert_eq!(permits.in_use(), 2);
        drop(first);
        assert!(permits.try_acquire().is_some());
        drop(second);
        assert_eq!(permits.in_use(), 0);
    }

    /// P9: the permits that are out never exceed the total, and return in the parts in which they are released.
    #[test]
    fn many_permits_return_in_parts() {
        let permits = Permits::new(10);
        let mut held = permits.try_acquire_many(6).expect("6 of 10 are free");
        assert!(permits.try_acquire_many(5).is_none());
        held.merge(permits.try_acquire_many(4).expect("4 of 4 are free"));
        assert_eq!((held.count(), permits.in_use()), (10, 10));
        held.release(3);
        assert_eq!((held.count(), permits.in_use()), (7, 7));
        held.release(100);
        assert_eq!((held.count(), permits.in_use()), (0, 0));
    }

    /// P9: a caller that asks for more than all permits waits until none is out, then takes all.
    #[test]
    fn oversized_holders_proceed_alone() {
        let permits = Permits::new(10);
        let held = permits.try_acquire().expect("free");
        let mut large = Box::pin(permits.acquire_many(1_000));
        assert!(large.as_mut().now_or_never().is_none());
        drop(held);
        let large = large.now_or_never().expect("all permits are free");
        assert_eq!((large.count(), permits.in_use()), (10, 10));
    }
}
