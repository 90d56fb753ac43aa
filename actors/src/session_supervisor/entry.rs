//! What the supervisor knows of a session.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use ractor::ActorRef;
use tokio::sync::Semaphore;

use super::FindError;
use crate::{
    admission::Gate,
    broadcast_actor::{BroadcastMessage, Departing, Farewell},
    directory::SessionHandle,
    domain::{
        ids::{Seq, Timestamp},
        session::Genesis,
    },
    log::StoredHead,
    reply::Reply,
    session_actor::{Roll, Snapshot},
    world::now,
};

/// What is known of a session that is asleep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What the session is.
    pub genesis: Genesis,
    /// Its `seq` when it was last looked at.
    pub seq: Seq,
    /// Its nodes then.
    pub node_count: usize,
    /// When its last command was received.
    pub last_activity: Timestamp,
    /// Sockets in its room when it was last looked at.
    pub active_clients: usize,
}

impl Summary {
    pub(crate) fn update(&mut self, snapshot: &Snapshot) {
        self.seq = snapshot.seq;
        self.node_count = snapshot.document.graph.len();
        self.last_activity = snapshot.last_activity;
        self.active_clients = snapshot.active_clients;
    }
}

/// Every session has one, and most sleep: what only those need that were used is not in it ([`Usage`]).
pub(super) struct Entry {
    pub(super) summary: Summary,
    /// Its place in the order in which sessions began, if it did.
    number: Option<u64>,
    pub(super) life: Life,
    usage: Option<Box<Usage>>,
}

/// What is known of a session that somebody has talked to, or that an operator has looked after, since the hub started.
pub(super) struct Usage {
    pub(super) room: Option<ActorRef<BroadcastMessage>>,
    pub(super) roll: Roll,
    /// Those who wait until it runs. Bounded by the permits that the callers hold.
    pub(super) callers: Vec<Reply<Result<SessionHandle, FindError>>>,
    /// Reason to quarantine it as soon as its actor has ended, if there is one.
    pub(super) condemned: Option<Arc<str>>,
    /// When its actor began to serve.
    pub(super) started_at: Option<Timestamp>,
    /// When its actor failed, until the next one serves.
    pub(super) failed_at: Option<Instant>,
    /// Failures since the hub started.
    pub(super) restarts: u64,
    pub(super) last_failure: Option<(Timestamp, Arc<str>)>,
    /// See [`SessionHandle::saving`].
    pub(super) saving: Arc<Semaphore>,
    /// Of its actors.
    pub(super) failures: Failures,
    /// Of its rooms' actors.
    pub(super) room_failures: Failures,
    gate: Option<Gate>,
}

/// When something failed lately.
#[derive(Default)]
pub(super) struct Failures(VecDeque<Instant>);

pub(super) enum Life {
    /// Its id and its project's are taken, its log is being begun: nobody knows of it yet.
    Beginning,
    /// In the log only.
    Asleep,
    /// It has an actor.
    Awake(SessionHandle),
    /// Its actor is about to end, with nothing left to do.
    FallingAsleep,
    /// Its actor failed, and the next one is about to start.
    Restarting,
    /// It failed too often.
    Quarantined { reason: Arc<str> },
    /// Its actor is about to end for good.
    Deleting(Reply<Result<(), FindError>>),
}

impl Entry {
    pub(super) fn beginning(head: StoredHead) -> Self {
        Self {
            summary: Summary {
                genesis: head.genesis,
                seq: head.seq,
                node_count: head.node_count,
                last_activity: head.last_activity,
                active_clients: 0,
            },
            number: None,
            life: Life::Beginning,
            usage: None,
        }
    }

    /// Its place in the order in which sessions began, if it did.
    pub(super) const fn number(&self) -> Option<u64> {
        self.number
    }

    /// It has a log, and a place in the order.
    pub(super) fn begin(&mut self, number: u64) {
        self.number = Some(number);
        self.life = Life::Asleep;
    }

    /// What is known of it since it was used, if it was.
    pub(super) fn usage(&self) -> Option<&Usage> {
        self.usage.as_deref()
    }

    /// It is used.
    pub(super) fn usage_mut(&mut self) -> &mut Usage {
        self.usage.get_or_insert_default()
    }

    pub(super) fn has_callers(&self) -> bool {
        self.usage().is_some_and(|usage| !usage.callers.is_empty())
    }

    /// Lets the room go: its sockets are told so, and let go too. Those on the roll as well, whom a room that has just
    /// failed, or has just been started, does not know.
    pub(super) fn close_room(&mut self, why: Farewell) {
        let Some(usage) = &mut self.usage else { return };
        let departing = Departing::new(why, now(), std::mem::take(&mut usage.roll).members());
        if let Some(room) = usage.room.take() {
            let _ = room.cast(BroadcastMessage::Close(departing));
            // What it was told until now is still to be done.
            let _ = room.drain();
        }
    }

    pub(super) fn answer_all(&mut self, error: &FindError) {
        for caller in self.usage.iter_mut().flat_map(|usage| usage.callers.drain(..)) {
            caller.send(Err(error.clone()));
        }
    }
}

impl Usage {
    /// The session's gate: one for all its actors, so that a restart admits no more than before.
    pub(super) fn gate(&mut self, max: usize) -> Gate {
        self.gate.get_or_insert_with(|| Gate::new(max)).clone()
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            room: None,
            roll: Roll::default(),
            callers: Vec::new(),
            condemned: None,
            started_at: None,
            failed_at: None,
            restarts: 0,
            last_failure: None,
            saving: Arc::new(Semaphore::new(1)),
            failures: Failures::default(),
            room_failures: Failures::default(),
            gate: None,
        }
    }
}

impl Failures {
    /// Forgets them.
    pub(super) fn forgive(&mut self) {
        self.0.clear();
    }

    /// Notes a failure and tells how many there were within the window.
    pub(super) fn note(&mut self, now: Instant, window: Duration) -> usize {
        self.0.push_back(now);
        while self.0.front().is_some_and(|&first| now.duration_since(first) > window) {
            self.0.pop_front();
        }
        self.0.len()
    }
}
