//! First step of an import: converts flat lists, maps by id, and trees to one list of nodes.

use serde_json::{Map, Value as Json};
use talus_actors::domain::{
    ids::NodeId,
    limits::{LimitExceeded, Limits},
};
use uuid::Uuid;

use super::ImportError;

/// Node of a document with the links that the node declares.
pub(super) struct NodeEntry {
    /// Path in the document, for messages.
    pub(super) path: String,
    pub(super) id: NodeId,
    /// Original id, if it is not a UUID.
    pub(super) alias: Option<String>,
    pub(super) fields: Map<String, Json>,
    /// Children that the node names, in order, each with its path.
    pub(super) children: Vec<(String, NodeId)>,
    /// Parent that the node names, with its path.
    pub(super) parent: Option<(String, NodeId)>,
}

/// Graph as a list of nodes with separate edges.
pub(super) struct Shape {
    pub(super) nodes: Vec<NodeEntry>,
    /// Edges from parent to child, each with its path.
    pub(super) edges: Vec<(String, NodeId, NodeId)>,
}

/// Reads a graph of any shape. `at` is the prefix of every path.
pub(super) fn read(mut graph: Map<String, Json>, at: &str, limits: &Limits) -> Result<Shape, ImportError> {
    let edges = match graph.remove("edges") {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Array(edges)) => read_edges(&edges, at)?,
        Some(_) => return Err(ImportError::invalid(format!("{at}edges"), "must be a list")),
    };
    let mut there = |key| graph.remove(key).filter(|value| !value.is_null());
    let nodes = match (there("roots"), there("nodes")) {
        (Some(_), Some(_)) => {
            return Err(ImportError::invalid(
                format!("{at}nodes"),
                "a graph has roots or nodes, not both",
            ));
        }
        (Some(Json::Array(roots)), _) => read_tree(roots, at, limits)?,
        (Some(_), _) => return Err(ImportError::invalid(format!("{at}roots"), "must be a list")),
        (None, Some(Json::Array(nodes))) => {
            let placed = nodes
                .into_iter()
                .enumerate()
                .map(|(index, node)| (format!("{at}nodes[{index}]"), None, node));
            read_flat(placed, limits)?
        }
        (None, Some(Json::Object(nodes))) => {
            let placed = nodes
                .into_iter()
                .map(|(key, node)| (format!("{at}nodes[{key:?}]"), Some(key), node));
            read_flat(placed, limits)?
        }
        (None, Some(_)) => {
            return Err(ImportError::invalid(
                format!("{at}nodes"),
                "must be a list or an object",
            ));
        }
        (None, None) => {
            let place = if at.is_empty() {
                "roots"
            } else {
                at.trim_end_matches('.')
            };
            return Err(ImportError::invalid(place, "neither roots nor nodes: this is no graph"));
        }
    };
    Ok(Shape { nodes, edges })
}

/// Checks the limit on nodes while nodes are read, so that a document far beyond the limit is not read to its end.
fn count(nodes: &[NodeEntry], path: &str, limits: &Limits) -> Result<(), ImportError> {
    let (max, found) = (limits.nodes_max, nodes.len() + 1);
    if found > max {
        return Err(ImportError::limit(
            path,
            LimitExceeded {
                limit: "nodes_per_session_max",
                max,
                found,
            },
        ));
    }
    Ok(())
}

fn read_tree(roots: Vec<Json>, at: &str, limits: &Limits) -> Result<Vec<NodeEntry>, ImportError> {
    type Level = (String, Option<NodeId>, std::iter::Enumerate<std::vec::IntoIter<Json>>);
    let mut nodes: Vec<NodeEntry> = Vec::new();
    let mut levels: Vec<Level> = vec![(format!("{at}roots"), None, roots.into_iter().enumerate())];
    while let Some((list, parent, items)) = levels.last_mut() {
        let Some((index, item)) = items.next() else {
            levels.pop();
            continue;
        };
        let path = format!("{list}[{index}]");
        let parent = parent.map(|parent| (path.clone(), parent));
        count(&nodes, &path, limits)?;
        let (mut found, children) = read_node(path, None, item)?;
        // In a tree the position of a node determines its parent, and overrides the parent field.
        found.parent = parent;
        let (max, depth) = (limits.depth_max, levels.len());
        if depth > max {
            let exceeded = LimitExceeded {
                limit: "depth_max",
                max,
                found: depth,
            };
            return Err(ImportError::limit(found.path, exceeded));
        }
        levels.push((
            format!("{}.children", found.path),
            Some(found.id),
            children.into_iter().enumerate(),
        ));
        nodes.push(found);
    }
    Ok(nodes)
}

fn read_flat(
    placed: impl Iterator<Item = (String, Option<String>, Json)>,
    limits: &Limits,
) -> Result<Vec<NodeEntry>, ImportError> {
    let mut nodes = Vec::new();
    for (path, key, node) in placed {
        count(&nodes, &path, limits)?;
        let (mut found, children) = read_node(path, key, node)?;
        for (index, child) in children.iter().enumerate() {
            let path = format!("{}.children[{index}]", found.path);
            let id = node_id(child, &path)?.0;
            found.children.push((path, id));
        }
        nodes.push(found);
    }
    Ok(nodes)
}

/// Reads a node's own fields, and its list of children unparsed.
fn read_node(path: String, key: Option<String>, node: Json) -> Result<(NodeEntry, Vec<Json>), ImportError> {
    let Json::Object(mut fields) = node else {
        return Err(ImportError::invalid(path, "a node is an object"));
    };
    let id_path = format!("{path}.id");
    let written = fields.remove("id").or(key.map(Json::String));
    let written = written.ok_or_else(|| ImportError::invalid(&id_path, "is required"))?;
    let (id, alias) = node_id(&written, &id_path)?;
    let children = match first(&mut fields, &["children", "child_ids", "childIds"]) {
        None => Vec::new(),
        Some((_, Json::Array(children))) => children,
        Some((spelling, _)) => return Err(ImportError::invalid(format!("{path}.{spelling}"), "must be a list")),
    };
    let parent = match first(&mut fields, &["parent_id", "parentId"]) {
        None => None,
        Some((spelling, parent)) => {
            let parent_path = format!("{path}.{spelling}");
            let parent_id = node_id(&parent, &parent_path)?.0;
            Some((parent_path, parent_id))
        }
    };
    Ok((
        NodeEntry {
            path,
            id,
            alias,
            fields,
            children: Vec::new(),
            parent,
        },
        children,
    ))
}

/// Removes a field under all its spellings. Returns the value of the first spelling that is present, with that
/// spelling. A null value counts as absent.
pub(super) fn first<'a>(fields: &mut Map<String, Json>, spellings: &[&'a str]) -> Option<(&'a str, Json)> {
    let mut found = None;
    for spelling in spellings {
        let value = fields.remove(*spelling).filter(|value| !value.is_null());
        found = found.or(value.map(|value| (*spelling, value)));
    }
    found
}

fn read_edges(edges: &[Json], at: &str) -> Result<Vec<(String, NodeId, NodeId)>, ImportError> {
    let mut links = Vec::new();
    for (index, edge) in edges.iter().enumerate() {
        let path = format!("{at}edges[{index}]");
        let end = |spellings: [&str; 3]| spellings.iter().find_map(|spelling| edge.get(spelling));
        let (parent, child) = (
            end(["source", "parent_id", "parent"]),
            end(["target", "child_id", "child"]),
        );
        let (Some(parent), Some(child)) = (parent, child) else {
            return Err(ImportError::invalid(
                path,
                "an edge has source and target, or parent_id and child_id",
            ));
        };
        links.push((path.clone(), node_id(parent, &path)?.0, node_id(child, &path)?.0));
    }
    Ok(links)
}

/// Parses an id. An id that is not a UUID is returned as an alias, too. The predecessor derived such ids from names;
/// references use the same names.
fn node_id(written: &Json, path: &str) -> Result<(NodeId, Option<String>), ImportError> {
    let Some(text) = written.as_str().filter(|text| !text.is_empty()) else {
        return Err(ImportError::invalid(path, "an id is a string that is not empty"));
    };
    Ok(match text.parse() {
        Ok(id) => (id, None),
        Err(_) => (alias_id(text), Some(text.to_owned())),
    })
}

/// Derives the UUID for an id that is not a UUID.
pub(super) fn alias_id(text: &str) -> NodeId {
    NodeId::new(Uuid::new_v5(&Uuid::NAMESPACE_DNS, text.as_bytes()))
}
