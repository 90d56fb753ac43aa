//! Commands that change the sessions while all clients are away, so that a reconnecting client has missed events.

use std::{ops::Range, time::Duration};

use futures_util::{StreamExt as _, stream};

use crate::{
    run::OPEN_CONCURRENCY,
    server::{Answer, Server},
    ticket::Ticket,
    workload::{Opened, command},
};

/// Sends commands to every session, each after the answer to the one before, and updates the positions of the sessions.
/// Returns the number of commands that were not accepted.
pub(super) async fn change(server: &Server, seed: u64, opened: &mut [Opened], numbers: Range<u64>) -> u64 {
    let mut changing = Vec::new();
    for (session, opened) in (0..).zip(opened) {
        changing.push(change_one(server, seed, session, opened, numbers.clone()));
    }
    let changed = stream::iter(changing).buffer_unordered(OPEN_CONCURRENCY);
    changed.fold(0, async |sum, failed| sum + failed).await
}

async fn change_one(server: &Server, seed: u64, session: u16, opened: &mut Opened, numbers: Range<u64>) -> u64 {
    let mut failed = 0;
    for index in numbers {
        let start = Duration::ZERO;
        let body = command(seed, 0, opened, Ticket { start, session, index });
        match server.execute(&body).await {
            Answer::Accepted(seq) => opened.seq = seq,
            Answer::Refused(_) | Answer::Unanswered => failed += 1,
        }
    }
    failed
}
