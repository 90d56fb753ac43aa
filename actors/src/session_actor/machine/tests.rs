//! Interleavings of a session's inputs, tried synchronously: the test plays log, room and callers, and decides which of
//! them answers next.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use proptest::prelude::*;
use tracing::Span;
use uuid::Uuid;

use super::*;
use crate::{
    broadcast_actor::RoomSettings,
    domain::{
        command::{Command, CreateNode},
        ids::NodeId,
        limits::Limits,
        session::Rules,
        testing::{
            harness::{BEGINNING, Harness},
            sample,
        },
    },
    fan_out::{
        DeferredSync, Delivery, Frame, Member, MemberId, MemberInfo, Presence, Release, RoomSocket, SendError, Verdict,
    },
    reply::{ReplyError, ReplyReceiver},
    session_actor::{RejectedCommand, Submission, Submitted, lookup::Found},
    session_supervisor::SupervisionSettings,
};

const NEVER: Duration = Duration::from_secs(3_600);

/// One event of a run.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A caller sends a command. The number selects one of few ids, so that commands are repeated.
    Submit(u8),
    /// The log reports the append in flight.
    Appended,
    /// The log answers the oldest query of commands.
    Found,
    /// The log delivers the oldest page of ids.
    IdsRead,
    /// The room reports what it has delivered.
    Delivered,
    /// The actor fails. The append in flight is written or not.
    Restart { is_written: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u8..24).prop_map(Step::Submit),
        5 => Just(Step::Appended),
        4 => Just(Step::Found),
        3 => Just(Step::IdsRead),
        2 => Just(Step::Delivered),
        1 => any::<bool>().prop_map(|is_written| Step::Restart { is_written }),
    ]
}

struct Silent;

impl RoomSocket for Silent {
    fn send(&self, _: &Frame) -> Result<(), SendError> {
        Ok(())
    }
    fn mark_lagging(&self, _: Seq, _: u32) {}
    fn has_drained(&self) -> bool {
        true
    }
    fn grant_sync(&self, _: DeferredSync) {}
    fn release(&self, _: Release) {}
}

fn member() -> Member {
    Member {
        id: MemberId(1),
        info: MemberInfo {
            client_id: "alice".parse().expect("a client id"),
            user: None,
        },
        frames: Delivery::Single,
        presence: Presence::default(),
        socket: Arc::new(Silent),
    }
}

fn settings(group_commands_max: usize, deliveries_waiting_max: usize) -> HubSettings {
    HubSettings {
        limits: Limits {
            replay_window_events: 4,
            ..Limits::default()
        },
        supervision: SupervisionSettings {
            restarts_max: 1,
            restart_window: NEVER,
            restart_backoff: NEVER,
            idle_timeout: NEVER,
            sessions_max: 1,
            in_flight_per_session_max: 100,
            reconnect_ms: (1, 2),
        },
        room: RoomSettings {
            tick_interval: NEVER,
            events_packet_bytes_max: usize::MAX,
            sync_bytes_in_flight_max: usize::MAX,
            deliveries_waiting_max,
            presence_interval: NEVER,
            presence_clients_max: 1,
        },
        in_flight_max: 100,
        group_commands_max,
        snapshot_events: 10,
        sockets_per_session_max: 10,
        command_filter_bytes_max: 1_048_576,
    }
}

type Answer = ReplyReceiver<Result<Submitted, RejectedCommand>>;

/// Log, room and callers of one machine.
struct Stage {
    machine: SessionMachine,
    settings: Arc<HubSettings>,
    log: Vec<Arc<CommandRecord>>,
    pending: Option<Group>,
    finds: VecDeque<(Vec<CommandId>, Seq)>,
    pages: VecDeque<(Option<CommandId>, usize)>,
    /// Unanswered commands of this machine, in the order sent.
    callers: VecDeque<(CommandId, Answer)>,
    /// First answer to each command that was accepted.
    accepted: BTreeMap<CommandId, Seq>,
    /// `seq` of the last published event; `None` until the first event after a sync.
    published: Option<Seq>,
    delivered: usize,
    /// `seq` of the stored snapshot.
    stored: Option<Seq>,
}

impl Stage {
    fn new(settings: HubSettings) -> Self {
        let settings = Arc::new(settings);
        let mut stage = Self {
            machine: start(&settings, &[]),
            settings,
            log: Vec::new(),
            pending: None,
            finds: VecDeque::new(),
            pages: VecDeque::new(),
            callers: VecDeque::new(),
            accepted: BTreeMap::new(),
            published: None,
            delivered: 0,
            stored: None,
        };
        stage.join();
        stage
    }

    const fn moment() -> Moment {
        Moment {
            now: BEGINNING,
            followers: 0,
        }
    }

    fn durable(&self) -> Seq {
        self.log.last().map_or(Seq::ZERO, |record| record.seq())
    }

    fn join(&mut self) {
        let mut outputs = Outputs::default();
        self.machine
            .resubscribe_members(vec![member()], Self::moment(), &mut outputs);
        self.perform(outputs);
    }

    /// Hands over a message, then lets the machine decide as far as it can.
    fn input(&mut self, message: SessionMessage) {
        let mut outputs = Outputs::default();
        self.machine
            .handle(message, Self::moment(), &mut outputs)
            .expect("no failure");
        self.perform(outputs);
        while self.machine.is_ready_to_advance() {
            let mut outputs = Outputs::default();
            let advanced = self.machine.advance(Self::moment(), &mut outputs);
            self.perform(outputs);
            if !advanced.expect("no failure") {
                break;
            }
        }
    }

    fn perform(&mut self, outputs: Outputs) {
        for output in outputs {
            match output {
                Output::Reply(send) => send(),
                Output::Append(group) => {
                    assert!(self.pending.is_none(), "LOG-4: one append is in flight");
                    assert_eq!(group.expected, self.durable(), "the group follows the log");
                    self.pending = Some(group);
                }
                Output::Commands(outcomes) => self.publish(&outcomes),
                Output::Find { commands, as_of } => self.finds.push_back((commands, as_of)),
                Output::ReadIds { after, max } => self.pages.push_back((after, max)),
                Output::StoreSnapshot(snapshot) => {
                    assert!(snapshot.seq <= self.durable(), "P3: a snapshot is durable");
                    self.stored = Some(snapshot.seq);
                }
                Output::ToRoom(BroadcastMessage::Adopt(..)) => self.published = None,
                Output::Progress(seq) => assert_eq!(seq, self.durable()),
                Output::ToRoom(_) | Output::Follow(_) | Output::LoadTemplate(_) | Output::Stop => {}
            }
        }
        self.check_answers();
    }

    /// P1, P3: published events are durable and dense.
    fn publish(&mut self, outcomes: &[CommandOutcome]) {
        for CommandOutcome { notice, credits, .. } in outcomes {
            self.delivered += credits;
            if let Verdict::Applied(record) = &notice.verdict {
                assert!(record.seq() <= self.durable(), "P3: a published event is durable");
                if let Some(last) = self.published {
                    assert_eq!(record.first_seq, last.plus(1), "P1: published events are dense");
                }
                self.published = Some(record.seq());
            }
        }
    }

    /// Answers come in the order of the commands and state what is durable.
    fn check_answers(&mut self) {
        while let Some((id, answer)) = self.callers.front_mut() {
            let Ok(answer) = answer.try_recv() else { break };
            let submitted = answer.expect("a running machine answers").expect("accepted");
            let seq = submitted.receipt.seq;
            assert!(seq <= self.log.last().map_or(Seq::ZERO, |record| record.seq()), "P3");
            let first = *self.accepted.entry(*id).or_insert(seq);
            assert_eq!(first, seq, "P4: a repeated command has the first answer");
            self.callers.pop_front();
        }
        for (_, answer) in &mut self.callers {
            assert!(answer.try_recv().is_err(), "no answer overtakes an earlier one");
        }
    }

    fn submit(&mut self, number: u8) {
        let id = u32::from(number);
        let command = Command::CreateNode(CreateNode {
            node_type: "task".into(),
            name: Some("a task".into()),
            parent_id: None,
            index: None,
            properties: BTreeMap::new(),
            node_id: Some(NodeId::new(Uuid::from_u128(0x4000 + u128::from(number)))),
        });
        let context = Harness::context(id);
        let (reply, answer) = Reply::new(None);
        self.callers.push_back((context.command_id, answer));
        self.input(SessionMessage::Submit(Submission {
            command: Arc::new(command),
            context,
            reply,
            span: Span::none(),
        }));
    }

    fn appended(&mut self) {
        if let Some(group) = self.pending.take() {
            self.log.extend(group.records);
            self.input(SessionMessage::Appended(Ok(())));
        }
    }

    fn found(&mut self) {
        if let Some((commands, as_of)) = self.finds.pop_front() {
            let known = self.log.iter().filter(|record| commands.contains(&record.command_id));
            let records = known.cloned().collect();
            self.input(SessionMessage::Found(Ok(Found {
                commands,
                records,
                as_of,
            })));
        }
    }

    fn ids_read(&mut self) {
        if let Some((after, max)) = self.pages.pop_front() {
            let ids: BTreeSet<_> = self.log.iter().map(|record| record.command_id).collect();
            let page = ids
                .into_iter()
                .filter(|&id| after.is_none_or(|after| id > after))
                .take(max);
            self.input(SessionMessage::IdsRead(Ok(Some(page.collect()))));
        }
    }

    fn deliver(&mut self) {
        let delivered = mem::take(&mut self.delivered);
        self.input(SessionMessage::RoomDelivered(delivered));
    }

    /// Fails the machine and starts another from the log. The callers of the first learn that they have no answer.
    fn restart(&mut self, is_written: bool) {
        if let Some(group) = self.pending.take().filter(|_| is_written) {
            self.log.extend(group.records);
        }
        self.finds.clear();
        self.pages.clear();
        self.delivered = 0;
        self.machine = start(&self.settings, &self.log);
        for (_, mut answer) in self.callers.drain(..) {
            let lost = answer.try_recv().expect("a dropped reply reports");
            assert!(matches!(lost, Err(ReplyError::NotHandled | ReplyError::Interrupted)));
        }
        self.join();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit(number) => self.submit(number),
            Step::Appended => self.appended(),
            Step::Found => self.found(),
            Step::IdsRead => self.ids_read(),
            Step::Delivered => self.deliver(),
            Step::Restart { is_written } => self.restart(is_written),
        }
    }

    /// Lets log and room answer until nothing is open.
    fn settle(&mut self) {
        while self.pending.is_some() || !self.finds.is_empty() || !self.pages.is_empty() || self.delivered > 0 {
            self.appended();
            self.found();
            self.ids_read();
            self.deliver();
        }
    }
}

fn start(settings: &Arc<HubSettings>, log: &[Arc<CommandRecord>]) -> SessionMachine {
    let rules = Rules {
        blueprint: None,
        limits: Arc::new(settings.limits.clone()),
    };
    let session = Session::replay(sample::header(), rules, None, log.iter().cloned()).expect("a log of this machine");
    let start = Start {
        session,
        snapshot_seq: Seq::ZERO,
        settings: Arc::clone(settings),
        member_registry: MemberRegistry::default(),
        has_room: true,
        filter_key: 11,
    };
    SessionMachine::new(start, BEGINNING)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// P1, P3, P4, P8, P9: in any order of commands, answers of the log, reports of the room and failures, each command
    /// is in the log once, nothing leaves before it is durable, and in the end every caller has an answer.
    #[test]
    fn every_interleaving_keeps_the_promises(
        group_commands_max in 1_usize..5,
        deliveries_waiting_max in 1_usize..6,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut stage = Stage::new(settings(group_commands_max, deliveries_waiting_max));
        for step in steps {
            stage.step(step);
            let waiting = stage.machine.room_deliveries_waiting;
            prop_assert!(waiting <= deliveries_waiting_max, "P9: {} deliveries wait", waiting);
        }
        stage.settle();
        prop_assert!(stage.callers.is_empty(), "{} callers have no answer", stage.callers.len());
        let ids: BTreeSet<_> = stage.log.iter().map(|record| record.command_id).collect();
        prop_assert_eq!(ids.len(), stage.log.len(), "P4: a command is in the log once");
        prop_assert!(stage.accepted.keys().all(|id| ids.contains(id)), "an accepted command is in the log");
        let replayed = start(&stage.settings, &stage.log).session;
        prop_assert_eq!(
            replayed.document().graph.state_hash(),
            stage.machine.session.document().graph.state_hash(),
            "P6: the log has the state"
        );
    }
}

/// P3: a session that is passivated right after a command stores its snapshot after the append of that command.
#[test]
fn passivation_stores_snapshot_after_append() {
    let mut settings = settings(10, 100);
    settings.snapshot_events = 1;
    let mut stage = Stage::new(settings);
    stage.machine.members.take();
    for number in 0..3 {
        stage.submit(number);
    }
    let (reply, mut answer) = Reply::new(None);
    stage.input(SessionMessage::Passivate {
        idle_since: Timestamp(i64::MAX),
        reply,
    });
    stage.appended();
    assert_eq!(
        (stage.machine.is_stopping, stage.stored),
        (true, None),
        "commands and passivation are one group"
    );
    assert!(answer.try_recv().is_err(), "the group is not durable");
    stage.appended();
    assert_eq!(stage.stored, Some(stage.durable()));
    assert!(answer.try_recv().is_ok());
}

/// A replaced document is followed by no decision before its template is loaded.
#[test]
fn decisions_wait_for_the_template() {
    let mut stage = Stage::new(settings(10, 100));
    stage.machine.awaits_template = true;
    stage.submit(1);
    assert!(stage.pending.is_none(), "no decision");
    stage.input(SessionMessage::TemplateLoaded(None));
    assert!(stage.pending.is_some(), "the command is decided");
}
