//! Who writes the project file: one at a time, so that an older state never overwrites a newer one. The writing itself
//! is done elsewhere; the actor only lends the right to it.

use std::collections::VecDeque;

use ractor::ActorRef;

use super::{SaveLease, SessionMessage, snapshot};
use crate::{domain::session::Session, reply::Reply};

/// Those who want to write, in order. Bounded by the permits that their replies hold.
#[derive(Default)]
pub(super) struct SaveQueue {
    lent: bool,
    waiting: VecDeque<Reply<SaveLease>>,
}

impl SaveQueue {
    pub(super) fn begin(
        &mut self,
        myself: &ActorRef<SessionMessage>,
        session: &Session,
        active_clients: usize,
        reply: Reply<SaveLease>,
    ) {
        self.waiting.push_back(reply);
        self.lend(myself, session, active_clients);
    }

    pub(super) fn end(&mut self, myself: &ActorRef<SessionMessage>, session: &Session, active_clients: usize) {
        self.lent = false;
        self.lend(myself, session, active_clients);
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.lent && self.waiting.is_empty()
    }

    fn lend(&mut self, myself: &ActorRef<SessionMessage>, session: &Session, active_clients: usize) {
        while !self.lent {
            let Some(reply) = self.waiting.pop_front() else { return };
            if !reply.is_abandoned() {
                self.lent = true;
                reply.send(SaveLease {
                    snapshot: snapshot(session, active_clients),
                    session: myself.clone(),
                });
            }
        }
    }
}
