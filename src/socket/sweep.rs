//! The second line against members without a connection: what the rooms hold is compared with what the library holds.
//!
//! The first line is the mark that a socket's end leaves ([`Memberships::depart`]), which is looked at after each join.
//! This one rests on neither the library's order of calls nor that mark: a socket that is in no namespace at two sweeps in
//! a row, and is still held by a room, is taken out of it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use socketioxide::{SocketIo, socket::Sid};
use talus_actors::hub::Hub;
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{NAMESPACE, joining::leave_all, memberships::Memberships};

/// Sockets that wait to be noted. Those beyond it wait a moment before they join.
const WAITING_MAX: usize = 256;

/// Notes below which it is not worth looking for those of sockets that are no more.
const NOTES_MIN: usize = 256;

/// Why the others are told that such a member is gone.
const LOST: &str = "transport_close";

/// Has sockets looked after.
#[derive(Clone)]
pub(super) struct Sweeper(mpsc::Sender<Note>);

/// A socket that was let in. Weak: what is held by nobody else is in no room.
struct Note {
    sid: Sid,
    of: Weak<Memberships>,
    is_suspect: bool,
}

impl Sweeper {
    /// Starts sweeping. It ends with the namespace, whose handlers hold this.
    pub(super) fn start(io: &SocketIo, hub: &Hub, interval: Duration) -> Self {
        let (sender, notes) = mpsc::channel(WAITING_MAX);
        tokio::spawn(sweep(io.clone(), hub.clone(), interval, notes));
        Self(sender)
    }

    /// Looks after a socket that the library has in its namespace by now.
    pub(super) async fn note(&self, sid: Sid, of: &Arc<Memberships>) {
        let note = Note {
            sid,
            of: Arc::downgrade(of),
            is_suspect: false,
        };
        // It ends only with everything else.
        let _ = self.0.send(note).await;
    }
}

async fn sweep(io: SocketIo, hub: Hub, interval: Duration, mut new: mpsc::Receiver<Note>) {
    let mut notes: Vec<Note> = Vec::new();
    let mut notes_max = NOTES_MIN;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            note = new.recv() => match note {
                Some(note) => notes.push(note),
                None => return,
            },
            _ = ticks.tick() => sweep_once(&io, &hub, &mut notes),
        }
        // Sockets that come and go between two sweeps leave notes, as many as those that stay (P9).
        if notes.len() >= notes_max {
            notes.retain(|note| note.of.strong_count() > 0);
            notes_max = NOTES_MIN.max(2 * notes.len());
        }
    }
}

fn sweep_once(io: &SocketIo, hub: &Hub, notes: &mut Vec<Note>) {
    let mut lost = 0_usize;
    notes.retain_mut(|note| {
        let Some(of) = note.of.upgrade() else { return false };
        let known = io.of(NAMESPACE).is_none_or(|all| all.get_socket(note.sid).is_some());
        // A socket that is just going is none of them.
        if !std::mem::replace(&mut note.is_suspect, !known) || known {
            return true;
        }
        of.depart();
        let members = of.all();
        lost += members.len();
        let hub = hub.clone();
        tokio::spawn(async move { leave_all(&hub, members, LOST).await });
        false
    });
    if lost > 0 {
        tracing::warn!(
            members = lost,
            "members without a connection were taken out of their rooms"
        );
    }
}
