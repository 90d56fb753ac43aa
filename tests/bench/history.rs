//! Cost of a long history: the restart after a failure, and the first access after a restart of the hub.

use std::{sync::Arc, time::Instant};

use talus_actors::{random::new_command_id, session_actor::Fault};

use crate::{
    table::{Table, ms, percentile},
    world,
};

const CRASHES: usize = 20;
const OPENINGS: usize = 7;
const SNAPSHOTS: [(&str, u64); 2] = [("every 4000 events", 4_000), ("none", u64::MAX)];

/// Measures the time from the command at which a session fails to the event of the same command, sent again, at a
/// follower.
pub async fn recovery() -> Table {
    let mut table = Table::new(
        "recovery: from the failing command to its event, sent again (20 failures, no backoff)",
        &["events", "snapshots", "p50 ms", "max ms"],
    );
    for events in [100, 10_000, 100_000] {
        for (name, snapshot_events) in SNAPSHOTS {
            let dir = tempfile::tempdir().expect("a folder");
            let hub = world::hub(Arc::new(world::sqlite(dir.path())), snapshot_events).await;
            let (id, node) = world::session_with_history(&hub, events).await;
            let mut times = Vec::new();
            for _ in 0..CRASHES {
                let at = hub.snapshot(id).await.expect("the session serves").seq;
                let (_, _, mut follower) = hub.follow(id, at).await.expect("the session serves");
                hub.inject(id, Fault::PanicDecide).await.expect("the fault is injected");
                let (command_id, command) = (new_command_id(), world::update(node));
                let began = Instant::now();
                let failed = world::submit_as(&hub, id, command_id, command.clone()).await;
                assert!(failed.is_err(), "the injected fault fails the command");
                let again = world::submit_as(&hub, id, command_id, command).await;
                again.expect("the session serves again");
                follower.ready().await.expect("the event");
                hub.events_after(id, at, 1).await.expect("the event");
                times.push(began.elapsed());
            }
            let (p50, max) = (percentile(&mut times, 50), percentile(&mut times, 100));
            table.row(&[events.to_string(), name.to_owned(), ms(p50), ms(max)]);
            hub.drain().await;
        }
    }
    table
}

/// Measures the time from the first request to its answer, after the hub was stopped and started.
pub async fn cold_open() -> Table {
    let mut table = Table::new(
        "cold_open: first access after a restart of the hub, 100000 events (7 restarts)",
        &["snapshots", "hub p50 ms", "session p50 ms", "session max ms"],
    );
    for (name, snapshot_events) in SNAPSHOTS {
        let dir = tempfile::tempdir().expect("a folder");
        let log = world::sqlite(dir.path());
        let hub = world::hub(Arc::new(log.clone()), snapshot_events).await;
        let (id, _) = world::session_with_history(&hub, 100_000).await;
        hub.drain().await;
        log.close().await;
        drop((hub, log));
        let (mut starts, mut opens) = (Vec::new(), Vec::new());
        for _ in 0..OPENINGS {
            let began = Instant::now();
            let log = world::sqlite(dir.path());
            let hub = world::hub(Arc::new(log.clone()), snapshot_events).await;
            starts.push(began.elapsed());
            let began = Instant::now();
            hub.snapshot(id).await.expect("the session opens");
            opens.push(began.elapsed());
            hub.drain().await;
            log.close().await;
        }
        let (p50, max) = (percentile(&mut opens, 50), percentile(&mut opens, 100));
        table.row(&[name.to_owned(), ms(percentile(&mut starts, 50)), ms(p50), ms(max)]);
    }
    table
}
