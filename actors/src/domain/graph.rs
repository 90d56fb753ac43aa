//! The graph: a forest of typed nodes with ordered children and ordered roots.
//!
//! It is always a forest (GR-1), parents and children always agree (GR-2), every node is reachable from a root once
//! (GR-3): the operations here cannot break that, and refuse what would ([`Misfit`]). What a *user* may do is not
//! decided here but in `decide`; these operations are what events mean.
//!
//! Cloning costs nothing (the parts are shared and copied when written to), so a batch can be tried on a draft, and a
//! snapshot for a reader is taken between two commands and encoded elsewhere. No operation walks more than the
//! ancestors of a node, and these are bounded by the depth limit.
//!
//! The [`StateHash`] is kept with every change: what a change takes away is subtracted, what it puts there is added
//! (GR-12).

mod heights;
mod node;
mod stored;
mod walk;

use std::sync::Arc;

use ecow::EcoString;

pub use self::{
    node::{Node, NodeContent},
    walk::{Step, Walk},
};
use super::{
    ids::{NodeId, PropertyId},
    orphans::set_orphaned,
    siblings::Siblings,
    state_hash::StateHash,
    value::Value,
};

/// Why an operation does not fit the graph. From a recorded log this means that the log is corrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// No such node.
    #[error("node {0} does not exist")]
    NoSuchNode(NodeId),
    /// The id is taken.
    #[error("node {0} exists already")]
    NodeExists(NodeId),
    /// The node still has children.
    #[error("node {0} has children")]
    HasChildren(NodeId),
    /// The node is not among the children (or roots) where it was said to be.
    #[error("node {child} is not a child of {parent:?}")]
    NotAChild {
        /// The parent that was named; `None` for the roots.
        parent: Option<NodeId>,
        /// The node.
        child: NodeId,
    },
    /// The index lies beyond the end of the siblings.
    #[error("index {index} lies beyond the {len} siblings")]
    IndexOutOfRange {
        /// The index that was named.
        index: usize,
        /// How many siblings there are.
        len: usize,
    },
    /// The new parent is the node itself or lies below it.
    #[error("node {0} would become its own ancestor")]
    Cycle(NodeId),
}

/// A forest of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: imbl::OrdMap<NodeId, Arc<Node>>,
    roots: Siblings,
    state_hash: StateHash,
}

impl Graph {
    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The hash of all that clients know of it (P6). Kept, not computed.
    #[must_use]
    pub const fn state_hash(&self) -> StateHash {
        self.state_hash
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id).map(Arc::as_ref)
    }

    /// Whether there is such a node.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id)
    }

    /// All nodes, in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node.as_ref()))
    }

    /// The roots in order.
    #[must_use]
    pub const fn roots(&self) -> &Siblings {
        &self.roots
    }

    /// The children of a node, or the roots. `None` if there is no such node.
    #[must_use]
    pub fn children(&self, parent: Option<NodeId>) -> Option<&Siblings> {
        match parent {
            None => Some(&self.roots),
            Some(id) => self.node(id).map(Node::children),
        }
    }

    /// The position of a node among its siblings. `None` if there is no such node.
    #[must_use]
    pub fn position(&self, id: NodeId) -> Option<usize> {
        self.children(self.node(id)?.parent)?.position(id)
    }

    /// The node and its ancestors, the root last.
    pub fn lineage(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let known = |id| self.node(id).map(|node| (id, node));
        std::iter::successors(known(id), move |(_, node)| known(node.parent?)).map(|(id, _)| id)
    }

    /// Whether a node is another one or lies below it. Walks up from the node, unless nothing lies below the other.
    #[must_use]
    pub fn is_within(&self, id: NodeId, other: NodeId) -> bool {
        let has_below = || self.node(other).is_some_and(|node| !node.is_leaf());
        id == other || (has_below() && self.lineage(id).any(|above| above == other))
    }

    /// Levels from the root down to the node, both included. 0 if there is no such node.
    #[must_use]
    pub fn depth(&self, id: NodeId) -> usize {
        self.lineage(id).count()
    }

    /// Levels from the node down to its deepest descendant, both included. 0 if there is no such node. Kept with every
    /// change, not counted.
    #[must_use]
    pub fn height(&self, id: NodeId) -> usize {
        self.node(id).map_or(0, Node::height)
    }

    /// Walks a subtree, or the whole forest, in document order without recursion.
    pub fn walk(&self, from: Option<NodeId>) -> Walk<'_> {
        let first: Box<dyn Iterator<Item = NodeId> + '_> = match from {
            Some(id) => Box::new(std::iter::once(id)),
            None => Box::new(self.roots.iter()),
        };
        Walk::new(self, first)
    }

    /// Adds a node without children.
    ///
    /// # Errors
    /// If the id is taken, the parent does not exist or the index lies beyond the end.
    pub fn insert(
        &mut self,
        id: NodeId,
        content: NodeContent,
        parent: Option<NodeId>,
        index: usize,
    ) -> Result<(), Misfit> {
        if self.contains(id) {
            return Err(Misfit::NodeExists(id));
        }
        self.check_index(parent, index)?;
        self.state_hash += StateHash::of_content(id, &content);
        self.nodes.insert(id, Arc::new(Node::leaf(content, parent)));
        self.attach(id, parent, index);
        Ok(())
    }

    /// Removes a node that has no children.
    ///
    /// # Errors
    /// If it does not exist or has children.
    pub fn remove(&mut self, id: NodeId) -> Result<(), Misfit> {
        let node = self.node(id).ok_or(Misfit::NoSuchNode(id))?;
        if !node.is_leaf() {
            return Err(Misfit::HasChildren(id));
        }
        let content = StateHash::of_content(id, &node.content);
        self.state_hash -= content;
        self.detach(id);
        self.nodes.remove(&id);
        Ok(())
    }

    /// Takes a node from where it is (`parent: None`: the roots) to the end of the roots.
    ///
    /// # Errors
    /// If it is not there.
    pub fn unlink(&mut self, parent: Option<NodeId>, child: NodeId) -> Result<(), Misfit> {
        self.check_child(parent, child)?;
        self.detach(child);
        self.attach(child, None, self.roots.len());
        Ok(())
    }

    /// Takes a root to a place under a parent, or among the roots. The index counts the siblings without the node.
    ///
    /// # Errors
    /// If the node is not a root, the parent does not exist or lies below the node, or the index lies beyond the end.
    pub fn link(&mut self, parent: Option<NodeId>, child: NodeId, index: usize) -> Result<(), Misfit> {
        self.check_child(None, child)?;
        match parent {
            Some(parent) if self.is_within(parent, child) => return Err(Misfit::Cycle(child)),
            Some(_) => self.check_index(parent, index)?,
            None if index >= self.roots.len() => {
                return Err(Misfit::IndexOutOfRange {
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
    /// If it does not exist.
    pub fn rename(&mut self, id: NodeId, name: EcoString) -> Result<(), Misfit> {
        let content = &mut self.node_mut(id)?.content;
        let before = StateHash::of_node(id, content);
        content.name = name;
        let after = StateHash::of_node(id, content);
        self.state_hash -= before;
        self.state_hash += after;
        Ok(())
    }

    /// Sets a property, or takes it away.
    ///
    /// # Errors
    /// If the node does not exist.
    pub fn set_property(&mut self, id: NodeId, property: &PropertyId, value: Option<Value>) -> Result<(), Misfit> {
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

    /// Marks a property of a node as one that the template does not know, or takes the mark away.
    ///
    /// # Errors
    /// If the node does not exist.
    pub fn set_orphaned(&mut self, id: NodeId, property: &PropertyId, is_orphaned: bool) -> Result<(), Misfit> {
        let node = self.node(id).ok_or(Misfit::NoSuchNode(id))?;
        // Most nodes have no mark, and need not be copied to find that out.
        if is_orphaned || node.content.metadata.is_some() {
            set_orphaned(&mut self.node_mut(id)?.content.metadata, property, is_orphaned);
        }
        Ok(())
    }

    fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, Misfit> {
        self.nodes.get_mut(&id).map(Arc::make_mut).ok_or(Misfit::NoSuchNode(id))
    }

    fn check_child(&self, parent: Option<NodeId>, child: NodeId) -> Result<(), Misfit> {
        let node = self.node(child).ok_or(Misfit::NoSuchNode(child))?;
        if node.parent == parent {
            Ok(())
        } else {
            Err(Misfit::NotAChild { parent, child })
        }
    }

    fn check_index(&self, parent: Option<NodeId>, index: usize) -> Result<(), Misfit> {
        let missing = || Misfit::NoSuchNode(parent.unwrap_or(NodeId::new(uuid::Uuid::nil())));
        let len = self.children(parent).ok_or_else(missing)?.len();
        if index <= len {
            Ok(())
        } else {
            Err(Misfit::IndexOutOfRange { index, len })
        }
    }

    /// Puts a node that is nowhere into its place. The caller has checked that it fits.
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
        self.note_height(parent, None, self.height(id));
    }

    /// Takes a node out of its place; the caller removes it or puts it elsewhere at once.
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
        self.note_height(parent, Some(self.height(id)), 0);
    }

    fn neighbours(&self, parent: Option<NodeId>, id: NodeId) -> (Option<NodeId>, Option<NodeId>) {
        self.children(parent)
            .map_or((None, None), |siblings| siblings.neighbours(id))
    }

    /// Tells the ancestors that a child's height went from `before` (`None`: it is new) to `after` (0: it is gone), as
    /// far up as that changes theirs.
    fn note_height(&mut self, mut parent: Option<NodeId>, mut before: Option<usize>, mut after: usize) {
        while let Some(node) = parent.and_then(|id| self.node_mut(id).ok()) {
            let height = node.height();
            node.note_child_height(before, after);
            if node.height() == height {
                return;
            }
            (before, after, parent) = (Some(height), node.height(), node.parent);
        }
    }
}

#[cfg(test)]
mod tests;
