//! Broadcast actor of a room: owns the sockets, encodes each publication once, and queues it at each socket.
//!
//! The session's actor is the only sender, so the order of a room is the order of its mailbox, and a join falls between
//! two publications. Each room has its own actor, so a large or slow room delays no other room (P7). The actor decides
//! nothing about the session and no command waits for it: a failed room fails no command (P10).

mod backlog;
mod departing;
mod pacing;
mod presence;
mod seat;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::Span;

use crate::{
    domain::{
        ids::{Seq, Timestamp},
        state_hash::StateHash,
    },
    fan_out::{
        CommandNotice, Encoder, Frame, Frames, Member, MemberId, Room, Sync, SyncBody, SyncContent, SyncDue, Verdict,
    },
    reply::Reply,
    stats::Stats,
    world::{instant, now},
};

pub(crate) use backlog::Backlog;
pub use backlog::Underway;
pub use departing::{Departing, Farewell};
pub(crate) use presence::list;

use self::{
    pacing::{PACE, Pacing},
    presence::RoomPresence,
    seat::Seat,
};

/// Messages of a broadcast actor.
pub enum BroadcastMessage {
    /// Publishes commands of one group in log order, each with its outcome.
    Commands(Vec<Told>),
    /// Adds a socket, which gets the sync. The other members are notified.
    Join(Member, Arc<Sync>),
    /// Sends a sync to a member.
    Resync(MemberId, Arc<Sync>),
    /// Takes over a socket from the room's previous actor. The socket gets the sync, and the other members are not
    /// notified.
    Adopt(Member, Arc<Sync>),
    /// Notes that the presence state of a member changed.
    PresenceChanged(MemberId),
    /// Lists the members.
    ListMembers(Reply<Vec<Member>>),
    /// Removes a socket.
    Leave(MemberId, Arc<str>, Timestamp),
    /// Sends the reason to every socket and releases all sockets.
    Close(Departing),
    /// Sends every socket the current `seq`, after a quiet interval.
    Tick,
    /// Checks whether deferred large syncs can be granted.
    Pace,
    /// Publishes the gathered changes of presence.
    TellPresence,
    /// Panics, on an operator's request.
    Fail,
}

/// Command with its outcome, for publication.
pub struct Told {
    /// Outcome of the command.
    pub notice: CommandNotice,
    /// Span of the command, from edge to fan-out.
    pub span: Span,
    /// Delivery credits of the command, returned on drop; `None` in a room without credits.
    pub underway: Option<Underway>,
}

/// Arguments of a broadcast actor.
pub struct BroadcastArguments {
    /// Identity of the room.
    pub room: Room,
    /// Encoder of packets.
    pub encoder: Arc<dyn Encoder>,
    /// Delay of a tick after the first event that it covers.
    pub tick_interval: Duration,
    /// Maximum size of a batched packet in bytes, unless a single command is larger.
    pub events_packet_bytes_max: usize,
    /// Bytes of large syncs in flight to the sockets of the room, at most.
    pub sync_bytes_in_flight_max: usize,
    /// Interval between two publications of presence.
    pub presence_interval: Duration,
    /// Listed clients, at most.
    pub presence_clients_max: usize,
    /// Metrics that the actor updates.
    pub stats: Arc<Stats>,
}

/// Behaviour of a broadcast actor; see the [module](self).
pub struct BroadcastActor;

/// State of a broadcast actor.
pub struct BroadcastState {
    room: Room,
    encoder: Arc<dyn Encoder>,
    stats: Arc<Stats>,
    members: BTreeMap<MemberId, Seat>,
    /// Last encoded snapshot with its `seq`, until the session changes. Many sockets that join at once share the
    /// encoding.
    snapshot: Option<(Seq, SyncBody)>,
    /// Encoded size of the last snapshot in bytes: the estimate for the next.
    snapshot_bytes: usize,
    tick_interval: Duration,
    /// Last published event since the last tick, with the hash of the graph there. `Some` means that a tick is
    /// scheduled.
    untold: Option<(Seq, Option<StateHash>)>,
    pacing: Pacing,
    /// True while a check of the large syncs is scheduled.
    is_pacing: bool,
    events_packet_bytes_max: usize,
    sync_bytes_in_flight_max: usize,
    presence: RoomPresence,
    presence_interval: Duration,
    /// True while a publication of presence is scheduled.
    is_gathering: bool,
}

/// Number of nodes or records from which encoding moves to a blocking thread: about a millisecond of work.
const LONG_ENCODING_ITEMS: usize = 500;

impl Actor for BroadcastActor {
    type Msg = BroadcastMessage;
    type State = BroadcastState;
    type Arguments = BroadcastArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        arguments: BroadcastArguments,
    ) -> Result<BroadcastState, ActorProcessingErr> {
        let BroadcastArguments {
            room,
            encoder,
            tick_interval,
            events_packet_bytes_max,
            sync_bytes_in_flight_max,
            presence_interval,
            presence_clients_max,
            stats,
        } = arguments;
        Ok(BroadcastState {
            room,
            encoder,
            stats,
            members: BTreeMap::new(),
            snapshot: None,
            snapshot_bytes: 0,
            tick_interval,
            untold: None,
            pacing: Pacing::new(sync_bytes_in_flight_max),
            is_pacing: false,
            events_packet_bytes_max,
            sync_bytes_in_flight_max,
            presence: RoomPresence::new(presence_clients_max),
            presence_interval,
            is_gathering: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: BroadcastMessage,
        state: &mut BroadcastState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BroadcastMessage::Commands(told) => state.publish(&myself, &told).await,
            BroadcastMessage::Join(member, sync) => {
                let body = state.let_out(member.id, &sync).await;
                state.join(member, &sync, body.as_ref());
            }
            BroadcastMessage::Resync(id, sync) => {
                if state.members.contains_key(&id) {
                    let body = state.let_out(id, &sync).await;
                    state.sync(id, &sync, body.as_ref());
                }
            }
            BroadcastMessage::Adopt(member, sync) => {
                let body = state.let_out(member.id, &sync).await;
                state.presence.adopted(&member);
                let id = state.seat(member, false);
                state.sync(id, &sync, body.as_ref());
            }
            BroadcastMessage::PresenceChanged(id) => state.presence.changed(id),
            BroadcastMessage::ListMembers(reply) => {
                reply.send(state.members.values().map(|seat| seat.member.clone()).collect());
            }
            BroadcastMessage::Leave(id, reason, now) => state.leave(id, &reason, now),
            BroadcastMessage::Close(departing) => state.close(departing),
            BroadcastMessage::Tick => state.tick(),
            BroadcastMessage::Pace => state.pace(),
            BroadcastMessage::TellPresence => state.tell_presence(),
            BroadcastMessage::Fail => injected(),
        }
        if state.pacing.is_busy() && !std::mem::replace(&mut state.is_pacing, true) {
            myself.send_after(PACE, || BroadcastMessage::Pace);
        }
        if state.presence.is_pending() && !std::mem::replace(&mut state.is_gathering, true) {
            myself.send_after(state.presence_interval, || BroadcastMessage::TellPresence);
        }
        Ok(())
    }
}

impl BroadcastState {
    /// Encodes the commands of a group and delivers them in portions of whole commands, each at most one batched packet
    /// (P9). The actor yields between portions, so that the sockets can send: a group may have more packets than a
    /// queue has room for, and must not make a fast socket lag.
    async fn publish(&mut self, myself: &ActorRef<BroadcastMessage>, told: &[Told]) {
        if self.members.is_empty() {
            return;
        }
        self.note_last_of(myself, told);
        let (mut frames, mut bytes) = (Vec::new(), 0);
        for Told { notice, span, .. } in told {
            let of_command = span.in_scope(|| self.encode(notice));
            let more: usize = of_command.iter().map(|frame| frame.data.get().len()).sum();
            if bytes + more > self.events_packet_bytes_max && !frames.is_empty() {
                self.hand_on(&frames);
                frames.clear();
                bytes = 0;
                tokio::task::yield_now().await;
            }
            frames.extend(of_command);
            bytes += more;
        }
        self.hand_on(&frames);
    }

    /// Delivers packets of whole commands, one socket after the other: packets that are queued together are sent
    /// together. The batched packet is encoded at most once, and only if a socket takes batches.
    fn hand_on(&mut self, frames: &[Frame]) {
        let mut together = None;
        for seat in self.members.values_mut() {
            match seat.member.frames {
                Frames::Single => {
                    for frame in frames {
                        seat.send(frame, &self.stats);
                    }
                }
                Frames::Batched => {
                    let frame = together.get_or_insert_with(|| self.encoder.together(&self.room, frames));
                    seat.send(frame, &self.stats);
                }
            }
        }
    }

    fn note_last_of(&mut self, myself: &ActorRef<BroadcastMessage>, told: &[Told]) {
        let last = told.iter().rev().find_map(|told| match &told.notice.verdict {
            Verdict::Applied(recorded) => Some(recorded),
            Verdict::Unchanged(_) | Verdict::Refused(_) => None,
        });
        let Some(recorded) = last else { return };
        self.snapshot = None;
        // One tick covers all events within an interval: only the last event of a burst is followed by no event that
        // would reveal its loss.
        let told = (recorded.seq(), recorded.outcome.state_hash);
        if self.untold.replace(told).is_none() {
            myself.send_after(self.tick_interval, || BroadcastMessage::Tick);
        }
    }

    fn encode(&self, notice: &CommandNotice) -> Vec<Frame> {
        let frames = self.encoder.command(&self.room, notice);
        tracing::debug!(packets = frames.len(), members = self.members.len(), "fan-out");
        frames
    }

    fn join(&mut self, member: Member, sync: &Sync, body: Option<&SyncBody>) {
        let info = member.info.clone();
        self.presence.joined(&member);
        let id = self.seat(member, true);
        self.sync(id, sync, body);
        let frame = self
            .encoder
            .connected(&self.room, &info, self.members.len(), sync.timestamp);
        self.tell_all(&frame);
        if let Some(seat) = self.members.get_mut(&id) {
            seat.is_unannounced = seat.waits;
        }
    }

    fn seat(&mut self, member: Member, is_new: bool) -> MemberId {
        let id = member.id;
        let is_new = is_new || self.members.get(&id).is_some_and(|seat| seat.is_new);
        let seat = Seat::new(member, is_new);
        if self.members.insert(id, seat).is_none() {
            self.stats.members.add(1);
        }
        id
    }

    /// Sends a sync to a member. Without a body the member waits until the sync is granted.
    fn sync(&mut self, id: MemberId, sync: &Sync, body: Option<&SyncBody>) {
        let members = self.members.len();
        let Some(seat) = self.members.get_mut(&id) else { return };
        let missed = seat.waits || seat.behind > 0;
        seat.waits = body.is_none();
        let Some(body) = body else { return };
        let info = &seat.member.info;
        let frame = self.encoder.sync(&self.room, sync, body, info, members);
        let is_taken = seat.resync(&frame, sync.seq, &self.stats);
        self.pacing
            .given(id, if is_taken { body.0.get().len() } else { 0 }, instant());
        if seat.is_new && seat.behind == 0 {
            let here = self.presence.list_for(&seat.member.info.client_id);
            let frame = self
                .encoder
                .presence_state(&self.room, &here.clients, here.total, sync.timestamp);
            seat.is_new = !seat.send(&frame, &self.stats);
        } else if missed {
            self.presence.missed(id);
        }
        if std::mem::take(&mut seat.is_unannounced) {
            let info = &seat.member.info;
            let frame = self.encoder.connected(&self.room, info, members, sync.timestamp);
            seat.send(&frame, &self.stats);
        }
    }

    /// Publishes the changes of presence to all members, and the full list to stale members. A large list goes to a
    /// limited number of stale members at a time.
    fn tell_presence(&mut self) {
        self.is_gathering = false;
        let diff = self.presence.diff();
        if self.members.is_empty() {
            return;
        }
        if self.presence.has_stale() {
            let here = self.presence.list();
            let frame = self
                .encoder
                .presence_state(&self.room, &here.clients, here.total, now());
            let at_once = self.sync_bytes_in_flight_max / frame.data.get().len().max(1);
            for id in self.presence.take_stale(at_once.max(1)) {
                if let Some(seat) = self.members.get_mut(&id) {
                    seat.send(&frame, &self.stats);
                }
            }
        }
        if !diff.is_empty() {
            let frame = self.encoder.presence_diff(&self.room, &diff, now());
            for (id, seat) in &mut self.members {
                if !self.presence.is_stale(*id) {
                    seat.send(&frame, &self.stats);
                }
            }
        }
    }

    /// Grants deferred syncs as far as their bytes fit.
    fn pace(&mut self) {
        self.is_pacing = false;
        let (members, now) = (&self.members, instant());
        let has_taken = |id| members.get(&id).is_none_or(|seat| seat.member.socket.has_taken_all());
        while let Some((id, due)) = self.pacing.next(now, has_taken) {
            if let Some(seat) = members.get(&id) {
                seat.member.socket.sync_is_due(due);
            }
        }
    }

    /// Returns the body of a sync that can be sent now; `None` if the sync is too large at the moment and was deferred.
    async fn let_out(&mut self, id: MemberId, sync: &Arc<Sync>) -> Option<SyncBody> {
        let due = SyncDue::of(sync, self.room.epoch);
        // A snapshot that would be deferred is not encoded just to measure its size: the previous size is the estimate.
        let is_snapshot = matches!(sync.content, SyncContent::Snapshot(_));
        if is_snapshot && !self.pacing.admit(id, self.snapshot_bytes, due) {
            return None;
        }
        let body = self.body(sync).await;
        self.pacing.admit(id, body.0.get().len(), due).then_some(body)
    }

    /// Returns the body of a sync. Long encoding runs on a blocking thread: the room waits, other rooms do not.
    async fn body(&mut self, sync: &Arc<Sync>) -> SyncBody {
        let (snapshot, items) = match &sync.content {
            SyncContent::Snapshot(document) => (true, document.graph.len()),
            SyncContent::Events { records, .. } => (false, records.len()),
        };
        match &self.snapshot {
            Some((seq, body)) if snapshot && *seq == sync.seq => return body.clone(),
            _ => {}
        }
        let body = if items < LONG_ENCODING_ITEMS {
            self.encoder.sync_body(&self.room, sync)
        } else {
            let (encoder, room, sync) = (Arc::clone(&self.encoder), self.room.clone(), Arc::clone(sync));
            match tokio::task::spawn_blocking(move || encoder.sync_body(&room, &sync)).await {
                Ok(body) => body,
                Err(failure) => std::panic::resume_unwind(failure.into_panic()),
            }
        };
        if snapshot {
            self.snapshot_bytes = body.0.get().len();
            self.snapshot = Some((sync.seq, body.clone()));
        }
        body
    }

    fn leave(&mut self, id: MemberId, reason: &str, now: Timestamp) {
        let Some(seat) = self.members.remove(&id) else { return };
        self.pacing.forget(id);
        self.presence.left(id);
        self.stats.members.add(-1);
        let frame = self
            .encoder
            .disconnected(&self.room, &seat.member.info, self.members.len(), reason, now);
        self.tell_all(&frame);
        if self.members.is_empty() {
            self.snapshot = None;
        }
    }

    fn tick(&mut self) {
        if let Some((seq, state_hash)) = self.untold.take() {
            let frame = self.encoder.tick(&self.room, seq, state_hash, now());
            self.tell_all(&frame);
        }
    }

    fn tell_all(&mut self, frame: &Frame) {
        for seat in self.members.values_mut() {
            seat.send(frame, &self.stats);
        }
    }

    /// Sends the reason to all members. Dropping `departing` releases the sockets.
    fn close(&mut self, mut departing: Departing) {
        for (id, seat) in std::mem::take(&mut self.members) {
            self.presence.left(id);
            self.stats.members.add(-1);
            departing.add(seat.member);
        }
        departing.tell(&*self.encoder, &self.room);
    }
}

impl Drop for BroadcastState {
    fn drop(&mut self) {
        self.stats
            .members
            .add(-i64::try_from(self.members.len()).unwrap_or(i64::MAX));
    }
}

#[expect(
    clippy::panic,
    reason = "an operator asked for it, and fault injection is switched on"
)]
fn injected() {
    panic!("injected: PanicBroadcast");
}
