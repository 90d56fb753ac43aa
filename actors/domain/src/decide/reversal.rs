//! Reversal of a step or of its undo, on a document that other commands may have changed since (U2 to U4).
//!
//! The input is a list of [`InverseChange`]s. Each change states the expected value, as the step left it, and the value
//! to restore. If the document still contains the expected value, the old value is restored. Otherwise the reversal
//! would discard another author's change: the whole command is then refused with a conflict. With `force` the change is
//! overridden where possible.

use super::Decider;
use crate::{
    content::NodeContent,
    document::Document,
    event::{Event, PropertyRef},
    graph::{GraphError, Node},
    history::{InverseChange, MoveShape, Placements, Step, WriteTarget},
    ids::{NodeId, PropertyId, Seq},
    record::CommandRecord,
    rejection::{BlockedBy, Obstacle, Rejection, UndoConflict},
    session::{Rules, Session},
    siblings::Siblings,
    value::Value,
};

/// Builder of inverse events. Each event is decided on the state after the preceding events.
pub(super) struct Reversal<'a> {
    session: &'a Session,
    step: &'a Step,
    force: bool,
    /// First and last `seq` of the record that is reversed.
    since: Seq,
    through: Seq,
    /// True if the graph differs from the graph that the record left. If false, the inverse always applies and limits
    /// are not checked, because the previous state is allowed to return.
    changed_since: bool,
    /// Placements of nodes since the record. Computed only when a reversed node has changed since.
    placements: Option<Placements<'a>>,
    draft: Document,
    events: Vec<Event>,
}

impl<'a> Reversal<'a> {
    /// Reverses a step that is done.
    pub(super) fn of_step(session: &'a Session, step: &'a Step, force: bool) -> Self {
        Self::new(session, step, force, step.recorded())
    }

    /// Reverses the undo of a step.
    pub(super) fn of_undo(session: &'a Session, step: &'a Step, force: bool) -> Self {
        Self::new(session, step, force, step.undone_by().unwrap_or(step.recorded()))
    }

    fn new(session: &'a Session, step: &'a Step, force: bool, record: &CommandRecord) -> Self {
        let since = record.first_seq;
        Self {
            session,
            step,
            force,
            since,
            through: record.seq(),
            changed_since: changed_since(session, record),
            placements: None,
            draft: session.document().clone(),
            events: Vec::new(),
        }
    }

    /// Returns the events that carry out all changes, or refuses them together.
    pub(super) fn run(mut self, changes: Vec<InverseChange<'_>>) -> Result<Vec<Event>, Rejection> {
        for change in changes {
            match change {
                InverseChange::Create {
                    node_id,
                    parent_id,
                    index,
                    content,
                } => self.create(node_id, parent_id, index, content)?,
                InverseChange::Delete {
                    node_id,
                    parent_id,
                    content,
                } => self.delete(node_id, parent_id, content)?,
                InverseChange::Place {
                    node_id,
                    from,
                    to,
                    index,
                    shape,
                } => self.place(node_id, from, to, index, shape)?,
                InverseChange::Set {
                    node_id,
                    property,
                    written,
                    to,
                } => self.set(node_id, property, written, to)?,
                InverseChange::Load { document } => self.load(document)?,
            }
        }
        Ok(self.events)
    }

    /// Creates a deleted node again: with the same id, under the same parent, at the same index or else at the end
    /// (U3).
    fn create(
        &mut self,
        node_id: NodeId,
        parent_id: Option<NodeId>,
        index: usize,
        content: &NodeContent,
    ) -> Result<(), Rejection> {
        if self.draft.graph.contains(node_id) {
            return Err(self.conflict(Obstacle::NodeTaken(node_id), &WriteTarget::Existence(node_id)));
        }
        self.require_parent(parent_id)?;
        if self.changed_since {
            let decider = self.decider();
            decider.check_depth(parent_id, 1)?;
            decider.check_node_count(self.draft.graph.len() + 1)?;
        }
        let index = index.min(self.siblings(parent_id));
        self.push(Event::NodeCreated {
            node_id,
            parent_id,
            index,
            content: content.clone(),
        })
    }

    /// Deletes a created node if it is unchanged and has no children (U4). With `force` the node is deleted together
    /// with its subtree, as by a deletion command; a redo restores the subtree.
    fn delete(&mut self, node_id: NodeId, parent_id: Option<NodeId>, content: &NodeContent) -> Result<(), Rejection> {
        let Some(node) = self.node(node_id)? else {
            return Ok(());
        };
        if !self.force {
            if node.content != *content {
                return Err(self.conflict(Obstacle::NodeChanged(node_id), &WriteTarget::Content(node_id)));
            }
            if !node.children().is_empty() {
                return Err(self.conflict(Obstacle::NodeOccupied(node_id), &WriteTarget::Children(node_id)));
            }
            let now = node.parent();
            self.check_unmoved(node_id, now, parent_id)?;
        }
        for event in self.decider().delete(node_id)? {
            self.push(event)?;
        }
        Ok(())
    }

    fn place(
        &mut self,
        node_id: NodeId,
        from: Option<NodeId>,
        to: Option<NodeId>,
        index: usize,
        shape: MoveShape,
    ) -> Result<(), Rejection> {
        let Some(node) = self.node(node_id)? else {
            return Ok(());
        };
        let now = node.parent();
        if !self.force {
            self.check_unmoved(node_id, now, from)?;
        }
        self.require_parent(to)?;
        if let Some(parent_id) = to
            && self.draft.graph.lineage(parent_id).any(|above| above == node_id)
        {
            return Err(self.conflict(Obstacle::Cycle { node_id, parent_id }, &WriteTarget::Place(parent_id)));
        }
        if self.changed_since && now != to {
            self.decider().check_depth(to, self.draft.graph.height(node_id))?;
        }
        let index = index.min(self.siblings(to) - usize::from(now == to));
        if !(shape == MoveShape::Link && now.is_none()) {
            let position = self.draft.graph.position(node_id).unwrap_or_default();
            self.push(Event::NodeUnlinked {
                parent_id: now,
                child_id: node_id,
                index: position,
            })?;
        }
        let root_index = self.draft.graph.roots().position(node_id).unwrap_or_default();
        if shape == MoveShape::Unlink && index == root_index {
            return Ok(());
        }
        self.push(Event::NodeLinked {
            parent_id: to,
            child_id: node_id,
            index,
            root_index,
        })
    }

    /// Restores a property if its value is still the value that the step wrote (U2).
    fn set(
        &mut self,
        node_id: NodeId,
        property: &PropertyRef,
        written: Option<&Value>,
        to: Option<&Value>,
    ) -> Result<(), Rejection> {
        let Some(node) = self.node(node_id)? else {
            return Ok(());
        };
        let before = current(&node.content, property);
        if before.as_ref() != written && !self.force {
            let property = property.id.clone();
            let target = WriteTarget::Property(node_id, property.clone());
            return Err(self.conflict(Obstacle::PropertyChanged { node_id, property }, &target));
        }
        if self.changed_since && before.is_none() && to.is_some() {
            self.decider().check_property_count(node.content.properties.len() + 1)?;
        }
        let orphaned = self.is_orphaned(&node.content, property);
        let property = property.clone();
        match (before, to, written) {
            (before, Some(to), _) => self.push(Event::PropertyChanged {
                node_id,
                property,
                before,
                after: to.clone(),
                orphaned,
            }),
            (Some(before), None, _) => self.push(Event::PropertyDeleted {
                node_id,
                property,
                before,
            }),
            // Another command has already deleted the property. An undo needs a record, and a record needs an event
            // (LOG-1), so the property is set and deleted again without a net effect.
            (None, None, Some(written)) => {
                self.push(Event::PropertyChanged {
                    node_id,
                    property: property.clone(),
                    before: None,
                    after: written.clone(),
                    orphaned,
                })?;
                self.push(Event::PropertyDeleted {
                    node_id,
                    property,
                    before: written.clone(),
                })
            }
            (None, None, None) => Ok(()),
        }
    }

    /// Replaces the document. This discards all changes of others, so it requires `force` if the graph has changed.
    fn load(&mut self, document: Option<&Document>) -> Result<(), Rejection> {
        if self.changed_since && !self.force {
            return Err(self.conflict(Obstacle::DocumentChanged, &WriteTarget::Document));
        }
        self.push(Event::ProjectLoaded {
            document: document.cloned().unwrap_or_default(),
            from_file: false,
        })
    }

    /// Refuses if the node is elsewhere, or if another command put it in its present place. The same parent alone is
    /// not sufficient: the node may have been moved away and back, or moved among its siblings.
    fn check_unmoved(
        &mut self,
        node_id: NodeId,
        now: Option<NodeId>,
        expected: Option<NodeId>,
    ) -> Result<(), Rejection> {
        let obstacle = Obstacle::NodeMoved(node_id);
        if now != expected {
            return Err(self.conflict(obstacle, &WriteTarget::Place(node_id)));
        }
        if !self.changed_since || self.session.changed(node_id) <= self.through {
            return Ok(());
        }
        let (history, since, step) = (self.session.history(), self.since, self.step);
        let placements = self
            .placements
            .get_or_insert_with(|| history.placements_since(since, step));
        match placements.of(node_id) {
            Some(recorded) => Err(conflict(obstacle, Some(recorded.into()))),
            None => Ok(()),
        }
    }

    /// Returns a node that has to exist. Returns `None` if the node existed and was deleted with a forced deletion of
    /// its ancestor in this reversal.
    fn node(&self, node_id: NodeId) -> Result<Option<&Node>, Rejection> {
        let node = self.draft.graph.node(node_id);
        let was_deleted_here = node.is_none() && self.session.document().graph.contains(node_id);
        if node.is_none() && !was_deleted_here {
            return Err(self.conflict(Obstacle::NodeMissing(node_id), &WriteTarget::Existence(node_id)));
        }
        Ok(node)
    }

    fn require_parent(&self, parent_id: Option<NodeId>) -> Result<(), Rejection> {
        match parent_id {
            Some(id) if !self.draft.graph.contains(id) => {
                Err(self.conflict(Obstacle::NodeMissing(id), &WriteTarget::Existence(id)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns true if a restored property is unknown to the template.
    fn is_orphaned(&self, content: &NodeContent, property: &PropertyRef) -> bool {
        let blueprint = self.rules().blueprint.as_ref();
        let node_type = blueprint.and_then(|blueprint| blueprint.node_type(content.type_id.as_str()));
        !property.is_name() && node_type.is_some_and(|known| known.property(property.id.as_str()).is_none())
    }

    /// Returns the number of children of a parent, or of roots.
    fn siblings(&self, parent_id: Option<NodeId>) -> usize {
        self.draft.graph.children(parent_id).map_or(0, Siblings::len)
    }

    fn decider(&self) -> Decider<'_> {
        Decider {
            command_id: self.step.target().command_id,
            document: &self.draft,
            rules: self.rules(),
        }
    }

    const fn rules(&self) -> &Rules {
        self.session.rules()
    }

    fn push(&mut self, event: Event) -> Result<(), Rejection> {
        // The event was checked to fit the draft. An error here is a defect, and the session is still unchanged.
        let refused = |error: GraphError| Rejection::InvalidRequest {
            field: "scope",
            reason: error.to_string().into(),
        };
        event.apply(&mut self.draft).map_err(refused)?;
        self.events.push(event);
        Ok(())
    }

    fn conflict(&self, obstacle: Obstacle, target: &WriteTarget) -> Rejection {
        let history = self.session.history();
        let writer = history.last_writer_since(self.since, self.step, target);
        let blocked_by = writer.map(BlockedBy::from).or_else(|| self.last_change(&obstacle));
        conflict(obstacle, blocked_by)
    }

    /// Returns the last change of the obstacle's node, for a change without a step in the history: the `seq`, and the
    /// author if the replay window still contains the record.
    fn last_change(&self, obstacle: &Obstacle) -> Option<BlockedBy> {
        let node_id = obstacle
            .node_id()
            .filter(|id| self.session.document().graph.contains(*id))?;
        let seq = self.session.changed(node_id);
        if seq <= self.through {
            return None;
        }
        let mut records = self.session.since(Seq(seq.0 - 1)).into_iter().flatten();
        let unknown = BlockedBy {
            client_id: None,
            user: None,
            command_id: None,
            seq,
        };
        Some(records.next().map_or(unknown, |recorded| BlockedBy::from(&**recorded)))
    }
}

/// Returns true if the graph differs from the graph that the record left.
///
/// Compares state hashes instead of the history, because the history may have evicted the steps in between. For a
/// record without a hash, written by an older hub, any later change counts as a difference.
fn changed_since(session: &Session, record: &CommandRecord) -> bool {
    match record.outcome.state_hash {
        Some(left) => session.document().graph.state_hash() != left,
        None => session.last_change() > record.seq(),
    }
}

fn conflict(obstacle: Obstacle, blocked_by: Option<BlockedBy>) -> Rejection {
    Rejection::UndoConflict(Box::new(UndoConflict { obstacle, blocked_by }))
}

/// Returns the value of a property, where the node name counts as a property.
fn current(content: &NodeContent, property: &PropertyRef) -> Option<Value> {
    if property.is_name() {
        return Some(Value::Text(content.name.clone()));
    }
    let id: &PropertyId = &property.id;
    content.properties.get(id).cloned()
}
