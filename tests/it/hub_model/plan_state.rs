//! State of a plan, as far as it decides which steps are possible: connected clients, reading clients, serving
//! sessions. Plans are generated and shortened by this state.

use proptest::{prelude::*, strategy::Union};
use proptest_state_machine::ReferenceStateMachine;

use super::step::{CLIENTS, SESSIONS, Step, edit, fault};

/// State between two steps of a plan. See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct PlanState {
    clients: [Presence; CLIENTS],
    quarantined: [bool; SESSIONS],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Presence {
    #[default]
    Away,
    Reading,
    Lagging,
}

impl PlanState {
    fn of(&self, presence: Presence) -> Vec<usize> {
        (0..CLIENTS)
            .filter(|&client| self.clients[client] == presence)
            .collect()
    }

    /// Returns true if a client is away and its session serves.
    fn can_join(&self, client: usize) -> bool {
        self.clients[client] == Presence::Away && !self.quarantined[client % SESSIONS]
    }
}

impl ReferenceStateMachine for PlanState {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let session = || 0..SESSIONS;
        let mut steps: Vec<(u32, BoxedStrategy<Step>)> = vec![
            (
                12,
                (session(), edit())
                    .prop_map(|(session, edit)| Step::Submit { session, edit })
                    .boxed(),
            ),
            (
                4,
                (
                    session(),
                    any::<bool>(),
                    proptest::collection::vec(edit(), 2..12),
                    proptest::option::of(fault()),
                )
                    .prop_map(|(session, one_sender, edits, fault)| Step::Burst {
                        session,
                        one_sender,
                        edits,
                        fault,
                    })
                    .boxed(),
            ),
            (
                5,
                (session(), fault(), edit(), any::<bool>())
                    .prop_map(|(session, fault, edit, again)| Step::Fail {
                        session,
                        fault,
                        edit,
                        again,
                    })
                    .boxed(),
            ),
            (
                2,
                (session(), any::<u16>())
                    .prop_map(|(session, which)| Step::Duplicate { session, which })
                    .boxed(),
            ),
            (
                1,
                (session(), any::<u16>(), edit())
                    .prop_map(|(session, which, edit)| Step::Reuse { session, which, edit })
                    .boxed(),
            ),
            (2, session().prop_map(|session| Step::Restart { session }).boxed()),
            (2, session().prop_map(|session| Step::Passivate { session }).boxed()),
            (1, Just(Step::DrainAndStart).boxed()),
            (1, session().prop_map(|session| Step::Quarantine { session }).boxed()),
        ];
        let mut about = |weight, clients: Vec<usize>, step: fn(usize) -> Step| {
            if !clients.is_empty() {
                steps.push((weight, proptest::sample::select(clients).prop_map(step).boxed()));
            }
        };
        let present = || [state.of(Presence::Reading), state.of(Presence::Lagging)].concat();
        let coming = || (0..CLIENTS).filter(|&client| state.can_join(client)).collect();
        about(8, coming(), |client| Step::Join {
            client,
            forgetful: false,
        });
        about(1, coming(), |client| Step::Join {
            client,
            forgetful: true,
        });
        about(2, present(), |client| Step::Leave { client });
        about(3, present(), |client| Step::Bounce { client });
        about(2, state.of(Presence::Reading), |client| Step::Lag {
            client,
            packets: 0,
        });
        about(2, state.of(Presence::Reading), |client| Step::Lag {
            client,
            packets: 5,
        });
        about(6, state.of(Presence::Lagging), |client| Step::CatchUp { client });
        about(1, state.of(Presence::Reading), |client| Step::Diverge { client });
        for session in (0..SESSIONS).filter(|&session| state.quarantined[session]) {
            steps.push((12, Just(Step::Release { session }).boxed()));
        }
        Union::new_weighted(steps).boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        match *step {
            Step::Join { client, .. } | Step::Bounce { client } | Step::CatchUp { client } => {
                state.clients[client] = Presence::Reading;
            }
            Step::Leave { client } => state.clients[client] = Presence::Away,
            Step::Lag { client, .. } => state.clients[client] = Presence::Lagging,
            Step::Quarantine { session } => {
                state.quarantined[session] = true;
                for client in (0..CLIENTS).filter(|client| client % SESSIONS == session) {
                    state.clients[client] = Presence::Away;
                }
            }
            Step::Release { session } => state.quarantined[session] = false,
            // Connected clients rejoin at once and read. A quarantine ends with the old hub.
            Step::DrainAndStart => {
                for client in state.of(Presence::Lagging) {
                    state.clients[client] = Presence::Reading;
                }
                state.quarantined = Default::default();
            }
            Step::Submit { .. }
            | Step::Burst { .. }
            | Step::Fail { .. }
            | Step::Duplicate { .. }
            | Step::Reuse { .. }
            | Step::Diverge { .. }
            | Step::Restart { .. }
            | Step::Passivate { .. } => {}
        }
        state
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        match *step {
            Step::Join { client, .. } => state.can_join(client),
            Step::Leave { client } | Step::Bounce { client } => state.clients[client] != Presence::Away,
            Step::Lag { client, .. } | Step::Diverge { client } => state.clients[client] == Presence::Reading,
            Step::CatchUp { client } => state.clients[client] == Presence::Lagging,
            Step::Release { session } => state.quarantined[session],
            Step::Submit { .. }
            | Step::Burst { .. }
            | Step::Fail { .. }
            | Step::Duplicate { .. }
            | Step::Reuse { .. }
            | Step::Restart { .. }
            | Step::Quarantine { .. }
            | Step::Passivate { .. }
            | Step::DrainAndStart => true,
        }
    }
}
