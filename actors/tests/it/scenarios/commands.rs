//! Short constructors of commands. Nodes are named by a single letter.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use talus_actors::domain::{
    command::{Command, CreateNode, Scope},
    graph::Graph,
    ids::{NodeId, Seq},
};
use uuid::Uuid;

/// Returns the id of the node with the letter.
pub fn node(letter: &str) -> NodeId {
    let letter = letter.bytes().next().expect("a letter");
    NodeId::new(Uuid::from_u128(
        0xa11a_5000_0000_4000_8000_0000_0000_0000 | u128::from(letter),
    ))
}

/// Creates a node of type `t`, named by its letter, as the last root.
pub fn root(letter: &str) -> Command {
    Command::CreateNode(CreateNode {
        node_type: "t".into(),
        name: Some(letter.into()),
        parent_id: None,
        index: None,
        properties: BTreeMap::new(),
        node_id: Some(node(letter)),
    })
}

/// Creates the same node as the last child of a parent.
pub fn child(letter: &str, parent: &str) -> Command {
    edit(root(letter), |create| create.parent_id = Some(node(parent)))
}

/// Creates a node with only a type.
pub fn nameless() -> Command {
    edit(root("a"), |create| (create.name, create.node_id) = (None, None))
}

pub fn delete(letter: &str) -> Command {
    Command::DeleteNode { node_id: node(letter) }
}

pub fn link(child: &str, parent: &str) -> Command {
    Command::LinkNode {
        parent_id: node(parent),
        child_id: node(child),
        index: None,
    }
}

pub fn unlink(child: &str, parent: &str) -> Command {
    Command::UnlinkNode {
        parent_id: node(parent),
        child_id: node(child),
    }
}

pub fn move_node(letter: &str, parent: &str) -> Command {
    Command::MoveNode {
        node_id: node(letter),
        new_parent_id: Some(node(parent)),
        index: None,
    }
}

pub fn to_roots(letter: &str) -> Command {
    Command::MoveNode {
        node_id: node(letter),
        new_parent_id: None,
        index: None,
    }
}

pub fn reorder(letter: &str, new_index: i64) -> Command {
    Command::ReorderNode {
        node_id: node(letter),
        new_index,
    }
}

pub fn set(letter: &str, property: &str, value: Json) -> Command {
    Command::UpdateProperty {
        node_id: node(letter),
        property: property.into(),
        new_value: value.into(),
    }
}

pub fn unset(letter: &str, property: &str) -> Command {
    Command::DeleteProperty {
        node_id: node(letter),
        property: property.into(),
    }
}

pub fn batch(commands: impl Into<Vec<Command>>) -> Command {
    Command::Batch {
        commands: commands.into(),
    }
}

pub const fn undo() -> Command {
    Command::undo(Scope::Session)
}

pub const fn redo() -> Command {
    Command::redo(Scope::Session)
}

pub fn save(file: &str, through: u64) -> Command {
    Command::SaveProject {
        file: file.into(),
        through: Seq(through),
    }
}

pub const fn load(graph: Graph) -> Command {
    Command::LoadGraph {
        graph,
        extras: None,
        from_file: false,
        template_id: None,
    }
}

/// Modifiers of a command.
pub trait CommandExt {
    /// Sets the index among the siblings.
    fn at(self, index: i64) -> Command;
    /// Sets the type.
    fn of(self, node_type: &str) -> Command;
    /// Sets the name.
    fn named(self, name: &str) -> Command;
    /// Adds a property.
    fn with(self, property: &str, value: Json) -> Command;
}

impl CommandExt for Command {
    fn at(mut self, place: i64) -> Self {
        match &mut self {
            Self::CreateNode(CreateNode { index, .. })
            | Self::LinkNode { index, .. }
            | Self::MoveNode { index, .. } => *index = Some(place),
            other => unreachable!("{other:?} has no place"),
        }
        self
    }

    fn of(self, node_type: &str) -> Self {
        edit(self, |create| create.node_type = node_type.into())
    }

    fn named(self, name: &str) -> Self {
        edit(self, |create| create.name = Some(name.into()))
    }

    fn with(self, property: &str, value: Json) -> Self {
        edit(self, |create| {
            create.properties.insert(property.into(), value.into());
        })
    }
}

fn edit(command: Command, change: impl FnOnce(&mut CreateNode)) -> Command {
    match command {
        Command::CreateNode(mut create) => {
            change(&mut create);
            Command::CreateNode(create)
        }
        other => unreachable!("{other:?} creates nothing"),
    }
}
