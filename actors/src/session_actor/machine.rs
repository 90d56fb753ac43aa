//! Machine of a session: everything that a session decides, synchronous and deterministic. The machine reads no clock,
//! draws no random number, and performs no effect: inputs come with their time, and effects are [`Output`]s.

use std::{collections::VecDeque, error::Error, mem, sync::Arc};

use super::{
    Fault, FollowReply, MemberRegistry, SessionMessage, SessionView, dedup::Dedup, fault, group::Effect,
    lookup::Lookups, members::Members,
};
use crate::{
    broadcast_actor::{BroadcastMessage, CommandOutcome},
    domain::{
        ids::{CommandId, Seq, SessionId, TemplateId, Timestamp},
        record::CommandRecord,
        session::{Session, Snapshot},
    },
    hub::HubSettings,
    reply::Reply,
};

/// Machine of one session; see the [module](self).
pub(super) struct SessionMachine {
    pub(super) session: Session,
    pub(super) settings: Arc<HubSettings>,
    pub(super) has_room: bool,
    pub(super) members: Members,
    /// Deliveries that the room has yet to make, or has made and not yet reported.
    pub(super) room_deliveries_waiting: usize,
    pub(super) waiting: VecDeque<SessionMessage>,
    pub(super) outbox: Vec<Effect>,
    pub(super) append_in_flight: bool,
    /// `seq` up to which all events are durable.
    pub(super) durable_seq: Seq,
    pub(super) lookups: Lookups,
    pub(super) dedup: Dedup,
    pub(super) fault: Option<Fault>,
    /// `seq` of the latest snapshot in the log.
    pub(super) snapshot_seq: Seq,
    /// Reads that wait for a `seq`.
    pub(super) readers: Vec<(Seq, Reply<SessionView>)>,
    /// True from a command that replaced the document until its template is loaded.
    pub(super) awaits_template: bool,
    pub(super) last_access: Timestamp,
    pub(super) is_stopping: bool,
}

/// Initial state of a machine.
pub(super) struct Start {
    pub(super) session: Session,
    /// `seq` of the latest snapshot in the log.
    pub(super) snapshot_seq: Seq,
    pub(super) settings: Arc<HubSettings>,
    pub(super) member_registry: MemberRegistry,
    pub(super) has_room: bool,
    /// Random key of the command filter.
    pub(super) filter_key: u128,
}

/// Surroundings of an input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    /// Followers of the durable `seq`.
    pub(super) followers: usize,
}

/// Effects in the order in which they have to be performed.
pub(super) type Outputs = Vec<Output>;

/// Effect of an input, performed by the actor.
pub(super) enum Output {
    /// Sends a reply, or releases a socket.
    Reply(Box<dyn FnOnce() + Send>),
    /// Subscribes a caller to the durable `seq`.
    Follow(FollowReply),
    /// Publishes the outcomes of consecutive commands to the room.
    Commands(Vec<CommandOutcome>),
    /// Sends any other message to the room.
    ToRoom(BroadcastMessage),
    /// Appends the records of a group. The outcome comes as [`SessionMessage::Appended`].
    Append(Group),
    /// Queries the log for commands. The answer comes as [`SessionMessage::Found`].
    Find {
        commands: Vec<CommandId>,
        /// Durable `seq` at the query.
        as_of: Seq,
    },
    /// Reads a page of command ids. The answer comes as [`SessionMessage::IdsRead`].
    ReadIds { after: Option<CommandId>, max: usize },
    /// Stores a snapshot.
    StoreSnapshot(Snapshot),
    /// Loads a template. The answer comes as [`SessionMessage::TemplateLoaded`].
    LoadTemplate(TemplateId),
    /// Publishes the durable `seq` to followers.
    Progress(Seq),
    /// Stops the actor.
    Stop,
}

/// Records of one append.
pub(super) struct Group {
    /// Last `seq` of the log before the group.
    pub(super) expected: Seq,
    pub(super) records: Vec<Arc<CommandRecord>>,
    /// Nodes of the session after the group.
    pub(super) node_count: usize,
    /// Fault that an operator injected into the append.
    pub(super) fault: Option<Fault>,
}

/// Failure of a machine. The supervisor starts another machine from the log.
pub(super) type Failure = Box<dyn Error + Send + Sync>;

impl SessionMachine {
    /// Creates the machine of a session whose log has just been read.
    pub(super) fn new(start: Start, now: Timestamp) -> Self {
        let Start {
            session,
            snapshot_seq,
            settings,
            member_registry,
            has_room,
            filter_key,
        } = start;
        let dedup = Dedup::new(
            session.window_is_complete(),
            filter_key,
            settings.command_filter_bytes_max,
        );
        Self {
            durable_seq: session.seq(),
            session,
            settings,
            has_room,
            members: Members::new(member_registry),
            room_deliveries_waiting: 0,
            waiting: VecDeque::new(),
            outbox: Vec::new(),
            append_in_flight: false,
            lookups: Lookups::default(),
            dedup,
            fault: None,
            snapshot_seq,
            readers: Vec::new(),
            awaits_template: false,
            last_access: now,
            is_stopping: false,
        }
    }

    pub(super) const fn session_id(&self) -> SessionId {
        self.session.header().session_id
    }

    /// Takes an input. Reports of the log and of the room and requests of operators are handled at once; all other
    /// messages wait for [`SessionMachine::advance`].
    ///
    /// # Errors
    /// If the session has to be restarted from its log.
    pub(super) fn handle(
        &mut self,
        message: SessionMessage,
        moment: Moment,
        outputs: &mut Outputs,
    ) -> Result<(), Failure> {
        match message {
            SessionMessage::Appended(result) => {
                result?;
                self.append_in_flight = false;
                self.durable_seq = self.session.seq();
                self.flush_outbox(outputs);
                outputs.push(Output::Progress(self.durable_seq));
                self.snapshot_if_due(outputs);
                self.stop_if_asked(outputs);
            }
            SessionMessage::Found(found) => {
                self.lookups.found(found?);
                if self.waiting.is_empty() {
                    self.lookups.clear();
                }
                self.ask_log(outputs);
                self.read_ids(outputs);
            }
            SessionMessage::RoomDelivered(deliveries) => {
                self.room_deliveries_waiting = self.room_deliveries_waiting.saturating_sub(deliveries);
            }
            SessionMessage::IdsRead(page) => self.page_read(page, outputs),
            SessionMessage::TemplateLoaded(template) => {
                self.awaits_template = false;
                self.session.set_blueprint(template);
            }
            SessionMessage::RoomReplaced { sockets_stay, .. } => {
                self.has_room = true;
                // The deliveries of the failed room are nobody's to make (P10).
                self.room_deliveries_waiting = self.deliveries_in_outbox();
                if sockets_stay {
                    let members = self.members.take();
                    self.resubscribe_members(members, moment, outputs);
                } else {
                    self.disconnect_members(moment, outputs);
                }
            }
            // Operators are answered at once, because they ask when the session is blocked.
            SessionMessage::Inspect(reply) => {
                let inspection = self.inspect(moment);
                outputs.push(Output::Reply(Box::new(move || reply.send(inspection))));
            }
            SessionMessage::Inject(fault, reply) => {
                self.fault = Some(fault);
                outputs.push(Output::Reply(Box::new(move || reply.send(()))));
            }
            SessionMessage::Fail(reason) => return Err(fault::fail(reason)),
            other => {
                if let SessionMessage::Submit(submission) = &other {
                    self.look_up(submission.context.command_id, outputs);
                }
                self.waiting.push_back(other);
            }
        }
        Ok(())
    }

    /// Returns true if a waiting message can be handled, as far as its lookup does not prevent it.
    pub(super) fn is_ready_to_advance(&self) -> bool {
        !self.append_in_flight && !self.is_stopping && !self.awaits_template && !self.waiting.is_empty()
    }

    /// Handles the waiting messages of one group, if the first is ready. Returns false if it is not.
    ///
    /// # Errors
    /// If the session has to be restarted from its log.
    pub(super) fn advance(&mut self, moment: Moment, outputs: &mut Outputs) -> Result<bool, Failure> {
        if !self.is_ready(outputs) {
            return Ok(false);
        }
        self.run_group(moment, outputs)?;
        Ok(true)
    }

    /// Requests the template of a replaced document, which the next command is decided with.
    pub(super) fn follow_template(&mut self, outputs: &mut Outputs) {
        let known = self.session.rules().blueprint.as_ref().map(|blueprint| blueprint.id());
        match self.session.template_id() {
            id if id == known => {}
            Some(id) => {
                outputs.push(Output::LoadTemplate(id.clone()));
                self.awaits_template = true;
            }
            None => self.session.set_blueprint(None),
        }
    }

    /// Moves the effects to the outputs, in order for the room and in order for each caller. All effects are durable.
    pub(super) fn flush_outbox(&mut self, outputs: &mut Outputs) {
        let mut commands = Vec::new();
        for effect in mem::take(&mut self.outbox) {
            if !matches!(
                effect,
                Effect::Output(Output::Reply(_) | Output::Follow(_)) | Effect::Command(_)
            ) {
                publish(&mut commands, outputs);
            }
            match effect {
                Effect::Command(outcome) => commands.push(outcome),
                Effect::Output(output) => outputs.push(output),
            }
        }
        publish(&mut commands, outputs);
        self.answer_readers(outputs);
    }
}

/// Publishes the outcomes of consecutive commands, if there are any.
fn publish(commands: &mut Vec<CommandOutcome>, outputs: &mut Outputs) {
    if !commands.is_empty() {
        outputs.push(Output::Commands(mem::take(commands)));
    }
}

#[cfg(test)]
mod tests;
