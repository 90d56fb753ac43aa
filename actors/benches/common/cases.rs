//! Commands to measure, each with its preparation and clean-up.

use talus_actors::domain::{
    command::{Command, Scope},
    ids::NodeId,
};

use crate::subject::{create, node_id, update};

const BATCH: usize = 100;

/// Command with preparation and clean-up, so that the graph keeps its size over all iterations.
pub struct Case {
    pub name: &'static str,
    pub before: Vec<Command>,
    pub command: Command,
    pub after: Vec<Command>,
}

/// Returns the cases. Most act on the last leaf, which is the last child of its parent.
pub fn cases(nodes: &[NodeId]) -> Vec<Case> {
    let (root, leaf) = (nodes[0], nodes[nodes.len() - 1]);
    let parent_id = nodes[(nodes.len() - 2) / 10];
    let (undo, redo) = (Command::undo(Scope::Session), Command::redo(Scope::Session));
    let new = |number: usize| create(node_id(nodes.len() + number), Some(root));
    let property = "description".into();
    let unlink = Command::UnlinkNode {
        parent_id,
        child_id: leaf,
    };
    let link = Command::LinkNode {
        parent_id,
        child_id: leaf,
        index: None,
    };
    let case = |name, before: &[&Command], command, after: &[&Command]| Case {
        name,
        before: before.iter().map(|&command| command.clone()).collect(),
        command,
        after: after.iter().map(|&command| command.clone()).collect(),
    };
    let set = update(leaf, 1);
    vec![
        case("CreateNode", &[], new(0), &[&undo]),
        case("DeleteNode", &[], Command::DeleteNode { node_id: leaf }, &[&undo]),
        case("LinkNode", &[&unlink], link, &[&undo, &undo]),
        case("UnlinkNode", &[], unlink.clone(), &[&undo]),
        case(
            "MoveNode",
            &[],
            Command::MoveNode {
                node_id: leaf,
                new_parent_id: Some(nodes[1]),
                index: None,
            },
            &[&undo],
        ),
        case(
            "ReorderNode",
            &[],
            Command::ReorderNode {
                node_id: nodes[2],
                new_index: 0,
            },
            &[&undo],
        ),
        case("UpdateProperty", &[], set.clone(), &[&undo]),
        case(
            "DeleteProperty",
            &[&set],
            Command::DeleteProperty {
                node_id: leaf,
                property,
            },
            &[&undo, &undo],
        ),
        case(
            "Batch of 100",
            &[],
            Command::Batch {
                commands: (0..BATCH).map(new).collect(),
            },
            &[&undo],
        ),
        case("Undo", &[&set], undo.clone(), &[]),
        case("Redo", &[&set, &undo], redo, &[&undo]),
    ]
}
