//! Node of the graph with its place: parent and children.

use std::sync::Arc;

use super::heights::Heights;
use crate::{content::NodeContent, ids::NodeId, siblings::Siblings};

/// Node with its place in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name, type, properties and metadata.
    pub content: NodeContent,
    pub(super) parent: Option<NodeId>,
    /// Children with their heights. `Some` exactly if the node has children.
    branch: Option<Arc<Branch>>,
}

/// Children of a node with their heights. Most nodes are leaves, which need no allocation for either.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Branch {
    children: Siblings,
    heights: Heights,
}

impl Node {
    /// Returns a node without children.
    pub(super) const fn leaf(content: NodeContent, parent: Option<NodeId>) -> Self {
        Self {
            content,
            parent,
            branch: None,
        }
    }

    /// Returns the parent. `None` for a root.
    #[must_use]
    pub const fn parent(&self) -> Option<NodeId> {
        self.parent
    }

    /// Returns the children in order.
    #[must_use]
    pub fn children(&self) -> &Siblings {
        const NONE: &Siblings = &Siblings::new();
        self.branch.as_ref().map_or(NONE, |branch| &branch.children)
    }

    pub(super) const fn is_leaf(&self) -> bool {
        self.branch.is_none()
    }

    /// Returns the number of levels down to the deepest descendant, the node included.
    pub(super) fn height(&self) -> usize {
        self.branch.as_ref().map_or(1, |branch| branch.heights.height())
    }

    /// Inserts a child. The caller updates the heights afterwards.
    pub(super) fn insert_child(&mut self, index: usize, child: NodeId) {
        self.branch_mut().children.insert(index, child);
    }

    /// Removes a child. The caller updates the heights afterwards.
    pub(super) fn remove_child(&mut self, child: NodeId) {
        self.branch_mut().children.remove(child);
    }

    /// Updates a child's height from `before` (`None` for a new child) to `after` (0 for a removed child).
    pub(super) fn update_child_height(&mut self, before: Option<usize>, after: usize) {
        let branch = self.branch_mut();
        if let Some(before) = before {
            branch.heights.remove(before);
        }
        if after > 0 {
            branch.heights.add(after);
        }
        if branch.children.is_empty() {
            self.branch = None;
        }
    }

    fn branch_mut(&mut self) -> &mut Branch {
        Arc::make_mut(self.branch.get_or_insert_default())
    }
}
