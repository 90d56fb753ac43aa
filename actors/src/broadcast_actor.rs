//! Broadcast actor of a room: owns the sockets, encodes each publication once, and queues it at each socket.
//!
//! The session's actor is the only sender, so the order of a room is the order of its mailbox, and a join falls between
//! two publications. Each room has its own actor, so a large or slow room delays no other room (P7). The actor decides
//! nothing about the session and no command waits for it: a failed room fails no command (P10).

mod presence;
mod socket_shutdown;
mod subscriber;
mod sync_limiter;

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::Span;

use crate::{
    clock::{instant, now},
    domain::{
        ids::{Seq, Timestamp},
        state_hash::StateHash,
    },
    fan_out::{
        CommandNotice, DeferredSync, Delivery, Encoder, Frame, Member, MemberId, Room, Sync, SyncBody, SyncContent,
        Verdict,
    },
    reply::Reply,
    session_actor::SessionMessage,
    stats::Stats,
};

pub(crate) use presence::list;
pub use socket_shutdown::{CloseReason, SocketShutdown};

use self::{
    presence::RoomPresence,
    subscriber::Subscriber,
    sync_limiter::{SYNC_CHECK_INTERVAL, SyncLimiter},
};

/// Messages of a broadcast actor.
pub enum BroadcastMessage {
    /// Publishes commands of one group in log order, each with its outcome.
    Commands {
        /// Commands with their outcomes.
        outcomes: Vec<CommandOutcome>,
        /// Session that gets the delivery credits back; `None`: no session counts them.
        session: Option<ActorRef<SessionMessage>>,
    },
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
    Close(SocketShutdown),
    /// Sends every socket the `seq` of the last event, at the end of a tick interval.
    Tick,
    /// Checks whether deferred large syncs can be granted.
    CheckSyncs,
    /// Publishes the gathered changes of presence.
    PublishPresence,
    /// Panics, on an operator's request.
    Fail,
}

/// Command with its outcome, for publication.
pub struct CommandOutcome {
    /// Outcome of the command.
    pub notice: CommandNotice,
    /// Span of the command, from edge to fan-out.
    pub span: Span,
    /// Delivery credits that the command took: one for each socket in the room.
    pub credits: usize,
}

/// Settings of the rooms.
#[derive(Debug, Clone)]
pub struct RoomSettings {
    /// Delay between the first event since the last tick and the next tick.
    pub tick_interval: Duration,
    /// Maximum size of a batched packet in bytes, unless a single command is larger.
    pub events_packet_bytes_max: usize,
    /// Bytes of large syncs in flight to the sockets of one room, at most.
    pub sync_bytes_in_flight_max: usize,
    /// Delivery credits of a session: undelivered (command, socket) pairs of its room, at most. A session without
    /// credits takes no further command until the room has caught up.
    pub deliveries_waiting_max: usize,
    /// Interval between two publications of presence.
    pub presence_interval: Duration,
    /// Listed clients of a session, at most.
    pub presence_clients_max: usize,
}

/// Arguments of a broadcast actor.
pub struct BroadcastArguments {
    /// Identity of the room.
    pub room: Room,
    /// Encoder of packets.
    pub encoder: Arc<dyn Encoder>,
    /// Settings of the hub's rooms.
    pub settings: Arc<RoomSettings>,
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
    members: BTreeMap<MemberId, Subscriber>,
    /// Last encoded snapshot with its `seq`, until the session changes. Many sockets that join at once share the
    /// encoding.
    snapshot: Option<(Seq, SyncBody)>,
    /// Encoded size of the last snapshot in bytes: the estimate for the next.
    snapshot_bytes: usize,
    /// Last published event since the last tick, with the hash of the graph there. `Some` means that a tick is
    /// scheduled.
    pending_tick: Option<(Seq, Option<StateHash>)>,
    sync_limiter: SyncLimiter,
    /// True while a check of the large syncs is scheduled.
    is_check_scheduled: bool,
    /// Delivery credits that are not yet returned, and the session that took them.
    delivered: usize,
    session: Option<ActorRef<SessionMessage>>,
    presence: RoomPresence,
    settings: Arc<RoomSettings>,
    /// True while a publication of presence is scheduled.
    is_presence_scheduled: bool,
}

/// Parts in which delivery credits return. A session that has used up its credits continues once a quarter of the
/// deliveries is made, so that session and room work at the same time.
const CREDIT_PARTS: usize = 4;

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
            settings,
            stats,
        } = arguments;
        Ok(BroadcastState {
            room,
            encoder,
            stats,
            members: BTreeMap::new(),
            snapshot: None,
            snapshot_bytes: 0,
            pending_tick: None,
            sync_limiter: SyncLimiter::new(settings.sync_bytes_in_flight_max),
            is_check_scheduled: false,
            delivered: 0,
            session: None,
            presence: RoomPresence::new(settings.presence_clients_max),
            settings,
            is_presence_scheduled: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: BroadcastMessage,
        state: &mut BroadcastState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BroadcastMessage::Commands { outcomes, session } => {
                state.count_credits_for(session);
                state.publish(&myself, &outcomes).await;
            }
            BroadcastMessage::Join(member, sync) => {
                let body = state.prepare_sync(member.id, &sync).await;
                state.join(member, &sync, body.as_ref());
            }
            BroadcastMessage::Resync(id, sync) => {
                if state.members.contains_key(&id) {
                    let body = state.prepare_sync(id, &sync).await;
                    state.sync(id, &sync, body.as_ref());
                }
            }
            BroadcastMessage::Adopt(member, sync) => {
                let body = state.prepare_sync(member.id, &sync).await;
                state.presence.adopted(&member);
                let id = state.add_subscriber(member, false);
                state.sync(id, &sync, body.as_ref());
            }
            BroadcastMessage::PresenceChanged(id) => state.presence.changed(id),
            BroadcastMessage::ListMembers(reply) => {
                reply.send(
                    state
                        .members
                        .values()
                        .map(|subscriber| subscriber.member.clone())
                        .collect(),
                );
            }
            BroadcastMessage::Leave(id, reason, now) => state.leave(id, &reason, now),
            BroadcastMessage::Close(shutdown) => state.close(shutdown),
            BroadcastMessage::Tick => state.tick(),
            BroadcastMessage::CheckSyncs => state.grant_syncs(),
            BroadcastMessage::PublishPresence => state.publish_presence(),
            BroadcastMessage::Fail => panic_injected(),
        }
        if state.sync_limiter.is_busy() && !mem::replace(&mut state.is_check_scheduled, true) {
            myself.send_after(SYNC_CHECK_INTERVAL, || BroadcastMessage::CheckSyncs);
        }
        if state.presence.is_pending() && !mem::replace(&mut state.is_presence_scheduled, true) {
            myself.send_after(state.settings.presence_interval, || BroadcastMessage::PublishPresence);
        }
        Ok(())
    }
}

impl BroadcastState {
    /// Encodes the commands of a group and delivers them in portions of whole commands, each at most one batched packet
    /// (P9). The actor yields between portions, so that the sockets can send: a group may have more packets than a
    /// queue has room for, and must not make a fast socket lag.
    async fn publish(&mut self, myself: &ActorRef<BroadcastMessage>, outcomes: &[CommandOutcome]) {
        if self.members.is_empty() {
            return self.return_credits(outcomes.iter().map(|outcome| outcome.credits).sum());
        }
        self.schedule_tick(myself, outcomes);
        let (mut frames, mut bytes, mut delivered) = (Vec::new(), 0, 0);
        for CommandOutcome { notice, span, credits } in outcomes {
            let encode_command = span.in_scope(|| self.encode(notice));
            let more: usize = encode_command.iter().map(|frame| frame.data.get().len()).sum();
            if bytes + more > self.settings.events_packet_bytes_max && !frames.is_empty() {
                self.deliver(&frames);
                self.return_credits(mem::take(&mut delivered));
                frames.clear();
                bytes = 0;
                tokio::task::yield_now().await;
            }
            frames.extend(encode_command);
            bytes += more;
            delivered += credits;
        }
        self.deliver(&frames);
        self.return_credits(delivered);
    }

    /// Notes the session to which credits are returned. The credits of a failed session ended with it.
    fn count_credits_for(&mut self, session: Option<ActorRef<SessionMessage>>) {
        let id = |session: &Option<ActorRef<SessionMessage>>| session.as_ref().map(|session| session.get_id());
        if id(&self.session) != id(&session) {
            self.session = session;
            self.delivered = 0;
        }
    }

    /// Returns delivery credits to the session, once they are a part of its credits. A message for each publication
    /// would wake a session that has nothing to do.
    fn return_credits(&mut self, delivered: usize) {
        self.delivered += delivered;
        if self.delivered >= self.settings.deliveries_waiting_max / CREDIT_PARTS {
            self.return_all_credits();
        }
    }

    fn return_all_credits(&mut self) {
        let delivered = mem::take(&mut self.delivered);
        if delivered > 0
            && let Some(session) = &self.session
        {
            // A session that has stopped needs no credits.
            let _ = session.cast(SessionMessage::RoomDelivered(delivered));
        }
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

    fn schedule_tick(&mut self, myself: &ActorRef<BroadcastMessage>, outcomes: &[CommandOutcome]) {
        let last = outcomes.iter().rev().find_map(|outcome| match &outcome.notice.verdict {
            Verdict::Applied(recorded) => Some(recorded),
            Verdict::Unchanged(_) | Verdict::Refused(_) => None,
        });
        let Some(recorded) = last else { return };
        self.snapshot = None;
        // One tick covers all events within an interval: only the last event of a burst is followed by no event that
        // would reveal its loss.
        let tick = (recorded.seq(), recorded.outcome.state_hash);
        if self.pending_tick.replace(tick).is_none() {
            myself.send_after(self.settings.tick_interval, || BroadcastMessage::Tick);
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
        let id = self.add_subscriber(member, true);
        self.sync(id, sync, body);
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
    fn sync(&mut self, id: MemberId, sync: &Sync, body: Option<&SyncBody>) {
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
            .record_sent(id, if is_queued { body.0.get().len() } else { 0 }, instant());
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
    fn publish_presence(&mut self) {
        self.is_presence_scheduled = false;
        let diff = self.presence.diff();
        if self.members.is_empty() {
            return;
        }
        if self.presence.has_stale() {
            let here = self.presence.list();
            let frame = self
                .encoder
                .presence_state(&self.room, &here.clients, here.total, now());
            let at_once = self.settings.sync_bytes_in_flight_max / frame.data.get().len().max(1);
            for id in self.presence.take_stale(at_once.max(1)) {
                if let Some(subscriber) = self.members.get_mut(&id) {
                    subscriber.send(&frame, &self.stats);
                }
            }
        }
        if !diff.is_empty() {
            let frame = self.encoder.presence_diff(&self.room, &diff, now());
            for (id, subscriber) in &mut self.members {
                if !self.presence.is_stale(*id) {
                    subscriber.send(&frame, &self.stats);
                }
            }
        }
    }

    /// Grants deferred syncs as far as their bytes fit.
    fn grant_syncs(&mut self) {
        self.is_check_scheduled = false;
        let (members, now) = (&self.members, instant());
        let has_taken = |id| {
            members
                .get(&id)
                .is_none_or(|subscriber| subscriber.member.socket.has_drained())
        };
        while let Some((id, due)) = self.sync_limiter.next_grant(now, has_taken) {
            if let Some(subscriber) = members.get(&id) {
                subscriber.member.socket.grant_sync(due);
            }
        }
    }

    /// Returns the body of a sync that can be sent now; `None` if the sync is too large at the moment and was deferred.
    async fn prepare_sync(&mut self, id: MemberId, sync: &Arc<Sync>) -> Option<SyncBody> {
        let due = DeferredSync::of(sync, self.room.epoch);
        // A snapshot that would be deferred is not encoded just to measure its size: the previous size is the estimate.
        let is_snapshot = matches!(sync.content, SyncContent::Snapshot(_));
        if is_snapshot && !self.sync_limiter.admit(id, self.snapshot_bytes, due) {
            return None;
        }
        let body = self.body(sync).await;
        self.sync_limiter.admit(id, body.0.get().len(), due).then_some(body)
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

    fn tick(&mut self) {
        self.return_all_credits();
        if let Some((seq, state_hash)) = self.pending_tick.take() {
            let frame = self.encoder.tick(&self.room, seq, state_hash, now());
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

impl Drop for BroadcastState {
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
