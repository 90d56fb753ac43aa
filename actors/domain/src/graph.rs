//! The graph: a forest of typed nodes with ordered children and ordered roots.
//!
//! The graph is always a forest (GR-1), parents and children always agree (GR-2), and each node is reachable from a
//! root exactly once (GR-3). Operations that would break these invariants are refused with a [`GraphError`]. The
//! operations define the effect of events. The permissions of a *user* are decided in [`decide`](super::decide).
//!
//! Cloning is cheap, because clones share their parts until a write copies them. A batch is therefore tried on a draft,
//! and a snapshot for a reader is taken between two commands and encoded elsewhere. No operation visits more nodes than
//! the ancestors of a node, and the depth limit bounds their number.
//!
//! The [`StateHash`] is updated with every change: removed records are subtracted, and new records are added (GR-12).

mod heights;
mod node;
mod stored;
mod walk;

use std::sync::Arc;

use ecow::EcoString;

pub use self::{
    node::Node,
    walk::{Walk, WalkEvent},
};
use super::{
    content::NodeContent,
    ids::{NodeId, PropertyId},
    orphans::set_orphaned,
    siblings::Siblings,
    state_hash::StateHash,
    value::Value,
};

/// Rule of the graph that an operation violates. For an event from a log, an error means that the log is corrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// The node does not exist.
    #[error("node {0} does not exist")]
    NoSuchNode(NodeId),
    /// The id belongs to an existing node.
    #[error("node {0} exists already")]
    NodeExists(NodeId),
    /// The node still has children.
    #[error("node {0} has children")]
    HasChildren(NodeId),
    /// The node is not a child of the named parent, or not a root.
    #[error("node {child} is not a child of {parent:?}")]
    NotAChild {
        /// Parent that the operation named. `None` for the roots.
        parent: Option<NodeId>,
        /// Node that the operation named.
        child: NodeId,
    },
    /// The index is greater than the number of siblings.
    #[error("index {index} lies beyond the {len} siblings")]
    IndexOutOfRange {
        /// Index that the operation named.
        index: usize,
        /// Number of siblings, and thus the highest valid index.
        len: usize,
    },
    /// The new parent is the node itself or one of its descendants.
    #[error("node {0} would become its own ancestor")]
    Cycle(NodeId),
}

/// Forest of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: imbl::OrdMap<NodeId, Arc<Node>>,
    roots: Siblings,
    state_hash: StateHash,
}

impl Graph {
    /// Returns the number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns true if the graph has no nodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the hash of the parts of the graph that clients know (P6). Takes constant time, because every change
    /// updates the hash.
    #[must_use]
    pub const fn state_hash(&self) -> StateHash {
        self.state_hash
    }

    /// Returns a node by its id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id).map(Arc::as_ref)
    }

    /// Returns true if the node exists.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id)
    }

    /// Returns all nodes in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node.as_ref()))
    }

    /// Returns the roots in order.
    #[must_use]
    pub const fn roots(&self) -> &Siblings {
        &self.roots
    }

    /// Returns the children of a node, or the roots. `None` if the node does not exist.
    #[must_use]
    pub fn children(&self, parent: Option<NodeId>) -> Option<&Siblings> {
        match parent {
            None => Some(&self.roots),
            Some(id) => self.node(id).map(Node::children),
        }
    }

    /// Returns the index of a node among its siblings. `None` if the node does not exist.
    #[must_use]
    pub fn position(&self, id: NodeId) -> Option<usize> {
        self.children(self.node(id)?.parent)?.position(id)
    }

    /// Returns the node and its ancestors up to the root.
    pub fn lineage(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let known = |id| self.node(id).map(|node| (id, node));
        std::iter::successors(known(id), move |(_, node)| known(node.parent?)).map(|(id, _)| id)
    }

    /// Returns true if a node is another node or its descendant. Visits the ancestors of the node, unless the other
    /// node is a leaf.
    #[must_use]
    pub fn is_within(&self, id: NodeId, other: NodeId) -> bool {
        let has_descendants = || self.node(other).is_some_and(|node| !node.is_leaf());
        id == other || (has_descendants() && self.lineage(id).any(|above| above == other))
    }

    /// Returns the number of levels from the root down to the node, both included. 0 if the node does not exist.
    #[must_use]
    pub fn depth(&self, id: NodeId) -> usize {
        self.lineage(id).count()
    }

    /// Returns the number of levels from the node down to its deepest descendant, both included. 0 if the node does not
    /// exist. Takes constant time, because every change updates the heights.
    #[must_use]
    pub fn height(&self, id: NodeId) -> usize {
        self.node(id).map_or(0, Node::height)
    }

    /// Walks a subtree or the whole forest in document order, without recursion.
    pub fn walk(&self, from: Option<NodeId>) -> Walk<'_> {
        let first: Box<dyn Iterator<Item = NodeId> + '_> = match from {
            Some(id) => Box::new(std::iter::once(id)),
            None => Box::new(self.roots.iter()),
        };
        Walk::new(self, first)
    }

    /// Inserts a node without children.
    ///
    /// # Errors
    /// Fails if the id belongs to an existing node, if the parent does not exist, or if the index is out of range.
    pub fn insert(
        &mut self,
        id: NodeId,
        content: NodeContent,
        parent: Option<NodeId>,
        index: usize,
    ) -> Result<(), GraphError> {
        if self.contains(id) {
            return Err(GraphError::NodeExists(id));
        }
        self.check_index(parent, index)?;
        self.state_hash += StateHash::of_content(id, &content);
        self.nodes.insert(id, Arc::new(Node::leaf(content, parent)));
        self.attach(id, parent, index);
        Ok(())
    }

    /// Removes a node without children.
    ///
    /// # Errors
    /// Fails if the node does not exist or has children.
    pub fn remove(&mut self, id: NodeId) -> Result<(), GraphError> {
        let node = self.node(id).ok_or(GraphError::NoSuchNode(id))?;
        if !node.is_leaf() {
            return Err(GraphError::HasChildren(id));
        }
        let content = StateHash::of_content(id, &node.content);
        self.state_hash -= content;
        self.detach(id);
        self.nodes.remove(&id);
        Ok(())
    }

    /// Moves a node from a parent (`None` for the roots) to the end of the roots.
    ///
    /// # Errors
    /// Fails if the node does not exist or has another parent.
    pub fn unlink(&mut self, parent: Option<NodeId>, child: NodeId) -> Result<(), GraphError> {
        self.check_child(parent, child)?;
        self.detach(child);
        self.attach(child, None, self.roots.len());
        Ok(())
    }

    /// Moves a root under a parent, or to another index among the roots. The index counts the siblings without the
    /// node.
    ///
    /// # Errors
    /// Fails if the node is not a root, if the parent does not exist or is a descendant of the node, or if the index is
    /// out of range.
    pub fn link(&mut self, parent: Option<NodeId>, child: NodeId, index: usize) -> Result<(), GraphError> {
        self.check_child(None, child)?;
        match parent {
            Some(parent) if self.is_within(parent, child) => return Err(GraphError::Cycle(child)),
            Some(_) => self.check_index(parent, index)?,
            None if index >= self.roots.len() => {
                return Err(GraphError::IndexOutOfRange {
                    index,
                    len: self.roots.len() - 1,
                });
            }
            None => {}
        }
        self.detach(child);
        self.attach(child, parent, index);
        Ok(())
    }

    /// Renames a node.
    ///
    /// # Errors
    /// Fails if the node does not exist.
    pub fn rename(&mut self, id: NodeId, name: EcoString) -> Result<(), GraphError> {
        let content = &mut self.node_mut(id)?.content;
        let before = StateHash::of_node(id, content);
        content.name = name;
        let after = StateHash::of_node(id, content);
        self.state_hash -= before;
        self.state_hash += after;
        Ok(())
    }

    /// Sets a property, or deletes it if the value is `None`.
    ///
    /// # Errors
    /// Fails if the node does not exist.
    pub fn set_property(&mut self, id: NodeId, property: &PropertyId, value: Option<Value>) -> Result<(), GraphError> {
        let hash = |value: &Value| StateHash::of_property(id, property, value);
        let after = value.as_ref().map(hash).unwrap_or_default();
        let properties = &mut self.node_mut(id)?.content.properties;
        let before = match value {
            Some(value) => properties.insert(property.clone(), value),
            None => properties.remove(property),
        };
        self.state_hash -= before.as_ref().map(hash).unwrap_or_default();
        self.state_hash += after;
        Ok(())
    }

    /// Marks a property of a node as unknown to the template, or removes the mark.
    ///
    /// # Errors
    /// Fails if the node does not exist.
    pub fn set_orphaned(&mut self, id: NodeId, property: &PropertyId, is_orphaned: bool) -> Result<(), GraphError> {
        let node = self.node(id).ok_or(GraphError::NoSuchNode(id))?;
        // Most nodes have no mark. The check avoids copying them.
        if is_orphaned || node.content.metadata.is_some() {
            set_orphaned(&mut self.node_mut(id)?.content.metadata, property, is_orphaned);
        }
        Ok(())
    }

    fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, GraphError> {
        self.nodes
            .get_mut(&id)
            .map(Arc::make_mut)
            .ok_or(GraphError::NoSuchNode(id))
    }

    fn check_child(&self, parent: Option<NodeId>, child: NodeId) -> Result<(), GraphError> {
        let node = self.node(child).ok_or(GraphError::NoSuchNode(child))?;
        if node.parent == parent {
            Ok(())
        } else {
            Err(GraphError::NotAChild { parent, child })
        }
    }

    fn check_index(&self, parent: Option<NodeId>, index: usize) -> Result<(), GraphError> {
        let missing = || GraphError::NoSuchNode(parent.unwrap_or(NodeId::new(uuid::Uuid::nil())));
        let len = self.children(parent).ok_or_else(missing)?.len();
        if index <= len {
            Ok(())
        } else {
            Err(GraphError::IndexOutOfRange { index, len })
        }
    }

    /// Inserts a detached node into its place. The caller has checked that the node fits.
    fn attach(&mut self, id: NodeId, parent: Option<NodeId>, index: usize) {
        if let Ok(node) = self.node_mut(id) {
            node.parent = parent;
        }
        match parent.map(|parent| self.node_mut(parent)) {
            None => self.roots.insert(index, id),
            Some(Ok(parent)) => parent.insert_child(index, id),
            Some(Err(_)) => {}
        }
        let (previous, next) = self.neighbours(parent, id);
        self.state_hash += StateHash::of_place(id, parent, previous);
        if let Some(next) = next {
            self.state_hash -= StateHash::of_place(next, parent, previous);
            self.state_hash += StateHash::of_place(next, parent, Some(id));
        }
        self.update_heights(parent, None, self.height(id));
    }

    /// Detaches a node from its place. The caller removes or attaches the node immediately.
    fn detach(&mut self, id: NodeId) {
        let Some(parent) = self.node(id).map(Node::parent) else {
            return;
        };
        let (previous, next) = self.neighbours(parent, id);
        self.state_hash -= StateHash::of_place(id, parent, previous);
        if let Some(next) = next {
            self.state_hash -= StateHash::of_place(next, parent, Some(id));
            self.state_hash += StateHash::of_place(next, parent, previous);
        }
        match parent.map(|parent| self.node_mut(parent)) {
            None => drop(self.roots.remove(id)),
            Some(Ok(parent)) => parent.remove_child(id),
            Some(Err(_)) => {}
        }
        self.update_heights(parent, Some(self.height(id)), 0);
    }

    fn neighbours(&self, parent: Option<NodeId>, id: NodeId) -> (Option<NodeId>, Option<NodeId>) {
        self.children(parent)
            .map_or((None, None), |siblings| siblings.neighbours(id))
    }

    /// Updates the heights of the ancestors after a child's height changed from `before` (`None` for a new child) to
    /// `after` (0 for a removed child). Stops at the first ancestor whose height stays the same.
    fn update_heights(&mut self, mut parent: Option<NodeId>, mut before: Option<usize>, mut after: usize) {
        while let Some(node) = parent.and_then(|id| self.node_mut(id).ok()) {
            let height = node.height();
            node.update_child_height(before, after);
            if node.height() == height {
                return;
            }
            (before, after, parent) = (Some(height), node.height(), node.parent);
        }
    }
}

#[cfg(test)]
mod tests;
