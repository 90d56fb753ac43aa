//! Who writes the project file: one at a time, so that an older state never overwrites a newer one. The writing itself
//! is done elsewhere; the actor only lends the right to it.

use std::collections::VecDeque;

use super::SaveLease;
use crate::reply::Reply;

/// Those who want to write, in order. Bounded by the permits that their replies hold.
#[derive(Default)]
pub(super) struct SaveQueue {
    lent: bool,
    waiting: VecDeque<Reply<SaveLease>>,
}

impl SaveQueue {
    pub(super) fn begin(&mut self, reply: Reply<SaveLease>) {
        self.waiting.push_back(reply);
    }

    pub(super) fn end(&mut self) {
        self.lent = false;
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.lent && self.waiting.is_empty()
    }

    /// Who gets the right now: the first who still waits, if nobody has it.
    pub(super) fn next(&mut self) -> Option<Reply<SaveLease>> {
        while !self.lent {
            let reply = self.waiting.pop_front()?;
            self.lent = !reply.is_abandoned();
            if self.lent {
                return Some(reply);
            }
        }
        None
    }
}
