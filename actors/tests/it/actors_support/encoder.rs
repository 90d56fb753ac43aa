//! Encoder with readable packets, call counters and panics on request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::{Value as Json, json, value::to_raw_value};
use talus_actors::{
    domain::{
        ids::{Seq, Timestamp},
        state_hash::StateHash,
    },
    fan_out::{
        CommandNotice, Encoder, Frame, MemberInfo, PresenceDiff, PresenceEntry, Room, Sync, SyncBody, SyncContent,
        Verdict,
    },
};

/// Test encoder; see the [module](self).
#[derive(Default)]
pub struct TestEncoder {
    /// Number of encoded commands.
    pub commands: AtomicUsize,
    /// Number of encoded batched packets.
    pub joint: AtomicUsize,
    /// Number of encoded sync bodies.
    pub bodies: AtomicUsize,
    /// Pending panics, one per command.
    pub command_panics: AtomicUsize,
    /// Pending panics, one per batched packet.
    pub batch_panics: AtomicUsize,
    /// Pending panics, one per sync body.
    pub body_panics: AtomicUsize,
    /// True while rooms are blocked.
    is_held: AtomicBool,
}

impl TestEncoder {
    pub fn encoded(&self) -> usize {
        self.commands.load(Ordering::Relaxed)
    }

    pub fn joint(&self) -> usize {
        self.joint.load(Ordering::Relaxed)
    }

    pub fn bodies(&self) -> usize {
        self.bodies.load(Ordering::Relaxed)
    }

    /// Blocks every room, with its thread, at the next command until the guard is dropped.
    pub fn hold(&self) -> Still<'_> {
        self.is_held.store(true, Ordering::Relaxed);
        Still(&self.is_held)
    }

    /// Panics at the next `count` commands.
    pub fn panic_at_commands(&self, count: usize) {
        self.command_panics.store(count, Ordering::Relaxed);
    }

    /// Panics at the next `count` batched packets.
    pub fn panic_at_batches(&self, count: usize) {
        self.batch_panics.store(count, Ordering::Relaxed);
    }

    /// Panics at the next `count` sync bodies.
    pub fn panic_at_bodies(&self, count: usize) {
        self.body_panics.store(count, Ordering::Relaxed);
    }
}

/// Guard: rooms are blocked until the drop.
pub struct Still<'a>(&'a AtomicBool);

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn panic_if_told(panics: &AtomicUsize) {
    let left = panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    assert!(left.is_err(), "the test told the encoder to panic");
}

fn frame(event: &'static str, room: &Room, seq: Option<Seq>, mut data: Json) -> Frame {
    data["session"] = json!(room.session_id);
    data["seq"] = json!(seq);
    Frame {
        event,
        data: Arc::from(to_raw_value(&data).expect("JSON")),
        seq,
    }
}

/// Returns pairs of client id and presence state.
fn listed(entries: &[PresenceEntry]) -> Json {
    let entry = |entry: &PresenceEntry| json!([entry.info.client_id, entry.state]);
    entries.iter().map(entry).collect()
}

impl Encoder for TestEncoder {
    fn command(&self, room: &Room, notice: &CommandNotice) -> Vec<Frame> {
        while self.is_held.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        self.commands.fetch_add(1, Ordering::Relaxed);
        panic_if_told(&self.command_panics);
        let id = json!({ "command_id": notice.command_id });
        let mut frames = vec![frame("command:executing", room, None, id.clone())];
        match &notice.verdict {
            Verdict::Applied(record) => {
                let seqs = (record.first_seq.0..record.seq().0).map(Seq);
                frames.extend(seqs.map(|seq| frame("graph", room, Some(seq), id.clone())));
                frames.push(frame("command:executed", room, Some(record.seq()), id));
            }
            Verdict::Unchanged(_) => frames.push(frame("command:executed", room, None, id)),
            Verdict::Refused(rejection) => {
                let data = json!({ "command_id": notice.command_id, "code": rejection.code() });
                frames.push(frame("command:failed", room, None, data));
            }
        }
        frames
    }

    fn batch_frame(&self, room: &Room, frames: &[Frame]) -> Frame {
        self.joint.fetch_add(1, Ordering::Relaxed);
        panic_if_told(&self.batch_panics);
        let item = |frame: &Frame| json!({ "event": frame.event, "seq": frame.seq, "data": frame.data });
        let items: Vec<_> = frames.iter().map(item).collect();
        let seq = frames.iter().rev().find_map(|frame| frame.seq);
        frame("together", room, seq, json!({ "items": items }))
    }

    fn sync_body(&self, _: &Room, sync: &Sync) -> SyncBody {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        panic_if_told(&self.body_panics);
        let body = match &sync.content {
            SyncContent::Snapshot(document) => {
                let nodes: Vec<_> = document.graph.walk(None).nodes().map(|(id, _)| id).collect();
                json!({ "nodes": nodes })
            }
            SyncContent::Events { after, records } => {
                let seqs = records
                    .iter()
                    .flat_map(|record| record.first_seq.0..=record.seq().0)
                    .filter(|&seq| seq > after.0);
                json!({ "seqs": seqs.collect::<Vec<_>>() })
            }
        };
        SyncBody(Arc::from(to_raw_value(&body).expect("JSON")))
    }

    fn sync(&self, room: &Room, sync: &Sync, body: &SyncBody, member: &MemberInfo, members: usize) -> Frame {
        let body: Json = serde_json::from_str(body.0.get()).expect("JSON");
        let data = json!({
            "at": sync.seq,
            "state_hash": sync.state_hash,
            "reason": sync.reason.as_str(),
            "body": body,
            "client": member.client_id,
            "members": members,
            "undo_available": sync.undo_available,
            "redo_available": sync.redo_available,
        });
        frame("session:sync", room, None, data)
    }

    fn connected(&self, room: &Room, member: &MemberInfo, members: usize, _: Timestamp) -> Frame {
        let data = json!({ "client": member.client_id, "members": members });
        frame("session:connected", room, None, data)
    }

    fn disconnected(&self, room: &Room, member: &MemberInfo, members: usize, reason: &str, _: Timestamp) -> Frame {
        let data = json!({ "client": member.client_id, "members": members, "reason": reason });
        frame("session:disconnected", room, None, data)
    }

    fn presence_state(&self, room: &Room, entries: &[PresenceEntry], total: usize, _: Timestamp) -> Frame {
        let data = json!({ "clients": listed(entries), "total": total });
        frame("presence:state", room, None, data)
    }

    fn presence_diff(&self, room: &Room, diff: &PresenceDiff, _: Timestamp) -> Frame {
        let data = json!({
            "joins": listed(&diff.joins),
            "updates": listed(&diff.updates),
            "leaves": diff.leaves,
        });
        frame("presence:diff", room, None, data)
    }

    fn tick(&self, room: &Room, seq: Seq, state_hash: Option<StateHash>, _: Timestamp) -> Frame {
        let data = json!({ "at": seq, "state_hash": state_hash });
        frame("session:tick", room, None, data)
    }

    fn draining(&self, room: &Room, reconnect_in_ms: u64, _: Timestamp) -> Frame {
        frame(
            "session:draining",
            room,
            None,
            json!({ "reconnect_in_ms": reconnect_in_ms }),
        )
    }
}
