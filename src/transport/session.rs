//! How each session is transported at present.
//!
//! The library knows sessions by their id and tells nobody how they are transported. The hub has to know: to pace what it
//! sends by what a websocket has written, and to close a transport, such that the client comes back by itself. A session
//! carries its [`Transport`] in the extensions of the request that it began with; those that began by polling are found by
//! their id too, for requests that name it.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use engineioxide::socket::Sid;
use imbl::HashMap;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::service::Shared;
use crate::listener::Connection;

/// Longest wait of a poll while an upgrade is under way, and the one that the waits begin with. A client ends its polling
/// before it ends the upgrade, and waits for the answer to its last poll. One that never ends the upgrade polls on, so
/// the waits become longer.
const POLL_WAIT_MAX: Duration = Duration::from_secs(1);
const POLL_WAIT_MIN: Duration = Duration::from_millis(10);

/// Transport of one session. Clones of its request share it.
#[derive(Debug)]
pub struct Transport {
    websocket: ArcSwapOption<Connection>,
    /// `None`: the session began as a websocket.
    polling: Option<Polling>,
}

/// Session that began by polling.
#[derive(Debug)]
pub(super) struct Polling {
    shared: Weak<Shared>,
    sid: ArcSwapOption<Sid>,
    stage: watch::Sender<Stage>,
    /// Polls that are under way.
    polls: watch::Sender<usize>,
    is_probed: AtomicBool,
    /// Polls that an upgrade has cut short.
    cuts: AtomicU32,
    /// The hub has closed the session.
    closed: CancellationToken,
}

/// Stage of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// None is under way, or its probe has not been answered.
    Polling,
    /// The probe was answered: polls are to end.
    Probed,
    /// The websocket takes over: no poll may wait.
    HandingOver,
    /// The library has the websocket.
    Upgraded,
}

impl Transport {
    /// Transport of a session that is a websocket from the start.
    pub(super) fn websocket(connection: Option<Connection>) -> Arc<Self> {
        Arc::new(Self {
            websocket: ArcSwapOption::from_pointee(connection),
            polling: None,
        })
    }

    /// Transport of a session that begins by polling.
    pub(super) fn polling(shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            websocket: ArcSwapOption::empty(),
            polling: Some(Polling {
                shared: Arc::downgrade(shared),
                sid: ArcSwapOption::empty(),
                stage: watch::Sender::new(Stage::Polling),
                polls: watch::Sender::new(0),
                is_probed: AtomicBool::new(false),
                cuts: AtomicU32::new(0),
                closed: CancellationToken::new(),
            }),
        })
    }

    /// Bytes that the system has taken from the session's websocket. `None`: it polls.
    #[must_use]
    pub fn written_bytes(&self) -> Option<u64> {
        self.websocket
            .load()
            .as_ref()
            .map(|connection| connection.written_bytes())
    }

    /// Closes the transport, such that the client comes back by itself. What is not written yet is lost: a websocket is
    /// cut, and requests of a session that polls are answered as those of a session that is unknown.
    pub fn abort(&self) {
        if let Some(polling) = &self.polling {
            // Before the websocket is looked for: an upgrade notes it, and then looks here.
            polling.closed.cancel();
        }
        if let Some(connection) = &*self.websocket.load() {
            connection.abort();
        } else if let Some(polling) = &self.polling {
            polling.close();
        }
    }

    /// The session as one that began by polling, unless the hub has closed it.
    pub(super) fn open_polling(&self) -> Option<&Polling> {
        self.polling.as_ref().filter(|polling| !polling.closed.is_cancelled())
    }

    /// An upgrade begins; `None`: one is under way, or was completed, or the session did not begin by polling.
    pub(super) fn begin_probe(self: &Arc<Self>) -> Option<ProbeGuard> {
        let polling = self.open_polling()?;
        if polling.is_probed.swap(true, Ordering::AcqRel) {
            return None;
        }
        // From here on the guard takes the mark back.
        let guard = ProbeGuard(Arc::clone(self));
        let is_polling = *polling.stage.borrow() == Stage::Polling;
        is_polling.then_some(guard)
    }

    /// From now on the session is a websocket.
    pub(super) fn upgrade(&self, connection: Option<Connection>) {
        self.websocket.store(connection.map(Arc::new));
        if let Some(polling) = &self.polling {
            polling.stage.send_replace(Stage::Upgraded);
            if polling.closed.is_cancelled() {
                self.abort();
            }
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        let Some(polling) = &self.polling else { return };
        if let (Some(shared), Some(sid)) = (polling.shared.upgrade(), polling.sid.load_full()) {
            shared.sessions.remove(*sid);
        }
    }
}

impl Polling {
    /// The library ends the session, which releases what it holds.
    fn close(&self) {
        let (shared, sid) = (self.shared.upgrade(), self.sid.load_full());
        if let (Some(shared), Some(sid)) = (shared, sid) {
            tokio::spawn(async move { shared.close_polling(*sid).await });
        }
    }

    pub(super) const fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// No poll may take packets any more: the websocket takes over.
    pub(super) fn is_handing_over(&self) -> bool {
        *self.stage.borrow() == Stage::HandingOver
    }

    /// A poll begins, and ends when the guard is dropped.
    pub(super) fn begin_poll(&self) -> PollGuard<'_> {
        self.polls.send_modify(|polls| *polls += 1);
        PollGuard(&self.polls)
    }

    /// Waits until an upgrade needs a poll that has begun to end.
    pub(super) async fn poll_is_cut(&self) {
        let mut stage = self.stage.subscribe();
        let began = Instant::now();
        loop {
            let current = *stage.borrow_and_update();
            match current {
                Stage::HandingOver => return,
                Stage::Probed => {
                    let cuts = self.cuts.fetch_add(1, Ordering::Relaxed);
                    // The one that was waiting already ends at once.
                    let wait = match cuts {
                        0 => Duration::ZERO,
                        _ => (POLL_WAIT_MIN * (1 << (cuts - 1).min(7))).min(POLL_WAIT_MAX),
                    };
                    tokio::select! {
                        () = sleep_until(began + wait) => return,
                        // A stage that follows decides anew; that the upgrade was given up lets the poll wait.
                        changed = stage.changed() => if changed.is_err() { return },
                    }
                    continue;
                }
                Stage::Polling | Stage::Upgraded => {}
            }
            if stage.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// Waits until no poll is under way.
    pub(super) async fn polls_ended(&self) {
        // The sender is this.
        let _ = self.polls.subscribe().wait_for(|polls| *polls == 0).await;
    }
}

/// Poll that is under way.
pub(super) struct PollGuard<'a>(&'a watch::Sender<usize>);

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|polls| *polls -= 1);
    }
}

/// Upgrade that is under way. Dropped before the session is a websocket, it goes on polling.
pub(super) struct ProbeGuard(Arc<Transport>);

impl Drop for ProbeGuard {
    fn drop(&mut self) {
        let Some(polling) = &self.0.polling else { return };
        polling.cuts.store(0, Ordering::Relaxed);
        polling.stage.send_if_modified(|stage| {
            let was_probed = !matches!(stage, Stage::Polling | Stage::Upgraded);
            if was_probed {
                *stage = Stage::Polling;
            }
            was_probed
        });
        polling.is_probed.store(false, Ordering::Release);
    }
}

/// Sessions that began by polling, by their ids, for as long as the library has them.
#[derive(Debug, Default)]
pub(super) struct Sessions(ArcSwap<HashMap<Sid, Weak<Transport>>>);

impl Sessions {
    pub(super) fn add(&self, sid: Sid, transport: &Arc<Transport>) {
        if let Some(polling) = &transport.polling {
            polling.sid.store(Some(Arc::new(sid)));
        }
        self.0.rcu(|sessions| sessions.update(sid, Arc::downgrade(transport)));
    }

    pub(super) fn get(&self, sid: Sid) -> Option<Arc<Transport>> {
        self.0.load().get(&sid)?.upgrade()
    }

    fn remove(&self, sid: Sid) {
        self.0.rcu(|sessions| sessions.without(&sid));
    }
}
