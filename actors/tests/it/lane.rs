//! P1: pipelined commands of one sender are applied in the order sent, even while the session fails and restarts.

use std::sync::Arc;

use proptest::prelude::*;
use talus_actors::{
    domain::ids::Seq,
    hub::{HubError, Lane},
    log::planned::Fate,
    random::new_command_id,
};
use tracing::Span;

use crate::actors_support::{Outcome, Setup, Underway, context, create_node, new_node_id, within};

/// Sends `count` commands at once.
fn send(lane: &Lane, count: usize) -> Vec<Underway<Outcome>> {
    (0..count)
        .map(|_| {
            let command = Arc::new(create_node(new_node_id()));
            Underway::begin(lane.submit(command, context(new_command_id()), Span::none()))
        })
        .collect()
}

async fn answers(sent: Vec<Underway<Outcome>>) -> Vec<Outcome> {
    let mut answers = Vec::new();
    for call in sent {
        answers.push(call.answer().await);
    }
    answers
}

/// Returns the `seq` of each accepted command.
fn places(answers: &[Outcome]) -> Vec<Seq> {
    let accepted = answers.iter().filter_map(|answer| answer.as_ref().ok());
    accepted.map(|submitted| submitted.receipt.seq).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// P1: with appends that fail at random, commands are accepted in the order sent, and only commands of a failed
    /// append are not accepted.
    #[test]
    fn lane_keeps_its_order_while_appends_fail(
        losses in proptest::collection::vec(proptest::bool::weighted(0.3), 1..6),
        count in 1..60_usize,
        group in 1..8_usize,
        several_threads in any::<bool>(),
    ) {
        let mut builder = if several_threads {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2);
            builder
        } else {
            tokio::runtime::Builder::new_current_thread()
        };
        builder.enable_all().build().expect("a runtime").block_on(async {
            let world = Setup::new()
                .supervised(|supervision| supervision.restarts_max = 1_000)
                .with(|settings| settings.group_commands_max = group)
                .start()
                .await;
            let session = world.session().await;
            let lane = Lane::new(&world.hub, session.id);
            let lost = losses.iter().filter(|&&lose| lose).count();
            world.plan.next(losses.iter().map(|&lose| if lose { Fate::Lose } else { Fate::Commit }));
            let sent = send(&lane, count);
            drop(lane);
            let answers = answers(sent).await;
            let places = places(&answers);
            assert!(places.is_sorted(), "{places:?}");
            let unknown = answers.iter().filter(|answer| **answer == Err(HubError::OutcomeUnknown)).count();
            assert_eq!(places.len() + unknown, count, "{answers:?}");
            assert!(unknown <= lost * group, "{unknown} of {lost} groups");
            let snapshot = within(session.snapshot()).await.expect("the session serves");
            assert_eq!(snapshot.seq, Seq(2 * places.len() as u64), "only acknowledged commands are applied");
        });
    }
}

/// Waiting commands of a lane are refused once the session is quarantined. The released session serves the lane again.
#[tokio::test]
async fn lane_to_quarantined_session_is_refused() {
    let world = Setup::new()
        .supervised(|supervision| supervision.restarts_max = 0)
        .start()
        .await;
    let session = world.session().await;
    let lane = Lane::new(&world.hub, session.id);
    world.plan.next([Fate::Lose]);
    let answers = answers(send(&lane, 3)).await;
    assert_eq!(answers[0], Err(HubError::OutcomeUnknown));
    for answer in &answers[1..] {
        assert!(matches!(answer, Err(HubError::Quarantined { .. })), "{answer:?}");
    }
    let release = talus_actors::session_supervisor::Operation::Release;
    within(session.hub.operate(session.id, release))
        .await
        .expect("it is quarantined");
    let again = Underway::begin(lane.submit(
        Arc::new(create_node(new_node_id())),
        context(new_command_id()),
        Span::none(),
    ));
    assert_eq!(again.answer().await.expect("accepted").receipt.seq, Seq(2));
}

/// P9: commands of a lane beyond the session's limit are refused at once.
#[tokio::test]
async fn lane_is_limited_in_flight() {
    let mut world = Setup::new()
        .supervised(|supervision| supervision.in_flight_per_session_max = 5)
        .start()
        .await;
    let session = world.session().await;
    let lane = Lane::new(&world.hub, session.id);
    world.plan.all(Fate::Hold);
    let sent = send(&lane, 7);
    let held = world.plan.held().await;
    world.plan.all(Fate::Commit);
    held.commit();
    let answers = answers(sent).await;
    assert_eq!(places(&answers).len(), 5);
    for answer in &answers[5..] {
        assert!(matches!(answer, Err(HubError::Overloaded { max: 5, .. })), "{answer:?}");
    }
}
