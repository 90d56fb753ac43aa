//! A log that fails as a test wants it to: the double for everything that can become of an append.
//!
//! It stands before another log. What its [`Plan`] says of an append happens to it; what it says nothing of goes through.
//!
//! ```text
//!  append ─▶ PlannedLog ─ Fate::Commit ──────────────────────▶ the other log ─▶ done
//!                      ├─ Fate::Refuse, Lose ─▶ done              (never)
//!                      ├─ Fate::CommitAndTell, CommitAndLose ─▶ the other log ─▶ done hears something else
//!                      └─ Fate::Hold ─▶ Plan::held ─▶ the test has it in its hands, and gives it one of these fates
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};

use super::{Answer, Append, AppendError, Done, EventLog, LogError, PageMax, Stored, StoredHead, Told};
use crate::domain::{
    ids::{CommandId, Seq, SessionId},
    recorded::Recorded,
    session::{Genesis, Snapshot},
};

/// What becomes of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is appended, and its writer hears how that ended.
    Commit,
    /// It waits until the test takes it from [`Plan::held`] and decides.
    Hold,
    /// It is not appended, and its writer hears this.
    Refuse(AppendError),
    /// It is not appended, and nobody says so: its `Done` is dropped.
    Lose,
    /// It is appended, and its writer hears this all the same.
    CommitAndTell(AppendError),
    /// It is appended, and nobody says so: its `Done` is dropped.
    CommitAndLose,
}

/// See the [module](self).
pub struct PlannedLog {
    inner: Arc<dyn EventLog>,
    orders: Arc<Orders>,
    held: mpsc::UnboundedSender<HeldAppend>,
    creates_held: watch::Receiver<bool>,
    ids_held: watch::Receiver<bool>,
}

/// The test's end of a [`PlannedLog`].
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
    /// How many openings are still to fail.
    open_failures: AtomicUsize,
    appends: AtomicUsize,
    /// Commands that were asked about.
    sought: AtomicUsize,
    id_pages: AtomicUsize,
    /// How many pages of ids are still to fail.
    id_failures: AtomicUsize,
}

/// An append that waits. Dropped, it is lost.
pub struct HeldAppend {
    append: Append,
    inner: Arc<dyn EventLog>,
}

impl PlannedLog {
    /// A log before another one, and the plan of it, by which at first everything goes through.
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
            sought: AtomicUsize::new(0),
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
    /// From now on this function says what becomes of an append.
    pub fn decide_by(&self, decide: impl Fn(&Append) -> Fate + Send + Sync + 'static) {
        self.orders.decide.store(Arc::new(Box::new(decide)));
    }

    /// From now on every append meets this fate.
    pub fn all(&self, fate: Fate) {
        self.decide_by(move |_| fate.clone());
    }

    /// The next appends, of whatever session, meet these fates; those after them go through.
    pub fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        let fates: Vec<Fate> = fates.into_iter().collect();
        let at = AtomicUsize::new(0);
        self.decide_by(move |_| {
            let fate = fates.get(at.fetch_add(1, Ordering::Relaxed));
            fate.cloned().unwrap_or(Fate::Commit)
        });
    }

    /// The next append that is held: as soon as there is one, in the order of their arrival.
    ///
    /// # Panics
    /// If the log is gone and none can come any more.
    pub async fn held(&mut self) -> HeldAppend {
        self.held.recv().await.expect("the log is there")
    }

    /// The next append that is held, if there is one now.
    pub fn held_now(&mut self) -> Option<HeldAppend> {
        self.held.try_recv().ok()
    }

    /// How many appends have arrived.
    #[must_use]
    pub fn appends(&self) -> usize {
        self.orders.appends.load(Ordering::Relaxed)
    }

    /// The next so many times that a session is opened, of whatever session, it cannot be, for this reason.
    pub fn opens_fail(&self, count: usize, error: LogError) {
        self.orders.open_error.store(Some(Arc::new(error)));
        self.orders.open_failures.store(count, Ordering::Relaxed);
    }

    /// From now on logs that are begun wait (or no longer).
    pub fn hold_creates(&self, hold: bool) {
        self.creates_held.send_replace(hold);
    }

    /// How many commands were asked about by their ids.
    #[must_use]
    pub fn sought(&self) -> usize {
        self.orders.sought.load(Ordering::Relaxed)
    }

    /// How many pages of ids were asked for.
    #[must_use]
    pub fn id_pages(&self) -> usize {
        self.orders.id_pages.load(Ordering::Relaxed)
    }

    /// From now on pages of ids that are asked for wait (or no longer).
    pub fn hold_ids(&self, hold: bool) {
        self.ids_held.send_replace(hold);
    }

    /// The next so many pages of ids, of whatever session, cannot be read.
    pub fn ids_fail(&self, count: usize) {
        self.orders.id_failures.store(count, Ordering::Relaxed);
    }
}

impl HeldAppend {
    /// Whose log.
    #[must_use]
    pub const fn session_id(&self) -> SessionId {
        self.append.session_id
    }

    /// What its writer believes to be last.
    #[must_use]
    pub const fn expected(&self) -> Seq {
        self.append.expected
    }

    /// What is to be appended.
    #[must_use]
    pub fn records(&self) -> &[Arc<Recorded>] {
        &self.append.records
    }

    /// Lets it through.
    pub fn commit(self) {
        self.meet(Fate::Commit);
    }

    /// Has it end so. To hold what is held is to lose it.
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

/// Appends, and has something else than the log's answer come of it. If it cannot be appended, then that does.
fn commit(log: &dyn EventLog, append: Append, then: impl FnOnce(Done) + Send + 'static) {
    let told = append.done;
    let done = Done::new(move |result| match result {
        Ok(()) => then(told),
        Err(error) => told.tell(Err(error)),
    });
    log.append(Append { done, ..append });
}

/// Whether there was one left.
fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        .is_ok()
}

impl EventLog for PlannedLog {
    fn create(&self, genesis: Genesis) -> Answer<()> {
        let (inner, mut held) = (Arc::clone(&self.inner), self.creates_held.clone());
        async move {
            // A plan that is gone holds nothing.
            let _ = held.wait_for(|held| !held).await;
            inner.create(genesis).await
        }
        .boxed()
    }

    fn append(&self, append: Append) {
        self.orders.appends.fetch_add(1, Ordering::Relaxed);
        let fate = (self.orders.decide.load())(&append);
        let inner = Arc::clone(&self.inner);
        let held = HeldAppend { append, inner };
        match fate {
            // If nobody takes it, it is lost.
            Fate::Hold => drop(self.held.send(held)),
            fate => held.meet(fate),
        }
    }

    fn open(&self, session_id: SessionId, window_events: usize) -> Answer<Option<Stored>> {
        let fails = take_one(&self.orders.open_failures);
        match self.orders.open_error.load_full() {
            Some(error) if fails => std::future::ready(Err((*error).clone())).boxed(),
            Some(_) | None => self.inner.open(session_id, window_events),
        }
    }

    fn open_at(&self, session_id: SessionId, at: Seq) -> Answer<Option<Stored>> {
        self.inner.open_at(session_id, at)
    }

    fn read(&self, session_id: SessionId, after: Seq, max: PageMax) -> Answer<Option<Vec<Arc<Recorded>>>> {
        self.inner.read(session_id, after, max)
    }

    fn read_back(&self, session_id: SessionId, before: Seq, max: PageMax) -> Answer<Option<Vec<Told>>> {
        self.inner.read_back(session_id, before, max)
    }

    fn find(&self, session_id: SessionId, commands: Vec<CommandId>) -> Answer<Vec<Arc<Recorded>>> {
        self.orders.sought.fetch_add(commands.len(), Ordering::Relaxed);
        self.inner.find(session_id, commands)
    }

    fn command_ids(
        &self,
        session_id: SessionId,
        after: Option<CommandId>,
        ids_max: usize,
    ) -> Answer<Option<Vec<CommandId>>> {
        self.orders.id_pages.fetch_add(1, Ordering::Relaxed);
        if take_one(&self.orders.id_failures) {
            let error = LogError::Io("the plan has it fail".to_owned());
            return std::future::ready(Err(error)).boxed();
        }
        let (inner, mut held) = (Arc::clone(&self.inner), self.ids_held.clone());
        async move {
            // A plan that is gone holds nothing.
            let _ = held.wait_for(|held| !held).await;
            inner.command_ids(session_id, after, ids_max).await
        }
        .boxed()
    }

    fn keep_snapshot(&self, session_id: SessionId, snapshot: Snapshot) {
        self.inner.keep_snapshot(session_id, snapshot);
    }

    fn list(&self) -> Answer<Vec<StoredHead>> {
        self.inner.list()
    }

    fn delete(&self, session_id: SessionId) -> Answer<()> {
        self.inner.delete(session_id)
    }
}
