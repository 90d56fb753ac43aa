//! placeholder: graph JSON
use serde_json::value::RawValue;
use talus_actors::domain::graph::{Graph, Step};

/// graph as `{"roots":[…]}`
#[must_use]
pub fn graph_json(graph: &Graph) -> Box<RawValue> {
    let mut out = Vec::new();
    out.extend_from_slice(br#"{"roots":["#);
    for step in graph.walk(None) {
        match step {
            Step::Enter(id, node) => {
                if out.last() == Some(&b'}') {
                    out.push(b',');
                }
                let head = serde_json::json!({"id": id, "name": node.content.name, "blueprint_type_id": node.content.type_id, "parent_id": node.parent(), "properties": node.content.properties});
                let text = head.to_string();
                out.extend_from_slice(&text.as_bytes()[..text.len() - 1]);
                out.extend_from_slice(br#","children":["#);
            }
            Step::Leave(..) => out.extend_from_slice(b"]}"),
        }
    }
    out.extend_from_slice(b"]}");
    RawValue::from_string(String::from_utf8(out).unwrap_or_default()).unwrap_or_default()
}
