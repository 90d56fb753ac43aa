//! A room that is behind its session: the session waits, and goes on when the room has caught up.

use talus_actors::{domain::ids::Seq, session_actor::Inspection};

use crate::actors_support::{Client, Session, Setup, Underway, World, assert_gapless, until, within};

/// A hub whose rooms may have so many deliveries to make.
async fn world(deliveries_max: usize) -> World {
    Setup::new()
        .with(|settings| settings.room.deliveries_waiting_max = deliveries_max)
        .start()
        .await
}

async fn clients(session: &Session, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 0..count {
        clients.push(session.joined(&format!("client-{number}")).await);
    }
    clients
}

async fn inspected(session: &Session) -> Inspection {
    let branch = session.hub.branch(session.id).await.expect("it is there");
    branch.inside.expect("it answers at once")
}

/// Commands that a room cannot be told of yet are not decided, wait in the session, where admission counts them, and
/// are decided and told in order when the room has caught up (P9).
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_session_waits_for_a_room_that_is_behind() {
    let world = world(4).await;
    let session = world.session().await;
    let mut clients = clients(&session, 2).await;
    let waiting: Vec<_> = {
        let _still = world.encoder.hold();
        session.added().await;
        session.added().await;
        let waiting = (0..3).map(|_| Underway::begin(session.add())).collect();
        within(async { while inspected(&session).await.waiting < 3 {} }).await;
        let inside = inspected(&session).await;
        assert_eq!((inside.seq, inside.room_deliveries_waiting), (Seq(4), 4));
        assert!(!inside.append_in_flight, "it does not wait for the log");
        waiting
    };
    for (command, seq) in waiting.into_iter().zip([6, 8, 10]) {
        assert_eq!(command.answer().await.expect("accepted").receipt.seq, Seq(seq));
    }
    for client in &mut clients {
        assert_gapless(&client.until_seq(Seq(10)).await, Seq(0), Seq(10));
    }
    within(async { while inspected(&session).await.room_deliveries_waiting > 0 {} }).await;
}

/// What a room had yet to tell when it failed is nobody's to wait for: no command does (P10).
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_session_does_not_wait_for_a_room_that_failed() {
    let world = world(2).await;
    let session = world.session().await;
    let mut clients = clients(&session, 2).await;
    let waiting = {
        let _still = world.encoder.hold();
        world.encoder.panic_at_commands(1);
        session.added().await;
        let waiting = Underway::begin(session.add());
        within(async { while inspected(&session).await.waiting < 1 {} }).await;
        waiting
    };
    assert_eq!(waiting.answer().await.expect("accepted").receipt.seq, Seq(4));
    until(|| world.stats().broadcast_restarts.get() == 1).await;
    for client in &mut clients {
        client.until_seq(Seq(4)).await;
    }
}

/// No wake-up gets lost between a session that begins to wait and a room that is just done: with room for one command,
/// each of many is answered and told.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_session_that_waits_is_always_woken() {
    const COMMANDS: usize = 2_000;
    const BURST: usize = 100;
    let world = world(1).await;
    let session = world.session().await;
    let mut clients = clients(&session, 3).await;
    for _ in 0..COMMANDS / BURST {
        let burst: Vec<_> = (0..BURST).map(|_| Underway::begin(session.add())).collect();
        for command in burst {
            command.answer().await.expect("accepted");
        }
    }
    let last = Seq(2 * COMMANDS as u64);
    for client in &mut clients {
        assert_gapless(&client.until_seq(last).await, Seq(0), last);
    }
}
