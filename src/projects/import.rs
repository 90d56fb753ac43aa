//! Import: converts a document of any known format to a graph.
//!
//! First every format becomes a flat list of nodes with their links ([`shape`]). Then the links are resolved and the
//! graph is built ([`build`]). No step recurses on the tree, and each step is linear in its size.

pub(super) mod build;
mod shape;

use std::collections::BTreeMap;

use ecow::EcoString;
use serde_json::{Map, Value as Json};
use talus_actors::domain::{
    graph::Graph,
    ids::{NodeId, PropertyId, TemplateId, TypeId},
    limits::{LimitExceeded, Limits, NameError, check_depth, check_name},
    value::Value,
};

use super::{Vocabulary, vocabulary::NameProperties};

/// Tolerance for names that a command would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Project file: a node with a blank name gets the default name of a new node, and control characters in a name
    /// become spaces. The predecessor accepts such names, and a project is not lost over a name.
    File,
    /// Graph in a request: names obey the rules of commands.
    Request,
}

/// Content of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Tree of the document.
    pub graph: Graph,
    /// Top-level fields that the hub does not interpret.
    pub extras: BTreeMap<EcoString, Value>,
    /// Nodes of which the template does not know the type or some properties. The nodes are kept.
    pub orphans: Vec<Orphan>,
    /// Name of the project from the document, or else the name of its only root.
    pub project_name: Option<EcoString>,
}

/// Node whose type or properties are not part of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Id of the node.
    pub node_id: NodeId,
    /// True if the template does not have the node's type.
    pub unknown_type: bool,
    /// Properties that the node's type does not have.
    pub properties: Vec<PropertyId>,
}

/// Reason why a document is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The document is not a graph.
    #[error("{path}: {reason}")]
    Invalid {
        /// Path of the fault in the document.
        path: String,
        /// Fault at the path.
        reason: String,
    },
    /// The document exceeds a limit of the hub.
    #[error("{path}: {exceeded}")]
    Limit {
        /// Path of the fault in the document.
        path: String,
        /// Limit that is exceeded.
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

/// Top-level fields that the hub knows from elsewhere or writes anew.
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

/// Field that maps each type to the property that holds the name of its nodes.
const NAME_PROPERTIES: &str = "name_properties";

/// Returns the template that a document names, from each of the fields that files use.
///
/// # Errors
/// Returns an error if the field cannot be a template's id.
pub fn template_in_force(document: &Json) -> Result<Option<TemplateId>, ImportError> {
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

/// Imports a document, or the graph within a document.
///
/// # Errors
/// Returns the path of the fault. A document is imported as a whole or not at all.
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
        None => (take_graph(&mut document), ""),
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

/// Takes the graph out of a document that holds it at the top level.
fn take_graph(document: &mut Map<String, Json>) -> Map<String, Json> {
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
            Err(NameError::TooLong(exceeded)) => Err(ImportError::limit(KEY, exceeded)),
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
