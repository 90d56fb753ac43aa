//! Reads of current, future and past state.

use std::time::Duration;

use talus_actors::{
    domain::ids::{Seq, SessionId},
    hub::{HubError, Page},
    log::planned::Fate,
    session_actor::SessionView,
};
use uuid::Uuid;

use crate::actors_support::{NEVER, Session, Setup, UNDO, Underway, World, settle, within};

fn read_at_least(session: &Session, seq: u64, wait: Duration) -> Underway<Result<SessionView, HubError>> {
    let (hub, id) = (session.hub.clone(), session.id);
    Underway::begin(async move { hub.snapshot_at_least(id, Seq(seq), wait).await })
}

/// A read with `min_seq` is answered once the session reaches it, neither earlier nor only after a second request. A
/// read of a reached `seq` is answered at once.
#[tokio::test]
async fn read_waits_for_its_min_seq() {
    let world = World::start().await;
    let session = world.session().await;
    let readers = [1, 2, 3, 4, 5].map(|seq| (seq, read_at_least(&session, seq, NEVER)));
    assert_eq!(
        read_at_least(&session, 0, NEVER).answer().await.expect("there").seq,
        Seq(0)
    );
    settle().await;
    assert!(readers.iter().all(|(_, reader)| reader.is_waiting()));
    session.added().await;
    settle().await;
    for (seq, reader) in &readers {
        assert_eq!(reader.is_waiting(), *seq > 2, "{seq}");
    }
    session.added().await;
    session.added().await;
    for (seq, reader) in readers {
        let there = reader.answer().await.expect("reached").seq;
        assert_eq!(there, Seq(2 * seq.div_ceil(2)), "at the end of the command with {seq}");
    }
}

/// A read that times out reports the current `seq` and keeps no permit.
#[tokio::test]
async fn read_timeout_reports_the_current_seq() {
    let world = Setup::new()
        .supervised(|supervision| supervision.in_flight_per_session_max = 2)
        .start()
        .await;
    let session = world.session().await;
    session.added().await;
    for _ in 0..10 {
        let too_late = read_at_least(&session, 3, Duration::ZERO).answer().await;
        let (wanted, current) = (Seq(3), Seq(2));
        assert_eq!(too_late.err(), Some(HubError::SeqNotReached { wanted, current }));
    }
    session.added().await;
}

/// P9: the permit of a cancelled read is released by the session's next message.
#[tokio::test]
async fn cancelled_read_returns_its_permit() {
    let world = Setup::new()
        .supervised(|supervision| supervision.in_flight_per_session_max = 3)
        .start()
        .await;
    let session = world.session().await;
    for _ in 0..10 {
        drop([read_at_least(&session, 9, NEVER), read_at_least(&session, 9, NEVER)]);
        settle().await;
        session.added().await;
    }
}

/// A view is immutable: later commands do not change it.
#[tokio::test]
async fn session_view_is_immutable() {
    let world = World::start().await;
    let session = world.session().await;
    session.added().await;
    let before = session.snapshot().await.expect("read");
    session.added().await;
    session.submit(UNDO).await.expect("accepted");
    session.submit(UNDO).await.expect("accepted");
    assert_eq!((before.seq, before.document.graph.len()), (Seq(2), 1));
    assert!(before.undo_available && !before.redo_available && before.is_dirty);
    let after = session.snapshot().await.expect("read");
    assert_eq!((after.seq, after.document.graph.len()), (Seq(8), 0));
    assert!(!after.undo_available && after.redo_available);
    assert_eq!(after.header.session_id, session.id);
    assert!(after.last_activity >= before.last_activity);
}

/// History lists the commands newest first, in pages, each with its current undone flag.
#[tokio::test]
async fn history_pages_carry_the_undone_flag() {
    let world = World::start().await;
    let session = world.session().await;
    for _ in 0..3 {
        session.added().await;
    }
    session.submit(UNDO).await.expect("accepted");
    let (mut before, mut told) = (None, Vec::new());
    loop {
        let Page { items, more } = session.hub.commands_before(session.id, before, 2).await.expect("read");
        assert_eq!(items.len(), 2);
        before = items.last().map(|told| told.recorded.seq());
        told.extend(items.into_iter().map(|told| (told.recorded.seq(), told.undone)));
        if !more {
            break;
        }
    }
    let expected = [(8, false), (6, true), (4, false), (2, false)];
    assert_eq!(told, expected.map(|(seq, undone)| (Seq(seq), undone)));
    let nothing = session
        .hub
        .commands_before(session.id, Some(Seq(2)), 2)
        .await
        .expect("read");
    assert_eq!((nothing.items.len(), nothing.more), (0, false));
}

/// P3: history and events are read from the log, so a pending append is not visible.
#[tokio::test]
async fn events_are_read_from_the_log() {
    let mut world = World::start().await;
    let session = world.session().await;
    session.added().await;
    session.added().await;
    world.plan.all(Fate::Hold);
    let waiting = Underway::begin(session.add());
    let append = within(world.plan.held()).await;
    let ends = |records: Vec<std::sync::Arc<talus_actors::domain::record::CommandRecord>>| -> Vec<u64> {
        records.iter().map(|record| record.seq().0).collect()
    };
    let hub = &session.hub;
    assert_eq!(
        ends(hub.events_after(session.id, Seq(0), 100).await.expect("read")),
        [2, 4]
    );
    assert_eq!(ends(hub.events_after(session.id, Seq(0), 2).await.expect("read")), [2]);
    append.commit();
    waiting.answer().await.expect("accepted");
    assert_eq!(
        ends(hub.events_after(session.id, Seq(3), 100).await.expect("read")),
        [4, 6]
    );
    assert_eq!(
        ends(hub.events_after(session.id, Seq(6), 100).await.expect("read")),
        [0; 0]
    );
}

/// Every call for an unknown session ends in `SessionNotFound`.
#[tokio::test]
async fn unknown_session_is_not_found() {
    let world = World::start().await;
    let mut session = world.session().await;
    session.id = SessionId::new(Uuid::from_u128(404));
    let hub = &session.hub;
    let missing = HubError::SessionNotFound(session.id);
    assert_eq!(session.add().await, Err(missing.clone()));
    assert_eq!(session.snapshot().await.err(), Some(missing.clone()));
    assert_eq!(
        read_at_least(&session, 5, NEVER).answer().await.err(),
        Some(missing.clone())
    );
    assert_eq!(session.client("ada").join(None).await, Err(missing.clone()));
    assert_eq!(hub.wake(session.id).await, Err(missing.clone()));
    assert_eq!(hub.delete(session.id).await, Err(missing.clone()));
    assert_eq!(hub.begin_save(session.id).await.err(), Some(missing.clone()));
    assert_eq!(hub.events_after(session.id, Seq(0), 9).await, Err(missing.clone()));
    assert_eq!(hub.commands_before(session.id, None, 9).await, Err(missing));
    session.client("ada").leave("client_disconnect").await;
}
