//! What happened: events, each with what was before, so that each can be taken back.

use std::{collections::BTreeMap, sync::Arc};

use ecow::EcoString;
use serde::{Deserialize, Serialize};

use super::{
    graph::{Graph, Misfit, NodeContent},
    ids::{NodeId, PropertyId, Seq, TemplateId},
    value::{Value, present},
};

/// What a project file holds beside the graph and the hub does not interpret; kept and written back.
pub type Extras = Arc<BTreeMap<EcoString, Value>>;

/// What events change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The tree.
    pub graph: Graph,
    /// What else the project file holds.
    #[serde(default, skip_serializing_if = "no_extras")]
    pub extras: Extras,
    /// The template that the graph came with; `None`: the one that the session began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<TemplateId>,
}

fn no_extras(extras: &Extras) -> bool {
    extras.is_empty()
}

/// A property of a node, as events name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyRef {
    /// The id.
    pub id: PropertyId,
    /// The template's slug, in a session with a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<EcoString>,
}

impl PropertyRef {
    /// Whether this is the node's name, which is not kept among the properties.
    #[must_use]
    pub fn is_name(&self) -> bool {
        self.key.as_deref().unwrap_or(self.id.as_str()) == PropertyId::NAME
    }
}

/// One change. One event is one `seq`, on the wire and in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A node came to be.
    NodeCreated {
        /// Its id.
        node_id: NodeId,
        /// Its parent; `None`: it is a root.
        parent_id: Option<NodeId>,
        /// Its position among its siblings.
        index: usize,
        /// What it is.
        content: NodeContent,
    },
    /// A node without children went.
    NodeDeleted {
        /// Its id.
        node_id: NodeId,
        /// The parent it had.
        parent_id: Option<NodeId>,
        /// The position it had.
        index: usize,
        /// What it was.
        content: NodeContent,
    },
    /// A root went to its place under a parent, or among the roots.
    NodeLinked {
        /// The parent; `None`: the roots.
        parent_id: Option<NodeId>,
        /// The node.
        child_id: NodeId,
        /// Its position among its siblings.
        index: usize,
        /// The position it had among the roots.
        root_index: usize,
    },
    /// A node went to the end of the roots.
    NodeUnlinked {
        /// The parent it had; `None`: it was a root.
        parent_id: Option<NodeId>,
        /// The node.
        child_id: NodeId,
        /// The position it had.
        index: usize,
    },
    /// A property was set.
    PropertyChanged {
        /// The node.
        node_id: NodeId,
        /// The property, or the name.
        property: PropertyRef,
        /// What it was; `None`: it was not set.
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        before: Option<Value>,
        /// What it is.
        after: Value,
        /// Whether it is one that the template does not know: an undo brought it back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        orphaned: bool,
    },
    /// A property was taken away.
    PropertyDeleted {
        /// The node.
        node_id: NodeId,
        /// The property.
        property: PropertyRef,
        /// What it was.
        before: Value,
    },
    /// The project file was written.
    ProjectSaved {
        /// The name of the file.
        file: Arc<str>,
        /// The state that was written.
        through: Seq,
    },
    /// The whole document was replaced.
    ProjectLoaded {
        /// What it is.
        document: Document,
        /// Whether the project's file says the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        from_file: bool,
    },
}

impl Event {
    /// Makes it so.
    ///
    /// # Errors
    /// If the event does not fit the document. It always fits the document it was decided on; from a log an error means
    /// that the log is corrupt.
    pub fn apply(&self, document: &mut Document) -> Result<(), Misfit> {
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

    /// Takes over from a document what both say, so that it is in memory once. What the event says stays the same.
    pub(super) fn share_with(&mut self, document: &Document) {
        match self {
            Self::NodeCreated { node_id, content, .. } => {
                if let Some(node) = document.graph.node(*node_id) {
                    content.share_with(&node.content);
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

    /// About how many bytes of memory it holds: what the history's limit is held against. Values that events share
    /// count in each of them.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        const SELF_BYTES: usize = size_of::<Event>();
        SELF_BYTES
            + match self {
                Self::NodeCreated { content, .. } | Self::NodeDeleted { content, .. } => content_bytes(content),
                Self::NodeLinked { .. } | Self::NodeUnlinked { .. } | Self::ProjectSaved { .. } => 0,
                Self::PropertyChanged { before, after, .. } => {
                    before.as_ref().map_or(0, Value::json_bytes) + after.json_bytes()
                }
                Self::PropertyDeleted { before, .. } => before.json_bytes(),
                Self::ProjectLoaded { document, .. } => document_bytes(document),
            }
    }
}

fn content_bytes(content: &NodeContent) -> usize {
    let properties = content
        .properties
        .iter()
        .map(|(id, value)| id.as_str().len() + value.json_bytes());
    content.name.len() + properties.sum::<usize>() + content.metadata.as_deref().map_or(0, Value::json_bytes)
}

/// As for [`Event::weight_bytes`]; walks the document, which only loading one does.
pub(super) fn document_bytes(document: &Document) -> usize {
    const NODE_BYTES: usize = 200;
    document
        .graph
        .nodes()
        .map(|(_, node)| NODE_BYTES + content_bytes(&node.content))
        .sum()
}
