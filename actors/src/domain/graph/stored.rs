//! A graph as the log keeps it.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Graph, NodeContent};
use crate::domain::{ids::NodeId, siblings::Siblings};

/// A node as the log keeps it.
#[derive(Serialize, Deserialize)]
struct StoredNode {
    id: NodeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<NodeId>,
    content: NodeContent,
}

/// Flat, in document order: no depth of a tree becomes a depth of JSON.
impl Serialize for Graph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes = self.walk(None).nodes();
        serializer.collect_seq(nodes.map(|(id, node)| StoredNode {
            id,
            parent: node.parent,
            content: node.content.clone(),
        }))
    }
}

impl<'de> Deserialize<'de> for Graph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut graph = Self::default();
        // Each node has been read with ids of its own; a graph has a few types and properties, and many nodes of them.
        let (mut types, mut properties) = (BTreeSet::new(), BTreeSet::new());
        for StoredNode {
            id,
            parent,
            mut content,
        } in Vec::deserialize(deserializer)?
        {
            share(&mut types, &mut content.type_id);
            content.properties.each_id_mut(|id| share(&mut properties, id));
            let end = graph.children(parent).map_or(0, Siblings::len);
            graph.insert(id, content, parent, end).map_err(de::Error::custom)?;
        }
        Ok(graph)
    }
}

/// Replaces an id by the same one that was seen before.
fn share<T: Ord + Clone>(seen: &mut BTreeSet<T>, id: &mut T) {
    match seen.get(id) {
        Some(known) => id.clone_from(known),
        None => drop(seen.insert(id.clone())),
    }
}
