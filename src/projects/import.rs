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
    ids::{NodeId, PropertyId, TemplateId, TypeId},
    limits::{LimitExceeded, Limits, NameFault, check_depth, check_name},
    value::Value,
};

use super::{Vocabulary, vocabulary::NameProperties};

/// How much of a document may be other than a command would have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// A project's file: a node whose name is blank gets the one that a new node has, and control characters in a name
    /// become spaces. The predecessor lets such names be given, and a project is not lost for want of a name.
    File,
    /// A graph in a request: names are held to the rules of commands.
    Request,
}

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
const OWN_KEYS: [&str; 13] = [
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
    NAME_PROPERTIES,
];

/// By type, the property that is the name of its nodes.
const NAME_PROPERTIES: &str = "name_properties";

/// The template that a document names, in any of the places where files do.
///
/// # Errors
/// If what stands there cannot be a template's id.
pub fn template_of(document: &Json) -> Result<Option<TemplateId>, ImportError> {
    let listed = || match document.get("templates") {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Array(templates)) => Ok(templates.first()),
        Some(_) => Err(ImportError::invalid("templates", "must be a list")),
    };
    let there = |value: Option<&Json>| value.is_some_and(|value| !value.is_null());
    let own = document.get("template_id");
    let of_graph = document.get("graph").and_then(|graph| graph.get("template_id"));
    let (path, written) = if there(own) {
        ("template_id", own)
    } else if there(of_graph) {
        ("graph.template_id", of_graph)
    } else {
        ("templates[0]", listed()?)
    };
    let name = match written {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::String(name)) if name.is_empty() => return Ok(None),
        Some(Json::String(name)) => name,
        Some(_) => return Err(ImportError::invalid(path, "must be a string")),
    };
    let stem = [".yaml", ".yml"].iter().find_map(|ending| name.strip_suffix(ending));
    let id = stem.unwrap_or(name).parse();
    id.map(Some)
        .map_err(|_| ImportError::invalid(path, format!("{name:?} is no template's id")))
}

/// Reads a document, or the graph in one.
///
/// # Errors
/// Names the place at fault. Nothing of a document is taken if not all of it can be.
pub fn import(
    document: Json,
    vocabulary: Vocabulary<'_>,
    limits: &Limits,
    strictness: Strictness,
) -> Result<Imported, ImportError> {
    let Json::Object(mut document) = document else {
        return Err(ImportError::invalid("", "a document is an object"));
    };
    let (graph, at) = match document.remove("graph") {
        Some(Json::Object(graph)) => (graph, "graph."),
        Some(_) => return Err(ImportError::invalid("graph", "must be an object")),
        None => (take_own(&mut document), ""),
    };
    let named = project_name(&mut document, limits)?;
    let names = name_properties(document.remove(NAME_PROPERTIES))?;
    let nodes = shape::read(graph, at, limits)?;
    let (graph, orphans) = build::build(nodes, vocabulary.with_names(&names), limits, strictness)?;
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

fn project_name(document: &mut Map<String, Json>, limits: &Limits) -> Result<Option<EcoString>, ImportError> {
    const KEY: &str = "project_name";
    match document.remove(KEY) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(name)) => match check_name(&name, limits) {
            Ok(()) => Ok(Some(name.into())),
            Err(NameFault::TooLong(exceeded)) => Err(ImportError::limit(KEY, exceeded)),
            Err(fault) => Err(ImportError::invalid(KEY, fault.to_string())),
        },
        Some(_) => Err(ImportError::invalid(KEY, "must be a string")),
    }
}

fn name_properties(written: Option<Json>) -> Result<NameProperties, ImportError> {
    let written = match written {
        None | Some(Json::Null) => return Ok(NameProperties::new()),
        Some(Json::Object(written)) => written,
        Some(_) => return Err(ImportError::invalid(NAME_PROPERTIES, "must be an object")),
    };
    let ids = written.into_iter().map(|(type_id, property)| match property {
        Json::String(property) => Ok((TypeId::new(type_id.as_str()), PropertyId::new(property))),
        _ => Err(ImportError::invalid(
            format!("{NAME_PROPERTIES}.{type_id}"),
            "must be a string",
        )),
    });
    ids.collect()
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
