//! Admission control: permits that bound the work in flight. Mailboxes are unbounded, so a message enters a mailbox
//! only with a permit (P9).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counting semaphore without a wait queue. Clones share the count.
#[derive(Debug, Clone)]
pub struct Gate {
    in_flight: Arc<AtomicUsize>,
    max: usize,
}

/// Permit of a [`Gate`]. Dropping the permit returns its slot.
#[derive(Debug)]
pub struct Permit {
    in_flight: Arc<AtomicUsize>,
}

impl Gate {
    /// Creates a gate with `max` permits.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            in_flight: Arc::default(),
            max,
        }
    }

    /// Takes a permit. Returns `None` if `max` permits are out.
    #[must_use]
    pub fn try_enter(&self) -> Option<Permit> {
        // Relaxed ordering is enough: the count is the only shared value, and no other memory is published through it.
        if self.in_flight.fetch_add(1, Ordering::Relaxed) < self.max {
            return Some(Permit {
                in_flight: Arc::clone(&self.in_flight),
            });
        }
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Returns the number of permits that are out.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns the number of permits in total.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_admits_up_to_its_limit() {
        let gate = Gate::new(2);
        let first = gate.try_enter().expect("the first of two");
        let second = gate.clone().try_enter().expect("the second of two");
        assert!(gate.try_enter().is_none());
        assert_eq!(gate.in_flight(), 2);
        drop(first);
        assert!(gate.try_enter().is_some());
        drop(second);
        assert_eq!(gate.in_flight(), 0);
    }
}
