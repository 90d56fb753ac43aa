//! Bookkeeping of the last change of each node, for optimistic concurrency (`expected_seq`).

use serde::{Deserialize, Serialize};

use crate::{
    event::Event,
    ids::{NodeId, Seq},
};

/// `seq` of the last change of each node, of the list of roots, and of the whole document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastChanges {
    #[serde(with = "pairs")]
    nodes: imbl::OrdMap<NodeId, Seq>,
    roots: Seq,
    /// Last replacement of the whole document.
    #[serde(rename = "everything")]
    document: Seq,
}

impl LastChanges {
    pub(super) fn record_event(&mut self, event: &Event, seq: Seq) {
        match event {
            Event::NodeCreated { node_id, parent_id, .. } => {
                self.nodes.insert(*node_id, seq);
                self.note_children(*parent_id, seq);
            }
            Event::NodeDeleted { node_id, parent_id, .. } => {
                self.nodes.remove(node_id);
                self.note_children(*parent_id, seq);
            }
            Event::NodeLinked {
                parent_id, child_id, ..
            }
            | Event::NodeUnlinked {
                parent_id, child_id, ..
            } => {
                self.nodes.insert(*child_id, seq);
                self.note_children(*parent_id, seq);
                self.roots = seq;
            }
            Event::PropertyChanged { node_id, .. } | Event::PropertyDeleted { node_id, .. } => {
                self.nodes.insert(*node_id, seq);
            }
            Event::ProjectSaved { .. } => {}
            Event::ProjectLoaded { .. } => {
                *self = Self {
                    document: seq,
                    ..Self::default()
                }
            }
        }
    }

    /// Returns the `seq` of the last change of a node: its name, properties, place or list of children.
    pub(super) fn of_node(&self, node_id: NodeId) -> Seq {
        let own = self.nodes.get(&node_id).copied().unwrap_or_default();
        own.max(self.document)
    }

    /// Returns the `seq` of the last change of the list of roots.
    pub(super) fn of_roots(&self) -> Seq {
        self.roots.max(self.document)
    }

    fn note_children(&mut self, parent_id: Option<NodeId>, seq: Seq) {
        match parent_id {
            Some(parent) => {
                self.nodes.insert(parent, seq);
            }
            None => self.roots = seq,
        }
    }
}

/// Serialization of a map as a list of pairs.
mod pairs {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{NodeId, Seq};

    type Map = imbl::OrdMap<NodeId, Seq>;

    pub(super) fn serialize<S: Serializer>(map: &Map, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        Vec::<(NodeId, Seq)>::deserialize(deserializer).map(Map::from_iter)
    }
}
