//! Writing project files: the predecessor's newer shape, so that its front end reads them, and ours beside it.

use std::{collections::BTreeMap, sync::Arc};

use ecow::EcoString;
use serde::Serialize;
use talus_actors::domain::{
    event::Extras,
    graph::{Graph, Node},
    ids::{Epoch, NodeId, ProjectId, PropertyId, Seq, SessionId, TemplateId, TypeId},
    orphans::{ORPHANED, ORPHANED_PROPERTIES},
    value::Value,
};

use super::{Vocabulary, import::build::marked};

/// The format's name and version, for whoever reads the file.
const FORMAT: &str = "talus-hub/1";

/// What goes into a project file.
#[derive(Debug, Clone, Copy)]
pub struct ProjectDocument<'a> {
    /// The session that it is of.
    pub session_id: SessionId,
    /// The session's log.
    pub epoch: Epoch,
    /// The place in it.
    pub seq: Seq,
    /// The project.
    pub project_id: &'a ProjectId,
    /// Its name, if it has one.
    pub project_name: Option<&'a str>,
    /// Its template, if it has one.
    pub template_id: Option<&'a TemplateId>,
    /// What else the file held.
    pub extras: &'a Extras,
    /// The tree.
    pub graph: &'a Graph,
    /// What the words mean.
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
    /// By type, the uuid that the name has among the properties: for whoever reads the file without the template.
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

/// The bytes of a project file: nodes in document order, so parents before children, and no deeper than any other
/// file whatever the tree.
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
    // Two spaces, as the predecessor writes; our own types always serialize.
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
    // The predecessor has the name three times.
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

/// The node's own, with the marks that it deserves now.
fn metadata(node: &Node, vocabulary: Vocabulary<'_>) -> Value {
    let mut own = node.content.metadata.as_deref().cloned();
    if let Some(Value::Object(members)) = &mut own {
        let members = Arc::make_mut(members);
        members.remove(ORPHANED);
        members.remove(ORPHANED_PROPERTIES);
    }
    match vocabulary.orphaned(&node.content) {
        Some((unknown_type, properties)) => marked(own, unknown_type, &properties),
        None => own.unwrap_or_else(|| Value::Object(Arc::default())),
    }
}
