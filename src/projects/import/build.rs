//! From a list of nodes to a graph: places are settled, words translated, limits held.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ecow::EcoString;
use serde_json::{Map, Value as Json};
use talus_actors::domain::{
    command::CreateNode,
    graph::{Graph, NodeContent},
    ids::{NodeId, PropertyId, TypeId},
    limits::{LimitExceeded, Limits, NameFault, check_depth, check_name, check_value},
    properties::Properties,
    value::Value,
};

use super::{
    ImportError, Orphan,
    shape::{Found, Shape, alias_id, first},
};
use crate::projects::{Vocabulary, vocabulary::Meaning};

/// Where every node is.
struct Places {
    children: BTreeMap<NodeId, Vec<NodeId>>,
    parents: BTreeMap<NodeId, NodeId>,
}

pub(super) fn build(
    shape: Shape,
    vocabulary: Vocabulary<'_>,
    limits: &Limits,
) -> Result<(Graph, Vec<Orphan>), ImportError> {
    let ids = distinct(&shape.nodes)?;
    let places = settle(&shape, &ids)?;
    let aliases: BTreeSet<String> = shape.nodes.iter().filter_map(|node| node.alias.clone()).collect();
    let reader = Reader {
        vocabulary,
        limits,
        aliases: &aliases,
    };
    let order: Vec<NodeId> = shape.nodes.iter().map(|node| node.id).collect();
    let mut contents = BTreeMap::new();
    let mut orphans = Vec::new();
    for Found { path, id, fields, .. } in shape.nodes {
        let mut content = reader.content(&path, fields)?;
        if let Some((unknown_type, properties)) = vocabulary.orphaned(&content) {
            let metadata = content.metadata.map(|own| *own);
            content.metadata = Some(Box::new(marked(metadata, unknown_type, &properties)));
            orphans.push(Orphan {
                node_id: id,
                unknown_type,
                properties,
            });
        }
        contents.insert(id, (path, content));
    }
    let graph = plant(&order, &places, contents, limits)?;
    Ok((graph, orphans))
}

/// The ids, each of one node.
fn distinct(nodes: &[Found]) -> Result<BTreeSet<NodeId>, ImportError> {
    let mut ids = BTreeSet::new();
    for node in nodes {
        if !ids.insert(node.id) {
            return Err(ImportError::invalid(
                format!("{}.id", node.path),
                format!("{} is used twice", node.id),
            ));
        }
    }
    Ok(ids)
}

/// Lists of children say the order; a parent or an edge that says the same says nothing new, and one that no list has
/// adds the node at the end.
fn settle(shape: &Shape, ids: &BTreeSet<NodeId>) -> Result<Places, ImportError> {
    let mut places = Places {
        children: BTreeMap::new(),
        parents: BTreeMap::new(),
    };
    let listed = shape
        .nodes
        .iter()
        .flat_map(|node| node.children.iter().map(|(path, child)| (path, node.id, *child, true)));
    let named = shape.nodes.iter().filter_map(|node| {
        node.parent
            .as_ref()
            .map(|(path, parent)| (path, *parent, node.id, false))
    });
    let edges = shape
        .edges
        .iter()
        .map(|(path, parent, child)| (path, *parent, *child, false));
    for (path, parent, child, must_be_new) in listed.chain(named).chain(edges) {
        for end in [parent, child] {
            if !ids.contains(&end) {
                return Err(ImportError::invalid(path, format!("node {end} does not exist")));
            }
        }
        match places.parents.insert(child, parent) {
            None => places.children.entry(parent).or_default().push(child),
            Some(other) if other != parent => {
                return Err(ImportError::invalid(
                    path,
                    format!("node {child} has two parents, {other} and {parent}"),
                ));
            }
            Some(_) if must_be_new => {
                return Err(ImportError::invalid(path, format!("node {child} is named twice")));
            }
            Some(_) => {}
        }
    }
    Ok(places)
}

/// Builds the graph from the roots down. What is not reached hangs in a cycle.
fn plant(
    order: &[NodeId],
    places: &Places,
    mut contents: BTreeMap<NodeId, (String, NodeContent)>,
    limits: &Limits,
) -> Result<Graph, ImportError> {
    let mut graph = Graph::default();
    let is_root = |id: &&NodeId| !places.parents.contains_key(id);
    // Depth first, so that a parent is there before its children and they come in their order.
    let mut ahead: Vec<(NodeId, usize)> = order.iter().filter(is_root).rev().map(|id| (*id, 1)).collect();
    while let Some((id, depth)) = ahead.pop() {
        let Some((path, content)) = contents.remove(&id) else {
            continue;
        };
        let max = limits.depth_max;
        if depth > max {
            return Err(ImportError::limit(
                path,
                LimitExceeded {
                    limit: "depth_max",
                    max,
                    found: depth,
                },
            ));
        }
        let parent = places.parents.get(&id).copied();
        let end = graph
            .children(parent)
            .map_or(0, talus_actors::domain::siblings::Siblings::len);
        graph
            .insert(id, content, parent, end)
            .map_err(|misfit| ImportError::invalid(path, misfit.to_string()))?;
        let children = places.children.get(&id).into_iter().flatten();
        ahead.extend(children.rev().map(|child| (*child, depth + 1)));
    }
    match order.iter().find_map(|id| contents.get(id)) {
        None => Ok(graph),
        Some((path, _)) => Err(ImportError::invalid(path, "the node is its own ancestor")),
    }
}

struct Reader<'a> {
    vocabulary: Vocabulary<'a>,
    limits: &'a Limits,
    /// Ids as they were written, of nodes that have another one now.
    aliases: &'a BTreeSet<String>,
}

impl Reader<'_> {
    fn content(&self, path: &str, mut fields: Map<String, Json>) -> Result<NodeContent, ImportError> {
        let word = match first(&mut fields, &["type", "blueprint_type_id", "blueprintType"]) {
            Some(Json::String(word)) if !word.is_empty() => word,
            Some(_) => {
                return Err(ImportError::invalid(
                    format!("{path}.type"),
                    "must be a string that is not empty",
                ));
            }
            None => return Err(ImportError::invalid(format!("{path}.type"), "is required")),
        };
        // A type that the template does not have is kept as it was written.
        let type_id = self
            .vocabulary
            .type_id(&word)
            .unwrap_or_else(|| TypeId::new(word.as_str()));
        let own_name = first(&mut fields, &["name", "label"]);
        let properties = match fields.remove("properties") {
            None | Some(Json::Null) => Map::new(),
            Some(Json::Object(properties)) => properties,
            Some(_) => return Err(ImportError::invalid(format!("{path}.properties"), "must be an object")),
        };
        let (properties, property_name) = self.properties(path, &type_id, properties)?;
        let name = self.name(path, own_name.or(property_name))?;
        let metadata = self.metadata(path, fields.remove("metadata"))?;
        Ok(NodeContent {
            name,
            type_id,
            properties,
            metadata: metadata.map(Box::new),
        })
    }

    /// The properties by id, and the name if it is among them: a node has one name, so it does not stay there.
    fn properties(
        &self,
        path: &str,
        type_id: &TypeId,
        written: Map<String, Json>,
    ) -> Result<(Properties, Option<Json>), ImportError> {
        let (mut properties, mut name) = (Properties::new(), None);
        for (word, value) in written {
            let at = || format!("{path}.properties.{word}");
            let (id, is_reference) = match self.vocabulary.property(type_id, &word) {
                Meaning::Name => {
                    // The slug says it, if both do.
                    if name.is_none() || word == PropertyId::NAME {
                        name = Some(value);
                    }
                    continue;
                }
                Meaning::Property { id, is_reference } => (id, is_reference),
                Meaning::Unknown if word.is_empty() => return Err(ImportError::invalid(at(), "a property has a name")),
                Meaning::Unknown => (PropertyId::new(word.as_str()), false),
            };
            let value = Value::from(if is_reference { self.renamed(value) } else { value });
            check_value(&value, self.limits).map_err(|exceeded| ImportError::limit(at(), exceeded))?;
            if properties.insert(id, value).is_some() {
                return Err(ImportError::invalid(
                    at(),
                    "the property is there twice, by slug and by id",
                ));
            }
        }
        let (max, found) = (self.limits.properties_per_node_max, properties.len());
        if found > max {
            let exceeded = LimitExceeded {
                limit: "properties_per_node_max",
                max,
                found,
            };
            return Err(ImportError::limit(format!("{path}.properties"), exceeded));
        }
        Ok((properties, name))
    }

    /// References follow the nodes that got another id.
    fn renamed(&self, value: Json) -> Json {
        match value {
            Json::String(text) if self.aliases.contains(&text) => Json::String(alias_id(&text).to_string()),
            Json::Array(items) => Json::Array(
                items
                    .into_iter()
                    .map(|item| match item {
                        Json::String(_) => self.renamed(item),
                        other => other,
                    })
                    .collect(),
            ),
            other => other,
        }
    }

    /// A project is not lost for want of a name: a node without one gets the name that a new node has.
    fn name(&self, path: &str, written: Option<Json>) -> Result<EcoString, ImportError> {
        let text = match written {
            Some(Json::String(text)) => text,
            Some(Json::Number(number)) => number.to_string(),
            Some(Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_)) | None => String::new(),
        };
        match check_name(&text, self.limits) {
            Ok(()) => Ok(text.into()),
            Err(NameFault::Blank) => Ok(CreateNode::DEFAULT_NAME.into()),
            Err(NameFault::TooLong(exceeded)) => Err(ImportError::limit(format!("{path}.name"), exceeded)),
            Err(NameFault::Control) => {
                let visible: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                self.name(path, Some(Json::String(visible)))
            }
        }
    }

    fn metadata(&self, path: &str, written: Option<Json>) -> Result<Option<Value>, ImportError> {
        let Some(Json::Object(mut written)) = written else {
            return Ok(None);
        };
        for mark in [ORPHANED, ORPHANED_PROPERTIES] {
            written.remove(mark);
        }
        if written.is_empty() {
            return Ok(None);
        }
        let metadata = Value::from(Json::Object(written));
        check_value(&metadata, self.limits)
            .and_then(|()| check_depth(&metadata))
            .map_err(|exceeded| ImportError::limit(format!("{path}.metadata"), exceeded))?;
        Ok(Some(metadata))
    }
}

/// The mark of a node whose type the template does not have.
pub(in crate::projects) const ORPHANED: &str = "orphaned";

/// The mark of a node that has properties which its type does not have.
pub(in crate::projects) const ORPHANED_PROPERTIES: &str = "orphaned_properties";

/// Metadata with the marks of an orphan.
pub(in crate::projects) fn marked(metadata: Option<Value>, unknown_type: bool, properties: &[PropertyId]) -> Value {
    let mut members = match metadata {
        Some(Value::Object(members)) => Arc::unwrap_or_clone(members),
        _ => BTreeMap::new(),
    };
    if unknown_type {
        members.insert(ORPHANED.into(), Value::Bool(true));
    }
    if !properties.is_empty() {
        let ids = properties.iter().map(|id| Value::text(id.as_str())).collect();
        members.insert(ORPHANED_PROPERTIES.into(), Value::List(ids));
    }
    Value::Object(Arc::new(members))
}
