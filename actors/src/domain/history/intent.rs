//! Wanted changes of an undo or redo: the inverse of events, before they are checked against the present document.

use std::collections::BTreeSet;

use crate::domain::{
    event::{Document, Event, PropertyRef},
    graph::NodeContent,
    ids::NodeId,
    value::Value,
};

/// Wanted change, with the state that it expects to find.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::domain) enum Intent<'a> {
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
        form: Form,
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
pub(in crate::domain) enum Form {
    /// An unlink and a link: a move.
    Pair,
    /// A link alone, if the node is a root.
    Link,
    /// An unlink alone, if the node goes to the end of the roots.
    Unlink,
}

/// Change of place, as expressed by events.
struct Placed {
    node_id: NodeId,
    from: Option<NodeId>,
    from_index: usize,
    to: Option<NodeId>,
    to_index: usize,
    form: Form,
}

/// Returns the change of place that the last events express, and the number of these events.
fn last_placed(events: &[Event]) -> Option<(Placed, usize)> {
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
            Placed {
                node_id: *child_id,
                from: *from,
                from_index: *from_index,
                to: *to,
                to_index: *to_index,
                form: Form::Pair,
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
            Placed {
                node_id: *child_id,
                from: None,
                from_index: *root_index,
                to: *to,
                to_index: *to_index,
                form: Form::Link,
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
            Placed {
                node_id: *child_id,
                from: *from,
                from_index: *from_index,
                to: None,
                to_index: usize::MAX,
                form: Form::Unlink,
            },
            1,
        )),
        _ => None,
    }
}

/// Returns the intents that reverse the events, the last event first.
pub(super) fn inverse<'a>(events: &'a [Event], replaced: Option<&'a Document>) -> Vec<Intent<'a>> {
    let place = |placed: Placed| Intent::Place {
        node_id: placed.node_id,
        from: placed.to,
        to: placed.from,
        index: placed.from_index,
        // The inverse of a link restores the place among the roots. The inverse of an unlink starts from a root.
        form: match placed.form {
            Form::Pair | Form::Link => Form::Pair,
            Form::Unlink => Form::Link,
        },
    };
    last_to_first(events, place, |event| inverse_of(event, replaced))
}

/// Returns an intent for each change of place, which takes one or two events, and the result of `other` for each other
/// event.
fn last_to_first<'a>(
    events: &'a [Event],
    place: impl Fn(Placed) -> Intent<'a>,
    other: impl Fn(&'a Event) -> Option<Intent<'a>>,
) -> Vec<Intent<'a>> {
    let mut intents = Vec::with_capacity(events.len());
    let mut rest = events;
    while let Some((last, before_last)) = rest.split_last() {
        if let Some((placed, taken)) = last_placed(rest) {
            rest = &rest[..rest.len() - taken];
            intents.push(place(placed));
        } else {
            rest = before_last;
            intents.extend(other(last));
        }
    }
    intents
}

fn inverse_of<'a>(event: &'a Event, replaced: Option<&'a Document>) -> Option<Intent<'a>> {
    Some(match event {
        Event::NodeCreated {
            node_id,
            parent_id,
            content,
            ..
        } => Intent::Delete {
            node_id: *node_id,
            parent_id: *parent_id,
            content,
        },
        Event::NodeDeleted {
            node_id,
            parent_id,
            index,
            content,
        } => Intent::Create {
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
        } => Intent::Set {
            node_id: *node_id,
            property,
            written: Some(after),
            to: before.as_ref(),
        },
        Event::PropertyDeleted {
            node_id,
            property,
            before,
        } => Intent::Set {
            node_id: *node_id,
            property,
            written: None,
            to: Some(before),
        },
        Event::ProjectLoaded { .. } => Intent::Load { document: replaced },
        // A saved file stays as it was written, and only the document is reversed. The caller handles places.
        Event::ProjectSaved { .. } | Event::NodeLinked { .. } | Event::NodeUnlinked { .. } => return None,
    })
}

/// Returns the intents that repeat the events.
pub(super) fn forward(events: &[Event]) -> Vec<Intent<'_>> {
    let place = |placed: Placed| Intent::Place {
        node_id: placed.node_id,
        from: placed.from,
        to: placed.to,
        index: placed.to_index,
        form: placed.form,
    };
    let mut intents = last_to_first(events, place, forward_of);
    intents.reverse();
    intents
}

fn forward_of(event: &Event) -> Option<Intent<'_>> {
    Some(match event {
        Event::NodeCreated {
            node_id,
            parent_id,
            index,
            content,
        } => Intent::Create {
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
        } => Intent::Delete {
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
        } => Intent::Set {
            node_id: *node_id,
            property,
            written: before.as_ref(),
            to: Some(after),
        },
        Event::PropertyDeleted {
            node_id,
            property,
            before,
        } => Intent::Set {
            node_id: *node_id,
            property,
            written: Some(before),
            to: None,
        },
        Event::ProjectLoaded { document, .. } => Intent::Load {
            document: Some(document),
        },
        Event::ProjectSaved { .. } | Event::NodeLinked { .. } | Event::NodeUnlinked { .. } => return None,
    })
}

/// Returns the intents in the form of the original events. The undo of a link is a plain move to the roots, so only the
/// original shows that the redo has to be a link.
pub(super) fn shaped_like<'a>(original: &[Event], mut intents: Vec<Intent<'a>>) -> Vec<Intent<'a>> {
    let (mut linked, mut unlinked) = (BTreeSet::new(), BTreeSet::new());
    let mut rest = original;
    while !rest.is_empty() {
        let taken = match last_placed(rest) {
            Some((placed, taken)) => {
                match placed.form {
                    Form::Pair => {}
                    Form::Link => drop(linked.insert((placed.node_id, placed.to))),
                    Form::Unlink => drop(unlinked.insert((placed.node_id, placed.from))),
                }
                taken
            }
            None => 1,
        };
        rest = &rest[..rest.len() - taken];
    }
    for intent in &mut intents {
        if let Intent::Place {
            node_id,
            from,
            to,
            form,
            ..
        } = intent
        {
            if from.is_none() && linked.contains(&(*node_id, *to)) {
                *form = Form::Link;
            } else if to.is_none() && unlinked.contains(&(*node_id, *from)) {
                *form = Form::Unlink;
            }
        }
    }
    intents
}
