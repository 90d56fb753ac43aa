//! Commands that change the place of nodes: link, unlink, move, reorder.

use super::Decider;
use crate::{event::Event, graph::Node, ids::NodeId, limits::LimitExceeded, rejection::Rejection, siblings::Siblings};

impl Decider<'_> {
    pub(super) fn link(
        &self,
        parent_id: NodeId,
        child_id: NodeId,
        index: Option<i64>,
    ) -> Result<Vec<Event>, Rejection> {
        let parent = self.require_node(parent_id)?;
        let child = self.require_node(child_id)?;
        if let Some(parent_id) = child.parent() {
            return Err(Rejection::AlreadyLinked { child_id, parent_id });
        }
        self.check_acyclic(child_id, parent_id)?;
        self.check_child(&parent.content.type_id, &child.content.type_id)?;
        self.check_depth(Some(parent_id), self.graph().height(child_id))?;
        let index = self.resolve_index(Some(parent_id), index, 0)?;
        let root_index = self.graph().roots().position(child_id).unwrap_or_default();
        Ok(vec![Event::NodeLinked {
            parent_id: Some(parent_id),
            child_id,
            index,
            root_index,
        }])
    }

    pub(super) fn unlink(&self, parent_id: NodeId, child_id: NodeId) -> Result<Vec<Event>, Rejection> {
        self.require_node(parent_id)?;
        if self.require_node(child_id)?.parent() != Some(parent_id) {
            return Err(Rejection::NotLinked { child_id, parent_id });
        }
        let index = self.graph().position(child_id).unwrap_or_default();
        Ok(vec![Event::NodeUnlinked {
            parent_id: Some(parent_id),
            child_id,
            index,
        }])
    }

    pub(super) fn move_node(
        &self,
        node_id: NodeId,
        new_parent_id: Option<NodeId>,
        index: Option<i64>,
    ) -> Result<Vec<Event>, Rejection> {
        let node = self.require_node(node_id)?;
        if let Some(new_parent_id) = new_parent_id {
            let parent = self.require_node(new_parent_id)?;
            self.check_acyclic(node_id, new_parent_id)?;
            // A node may stay under its present parent even if a later template forbids the combination.
            if node.parent() != Some(new_parent_id) {
                self.check_child(&parent.content.type_id, &node.content.type_id)?;
                self.check_depth(Some(new_parent_id), self.graph().height(node_id))?;
            }
        }
        let own = usize::from(node.parent() == new_parent_id);
        let index = self.resolve_index(new_parent_id, index, own)?;
        Ok(self.move_events(node_id, node, new_parent_id, index))
    }

    pub(super) fn reorder(&self, node_id: NodeId, new_index: i64) -> Result<Vec<Event>, Rejection> {
        let node = self.require_node(node_id)?;
        let index = self.resolve_index(node.parent(), Some(new_index), 1)?;
        Ok(self.move_events(node_id, node, node.parent(), index))
    }

    /// Returns the events of a move: an unlink, then a link. Returns no events if the node is already in the place.
    fn move_events(&self, child_id: NodeId, node: &Node, to: Option<NodeId>, index: usize) -> Vec<Event> {
        let from = node.parent();
        let position = self.graph().position(child_id).unwrap_or_default();
        if from == to && position == index {
            return Vec::new();
        }
        // Between both events the node is the last root. The number of roots grows by one unless the node was a root.
        let root_index = self.graph().roots().len() - usize::from(from.is_none());
        vec![
            Event::NodeUnlinked {
                parent_id: from,
                child_id,
                index: position,
            },
            Event::NodeLinked {
                parent_id: to,
                child_id,
                index,
                root_index,
            },
        ]
    }

    /// Returns a valid index among the siblings, `own` of which are the moved node itself (0 or 1). Without an index,
    /// returns the end of the list.
    pub(super) fn resolve_index(
        &self,
        parent_id: Option<NodeId>,
        index: Option<i64>,
        own: usize,
    ) -> Result<usize, Rejection> {
        let max = self.graph().children(parent_id).map_or(0, Siblings::len) - own;
        let Some(index) = index else { return Ok(max) };
        usize::try_from(index)
            .ok()
            .filter(|&index| index <= max)
            .ok_or(Rejection::IndexOutOfRange { index, max })
    }

    fn check_acyclic(&self, node_id: NodeId, parent_id: NodeId) -> Result<(), Rejection> {
        if self.graph().is_within(parent_id, node_id) {
            return Err(Rejection::Cycle { node_id, parent_id });
        }
        Ok(())
    }

    /// Checks that a subtree of the given height, in levels, fits under the parent.
    pub(super) fn check_depth(&self, parent_id: Option<NodeId>, height: usize) -> Result<(), Rejection> {
        let max = self.limits().depth_max;
        let found = parent_id.map_or(0, |id| self.graph().depth(id)) + height;
        if found > max {
            Err(LimitExceeded {
                limit: "depth_max",
                max,
                found,
            }
            .into())
        } else {
            Ok(())
        }
    }
}
