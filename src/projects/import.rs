//! From a document to a graph, whoever wrote it and when.
//!
//! First every shape becomes a flat list of nodes with what each says of its place ([`shape`]); then places are settled
//! and the graph is built ([`build`]). No step recurses on the tree, and each is linear in it.

pub(super) mod build;
mod shape;

use std::collections::BTreeMap;

use ecow::EcoString;
use serde_json::{Map, Value as Json};
use talus_actors::domain::{
    graph::Graph,
    ids::{NodeId, PropertyId},
    limits::{LimitExceeded, Limits, check_depth},
    value::Value,
};

use super::Vocabulary;

/// What a document holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The tree.
    pub graph: Graph,
    /// Top-level keys that the hub does not interpret.
    pub extras: BTreeMap<EcoString, Value>,
    /// What the template does not know, and was kept.
    pub orphans: Vec<Orphan>,
    /// The project's name, if the document says it; else that of its only root.
    pub project_name: Option<EcoString>,
}

/// A node that is not quite of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The node.
    pub node_id: NodeId,
    /// Whether the template does not have its type.
    pub unknown_type: bool,
    /// Properties that its type does not have.
    pub properties: Vec<PropertyId>,
}

/// Why a document is refused, whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is not a graph.
    #[error("{path}: {reason}")]
    Invalid {
        /// Where.
        path: String,
        /// What is wrong there.
        reason: String,
    },
    /// It is larger than the hub allows.
    #[error("{path}: {exceeded}")]
    Limit {
        /// Where.
        path: String,
        /// What is too large.
        exceeded: LimitExceeded,
    },
}

impl ImportError {
    fn invalid(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            path: path.into(),
            reason: reason.into(),
        }
    }

    fn limit(path: impl Into<String>, exceeded: LimitExceeded) -> Self {
        Self::Limit {
            path: path.into(),
            exceeded,
        }
    }
}

/// Top-level keys that say what the hub knows otherwise, or writes anew.
const OWN_KEYS: [&str; 12] = [
    "graph",
    "nodes",
    "roots",
    "edges",
    "template_id",
    "templates",
    "version",
    "format",
    "session_id",
    "epoch",
    "seq",
    "project_id",
];

/// The template that a document names.
#[must_use]
pub fn template_of(document: &Json) -> Option<&str> {
    let named = document.get("template_id").and_then(Json::as_str);
    let listed = || document.get("templates")?.get(0)?.as_str();
    let name = named.or_else(listed)?;
    Some(name.strip_suffix(".yaml").unwrap_or(name))
}

/// Reads a document, or the graph in one.
///
/// # Errors
/// Names the place at fault. Nothing of a document is taken if not all of it can be.
pub fn import(document: Json, vocabulary: Vocabulary<'_>, limits: &Limits) -> Result<Imported, ImportError> {
    let Json::Object(mut document) = document else {
        return Err(ImportError::invalid("", "a document is an object"));
    };
    let (graph, at) = match document.remove("graph") {
        Some(Json::Object(graph)) => (graph, "graph."),
        Some(_) => return Err(ImportError::invalid("graph", "must be an object")),
        None => (take_own(&mut document), ""),
    };
    let named = take_text(&mut document, "project_name", limits);
    let nodes = shape::read(graph, at, limits)?;
    let (graph, orphans) = build::build(nodes, vocabulary, limits)?;
    let extras = extras(document, limits)?;
    let only_root = || graph.roots().get(0).filter(|_| graph.roots().len() == 1);
    let root_name = || {
        only_root()
            .and_then(|id| graph.node(id))
            .map(|root| root.content.name.clone())
    };
    let project_name = named.or_else(root_name);
    Ok(Imported {
        graph,
        extras,
        orphans,
        project_name,
    })
}

/// The graph of a document that has it at the top.
fn take_own(document: &mut Map<String, Json>) -> Map<String, Json> {
    let keys = ["nodes", "roots", "edges"];
    keys.into_iter()
        .filter_map(|key| Some((key.to_owned(), document.remove(key)?)))
        .collect()
}

fn take_text(document: &mut Map<String, Json>, key: &str, limits: &Limits) -> Option<EcoString> {
    let text = document.remove(key)?;
    let text = text.as_str()?;
    talus_actors::domain::limits::check_name(text, limits)
        .ok()
        .map(|()| text.into())
}

fn extras(document: Map<String, Json>, limits: &Limits) -> Result<BTreeMap<EcoString, Value>, ImportError> {
    let mut extras = BTreeMap::new();
    for (key, value) in document {
        if OWN_KEYS.contains(&key.as_str()) {
            continue;
        }
        let value = Value::from(value);
        check_depth(&value).map_err(|exceeded| ImportError::limit(&key, exceeded))?;
        extras.insert(key.into(), value);
    }
    let (max, found) = (limits.properties_per_node_max, extras.len());
    if found > max {
        let exceeded = LimitExceeded {
            limit: "properties_per_node_max",
            max,
            found,
        };
        return Err(ImportError::limit("", exceeded));
    }
    Ok(extras)
}
