//! Wanted changes of an undo or redo: the inverse of events, before they are checked against the present document.

use std::collections::BTreeSet;

use crate::{
    content::NodeContent,
    document::Document,
    event::{Event, PropertyRef},
    ids::NodeId,
    value::Value,
};

/// Wanted change, with the state that it expects to find.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InverseChange<'a> {
    /// Creates a deleted node again.
    Create {
        node_id: NodeId,
        parent_id: Option<NodeId>,
        index: usize,
        content: &'a NodeContent,
    },
    /// Deletes a node. Expects the node with this parent and content, and without children.
    Delete {
        node_id: NodeId,
        parent_id: Option<NodeId>,
        content: &'a NodeContent,
    },
    /// Moves a node to another place. Expects the node under `from`.
    Place {
        node_id: NodeId,
        from: Option<NodeId>,
        to: Option<NodeId>,
        index: usize,
        shape: MoveShape,
    },
    /// Sets or deletes a property. Expects the value `written`.
    Set {
        node_id: NodeId,
        property: &'a PropertyRef,
        written: Option<&'a Value>,
        to: Option<&'a Value>,
    },
    /// Replaces the whole document. `None` stands for the empty document.
    Load { document: Option<&'a Document> },
}

/// Events that express a change of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MoveShape {
    /// An unlink and a link: a move.
    Pair,
    /// A link alone, if the node is a root.
    Link,
    /// An unlink alone, if the node goes to the end of the roots.
    Unlink,
}

/// Change of place, as expressed by events.
struct Move {
    node_id: NodeId,
    from: Option<NodeId>,
    from_index: usize,
    to: Option<NodeId>,
    to_index: usize,
    shape: MoveShape,
}

/// Returns the change of place that the last events express, and the number of these events.
fn last_move(events: &[Event]) -> Option<(Move, usize)> {
    match events {
        // A move is a pair of events, and so is its inverse. The node's intermediate place among the roots does not
        // matter.
        [
            ..,
            Event::NodeUnlinked {
                parent_id: from,
                child_id,
                index: from_index,
            },
            Event::NodeLinked {
                parent_id: to,
                child_id: same,
                index: to_index,
                ..
            },
        ] if child_id == same => Some((
            Move {
                node_id: *child_id,
                from: *from,
                from_index: *from_index,
                to: *to,
                to_index: *to_index,
                shape: MoveShape::Pair,
            },
            2,
        )),
        [
            ..,
            Event::NodeLinked {
                parent_id: to,
                child_id,
                index: to_index,
                root_index,
            },
        ] => Some((
            Move {
                node_id: *child_id,
                from: None,
                from_index: *root_index,
                to: *to,
                to_index: *to_index,
                shape: MoveShape::Link,
            },
            1,
        )),
        [
            ..,
            Event::NodeUnlinked {
                parent_id: from,
                child_id,
                index: from_index,
            },
        ] => Some((
            Move {
                node_id: *child_id,
                from: *from,
                from_index: *from_index,
                to: None,
                to_index: usize::MAX,
                shape: MoveShape::Unlink,
            },
            1,
        )),
        _ => None,
    }
}

/// Returns the changes that reverse the events, the last event first.
pub(super) fn inverse_changes<'a>(events: &'a [Event], replaced: Option<&'a Document>) -> Vec<InverseChange<'a>> {
    let place = |moved: Move| InverseChange::Place {
        node_id: moved.node_id,
        from: moved.to,
        to: moved.from,
        index: moved.from_index,
        // The inverse of a link restores the place among the roots. The inverse of an unlink starts from a root.
        shape: match moved.shape {
            MoveShape::Pair | MoveShape::Link => MoveShape::Pair,
            MoveShape::Unlink => MoveShape::Link,
        },
    };
    last_to_first(events, place, |event| inverse_change(event, replaced))
}

/// Returns a change for each move, which takes one or two events, and the result of `other` for each other
/// event.
fn last_to_first<'a>(
    events: &'a [Event],
    place: impl Fn(Move) -> InverseChange<'a>,
    other: impl Fn(&'a Event) -> Option<InverseChange<'a>>,
) -> Vec<InverseChange<'a>> {
    let mut changes = Vec::with_capacity(events.len());
    let mut rest = events;
    while let Some((last, before_last)) = rest.split_last() {
        if let Some((moved, taken)) = last_move(rest) {
            rest = &rest[..rest.len() - taken];
            changes.push(place(moved));
        } else {
            rest = before_last;
            changes.extend(other(last));
        }
    }
    changes
}

fn inverse_change<'a>(event: &'a Event, replaced: Option<&'a Document>) -> Option<InverseChange<'a>> {
    Some(match event {
        Event::NodeCreated {
            node_id,
            parent_id,
            content,
            ..
        } => InverseChange::Delete {
            node_id: *node_id,
            parent_id: *parent_id,
            content,
        },
        Event::NodeDeleted {
            node_id,
            parent_id,
            index,
            content,
        } => InverseChange::Create {
            node_id: *node_id,
            parent_id: *parent_id,
            index: *index,
            content,
        },
        Event::PropertyChanged {
            node_id,
            property,
            before,
            after,
            ..
        } => InverseChange::Set {
            node_id: *node_id,
            property,
            written: Some(after),
            to: before.as_ref(),
        },
        Event::PropertyDeleted {
            node_id,
            property,
            before,
        } => InverseChange::Set {
            node_id: *node_id,
            property,
            written: None,
            to: Some(before),
        },
        Event::ProjectLoaded { .. } => InverseChange::Load { document: replaced },
        // A saved file stays as it was written, and only the document is reversed. The caller handles places.
        Event::ProjectSaved { .. } | Event::NodeLinked { .. } | Event::NodeUnlinked { .. } => return None,
    })
}

/// Returns the changes that repeat the events.
pub(super) fn forward_changes(events: &[Event]) -> Vec<InverseChange<'_>> {
    let place = |moved: Move| InverseChange::Place {
        node_id: moved.node_id,
        from: moved.from,
        to: moved.to,
        index: moved.to_index,
        shape: moved.shape,
    };
    let mut changes = last_to_first(events, place, forward_change);
    changes.reverse();
    changes
}

fn forward_change(event: &Event) -> Option<InverseChange<'_>> {
    Some(match event {
        Event::NodeCreated {
            node_id,
            parent_id,
            index,
            content,
        } => InverseChange::Create {
            node_id: *node_id,
            parent_id: *parent_id,
            index: *index,
            content,
        },
        Event::NodeDeleted {
            node_id,
            parent_id,
            content,
            ..
        } => InverseChange::Delete {
            node_id: *node_id,
            parent_id: *parent_id,
            content,
        },
        Event::PropertyChanged {
            node_id,
            property,
            before,
            after,
            ..
        } => InverseChange::Set {
            node_id: *node_id,
            property,
            written: before.as_ref(),
            to: Some(after),
        },
        Event::PropertyDeleted {
            node_id,
            property,
            before,
        } => InverseChange::Set {
            node_id: *node_id,
            property,
            written: Some(before),
            to: None,
        },
        Event::ProjectLoaded { document, .. } => InverseChange::Load {
            document: Some(document),
        },
        Event::ProjectSaved { .. } | Event::NodeLinked { .. } | Event::NodeUnlinked { .. } => return None,
    })
}

/// Returns the changes in the form of the original events. The undo of a link is a plain move to the roots, so only the
/// original shows that the redo has to be a link.
pub(super) fn with_original_shapes<'a>(
    original: &[Event],
    mut changes: Vec<InverseChange<'a>>,
) -> Vec<InverseChange<'a>> {
    let (mut linked, mut unlinked) = (BTreeSet::new(), BTreeSet::new());
    let mut rest = original;
    while !rest.is_empty() {
        let taken = match last_move(rest) {
            Some((moved, taken)) => {
                match moved.shape {
                    MoveShape::Pair => {}
                    MoveShape::Link => drop(linked.insert((moved.node_id, moved.to))),
                    MoveShape::Unlink => drop(unlinked.insert((moved.node_id, moved.from))),
                }
                taken
            }
            None => 1,
        };
        rest = &rest[..rest.len() - taken];
    }
    for change in &mut changes {
        if let InverseChange::Place {
            node_id,
            from,
            to,
            shape,
            ..
        } = change
        {
            if from.is_none() && linked.contains(&(*node_id, *to)) {
                *shape = MoveShape::Link;
            } else if to.is_none() && unlinked.contains(&(*node_id, *from)) {
                *shape = MoveShape::Unlink;
            }
        }
    }
    changes
}
