//! Traversal of a graph in document order.

use super::{Graph, Node};
use crate::ids::NodeId;

/// Item of [`Graph::walk`].
#[derive(Debug, Clone, Copy)]
pub enum WalkEvent<'a> {
    /// Start of a node, before its children.
    Enter(NodeId, &'a Node),
    /// End of a node, after its children.
    Leave(NodeId, &'a Node),
}

/// Iterator of [`Graph::walk`].
pub struct Walk<'a> {
    graph: &'a Graph,
    levels: Vec<Level<'a>>,
}

/// Node whose children are being visited (`None` for the first level), and the children that are left.
type Level<'a> = (Option<(NodeId, &'a Node)>, Box<dyn Iterator<Item = NodeId> + 'a>);

impl<'a> Iterator for Walk<'a> {
    type Item = WalkEvent<'a>;

    fn next(&mut self) -> Option<WalkEvent<'a>> {
        let (_, children) = self.levels.last_mut()?;
        if let Some(id) = children.next() {
            let node = self.graph.node(id)?;
            self.levels.push((Some((id, node)), Box::new(node.children().iter())));
            return Some(WalkEvent::Enter(id, node));
        }
        let (id, node) = self.levels.pop()?.0?;
        Some(WalkEvent::Leave(id, node))
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(graph: &'a Graph, first: Box<dyn Iterator<Item = NodeId> + 'a>) -> Self {
        let levels = vec![(None, first)];
        Self { graph, levels }
    }

    /// Only the nodes, parents before children.
    pub fn nodes(self) -> impl Iterator<Item = (NodeId, &'a Node)> {
        self.filter_map(|step| match step {
            WalkEvent::Enter(id, node) => Some((id, node)),
            WalkEvent::Leave(..) => None,
        })
    }
}
