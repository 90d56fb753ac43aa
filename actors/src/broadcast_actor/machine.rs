//! Machine of a room: everything that a room decides, synchronous and deterministic. The machine reads no clock. Sockets
//! and packets are the ports of the fan-out, none of whose methods blocks; all other effects are [`Output`]s.

use std::{collections::BTreeMap, mem, sync::Arc, time::Instant, vec};

use super::{
    BroadcastArguments, BroadcastMessage, CommandOutcome, RoomSettings, SocketShutdown, presence::RoomPresence,
    subscriber::Subscriber, sync_limiter::SyncLimiter,
};
use crate::{
    domain::{
        ids::{Seq, Timestamp},
        state_hash::StateHash,
    },
    fan_out::{
        CommandNotice, DeferredSync, Delivery, Encoder, Frame, Member, MemberId, Room, Sync, SyncBody, SyncContent,
        Verdict,
    },
    stats::Stats,
};

/// Machine of one room; see the [module](self).
pub(super) struct RoomMachine {
    room: Room,
    encoder: Arc<dyn Encoder>,
    stats: Arc<Stats>,
    settings: Arc<RoomSettings>,
    members: BTreeMap<MemberId, Subscriber>,
    /// Commands of the current publication that are not encoded yet.
    unpublished: vec::IntoIter<CommandOutcome>,
    /// First command of the next portion of the current publication.
    next_portion: Option<EncodedCommand>,
    /// Last encoded snapshot with its `seq`, until the session changes. Many sockets that join at once share the
    /// encoding.
    snapshot: Option<(Seq, SyncBody)>,
    /// Encoded size of the last snapshot in bytes: the estimate for the next.
    snapshot_bytes: usize,
    /// Last published event since the last tick, with the hash of the graph there.
    pending_tick: Option<(Seq, Option<StateHash>)>,
    /// True while a tick is scheduled.
    is_tick_scheduled: bool,
    sync_limiter: SyncLimiter,
    /// True while a check of the large syncs is scheduled.
    is_check_scheduled: bool,
    /// Delivery credits that are not yet returned.
    delivered: usize,
    presence: RoomPresence,
    /// True while a publication of presence is scheduled.
    is_presence_scheduled: bool,
}

/// Surroundings of an input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    pub(super) instant: Instant,
}

/// Effects in the order in which they have to be performed.
pub(super) type Outputs = Vec<Output>;

/// Effect of an input, performed by the actor.
pub(super) enum Output {
    /// Sends a reply.
    Reply(Box<dyn FnOnce() + Send>),
    /// Returns delivery credits to the session.
    ReturnCredits(usize),
    /// Schedules a message of the room to itself.
    SetTimer(Timer),
    /// Encodes the body of a long sync. The answer comes by [`RoomMachine::encoded`].
    Encode(PendingSync),
}

/// Message of the room to itself after a delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    Tick,
    CheckSyncs,
    PublishPresence,
}

/// Sync whose body is not encoded yet.
pub(super) struct PendingSync {
    cause: SyncCause,
    pub(super) sync: Arc<Sync>,
}

enum SyncCause {
    Join(Member),
    Resync(MemberId),
    Adopt(Member),
}

impl SyncCause {
    const fn member_id(&self) -> MemberId {
        match self {
            Self::Join(member) | Self::Adopt(member) => member.id,
            Self::Resync(id) => *id,
        }
    }
}

struct EncodedCommand {
    frames: Vec<Frame>,
    bytes: usize,
    credits: usize,
}

/// Parts in which delivery credits return. A session that has used up its credits continues once a quarter of the
/// deliveries is made, so that session and room work at the same time.
const CREDIT_PARTS: usize = 4;

/// Number of nodes or records from which encoding moves to a blocking thread: about a millisecond of work.
const LONG_ENCODING_ITEMS: usize = 500;

impl RoomMachine {
    /// Creates the machine of a room without members.
    pub(super) fn new(arguments: BroadcastArguments) -> Self {
        let BroadcastArguments {
            room,
            encoder,
            settings,
            stats,
        } = arguments;
        Self {
            room,
            encoder,
            stats,
            members: BTreeMap::new(),
            unpublished: Vec::new().into_iter(),
            next_portion: None,
            snapshot: None,
            snapshot_bytes: 0,
            pending_tick: None,
            is_tick_scheduled: false,
            sync_limiter: SyncLimiter::new(settings.sync_bytes_in_flight_max),
            is_check_scheduled: false,
            delivered: 0,
            presence: RoomPresence::new(settings.presence_clients_max),
            settings,
            is_presence_scheduled: false,
        }
    }

    pub(super) fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::clone(&self.encoder)
    }

    pub(super) const fn room(&self) -> &Room {
        &self.room
    }

    /// Takes a message.
    pub(super) fn handle(&mut self, message: BroadcastMessage, moment: Moment, outputs: &mut Outputs) {
        let begin = |cause, sync| PendingSync { cause, sync };
        match message {
            BroadcastMessage::Commands { outcomes, .. } => self.publish(outcomes, outputs),
            BroadcastMessage::Join(member, sync) => {
                self.begin_sync(begin(SyncCause::Join(member), sync), moment, outputs);
            }
            BroadcastMessage::Resync(id, sync) => {
                if self.members.contains_key(&id) {
                    self.begin_sync(begin(SyncCause::Resync(id), sync), moment, outputs);
                }
            }
            BroadcastMessage::Adopt(member, sync) => {
                self.begin_sync(begin(SyncCause::Adopt(member), sync), moment, outputs);
            }
            BroadcastMessage::PresenceChanged(id) => self.presence.changed(id),
            BroadcastMessage::ListMembers(reply) => {
                let members = self.members.values().map(|subscriber| subscriber.member.clone());
                let members = members.collect();
                outputs.push(Output::Reply(Box::new(move || reply.send(members))));
            }
            BroadcastMessage::Leave(id, reason, now) => self.leave(id, &reason, now),
            BroadcastMessage::Close(shutdown) => self.close(shutdown),
            BroadcastMessage::Tick => self.tick(moment, outputs),
            BroadcastMessage::CheckSyncs => self.grant_syncs(moment),
            BroadcastMessage::PublishPresence => self.publish_presence(moment),
            BroadcastMessage::Fail => panic_injected(),
        }
        self.set_timers(outputs);
    }

    fn set_timers(&mut self, outputs: &mut Outputs) {
        let is_tick_due = self.pending_tick.is_some() || self.delivered > 0;
        if is_tick_due && !mem::replace(&mut self.is_tick_scheduled, true) {
            outputs.push(Output::SetTimer(Timer::Tick));
        }
        if self.sync_limiter.is_busy() && !mem::replace(&mut self.is_check_scheduled, true) {
            outputs.push(Output::SetTimer(Timer::CheckSyncs));
        }
        if self.presence.is_pending() && !mem::replace(&mut self.is_presence_scheduled, true) {
            outputs.push(Output::SetTimer(Timer::PublishPresence));
        }
    }

    /// Publishes the commands of a group in portions of whole commands, each at most one batched packet (P9). The first
    /// portion is delivered at once.
    fn publish(&mut self, outcomes: Vec<CommandOutcome>, outputs: &mut Outputs) {
        if self.members.is_empty() {
            self.delivered += outcomes.iter().map(|outcome| outcome.credits).sum::<usize>();
            return self.return_all_credits(outputs);
        }
        self.note_last_event(&outcomes);
        self.unpublished = outcomes.into_iter();
        self.advance(outputs);
    }

    /// Returns true if a part of the current publication is not delivered yet.
    pub(super) const fn is_publishing(&self) -> bool {
        self.next_portion.is_some()
    }

    /// Delivers the next portion of the current publication.
    pub(super) fn advance(&mut self, outputs: &mut Outputs) {
        let (mut frames, mut bytes, mut delivered) = (Vec::new(), 0, 0);
        while let Some(command) = self.next_portion.take().or_else(|| self.encode_next()) {
            if bytes + command.bytes > self.settings.events_packet_bytes_max && !frames.is_empty() {
                self.next_portion = Some(command);
                break;
            }
            frames.extend(command.frames);
            bytes += command.bytes;
            delivered += command.credits;
        }
        self.deliver(&frames);
        self.return_credits(delivered, outputs);
        self.set_timers(outputs);
    }

    fn encode_next(&mut self) -> Option<EncodedCommand> {
        let CommandOutcome { notice, span, credits } = self.unpublished.next()?;
        let frames = span.in_scope(|| self.encode(&notice));
        let bytes = frames.iter().map(|frame| frame.data.get().len()).sum();
        Some(EncodedCommand { frames, bytes, credits })
    }

    /// Returns delivery credits to the session, once they are a part of its credits. A message for each publication
    /// would wake a session that has nothing to do.
    fn return_credits(&mut self, delivered: usize, outputs: &mut Outputs) {
        self.delivered += delivered;
        if self.delivered >= self.settings.deliveries_waiting_max / CREDIT_PARTS {
            self.return_all_credits(outputs);
        }
    }

    fn return_all_credits(&mut self, outputs: &mut Outputs) {
        let delivered = mem::take(&mut self.delivered);
        if delivered > 0 {
            outputs.push(Output::ReturnCredits(delivered));
        }
    }

    /// Drops the credits of a session that has ended.
    pub(super) const fn forget_credits(&mut self) {
        self.delivered = 0;
    }

    /// Delivers packets of whole commands, one socket after the other: packets that are queued together are sent
    /// together. The batched packet is encoded at most once, and only if a socket takes batches.
    fn deliver(&mut self, frames: &[Frame]) {
        let mut batch = None;
        for subscriber in self.members.values_mut() {
            match subscriber.member.frames {
                Delivery::Single => {
                    for frame in frames {
                        subscriber.send(frame, &self.stats);
                    }
                }
                Delivery::Batched => {
                    let frame = batch.get_or_insert_with(|| self.encoder.batch_frame(&self.room, frames));
                    subscriber.send(frame, &self.stats);
                }
            }
        }
    }

    fn note_last_event(&mut self, outcomes: &[CommandOutcome]) {
        let last = outcomes.iter().rev().find_map(|outcome| match &outcome.notice.verdict {
            Verdict::Applied(recorded) => Some(recorded),
            Verdict::Unchanged(_) | Verdict::Refused(_) => None,
        });
        let Some(recorded) = last else { return };
        self.snapshot = None;
        // One tick covers all events within an interval: only the last event of a burst is followed by no event that
        // would reveal its loss.
        self.pending_tick = Some((recorded.seq(), recorded.outcome.state_hash));
    }

    fn encode(&self, notice: &CommandNotice) -> Vec<Frame> {
        let frames = self.encoder.command(&self.room, notice);
        tracing::debug!(packets = frames.len(), members = self.members.len(), "fan-out");
        frames
    }

    fn join(&mut self, member: Member, sync: &Sync, body: Option<&SyncBody>, moment: Moment) {
        let info = member.info.clone();
        self.presence.joined(&member);
        let id = self.add_subscriber(member, true);
        self.sync(id, sync, body, moment);
        let frame = self
            .encoder
            .connected(&self.room, &info, self.members.len(), sync.timestamp);
        self.send_all(&frame);
        if let Some(subscriber) = self.members.get_mut(&id) {
            subscriber.join_unpublished = subscriber.awaits_sync;
        }
    }

    fn add_subscriber(&mut self, member: Member, needs_presence_list: bool) -> MemberId {
        let id = member.id;
        let needs_presence_list = needs_presence_list
            || self
                .members
                .get(&id)
                .is_some_and(|subscriber| subscriber.needs_presence_list);
        let subscriber = Subscriber::new(member, needs_presence_list);
        if self.members.insert(id, subscriber).is_none() {
            self.stats.members.inc();
        }
        id
    }

    /// Sends a sync to a member. Without a body the member waits until the sync is granted.
    fn sync(&mut self, id: MemberId, sync: &Sync, body: Option<&SyncBody>, moment: Moment) {
        let members = self.members.len();
        let Some(subscriber) = self.members.get_mut(&id) else {
            return;
        };
        let missed = subscriber.awaits_sync || subscriber.refusals > 0;
        subscriber.awaits_sync = body.is_none();
        let Some(body) = body else { return };
        let info = &subscriber.member.info;
        let frame = self.encoder.sync(&self.room, sync, body, info, members);
        let is_queued = subscriber.resync(&frame, sync.seq, &self.stats);
        self.sync_limiter
            .record_sent(id, if is_queued { body.0.get().len() } else { 0 }, moment.instant);
        if subscriber.needs_presence_list && subscriber.refusals == 0 {
            let here = self.presence.list_for(&subscriber.member.info.client_id);
            let frame = self
                .encoder
                .presence_state(&self.room, &here.clients, here.total, sync.timestamp);
            subscriber.needs_presence_list = !subscriber.send(&frame, &self.stats);
        } else if missed {
            self.presence.mark_stale(id);
        }
        if mem::take(&mut subscriber.join_unpublished) {
            let info = &subscriber.member.info;
            let frame = self.encoder.connected(&self.room, info, members, sync.timestamp);
            subscriber.send(&frame, &self.stats);
        }
    }

    /// Publishes the changes of presence to all members, and the full list to stale members. A large list goes to a
    /// limited number of stale members at a time.
    fn publish_presence(&mut self, moment: Moment) {
        self.is_presence_scheduled = false;
        let diff = self.presence.diff();
        if self.members.is_empty() {
            return;
        }
        if self.presence.has_stale() {
            let here = self.presence.list();
            let frame = self
                .encoder
                .presence_state(&self.room, &here.clients, here.total, moment.now);
            let at_once = self.settings.sync_bytes_in_flight_max / frame.data.get().len().max(1);
            for id in self.presence.take_stale(at_once.max(1)) {
                if let Some(subscriber) = self.members.get_mut(&id) {
                    subscriber.send(&frame, &self.stats);
                }
            }
        }
        if !diff.is_empty() {
            let frame = self.encoder.presence_diff(&self.room, &diff, moment.now);
            for (id, subscriber) in &mut self.members {
                if !self.presence.is_stale(*id) {
                    subscriber.send(&frame, &self.stats);
                }
            }
        }
    }

    /// Grants deferred syncs as far as their bytes fit.
    fn grant_syncs(&mut self, moment: Moment) {
        self.is_check_scheduled = false;
        let members = &self.members;
        let has_taken = |id| {
            members
                .get(&id)
                .is_none_or(|subscriber| subscriber.member.socket.has_drained())
        };
        while let Some((id, due)) = self.sync_limiter.next_grant(moment.instant, has_taken) {
            if let Some(subscriber) = members.get(&id) {
                subscriber.member.socket.grant_sync(due);
            }
        }
    }

    /// Begins a sync: the sync is deferred if it is too large at the moment, sent at once if its body is known or short,
    /// and encoded elsewhere otherwise.
    fn begin_sync(&mut self, pending: PendingSync, moment: Moment, outputs: &mut Outputs) {
        let PendingSync { cause, sync } = &pending;
        let due = DeferredSync::of(sync, self.room.epoch);
        let (is_snapshot, items) = match &sync.content {
            SyncContent::Snapshot(document) => (true, document.graph.len()),
            SyncContent::Events { records, .. } => (false, records.len()),
        };
        // A snapshot that would be deferred is not encoded just to measure its size: the previous size is the estimate.
        if is_snapshot && !self.sync_limiter.admit(cause.member_id(), self.snapshot_bytes, due) {
            return self.finish_sync(pending, None, moment);
        }
        let known = self
            .snapshot
            .as_ref()
            .filter(|(seq, _)| is_snapshot && *seq == sync.seq);
        if let Some((_, body)) = known {
            let body = body.clone();
            self.encoded(pending, &body, moment, outputs);
        } else if items < LONG_ENCODING_ITEMS {
            let body = self.encoder.sync_body(&self.room, sync);
            self.encoded(pending, &body, moment, outputs);
        } else {
            outputs.push(Output::Encode(pending));
        }
    }

    /// Takes the body of a sync. No other message may be handled between [`Output::Encode`] and this call.
    pub(super) fn encoded(&mut self, pending: PendingSync, body: &SyncBody, moment: Moment, outputs: &mut Outputs) {
        let sync = &pending.sync;
        let bytes = body.0.get().len();
        if matches!(sync.content, SyncContent::Snapshot(_)) {
            self.snapshot_bytes = bytes;
            self.snapshot = Some((sync.seq, body.clone()));
        }
        let due = DeferredSync::of(sync, self.room.epoch);
        let is_admitted = self.sync_limiter.admit(pending.cause.member_id(), bytes, due);
        self.finish_sync(pending, is_admitted.then_some(body), moment);
        self.set_timers(outputs);
    }

    fn finish_sync(&mut self, pending: PendingSync, body: Option<&SyncBody>, moment: Moment) {
        let PendingSync { cause, sync } = pending;
        match cause {
            SyncCause::Join(member) => self.join(member, &sync, body, moment),
            SyncCause::Resync(id) => self.sync(id, &sync, body, moment),
            SyncCause::Adopt(member) => {
                self.presence.adopted(&member);
                let id = self.add_subscriber(member, false);
                self.sync(id, &sync, body, moment);
            }
        }
    }

    fn leave(&mut self, id: MemberId, reason: &str, now: Timestamp) {
        let Some(subscriber) = self.members.remove(&id) else {
            return;
        };
        self.sync_limiter.remove(id);
        self.presence.left(id);
        self.stats.members.dec();
        let frame = self
            .encoder
            .disconnected(&self.room, &subscriber.member.info, self.members.len(), reason, now);
        self.send_all(&frame);
        if self.members.is_empty() {
            self.snapshot = None;
        }
    }

    fn tick(&mut self, moment: Moment, outputs: &mut Outputs) {
        self.is_tick_scheduled = false;
        self.return_all_credits(outputs);
        if let Some((seq, state_hash)) = self.pending_tick.take() {
            let frame = self.encoder.tick(&self.room, seq, state_hash, moment.now);
            self.send_all(&frame);
        }
    }

    fn send_all(&mut self, frame: &Frame) {
        for subscriber in self.members.values_mut() {
            subscriber.send(frame, &self.stats);
        }
    }

    /// Sends the reason to all members. Dropping `shutdown` releases the sockets.
    fn close(&mut self, mut shutdown: SocketShutdown) {
        for (id, subscriber) in mem::take(&mut self.members) {
            self.presence.left(id);
            self.stats.members.dec();
            shutdown.add(subscriber.member);
        }
        shutdown.notify(&*self.encoder, &self.room);
    }
}

impl Drop for RoomMachine {
    fn drop(&mut self) {
        self.stats
            .members
            .dec_by(i64::try_from(self.members.len()).unwrap_or(i64::MAX));
    }
}

#[expect(clippy::panic, reason = "requested by an operator, with fault injection enabled")]
fn panic_injected() {
    panic!("injected: PanicBroadcast");
}

#[cfg(test)]
mod tests;
