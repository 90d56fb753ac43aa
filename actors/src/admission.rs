//! How much may be under way at once. Mailboxes have no bound of their own, so nothing gets into one without a permit
//! (P9).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts what is under way, up to a limit. Clones share the count.
#[derive(Debug, Clone)]
pub struct Gate {
    in_flight: Arc<AtomicUsize>,
    max: usize,
}

/// One of the things that are under way, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    in_flight: Arc<AtomicUsize>,
}

impl Gate {
    /// A gate that lets in `max` at once.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            in_flight: Arc::default(),
            max,
        }
    }

    /// Lets one more in, or says that there are enough.
    #[must_use]
    pub fn try_enter(&self) -> Option<Permit> {
        // The count alone is shared, nothing is published through it: relaxed is enough.
        if self.in_flight.fetch_add(1, Ordering::Relaxed) < self.max {
            return Some(Permit {
                in_flight: Arc::clone(&self.in_flight),
            });
        }
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// How many are in.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How many may be in.
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
    fn a_gate_lets_in_its_limit_and_no_more_until_one_leaves() {
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
