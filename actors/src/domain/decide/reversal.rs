//! Taking a step back, or its undo, on a document in which others may have gone on (U2 to U4).
//!
//! What is wanted comes as [`Intent`]s, each with what the step left. Where that is still there, it goes back. Where it
//! is not, somebody's change would be lost: then the whole is refused, or, if it is forced and there is a way, done
//! nevertheless.

use super::View;
use crate::domain::{
    event::{Document, Event, PropertyRef},
    graph::{Misfit, Node, NodeContent},
    history::{Form, Intent, Places, Slot, Step},
    ids::{NodeId, PropertyId, Seq},
    recorded::Recorded,
    rejection::{BlockedBy, Obstacle, Rejection, UndoConflict},
    session::{Rules, Session},
    siblings::Siblings,
    value::Value,
};

/// Inverse events, each decided on the state that the ones before it lead to.
pub(super) struct Reversal<'a> {
    session: &'a Session,
    step: &'a Step,
    force: bool,
    /// Where the record that is taken back begins and ends.
    since: Seq,
    through: Seq,
    /// Whether the graph is another than the record left. If not, its inverse fits, and no limit has a say: what was there
    /// before may be there again.
    has_company: bool,
    /// Where nodes were put since; looked at only for a node that has changed since.
    places: Option<Places<'a>>,
    draft: Document,
    events: Vec<Event>,
}

impl<'a> Reversal<'a> {
    /// Of a step that is done.
    pub(super) fn of_step(session: &'a Session, step: &'a Step, force: bool) -> Self {
        Self::new(session, step, force, step.recorded())
    }

    /// Of the undo of a step.
    pub(super) fn of_undo(session: &'a Session, step: &'a Step, force: bool) -> Self {
        Self::new(session, step, force, step.undone_by().unwrap_or(step.recorded()))
    }

    fn new(session: &'a Session, step: &'a Step, force: bool, record: &Recorded) -> Self {
        let since = record.first_seq;
        Self {
            session,
            step,
            force,
            since,
            through: record.seq(),
            has_company: has_company(session, record),
            places: None,
            draft: session.document().clone(),
            events: Vec::new(),
        }
    }

    /// The events that do what is wanted, all of it.
    pub(super) fn run(mut self, intents: Vec<Intent<'_>>) -> Result<Vec<Event>, Rejection> {
        for intent in intents {
            match intent {
                Intent::Create {
                    node_id,
                    parent_id,
                    index,
                    content,
                } => self.create(node_id, parent_id, index, content)?,
                Intent::Delete {
                    node_id,
                    parent_id,
                    content,
                } => self.delete(node_id, parent_id, content)?,
                Intent::Place {
                    node_id,
                    from,
                    to,
                    index,
                    form,
                } => self.place(node_id, from, to, index, form)?,
                Intent::Set {
                    node_id,
                    property,
                    written,
                    to,
                } => self.set(node_id, property, written, to)?,
                Intent::Load { document } => self.load(document)?,
            }
        }
        Ok(self.events)
    }

    /// U3: with the same id, under the same parent, at the same place as far as there is one.
    fn create(
        &mut self,
        node_id: NodeId,
        parent_id: Option<NodeId>,
        index: usize,
        content: &NodeContent,
    ) -> Result<(), Rejection> {
        if self.draft.graph.contains(node_id) {
            return Err(self.conflict(Obstacle::NodeTaken(node_id), &Slot::Existence(node_id)));
        }
        self.require_parent(parent_id)?;
        if self.has_company {
            let view = self.view();
            view.check_depth(parent_id, 1)?;
            view.check_node_count(self.draft.graph.len() + 1)?;
        }
        let index = index.min(self.siblings(parent_id));
        self.push(Event::NodeCreated {
            node_id,
            parent_id,
            index,
            content: content.clone(),
        })
    }

    /// U4: only what it was made as, and alone. Forced, it goes with everything under it, as a deletion does: a redo
    /// brings all of that back.
    fn delete(&mut self, node_id: NodeId, parent_id: Option<NodeId>, content: &NodeContent) -> Result<(), Rejection> {
        let Some(node) = self.node(node_id)? else {
            return Ok(());
        };
        if !self.force {
            if node.content != *content {
                return Err(self.conflict(Obstacle::NodeChanged(node_id), &Slot::Content(node_id)));
            }
            if !node.children().is_empty() {
                return Err(self.conflict(Obstacle::NodeOccupied(node_id), &Slot::Children(node_id)));
            }
            let now = node.parent();
            self.check_stays(node_id, now, parent_id)?;
        }
        for event in self.view().delete(node_id)? {
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
        form: Form,
    ) -> Result<(), Rejection> {
        let Some(node) = self.node(node_id)? else {
            return Ok(());
        };
        let now = node.parent();
        if !self.force {
            self.check_stays(node_id, now, from)?;
        }
        self.require_parent(to)?;
        if let Some(parent_id) = to
            && self.draft.graph.lineage(parent_id).any(|above| above == node_id)
        {
            return Err(self.conflict(Obstacle::Cycle { node_id, parent_id }, &Slot::Place(parent_id)));
        }
        if self.has_company && now != to {
            self.view().check_depth(to, self.draft.graph.height(node_id))?;
        }
        let index = index.min(self.siblings(to) - usize::from(now == to));
        if !(form == Form::Link && now.is_none()) {
            let position = self.draft.graph.position(node_id).unwrap_or_default();
            self.push(Event::NodeUnlinked {
                parent_id: now,
                child_id: node_id,
                index: position,
            })?;
        }
        let root_index = self.draft.graph.roots().position(node_id).unwrap_or_default();
        if form == Form::Unlink && index == root_index {
            return Ok(());
        }
        self.push(Event::NodeLinked {
            parent_id: to,
            child_id: node_id,
            index,
            root_index,
        })
    }

    /// U2: only what the step wrote.
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
            let slot = Slot::Property(node_id, property.clone());
            return Err(self.conflict(Obstacle::PropertyChanged { node_id, property }, &slot));
        }
        if self.has_company && before.is_none() && to.is_some() {
            self.view().check_property_count(node.content.properties.len() + 1)?;
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
            // Somebody took it away already. A step is undone by a record, and a record has events (LOG-1): so it is
            // set and taken away, which comes to nothing.
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

    /// Replacing the document takes everything away that others did in it.
    fn load(&mut self, document: Option<&Document>) -> Result<(), Rejection> {
        if self.has_company && !self.force {
            return Err(self.conflict(Obstacle::DocumentChanged, &Slot::Document));
        }
        self.push(Event::ProjectLoaded {
            document: document.cloned().unwrap_or_default(),
            from_file: false,
        })
    }

    /// Refuses if the node is elsewhere, or was put where it is by somebody else: that it is under the same parent does
    /// not say that nobody moved it there, or among its siblings.
    fn check_stays(&mut self, node_id: NodeId, now: Option<NodeId>, expected: Option<NodeId>) -> Result<(), Rejection> {
        let obstacle = Obstacle::NodeMoved(node_id);
        if now != expected {
            return Err(self.conflict(obstacle, &Slot::Place(node_id)));
        }
        if !self.has_company || self.session.changed(node_id) <= self.through {
            return Ok(());
        }
        let (history, since, step) = (self.session.history(), self.since, self.step);
        let places = self.places.get_or_insert_with(|| history.places_since(since, step));
        match places.of(node_id) {
            Some(recorded) => Err(conflict(obstacle, Some(recorded.into()))),
            None => Ok(()),
        }
    }

    /// A node that has to be there; `None` if it was, and went with a node that was deleted by force.
    fn node(&self, node_id: NodeId) -> Result<Option<&Node>, Rejection> {
        let node = self.draft.graph.node(node_id);
        let is_swept = node.is_none() && self.session.document().graph.contains(node_id);
        if node.is_none() && !is_swept {
            return Err(self.conflict(Obstacle::NodeMissing(node_id), &Slot::Existence(node_id)));
        }
        Ok(node)
    }

    fn require_parent(&self, parent_id: Option<NodeId>) -> Result<(), Rejection> {
        match parent_id {
            Some(id) if !self.draft.graph.contains(id) => {
                Err(self.conflict(Obstacle::NodeMissing(id), &Slot::Existence(id)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a property that a node gets back is one that the template does not know.
    fn is_orphaned(&self, content: &NodeContent, property: &PropertyRef) -> bool {
        let blueprint = self.rules().blueprint.as_ref();
        let node_type = blueprint.and_then(|blueprint| blueprint.node_type(content.type_id.as_str()));
        !property.is_name() && node_type.is_some_and(|known| known.property(property.id.as_str()).is_none())
    }

    /// How many children there are, or roots.
    fn siblings(&self, parent_id: Option<NodeId>) -> usize {
        self.draft.graph.children(parent_id).map_or(0, Siblings::len)
    }

    fn view(&self) -> View<'_> {
        View {
            command_id: self.step.target().command_id,
            document: &self.draft,
            rules: self.rules(),
        }
    }

    const fn rules(&self) -> &Rules {
        self.session.rules()
    }

    fn push(&mut self, event: Event) -> Result<(), Rejection> {
        // It was looked at before whether it fits. If that was wrong, nothing has happened yet.
        let refused = |misfit: Misfit| Rejection::InvalidRequest {
            field: "scope",
            reason: misfit.to_string().into(),
        };
        event.apply(&mut self.draft).map_err(refused)?;
        self.events.push(event);
        Ok(())
    }

    fn conflict(&self, obstacle: Obstacle, slot: &Slot) -> Rejection {
        let history = self.session.history();
        let writer = history.last_writer_since(self.since, self.step, slot);
        let blocked_by = writer.map(BlockedBy::from).or_else(|| self.last_change(&obstacle));
        conflict(obstacle, blocked_by)
    }

    /// What is known of the last change of a node that the history does not know: when it was, and, if that is not long
    /// ago, whose.
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

/// Whether others have changed what a record left, and it is not as it was again. The graphs are compared, by their
/// hashes: what is known of who did what since may have been forgotten. A record of before there were hashes has company
/// if anything changed since.
fn has_company(session: &Session, record: &Recorded) -> bool {
    match record.outcome.state_hash {
        Some(left) => session.document().graph.state_hash() != left,
        None => session.last_change() > record.seq(),
    }
}

fn conflict(obstacle: Obstacle, blocked_by: Option<BlockedBy>) -> Rejection {
    Rejection::UndoConflict(Box::new(UndoConflict { obstacle, blocked_by }))
}

/// What a property is; the name is one too.
fn current(content: &NodeContent, property: &PropertyRef) -> Option<Value> {
    if property.is_name() {
        return Some(Value::Text(content.name.clone()));
    }
    let id: &PropertyId = &property.id;
    content.properties.get(id).cloned()
}
