//! A group: the messages that are taken together between two appends, and what comes of them.

use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef};
use tracing::Span;

use super::{
    Fault, Position, Refusal, ResyncRequest, RoomFull, SessionMessage, SessionState, Stop, Submission, Submitted,
    snapshot,
};
use crate::{
    broadcast_actor::{BroadcastMessage, Departing, Farewell, Told},
    domain::{
        command::{Command, Context},
        decide::{Proposal, again, propose},
        ids::{Seq, Timestamp},
        recorded::Recorded,
    },
    fan_out::{CommandNotice, Member, MemberId, Release, Sync, SyncContent, SyncReason, Verdict},
    log::{Append, Done},
    reply::Reply,
    world::now,
};

/// The events between two snapshots of a large graph, for each of its nodes. To read a node of a snapshot takes about 8 µs,
/// to read an event of the log and replay it 1.5 to 2, so that what came after a snapshot makes a restart twice as long at
/// most. With one event for each node, commands in a graph of 100,000 nodes took a tenth more for the snapshots.
const SNAPSHOT_EVENTS_PER_NODE: u64 = 4;

/// Something that leaves the actor, once what was decided before it is durable.
pub(super) enum Effect {
    /// An answer, or something else that is told to somebody outside the room.
    Tell(Box<dyn FnOnce() + Send>),
    /// What a command came to, for the room. Those between two other things for it are told together.
    Command(Told),
    /// Something else for the room.
    Publish(BroadcastMessage),
}

impl SessionState {
    /// Takes what waits, decides and applies it in order, and starts one append for all of it.
    pub(super) fn turn(&mut self, myself: &ActorRef<SessionMessage>) -> Result<(), ActorProcessingErr> {
        let expected = self.session.seq();
        let mut records = Vec::new();
        for _ in 0..self.resources.group_commands_max {
            if !self.is_ready(myself) {
                break;
            }
            let Some(message) = self.waiting.pop_front() else { break };
            records.extend(self.process(message)?);
            if self.stopping || self.template_due {
                break;
            }
        }
        if records.is_empty() {
            self.release();
        } else {
            self.append_in_flight = true;
            let events = records.iter().map(|record| record.len_on_wire() as u64).sum();
            let (myself, stats) = (myself.clone(), Arc::clone(&self.resources.stats));
            let done = Done::new(move |result| {
                if result.is_ok() {
                    stats.events_published.add(events);
                }
                // An actor that is gone has failed; its successor reads the log.
                let _ = myself.cast(SessionMessage::Appended(result));
            });
            let session_id = self.session.genesis().session_id;
            self.append(Append {
                session_id,
                expected,
                records,
                node_count: self.session.document().graph.len(),
                done,
            });
        }
        self.stop_if_asked(myself);
        Ok(())
    }

    /// Lets everything out that is durable now: to the room in order, to each of those who asked in order.
    pub(super) fn release(&mut self) {
        let mut commands = Vec::new();
        for effect in std::mem::take(&mut self.outbox) {
            match effect {
                Effect::Tell(send) => send(),
                Effect::Command(told) => commands.push(told),
                Effect::Publish(message) => {
                    self.publish_commands(&mut commands);
                    self.publish(message);
                }
            }
        }
        self.publish_commands(&mut commands);
        self.answer_readers();
    }

    pub(super) fn stop_if_asked(&self, myself: &ActorRef<SessionMessage>) {
        if self.stopping && !self.append_in_flight {
            myself.stop(None);
        }
    }

    /// One message of a group. What it appends is returned, what it says goes to the outbox.
    fn process(&mut self, message: SessionMessage) -> Result<Option<Arc<Recorded>>, ActorProcessingErr> {
        match message {
            SessionMessage::Submit(submission) => {
                self.last_access = submission.context.now;
                return self.submit(submission);
            }
            SessionMessage::Read(request) => {
                self.last_access = now();
                match request.min_seq {
                    Some(seq) if seq > self.session.seq() => self.readers.push((seq, request.reply)),
                    Some(_) | None => {
                        self.reply_later(request.reply, |state| snapshot(&state.session, state.members.len()));
                    }
                }
            }
            SessionMessage::Follow(reply) => {
                self.last_access = now();
                self.reply_later(reply, |state| state.progress.subscribe());
            }
            SessionMessage::Join(member, position, now, reply) => self.join(member, position, now, reply),
            SessionMessage::Resync(member, request) => self.resync(member, request),
            SessionMessage::PresenceChanged(member) => {
                // Who has not come yet brings it along.
                if self.members.contains(member) {
                    self.outbox
                        .push(Effect::Publish(BroadcastMessage::PresenceChanged(member)));
                }
            }
            SessionMessage::Who(reply) => {
                self.last_access = now();
                self.reply_later(reply, |state| state.members.all());
            }
            SessionMessage::Leave(member, reason, now, reply) => {
                if self.members.remove(member) {
                    self.last_access = now;
                    self.outbox
                        .push(Effect::Publish(BroadcastMessage::Leave(member, reason, now)));
                }
                self.reply_later(reply, |_| ());
            }
            SessionMessage::Passivate { idle_since, reply } => {
                let idle = self.is_idle(idle_since);
                self.stopping = idle;
                if idle {
                    self.snapshot_for_later();
                }
                self.reply_later(reply, |state| idle.then(|| snapshot(&state.session, 0)));
            }
            SessionMessage::Stop(how) => self.stop(&how),
            // These are handled where they arrive; nothing puts them among what waits.
            SessionMessage::Appended(_)
            | SessionMessage::Found(_)
            | SessionMessage::RoomCaughtUp
            | SessionMessage::IdsRead(_)
            | SessionMessage::RoomReplaced { .. }
            | SessionMessage::Inspect(_)
            | SessionMessage::Inject(..)
            | SessionMessage::Fail(_) => {}
        }
        Ok(None)
    }

    fn submit(&mut self, submission: Submission) -> Result<Option<Arc<Recorded>>, ActorProcessingErr> {
        let Submission {
            command,
            context,
            mut reply,
            span,
        } = submission;
        reply.start();
        let entered = span.clone().entered();
        self.fail_if(Fault::PanicDecide);
        let decided = match self.lookups.take(context.command_id) {
            Some(recorded) => again(&recorded, &command).map(Proposal::Answer),
            None => propose(&self.session, &command, &context),
        };
        let (answer, notice, record) = match decided {
            Ok(Proposal::Change(proposed)) => {
                self.fail_if(Fault::PanicApply);
                let (recorded, forgotten) = self.session.carry_out(proposed)?;
                self.forgotten.extend(forgotten);
                self.template_due |= recorded.loads();
                tracing::debug!(
                    first_seq = recorded.first_seq.0,
                    seq = recorded.seq().0,
                    "command applied"
                );
                (
                    Ok(recorded.receipt()),
                    Some(Verdict::Applied(Arc::clone(&recorded))),
                    Some(recorded),
                )
            }
            // A retry sends no event (P4).
            Ok(Proposal::Answer(receipt)) if receipt.duplicate => (Ok(receipt), None, None),
            Ok(Proposal::Answer(receipt)) => (Ok(receipt.clone()), Some(Verdict::Unchanged(receipt)), None),
            Err(rejection) => {
                tracing::debug!(code = rejection.code(), %rejection, "command refused");
                let refusal = Refusal {
                    rejection: rejection.clone(),
                    seq: self.session.seq(),
                };
                // What makes no sense in any state is between the hub and its sender (ROOM-5).
                let told = (!rejection.is_malformed()).then_some(Verdict::Refused(rejection));
                (Err(refusal), told, None)
            }
        };
        drop(entered);
        let epoch = self.session.genesis().epoch;
        let answer = answer.map(|receipt| Submitted { receipt, epoch });
        self.outbox.push(Effect::Tell(Box::new(move || reply.send(answer))));
        if let Some(verdict) = notice {
            self.notify(&command, context, verdict, span);
        }
        Ok(record)
    }

    fn notify(&mut self, command: &Command, context: Context, verdict: Verdict, span: Span) {
        if self.members.is_empty() {
            return;
        }
        if self.fault == Some(Fault::PanicBroadcast) {
            self.fault = None;
            self.outbox.push(Effect::Publish(BroadcastMessage::Fail));
        }
        let notice = CommandNotice {
            command_id: context.command_id,
            command_type: command.kind(),
            origin: context.origin,
            timestamp: context.now,
            verdict,
        };
        let underway = Some(self.backlog.enter(self.members.len()));
        self.outbox.push(Effect::Command(Told { notice, span, underway }));
    }

    fn join(&mut self, member: Member, position: Option<Position>, now: Timestamp, reply: Reply<Result<(), RoomFull>>) {
        self.last_access = now;
        let max = self.resources.sockets_per_session_max;
        let full = self.members.len() >= max && !self.members.contains(member.id);
        if full || self.room.is_none() {
            return self.reply_later(reply, move |_| Err(RoomFull { max }));
        }
        let sync = Arc::new(self.sync(position, None, SyncReason::FirstJoin, now));
        self.members.insert(member.clone());
        self.outbox.push(Effect::Publish(BroadcastMessage::Join(member, sync)));
        self.reply_later(reply, |_| Ok(()));
    }

    fn resync(&mut self, member: MemberId, request: ResyncRequest) {
        if self.members.contains(member) {
            let sync = Arc::new(self.sync(request.position, request.reason, SyncReason::Requested, request.now));
            self.outbox
                .push(Effect::Publish(BroadcastMessage::Resync(member, sync)));
        }
    }

    /// Takes over the sockets of a room: each is told where the session is.
    pub(super) fn adopt(&mut self, members: Vec<Member>) {
        let sync = Arc::new(self.sync(None, Some(SyncReason::RoomRestarted), SyncReason::RoomRestarted, now()));
        for member in members {
            self.members.insert(member.clone());
            self.outbox
                .push(Effect::Publish(BroadcastMessage::Adopt(member, Arc::clone(&sync))));
        }
        if !self.append_in_flight {
            self.release();
        }
    }

    /// Lets the sockets of a room go, which come back by themselves.
    pub(super) fn dismiss(&mut self) {
        for member in self.members.take() {
            // The new room may be about to get it: the join is then before this in the outbox.
            let leave = BroadcastMessage::Leave(member.id, "room_failed".into(), now());
            self.outbox.push(Effect::Publish(leave));
            let release = move || member.socket.release(Release::CloseTransport);
            self.outbox.push(Effect::Tell(Box::new(release)));
        }
        if !self.append_in_flight {
            self.release();
        }
    }

    /// What leads a client from its position to here: the events that it missed if they are at hand (P2), else
    /// everything, and why.
    fn sync(
        &self,
        position: Option<Position>,
        forced: Option<SyncReason>,
        unplaced: SyncReason,
        now: Timestamp,
    ) -> Sync {
        let session = &self.session;
        let (reason, events) = match (forced, position) {
            (Some(reason), _) => (reason, None),
            (None, None) => (unplaced, None),
            (None, Some(at)) if at.epoch != Some(session.genesis().epoch) => (SyncReason::EpochChanged, None),
            (None, Some(at)) if at.seq > session.seq() => (SyncReason::AheadOfLog, None),
            (None, Some(at)) => match session.since(at.seq) {
                Some(records) => (SyncReason::Resumed, Some((at.seq, records.cloned().collect()))),
                None => (SyncReason::WindowExceeded, None),
            },
        };
        let content = match events {
            Some((after, records)) => SyncContent::Events { after, records },
            None => SyncContent::Snapshot(session.document().clone()),
        };
        Sync {
            seq: session.seq(),
            state_hash: session.document().graph.state_hash(),
            reason,
            content,
            undo_available: session.history().undo_depth() > 0,
            redo_available: session.history().next_redo().is_some(),
            timestamp: now,
        }
    }

    /// Gives the log a snapshot from time to time, so that a restart replays a short tail. Everything that the session
    /// has is durable when this is called.
    pub(super) fn snapshot_if_due(&mut self) {
        self.snapshot_after(self.snapshot_every());
    }

    /// The same before a session goes to sleep, if what happened since is worth it.
    fn snapshot_for_later(&mut self) {
        self.snapshot_after(self.snapshot_every() / 4);
    }

    /// The events between two snapshots. One costs as much as the graph is large, and saves as much as was done since the
    /// one before, so that those of a large graph are rarer: their share in a command is the same in a graph of any size.
    fn snapshot_every(&self) -> u64 {
        let nodes = self.session.document().graph.len() as u64;
        self.resources.snapshot_events.max(nodes * SNAPSHOT_EVENTS_PER_NODE)
    }

    fn snapshot_after(&mut self, events: u64) {
        let seq = self.session.seq();
        if seq.0 - self.snapshot_seq.0 >= events.max(1) {
            self.snapshot_seq = seq;
            let session_id = self.session.genesis().session_id;
            self.resources.log.keep_snapshot(session_id, self.session.snapshot());
        }
    }

    fn is_idle(&self, idle_since: Timestamp) -> bool {
        self.members.is_empty()
            && self.waiting.is_empty()
            && self.readers.is_empty()
            && self.progress.receiver_count() == 0
            && self.last_access <= idle_since
    }

    fn stop(&mut self, how: &Stop) {
        self.stopping = true;
        let why = match *how {
            Stop::Delete => Farewell::Deleted,
            Stop::Drain { reconnect_ms } => Farewell::Draining { reconnect_ms },
        };
        let departing = Departing::new(why, now(), self.members.take());
        self.outbox.push(Effect::Publish(BroadcastMessage::Close(departing)));
    }

    /// Puts an answer, as things stand now, into the outbox.
    fn reply_later<T: Send + 'static>(&mut self, mut reply: Reply<T>, answer: impl FnOnce(&Self) -> T) {
        reply.start();
        let answer = answer(self);
        self.outbox.push(Effect::Tell(Box::new(move || reply.send(answer))));
    }

    fn answer_readers(&mut self) {
        let here: Seq = self.session.seq();
        self.readers.retain(|(_, reply)| !reply.is_abandoned());
        for (_, reply) in self.readers.extract_if(.., |(seq, _)| *seq <= here) {
            reply.send(snapshot(&self.session, self.members.len()));
        }
    }

    /// Hands commands to the room, if there are any.
    fn publish_commands(&self, commands: &mut Vec<Told>) {
        if !commands.is_empty() {
            self.publish(BroadcastMessage::Commands(std::mem::take(commands)));
        }
    }

    /// Hands something to the room. If the room is gone, that is the room's trouble and no command's (P10): it will be
    /// replaced and given a sync.
    fn publish(&self, message: BroadcastMessage) {
        let Some(room) = &self.room else { return };
        if room.cast(message).is_err() {
            self.resources.stats.broadcast_failures.increment();
            tracing::warn!(session_id = %self.session.genesis().session_id, "the room's actor took no message");
        }
    }
}
