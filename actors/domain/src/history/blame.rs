//! Attribution of changes to records: done steps, and the undos of undone steps.

use std::{collections::BTreeMap, sync::Arc};

use super::{History, step::Step};
use crate::{
    event::Event,
    ids::{NodeId, PropertyId, Seq},
    record::CommandRecord,
};

/// Part of the document that a command can write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteTarget {
    /// Property of a node, or its name.
    Property(NodeId, PropertyId),
    /// Name and all properties of a node.
    Content(NodeId),
    /// Parent and index of a node.
    Place(NodeId),
    /// Existence of a node.
    Existence(NodeId),
    /// Children of a node.
    Children(NodeId),
    /// Any part of the document.
    Document,
}

impl WriteTarget {
    fn is_written_by(&self, event: &Event) -> bool {
        match (self, event) {
            (_, Event::ProjectSaved { .. }) => false,
            (Self::Document, _) | (_, Event::ProjectLoaded { .. }) => true,
            (
                Self::Property(id, property),
                Event::PropertyChanged {
                    node_id,
                    property: written,
                    ..
                }
                | Event::PropertyDeleted {
                    node_id,
                    property: written,
                    ..
                },
            ) => id == node_id && *property == written.id,
            (Self::Content(id), Event::PropertyChanged { node_id, .. } | Event::PropertyDeleted { node_id, .. })
            | (
                Self::Property(id, _) | Self::Content(id) | Self::Place(id) | Self::Existence(id),
                Event::NodeCreated { node_id, .. } | Event::NodeDeleted { node_id, .. },
            ) => id == node_id,
            (Self::Place(id), Event::NodeLinked { child_id, .. } | Event::NodeUnlinked { child_id, .. }) => {
                id == child_id
            }
            (
                Self::Children(id),
                Event::NodeCreated { parent_id, .. }
                | Event::NodeDeleted { parent_id, .. }
                | Event::NodeLinked { parent_id, .. }
                | Event::NodeUnlinked { parent_id, .. },
            ) => Some(*id) == *parent_id,
            (
                Self::Property(..) | Self::Content(_) | Self::Existence(_),
                Event::NodeLinked { .. } | Event::NodeUnlinked { .. },
            )
            | (
                Self::Place(_) | Self::Existence(_) | Self::Children(_),
                Event::PropertyChanged { .. } | Event::PropertyDeleted { .. },
            ) => false,
        }
    }
}

/// Last record that placed each node since a given `seq`.
#[derive(Debug, Default)]
pub(crate) struct Placements<'a> {
    nodes: BTreeMap<NodeId, &'a CommandRecord>,
    all: Option<&'a CommandRecord>,
}

impl<'a> Placements<'a> {
    /// Returns the last record that placed a node.
    pub(crate) fn of(&self, node_id: NodeId) -> Option<&'a CommandRecord> {
        let own = self.nodes.get(&node_id).copied();
        own.into_iter()
            .chain(self.all)
            .max_by_key(|recorded| recorded.first_seq)
    }

    fn note_record(&mut self, recorded: &'a CommandRecord) {
        for event in &recorded.events {
            match event {
                Event::NodeCreated { node_id: id, .. }
                | Event::NodeLinked { child_id: id, .. }
                | Event::NodeUnlinked { child_id: id, .. } => drop(self.nodes.insert(*id, recorded)),
                Event::ProjectLoaded { .. } => self.all = Some(recorded),
                Event::NodeDeleted { .. }
                | Event::PropertyChanged { .. }
                | Event::PropertyDeleted { .. }
                | Event::ProjectSaved { .. } => {}
            }
        }
    }
}

impl History {
    /// Returns the records that changed the document after `since`, except a step and its undo. These are the later
    /// steps that are done, and the undos of steps that were done at `since`. A later step that is undone has left no
    /// change.
    pub(crate) fn records_since<'a>(
        &'a self,
        since: Seq,
        step: &'a Step,
    ) -> impl Iterator<Item = &'a Arc<CommandRecord>> {
        let stacks = self.stacks();
        let later = stacks.done.partition_point(|other| other.first_seq() <= since);
        let done = stacks.done.range(later..).map(Step::recorded);
        let undos = stacks.undone().filter(move |other| other.first_seq() < since);
        let undos = undos
            .filter_map(Step::undone_by)
            .filter(move |undo| undo.first_seq > since);
        done.chain(undos).filter(move |recorded| {
            let own = step.undone_by();
            recorded.command_id != step.target().command_id
                && own.is_none_or(|own| recorded.command_id != own.command_id)
        })
    }

    /// Returns the last record after `since` that wrote a target, except a step and its undo.
    pub(crate) fn last_writer_since(&self, since: Seq, step: &Step, target: &WriteTarget) -> Option<&CommandRecord> {
        // The result borrows from the history only. The borrow of the step ends with the comparison.
        let mut last: Option<&CommandRecord> = None;
        let own = [Some(step.recorded()), step.undone_by()];
        let is_own = |recorded: &CommandRecord| own.iter().flatten().any(|own| own.command_id == recorded.command_id);
        let stacks = self.stacks();
        let undos = stacks.undone().filter_map(Step::undone_by);
        for recorded in stacks.done.iter().map(Step::recorded).chain(undos) {
            let is_later = recorded.first_seq > since && last.is_none_or(|last| last.first_seq < recorded.first_seq);
            if is_later && !is_own(recorded) && recorded.events.iter().any(|event| target.is_written_by(event)) {
                last = Some(recorded);
            }
        }
        last
    }

    /// Returns the placements of nodes after `since`, except by a step and its undo. Takes one pass over the later
    /// records, so callers compute it only on demand.
    pub(crate) fn placements_since<'a>(&'a self, since: Seq, step: &'a Step) -> Placements<'a> {
        let mut later: Vec<&CommandRecord> = self.records_since(since, step).map(AsRef::as_ref).collect();
        later.sort_by_key(|recorded| recorded.first_seq);
        let mut placements = Placements::default();
        later.into_iter().for_each(|recorded| placements.note_record(recorded));
        placements
    }
}
