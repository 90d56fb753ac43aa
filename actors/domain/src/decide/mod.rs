//! Command handling: decides if a command is allowed and which events it causes.
//!
//! Every function here is pure and leaves the session unchanged. A decision takes effect in [`Session::commit`], and
//! at each replay in [`Session::replay_record`].

mod expected;
mod node;
mod place;
mod property;
mod references;
mod reversal;
mod undo;

use std::sync::Arc;

use super::{
    command::{Command, Context},
    document::Document,
    event::Event,
    graph::Graph,
    history::Step,
    ids::{CommandId, NodeId},
    limits::{LimitExceeded, Limits},
    record::{CommandRecord, Outcome, Receipt},
    rejection::Rejection,
    session::{Rules, Session},
};

/// Result of deciding a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The command changes the session. Contains the record to [commit](Session::commit), still without the hash of the
    /// graph after the change: the commit applies the events anyway, and computes the hash on the way.
    Change(CommandRecord),
    /// The command is allowed and changes nothing, or it is a retry of a command that was applied before (P4). There is
    /// nothing to append, only a receipt to return.
    Receipt(Receipt),
}

/// Decides a command on a session.
///
/// # Errors
/// Returns the reason of a refusal. The session is unchanged in either case (P5).
pub fn decide(session: &Session, command: &Command, context: &Context) -> Result<Decision, Rejection> {
    if let Some(recorded) = session.recent(context.command_id) {
        return duplicate_receipt(recorded, command).map(Decision::Receipt);
    }
    let fingerprint = command.fingerprint();
    if let Some(expected) = context.expected_seq {
        expected::check(session, command, expected)?;
    }
    let change = match command {
        Command::Undo { scope, force } => undo::undo(session, context, *scope, *force)?,
        Command::Redo { scope, force } => undo::redo(session, context, *scope, *force)?,
        other => {
            let decider = Decider::new(session, context.command_id);
            Change {
                events: decider.decide(other, &mut 0)?,
                step: None,
            }
        }
    };
    let outcome = outcome(session, command, &change);
    if change.events.is_empty() {
        return Ok(Decision::Receipt(Receipt {
            command_id: context.command_id,
            command_type: command.kind(),
            first_seq: None,
            seq: session.seq(),
            outcome: Arc::new(outcome),
            duplicate: false,
        }));
    }
    Ok(Decision::Change(CommandRecord {
        command_id: context.command_id,
        command_type: command.kind(),
        fingerprint,
        target: change.step.map(Step::target),
        scope: command.scope(),
        author: context.author.clone(),
        timestamp: context.now,
        first_seq: session.seq().plus(1),
        events: change.events,
        outcome,
    }))
}

/// Answers a command whose id was accepted before with the receipt of that time (P4).
///
/// # Errors
/// Fails if the id belonged to another command.
pub fn duplicate_receipt(recorded: &CommandRecord, command: &Command) -> Result<Receipt, Rejection> {
    if recorded.fingerprint != command.fingerprint() {
        return Err(Rejection::CommandIdReused(recorded.command_id));
    }
    Ok(Receipt {
        duplicate: true,
        ..recorded.receipt()
    })
}

struct Change<'a> {
    events: Vec<Event>,
    /// Step of the history that an undo or redo acts on. `None` for other commands.
    step: Option<&'a Step>,
}

/// Computes the outcome for the receipt. The state hash after a change is not known yet and stays `None`.
fn outcome(session: &Session, command: &Command, change: &Change<'_>) -> Outcome {
    let history = session.history();
    let is_unchanged = change.events.is_empty();
    let (undo_available, redo_available) = match (command, change.step) {
        (Command::Undo { .. }, _) => (history.undo_depth() > 1, true),
        (Command::Redo { .. }, Some(step)) => {
            let can_undo = history.undo_depth() > 0 || history.is_newer_than_evicted(step);
            (can_undo, history.can_redo_other_than(step))
        }
        (other, _) if other.kind().is_undoable() && !is_unchanged => (true, false),
        _ => (history.undo_depth() > 0, history.next_redo().is_some()),
    };
    Outcome {
        node_ids: affected_nodes(command, &change.events),
        undo_available,
        redo_available,
        is_dirty: session.is_dirty_after(&change.events),
        state_hash: is_unchanged.then(|| session.document().graph.state_hash()),
    }
}

/// Returns the nodes that a command's receipt names.
fn affected_nodes(command: &Command, events: &[Event]) -> Vec<NodeId> {
    let created = || {
        events.iter().filter_map(|event| match event {
            Event::NodeCreated { node_id, .. } => Some(*node_id),
            _ => None,
        })
    };
    match command {
        Command::CreateNode(_) | Command::CreateProject { .. } | Command::Batch { .. } => created().collect(),
        Command::DeleteNode { node_id }
        | Command::MoveNode { node_id, .. }
        | Command::ReorderNode { node_id, .. }
        | Command::UpdateProperty { node_id, .. }
        | Command::DeleteProperty { node_id, .. } => vec![*node_id],
        Command::LinkNode { child_id, .. } | Command::UnlinkNode { child_id, .. } => vec![*child_id],
        Command::Undo { .. } | Command::Redo { .. } | Command::LoadGraph { .. } | Command::SaveProject { .. } => {
            Vec::new()
        }
    }
}

/// Input for deciding one command: the document, the rules, and the id from which new node ids are derived.
#[derive(Clone, Copy)]
struct Decider<'a> {
    command_id: CommandId,
    document: &'a Document,
    rules: &'a Rules,
}

impl<'a> Decider<'a> {
    const fn new(session: &'a Session, command_id: CommandId) -> Self {
        Self {
            command_id,
            document: session.document(),
            rules: session.rules(),
        }
    }

    const fn graph(&self) -> &'a Graph {
        &self.document.graph
    }

    fn limits(&self) -> &'a Limits {
        &self.rules.limits
    }

    /// Decides the events of a command. `generated_ids` counts the ids that were generated for the command's new nodes
    /// so far.
    fn decide(&self, command: &Command, generated_ids: &mut u32) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::CreateNode(create) | Command::CreateProject { root: create } => self.create(create, generated_ids),
            Command::DeleteNode { node_id } => self.delete(*node_id),
            Command::LinkNode {
                parent_id,
                child_id,
                index,
            } => self.link(*parent_id, *child_id, *index),
            Command::UnlinkNode { parent_id, child_id } => self.unlink(*parent_id, *child_id),
            Command::MoveNode {
                node_id,
                new_parent_id,
                index,
            } => self.move_node(*node_id, *new_parent_id, *index),
            Command::ReorderNode { node_id, new_index } => self.reorder(*node_id, *new_index),
            Command::UpdateProperty {
                node_id,
                property,
                new_value,
            } => self.update_property(*node_id, property, new_value),
            Command::DeleteProperty { node_id, property } => self.delete_property(*node_id, property),
            Command::Batch { commands } => self.batch(commands, generated_ids),
            Command::LoadGraph {
                graph,
                extras,
                from_file,
                template_id,
            } => {
                let extras = extras.as_ref().unwrap_or(&self.document.extras);
                let template_id = template_id.as_ref().or(self.document.template_id.as_ref());
                let document = Document {
                    graph: graph.clone(),
                    extras: Arc::clone(extras),
                    template_id: template_id.cloned(),
                };
                let from_file = *from_file;
                Ok(vec![Event::ProjectLoaded { document, from_file }])
            }
            Command::SaveProject { file, through } => Ok(vec![Event::ProjectSaved {
                file: Arc::clone(file),
                through: *through,
            }]),
            // Unreachable on the top level, where the function [`decide`] handles undo and redo. Within a batch they are refused.
            Command::Undo { .. } | Command::Redo { .. } => check_batchable(command).map(|()| Vec::new()),
        }
    }

    /// Decides each command of a batch on a draft that contains the changes of the preceding commands. The draft shares
    /// all unchanged parts with the session's document.
    fn batch(&self, commands: &[Command], generated_ids: &mut u32) -> Result<Vec<Event>, Rejection> {
        let max = self.limits().batch_commands_max;
        if commands.len() > max {
            let limit = "batch_commands_max";
            return Err(LimitExceeded {
                limit,
                max,
                found: commands.len(),
            }
            .into());
        }
        let mut draft = self.document.clone();
        let mut all = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            let in_batch = |rejection| Rejection::InBatch {
                index,
                rejection: Box::new(rejection),
            };
            check_batchable(command).map_err(in_batch)?;
            let decider = Decider {
                document: &draft,
                ..*self
            };
            let events = decider.decide(command, generated_ids).map_err(in_batch)?;
            for event in &events {
                // Events that were decided on the draft apply to the draft, so this error does not occur.
                event.apply(&mut draft).map_err(|error| {
                    in_batch(Rejection::InvalidRequest {
                        field: "commands",
                        reason: error.to_string().into(),
                    })
                })?;
            }
            all.extend(events);
        }
        Ok(all)
    }

    fn require_node(&self, node_id: NodeId) -> Result<&'a super::graph::Node, Rejection> {
        self.graph().node(node_id).ok_or(Rejection::NodeNotFound(node_id))
    }
}

/// Refuses commands that cannot be part of a batch. A batch is undone event by event, so only commands that change the
/// graph by node events qualify.
fn check_batchable(command: &Command) -> Result<(), Rejection> {
    let reason = match command {
        Command::CreateNode(_)
        | Command::DeleteNode { .. }
        | Command::LinkNode { .. }
        | Command::UnlinkNode { .. }
        | Command::MoveNode { .. }
        | Command::ReorderNode { .. }
        | Command::UpdateProperty { .. }
        | Command::DeleteProperty { .. } => return Ok(()),
        Command::Batch { .. } => "a batch is not part of a batch",
        Command::Undo { .. } | Command::Redo { .. } => "undo and redo are not part of a batch",
        Command::LoadGraph { .. } => "a load is not part of a batch",
        Command::SaveProject { .. } => "a save is not part of a batch",
        Command::CreateProject { .. } => "the beginning of a project is not part of a batch",
    };
    Err(Rejection::InvalidRequest {
        field: "commands",
        reason: reason.into(),
    })
}
