//! Delivery credits: a session waits for a room that is behind, and continues once the room has caught up.

use talus_actors::{domain::ids::Seq, session_actor::Inspection};

use crate::actors_support::{Client, Session, Setup, Underway, World, assert_gapless, until, within};

/// Starts a hub with a limit of deliveries that a room may have waiting.
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
    let branch = session.hub.branch(session.id).await.expect("the session exists");
    branch.inside.expect("the actor answers at once")
}

/// P9: while a room is out of delivery credits, commands stay undecided in the session, where admission counts them.
/// They are decided and delivered in order once the room has caught up.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn session_waits_for_room_that_is_behind() {
    let world = world(4).await;
    let session = world.session().await;
    let mut clients = clients(&session, 2).await;
    let waiting: Vec<_> = {
        let _blocked = world.encoder.hold();
        session.added().await;
        session.added().await;
        let waiting = (0..3).map(|_| Underway::begin(session.add())).collect();
        within(async { while inspected(&session).await.waiting < 3 {} }).await;
        let inside = inspected(&session).await;
        assert_eq!((inside.seq, inside.room_deliveries_waiting), (Seq(4), 4));
        assert!(!inside.append_in_flight, "the session waits for the room, not the log");
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

/// P10: deliveries that were waiting in a failed room hold up no command.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn session_does_not_wait_for_failed_room() {
    let world = world(2).await;
    let session = world.session().await;
    let mut clients = clients(&session, 2).await;
    let waiting = {
        let _blocked = world.encoder.hold();
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

/// No wake-up is lost between a session that begins to wait and a room that has just finished: with credit for one
/// command, each of 2,000 commands is answered and delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn waiting_session_is_always_woken() {
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
