//! Serialized form of a graph in the log.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Graph;
use crate::{content::NodeContent, ids::NodeId, siblings::Siblings};

/// Serialized form of a node.
#[derive(Serialize, Deserialize)]
struct StoredNode {
    id: NodeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<NodeId>,
    content: NodeContent,
}

/// Serializes the nodes as a flat list in document order, so the depth of a tree does not nest the JSON.
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
        // Interns the ids: each node is decoded with its own copies, but a graph has few types and properties.
        let (mut types, mut properties) = (BTreeSet::new(), BTreeSet::new());
        for StoredNode {
            id,
            parent,
            mut content,
        } in Vec::deserialize(deserializer)?
        {
            intern(&mut types, &mut content.type_id);
            content.properties.each_id_mut(|id| intern(&mut properties, id));
            let end = graph.children(parent).map_or(0, Siblings::len);
            graph.insert(id, content, parent, end).map_err(de::Error::custom)?;
        }
        Ok(graph)
    }
}

/// Replaces an id by an equal id that was seen before, or remembers it.
fn intern<T: Ord + Clone>(seen: &mut BTreeSet<T>, id: &mut T) {
    match seen.get(id) {
        Some(known) => id.clone_from(known),
        None => drop(seen.insert(id.clone())),
    }
}
