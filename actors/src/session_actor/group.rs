//! Group commit: handling of the messages between two appends, and release of the effects.

use std::sync::Arc;

use tracing::Span;

use super::{
    Fault, FollowReply, Position, RejectedCommand, ResyncRequest, RoomFull, SessionMessage, SessionView, StopReason,
    Submission, Submitted,
    machine::{Failure, Group, Moment, Output, Outputs, SessionMachine},
};
use crate::{
    broadcast_actor::{BroadcastMessage, CloseReason, CommandOutcome, SocketShutdown},
    domain::{
        command::{Command, Context},
        decide::{Decision, decide, duplicate_receipt},
        ids::{Seq, Timestamp},
        record::CommandRecord,
        session::Session,
    },
    fan_out::{CommandNotice, Member, MemberId, Release, Sync, SyncContent, SyncReason, Verdict},
    reply::Reply,
};

/// Events between two snapshots of a large graph, per node. Reading a node of a snapshot takes about 8 µs, and reading
/// an event of the log and replaying it 1.5 to 2 µs, so the events after a snapshot at most double the time of a
/// restart. With one event per node, the snapshots made commands in a graph of 100,000 nodes a tenth slower.
const SNAPSHOT_EVENTS_PER_NODE: u64 = 4;

/// Effect that leaves the machine once all earlier decisions are durable.
pub(super) enum Effect {
    /// Outcome of a command for the room. Consecutive outcomes are published as one message.
    Command(CommandOutcome),
    /// Any other output.
    Output(Output),
}

impl SessionMachine {
    /// Handles waiting messages in order as one group, and starts one append for all records of the group.
    pub(super) fn run_group(&mut self, moment: Moment, outputs: &mut Outputs) -> Result<(), Failure> {
        let expected = self.session.seq();
        let (mut records, mut is_document_replaced) = (Vec::new(), false);
        for _ in 0..self.settings.group_commands_max {
            if !self.is_ready(outputs) {
                break;
            }
            let Some(message) = self.waiting.pop_front() else { break };
            let record = self.handle_queued(message, moment)?;
            is_document_replaced = record.as_ref().is_some_and(|record| record.loads());
            records.extend(record);
            if self.is_stopping || is_document_replaced {
                break;
            }
        }
        if records.is_empty() {
            self.flush_outbox(outputs);
        } else {
            self.append_in_flight = true;
            outputs.push(Output::Append(Group {
                expected,
                records,
                node_count: self.session.document().graph.len(),
                fault: self.fault.take_if(|fault| fault.is_of_append()),
            }));
        }
        if is_document_replaced {
            self.follow_template(outputs);
        }
        self.stop_if_asked(outputs);
        Ok(())
    }

    /// Returns the deliveries of the commands that are not published yet.
    pub(super) fn deliveries_in_outbox(&self) -> usize {
        let credits = self.outbox.iter().map(|effect| match effect {
            Effect::Command(outcome) => outcome.credits,
            Effect::Output(_) => 0,
        });
        credits.sum()
    }

    pub(super) fn stop_if_asked(&self, outputs: &mut Outputs) {
        if self.is_stopping && !self.append_in_flight {
            outputs.push(Output::Stop);
        }
    }

    /// Handles one message of a group. Returns the record to append; effects go to the outbox.
    fn handle_queued(
        &mut self,
        message: SessionMessage,
        moment: Moment,
    ) -> Result<Option<Arc<CommandRecord>>, Failure> {
        match message {
            SessionMessage::Submit(submission) => {
                self.last_access = submission.context.now;
                return self.submit(submission);
            }
            SessionMessage::Read(request) => {
                self.last_access = moment.now;
                match request.min_seq {
                    Some(seq) if seq > self.session.seq() => self.readers.push((seq, request.reply)),
                    Some(_) | None => {
                        self.queue_reply(request.reply, |state| view(&state.session, state.members.len()));
                    }
                }
            }
            SessionMessage::Follow(reply) => {
                self.last_access = moment.now;
                self.queue_follow(reply);
            }
            SessionMessage::Join(member, position, now, reply) => self.join(member, position, now, reply),
            SessionMessage::Resync(member, request) => self.resync(member, request),
            SessionMessage::PresenceChanged(member) => {
                // A socket outside the room brings its state along with the join.
                if self.members.contains(member) {
                    self.outbox
                        .push(Effect::Output(Output::ToRoom(BroadcastMessage::PresenceChanged(
                            member,
                        ))));
                }
            }
            SessionMessage::ListMembers(reply) => {
                self.last_access = moment.now;
                self.queue_reply(reply, |state| state.members.all());
            }
            SessionMessage::Leave(member, reason, now, reply) => {
                if self.members.remove(member) {
                    self.last_access = now;
                    self.outbox.push(Effect::Output(Output::ToRoom(BroadcastMessage::Leave(
                        member, reason, now,
                    ))));
                }
                self.queue_reply(reply, |_| ());
            }
            SessionMessage::Passivate { idle_since, reply } => {
                let idle = self.is_idle(idle_since, moment);
                self.is_stopping = idle;
                if idle {
                    self.snapshot_before_passivation();
                }
                self.queue_reply(reply, |state| idle.then(|| view(&state.session, 0)));
            }
            SessionMessage::Stop(how) => self.stop(&how, moment),
            // Handled on arrival, so never queued in `waiting`.
            SessionMessage::Appended(_)
            | SessionMessage::Found(_)
            | SessionMessage::RoomDelivered(_)
            | SessionMessage::IdsRead(_)
            | SessionMessage::TemplateLoaded(_)
            | SessionMessage::RoomReplaced { .. }
            | SessionMessage::Inspect(_)
            | SessionMessage::Inject(..)
            | SessionMessage::Fail(_) => {}
        }
        Ok(None)
    }

    fn submit(&mut self, submission: Submission) -> Result<Option<Arc<CommandRecord>>, Failure> {
        let Submission {
            command,
            context,
            mut reply,
            span,
        } = submission;
        reply.start();
        let entered = span.clone().entered();
        self.panic_if(Fault::PanicDecide);
        let decision = match self.lookups.take(context.command_id) {
            Some(recorded) => duplicate_receipt(&recorded, &command).map(Decision::Receipt),
            None => decide(&self.session, &command, &context),
        };
        let (answer, notice, record) = match decision {
            Ok(Decision::Change(decided)) => {
                self.panic_if(Fault::PanicApply);
                let (recorded, evicted) = self.session.commit(decided)?;
                self.dedup.extend(evicted);
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
            Ok(Decision::Receipt(receipt)) if receipt.duplicate => (Ok(receipt), None, None),
            Ok(Decision::Receipt(receipt)) => (Ok(receipt.clone()), Some(Verdict::Unchanged(receipt)), None),
            Err(rejection) => {
                tracing::debug!(code = rejection.code(), %rejection, "command refused");
                let refusal = RejectedCommand {
                    rejection: rejection.clone(),
                    seq: self.session.seq(),
                };
                // A malformed command concerns only the sender (ROOM-5).
                let published = (!rejection.is_malformed()).then_some(Verdict::Refused(rejection));
                (Err(refusal), published, None)
            }
        };
        drop(entered);
        let epoch = self.session.header().epoch;
        let answer = answer.map(|receipt| Submitted { receipt, epoch });
        self.outbox
            .push(Effect::Output(Output::Reply(Box::new(move || reply.send(answer)))));
        if let Some(verdict) = notice {
            self.publish_outcome(&command, context, verdict, span);
        }
        Ok(record)
    }

    fn publish_outcome(&mut self, command: &Command, context: Context, verdict: Verdict, span: Span) {
        if self.members.is_empty() {
            return;
        }
        if self.fault == Some(Fault::PanicBroadcast) {
            self.fault = None;
            self.outbox.push(Effect::Output(Output::ToRoom(BroadcastMessage::Fail)));
        }
        let notice = CommandNotice {
            command_id: context.command_id,
            command_type: command.kind(),
            author: context.author,
            timestamp: context.now,
            verdict,
        };
        let credits = self.members.len();
        self.room_deliveries_waiting += credits;
        self.outbox
            .push(Effect::Command(CommandOutcome { notice, span, credits }));
    }

    fn join(&mut self, member: Member, position: Option<Position>, now: Timestamp, reply: Reply<Result<(), RoomFull>>) {
        self.last_access = now;
        let max = self.settings.sockets_per_session_max;
        let full = self.members.len() >= max && !self.members.contains(member.id);
        if full || !self.has_room {
            return self.queue_reply(reply, move |_| Err(RoomFull { max }));
        }
        let sync = Arc::new(self.sync(position, None, SyncReason::FirstJoin, now));
        self.members.insert(member.clone());
        self.outbox
            .push(Effect::Output(Output::ToRoom(BroadcastMessage::Join(member, sync))));
        self.queue_reply(reply, |_| Ok(()));
    }

    fn resync(&mut self, member: MemberId, request: ResyncRequest) {
        if self.members.contains(member) {
            let sync = Arc::new(self.sync(request.position, request.reason, SyncReason::Requested, request.now));
            self.outbox
                .push(Effect::Output(Output::ToRoom(BroadcastMessage::Resync(member, sync))));
        }
    }

    /// Takes over the members of a room. Each member gets a sync.
    pub(super) fn resubscribe_members(&mut self, members: Vec<Member>, moment: Moment, outputs: &mut Outputs) {
        let sync = Arc::new(self.sync(
            None,
            Some(SyncReason::RoomRestarted),
            SyncReason::RoomRestarted,
            moment.now,
        ));
        for member in members {
            self.members.insert(member.clone());
            self.outbox.push(Effect::Output(Output::ToRoom(BroadcastMessage::Adopt(
                member,
                Arc::clone(&sync),
            ))));
        }
        if !self.append_in_flight {
            self.flush_outbox(outputs);
        }
    }

    /// Disconnects the members of a room. The clients reconnect by themselves.
    pub(super) fn disconnect_members(&mut self, moment: Moment, outputs: &mut Outputs) {
        for member in self.members.take() {
            // The new room may yet get the member: a join of the member may precede the leave in the outbox.
            let leave = BroadcastMessage::Leave(member.id, "room_failed".into(), moment.now);
            self.outbox.push(Effect::Output(Output::ToRoom(leave)));
            let release = move || member.socket.release(Release::CloseTransport);
            self.outbox.push(Effect::Output(Output::Reply(Box::new(release))));
        }
        if !self.append_in_flight {
            self.flush_outbox(outputs);
        }
    }

    /// Returns a sync from the client's position to the current state: the missing events if the replay window has them
    /// (P2), else the whole document with the reason.
    fn sync(
        &self,
        position: Option<Position>,
        forced: Option<SyncReason>,
        default_reason: SyncReason,
        now: Timestamp,
    ) -> Sync {
        let session = &self.session;
        let (reason, events) = match (forced, position) {
            (Some(reason), _) => (reason, None),
            (None, None) => (default_reason, None),
            (None, Some(at)) if at.epoch != Some(session.header().epoch) => (SyncReason::EpochChanged, None),
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

    /// Writes a snapshot if enough events followed the last one, so that a restart replays a short tail. All events of
    /// the session are durable at the call.
    pub(super) fn snapshot_if_due(&mut self, outputs: &mut Outputs) {
        outputs.extend(self.snapshot_after(self.snapshot_every()));
    }

    /// Writes a snapshot before passivation if a quarter of the usual events followed the last one.
    fn snapshot_before_passivation(&mut self) {
        let snapshot = self.snapshot_after(self.snapshot_every() / 4);
        self.outbox.extend(snapshot.map(Effect::Output));
    }

    /// Returns the number of events between two snapshots. A snapshot costs as much as the graph is large and saves the
    /// replay of the events since the previous one. Large graphs are therefore written less often, which keeps the cost
    /// per command independent of the size of the graph.
    fn snapshot_every(&self) -> u64 {
        let nodes = self.session.document().graph.len() as u64;
        self.settings.snapshot_events.max(nodes * SNAPSHOT_EVENTS_PER_NODE)
    }

    fn snapshot_after(&mut self, events: u64) -> Option<Output> {
        let seq = self.session.seq();
        (seq.0 - self.snapshot_seq.0 >= events.max(1)).then(|| {
            self.snapshot_seq = seq;
            Output::StoreSnapshot(self.session.snapshot())
        })
    }

    fn is_idle(&self, idle_since: Timestamp, moment: Moment) -> bool {
        let is_followed = |effect: &Effect| matches!(effect, Effect::Output(Output::Follow(_)));
        self.members.is_empty()
            && self.waiting.is_empty()
            && self.readers.is_empty()
            && moment.followers == 0
            && !self.outbox.iter().any(is_followed)
            && self.last_access <= idle_since
    }

    fn stop(&mut self, how: &StopReason, moment: Moment) {
        self.is_stopping = true;
        let reason = match *how {
            StopReason::Delete => CloseReason::Deleted,
            StopReason::Drain { reconnect_ms } => CloseReason::Draining { reconnect_ms },
        };
        let shutdown = SocketShutdown::new(reason, moment.now, self.members.take());
        self.outbox
            .push(Effect::Output(Output::ToRoom(BroadcastMessage::Close(shutdown))));
    }

    /// Computes the answer from the current state and puts it into the outbox.
    fn queue_reply<T: Send + 'static>(&mut self, mut reply: Reply<T>, answer: impl FnOnce(&Self) -> T) {
        reply.start();
        let answer = answer(self);
        self.outbox
            .push(Effect::Output(Output::Reply(Box::new(move || reply.send(answer)))));
    }

    /// Subscribes a caller once all earlier decisions are durable.
    fn queue_follow(&mut self, mut reply: FollowReply) {
        reply.start();
        self.outbox.push(Effect::Output(Output::Follow(reply)));
    }

    pub(super) fn answer_readers(&mut self, outputs: &mut Outputs) {
        let here: Seq = self.session.seq();
        self.readers.retain(|(_, reply)| !reply.is_abandoned());
        for (_, reply) in self.readers.extract_if(.., |(seq, _)| *seq <= here) {
            let answer = view(&self.session, self.members.len());
            outputs.push(Output::Reply(Box::new(move || reply.send(answer))));
        }
    }
}

/// Returns the view of a session.
fn view(session: &Session, active_clients: usize) -> SessionView {
    SessionView {
        header: session.header().clone(),
        seq: session.seq(),
        document: session.document().clone(),
        blueprint: session.rules().blueprint.clone(),
        undo_available: session.history().undo_depth() > 0,
        redo_available: session.history().next_redo().is_some(),
        is_dirty: session.is_dirty(),
        last_activity: session.last_activity(),
        active_clients,
    }
}
