//! Undo and redo: two stacks, folded from the log like everything else. History is never rewritten; taking a command
//! back is a command of its own, whose events are the inverse ones.

use std::{collections::VecDeque, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    event::{Document, Event, document_bytes},
    graph::Misfit,
    ids::Seq,
    limits::Limits,
    recorded::{Recorded, Target},
};

/// A command that can be taken back, or done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    recorded: Arc<Recorded>,
    /// What was there before a command that replaced the whole document: its event does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<Document>,
}

impl Step {
    fn new(recorded: &Arc<Recorded>, before: &Document) -> Self {
        let loads = recorded
            .events
            .iter()
            .any(|event| matches!(event, Event::ProjectLoaded { .. }));
        Self {
            recorded: Arc::clone(recorded),
            replaced: loads.then(|| before.clone()),
        }
    }

    /// About how many bytes of memory it holds. Linear in its events, which a step is looked at for when it comes and
    /// when it goes.
    fn weight_bytes(&self) -> usize {
        self.recorded.events.iter().map(Event::weight_bytes).sum::<usize>()
            + self.replaced.as_ref().map_or(0, document_bytes)
    }

    /// Which command it is.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            command_id: self.recorded.command_id,
            command_type: self.recorded.command_type,
        }
    }

    /// The events that do it again. They fit the state that it was decided on, which is the one that undoing it left.
    /// The project's file may say something else by now, so a document that came from it counts as a change.
    #[must_use]
    pub fn repeated(&self) -> Vec<Event> {
        let mut events = self.recorded.events.clone();
        for event in &mut events {
            if let Event::ProjectLoaded { from_file, .. } = event {
                *from_file = false;
            }
        }
        events
    }

    /// The events that take it back, given the document as it left it.
    ///
    /// # Errors
    /// If the document is not the one that it left.
    pub fn inverse(&self, document: &Document) -> Result<Vec<Event>, Misfit> {
        let mut inversion = Inversion {
            draft: document.clone(),
            events: Vec::new(),
        };
        let mut rest = self.recorded.events.as_slice();
        while let Some((last, before_last)) = rest.split_last() {
            rest = before_last;
            match (last, before_last.split_last()) {
                // A move is a pair, and so is its inverse: it does not go by way of its place among the roots.
                (
                    Event::NodeLinked {
                        parent_id: to,
                        child_id,
                        index: now,
                        ..
                    },
                    Some((
                        Event::NodeUnlinked {
                            parent_id: from,
                            child_id: same,
                            index: then,
                        },
                        earlier,
                    )),
                ) if child_id == same => {
                    rest = earlier;
                    inversion.push(Event::NodeUnlinked {
                        parent_id: *to,
                        child_id: *child_id,
                        index: *now,
                    })?;
                    inversion.link(*from, *child_id, *then)?;
                }
                (
                    Event::NodeLinked {
                        parent_id,
                        child_id,
                        index,
                        root_index,
                    },
                    _,
                ) => {
                    inversion.push(Event::NodeUnlinked {
                        parent_id: *parent_id,
                        child_id: *child_id,
                        index: *index,
                    })?;
                    inversion.link(None, *child_id, *root_index)?;
                }
                (
                    Event::NodeUnlinked {
                        parent_id,
                        child_id,
                        index,
                    },
                    _,
                ) => {
                    inversion.link(*parent_id, *child_id, *index)?;
                }
                (
                    Event::NodeCreated {
                        node_id,
                        parent_id,
                        index,
                        content,
                    },
                    _,
                ) => {
                    inversion.push(Event::NodeDeleted {
                        node_id: *node_id,
                        parent_id: *parent_id,
                        index: *index,
                        content: content.clone(),
                    })?;
                }
                (
                    Event::NodeDeleted {
                        node_id,
                        parent_id,
                        index,
                        content,
                    },
                    _,
                ) => {
                    inversion.push(Event::NodeCreated {
                        node_id: *node_id,
                        parent_id: *parent_id,
                        index: *index,
                        content: content.clone(),
                    })?;
                }
                (
                    Event::PropertyChanged {
                        node_id,
                        property,
                        before: Some(before),
                        after,
                    },
                    _,
                ) => {
                    inversion.push(Event::PropertyChanged {
                        node_id: *node_id,
                        property: property.clone(),
                        before: Some(after.clone()),
                        after: before.clone(),
                    })?;
                }
                (
                    Event::PropertyChanged {
                        node_id,
                        property,
                        before: None,
                        after,
                    },
                    _,
                ) => {
                    inversion.push(Event::PropertyDeleted {
                        node_id: *node_id,
                        property: property.clone(),
                        before: after.clone(),
                    })?;
                }
                (
                    Event::PropertyDeleted {
                        node_id,
                        property,
                        before,
                    },
                    _,
                ) => {
                    inversion.push(Event::PropertyChanged {
                        node_id: *node_id,
                        property: property.clone(),
                        before: None,
                        after: before.clone(),
                    })?;
                }
                // The file stays as it was written; only the document goes back.
                (Event::ProjectSaved { .. }, _) => {}
                (Event::ProjectLoaded { .. }, _) => {
                    let document = self.replaced.clone().unwrap_or_default();
                    inversion.push(Event::ProjectLoaded {
                        document,
                        from_file: false,
                    })?;
                }
            }
        }
        Ok(inversion.events)
    }
}

/// Inverse events, each checked against the state that the ones before it lead to.
struct Inversion {
    draft: Document,
    events: Vec<Event>,
}

impl Inversion {
    fn push(&mut self, event: Event) -> Result<(), Misfit> {
        event.apply(&mut self.draft)?;
        self.events.push(event);
        Ok(())
    }

    fn link(
        &mut self,
        parent_id: Option<super::ids::NodeId>,
        child_id: super::ids::NodeId,
        index: usize,
    ) -> Result<(), Misfit> {
        let root_index = self.draft.graph.roots().position(child_id).ok_or(Misfit::NotAChild {
            parent: None,
            child: child_id,
        })?;
        self.push(Event::NodeLinked {
            parent_id,
            child_id,
            index,
            root_index,
        })
    }
}

/// The steps themselves, the next one last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stacks {
    undo: VecDeque<Step>,
    redo: Vec<Step>,
    /// Whether the limits have cost a step. A log that was written under higher ones goes on undoing beyond it.
    #[serde(default)]
    has_forgotten: bool,
}

/// The stacks, held to their limits.
#[derive(Debug, Default, PartialEq)]
pub struct History {
    stacks: Stacks,
    weight_bytes: usize,
}

impl History {
    /// The history that had these stacks.
    #[must_use]
    pub fn restore(stacks: Stacks) -> Self {
        let weight_bytes = stacks.undo.iter().chain(&stacks.redo).map(Step::weight_bytes).sum();
        Self { stacks, weight_bytes }
    }

    /// The steps themselves.
    #[must_use]
    pub const fn stacks(&self) -> &Stacks {
        &self.stacks
    }

    /// The step that an undo would take back.
    #[must_use]
    pub fn next_undo(&self) -> Option<&Step> {
        self.stacks.undo.back()
    }

    /// The step that a redo would do again.
    #[must_use]
    pub fn next_redo(&self) -> Option<&Step> {
        self.stacks.redo.last()
    }

    /// How many commands can be undone.
    #[must_use]
    pub fn undo_depth(&self) -> usize {
        self.stacks.undo.len()
    }

    /// How many commands can be redone.
    #[must_use]
    pub const fn redo_depth(&self) -> usize {
        self.stacks.redo.len()
    }

    /// About how many bytes of memory the steps hold.
    #[must_use]
    pub const fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Folds a record in, given the document before it.
    ///
    /// # Errors
    /// The `seq` of the record if it undoes or redoes something that is not next: the log is corrupt.
    pub(super) fn fold(&mut self, recorded: &Arc<Recorded>, before: &Document, limits: &Limits) -> Result<(), Seq> {
        use super::command::CommandType::{Redo, Undo};
        let Stacks {
            undo,
            redo,
            has_forgotten,
        } = &mut self.stacks;
        match (recorded.command_type, recorded.target) {
            (Undo, Some(target)) => {
                match undo.pop_back() {
                    Some(step) if step.target() == target => redo.push(step),
                    // Beyond what is kept now, it can no longer be done again, nor can what was undone before it.
                    None if *has_forgotten => self.forget_undone(),
                    Some(_) | None => return Err(recorded.first_seq),
                }
            }
            (Redo, Some(target)) => match redo.pop() {
                Some(step) if step.target() == target => undo.push_back(step),
                None if *has_forgotten && undo.is_empty() => {}
                Some(_) | None => return Err(recorded.first_seq),
            },
            (Undo | Redo, None) => return Err(recorded.first_seq),
            (command, _) if command.is_undoable() => {
                self.forget_undone();
                let step = Step::new(recorded, before);
                self.weight_bytes += step.weight_bytes();
                self.stacks.undo.push_back(step);
                self.forget_oldest(limits);
            }
            _ => {}
        }
        Ok(())
    }

    fn forget_undone(&mut self) {
        let forgotten = std::mem::take(&mut self.stacks.redo);
        self.weight_bytes -= forgotten.iter().map(Step::weight_bytes).sum::<usize>();
    }

    /// Holds the stacks to their limits (P9). The newest step stays, whatever its weight.
    fn forget_oldest(&mut self, limits: &Limits) {
        let Stacks {
            undo, has_forgotten, ..
        } = &mut self.stacks;
        while undo.len() > limits.undo_depth_max || (self.weight_bytes > limits.undo_bytes_max && undo.len() > 1) {
            let Some(step) = undo.pop_front() else { return };
            self.weight_bytes -= step.weight_bytes();
            *has_forgotten = true;
        }
    }
}
