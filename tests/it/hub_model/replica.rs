//! Replica of a graph, built from the JSON of the wire alone, without any code of the hub.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Key of the roots in the lists of children.
const ROOTS: &str = "";

/// Nodes and children of a graph. See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Replica {
    nodes: BTreeMap<String, Map<String, Value>>,
    children: BTreeMap<String, Vec<String>>,
}

impl Replica {
    /// Returns the replica of a snapshot's graph.
    pub fn of(graph: &Value) -> Self {
        let mut replica = Self::default();
        replica.load(ROOTS, &graph["roots"]);
        replica
    }

    fn load(&mut self, parent: &str, nodes: &Value) {
        for node in nodes.as_array().expect("a list of nodes") {
            let id = text(node, "id").to_owned();
            self.add(&id, parent, usize::MAX, node);
            self.load(&id, &node["children"]);
        }
    }

    /// Applies an event of the graph.
    pub fn apply(&mut self, event: &str, data: &Value) {
        let parent = data["parent_id"].as_str().unwrap_or(ROOTS);
        let index = || usize::try_from(data["index"].as_u64().expect("an index")).expect("small");
        match event {
            "graph:node-created" => self.add(text(data, "node_id"), parent, index(), data),
            "graph:node-deleted" => {
                let id = text(data, "node_id");
                self.take(parent, id);
                self.nodes.remove(id).expect("a deleted node existed");
                let below = self.children.remove(id);
                assert!(
                    below.is_none_or(|below| below.is_empty()),
                    "children are deleted before their parents"
                );
            }
            "graph:node-linked" => {
                let id = text(data, "child_id");
                self.take(ROOTS, id);
                self.put(parent, id, index());
            }
            "graph:node-unlinked" => {
                let id = text(data, "child_id");
                self.take(parent, id);
                self.put(ROOTS, id, usize::MAX);
            }
            "graph:property-changed" => self.set(data, Some(data["new_value"].clone())),
            "graph:property-deleted" => self.set(data, None),
            "project:loaded" => *self = Self::of(&data["graph"]),
            other => assert!(
                ["command:executed", "command:undo", "command:redo", "project:saved"].contains(&other),
                "{other} has a seq and means nothing"
            ),
        }
    }

    /// Returns the graph in the form of a snapshot.
    pub fn graph(&self) -> Value {
        json!({ "roots": self.list(ROOTS) })
    }

    fn list(&self, parent: &str) -> Vec<Value> {
        let ids = self.children.get(parent).into_iter().flatten();
        ids.map(|id| {
            let mut node = self.nodes[id].clone();
            node.insert(
                "parent_id".to_owned(),
                if parent == ROOTS { Value::Null } else { json!(parent) },
            );
            node.insert("children".to_owned(), self.list(id).into());
            Value::Object(node)
        })
        .collect()
    }

    fn add(&mut self, id: &str, parent: &str, index: usize, data: &Value) {
        let node = json!({
            "id": id, "name": data["name"], "blueprint_type_id": data["blueprint_type_id"], "properties": data["properties"],
        });
        let Value::Object(node) = node else { unreachable!() };
        assert!(
            self.nodes.insert(id.to_owned(), node).is_none(),
            "a created node is new"
        );
        self.put(parent, id, index);
    }

    fn set(&mut self, data: &Value, value: Option<Value>) {
        let node = self
            .nodes
            .get_mut(text(data, "node_id"))
            .expect("a changed node exists");
        let property = text(data, "property_id");
        // A template has an id of its own for the property `name`.
        if data["property_key"].as_str().unwrap_or(property) == "name" {
            node.insert("name".to_owned(), value.expect("a name stays"));
            return;
        }
        let properties = node["properties"].as_object_mut().expect("an object");
        let before = match value {
            Some(value) => properties.insert(property.to_owned(), value),
            None => properties.remove(property),
        };
        assert_eq!(
            before.unwrap_or_default(),
            data["old_value"],
            "{property} had the old value of the event"
        );
    }

    fn take(&mut self, parent: &str, id: &str) {
        let siblings = self.children.get_mut(parent).expect("the parent has the node");
        let at = siblings.iter().position(|sibling| sibling == id);
        siblings.remove(at.expect("the parent has the node"));
    }

    fn put(&mut self, parent: &str, id: &str, index: usize) {
        let siblings = self.children.entry(parent.to_owned()).or_default();
        let at = if index == usize::MAX { siblings.len() } else { index };
        siblings.insert(at, id.to_owned());
    }
}

fn text<'a>(data: &'a Value, field: &str) -> &'a str {
    data[field].as_str().expect("a text")
}
