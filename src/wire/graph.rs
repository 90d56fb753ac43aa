//! Graph on the wire: a tree of nodes, written without recursion, so that the depth of a graph does not use the stack.

use serde::Serialize;
use serde_json::value::RawValue;
use talus_actors::domain::{
    graph::{Graph, Node, WalkEvent},
    ids::{NodeId, TypeId},
    properties::Properties,
    value::Value,
};

/// Fields of a node without its children. The children are written between the last field and the closing brace.
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

/// Encodes a graph as `{"roots": [node…]}` with children in order, in linear time.
#[must_use]
pub fn graph_json(graph: &Graph) -> Box<RawValue> {
    let mut out = br#"{"roots":["#.to_vec();
    let mut first = true;
    for step in graph.walk(None) {
        match step {
            WalkEvent::Enter(id, node) => {
                if !first {
                    out.push(b',');
                }
                write_head(&mut out, id, node);
                out.extend_from_slice(br#","children":["#);
                first = true;
            }
            WalkEvent::Leave(..) => {
                out.extend_from_slice(b"]}");
                first = false;
            }
        }
    }
    out.extend_from_slice(b"]}");
    // The serialiser writes JSON in UTF-8.
    let text = String::from_utf8(out).unwrap_or_default();
    RawValue::from_string(text).unwrap_or_default()
}

/// Writes a node's own fields, and leaves the brace open.
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
    // The types of this module always serialise, and a write to a vector cannot fail.
    if serde_json::to_writer(&mut *out, &head).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"{}");
    }
    out.pop();
}

/// Incremental encoder of a graph, with the same output as [`graph_json`], so that a large graph is never encoded as a
/// whole. The encoder stores positions among siblings instead of iterators, so that it owns the graph and borrows
/// nothing.
#[derive(Debug)]
struct GraphPieces {
    graph: Graph,
    /// Lists of children that are being written, from the roots down, with the next position in each.
    levels: Vec<(Option<NodeId>, usize)>,
    /// Node whose properties are being written, with the index of the next property.
    node: Option<(NodeId, usize)>,
}

impl GraphPieces {
    fn new(graph: Graph) -> Self {
        Self {
            graph,
            levels: vec![(None, 0)],
            node: None,
        }
    }

    fn is_done(&self) -> bool {
        self.levels.is_empty()
    }

    /// Writes until `out` holds at least `bytes` bytes, or to the end. The last value or node is completed, so the
    /// output may be longer.
    fn write(&mut self, out: &mut Vec<u8>, bytes: usize) -> serde_json::Result<()> {
        while out.len() < bytes && !self.is_done() {
            match self.node.take() {
                Some((id, next)) => self.write_node(out, bytes, id, next)?,
                None => self.step(out)?,
            }
        }
        Ok(())
    }

    /// Begins the next node of the innermost list, or ends the list.
    fn step(&mut self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let Some((parent, next)) = self.levels.last_mut() else {
            return Ok(());
        };
        let child = self.graph.children(*parent).and_then(|children| children.get(*next));
        let Some((id, node)) = child.and_then(|id| Some((id, self.graph.node(id)?))) else {
            out.extend_from_slice(b"]}");
            self.levels.pop();
            return Ok(());
        };
        if *next > 0 {
            out.push(b',');
        }
        *next += 1;
        let content = &node.content;
        out.extend_from_slice(br#"{"id":"#);
        serde_json::to_writer(&mut *out, &id)?;
        out.extend_from_slice(br#","name":"#);
        serde_json::to_writer(&mut *out, &*content.name)?;
        out.extend_from_slice(br#","blueprint_type_id":"#);
        serde_json::to_writer(&mut *out, &content.type_id)?;
        out.extend_from_slice(br#","parent_id":"#);
        serde_json::to_writer(&mut *out, &node.parent())?;
        out.extend_from_slice(br#","properties":{"#);
        self.node = Some((id, 0));
        Ok(())
    }

    /// Writes the properties of a node from index `next` on. After the last property, writes the remaining fields up to
    /// the list of children.
    fn write_node(&mut self, out: &mut Vec<u8>, bytes: usize, id: NodeId, next: usize) -> serde_json::Result<()> {
        let Some(node) = self.graph.node(id) else {
            return Ok(());
        };
        let properties = &node.content.properties;
        for (number, (property, value)) in properties.iter().enumerate().skip(next) {
            if out.len() >= bytes {
                self.node = Some((id, number));
                return Ok(());
            }
            if number > 0 {
                out.push(b',');
            }
            serde_json::to_writer(&mut *out, property)?;
            out.push(b':');
            serde_json::to_writer(&mut *out, value)?;
        }
        out.push(b'}');
        if let Some(metadata) = node.content.metadata.as_deref() {
            out.extend_from_slice(br#","metadata":"#);
            serde_json::to_writer(&mut *out, metadata)?;
        }
        out.extend_from_slice(br#","children":["#);
        self.levels.push((Some(id), 0));
        Ok(())
    }
}

/// Incremental encoder of an object: the fields of a head, then a graph as `graph`.
#[derive(Debug)]
pub struct GraphEncoder {
    head: Vec<u8>,
    graph: GraphPieces,
    tail: Vec<u8>,
}

impl GraphEncoder {
    /// Starts with the fields of `head`, which has to be an object.
    ///
    /// # Errors
    /// Returns an error if `head` cannot be serialised.
    pub fn new(head: &(impl Serialize + ?Sized), graph: Graph) -> serde_json::Result<Self> {
        let mut head = serde_json::to_vec(head)?;
        head.pop();
        if head.len() > 1 {
            head.push(b',');
        }
        head.extend_from_slice(br#""graph":{"roots":["#);
        Ok(Self {
            head,
            graph: GraphPieces::new(graph),
            tail: b"}".to_vec(),
        })
    }

    /// Surrounds the object with two texts.
    #[must_use]
    pub fn between(mut self, before: &str, after: &str) -> Self {
        self.head.splice(0..0, before.bytes());
        self.tail.extend_from_slice(after.as_bytes());
        self
    }

    /// Returns true if all pieces are written.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.graph.is_done() && self.tail.is_empty()
    }

    /// Returns the next piece of at least `bytes` bytes, extended to the end of its last value or node. `None`: after
    /// the end.
    pub fn next_piece(&mut self, bytes: usize) -> Option<Vec<u8>> {
        if self.is_done() {
            return None;
        }
        let mut out = std::mem::take(&mut self.head);
        // The types of this module always serialise, and a write to a vector cannot fail.
        self.graph.write(&mut out, bytes).ok()?;
        if self.graph.is_done() {
            out.append(&mut self.tail);
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use talus_actors::domain::content::NodeContent;

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

    /// Builds the same tree by plain recursion, for comparison.
    fn recursive_json(graph: &Graph, id: NodeId) -> serde_json::Value {
        let node = graph.node(id).expect("a node of the graph");
        json!({
            "id": id, "name": node.content.name, "blueprint_type_id": node.content.type_id, "parent_id": node.parent(),
            "properties": node.content.properties,
            "children": node.children().iter().map(|child| recursive_json(graph, child)).collect::<Vec<_>>(),
        })
    }

    #[test]
    fn graph_json_equals_recursive_encoding() {
        let mut graph = Graph::default();
        for number in 0..500_usize {
            // Some nodes are roots, others have an earlier node as parent: the tree has bushy, deep and wide parts.
            let parent = (number % 7 != 0).then(|| id(number * 31 % number));
            let end = graph
                .children(parent)
                .map_or(0, talus_actors::domain::siblings::Siblings::len);
            graph
                .insert(id(number), content(&format!("\"{number}\\\n")), parent, end / 2)
                .expect("fits");
        }
        let expected =
            json!({ "roots": graph.roots().iter().map(|root| recursive_json(&graph, root)).collect::<Vec<_>>() });
        let written: serde_json::Value = serde_json::from_str(graph_json(&graph).get()).expect("JSON");
        assert_eq!(written, expected);
        assert_eq!(graph_json(&Graph::default()).get(), r#"{"roots":[]}"#);
    }

    /// P9: a graph is the same in pieces of any size, and a piece exceeds its requested size by one value at most.
    #[test]
    fn graph_pieces_equal_the_graph_and_are_bounded() {
        let mut graph = Graph::default();
        for number in 0..300_usize {
            let parent = (number % 7 != 0).then(|| id(number * 31 % number));
            let mut one = content(&format!("node {number}"));
            for property in 0..number % 5 {
                let value = serde_json::from_value(json!("v".repeat(property * 100))).expect("a value");
                let key = talus_actors::domain::ids::PropertyId::new(format!("p{property}"));
                one.properties.insert(key, value);
            }
            if number % 50 == 0 {
                one.metadata = Some(serde_json::from_value(json!({"orphaned": true})).expect("a value"));
            }
            graph.insert(id(number), one, parent, 0).expect("fits");
        }
        let head = json!({"seq": 1});
        let expected = format!(r#"a{{"seq":1,"graph":{}}}b"#, graph_json(&graph));
        for bytes in [1, 100, 1_000, usize::MAX] {
            let mut pieces = GraphEncoder::new(&head, graph.clone())
                .expect("an object")
                .between("a", "b");
            let (mut text, mut largest) = (Vec::new(), 0);
            while let Some(piece) = pieces.next_piece(bytes) {
                largest = largest.max(piece.len());
                text.extend_from_slice(&piece);
            }
            assert_eq!(
                String::from_utf8(text).expect("UTF-8"),
                expected,
                "in pieces of {bytes}"
            );
            assert!(largest <= bytes.saturating_add(1_000), "{largest} in pieces of {bytes}");
        }
        let mut empty = GraphEncoder::new(&json!({}), Graph::default()).expect("an object");
        assert_eq!(
            empty.next_piece(100).as_deref(),
            Some(&br#"{"graph":{"roots":[]}}"#[..])
        );
        assert!(empty.is_done());
    }

    #[test]
    fn graph_json_writes_maximum_depth_and_width() {
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
    fn graph_json_contains_metadata() {
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
