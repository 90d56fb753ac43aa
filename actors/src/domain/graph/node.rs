//! A node: what it is, where it is, and what hangs below it.

use std::sync::Arc;

use ecow::EcoString;
use serde::{Deserialize, Serialize};

use super::heights::Heights;
use crate::domain::{
    ids::{NodeId, TypeId},
    properties::Properties,
    siblings::Siblings,
    value::{Value, present},
};

/// What a node is, apart from its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeContent {
    /// The name, never empty.
    pub name: EcoString,
    /// The type.
    pub type_id: TypeId,
    /// The properties that are set.
    #[serde(default, skip_serializing_if = "Properties::is_empty")]
    pub properties: Properties,
    /// What a project file said about the node beyond what the hub understands; kept and written back.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<Value>>,
}

impl NodeContent {
    /// Takes over from another what is the same, so that it is in memory once.
    pub(in crate::domain) fn share_with(&mut self, other: &Self) {
        if self.name == other.name {
            self.name.clone_from(&other.name);
        }
        if self.type_id == other.type_id {
            self.type_id.clone_from(&other.type_id);
        }
        if self.properties == other.properties {
            self.properties.clone_from(&other.properties);
        }
    }
}

/// A node in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub content: NodeContent,
    pub(super) parent: Option<NodeId>,
    /// There is one exactly if there are children.
    below: Option<Arc<Below>>,
}

/// What hangs below a node. Most nodes are leaves, which have none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Below {
    children: Siblings,
    heights: Heights,
}

impl Node {
    /// A node without children.
    pub(super) const fn leaf(content: NodeContent, parent: Option<NodeId>) -> Self {
        Self {
            content,
            parent,
            below: None,
        }
    }

    /// The parent; `None` for a root.
    #[must_use]
    pub const fn parent(&self) -> Option<NodeId> {
        self.parent
    }

    /// The children in order.
    #[must_use]
    pub fn children(&self) -> &Siblings {
        const NONE: &Siblings = &Siblings::new();
        self.below.as_ref().map_or(NONE, |below| &below.children)
    }

    pub(super) const fn is_leaf(&self) -> bool {
        self.below.is_none()
    }

    /// Levels from here down to the deepest descendant, both included.
    pub(super) fn height(&self) -> usize {
        self.below.as_ref().map_or(1, |below| below.heights.height())
    }

    /// Puts a child among the others. Its height is noted afterwards.
    pub(super) fn insert_child(&mut self, index: usize, child: NodeId) {
        self.below_mut().children.insert(index, child);
    }

    /// Takes a child away. That its height is gone is noted afterwards.
    pub(super) fn remove_child(&mut self, child: NodeId) {
        self.below_mut().children.remove(child);
    }

    /// Notes that a child's height went from `before` (`None`: it is new) to `after` (0: it is gone).
    pub(super) fn note_child_height(&mut self, before: Option<usize>, after: usize) {
        let below = self.below_mut();
        if let Some(before) = before {
            below.heights.remove(before);
        }
        if after > 0 {
            below.heights.add(after);
        }
        if below.children.is_empty() {
            self.below = None;
        }
    }

    fn below_mut(&mut self) -> &mut Below {
        Arc::make_mut(self.below.get_or_insert_default())
    }
}
