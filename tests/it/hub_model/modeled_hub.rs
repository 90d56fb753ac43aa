//! Hub under test with its clients and references.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    task::{self, Poll, Waker},
    time::Duration,
};

use serde_json::Value;
use talus_actors::{
    clock::now,
    domain::{
        decide::Decision,
        ids::{Seq, SessionId},
        limits::Limits,
        record::Receipt,
    },
    fan_out::{Encoder, SyncReason},
    hub::{Hub, HubError, HubParts, HubSettings, Lane, NewSession, RoomSettings},
    log::EventLog,
    session_actor::{Fault, ResyncRequest, Submitted},
    session_supervisor::{Operation, SupervisionSettings},
    stats::Stats,
    supervision::{BranchState, EventKind},
};
use talus_hub::{
    storage::{OpenError, Options, SqliteLog},
    wire::{
        graph::graph_json,
        room::{ClientLimits, WireEncoder},
    },
};
use tempfile::TempDir;
use tracing::Span;

use super::{
    client::Client,
    reference::{Foreseen, Reference, Sent, answer},
    step::{CLIENTS, Edit, FaultKind, SESSIONS, Step},
    within,
};
use crate::support::NoBlueprints;

/// Size of the replay window in events. It is small, so that clients come back too late and commands are older than the
/// window.
const WINDOW_EVENTS: usize = 40;

/// Number of events between snapshots. It is small, so that restarts begin with a snapshot.
const SNAPSHOT_EVENTS: u64 = 25;

/// Hub with sessions, clients and references. See the [module](self).
pub struct ModeledHub {
    dir: TempDir,
    limits: Arc<Limits>,
    log: SqliteLog,
    hub: Hub,
    references: Vec<Reference>,
    clients: Vec<Client>,
    lagging: [bool; CLIENTS],
    quarantined: [bool; SESSIONS],
    /// Number of presence updates so far.
    presence_updates: usize,
}

impl ModeledHub {
    /// Starts a hub with its sessions, and without connected clients.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let limits = Arc::new(Limits {
            replay_window_events: WINDOW_EVENTS,
            ..Limits::default()
        });
        let (log, hub) = start_hub(dir.path(), &limits).await;
        let mut references = Vec::new();
        for number in 0..SESSIONS {
            let (header, _) = hub.create(NewSession::default()).await.expect("created");
            references.push(Reference::new(number as u128 + 1, header, &limits));
        }
        let clients = (0..CLIENTS).map(|number| Client::new(number, id_of(&references[number % SESSIONS])));
        Self {
            clients: clients.collect(),
            dir,
            limits,
            log,
            hub,
            references,
            lagging: [false; CLIENTS],
            quarantined: [false; SESSIONS],
            presence_updates: 0,
        }
    }

    /// Runs a step, and checks all promises.
    pub async fn run(&mut self, step: &Step) {
        match step {
            Step::Submit { session, edit } => {
                let sent = self.references[*session].next(edit);
                self.submit(*session, &sent).await;
            }
            Step::Burst {
                session,
                one_sender,
                edits,
                fault,
            } => self.burst(*session, *one_sender, edits, *fault).await,
            Step::Fail {
                session,
                fault,
                edit,
                again,
            } => {
                self.inject(*session, *fault).await;
                let sent = self.references[*session].next(edit);
                self.submit(*session, &sent).await;
                if *again {
                    self.fold(*session).await;
                    self.submit(*session, &sent).await;
                }
            }
            Step::Duplicate { session, which } => {
                let sent = &self.references[*session].sent;
                if let Some(sent) = sent.get(usize::from(*which) % sent.len().max(1)).cloned() {
                    self.submit(*session, &sent).await;
                }
            }
            Step::Reuse { session, which, edit } => {
                if let Some(sent) = self.references[*session].reused(*which, edit) {
                    self.submit(*session, &sent).await;
                }
            }
            Step::Join { client, forgetful } => {
                if *forgetful {
                    self.clients[*client].position = None;
                }
                self.join(*client).await;
            }
            Step::Leave { client } => {
                self.lagging[*client] = false;
                self.clients[*client].leave(&self.hub).await;
            }
            Step::Bounce { client } => {
                self.lagging[*client] = false;
                self.clients[*client].leave(&self.hub).await;
                self.join(*client).await;
            }
            Step::Lag { client, packets } => {
                self.lagging[*client] = true;
                self.clients[*client].set_space(usize::from(*packets));
            }
            Step::CatchUp { client } => self.catch_up(*client).await,
            Step::Diverge { client } => {
                self.resync(*client, SyncReason::Divergence);
                self.clients[*client].read_sync().await;
            }
            Step::Restart { session } => self.restart(*session).await,
            Step::Quarantine { session } => self.quarantine(*session).await,
            Step::Release { session } => {
                self.operate(*session, Operation::Release)
                    .await
                    .expect("the session can be released");
                self.quarantined[*session] = false;
            }
            Step::Passivate { session } => self.passivate(*session).await,
            Step::DrainAndStart => self.drain_and_start().await,
        }
        self.check().await;
    }

    /// Asserts at the end that another hub on the same data has every record, and answers every accepted command as a
    /// duplicate (P3, P4).
    pub async fn finish(&mut self) {
        self.run(&Step::DrainAndStart).await;
        for session in 0..SESSIONS {
            let stored = within(self.hub.events_after(self.id(session), Seq::ZERO, usize::MAX)).await;
            assert_eq!(
                stored.expect("the log"),
                self.references[session].log(),
                "the log has exactly the accepted commands"
            );
            for sent in self.references[session].sent.clone() {
                if self.references[session].record(sent.context.command_id).is_some() {
                    self.submit(session, &sent).await;
                }
            }
        }
        self.check().await;
    }

    fn id(&self, session: usize) -> SessionId {
        id_of(&self.references[session])
    }

    fn clients_of(&self, session: usize) -> impl Iterator<Item = usize> + use<> {
        (0..CLIENTS).filter(move |client| client % SESSIONS == session)
    }

    fn connected(&self, session: usize) -> usize {
        self.clients_of(session)
            .filter(|&client| self.clients[client].is_connected())
            .count()
    }

    /// Sends a command, and compares the answer with the reference.
    async fn submit(&mut self, session: usize, sent: &Sent) {
        let connected = self.connected(session);
        let reference = &mut self.references[session];
        let verdict = reference.decide(sent);
        let expected = answer(&verdict, &reference.session);
        let outcome = within(send(&self.hub, id_of(reference), sent)).await;
        if self.quarantined[session] {
            assert!(matches!(outcome, Err(HubError::Quarantined { .. })), "{outcome:?}");
            return;
        }
        match reference.foresee(&verdict, connected > 0) {
            Foreseen::Answered { .. } => {
                let outcome = outcome.map_err(|error| match error {
                    HubError::Rejected { rejection, seq } => (rejection, seq),
                    other => unreachable!("{other} is not an answer to {sent:?}"),
                });
                assert_eq!(outcome, expected, "{sent:?}");
            }
            Foreseen::Unknown { logged } => {
                assert_eq!(outcome, Err(HubError::OutcomeUnknown), "{sent:?}");
                self.fold(session).await;
                let record = self.references[session].record(sent.context.command_id);
                assert_eq!(record.is_some(), logged, "{sent:?}");
            }
        }
    }

    /// Sends many commands at once. Without a fault the answers must be those of the same commands one after the other,
    /// in that order. With a fault, commands of unknown outcome may be in the log or not, and all others must be as
    /// answered. Commands of one sender keep their order in every case.
    async fn burst(&mut self, session: usize, one_sender: bool, edits: &[Edit], fault: Option<FaultKind>) {
        let id = self.id(session);
        let sleeping = self.hub.wake(id).await.is_err();
        if let Some(fault) = fault {
            self.inject(session, fault).await;
        }
        let faulty = self.references[session].pending.is_some() || sleeping;
        let sent: Vec<Sent> = edits.iter().map(|edit| self.references[session].next(edit)).collect();
        let lane = one_sender.then(|| Lane::new(&self.hub, id));
        let under_way: Vec<_> = sent
            .iter()
            .map(|sent| match &lane {
                Some(lane) => begin(lane.submit(Arc::clone(&sent.command), sent.context.clone(), Span::none())),
                None => begin(send(&self.hub, id, sent)),
            })
            .collect();
        let mut last = Seq::ZERO;
        let mut expected = sent.iter();
        for call in under_way {
            let outcome = within(call).await.expect("no panic");
            let sent = expected.next().expect("one each");
            if let (true, Ok(Submitted { receipt, .. })) = (one_sender, &outcome) {
                assert!(receipt.seq >= last, "{last:?} was before {receipt:?}");
                last = receipt.seq;
            }
            self.fold_through(session, sent, &outcome, faulty).await;
        }
        if self.references[session].pending.take().is_some() {
            // The test does not know if the fault has happened to a command or is still to come. A harmless fault takes
            // its place.
            self.references[session].failures += 1;
            let delay = Fault::AppendDelay(Duration::ZERO);
            let _ = within(self.hub.inject(id, delay)).await;
        }
    }

    /// Checks one answer of a burst.
    async fn fold_through(&mut self, session: usize, sent: &Sent, outcome: &Result<Submitted, HubError>, faulty: bool) {
        if !faulty {
            let reference = &mut self.references[session];
            let verdict = reference.decide(sent);
            let expected = answer(&verdict, &reference.session);
            assert_eq!(outcome.as_ref().ok(), expected.as_ref().ok(), "{sent:?}: {outcome:?}");
            if let Ok(Decision::Change(recorded)) = &verdict {
                reference.fold(&Arc::new(recorded.clone()));
            }
            return;
        }
        self.fold(session).await;
        let record = self.references[session].record(sent.context.command_id);
        match outcome {
            Ok(Submitted { receipt, .. }) if receipt.first_seq.is_some() => {
                let kept = record.map(|recorded| recorded.receipt());
                let undoubled = Receipt {
                    duplicate: false,
                    ..receipt.clone()
                };
                assert_eq!(kept, Some(undoubled), "nothing acknowledged is missing");
            }
            Ok(_) | Err(HubError::Rejected { .. } | HubError::Quarantined { .. }) => {
                assert_eq!(record, None, "a command without changes is not in the log");
            }
            Err(HubError::OutcomeUnknown) => {}
            Err(other) => unreachable!("{other}"),
        }
    }

    async fn inject(&mut self, session: usize, kind: FaultKind) {
        let fault = match kind {
            FaultKind::PanicDecide => Fault::PanicDecide,
            FaultKind::PanicApply => Fault::PanicApply,
            FaultKind::PanicBroadcast => Fault::PanicBroadcast,
            FaultKind::AppendError => Fault::AppendError,
            FaultKind::AppendConflict => Fault::AppendConflict,
            FaultKind::AppendUnknown => Fault::AppendUnknown,
            FaultKind::AppendDelay => Fault::AppendDelay(Duration::from_millis(2)),
        };
        let injected = within(self.hub.inject(self.id(session), fault)).await;
        assert_eq!(injected.is_err(), self.quarantined[session], "{injected:?}");
        self.references[session].pending = injected.is_ok().then_some(kind);
    }

    /// Joins a client, and asserts the reason of its first sync.
    async fn join(&mut self, client: usize) {
        let reference = &self.references[client % SESSIONS];
        let (seq, at) = (reference.session.seq(), self.clients[client].position);
        let expected = match at {
            None => SyncReason::FirstJoin,
            Some(at) if at.seq.0 + WINDOW_EVENTS as u64 / 2 >= seq.0 => SyncReason::Resumed,
            Some(at) if reference.session.since(at.seq).is_some() => SyncReason::Resumed,
            Some(_) => SyncReason::WindowExceeded,
        };
        let failures = reference.failures;
        self.clients[client].join(&self.hub).await;
        let reason = &self.clients[client].reasons[0];
        // A client that joins while the room is about to restart gets that reason instead.
        let meanwhile = failures > 0 && reason == "room_restarted";
        assert!(
            reason == expected.as_str() || meanwhile,
            "{reason}, not {expected:?}, from {at:?} to {seq:?}"
        );
    }

    fn resync(&self, client: usize, reason: SyncReason) {
        let request = ResyncRequest {
            position: None,
            reason: Some(reason),
            now: now(),
        };
        self.hub
            .resync(self.id(client % SESSIONS), self.clients[client].member(), request);
    }

    async fn catch_up(&mut self, client: usize) {
        self.lagging[client] = false;
        self.clients[client].set_space(usize::MAX);
        self.clients[client].read_now();
        if self.clients[client].is_lagging() {
            self.resync(client, SyncReason::SlowConsumer);
            self.clients[client].read_sync().await;
        }
    }

    async fn operate(&self, session: usize, operation: Operation) -> Result<(), HubError> {
        within(self.hub.operate(self.id(session), operation)).await
    }

    async fn state(&self, session: usize) -> BranchState {
        let branch = within(self.hub.branch(self.id(session)))
            .await
            .expect("the supervisor knows the session")
            .branch;
        branch.state
    }

    async fn restart(&mut self, session: usize) {
        let (state, id) = (self.state(session).await, self.id(session));
        let mut events = self.hub.supervision_events();
        let done = self.operate(session, Operation::Restart).await;
        assert_eq!(done.is_err(), self.quarantined[session], "{done:?}");
        if state != BranchState::Running {
            return;
        }
        self.references[session].failures += 1;
        self.references[session].pending = None;
        // The supervisor does not count an operator's restart, but publishes an event.
        within(async {
            loop {
                let event = events.recv().await.expect("there are few");
                if event.session_id == id && matches!(event.kind, EventKind::Failed(_)) {
                    break;
                }
            }
        })
        .await;
    }

    async fn quarantine(&mut self, session: usize) {
        let done = self.operate(session, Operation::Quarantine).await;
        assert_eq!(done.is_err(), self.quarantined[session], "{done:?}");
        self.quarantined[session] = true;
        self.references[session].pending = None;
        for client in self.clients_of(session) {
            self.lagging[client] = false;
            self.clients[client].read_to_end().await;
        }
        within(async {
            while self.state(session).await != BranchState::Quarantined {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn passivate(&mut self, session: usize) {
        let idle = self.connected(session) == 0;
        let slept = within(self.hub.passivate(self.id(session))).await;
        assert_eq!(slept, Ok(idle), "only an idle session passivates");
        if idle {
            self.references[session].pending = None;
        }
    }

    /// Drains the hub as SIGTERM does, and starts another one. Connected clients rejoin with their positions.
    async fn drain_and_start(&mut self) {
        within(self.hub.drain()).await;
        let mut coming = Vec::new();
        for client in 0..CLIENTS {
            if self.clients[client].is_connected() {
                self.clients[client].read_to_end().await;
                coming.push(client);
            }
        }
        let refused = within(self.hub.snapshot(self.id(0))).await.map(drop);
        assert_eq!(refused, Err(HubError::Draining));
        within(self.log.close()).await;
        (self.log, self.hub) = start_hub(self.dir.path(), &self.limits).await;
        (self.lagging, self.quarantined) = Default::default();
        for reference in &mut self.references {
            reference.pending = None;
        }
        for client in coming {
            self.join(client).await;
        }
    }

    /// Applies new records of the log to the reference.
    async fn fold(&mut self, session: usize) {
        let after = self.references[session].session.seq();
        let records = within(self.hub.events_after(self.id(session), after, usize::MAX)).await;
        for recorded in records.expect("the log can be read") {
            self.references[session].fold(&recorded);
        }
    }

    /// Checks all invariants.
    async fn check(&mut self) {
        for session in 0..SESSIONS {
            self.fold(session).await;
            let state = self.state(session).await;
            if self.quarantined[session] {
                assert_eq!(state, BranchState::Quarantined);
            } else if state != BranchState::Asleep && state != BranchState::Passivating {
                self.check_session(session).await;
            }
            self.check_clients(session).await;
            if !self.quarantined[session] {
                self.check_presence(session).await;
            }
        }
    }

    /// Updates the presence of one client, and asserts that all reading clients receive every client with its last
    /// presence.
    async fn check_presence(&mut self, session: usize) {
        let present: Vec<usize> = self
            .clients_of(session)
            .filter(|&client| self.clients[client].is_connected())
            .collect();
        let Some(&speaker) = present.get(self.presence_updates % present.len().max(1)) else {
            return;
        };
        self.presence_updates += 1;
        self.clients[speaker].set_presence(&self.hub, self.presence_updates as u64);
        let members = within(self.hub.list_members(self.id(session)))
            .await
            .expect("the session serves");
        let entries = members.clients.iter().map(|entry| {
            let state = entry.state.as_ref().map_or("null", |state| state.get());
            let state = serde_json::from_str(state).expect("JSON");
            (entry.info.client_id.to_string(), state)
        });
        let expected: BTreeMap<String, Value> = entries.collect();
        assert_eq!(expected.len(), present.len());
        for client in present.into_iter().filter(|&client| !self.lagging[client]) {
            self.clients[client].read_presence(&expected).await;
        }
    }

    /// Asserts that a session equals the reference.
    async fn check_session(&mut self, session: usize) {
        let snapshot = within(self.hub.snapshot(self.id(session)))
            .await
            .expect("the session serves");
        let reference = &self.references[session];
        let history = reference.session.history();
        assert_eq!(snapshot.seq, reference.session.seq());
        assert_eq!(
            &snapshot.document,
            reference.document(),
            "the session equals the reference"
        );
        assert_eq!(snapshot.undo_available, history.undo_depth() > 0);
        assert_eq!(snapshot.redo_available, history.redo_depth() > 0);
        assert_eq!(snapshot.is_dirty, reference.session.is_dirty());
        assert_eq!(
            snapshot.active_clients,
            self.connected(session),
            "the session counts the connected clients"
        );
    }

    /// P6: a reading client has the graph of the reference. P7, P8: a client gets at most as many restarts of its room
    /// as its own session has failures.
    async fn check_clients(&mut self, session: usize) {
        let reference = &self.references[session];
        let text = graph_json(&reference.document().graph);
        let graph: Value = serde_json::from_str(text.get()).expect("JSON");
        for client in self.clients_of(session) {
            if self.lagging[client] || !self.clients[client].is_connected() {
                continue;
            }
            let client = &mut self.clients[client];
            client.read_to(reference.session.seq()).await;
            assert!(
                client.is_connected(),
                "a client stays connected while its session serves"
            );
            assert_eq!(client.replica.graph(), graph, "a replica equals the reference");
            if let Some((seq, hash)) = &client.hash
                && *seq == reference.session.seq()
            {
                assert_eq!(*hash, reference.document().graph.state_hash().to_string());
            }
            let restarted = client
                .reasons
                .iter()
                .filter(|&reason| reason == "room_restarted")
                .count();
            assert!(
                restarted <= reference.failures,
                "{restarted} restarts were announced after {} failures",
                reference.failures
            );
        }
    }
}

fn id_of(reference: &Reference) -> SessionId {
    reference.session.header().session_id
}

fn send(hub: &Hub, id: SessionId, sent: &Sent) -> impl Future<Output = Result<Submitted, HubError>> + Send + use<> {
    let (hub, sent) = (hub.clone(), sent.clone());
    async move { hub.submit(id, sent.command, sent.context, Span::none()).await }
}

/// Begins a call. Its message is in the mailbox before the messages of calls that begin later.
fn begin<T: Send + 'static>(call: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    let mut call = Box::pin(call);
    let first = call.as_mut().poll(&mut task::Context::from_waker(Waker::noop()));
    tokio::spawn(async move {
        match first {
            Poll::Ready(answer) => answer,
            Poll::Pending => call.await,
        }
    })
}

async fn start_hub(dir: &Path, limits: &Arc<Limits>) -> (SqliteLog, Hub) {
    let log = open_log(dir).await;
    let settings = HubSettings {
        limits: Limits::clone(limits),
        supervision: SupervisionSettings {
            // Injected failures are frequent, and must not lead to a quarantine.
            restarts_max: 1_000_000,
            restart_window: super::NEVER,
            restart_backoff: Duration::ZERO,
            idle_timeout: super::NEVER,
            sessions_max: 10,
            in_flight_per_session_max: 1_000,
            reconnect_ms: (100, 200),
            // Fewer bytes than most groups have.
            // Fewer bytes than some graphs have, so that syncs wait for their turn.
        },
        room: RoomSettings {
            tick_interval: Duration::from_millis(1),
            events_packet_bytes_max: 1_024,
            sync_bytes_in_flight_max: 2_048,
            presence_interval: Duration::from_millis(1),
            presence_clients_max: 1_000,
            deliveries_waiting_max: 6,
        },
        in_flight_max: 10_000,
        group_commands_max: 4,
        snapshot_events: SNAPSHOT_EVENTS,
        sockets_per_session_max: 100,
        command_filter_bytes_max: 1_048_576,
    };
    let parts = HubParts {
        log: Arc::new(log.clone()) as Arc<dyn EventLog>,
        blueprints: Arc::new(NoBlueprints),
        encoder: Some(Arc::new(WireEncoder {
            reconnect_ms: (100, 200),
            limits: ClientLimits::DEFAULT,
        }) as Arc<dyn Encoder>),
        stats: Arc::new(Stats::default()),
    };
    let hub = Hub::start(settings, parts).await.expect("the log can be listed");
    (log, hub)
}

/// Opens the log. The hub before has closed the log, but may hold its lock for a moment.
async fn open_log(dir: &Path) -> SqliteLog {
    within(async {
        loop {
            let unusable = Box::new(|reason: &str| unreachable!("the disk failed: {reason}"));
            match SqliteLog::open(dir, &Options::default(), unusable) {
                Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
                opened => return opened.expect("the log opens"),
            }
        }
    })
    .await
}
