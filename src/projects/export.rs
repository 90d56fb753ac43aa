//! Export of project files: the format of the predecessor's newer versions, readable by its front end, with the hub's
//! own fields added.

use std::{collections::BTreeMap, sync::Arc};

use ecow::EcoString;
use serde::Serialize;
use talus_actors::domain::{
    document::Extras,
    graph::{Graph, Node},
    ids::{Epoch, NodeId, ProjectId, PropertyId, Seq, SessionId, TemplateId, TypeId},
    orphans::{ORPHANED, ORPHANED_PROPERTIES},
    value::Value,
};

use super::{Vocabulary, import::build::with_orphan_marks};

/// Name and version of the file format, for readers of the file.
const FORMAT: &str = "talus-hub/1";

/// Content of a project file.
#[derive(Debug, Clone, Copy)]
pub struct ProjectDocument<'a> {
    /// Session whose state is written.
    pub session_id: SessionId,
    /// Epoch of the session's log.
    pub epoch: Epoch,
    /// Sequence number of the state within the epoch.
    pub seq: Seq,
    /// Id of the project.
    pub project_id: &'a ProjectId,
    /// Name of the project; `None`: the project has no name.
    pub project_name: Option<&'a str>,
    /// Template of the project; `None`: the project has no template.
    pub template_id: Option<&'a TemplateId>,
    /// Top-level fields that an import kept without interpreting them.
    pub extras: &'a Extras,
    /// Tree of the project.
    pub graph: &'a Graph,
    /// Meaning of type and property words, from the template.
    pub vocabulary: Vocabulary<'a>,
}

#[derive(Serialize)]
struct FileBody<'a> {
    format: &'static str,
    session_id: SessionId,
    epoch: Epoch,
    seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_name: Option<&'a str>,
    template_id: Option<&'a TemplateId>,
    /// For each type, the UUID of the property that holds the name, for readers of the file without the template.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    name_properties: BTreeMap<&'a TypeId, &'a PropertyId>,
    graph: GraphBody<'a>,
    #[serde(flatten)]
    extras: &'a BTreeMap<EcoString, Value>,
}

#[derive(Serialize)]
struct GraphBody<'a> {
    id: &'a ProjectId,
    nodes: Vec<NodeBody<'a>>,
    edges: [(); 0],
}

#[derive(Serialize)]
struct NodeBody<'a> {
    id: NodeId,
    name: &'a str,
    r#type: &'a TypeId,
    properties: BTreeMap<&'a str, PropertyBody<'a>>,
    children: Vec<NodeId>,
    metadata: Value,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PropertyBody<'a> {
    Name(&'a str),
    Value(&'a Value),
}

/// Serialises a project file. Nodes are listed in document order, so parents precede their children. The depth of the
/// JSON is constant, whatever the depth of the tree.
#[must_use]
pub fn project_file(document: &ProjectDocument<'_>) -> Vec<u8> {
    let nodes = document
        .graph
        .walk(None)
        .nodes()
        .map(|(id, node)| node_body(id, node, document.vocabulary))
        .collect();
    let body = FileBody {
        format: FORMAT,
        session_id: document.session_id,
        epoch: document.epoch,
        seq: document.seq,
        project_name: document.project_name,
        template_id: document.template_id,
        name_properties: name_properties(document),
        graph: GraphBody {
            id: document.project_id,
            nodes,
            edges: [],
        },
        extras: document.extras,
    };
    // An indent of two spaces, as the predecessor writes. The types of this module always serialise.
    let mut bytes = serde_json::to_vec_pretty(&body).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn name_properties<'a>(document: &ProjectDocument<'a>) -> BTreeMap<&'a TypeId, &'a PropertyId> {
    let vocabulary = document.vocabulary;
    let types = document.graph.nodes().map(|(_, node)| &node.content.type_id);
    types
        .filter_map(|type_id| Some((type_id, vocabulary.name_property(type_id)?)))
        .collect()
}

fn node_body<'a>(id: NodeId, node: &'a Node, vocabulary: Vocabulary<'a>) -> NodeBody<'a> {
    let content = &node.content;
    let name = PropertyBody::Name;
    let mut properties: BTreeMap<&str, PropertyBody<'_>> = content
        .properties
        .iter()
        .map(|(id, value)| (id.as_str(), PropertyBody::Value(value)))
        .collect();
    // The predecessor stores the name in three places.
    properties.insert(PropertyId::NAME, name(&content.name));
    if let Some(uuid) = vocabulary.name_property(&content.type_id) {
        properties.insert(uuid.as_str(), name(&content.name));
    }
    NodeBody {
        id,
        name: &content.name,
        r#type: &content.type_id,
        properties,
        children: node.children().iter().collect(),
        metadata: metadata(node, vocabulary),
    }
}

/// Returns the node's metadata with its current orphan marks.
fn metadata(node: &Node, vocabulary: Vocabulary<'_>) -> Value {
    let mut own = node.content.metadata.as_deref().cloned();
    if let Some(Value::Object(members)) = &mut own {
        let members = Arc::make_mut(members);
        members.remove(ORPHANED);
        members.remove(ORPHANED_PROPERTIES);
    }
    match vocabulary.orphaned(&node.content) {
        Some((unknown_type, properties)) => with_orphan_marks(own, unknown_type, &properties),
        None => own.unwrap_or_else(|| Value::Object(Arc::default())),
    }
}
