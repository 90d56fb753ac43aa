//! Fault-injecting log: the test double for every possible outcome of an append.
//!
//! The log wraps another log. A [`Plan`] assigns a fate to each append; an append without an assigned fate goes
//! through.
//!
//! ```text
//!  append ─▶ PlannedLog ─ Fate::Commit ──────────────────────▶ the other log ─▶ done
//!                      ├─ Fate::Refuse, Lose ─▶ done              (never)
//!                      ├─ Fate::CommitAndTell, CommitAndLose ─▶ the other log ─▶ done, with another outcome
//!                      └─ Fate::Hold ─▶ Plan::held ─▶ the test decides, with one of the fates above
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};

use super::{
    Append, AppendCallback, AppendError, EventLog, HistoryRecord, LogError, LogFuture, PageMax, Stored, StoredHead,
};
use crate::domain::{
    ids::{CommandId, Seq, SessionId},
    record::CommandRecord,
    session::{SessionHeader, Snapshot},
};

/// Fate of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The group is appended, and the writer gets the outcome.
    Commit,
    /// The append waits until the test takes it from [`Plan::held`] and decides.
    Hold,
    /// The group is not appended, and the writer gets this error.
    Refuse(AppendError),
    /// The group is not appended, and its `AppendCallback` is dropped without a call.
    Lose,
    /// The group is appended, and the writer gets this error nevertheless.
    CommitAndTell(AppendError),
    /// The group is appended, and its `AppendCallback` is dropped without a call.
    CommitAndLose,
}

/// Log that follows a [`Plan`]; see the [module](self).
pub struct PlannedLog {
    inner: Arc<dyn EventLog>,
    orders: Arc<Orders>,
    held: mpsc::UnboundedSender<HeldAppend>,
    creates_held: watch::Receiver<bool>,
    ids_held: watch::Receiver<bool>,
}

/// Handle of a test for controlling a [`PlannedLog`].
pub struct Plan {
    orders: Arc<Orders>,
    held: mpsc::UnboundedReceiver<HeldAppend>,
    creates_held: watch::Sender<bool>,
    ids_held: watch::Sender<bool>,
}

type Decide = Box<dyn Fn(&Append) -> Fate + Send + Sync>;

struct Orders {
    decide: ArcSwap<Decide>,
    open_error: ArcSwapOption<LogError>,
    /// Number of `open` calls that are still to fail.
    open_failures: AtomicUsize,
    appends: AtomicUsize,
    /// Number of command ids that were looked up.
    lookups: AtomicUsize,
    id_pages: AtomicUsize,
    /// Number of id pages that are still to fail.
    id_failures: AtomicUsize,
}

/// Held append. Dropping the append loses it, as [`Fate::Lose`] does.
pub struct HeldAppend {
    append: Append,
    inner: Arc<dyn EventLog>,
}

impl PlannedLog {
    /// Wraps a log. Returns the wrapper and its plan, which initially lets every append through.
    #[must_use]
    pub fn over(inner: Arc<dyn EventLog>) -> (Self, Plan) {
        let (hold, held) = mpsc::unbounded_channel();
        let (hold_creates, creates_held) = watch::channel(false);
        let (hold_ids, ids_held) = watch::channel(false);
        let orders = Arc::new(Orders {
            decide: ArcSwap::from_pointee(Box::new(|_: &Append| Fate::Commit) as Decide),
            open_error: ArcSwapOption::empty(),
            open_failures: AtomicUsize::new(0),
            appends: AtomicUsize::new(0),
            lookups: AtomicUsize::new(0),
            id_pages: AtomicUsize::new(0),
            id_failures: AtomicUsize::new(0),
        });
        let log = Self {
            inner,
            orders: Arc::clone(&orders),
            held: hold,
            creates_held,
            ids_held,
        };
        let plan = Plan {
            orders,
            held,
            creates_held: hold_creates,
            ids_held: hold_ids,
        };
        (log, plan)
    }
}

impl Plan {
    /// Sets the function that decides the fate of each append from now on.
    pub fn decide_by(&self, decide: impl Fn(&Append) -> Fate + Send + Sync + 'static) {
        self.orders.decide.store(Arc::new(Box::new(decide)));
    }

    /// Gives every append from now on this fate.
    pub fn all(&self, fate: Fate) {
        self.decide_by(move |_| fate.clone());
    }

    /// Gives the next appends, of any session, these fates in turn. Later appends go through.
    pub fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        let fates: Vec<Fate> = fates.into_iter().collect();
        let at = AtomicUsize::new(0);
        self.decide_by(move |_| {
            let fate = fates.get(at.fetch_add(1, Ordering::Relaxed));
            fate.cloned().unwrap_or(Fate::Commit)
        });
    }

    /// Waits for the next held append, in order of arrival.
    ///
    /// # Panics
    /// If the log was dropped.
    pub async fn held(&mut self) -> HeldAppend {
        self.held.recv().await.expect("the log is there")
    }

    /// Returns the next held append if there is one now.
    pub fn try_held(&mut self) -> Option<HeldAppend> {
        self.held.try_recv().ok()
    }

    /// Returns the number of appends that have arrived.
    #[must_use]
    pub fn appends(&self) -> usize {
        self.orders.appends.load(Ordering::Relaxed)
    }

    /// Makes the next `count` calls of `open`, for any session, fail with `error`.
    pub fn fail_opens(&self, count: usize, error: LogError) {
        self.orders.open_error.store(Some(Arc::new(error)));
        self.orders.open_failures.store(count, Ordering::Relaxed);
    }

    /// Holds all calls of `create` while `hold` is true.
    pub fn hold_creates(&self, hold: bool) {
        self.creates_held.send_replace(hold);
    }

    /// Returns the number of command ids that were looked up.
    #[must_use]
    pub fn lookups(&self) -> usize {
        self.orders.lookups.load(Ordering::Relaxed)
    }

    /// Returns the number of id pages that were requested.
    #[must_use]
    pub fn id_pages(&self) -> usize {
        self.orders.id_pages.load(Ordering::Relaxed)
    }

    /// Holds all requests for id pages while `hold` is true.
    pub fn hold_ids(&self, hold: bool) {
        self.ids_held.send_replace(hold);
    }

    /// Makes the next `count` requests for id pages, for any session, fail.
    pub fn fail_id_pages(&self, count: usize) {
        self.orders.id_failures.store(count, Ordering::Relaxed);
    }
}

impl HeldAppend {
    /// Returns the session of the append.
    #[must_use]
    pub const fn session_id(&self) -> SessionId {
        self.append.session_id
    }

    /// Returns the `seq` that the writer believes to be last.
    #[must_use]
    pub const fn expected(&self) -> Seq {
        self.append.expected
    }

    /// Returns the records to append.
    #[must_use]
    pub fn records(&self) -> &[Arc<CommandRecord>] {
        &self.append.records
    }

    /// Lets the append through.
    pub fn commit(self) {
        self.meet(Fate::Commit);
    }

    /// Gives the append this fate. Holding a held append again means [`Fate::Lose`].
    pub fn meet(self, fate: Fate) {
        let Self { append, inner } = self;
        match fate {
            Fate::Commit => inner.append(append),
            Fate::Refuse(error) => append.done.tell(Err(error)),
            Fate::Lose | Fate::Hold => drop(append),
            Fate::CommitAndTell(error) => commit(&*inner, append, move |done| done.tell(Err(error))),
            Fate::CommitAndLose => commit(&*inner, append, drop),
        }
    }
}

/// Appends a group and replaces a successful outcome by `then`. An error of the log is reported unchanged.
fn commit(log: &dyn EventLog, append: Append, then: impl FnOnce(AppendCallback) + Send + 'static) {
    let told = append.done;
    let done = AppendCallback::new(move |result| match result {
        Ok(()) => then(told),
        Err(error) => told.tell(Err(error)),
    });
    log.append(Append { done, ..append });
}

/// Decrements a counter. Returns false if the counter was 0.
fn take_failure(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        .is_ok()
}

impl EventLog for PlannedLog {
    fn create(&self, header: SessionHeader) -> LogFuture<()> {
        let (inner, mut held) = (Arc::clone(&self.inner), self.creates_held.clone());
        async move {
            // A dropped plan holds no call.
            let _ = held.wait_for(|held| !held).await;
            inner.create(header).await
        }
        .boxed()
    }

    fn append(&self, append: Append) {
        self.orders.appends.fetch_add(1, Ordering::Relaxed);
        let fate = (self.orders.decide.load())(&append);
        let inner = Arc::clone(&self.inner);
        let held = HeldAppend { append, inner };
        match fate {
            // Without a receiver the append is lost.
            Fate::Hold => drop(self.held.send(held)),
            fate => held.meet(fate),
        }
    }

    fn open(&self, session_id: SessionId, window_events: usize) -> LogFuture<Option<Stored>> {
        let fails = take_failure(&self.orders.open_failures);
        match self.orders.open_error.load_full() {
            Some(error) if fails => std::future::ready(Err((*error).clone())).boxed(),
            Some(_) | None => self.inner.open(session_id, window_events),
        }
    }

    fn open_at(&self, session_id: SessionId, at: Seq) -> LogFuture<Option<Stored>> {
        self.inner.open_at(session_id, at)
    }

    fn read(&self, session_id: SessionId, after: Seq, max: PageMax) -> LogFuture<Option<Vec<Arc<CommandRecord>>>> {
        self.inner.read(session_id, after, max)
    }

    fn read_back(&self, session_id: SessionId, before: Seq, max: PageMax) -> LogFuture<Option<Vec<HistoryRecord>>> {
        self.inner.read_back(session_id, before, max)
    }

    fn find(&self, session_id: SessionId, commands: Vec<CommandId>) -> LogFuture<Vec<Arc<CommandRecord>>> {
        self.orders.lookups.fetch_add(commands.len(), Ordering::Relaxed);
        self.inner.find(session_id, commands)
    }

    fn command_ids(
        &self,
        session_id: SessionId,
        after: Option<CommandId>,
        ids_max: usize,
    ) -> LogFuture<Option<Vec<CommandId>>> {
        self.orders.id_pages.fetch_add(1, Ordering::Relaxed);
        if take_failure(&self.orders.id_failures) {
            let error = LogError::Io("failed by the plan".to_owned());
            return std::future::ready(Err(error)).boxed();
        }
        let (inner, mut held) = (Arc::clone(&self.inner), self.ids_held.clone());
        async move {
            // A dropped plan holds no call.
            let _ = held.wait_for(|held| !held).await;
            inner.command_ids(session_id, after, ids_max).await
        }
        .boxed()
    }

    fn keep_snapshot(&self, session_id: SessionId, snapshot: Snapshot) {
        self.inner.keep_snapshot(session_id, snapshot);
    }

    fn list(&self) -> LogFuture<Vec<StoredHead>> {
        self.inner.list()
    }

    fn delete(&self, session_id: SessionId) -> LogFuture<()> {
        self.inner.delete(session_id)
    }
}
