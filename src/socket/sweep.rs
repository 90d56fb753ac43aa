//! Second line of defence against members without a connection: compares the members of the rooms with the sockets of
//! the library.
//!
//! The first line is the mark of a disconnect ([`Memberships::mark_disconnected`]), which each join reads at its end. The sweep
//! relies neither on the library's order of calls nor on the mark: a socket that is missing from the namespace at two
//! consecutive sweeps and is still a member of a room is removed from the room.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use socketioxide::{SocketIo, socket::Sid};
use talus_actors::hub::Hub;
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{NAMESPACE, joining::leave_all, memberships::Memberships};

/// Entries that wait for the sweeper. Further sockets wait before they join.
const WAITING_MAX: usize = 256;

/// Number of entries below which entries of dropped sockets are not looked for.
const ENTRIES_MIN: usize = 256;

/// Reason in `session:disconnected` for a swept member.
const LOST: &str = "transport_close";

/// Handle of the sweeping task.
#[derive(Clone)]
pub(super) struct Sweeper(mpsc::Sender<SweepEntry>);

/// Admitted socket. Weak: memberships without another owner are in no room.
struct SweepEntry {
    sid: Sid,
    memberships: Weak<Memberships>,
    is_suspect: bool,
}

impl Sweeper {
    /// Starts the sweeping task. The task ends with the namespace, whose handlers own this handle.
    pub(super) fn start(io: &SocketIo, hub: &Hub, interval: Duration) -> Self {
        let (sender, entries) = mpsc::channel(WAITING_MAX);
        tokio::spawn(sweep(io.clone(), hub.clone(), interval, entries));
        Self(sender)
    }

    /// Adds a socket that the library has in its namespace already.
    pub(super) async fn watch(&self, sid: Sid, memberships: &Arc<Memberships>) {
        let entry = SweepEntry {
            sid,
            memberships: Arc::downgrade(memberships),
            is_suspect: false,
        };
        // The receiver ends only with the hub.
        let _ = self.0.send(entry).await;
    }
}

async fn sweep(io: SocketIo, hub: Hub, interval: Duration, mut new: mpsc::Receiver<SweepEntry>) {
    let mut entries: Vec<SweepEntry> = Vec::new();
    let mut entries_max = ENTRIES_MIN;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            entry = new.recv() => match entry {
                Some(entry) => entries.push(entry),
                None => return,
            },
            _ = ticks.tick() => sweep_once(&io, &hub, &mut entries),
        }
        // Sockets that connect and disconnect between two sweeps leave as many entries as sockets that stay (P9).
        if entries.len() >= entries_max {
            entries.retain(|entry| entry.memberships.strong_count() > 0);
            entries_max = ENTRIES_MIN.max(2 * entries.len());
        }
    }
}

fn sweep_once(io: &SocketIo, hub: &Hub, entries: &mut Vec<SweepEntry>) {
    let mut lost = 0_usize;
    entries.retain_mut(|entry| {
        let Some(memberships) = entry.memberships.upgrade() else {
            return false;
        };
        let known = io.of(NAMESPACE).is_none_or(|all| all.get_socket(entry.sid).is_some());
        // A socket in the middle of its disconnect is missing at one sweep only.
        if !std::mem::replace(&mut entry.is_suspect, !known) || known {
            return true;
        }
        memberships.mark_disconnected();
        let members = memberships.all();
        lost += members.len();
        let hub = hub.clone();
        tokio::spawn(async move { leave_all(&hub, members, LOST).await });
        false
    });
    if lost > 0 {
        tracing::warn!(members = lost, "members without a connection removed from their rooms");
    }
}
