//! Present transport of each session.
//!
//! The library identifies sessions by their id and does not expose their transport. The hub needs the transport to pace
//! its frames by the written bytes of a websocket, and to close it such that the client reconnects. A session carries
//! its [`Transport`] in the extensions of its first request. Sessions that began by polling are also found by their id,
//! for later requests that name it.

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

/// Longest wait of a poll during an upgrade, and the first wait. A client stops polling before it completes the
/// upgrade, and waits for the answer to its last poll. A client that never completes the upgrade polls on, so each wait
/// is twice the one before.
const POLL_WAIT_MAX: Duration = Duration::from_secs(1);
const POLL_WAIT_MIN: Duration = Duration::from_millis(10);

/// Transport of one session. Clones of the session's request share it.
#[derive(Debug)]
pub struct Transport {
    websocket: ArcSwapOption<Connection>,
    /// `None` if the session began as a websocket.
    polling: Option<Polling>,
}

/// State of a session that began by polling.
#[derive(Debug)]
pub(super) struct Polling {
    shared: Weak<Shared>,
    sid: ArcSwapOption<Sid>,
    stage: watch::Sender<Stage>,
    /// Number of polls in progress.
    polls: watch::Sender<usize>,
    is_probed: AtomicBool,
    /// Number of polls that the upgrade has ended early.
    interrupted_polls: AtomicU32,
    /// Cancelled when the hub closes the session.
    closed: CancellationToken,
}

/// Stage of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No upgrade, or an upgrade whose probe has not been answered.
    Polling,
    /// The probe has been answered: polls end early.
    Probed,
    /// The websocket takes over: polls end at once.
    HandingOver,
    /// The library has the websocket.
    Upgraded,
}

impl Transport {
    /// Creates the transport of a session that is a websocket from the start.
    pub(super) fn websocket(connection: Option<Connection>) -> Arc<Self> {
        Arc::new(Self {
            websocket: ArcSwapOption::from_pointee(connection),
            polling: None,
        })
    }

    /// Creates the transport of a session that begins by polling.
    pub(super) fn polling(shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            websocket: ArcSwapOption::empty(),
            polling: Some(Polling {
                shared: Arc::downgrade(shared),
                sid: ArcSwapOption::empty(),
                stage: watch::Sender::new(Stage::Polling),
                polls: watch::Sender::new(0),
                is_probed: AtomicBool::new(false),
                interrupted_polls: AtomicU32::new(0),
                closed: CancellationToken::new(),
            }),
        })
    }

    /// Bytes that the system has taken from the session's websocket. `None` while the session polls.
    #[must_use]
    pub fn written_bytes(&self) -> Option<u64> {
        self.websocket
            .load()
            .as_ref()
            .map(|connection| connection.written_bytes())
    }

    /// Closes the transport, such that the client reconnects. Unwritten data is lost: a websocket is disconnected, and
    /// requests of a polling session are answered like requests of an unknown session.
    pub fn abort(&self) {
        if let Some(polling) = &self.polling {
            // The token is cancelled before the websocket is read, and an upgrade stores its websocket before it reads
            // the token.
            polling.closed.cancel();
        }
        if let Some(connection) = &*self.websocket.load() {
            connection.abort();
        } else if let Some(polling) = &self.polling {
            polling.close();
        }
    }

    /// Returns the polling state, unless the hub has closed the session.
    pub(super) fn open_polling(&self) -> Option<&Polling> {
        self.polling.as_ref().filter(|polling| !polling.closed.is_cancelled())
    }

    /// Begins an upgrade. `None` if an upgrade is in progress or complete, or if the session did not begin by polling.
    pub(super) fn begin_probe(self: &Arc<Self>) -> Option<ProbeGuard> {
        let polling = self.open_polling()?;
        if polling.is_probed.swap(true, Ordering::AcqRel) {
            return None;
        }
        // From here on the guard resets the mark.
        let guard = ProbeGuard(Arc::clone(self));
        let is_polling = *polling.stage.borrow() == Stage::Polling;
        is_polling.then_some(guard)
    }

    /// Completes an upgrade: the session is a websocket from now on.
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
    /// Ends the session in the library, which releases its resources.
    fn close(&self) {
        let (shared, sid) = (self.shared.upgrade(), self.sid.load_full());
        if let (Some(shared), Some(sid)) = (shared, sid) {
            tokio::spawn(async move { shared.close_polling(*sid).await });
        }
    }

    pub(super) const fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// True while the websocket takes over and no poll may take packets.
    pub(super) fn is_handing_over(&self) -> bool {
        *self.stage.borrow() == Stage::HandingOver
    }

    /// Counts a poll until the guard is dropped.
    pub(super) fn begin_poll(&self) -> PollGuard<'_> {
        self.polls.send_modify(|polls| *polls += 1);
        PollGuard(&self.polls)
    }

    /// Waits until an upgrade has to end the poll early.
    pub(super) async fn poll_is_interrupted(&self) {
        let mut stage = self.stage.subscribe();
        let began = Instant::now();
        loop {
            let current = *stage.borrow_and_update();
            match current {
                Stage::HandingOver => return,
                Stage::Probed => {
                    let interrupted_polls = self.interrupted_polls.fetch_add(1, Ordering::Relaxed);
                    // The poll that was waiting already ends at once.
                    let wait = match interrupted_polls {
                        0 => Duration::ZERO,
                        _ => (POLL_WAIT_MIN * (1 << (interrupted_polls - 1).min(7))).min(POLL_WAIT_MAX),
                    };
                    tokio::select! {
                        () = sleep_until(began + wait) => return,
                        // The next stage decides anew. After a failed upgrade the poll waits on.
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

    /// Waits until no poll is in progress.
    pub(super) async fn polls_ended(&self) {
        // The sender is a field of `self`, so the wait cannot fail.
        let _ = self.polls.subscribe().wait_for(|polls| *polls == 0).await;
    }
}

/// Poll in progress.
pub(super) struct PollGuard<'a>(&'a watch::Sender<usize>);

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|polls| *polls -= 1);
    }
}

/// Upgrade in progress. Dropping the guard before the session is a websocket returns the session to polling.
pub(super) struct ProbeGuard(Arc<Transport>);

impl Drop for ProbeGuard {
    fn drop(&mut self) {
        let Some(polling) = &self.0.polling else { return };
        polling.interrupted_polls.store(0, Ordering::Relaxed);
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

/// Registry of the sessions that began by polling, by id, for as long as the library has them.
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
