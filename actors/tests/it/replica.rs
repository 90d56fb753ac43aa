//! Independent replica of a client, written from the protocol's description with plain lists. It shares no code with
//! the graph, and uses only the parts of an event that are sent.

use std::collections::BTreeMap;

use talus_actors::domain::{
    content::NodeContent,
    event::{Event, PropertyRef},
    graph::Graph,
    ids::{NodeId, PropertyId},
    value::Value,
};

#[derive(Debug, Default)]
pub struct Replica {
    nodes: BTreeMap<NodeId, Node>,
    roots: Vec<NodeId>,
}

#[derive(Debug)]
struct Node {
    name: String,
    node_type: String,
    parent: Option<NodeId>,
    children: Vec<NodeId>,
    properties: BTreeMap<PropertyId, Value>,
}

/// Line of the tree: depth, node id, name, type and properties.
pub type Line = (usize, NodeId, String, String, BTreeMap<PropertyId, Value>);

impl Replica {
    /// Creates a replica from the graph of a snapshot.
    pub fn of(graph: &Graph) -> Self {
        let mut replica = Self::default();
        for (id, node) in graph.walk(None).nodes() {
            let index = replica.siblings(node.parent()).len();
            replica.create(id, node.parent(), index, &node.content);
        }
        replica
    }

    /// Applies an event, by the parts that are sent.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::NodeCreated {
                node_id,
                parent_id,
                index,
                content,
            } => self.create(*node_id, *parent_id, *index, content),
            Event::NodeDeleted { node_id, parent_id, .. } => {
                self.take(*parent_id, *node_id);
                let gone = self.nodes.remove(node_id).expect("a deleted node exists");
                assert!(gone.children.is_empty(), "children are deleted before their parents");
            }
            Event::NodeLinked {
                parent_id,
                child_id,
                index,
                ..
            } => {
                self.take(None, *child_id);
                self.put(*parent_id, *child_id, *index);
            }
            Event::NodeUnlinked {
                parent_id, child_id, ..
            } => {
                self.take(*parent_id, *child_id);
                self.put(None, *child_id, self.roots.len());
            }
            Event::PropertyChanged {
                node_id,
                property,
                after,
                ..
            } => {
                let node = self.nodes.get_mut(node_id).expect("a changed node exists");
                if is_name(property) {
                    node.name = after.as_text().expect("a name is a text").to_owned();
                } else {
                    node.properties.insert(property.id.clone(), after.clone());
                }
            }
            Event::PropertyDeleted { node_id, property, .. } => {
                let node = self.nodes.get_mut(node_id).expect("a changed node exists");
                assert!(
                    node.properties.remove(&property.id).is_some(),
                    "a deleted property is set"
                );
            }
            Event::ProjectSaved { .. } => {}
            Event::ProjectLoaded { document, .. } => *self = Self::of(&document.graph),
        }
    }

    /// Returns all nodes in the order of the tree.
    pub fn tree(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut ahead: Vec<(usize, NodeId)> = self.roots.iter().rev().map(|&id| (0, id)).collect();
        while let Some((depth, id)) = ahead.pop() {
            let node = &self.nodes[&id];
            lines.push((
                depth,
                id,
                node.name.clone(),
                node.node_type.clone(),
                node.properties.clone(),
            ));
            ahead.extend(node.children.iter().rev().map(|&child| (depth + 1, child)));
        }
        lines
    }

    fn siblings(&mut self, parent: Option<NodeId>) -> &mut Vec<NodeId> {
        match parent {
            None => &mut self.roots,
            Some(parent) => &mut self.nodes.get_mut(&parent).expect("a parent exists").children,
        }
    }

    fn create(&mut self, id: NodeId, parent: Option<NodeId>, index: usize, content: &NodeContent) {
        let node = Node {
            name: content.name.to_string(),
            node_type: content.type_id.to_string(),
            parent,
            children: Vec::new(),
            properties: content.properties.clone().into_iter().collect(),
        };
        assert!(self.nodes.insert(id, node).is_none(), "a created node is new");
        self.put(parent, id, index);
    }

    /// Removes a node from the children of its parent, and asserts that the event states this parent.
    fn take(&mut self, parent: Option<NodeId>, id: NodeId) {
        assert_eq!(self.nodes[&id].parent, parent, "the event states the node's parent");
        let siblings = self.siblings(parent);
        let index = siblings
            .iter()
            .position(|&other| other == id)
            .expect("a node is among its siblings");
        siblings.remove(index);
    }

    fn put(&mut self, parent: Option<NodeId>, id: NodeId, index: usize) {
        self.siblings(parent).insert(index, id);
        self.nodes.get_mut(&id).expect("the node exists").parent = parent;
    }
}

fn is_name(property: &PropertyRef) -> bool {
    property.key.as_deref().unwrap_or(property.id.as_str()) == "name"
}
