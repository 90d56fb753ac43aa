//! Memberships of a socket: the sessions that it has joined.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::{FutureExt, future::BoxFuture};
use imbl::{OrdMap, OrdSet};
use talus_actors::{
    domain::ids::{ClientId, SessionId},
    fan_out::{Delivery, MemberId, Presence},
    hub::{Hub, Lane},
    permits::{Permit, Permits},
};

use tokio::sync::mpsc;

use super::{
    peer::{Connection, Peer},
    refusals::Refusals,
};
use crate::{
    config::Realtime,
    wire::{ErrorCode, error::ApiError},
};

/// Membership of a socket in a session.
#[derive(Clone)]
pub(super) struct Membership {
    pub(super) session_id: SessionId,
    pub(super) member: MemberId,
    /// Submits the commands of the membership in order.
    pub(super) lane: Arc<Lane>,
    /// State that the client has set with `presence:update`.
    pub(super) presence: Presence,
    /// Socket in the session's room. Weak: the socket owns its memberships, and must not own itself.
    peer: Weak<Peer>,
}

impl Membership {
    pub(super) fn peer(&self) -> Option<Arc<Peer>> {
        self.peer.upgrade()
    }
}

/// Sessions of one socket. Events of its own client write, and their handlers read: no lock.
pub(super) struct Memberships {
    /// Identity of the client in all sessions.
    pub(super) client_id: ClientId,
    /// Delivery of the events of commands in all sessions.
    pub(super) frames: Delivery,
    /// True if the client may join and leave sessions while it is connected.
    pub(super) late_join: bool,
    /// Permits of acknowledgements that wait for room in the socket's queue. The permits bound a client that asks
    /// without reading (P9).
    pub(super) answers: Permits,
    /// Refusals that wait for room in the queue, for requests beyond those permits.
    pub(super) refusals: Refusals,
    /// First delay before an acknowledgement is sent again to a full queue.
    pub(super) retry: Duration,
    hub: Hub,
    by_session: ArcSwap<OrdMap<SessionId, Membership>>,
    /// Sessions that were quarantined during the membership, or before a join was complete. They are remembered for the
    /// error code of later requests.
    quarantined: ArcSwap<OrdSet<SessionId>>,
    quarantined_max: usize,
    /// Permit of the connection. `None` after the disconnect.
    permit: ArcSwapOption<Permit>,
    /// Set by the disconnect. The library's own mark is unreliable: a connect in progress sets it again.
    is_disconnected: AtomicBool,
    serial_tasks: Option<mpsc::UnboundedSender<SerialTask>>,
}

/// Task that runs after the earlier tasks of its socket.
pub(super) type SerialTask = BoxFuture<'static, ()>;

impl Memberships {
    /// Creates memberships without a session.
    pub(super) fn new(
        hub: &Hub,
        client_id: ClientId,
        frames: Delivery,
        realtime: &Realtime,
        answers: Permits,
        permit: Permit,
    ) -> Self {
        let late_join = realtime.late_join;
        Self {
            client_id,
            frames,
            late_join,
            answers,
            refusals: Refusals::new(realtime.refusals_waiting_max),
            retry: realtime.slow_consumer_retry(),
            hub: hub.clone(),
            by_session: ArcSwap::default(),
            quarantined: ArcSwap::default(),
            quarantined_max: realtime.sessions_per_socket_max,
            permit: ArcSwapOption::from_pointee(permit),
            is_disconnected: AtomicBool::new(false),
            serial_tasks: late_join.then(start_serial_tasks),
        }
    }

    /// Marks the socket as disconnected and returns its connection permit. A join that completes later is undone by the
    /// joining task. The caller removes the earlier memberships from their rooms.
    pub(super) fn mark_disconnected(&self) {
        // The mark is set before the memberships are read, and a join reads the mark after it: one of the two sides
        // sees the other.
        self.is_disconnected.store(true, Ordering::SeqCst);
        self.permit.store(None);
    }

    /// Runs a task after the earlier tasks of the socket. Joins and leaves take a while, and must not overtake one
    /// another.
    pub(super) fn run_serially(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(serial_tasks) = &self.serial_tasks {
            // The receiver lives as long as this sender.
            let _ = serial_tasks.send(task.boxed());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_session.load().len()
    }

    pub(super) fn all(&self) -> Vec<Membership> {
        self.by_session.load().values().cloned().collect()
    }

    /// Creates a membership. `None` if the socket is a member of the session already.
    pub(super) fn add(&self, session_id: SessionId) -> Option<Membership> {
        let new = Membership {
            session_id,
            member: self.hub.next_member_id(),
            lane: Arc::new(Lane::new(&self.hub, session_id)),
            presence: Presence::default(),
            peer: Weak::new(),
        };
        let before = self.by_session.rcu(|by_session| match by_session.get(&session_id) {
            Some(_) => OrdMap::clone(by_session),
            None => by_session.update(session_id, new.clone()),
        });
        self.clear_quarantine(session_id);
        (!before.contains_key(&session_id)).then_some(new)
    }

    /// Stores the socket as the session's room knows it.
    pub(super) fn attach_peer(&self, member: MemberId, peer: &Arc<Peer>) {
        self.by_session.rcu(|by_session| {
            let known = by_session.values().find(|membership| membership.member == member);
            match known.cloned() {
                Some(mut membership) => {
                    membership.peer = Arc::downgrade(peer);
                    by_session.update(membership.session_id, membership)
                }
                None => OrdMap::clone(by_session),
            }
        });
    }

    /// True while the membership exists.
    pub(super) fn contains_member(&self, member: MemberId) -> bool {
        self.by_session
            .load()
            .values()
            .any(|membership| membership.member == member)
    }

    /// Removes a membership, unless a newer membership of the same session has replaced it.
    pub(super) fn remove(&self, session_id: SessionId, member: MemberId) {
        self.by_session.rcu(|by_session| match by_session.get(&session_id) {
            Some(membership) if membership.member == member => by_session.without(&session_id),
            Some(_) | None => OrdMap::clone(by_session),
        });
    }

    /// Removes the membership of a quarantined session. Later requests get `SESSION_QUARANTINED` instead of
    /// `SESSION_NOT_FOUND`, until the client joins or leaves the session. At most as many quarantined sessions are kept
    /// as a socket may have memberships; beyond that one is forgotten (P9).
    pub(super) fn remove_quarantined(&self, session_id: SessionId, member: MemberId) {
        self.quarantined.rcu(|ids| {
            let kept = match ids.get_min() {
                Some(least) if ids.len() >= self.quarantined_max => ids.without(least),
                Some(_) | None => OrdSet::clone(ids),
            };
            kept.update(session_id)
        });
        self.remove(session_id, member);
    }

    fn clear_quarantine(&self, session_id: SessionId) {
        if self.quarantined.load().contains(&session_id) {
            self.quarantined.rcu(|ids| ids.without(&session_id));
        }
    }

    /// Removes and returns the membership of a session. `None` if there is none.
    pub(super) fn leave(&self, session_id: SessionId) -> Option<Membership> {
        self.clear_quarantine(session_id);
        let before = self.by_session.rcu(|by_session| by_session.without(&session_id));
        before.get(&session_id).cloned()
    }

    /// Returns the membership that a payload names, or the only membership if the payload names none.
    pub(super) fn resolve(&self, session_id: Option<SessionId>) -> Result<Membership, ApiError> {
        let by_session = self.by_session.load();
        match session_id {
            Some(id) => by_session.get(&id).cloned().ok_or_else(|| self.not_joined(id)),
            None if by_session.len() == 1 => by_session
                .values()
                .next()
                .cloned()
                .ok_or_else(ApiError::session_not_found),
            None if by_session.is_empty() && !self.late_join => Err(ApiError::session_not_found()),
            None => Err(ApiError::invalid_field(
                "session_id",
                format!("is required: the socket is in {} sessions", by_session.len()),
            )),
        }
    }

    /// Error for a request that names a session without a membership.
    fn not_joined(&self, session_id: SessionId) -> ApiError {
        if self.quarantined.load().contains(&session_id) {
            let message = format!("session {session_id} was quarantined: join it again when it is released");
            return ApiError::new(ErrorCode::SessionQuarantined, message);
        }
        ApiError::session_not_found()
    }

    /// True while the socket is in a session.
    pub(super) fn contains_session(&self, session_id: SessionId) -> bool {
        self.by_session.load().contains_key(&session_id)
    }
}

impl Connection for Memberships {
    fn is_disconnected(&self) -> bool {
        self.is_disconnected.load(Ordering::SeqCst)
    }

    fn end_membership(&self, session_id: SessionId, member: MemberId, is_quarantined: bool) {
        if is_quarantined {
            self.remove_quarantined(session_id, member);
        } else {
            self.remove(session_id, member);
        }
    }
}

/// Starts the task that runs serial tasks in order, until the last sender is dropped. The queue is unbounded; the
/// permits of the acknowledgements bound it.
fn start_serial_tasks() -> mpsc::UnboundedSender<SerialTask> {
    let (sender, mut serial_tasks) = mpsc::unbounded_channel::<SerialTask>();
    tokio::spawn(async move {
        while let Some(task) = serial_tasks.recv().await {
            task.await;
        }
    });
    sender
}
