//! A graph on the wire: a tree of nodes, written without recursion, so that no depth of it is a depth of the stack.

use serde::Serialize;
use serde_json::value::RawValue;
use talus_actors::domain::{
    graph::{Graph, Node, Step},
    ids::{NodeId, TypeId},
    properties::Properties,
    value::Value,
};

/// A node without its children. They are written between its last field and its closing brace.
#[derive(Serialize)]
struct NodeHead<'a> {
    id: NodeId,
    name: &'a str,
    blueprint_type_id: &'a TypeId,
    parent_id: Option<NodeId>,
    properties: &'a Properties,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Value>,
}

/// `{"roots": [node…]}`, children in order. Linear in the graph.
#[must_use]
pub fn graph_json(graph: &Graph) -> Box<RawValue> {
    let mut out = br#"{"roots":["#.to_vec();
    let mut first = true;
    for step in graph.walk(None) {
        match step {
            Step::Enter(id, node) => {
                if !first {
                    out.push(b',');
                }
                write_head(&mut out, id, node);
                out.extend_from_slice(br#","children":["#);
                first = true;
            }
            Step::Leave(..) => {
                out.extend_from_slice(b"]}");
                first = false;
            }
        }
    }
    out.extend_from_slice(b"]}");
    // What the serializer writes is JSON and UTF-8.
    let text = String::from_utf8(out).unwrap_or_default();
    RawValue::from_string(text).unwrap_or_default()
}

/// A node's own fields, with the brace left open.
fn write_head(out: &mut Vec<u8>, id: NodeId, node: &Node) {
    let content = &node.content;
    let head = NodeHead {
        id,
        name: &content.name,
        blueprint_type_id: &content.type_id,
        parent_id: node.parent(),
        properties: &content.properties,
        metadata: content.metadata.as_deref(),
    };
    let start = out.len();
    // Our own types always serialize, and a vector takes everything.
    if serde_json::to_writer(&mut *out, &head).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"{}");
    }
    out.pop();
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use talus_actors::domain::graph::NodeContent;

    use super::*;

    fn id(number: usize) -> NodeId {
        NodeId::new(uuid::Uuid::from_u128(number as u128))
    }

    fn content(name: &str) -> NodeContent {
        NodeContent {
            name: name.into(),
            type_id: TypeId::new("t"),
            properties: Properties::new(),
            metadata: None,
        }
    }

    /// The same tree by recursion, as plainly as can be.
    fn plainly(graph: &Graph, id: NodeId) -> serde_json::Value {
        let node = graph.node(id).expect("a node of the graph");
        json!({
            "id": id, "name": node.content.name, "blueprint_type_id": node.content.type_id, "parent_id": node.parent(),
            "properties": node.content.properties,
            "children": node.children().iter().map(|child| plainly(graph, child)).collect::<Vec<_>>(),
        })
    }

    #[test]
    fn is_what_a_plain_recursion_writes() {
        let mut graph = Graph::default();
        for number in 0..500_usize {
            // A parent among the earlier ones, some of them roots: bushy, deep and wide places.
            let parent = (number % 7 != 0).then(|| id(number * 31 % number));
            let end = graph
                .children(parent)
                .map_or(0, talus_actors::domain::siblings::Siblings::len);
            graph
                .insert(id(number), content(&format!("\"{number}\\\n")), parent, end / 2)
                .expect("fits");
        }
        let expected = json!({ "roots": graph.roots().iter().map(|root| plainly(&graph, root)).collect::<Vec<_>>() });
        let written: serde_json::Value = serde_json::from_str(graph_json(&graph).get()).expect("JSON");
        assert_eq!(written, expected);
        assert_eq!(graph_json(&Graph::default()).get(), r#"{"roots":[]}"#);
    }

    #[test]
    fn a_chain_as_deep_as_they_get_and_a_hundred_thousand_siblings_are_written() {
        let mut graph = Graph::default();
        for number in 0..256 {
            graph
                .insert(id(number), content("x"), number.checked_sub(1).map(id), 0)
                .expect("fits");
        }
        for number in 256..100_000 {
            graph
                .insert(id(number), content("x"), Some(id(0)), number - 255)
                .expect("fits");
        }
        let text = graph_json(&graph);
        assert_eq!(text.get().matches("\"children\"").count(), 100_000);
        assert_eq!(text.get().matches(['{', '}']).count(), 2 * (100_000 * 2 + 1));
    }

    #[test]
    fn metadata_is_told_if_there_is_any() {
        let mut graph = Graph::default();
        let metadata = Some(serde_json::from_value(json!({"orphaned": true})).expect("a value"));
        graph
            .insert(
                id(1),
                NodeContent {
                    metadata,
                    ..content("x")
                },
                None,
                0,
            )
            .expect("fits");
        assert!(graph_json(&graph).get().contains(r#""metadata":{"orphaned":true}"#));
    }
}
