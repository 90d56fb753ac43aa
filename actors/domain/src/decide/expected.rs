//! Optimistic concurrency (`expected_seq`): refuses a command if the state that the client acted on has changed since.
//!
//! Only the parts that a command depends on count: the node that the command names, and the owner of each list of
//! children that the command changes.

use crate::{
    command::Command,
    graph::Graph,
    ids::{NodeId, Seq},
    rejection::Rejection,
    session::Session,
};

/// Part of the document that a command depends on.
enum Dependency {
    Node(NodeId),
    /// Children of a node. `None` stands for the roots.
    Children(Option<NodeId>),
    Session,
}

/// Refuses a command that depends on a part which changed after `expected`.
pub(super) fn check(session: &Session, command: &Command, expected: Seq) -> Result<(), Rejection> {
    let mut dependencies = Vec::new();
    collect_dependencies(&session.document().graph, command, &mut dependencies);
    for item in dependencies {
        let (what, changed_seq) = match item {
            Dependency::Node(id) | Dependency::Children(Some(id)) => (format!("node {id}"), session.changed(id)),
            Dependency::Children(None) => ("the order of the roots".to_owned(), session.last_change_of_roots()),
            Dependency::Session => ("the session".to_owned(), session.seq()),
        };
        if changed_seq > expected {
            let current_seq = session.seq();
            return Err(Rejection::Conflict {
                what: what.into(),
                changed_seq,
                expected_seq: expected,
                current_seq,
                blocked_by: session.record_at(changed_seq).map(|won| Box::new((&**won).into())),
            });
        }
    }
    Ok(())
}

fn collect_dependencies(graph: &Graph, command: &Command, dependencies: &mut Vec<Dependency>) {
    let parent = |id: NodeId| graph.node(id).and_then(super::super::graph::Node::parent);
    match command {
        Command::CreateNode(create) | Command::CreateProject { root: create } => {
            dependencies.push(Dependency::Children(create.parent_id));
        }
        Command::DeleteNode { node_id } | Command::ReorderNode { node_id, .. } => {
            dependencies.extend([Dependency::Node(*node_id), Dependency::Children(parent(*node_id))]);
        }
        Command::LinkNode {
            parent_id, child_id, ..
        }
        | Command::UnlinkNode { parent_id, child_id } => {
            dependencies.extend([Dependency::Node(*child_id), Dependency::Children(Some(*parent_id))]);
        }
        Command::MoveNode {
            node_id, new_parent_id, ..
        } => {
            dependencies.extend([
                Dependency::Node(*node_id),
                Dependency::Children(parent(*node_id)),
                Dependency::Children(*new_parent_id),
            ]);
        }
        Command::UpdateProperty { node_id, .. } | Command::DeleteProperty { node_id, .. } => {
            dependencies.push(Dependency::Node(*node_id));
        }
        Command::Batch { commands } => {
            for command in commands
                .iter()
                .filter(|command| !matches!(command, Command::Batch { .. }))
            {
                collect_dependencies(graph, command, dependencies);
            }
        }
        Command::Undo { .. } | Command::Redo { .. } | Command::LoadGraph { .. } | Command::SaveProject { .. } => {
            dependencies.push(Dependency::Session);
        }
    }
}
