//! The sessions that a socket is in.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::{FutureExt, future::BoxFuture};
use imbl::{OrdMap, OrdSet};
use talus_actors::{
    admission::{Gate, Permit},
    domain::ids::{ClientId, SessionId},
    fan_out::{Delivery, MemberId, Presence},
    hub::{Hub, Lane},
};

use tokio::sync::mpsc;

use super::{peer::Peer, refusals::Refusals};
use crate::{config::Realtime, wire::error::ApiError};

/// A socket's stay in a session.
#[derive(Clone)]
pub(super) struct Membership {
    pub(super) session_id: SessionId,
    pub(super) member: MemberId,
    /// Its commands go one after the other.
    pub(super) lane: Arc<Lane>,
    /// What its client says of itself there.
    pub(super) presence: Presence,
    /// The socket as the session's room has it. Weak: the socket holds its memberships, and must not hold itself.
    peer: Weak<Peer>,
}

impl Membership {
    pub(super) fn peer(&self) -> Option<Arc<Peer>> {
        self.peer.upgrade()
    }
}

/// See the [module](self). Changed by what its own client says, and read while that is handled: no lock.
pub(super) struct Memberships {
    /// The name that the client goes by in all of them.
    pub(super) client_id: ClientId,
    /// How it takes the events of commands in all of them.
    pub(super) frames: Delivery,
    /// Whether the client may come and go while it is connected.
    pub(super) late_join: bool,
    /// Answers that wait for room in its queue. A client that takes none and goes on asking is not waited for (P9).
    pub(super) answers: Gate,
    /// Refusals that wait for the same, of what came beyond those.
    pub(super) refusals: Refusals,
    /// How long an answer waits before its queue is tried again.
    pub(super) retry: Duration,
    hub: Hub,
    of: ArcSwap<OrdMap<SessionId, Membership>>,
    /// Sessions that were quarantined while it was in them, or before it could join: no others are told from them.
    quarantined: ArcSwap<OrdSet<SessionId>>,
    quarantined_max: usize,
    /// Its place among all connections, until it is gone.
    permit: ArcSwapOption<Permit>,
    /// Its connection is gone. The library's own mark does not tell: it is set once more by a connect that was under way.
    is_gone: AtomicBool,
    errands: Option<mpsc::UnboundedSender<Errand>>,
}

/// Something that is to be done for a socket after what it asked for before.
pub(super) type Errand = BoxFuture<'static, ()>;

impl Memberships {
    /// None yet.
    pub(super) fn new(
        hub: &Hub,
        client_id: ClientId,
        frames: Delivery,
        realtime: &Realtime,
        answers: Gate,
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
            of: ArcSwap::default(),
            quarantined: ArcSwap::default(),
            quarantined_max: realtime.sessions_per_socket_max,
            permit: ArcSwapOption::from_pointee(permit),
            is_gone: AtomicBool::new(false),
            errands: late_join.then(start_errands),
        }
    }

    /// Its connection is gone: another one may come for it. Whoever joins a room for it after this leaves it again, and
    /// whoever joined before is taken out by who calls this.
    pub(super) fn depart(&self) {
        // Before the stays are looked at, as the other side looks at it after it joined: one of the two sees the other.
        self.is_gone.store(true, Ordering::SeqCst);
        self.permit.store(None);
    }

    /// Whether its connection is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::SeqCst)
    }

    /// Has something done after what was given to this before. Coming and going take a while, and must not overtake one
    /// another.
    pub(super) fn run_errand(&self, errand: impl Future<Output = ()> + Send + 'static) {
        if let Some(errands) = &self.errands {
            // They run for as long as this is there.
            let _ = errands.send(errand.boxed());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.of.load().len()
    }

    pub(super) fn all(&self) -> Vec<Membership> {
        self.of.load().values().cloned().collect()
    }

    /// A new stay in a session; nothing if there is one.
    pub(super) fn enter(&self, session_id: SessionId) -> Option<Membership> {
        let new = Membership {
            session_id,
            member: self.hub.next_member_id(),
            lane: Arc::new(Lane::new(&self.hub, session_id)),
            presence: Presence::default(),
            peer: Weak::new(),
        };
        let before = self.of.rcu(|of| match of.get(&session_id) {
            Some(_) => OrdMap::clone(of),
            None => of.update(session_id, new.clone()),
        });
        self.forget_quarantine(session_id);
        (!before.contains_key(&session_id)).then_some(new)
    }

    /// From now on the session's room has the socket.
    pub(super) fn seat(&self, member: MemberId, peer: &Arc<Peer>) {
        self.of.rcu(|of| {
            let known = of.values().find(|membership| membership.member == member);
            match known.cloned() {
                Some(mut membership) => {
                    membership.peer = Arc::downgrade(peer);
                    of.update(membership.session_id, membership)
                }
                None => OrdMap::clone(of),
            }
        });
    }

    /// Whether a stay goes on.
    pub(super) fn has(&self, member: MemberId) -> bool {
        self.of.load().values().any(|membership| membership.member == member)
    }

    /// That stay ends, if it goes on.
    pub(super) fn end(&self, session_id: SessionId, member: MemberId) {
        self.of.rcu(|of| match of.get(&session_id) {
            Some(membership) if membership.member == member => of.without(&session_id),
            Some(_) | None => OrdMap::clone(of),
        });
    }

    /// The same, since the session is quarantined: the client is told that, and not that there is no such session, until
    /// it joins or leaves it. Of more than there may be stays, one is forgotten (P9).
    pub(super) fn end_by_quarantine(&self, session_id: SessionId, member: MemberId) {
        self.quarantined.rcu(|ids| {
            let kept = match ids.get_min() {
                Some(least) if ids.len() >= self.quarantined_max => ids.without(least),
                Some(_) | None => OrdSet::clone(ids),
            };
            kept.update(session_id)
        });
        self.end(session_id, member);
    }

    fn forget_quarantine(&self, session_id: SessionId) {
        if self.quarantined.load().contains(&session_id) {
            self.quarantined.rcu(|ids| ids.without(&session_id));
        }
    }

    /// A stay ends; nothing if there is none.
    pub(super) fn leave(&self, session_id: SessionId) -> Option<Membership> {
        self.forget_quarantine(session_id);
        let before = self.of.rcu(|of| of.without(&session_id));
        before.get(&session_id).cloned()
    }

    /// The session that something is about: the one that it names, or the only one.
    pub(super) fn named(&self, session_id: Option<SessionId>) -> Result<Membership, ApiError> {
        let of = self.of.load();
        match session_id {
            Some(id) => of.get(&id).cloned().ok_or_else(|| self.not_in(id)),
            None if of.len() == 1 => of.values().next().cloned().ok_or_else(ApiError::session_not_found),
            None if of.is_empty() && !self.late_join => Err(ApiError::session_not_found()),
            None => Err(ApiError::invalid_field(
                "session_id",
                format!("is required: the socket is in {} sessions", of.len()),
            )),
        }
    }

    /// ApiError of a client that names a session that its socket is not in.
    fn not_in(&self, session_id: SessionId) -> ApiError {
        if self.quarantined.load().contains(&session_id) {
            let message = format!("session {session_id} was quarantined: join it again when it is released");
            return ApiError::new("SESSION_QUARANTINED", message);
        }
        ApiError::session_not_found()
    }

    /// True while the socket is in a session.
    pub(super) fn is_in(&self, session_id: SessionId) -> bool {
        self.of.load().contains_key(&session_id)
    }
}

/// Runs errands one after the other, until nobody can give any more. Bounded by the answers that they wait to give.
fn start_errands() -> mpsc::UnboundedSender<Errand> {
    let (sender, mut errands) = mpsc::unbounded_channel::<Errand>();
    tokio::spawn(async move {
        while let Some(errand) = errands.recv().await {
            errand.await;
        }
    });
    sender
}
