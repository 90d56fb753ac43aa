//! Events: applied changes, each with the previous value, so that each can be reversed.

use std::sync::Arc;

use ecow::EcoString;
use serde::{Deserialize, Serialize};

use super::{
    content::NodeContent,
    document::Document,
    graph::GraphError,
    ids::{NodeId, PropertyId, Seq},
    value::{Value, double_option},
};

/// Reference to a property of a node in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyRef {
    /// Id of the property.
    pub id: PropertyId,
    /// Slug of the property in the template. `None` in a session without a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<EcoString>,
}

impl PropertyRef {
    /// Returns true if the property is the node's name, which is stored apart from the properties.
    #[must_use]
    pub fn is_name(&self) -> bool {
        self.key.as_deref().unwrap_or(self.id.as_str()) == PropertyId::NAME
    }
}

/// Single change. Each event takes one `seq`, on the wire and in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A node was created.
    NodeCreated {
        /// Id of the node.
        node_id: NodeId,
        /// Parent of the node. `None` for a root.
        parent_id: Option<NodeId>,
        /// Index among the siblings.
        index: usize,
        /// Name, type, properties and metadata of the node.
        content: NodeContent,
    },
    /// A node without children was deleted.
    NodeDeleted {
        /// Id of the node.
        node_id: NodeId,
        /// Previous parent. `None` for a root.
        parent_id: Option<NodeId>,
        /// Previous index among the siblings.
        index: usize,
        /// Previous content of the node.
        content: NodeContent,
    },
    /// A root was placed under a parent, or at another index among the roots.
    NodeLinked {
        /// New parent. `None` for the roots.
        parent_id: Option<NodeId>,
        /// Node that was placed.
        child_id: NodeId,
        /// Index among the new siblings.
        index: usize,
        /// Previous index among the roots.
        root_index: usize,
    },
    /// A node was moved to the end of the roots.
    NodeUnlinked {
        /// Previous parent. `None` if the node was a root.
        parent_id: Option<NodeId>,
        /// Node that was moved.
        child_id: NodeId,
        /// Previous index among the siblings.
        index: usize,
    },
    /// A property was set.
    PropertyChanged {
        /// Node that has the property.
        node_id: NodeId,
        /// Property, or the name.
        property: PropertyRef,
        /// Previous value. `None` if the property was not set.
        #[serde(default, deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
        before: Option<Value>,
        /// New value.
        after: Value,
        /// True if the template does not contain the property, which happens when an undo restores it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        orphaned: bool,
    },
    /// A property was deleted.
    PropertyDeleted {
        /// Node that had the property.
        node_id: NodeId,
        /// Deleted property.
        property: PropertyRef,
        /// Previous value.
        before: Value,
    },
    /// The project was written to its file.
    ProjectSaved {
        /// Name of the file.
        file: Arc<str>,
        /// Last `seq` that the file contains.
        through: Seq,
    },
    /// The whole document was replaced.
    ProjectLoaded {
        /// New document.
        document: Document,
        /// True if the project's file has the same content.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        from_file: bool,
    },
}

impl Event {
    /// Applies the event to a document.
    ///
    /// # Errors
    /// Fails if the event does not fit the document. An event always fits the document that it was decided on. For an
    /// event from a log, an error means that the log is corrupt.
    pub fn apply(&self, document: &mut Document) -> Result<(), GraphError> {
        let graph = &mut document.graph;
        match self {
            Self::NodeCreated {
                node_id,
                parent_id,
                index,
                content,
            } => graph.insert(*node_id, content.clone(), *parent_id, *index),
            Self::NodeDeleted { node_id, .. } => graph.remove(*node_id),
            Self::NodeLinked {
                parent_id,
                child_id,
                index,
                ..
            } => graph.link(*parent_id, *child_id, *index),
            Self::NodeUnlinked {
                parent_id, child_id, ..
            } => graph.unlink(*parent_id, *child_id),
            Self::PropertyChanged {
                node_id,
                property,
                after,
                ..
            } if property.is_name() => graph.rename(*node_id, after.as_text().unwrap_or_default().into()),
            Self::PropertyChanged {
                node_id,
                property,
                after,
                orphaned,
                ..
            } => {
                graph.set_property(*node_id, &property.id, Some(after.clone()))?;
                if *orphaned {
                    graph.set_orphaned(*node_id, &property.id, true)?;
                }
                Ok(())
            }
            Self::PropertyDeleted { node_id, property, .. } => {
                graph.set_property(*node_id, &property.id, None)?;
                graph.set_orphaned(*node_id, &property.id, false)
            }
            Self::ProjectSaved { .. } => Ok(()),
            Self::ProjectLoaded { document: loaded, .. } => {
                *document = loaded.clone();
                Ok(())
            }
        }
    }

    /// Replaces values by equal values of the document, so that memory holds each value once. The event's meaning is
    /// unchanged.
    pub(super) fn intern_from(&mut self, document: &Document) {
        match self {
            Self::NodeCreated { node_id, content, .. } => {
                if let Some(node) = document.graph.node(*node_id) {
                    content.intern_from(&node.content);
                }
            }
            Self::PropertyChanged {
                node_id,
                property,
                after,
                ..
            } => {
                let properties = document.graph.node(*node_id).map(|node| &node.content.properties);
                let value = properties.and_then(|properties| properties.get(&property.id));
                if let Some(value) = value.filter(|value| *value == after) {
                    after.clone_from(value);
                }
            }
            Self::NodeDeleted { .. }
            | Self::NodeLinked { .. }
            | Self::NodeUnlinked { .. }
            | Self::PropertyDeleted { .. }
            | Self::ProjectSaved { .. }
            | Self::ProjectLoaded { .. } => {}
        }
    }

    /// Returns the estimated size of the event, in bytes of memory, for the limits of history and replay window. Values
    /// that several events share count in each event.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        const SELF_BYTES: usize = size_of::<Event>();
        SELF_BYTES
            + match self {
                Self::NodeCreated { content, .. } | Self::NodeDeleted { content, .. } => content.weight_bytes(),
                Self::NodeLinked { .. } | Self::NodeUnlinked { .. } | Self::ProjectSaved { .. } => 0,
                Self::PropertyChanged { before, after, .. } => {
                    before.as_ref().map_or(0, Value::json_bytes) + after.json_bytes()
                }
                Self::PropertyDeleted { before, .. } => before.json_bytes(),
                Self::ProjectLoaded { document, .. } => document.weight_bytes(),
            }
    }
}
