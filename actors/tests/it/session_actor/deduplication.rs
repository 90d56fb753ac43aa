//! P4: commands that left the replay window and are only in the log, and the cost of new commands in such a session.

use std::collections::BTreeMap;

use proptest::prelude::*;
use talus_actors::{
    domain::{command::Command, ids::CommandId, record::Receipt},
    hub::HubError,
    log::planned::Fate,
    random::new_command_id,
    session_supervisor::Operation,
    supervision::EventKind,
};

use crate::actors_support::{Session, Setup, Underway, World, create_node, new_node_id, within};

/// Returns parameters of a session that remembers only its latest command.
fn one_command_window() -> Setup {
    Setup::new().with(|settings| settings.limits.replay_window_events = 2)
}

/// Accepted command with its receipt.
struct Sent {
    id: CommandId,
    command: Command,
    first: Receipt,
}

async fn send(session: &Session) -> Sent {
    let (id, command) = (new_command_id(), create_node(new_node_id()));
    let first = within(session.submit_as(id, command.clone())).await.expect("accepted");
    assert!(!first.receipt.duplicate, "a new command");
    let first = first.receipt;
    Sent { id, command, first }
}

async fn send_many(session: &Session, count: usize) -> Vec<Sent> {
    let mut sent = Vec::new();
    for _ in 0..count {
        sent.push(send(session).await);
    }
    sent
}

/// Asserts that a retry returns the first receipt, marked as a duplicate.
async fn assert_duplicate(session: &Session, sent: &Sent) {
    let again = within(session.submit_as(sent.id, sent.command.clone())).await;
    let expected = Receipt {
        duplicate: true,
        ..sent.first.clone()
    };
    assert_eq!(again.expect("accepted before").receipt, expected);
}

async fn restart(session: &Session) {
    let mut events = session.hub.supervision_events();
    let done = session.hub.operate(session.id, Operation::Restart);
    within(done).await.expect("the session exists");
    let restarted = async { while !matches!(events.recv().await.expect("told").kind, EventKind::Restarted(_)) {} };
    within(restarted).await;
}

/// Sends new commands until the log is no longer asked about them.
async fn until_no_lookup(world: &World, session: &Session) {
    within(async {
        loop {
            let before = world.plan.lookups();
            send(session).await;
            if world.plan.lookups() == before {
                break;
            }
        }
    })
    .await;
}

/// P4: in a session whose first commands left the window the log is asked about no new command, and once about each
/// retry of an old command, which gets its first receipt.
#[tokio::test]
async fn log_is_asked_only_about_old_commands() {
    let world = one_command_window().start().await;
    let session = world.session().await;
    let sent = send_many(&session, 100).await;
    assert_eq!((world.plan.lookups(), world.plan.id_pages()), (0, 0), "all were new");
    assert_duplicate(&session, &sent[0]).await;
    assert_eq!(world.plan.lookups(), 1);
    let latest = sent.last().expect("a hundred");
    assert_duplicate(&session, latest).await;
    assert_eq!(world.plan.lookups(), 1, "the latest is remembered");
    for sent in &sent {
        assert_duplicate(&session, sent).await;
    }
    assert_eq!(session.snapshot().await.expect("read").seq, latest.first.seq);
}

/// After a restart the log is asked about each command until all pages of ids have been read. No command waits for the
/// pages.
#[tokio::test]
async fn lookups_continue_after_a_restart_until_all_ids_are_read() {
    for count in [50, 1_000, 1_050] {
        let world = one_command_window().start().await;
        let session = world.session().await;
        let mut sent = send_many(&session, count).await;
        restart(&session).await;
        session.snapshot().await.expect("read");
        assert_eq!(world.plan.id_pages(), 0, "a read requests no page");

        world.plan.hold_ids(true);
        let before = world.plan.lookups();
        sent.extend(send_many(&session, 10).await);
        assert_eq!(world.plan.lookups(), before + 10, "each is looked up");
        assert_eq!(world.plan.id_pages(), 1);
        assert_duplicate(&session, &sent[0]).await;

        world.plan.hold_ids(false);
        until_no_lookup(&world, &session).await;
        assert_eq!(world.plan.id_pages(), count / 1_000 + 1);
        let before = world.plan.lookups();
        for sent in &sent {
            assert_duplicate(&session, sent).await;
        }
        assert_eq!(
            world.plan.lookups(),
            before + sent.len(),
            "each old command is looked up"
        );
    }
}

/// Ids that cannot be read cost only the time for lookups. The page is read again later.
#[tokio::test]
async fn failed_id_page_is_read_later() {
    let world = one_command_window().start().await;
    let session = world.session().await;
    let mut sent = send_many(&session, 20).await;
    restart(&session).await;
    world.plan.fail_id_pages(1);
    let before = world.plan.lookups();
    sent.extend(send_many(&session, 60).await);
    assert_eq!(world.plan.lookups(), before + 60, "each is looked up");
    assert_eq!(world.plan.id_pages(), 1, "no further page is requested");
    for sent in &sent {
        assert_duplicate(&session, sent).await;
    }
    until_no_lookup(&world, &session).await;
    assert_eq!(world.plan.id_pages(), 2);
}

/// The inspection reports the filter's memory: 0 before a command leaves the window, and always 0 if the filter is
/// disabled.
#[tokio::test]
async fn filter_takes_no_memory_before_a_command_leaves_the_window() {
    for (bytes_max, taken) in [(1_048_576, 4_096), (0, 0)] {
        let setup = one_command_window().with(|settings| settings.command_filter_bytes_max = bytes_max);
        let world = setup.start().await;
        let session = world.session().await;
        let bytes = async || {
            let inspected = within(session.hub.branch(session.id))
                .await
                .expect("the session exists");
            inspected.inside.expect("the session runs").command_filter_bytes
        };
        let first = send(&session).await;
        assert_eq!(bytes().await, 0);
        send(&session).await;
        assert_eq!(bytes().await, taken);
        assert_duplicate(&session, &first).await;
    }
}

/// Step of a random history.
#[derive(Debug, Clone)]
enum Step {
    /// Several new commands at once.
    New(usize),
    /// Retry of an accepted command, followed by a new command.
    Again(prop::sample::Index),
    /// The same new command twice at once.
    Twice,
    /// New command with an unknown outcome, then its retry. The flag tells whether the append reached the log.
    InDoubt(bool),
    /// Restart of the session.
    Restart,
    /// Passivation of the session.
    Sleep,
    /// Number of id pages that fail, and whether later pages are held.
    NoIds(usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..8_usize).prop_map(Step::New),
        6 => any::<prop::sample::Index>().prop_map(Step::Again),
        2 => Just(Step::Twice),
        1 => any::<bool>().prop_map(Step::InDoubt),
        1 => Just(Step::Restart),
        1 => Just(Step::Sleep),
        1 => (0..3_usize, any::<bool>()).prop_map(|(fails, hold)| Step::NoIds(fails, hold)),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Session under test with a map as its model.
struct Model {
    world: World,
    session: Session,
    accepted: BTreeMap<CommandId, Sent>,
}

impl Model {
    async fn run(&mut self, step: Step) {
        match step {
            Step::New(count) => {
                let under_way: Vec<_> = (0..count).map(|_| self.begin()).collect();
                for (id, command, call) in under_way {
                    let first = call.answer().await.expect("accepted").receipt;
                    self.accept(id, command, first);
                }
            }
            Step::Again(which) => {
                let Some(at) = (!self.accepted.is_empty()).then(|| which.index(self.accepted.len())) else {
                    return;
                };
                let sent = self.accepted.values().nth(at).expect("an accepted command");
                let (id, command, behind) = self.begin();
                assert_duplicate(&self.session, sent).await;
                let first = behind.answer().await.expect("accepted").receipt;
                self.accept(id, command, first);
            }
            Step::Twice => {
                let (id, command, call) = self.begin();
                let again = Underway::begin(self.session.submit_as(id, command.clone()));
                let first = call.answer().await.expect("accepted").receipt;
                let again = again.answer().await.expect("accepted").receipt;
                assert!(again.duplicate);
                assert_eq!(again.seq, first.seq);
                self.accept(id, command, first);
            }
            Step::InDoubt(appended) => {
                let fate = if appended { Fate::CommitAndLose } else { Fate::Lose };
                self.world.plan.next([fate]);
                let (id, command, call) = self.begin();
                assert_eq!(call.answer().await, Err(HubError::OutcomeUnknown));
                let again = within(self.session.submit_as(id, command.clone())).await;
                let again = again.expect("accepted").receipt;
                assert_eq!(again.duplicate, appended);
                let first = Receipt {
                    duplicate: false,
                    ..again
                };
                self.accept(id, command, first);
            }
            Step::Restart => {
                // A passivated session has no actor to restart.
                within(self.session.hub.wake(self.session.id))
                    .await
                    .expect("the session exists");
                restart(&self.session).await;
            }
            Step::Sleep => {
                within(self.session.hub.passivate(self.session.id))
                    .await
                    .expect("the session exists");
            }
            Step::NoIds(fails, hold) => {
                self.world.plan.fail_id_pages(fails);
                self.world.plan.hold_ids(hold);
            }
        }
    }

    fn begin(
        &self,
    ) -> (
        CommandId,
        Command,
        Underway<Result<talus_actors::session_actor::Submitted, HubError>>,
    ) {
        let (id, command) = (new_command_id(), create_node(new_node_id()));
        let call = Underway::begin(self.session.submit_as(id, command.clone()));
        (id, command, call)
    }

    fn accept(&mut self, id: CommandId, command: Command, first: Receipt) {
        assert!(!first.duplicate, "{id} is new");
        let before = self.accepted.insert(id, Sent { id, command, first });
        assert!(before.is_none());
    }

    /// Asserts that the log holds every accepted command once, and no other.
    async fn assert_log(&self) {
        let stored = self.world.log.open(self.session.id, usize::MAX).await;
        let records = stored.expect("readable").expect("there").records;
        assert_eq!(records.len(), self.accepted.len());
        for record in records {
            let sent = &self.accepted[&record.command_id];
            assert_eq!(record.receipt(), sent.first);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// P4: for any history and any size of the window, an accepted command of any age returns its first receipt, a new
    /// command is accepted, and the log holds each command once.
    #[test]
    fn commands_of_any_age_are_applied_once(
        steps in steps(),
        window in prop_oneof![Just(1_usize), 2..9_usize, Just(60)],
        snapshot_events in prop_oneof![Just(4_u64), Just(1_000_000)],
        bytes_max in prop_oneof![Just(0_usize), Just(8), Just(64), Just(1_048_576)],
        group in 1..6_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let world = Setup::new()
                .supervised(|supervision| supervision.restarts_max = 1_000)
                .with(|settings| {
                    settings.limits.replay_window_events = window;
                    settings.snapshot_events = snapshot_events;
                    settings.command_filter_bytes_max = bytes_max;
                    settings.group_commands_max = group;
                })
                .start()
                .await;
            let session = world.session().await;
            let mut model = Model { world, session, accepted: BTreeMap::new() };
            for step in steps {
                model.run(step).await;
            }
            for sent in model.accepted.values() {
                assert_duplicate(&model.session, sent).await;
            }
            model.assert_log().await;
        });
    }
}
